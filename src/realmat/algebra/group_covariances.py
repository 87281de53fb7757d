"""Covariances within groups of combinations of coefficients, at many psi at once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from scipy import sparse

from realmat.algebra import covariance_kernels
from realmat.algebra.batch import BatchConditional, ConditionalList
from realmat.algebra.kernels import FAST, INT32, VECTOR
from realmat.algebra.simd import pack, unpack
from realmat.algebra.turned_covariances import TurnedCovariances

if TYPE_CHECKING:
    from realmat.algebra.system import System


class GroupCovariances:
    """Covariances given psi and y of groups of combinations of coefficients.

    Parameters
    ----------
    system : System
    matrix : csr, shape (rows, coefficients)
        Natural order.
    members : int array of shape (groups, size)
        The rows of each group.
    scale_of : int array, one per stored entry, optional
        Which scale multiplies the entry; without, there are none.
    """

    def __init__(self, system: System, matrix: sparse.csr_matrix, members: np.ndarray, scale_of: np.ndarray | None = None) -> None:
        self._members = np.ascontiguousarray(members, dtype=np.int64)
        matrix, self._scale_of = system.moved(matrix, scale_of)
        self._system, self._matrix = system, matrix
        self._turned: TurnedCovariances | None = None
        if TurnedCovariances.applies(system) and not self._scale_of.any():
            self._turned = TurnedCovariances(system, matrix, self._members)
            return
        size = members.shape[1]
        self._pair = np.zeros((size, size), dtype=int)
        upper = np.triu_indices(size)
        self._pair[upper] = self._pair.T[upper] = np.arange(len(upper[0]))
        self._pairs = len(upper[0])
        pattern, effect = system.pattern, system.eliminated
        coupling = sparse.csr_matrix((0, system.rest)) if effect is None else effect.coupling
        self._coupling = coupling.indptr.astype(np.int32), coupling.indices.astype(np.int32), coupling.data.astype(float)
        self._class_of = np.zeros(0, dtype=np.int64) if effect is None else effect.class_of.astype(np.int64)
        self._rows = matrix.indptr.astype(np.int32), system.place[matrix.indices].astype(np.int32), matrix.data.astype(float)
        self._tree = pattern.ptr, pattern.rows, pattern.lead
        self._reach = covariance_kernels.reaches(*self._rows[:2], *self._tree, system.rest, *self._coupling[:2])

    def at(self, solved: BatchConditional | ConditionalList, scales: np.ndarray | None = None) -> np.ndarray:
        """Covariances within each group, shape (n, groups, size, size), at `scales` of shape (n, scales)."""
        n = len(solved.log_marginal)
        scales = np.ones((n, 1)) if scales is None else scales
        if isinstance(solved, ConditionalList):
            return np.stack([self._single(solved, i, scales[i]) for i in range(n)])
        if self._turned is not None:
            return self._turned.at(solved)
        pattern = self._system.pattern
        gain, sd = (np.zeros((n, 1)), np.zeros((n, 1))) if solved.effect is None else solved.effect
        groups = len(self._members)
        out = np.empty((len(solved.xs), groups * self._pairs, solved.xs.shape[2]))
        tree = (*self._tree, pattern.dense, self._system.rest)
        rows, effect = (*self._rows, self._scale_of), (*self._coupling, self._class_of)
        with np.errstate(all="ignore"):
            covariance_kernels.covariances(
                solved.xs, tree, rows, pack(scales), self._reach, effect, pack(gain), pack(sd), self._members, out
            )
        return unpack(out, n).reshape(n, groups, self._pairs)[:, :, self._pair]

    @cached_property
    def _used(self) -> tuple[np.ndarray, sparse.csr_matrix, np.ndarray]:
        """The members among those rows that are in any group, these rows, and their entries' scales."""
        used, members = np.unique(self._members, return_inverse=True)
        numbered = sparse.csr_matrix((np.arange(len(self._scale_of)), self._matrix.indices, self._matrix.indptr), shape=self._matrix.shape)
        return members.reshape(self._members.shape), self._matrix[used], self._scale_of[numbered[used].data]

    def _single(self, solved: ConditionalList, i: int, scales: np.ndarray) -> np.ndarray:
        one = solved.each[i]
        if one is None:
            return np.full((*self._members.shape, self._members.shape[1]), np.nan)
        members, m, scale_of = self._used
        half, dense = one.halves(sparse.csr_matrix((m.data * scales[scale_of], m.indices, m.indptr), shape=m.shape), inside=True)
        out = np.matmul(dense[members], dense[members].transpose(0, 2, 1))
        if half is not None:  # few coefficients have a dense root alone
            half.sort_indices()
            _add_overlap(half.indptr, half.indices, half.data, members, out)
        return np.asarray(out)


@njit(f"({INT32}, {INT32}, {VECTOR}, int64[:, ::1], float64[:, :, ::1])", **FAST)
def _add_overlap(ptr, idx, val, cells, out):  # type: ignore[no-untyped-def]
    """Add the dot products of sparse rows (csr, sorted) within each group."""
    for g in range(cells.shape[0]):
        for a in range(cells.shape[1]):
            for b in range(a, cells.shape[1]):
                i, j = ptr[cells[g, a]], ptr[cells[g, b]]
                i_end, j_end = ptr[cells[g, a] + 1], ptr[cells[g, b] + 1]
                total = 0.0
                while i < i_end and j < j_end:
                    if idx[i] == idx[j]:
                        total += val[i] * val[j]
                        i += 1
                        j += 1
                    elif idx[i] < idx[j]:
                        i += 1
                    else:
                        j += 1
                out[g, a, b] += total
                if a != b:
                    out[g, b, a] += total
