"""Sums of known arrays with weights that depend on psi, for a batch: P and the right-hand side are such sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realmat.algebra import batch_kernels
from realmat.algebra.normal_equations import Slot, laid_out
from realmat.algebra.simd import pack


class WeightedSum:
    """Sums of known arrays (slots) with weights that depend on psi: some of all places, others at a few."""

    def __init__(self, flat: int) -> None:
        self._flat = flat
        self._slots: list[Slot] = []

    def add(self, where: np.ndarray | slice, values: np.ndarray) -> None:
        """One more slot: `values` at flat places `where`."""
        self._slots.append((where, values) if isinstance(where, slice) else laid_out(where, values, self._flat))

    def freeze(self) -> None:
        """Lay the slots out for `at`; attribute `whole` then has those of all places, shape (slots, flat)."""
        few = [not isinstance(where, slice) for where, _ in self._slots]
        self._few, self._all = np.flatnonzero(few), np.flatnonzero(np.logical_not(few))
        self.whole = np.array([self._slots[k][1] for k in self._all]).reshape(len(self._all), self._flat)
        self._where = np.concatenate([np.zeros(0, np.int64), *(np.asarray(self._slots[k][0], dtype=np.int64) for k in self._few)])
        self._values = np.concatenate([np.zeros(0), *(self._slots[k][1] for k in self._few)])
        self._ptr = np.concatenate([[0], np.cumsum([len(self._slots[k][1]) for k in self._few])]).astype(np.int64)
        self._slots.clear()

    def at(self, weights: np.ndarray) -> np.ndarray:
        """The sums at weights of shape (n, slots): shape (blocks, flat, 8)."""
        xs = np.matmul(self.whole.T, pack(weights[:, self._all]))
        if len(self._few):
            batch_kernels.scatter(xs, self._where, self._values, self._ptr, pack(weights[:, self._few]))
        return xs


@dataclass
class Increment:
    """What a prior or a block of rows adds: weights (n, slots) of its slots, (n, sides) of its sides, log density at the reference.

    `side`, shape (n, columns), is added as it is; `more` is what it still has to add itself.
    """

    slots: np.ndarray
    sides: np.ndarray
    log: np.ndarray | float
    side: np.ndarray | None = None
    more: tuple[np.ndarray, ...] = ()
