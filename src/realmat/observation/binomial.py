"""How many of n."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import special

from realmat.errors import DataError
from realmat.observation.likelihood import Likelihood, by_row, check_size, size_columns
from realmat.table.table import Column, Table, rows_text
from realmat.terms.component import PriorLike
from realmat.terms.density import Array, Density, Derivatives, Own, column


@dataclass(frozen=True)
class Successes(Density):
    """``y ~ Binomial(trials, 1 / (1 + exp(-eta)))``; no parameter of its own."""

    trials: Array
    native: ClassVar[bool] = True

    def derivatives(self, y: Array, eta: Array, own: Own) -> Derivatives:
        """Log probability and its derivative."""
        k, n = column(y), column(self.trials)
        ways = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
        log = ways + k * special.log_expit(eta) + (n - k) * special.log_expit(-eta)
        return Derivatives(log, k - n * special.expit(eta), {})

    def weight(self, y: Array, eta: Array, own: Own) -> Array:
        """Fisher information, never quite zero."""
        return np.maximum(column(self.trials) * special.expit(eta) * special.expit(-eta), 1e-9)

    def guess(self, y: Array) -> Array:
        """Log odds, half a success away from none and from all."""
        return np.asarray(np.log((y + 0.5) / (self.trials - y + 0.5)))

    def cdf(self, y: Array, eta: Array, own: Own) -> tuple[Array, Array]:
        """Probabilities of less, and of not more."""
        k, n = column(y), column(self.trials)
        return self._below(k - 1, n, eta), self._below(k, n, eta)

    @staticmethod
    def _below(k: Array, n: Array, eta: Array) -> Array:
        inside = special.betainc(np.maximum(n - k, 1e-300), np.maximum(k + 1, 1e-300), special.expit(-eta))
        return np.where(k < 0, 0.0, np.where(k >= n, 1.0, inside))

    def draw(self, eta: Array, own: Own, rng: np.random.Generator) -> Array:
        """New numbers of successes."""
        return rng.binomial(column(self.trials).astype(int), special.expit(eta)).astype(float)

    def mean(self, eta: Array, own: Own) -> Array:
        """Expected number of successes."""
        return np.asarray(column(self.trials) * special.expit(eta))

    def variance(self, eta: Array, own: Own) -> Array:
        """Variance of a new number."""
        return np.asarray(column(self.trials) * special.expit(eta) * special.expit(-eta))

    def symbolic(self, pm: Any, y: Array, eta: Any, own: Own) -> Any:
        """Log probability in PyTensor."""
        return pm.logp(pm.Binomial.dist(n=self.trials.astype(int), p=pm.math.invlogit(eta)), y)

    def take(self, rows: Array) -> Successes:
        """Some of the rows."""
        return Successes(self.trials[rows])


@dataclass(frozen=True)
class Binomial(Likelihood):
    """``y ~ Binomial(trials, p)``, ``logit p = eta``: how many of n pieces survive, react, conduct.

    Parameters
    ----------
    trials : str or float
        How many were tried, a column or a number; the response is how many of them succeeded.
    bias_by, bias_scale, count, name
        As in `Normal`.

    Notes
    -----
    McCullagh & Nelder, Generalized Linear Models, 2nd ed., 1989, chapter 4. The link is the logit.

    Examples
    --------
    >>> Binomial(trials="n").label
    'noise'
    """

    natural: ClassVar[str | None] = "logit"
    whole: ClassVar[bool] = True
    trials: str | float = 1
    bias_by: str | tuple[str, ...] | None = None
    bias_scale: PriorLike = None
    count: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self.label, "trials", self.trials)

    def needs(self) -> list[Column]:
        """The number of trials, and what biases go by."""
        return [*size_columns(self.trials, "number of trials"), *super().needs()]

    def check(self, table: Table) -> None:
        """No more successes than trials."""
        super().check(table)
        trials = by_row(table, self.trials)
        broken = trials != np.floor(trials)
        if broken.any():
            raise DataError(f"trials= of {self.label!r} must be whole numbers, not as in {rows_text(table.index[broken])}.")
        over = table.numeric(table.response) > trials
        if over.any():
            raise DataError(f"column {table.response!r}: more successes than trials in {rows_text(table.index[over])}.")

    def density(self, table: Table) -> Density:
        """Of the rows of a table."""
        return Successes(by_row(table, self.trials))
