"""Sums of known arrays with weights that depend on psi, for a batch: P and the right-hand side are such sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from realmat.algebra import batch_kernels
from realmat.algebra.normal_equations import Slot
from realmat.algebra.simd import LANES, pack


class WeightedSum:
    """Sums of known arrays with weights that depend on psi.

    Parameters
    ----------
    slots : sequence of (places, values)
        The arrays: values at flat places, 0 elsewhere.
    flat : int
        Number of places.
    """

    def __init__(self, slots: Sequence[Slot], flat: int) -> None:
        each = [(np.arange(flat)[where], values) for where, values in slots]
        used = [values != 0 for _, values in each]
        place = np.concatenate([np.zeros(0, dtype=np.int64), *(where[mine] for (where, _), mine in zip(each, used, strict=True))])
        values = np.concatenate([np.zeros(0), *(own[mine] for (_, own), mine in zip(each, used, strict=True))])
        slot = np.repeat(np.arange(len(each)), [np.count_nonzero(mine) for mine in used])
        matrix = sparse.csr_matrix((values, (place, slot)), shape=(flat, max(len(each), 1)))  # by place: each is written once
        self._arrays = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data

    def at(self, weights: np.ndarray) -> np.ndarray:
        """The sums at weights of shape (n, slots): shape (blocks, flat, 8)."""
        rows = pack(weights)
        out = np.empty((len(rows), len(self._arrays[0]) - 1, LANES))
        batch_kernels.products(*self._arrays, rows, out)
        return out


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
