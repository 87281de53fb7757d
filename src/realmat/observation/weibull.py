"""Fracture strength and time to failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import special

from realmat.observation.likelihood import Likelihood, by_row, censoring_flag, check_size, flags, size_columns
from realmat.table.table import Column, Table
from realmat.terms.component import PriorLike
from realmat.terms.density import Array, Density, Derivatives, Own, column
from realmat.terms.priors import Prior


@dataclass(frozen=True)
class WeakestLink(Density):
    """``P(y > v) = exp(-size (v / exp(eta))^modulus)``.

    Parameters
    ----------
    size : array of shape (rows,)
        Stressed volume or area.
    censored : int array of shape (rows,)
        0: broke at the reading; +1: was stopped at it; -1: had broken before it.
    """

    size: Array
    censored: Array
    names: ClassVar[tuple[str, ...]] = ("modulus",)
    native: ClassVar[bool] = True

    def derivatives(self, y: Array, eta: Array, own: Own) -> Derivatives:
        """Log density (or log probability) and its derivatives."""
        m, away = own["modulus"], np.log(column(y)) - eta
        log_h = m * away + np.log(column(self.size))
        h = np.exp(log_h)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            odds = np.where(log_h > 700, 0.0, h / np.expm1(h))  # -h' of log(1 - exp(-h))
            before = np.where(log_h < -30, log_h, np.log(-np.expm1(-h)))
        broke, late = (column(self.censored) == 0), (column(self.censored) > 0)
        log = np.where(broke, log_h - h + np.log(m) - np.log(column(y)), np.where(late, -h, before))
        slope = np.where(broke, 1 - h, np.where(late, -h, odds))  # in log h
        return Derivatives(log, -m * slope, {"modulus": away * slope + np.where(broke, 1 / m, 0.0)})

    def weight(self, y: Array, eta: Array, own: Own) -> Array:
        """Fisher information of a piece that broke; observed information of one that was stopped, never quite zero."""
        m = own["modulus"]
        h = np.exp(np.minimum(m * (np.log(column(y)) - eta) + np.log(column(self.size)), 0.0))
        return np.asarray(m * m * np.where(column(self.censored) == 0, 1.0, np.maximum(h, 1e-3)))

    def guess(self, y: Array) -> Array:
        """Log of the readings."""
        return np.log(y)

    def cdf(self, y: Array, eta: Array, own: Own) -> tuple[Array, Array]:
        """Probability of having broken at the reading; the whole side that a stopped piece leaves open."""
        at = -np.expm1(-column(self.size) * np.exp(own["modulus"] * (np.log(column(y)) - eta)))
        flag = column(self.censored)
        return np.where(flag < 0, 0.0, at), np.where(flag > 0, 1.0, at)

    def draw(self, eta: Array, own: Own, rng: np.random.Generator) -> Array:
        """Strengths of new pieces of the same size, all broken."""
        return np.asarray(np.exp(eta) * (rng.exponential(size=eta.shape) / column(self.size)) ** (1 / own["modulus"]))

    def anew(self, y: Array, eta: Array, own: Own, rng: np.random.Generator) -> tuple[Array, WeakestLink]:
        """Pieces that would have gone beyond where one was stopped are stopped there, others break."""
        value = self.draw(eta, own, rng)[:, 0]
        beyond = self.censored * (value - y) > 0
        return np.where(beyond, y, value), WeakestLink(self.size, np.where(beyond, self.censored, 0))

    def mean(self, eta: Array, own: Own) -> Array:
        """Mean strength."""
        return np.asarray(np.exp(eta) * column(self.size) ** (-1 / own["modulus"]) * special.gamma(1 + 1 / own["modulus"]))

    def variance(self, eta: Array, own: Own) -> Array:
        """Variance of the strength."""
        first, second = (special.gamma(1 + k / own["modulus"]) for k in (1, 2))
        return np.asarray(np.exp(2 * eta) * column(self.size) ** (-2 / own["modulus"]) * np.maximum(second - first**2, 0.0))

    def symbolic(self, pm: Any, y: Array, eta: Any, own: Own) -> Any:
        """Log density in PyTensor."""
        m = own["modulus"]
        log_h = m * (np.log(y) - eta) + np.log(self.size)
        h = pm.math.exp(log_h)
        late, before = -h, pm.math.log1mexp(-h)
        broke = log_h - h + pm.math.log(m) - np.log(y)
        return pm.math.switch(self.censored == 0, broke, pm.math.switch(self.censored > 0, late, before))

    def take(self, rows: Array) -> WeakestLink:
        """Some of the rows."""
        return WeakestLink(self.size[rows], self.censored[rows])


@dataclass(frozen=True)
class Weibull(Likelihood):
    """``P(strength > s) = exp(-size (s / exp(eta))^modulus)``: the weakest link breaks; the link is the logarithm.

    Parameters
    ----------
    size : str or float, optional
        Stressed volume, area or length, a column or a number, in a unit of which ``exp(eta)`` is then the characteristic strength.
    modulus : Prior or float, optional
        `noise_modulus`; default LogNormal(2, 1): from 1 to 50.
    below, above : str, optional
        Boolean (0/1) columns: the piece had broken before the number in the response, or was stopped at it. A response written ">380"
        says so itself.
    bias_by, bias_scale, count, name
        As in `Normal`.

    Notes
    -----
    Weibull, J. Appl. Mech. 18, 293 (1951). ``rm.theory.Constant()`` is then the logarithm of the characteristic strength, at which 63 %
    of pieces of size 1 have broken.

    Examples
    --------
    >>> Weibull(size="volume_mm3").label
    'noise'
    """

    natural: ClassVar[str | None] = "log"
    limited: ClassVar[bool] = True
    own: ClassVar[dict[str, Prior]] = {"modulus": Prior("LogNormal", mu=2.0, sigma=1.0)}
    size: str | float | None = None
    modulus: PriorLike = None
    below: str | None = None
    above: str | None = None
    bias_by: str | tuple[str, ...] | None = None
    bias_scale: PriorLike = None
    count: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self.label, "size", self.size)

    def needs(self) -> list[Column]:
        """The size, flags of pieces that were stopped, and what biases go by."""
        stopped = [censoring_flag(flag) for flag in (self.below, self.above) if flag]
        return [*size_columns(self.size, "size"), *stopped, *super().needs()]

    def density(self, table: Table) -> Density:
        """Of the rows of a table."""
        return WeakestLink(by_row(table, self.size), flags(table, self.below, self.above))
