"""A row's density: all that an engine knows of how a row was measured, for many chains at once.

A new likelihood is one subclass of `Density` and an observation component that puts it into its `Noise`. Arrays have the rows first and
the chains last: the linear predictor `eta` has shape (rows, chains), the readings `y` (rows,), a parameter of the density's own any
shape that broadcasts against (rows, chains). Everything is on the scale on which `eta` is linear.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

Array = np.ndarray
Own = Mapping[str, Any]


@dataclass(frozen=True)
class Derivatives:
    """What a density says of its rows.

    Attributes
    ----------
    log : array of shape (rows, chains)
        Log density, or log probability where a row is known only to lie between limits.
    eta : array of shape (rows, chains)
        Its derivative in the linear predictor.
    own : mapping of name to array of shape (rows, chains)
        Its derivatives in the density's own parameters.
    """

    log: Array
    eta: Array
    own: Mapping[str, Array]


@dataclass(frozen=True)
class Summed:
    """What a density says of all its rows together.

    Attributes
    ----------
    log : array of shape (chains,)
        Sum of the log densities.
    eta : array of shape (rows, chains)
        Derivative in the linear predictor of each row.
    own : mapping of name to array of shape (groups, chains)
        Derivatives in the density's own parameters, of which each group of rows has one value.
    """

    log: Array
    eta: Array
    own: Mapping[str, Array]


class Groups:
    """Which value of a parameter each row has.

    Parameters
    ----------
    of_row : int array of shape (rows,)
    count : int
        Number of values.
    """

    def __init__(self, of_row: Array, count: int) -> None:
        self.of_row, self.count = np.asarray(of_row, dtype=np.int64) if count > 1 else np.zeros(len(of_row), dtype=np.int64), count
        row = np.arange(len(of_row))
        self._total = sparse.csr_matrix((np.ones(len(row)), (self.of_row, row)), shape=(count, len(row))) if count > 1 else None
        self._taken: dict[int, tuple[Array, Groups]] = {}  # the rows are kept, so that no others have their place in memory

    def take(self, rows: Array) -> Groups:
        """Those of some rows; the same rows are not looked up again."""
        if id(rows) not in self._taken:
            self._taken[id(rows)] = rows, Groups(self.of_row[rows], self.count)
        return self._taken[id(rows)][1]

    def by_row(self, values: Array) -> Array:
        """Values (count, ...) at each row; one value stands for all rows."""
        return values if self.count == 1 else values[self.of_row]

    def sums(self, by_row: Array) -> Array:
        """Sums over the rows of each group, shape (count, chains)."""
        return np.asarray(by_row.sum(axis=0, keepdims=True) if self._total is None else self._total @ by_row)


@dataclass(frozen=True)
class Parameter:
    """One of a density's own parameters as a function of psi: one value for each group of rows.

    Attributes
    ----------
    name : str
        As the density calls it.
    value : Function
        ``(p, xp)`` -> shape (groups,); see `realmat.terms.term`.
    group : int array of shape (rows,)
    """

    name: str
    value: Callable[[Mapping[str, Any], Any], Any]
    group: Array


class Evaluated(ABC):
    """What chains ask of rows. An instance holds what is known of each row beside its reading (an exposure, a number of trials, limits).

    Attributes
    ----------
    names : tuple of str
        The density's own parameters.
    native : bool
        Whether readings are in response units whatever the link, as counts are; else they are on the scale of the link.
    """

    names: ClassVar[tuple[str, ...]] = ()
    native: ClassVar[bool] = False

    @abstractmethod
    def derivatives(self, y: Array, eta: Array, own: Own) -> Derivatives:
        """Log density and its first derivatives."""

    @abstractmethod
    def weight(self, y: Array, eta: Array, own: Own) -> Array:
        """Positive information on `eta` (expected, or observed where that is positive), shape (rows, chains)."""

    @abstractmethod
    def guess(self, y: Array) -> Array:
        """Where the linear predictor of each row may start, shape (rows,)."""

    def grouped(self, y: Array, eta: Array, own: Own, groups: Mapping[str, Groups]) -> Derivatives:
        """As `derivatives`, from own parameters by group, shape (groups, chains) or (groups, 1)."""
        return self.derivatives(y, eta, {name: groups[name].by_row(value) for name, value in own.items()})

    def summed(self, y: Array, eta: Array, own: Own, groups: Mapping[str, Groups]) -> Summed:
        """What `grouped` says of all rows together; the densities that most rows have do it in one loop."""
        found = self.grouped(y, eta, own, groups)
        every = {name: np.broadcast_to(x, (len(groups[name].of_row), eta.shape[1])) for name, x in found.own.items()}
        return Summed(found.log.sum(axis=0), found.eta, {name: groups[name].sums(x) for name, x in every.items()})

    def log(self, y: Array, eta: Array, own: Own) -> Array:
        """Log density, shape (rows, chains)."""
        return self.derivatives(y, eta, own).log


class Density(Evaluated):
    """How rows were measured, for whatever is asked of them."""

    @abstractmethod
    def cdf(self, y: Array, eta: Array, own: Own) -> tuple[Array, Array]:
        """Probabilities of less than the reading, and of not more: equal where it is continuous and exact. A PIT lies between them."""

    @abstractmethod
    def draw(self, eta: Array, own: Own, rng: np.random.Generator) -> Array:
        """A new reading of each row, shape (rows, chains)."""

    def anew(self, y: Array, eta: Array, own: Own, rng: np.random.Generator) -> tuple[Array, Density]:
        """The rows measured once more in the same way: new readings, shape (rows,), for `eta` of shape (rows, 1), and their density."""
        return self.draw(eta, own, rng)[:, 0], self

    @abstractmethod
    def mean(self, eta: Array, own: Own) -> Array:
        """Mean of a new reading."""

    @abstractmethod
    def variance(self, eta: Array, own: Own) -> Array:
        """Variance of a new reading about its mean."""

    @abstractmethod
    def symbolic(self, pm: Any, y: Array, eta: Any, own: Mapping[str, Any]) -> Any:
        """Elementwise log density, shape (rows,), in PyTensor; `pm` is the module ``pymc``, which only the translation imports."""

    @abstractmethod
    def take(self, rows: Array) -> Density:
        """The same for some of the rows."""

    @property
    def points(self) -> Any:
        """Where a row has a density, not a probability; True, or by row."""
        return np.True_


def column(values: Any) -> Array:
    """Numbers by row, shape (rows,), as they stand beside chains: (rows, 1)."""
    return np.asarray(values, dtype=float)[:, None]


def filled(values: Array, chains: int) -> Array:
    """Numbers of shape (groups, chains) or (groups, 1), one for each chain, as compiled loops read them."""
    if values.shape[1] == chains:
        return plain(values)
    out = np.empty((len(values), chains))
    out[:] = values
    return out


def plain(x: Array) -> Array:
    """An array as compiled loops read it; a copy where it is laid out otherwise, or read-only."""
    if x.dtype == np.float64 and x.flags.c_contiguous and x.flags.writeable:  # nearly always, and sooner seen than by NumPy
        return x
    return np.require(x, float, ["C", "W"])
