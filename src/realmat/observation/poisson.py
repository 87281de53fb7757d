"""Counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import special

from realmat.observation.likelihood import OverExposure, by_row
from realmat.table.table import Table
from realmat.terms.component import PriorLike
from realmat.terms.density import Array, Density, Derivatives, Own, column


@dataclass(frozen=True)
class Counts(Density):
    """``y ~ Poisson(exposure exp(eta))``; no parameter of its own."""

    exposure: Array
    native: ClassVar[bool] = True

    def _rate(self, eta: Array) -> Array:
        return np.asarray(column(self.exposure) * np.exp(eta))

    def derivatives(self, y: Array, eta: Array, own: Own) -> Derivatives:
        """Log probability and its derivative."""
        rate, count = self._rate(eta), column(y)
        log = count * (eta + np.log(column(self.exposure))) - rate - special.gammaln(count + 1)
        return Derivatives(log, count - rate, {})

    def weight(self, y: Array, eta: Array, own: Own) -> Array:
        """Fisher information: the rate."""
        return self._rate(eta)

    def guess(self, y: Array) -> Array:
        """Log of the rate, half a count away from zero."""
        return np.asarray(np.log((y + 0.5) / self.exposure))

    def cdf(self, y: Array, eta: Array, own: Own) -> tuple[Array, Array]:
        """Probabilities of less, and of not more."""
        rate, count = self._rate(eta), column(y)
        return np.where(count > 0, special.pdtr(np.maximum(count - 1, 0), rate), 0.0), special.pdtr(count, rate)

    def draw(self, eta: Array, own: Own, rng: np.random.Generator) -> Array:
        """New counts."""
        return rng.poisson(np.minimum(self._rate(eta), 1e15)).astype(float)

    def mean(self, eta: Array, own: Own) -> Array:
        """The rate."""
        return self._rate(eta)

    def variance(self, eta: Array, own: Own) -> Array:
        """The rate."""
        return self._rate(eta)

    def symbolic(self, pm: Any, y: Array, eta: Any, own: Own) -> Any:
        """Log probability in PyTensor."""
        return pm.logp(pm.Poisson.dist(self.exposure * pm.math.exp(eta)), y)

    def take(self, rows: Array) -> Counts:
        """Some of the rows."""
        return Counts(self.exposure[rows])


@dataclass(frozen=True)
class Poisson(OverExposure):
    """``y ~ Poisson(exposure exp(eta))``: counts of rare, independent events, such as defects on a wafer; the link is the logarithm.

    Parameters
    ----------
    exposure : str or float, optional
        Area, volume or time over which was counted, a column or a number; the rate is per unit of it.
    bias_by, bias_scale, count, name
        As in `Normal`.

    Notes
    -----
    McCullagh & Nelder, Generalized Linear Models, 2nd ed., 1989, chapter 6. Where counts scatter more than they should, take
    `NegativeBinomial`, or ``rm.material.Unresolved(by="row")``.

    Examples
    --------
    >>> Poisson(exposure="area_mm2").label
    'noise'
    """

    bias_by: str | tuple[str, ...] | None = None
    bias_scale: PriorLike = None
    count: str | None = None
    name: str | None = None

    def density(self, table: Table) -> Density:
        """Of the rows of a table."""
        return Counts(by_row(table, self.exposure))
