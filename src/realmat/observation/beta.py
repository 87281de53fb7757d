"""Fractions between 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import special

from realmat.observation.likelihood import DISPERSION, Likelihood
from realmat.table.table import Table
from realmat.terms.component import PriorLike
from realmat.terms.density import Array, Density, Derivatives, Own, column
from realmat.terms.priors import Prior


@dataclass(frozen=True)
class Fractions(Density):
    """Beta with mean ``m = 1 / (1 + exp(-eta))`` and precision ``1 / dispersion^2``."""

    rows: int
    names: ClassVar[tuple[str, ...]] = ("dispersion",)
    native: ClassVar[bool] = True

    @staticmethod
    def _of(eta: Array, own: Own) -> tuple[Array, Array, Array]:
        return special.expit(eta), special.expit(-eta), own["dispersion"] ** -2.0

    def derivatives(self, y: Array, eta: Array, own: Own) -> Derivatives:
        """Log density and its derivatives."""
        m, rest, precision = self._of(eta, own)
        a, b, log_y, log_rest = m * precision, rest * precision, np.log(column(y)), np.log1p(-column(y))
        log = special.gammaln(precision) - special.gammaln(a) - special.gammaln(b) + (a - 1) * log_y + (b - 1) * log_rest
        up, down = log_y - special.digamma(a), log_rest - special.digamma(b)
        in_precision = special.digamma(precision) + m * up + rest * down
        return Derivatives(log, precision * (up - down) * m * rest, {"dispersion": in_precision * -2 * precision**1.5})

    def weight(self, y: Array, eta: Array, own: Own) -> Array:
        """Fisher information (Ferrari & Cribari-Neto 2004, eq. 6)."""
        m, rest, precision = self._of(eta, own)
        curvature = special.polygamma(1, m * precision) + special.polygamma(1, rest * precision)
        return np.maximum(precision**2 * (m * rest) ** 2 * curvature, 1e-9)

    def guess(self, y: Array) -> Array:
        """Log odds of the readings."""
        return special.logit(y)

    def cdf(self, y: Array, eta: Array, own: Own) -> tuple[Array, Array]:
        """Distribution function, twice."""
        m, rest, precision = self._of(eta, own)
        out = special.betainc(m * precision, rest * precision, column(y))
        return out, out

    def draw(self, eta: Array, own: Own, rng: np.random.Generator) -> Array:
        """New readings."""
        m, rest, precision = self._of(eta, own)
        drawn = rng.beta(np.maximum(m * precision, 1e-12), np.maximum(rest * precision, 1e-12))
        return np.clip(drawn, np.finfo(float).tiny, 1 - np.finfo(float).epsneg)  # doubles round to the ends, where no reading lies

    def mean(self, eta: Array, own: Own) -> Array:
        """Mean of a new reading."""
        return np.asarray(special.expit(eta))

    def variance(self, eta: Array, own: Own) -> Array:
        """Variance of a new reading."""
        m, rest, precision = self._of(eta, own)
        return np.asarray(m * rest / (1 + precision))

    def symbolic(self, pm: Any, y: Array, eta: Any, own: Own) -> Any:
        """Log density in PyTensor."""
        m, precision = pm.math.invlogit(eta), own["dispersion"] ** -2.0
        return pm.logp(pm.Beta.dist(alpha=m * precision, beta=(1 - m) * precision), y)

    def take(self, rows: Array) -> Fractions:
        """Some of the rows."""
        return Fractions(len(rows))


@dataclass(frozen=True)
class Beta(Likelihood):
    """Beta with mean m, ``logit m = eta``, and a constant precision: yields, conversions and area fractions, never quite 0 or 1.

    Parameters
    ----------
    dispersion : Prior or float, optional
        `noise_dispersion`, the inverse root of the precision: ``Var(y) = m (1 - m) / (1 + dispersion^-2)``; default HalfNormal(1).
    bias_by, bias_scale, count, name
        As in `Normal`.

    Notes
    -----
    Ferrari & Cribari-Neto, J. Appl. Stat. 31, 799 (2004). The link is the logit. Fractions of a count are `Binomial`.

    Examples
    --------
    >>> Beta().label
    'noise'
    """

    natural: ClassVar[str | None] = "logit"
    own: ClassVar[dict[str, Prior]] = DISPERSION
    dispersion: PriorLike = None
    bias_by: str | tuple[str, ...] | None = None
    bias_scale: PriorLike = None
    count: str | None = None
    name: str | None = None

    def density(self, table: Table) -> Density:
        """Of the rows of a table."""
        return Fractions(len(table))
