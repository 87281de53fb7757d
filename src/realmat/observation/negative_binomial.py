"""Counts that scatter more than independent events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import special

from realmat.observation.likelihood import DISPERSION, OverExposure, by_row
from realmat.table.table import Table
from realmat.terms.component import PriorLike
from realmat.terms.density import Array, Density, Derivatives, Own, column
from realmat.terms.priors import Prior

_LEAST = 1e-4  # dispersion: below, nothing differs from a Poisson and differences of log gamma lose digits


@dataclass(frozen=True)
class ScatteredCounts(Density):
    """``y ~ Poisson(mu g)``, ``mu = exposure exp(eta)``, g gamma with mean 1 and sd `dispersion`."""

    exposure: Array
    names: ClassVar[tuple[str, ...]] = ("dispersion",)
    native: ClassVar[bool] = True

    def _of(self, eta: Array, own: Own) -> tuple[Array, Array]:
        return np.asarray(column(self.exposure) * np.exp(eta)), np.maximum(own["dispersion"], _LEAST) ** -2.0

    def derivatives(self, y: Array, eta: Array, own: Own) -> Derivatives:
        """Log probability and its derivatives."""
        (mu, a), k = self._of(eta, own), column(y)
        share = -np.log1p(mu / a)
        log = special.gammaln(k + a) - special.gammaln(a) - special.gammaln(k + 1) + a * share
        log = log + k * (np.log(mu) - np.log(a + mu))
        in_a = special.digamma(k + a) - special.digamma(a) + share + 1 - (k + a) / (a + mu)
        return Derivatives(log, a * (k - mu) / (a + mu), {"dispersion": in_a * -2 * a**1.5})

    def weight(self, y: Array, eta: Array, own: Own) -> Array:
        """Fisher information."""
        mu, a = self._of(eta, own)
        return np.asarray(mu * a / (a + mu))

    def guess(self, y: Array) -> Array:
        """Log of the rate, half a count away from zero."""
        return np.asarray(np.log((y + 0.5) / self.exposure))

    def cdf(self, y: Array, eta: Array, own: Own) -> tuple[Array, Array]:
        """Probabilities of less, and of not more."""
        (mu, a), k = self._of(eta, own), column(y)
        below = [special.betainc(a, np.maximum(k + one, 1e-300), a / (a + mu)) for one in (0.0, 1.0)]
        return np.where(k > 0, below[0], 0.0), below[1]

    def draw(self, eta: Array, own: Own, rng: np.random.Generator) -> Array:
        """New counts."""
        mu, a = self._of(eta, own)
        return rng.poisson(np.minimum(mu * rng.gamma(np.broadcast_to(a, mu.shape)) / a, 1e15)).astype(float)

    def mean(self, eta: Array, own: Own) -> Array:
        """Mean of a new count."""
        return self._of(eta, own)[0]

    def variance(self, eta: Array, own: Own) -> Array:
        """Variance of a new count."""
        mu, a = self._of(eta, own)
        return np.asarray(mu + mu * mu / a)

    def symbolic(self, pm: Any, y: Array, eta: Any, own: Own) -> Any:
        """Log probability in PyTensor."""
        return pm.logp(pm.NegativeBinomial.dist(mu=self.exposure * pm.math.exp(eta), alpha=own["dispersion"] ** -2.0), y)

    def take(self, rows: Array) -> ScatteredCounts:
        """Some of the rows."""
        return ScatteredCounts(self.exposure[rows])


@dataclass(frozen=True)
class NegativeBinomial(OverExposure):
    """Counts whose rate differs from reading to reading by a gamma factor; the link is the logarithm.

    Parameters
    ----------
    exposure : str or float, optional
        As in `Poisson`.
    dispersion : Prior or float, optional
        Relative standard deviation of that factor, `noise_dispersion`: ``Var(y) = mu + (dispersion mu)^2``; default HalfNormal(1).
    bias_by, bias_scale, count, name
        As in `Normal`.

    Notes
    -----
    Greenwood & Yule, J. R. Stat. Soc. 83, 255 (1920).

    Examples
    --------
    >>> NegativeBinomial(exposure="area_mm2").label
    'noise'
    """

    own: ClassVar[dict[str, Prior]] = DISPERSION
    dispersion: PriorLike = None
    bias_by: str | tuple[str, ...] | None = None
    bias_scale: PriorLike = None
    count: str | None = None
    name: str | None = None

    def density(self, table: Table) -> Density:
        """Of the rows of a table."""
        return ScatteredCounts(by_row(table, self.exposure))
