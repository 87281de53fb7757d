"""Positive values whose scatter grows with them."""

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
class PositiveValues(Density):
    """Gamma with mean ``exp(eta)`` and relative standard deviation `dispersion`."""

    rows: int
    names: ClassVar[tuple[str, ...]] = ("dispersion",)
    native: ClassVar[bool] = True

    def derivatives(self, y: Array, eta: Array, own: Own) -> Derivatives:
        """Log density and its derivatives."""
        a, log_y = own["dispersion"] ** -2.0, np.log(column(y))
        ratio = np.exp(log_y - eta)
        log = a * (np.log(a) + log_y - eta - ratio) - special.gammaln(a) - log_y
        in_a = np.log(a) + 1 + log_y - eta - ratio - special.digamma(a)
        return Derivatives(log, a * (ratio - 1), {"dispersion": in_a * -2 * a**1.5})

    def weight(self, y: Array, eta: Array, own: Own) -> Array:
        """Fisher information."""
        return np.broadcast_to(own["dispersion"] ** -2.0, eta.shape)

    def guess(self, y: Array) -> Array:
        """Log of the readings."""
        return np.log(y)

    def cdf(self, y: Array, eta: Array, own: Own) -> tuple[Array, Array]:
        """Distribution function, twice."""
        a = own["dispersion"] ** -2.0
        out = special.gammainc(a, a * np.exp(np.log(column(y)) - eta))
        return out, out

    def draw(self, eta: Array, own: Own, rng: np.random.Generator) -> Array:
        """New readings."""
        a = np.broadcast_to(own["dispersion"] ** -2.0, eta.shape)
        return np.asarray(np.exp(eta) * rng.gamma(a) / a)

    def mean(self, eta: Array, own: Own) -> Array:
        """Mean of a new reading."""
        return np.exp(eta)

    def variance(self, eta: Array, own: Own) -> Array:
        """Variance of a new reading."""
        return np.asarray(np.exp(2 * eta) * own["dispersion"] ** 2)

    def symbolic(self, pm: Any, y: Array, eta: Any, own: Own) -> Any:
        """Log density in PyTensor."""
        a = own["dispersion"] ** -2.0
        return pm.logp(pm.Gamma.dist(alpha=a, beta=a * pm.math.exp(-eta)), y)

    def take(self, rows: Array) -> PositiveValues:
        """Some of the rows."""
        return PositiveValues(len(rows))


@dataclass(frozen=True)
class Gamma(Likelihood):
    """Gamma with mean ``exp(eta)`` and a constant relative standard deviation; the link is the logarithm.

    Parameters
    ----------
    dispersion : Prior or float, optional
        Relative standard deviation of a reading, `noise_dispersion`; default HalfNormal(1).
    bias_by, bias_scale, count, name
        As in `Normal`.

    Notes
    -----
    McCullagh & Nelder, Generalized Linear Models, 2nd ed., 1989, chapter 8.

    Examples
    --------
    >>> Gamma().label
    'noise'
    """

    natural: ClassVar[str | None] = "log"
    own: ClassVar[dict[str, Prior]] = DISPERSION
    dispersion: PriorLike = None
    bias_by: str | tuple[str, ...] | None = None
    bias_scale: PriorLike = None
    count: str | None = None
    name: str | None = None

    def density(self, table: Table) -> Density:
        """Of the rows of a table."""
        return PositiveValues(len(table))
