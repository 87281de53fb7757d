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
