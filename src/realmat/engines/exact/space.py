"""The density of the hyperparameters, coefficients integrated out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from realmat.algebra import System
from realmat.algebra.batch import BatchConditional, ConditionalList
from realmat.algebra.batching import slices
from realmat.algebra.ratios import Ratios
from realmat.algebra.space import Space
from realmat.support.threads import workers

_MANY = 5000  # rows with auxiliary values of their own beyond which threads pay: below, the interpreter lock eats the gain
_SHORT, _SHORT_SMALL = 32, 128  # a shorter batch costs more than its share, the more so of a small system


class Solved(Protocol):
    """Coefficients at each psi of a batch."""

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A draw at each psi, shape (n, coefficients), natural order."""

    def moments(self, weights: np.ndarray, rng: np.random.Generator, centre: np.ndarray) -> np.ndarray:
        """Weighted sums of b and b^2, both from `centre`, shape (2, coefficients)."""


class Density:
    """log p(theta | y) up to a constant, with the coefficients integrated out; `space` says in which coordinates.

    Student t and censored parts have auxiliary values `aux`, by name, each of shape (rows,).

    Attributes
    ----------
    drawn : bool
        Whether a weight belongs to the coefficients that were drawn with it, and not to theta alone.
    """

    drawn = False

    def __init__(self, system: System, space: Space | None = None, aux: Mapping[str, np.ndarray] | None = None) -> None:
        self.aux = aux or {}
        self.system = system
        self.space = space or (Space(system.problem.params) if system.augmented else Ratios(system.problem))
        self.evaluations = 0
        alone = system.augmented and len(system.row_blocks[0].y) <= _MANY
        self._threads = 1 if alone else workers()
        self._pool = None if alone else ThreadPoolExecutor(self._threads)

    def again(self, system: System, space: Space | None = None) -> Density:
        """The same kind of density of another system, or in other coordinates."""
        return Density(system, space)

    def standing(self, n: int) -> dict[str, np.ndarray]:
        """The auxiliary values, shape (rows, n)."""
        return {name: np.broadcast_to(value[:, None], (len(value), n)) for name, value in self.aux.items()}

    def many(self, thetas: np.ndarray) -> np.ndarray:
        """At thetas of shape (n, size)."""
        out = np.full(len(thetas), -np.inf)

        def work(where: slice) -> None:
            out[where] = self.solve(thetas[where])[0]

        most, n = self.system.many.most, len(thetas)
        turns = -(-n // (most * self._threads))
        least = _SHORT_SMALL if self.system.many.small else _SHORT
        size = min(max(-(-n // (turns * self._threads)), least), most)  # as many to every thread, and of one size
        for _ in self.map(work, slices(n, size)):
            pass
        return out

    def around(self, theta: np.ndarray, steps: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """At theta, and `steps` of shape (k, size) ahead of it and behind, both of shape (k,)."""
        values = self.many(np.concatenate([theta[None], theta + steps, theta - steps]))
        ahead, behind = values[1:].reshape(2, -1)
        return float(values[0]), ahead, behind

    def batches(self, n: int) -> list[slice]:
        """`n` thetas cut into batches that are drawn together: the same on every machine, as each has random numbers of its own."""
        return slices(n, self.system.many.most)

    def solve(self, thetas: np.ndarray) -> tuple[np.ndarray, BatchConditional | ConditionalList]:
        """Log densities at thetas of shape (n, size), -inf where they cannot be evaluated, and the factorised batch."""
        n = len(thetas)
        self.evaluations += n
        with np.errstate(all="ignore"):
            values, prior = self.space.many(thetas)
            solved = self.system.many.at({**values, **self.standing(n)}, n)
            total = prior + solved.log_marginal
        return np.where(np.isfinite(total), total, -np.inf), solved

    def proposed(self, thetas: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, Solved]:
        """As `solve`, log densities of the coefficients that are drawn too where they are `drawn`."""
        return self.solve(thetas)

    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
        """`map`, over all cores where the work is large enough for that to pay, and more than one piece."""
        pieces = list(items)
        return map(function, pieces) if self._pool is None or len(pieces) == 1 else self._pool.map(function, pieces)
