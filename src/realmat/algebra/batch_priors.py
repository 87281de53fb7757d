"""What priors whose moments depend on psi add to P and to the right-hand side, at many psi at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from realmat.algebra.batching import Batch, Batched
from realmat.algebra.normal_equations import Slot
from realmat.algebra.simd import pack
from realmat.algebra.weighted_sum import Increment
from realmat.terms.term import Coefficients, evaluate

if TYPE_CHECKING:
    from realmat.algebra.system import System

_LOG_2PI = float(np.log(2 * np.pi))


class BatchPriors:
    """The prior of a block whose moments depend on psi; the diagonal of the eliminated effect is added where that is eliminated.

    It has a slot where one precision and known means describe it, as with an eliminated effect.
    """

    def __init__(self, system: System, block: Coefficients, where: np.ndarray, floor: float) -> None:
        self._where, self._floor, self._shift = where, floor, system.shift[where]
        self._sd, self._mean = Batched(block.sd), Batched(block.mean)
        self._diagonal = np.zeros(0, dtype=np.int64)
        self._one = np.ndim(evaluate(block.sd, system.example)) == 0 and not callable(block.mean)
        self.slots: list[Slot] = []
        self.sides = np.zeros((0, system.rest))
        self.by_row = not self._one and where[0] < system.rest
        if where[0] >= system.rest:
            self._squares = 0.0
            return
        self._diagonal = system.pattern.diagonal[where]
        if self._one:
            centred = self._centred({}, 1)[0]
            self._squares = float(centred @ centred)
            self.slots = [(self._diagonal, np.ones(len(where)))]
            self.sides = np.zeros((1, system.rest))
            self.sides[0, where] = centred

    def at(self, values: Batch, n: int) -> Increment:
        """Weights, and log p(b = b0 | psi) without the constant."""
        precision = 1.0 / np.maximum(np.square(self._sd(values, n)), self._floor)
        precision = np.broadcast_to(precision if precision.ndim > 1 else precision[None], (len(self._where), n)).T
        if self._one:
            single = precision[:, :1]
            log = 0.5 * (len(self._where) * np.log(single[:, 0]) - single[:, 0] * self._squares)
            used = single[:, : len(self.slots)]
            return Increment(used, used, log)
        centred = self._centred(values, n)
        log = 0.5 * np.sum(np.log(precision) - precision * centred**2, axis=1)
        return Increment(np.zeros((n, 0)), np.zeros((n, 0)), log, more=(precision, precision * centred))

    def add(self, at: Increment, xs: np.ndarray, sides: np.ndarray) -> None:
        """Add what no slot holds: precisions to `xs` (blocks, flat, 8), precision times mean to `sides` (blocks, columns, 8)."""
        if at.more and len(self._diagonal):
            precision, side = at.more
            xs[:, self._diagonal] += pack(precision)
            sides[:, self._where] += pack(side)

    def _centred(self, values: Batch, n: int) -> np.ndarray:
        """Prior mean from the reference, shape (n, coefficients)."""
        mean = self._mean(values, n)
        return np.broadcast_to(mean if mean.ndim > 1 else mean[None], (len(self._where), n)).T - self._shift
