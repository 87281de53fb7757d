"""Elimination order and pattern of the sparse factor, found once for a problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from realmat.algebra import gram_kernels, kernels
from realmat.errors import FitError

_MOST_PAIRS = 400_000_000
_SPARSE_COST, _DENSE_COST = 1.5, 0.08  # nanoseconds for a multiply-add: scattered, and inside LAPACK
_NEARLY = 0.5  # of the trailing block
_SPLITS = 24


@dataclass(frozen=True)
class Pattern:
    """Where every number of the factor stands in one flat array (see `kernels`).

    Attributes
    ----------
    place : int array of shape (coefficients,)
        Position of each coefficient in the elimination order.
    lead, dense : int
        Columns eliminated one by one, and columns left to LAPACK.
    full : bool array of shape (lead,)
        Lead columns that hold all of the trailing block, with zeros where they did not reach it.
    time : float
        Nanoseconds that a factorisation is expected to take.
    """

    place: np.ndarray
    lead: int
    ptr: np.ndarray
    rows: np.ndarray
    targets: np.ndarray
    full: np.ndarray
    time: float

    @property
    def size(self) -> int:
        """Number of columns."""
        return len(self.place)

    @property
    def dense(self) -> int:
        """Columns of the trailing block."""
        return self.size - self.lead

    @property
    def base(self) -> int:
        """Start of the trailing block."""
        return int(self.ptr[self.lead]) + self.lead

    @property
    def flat(self) -> int:
        """Length of the flat array."""
        return self.base + self.dense**2

    @cached_property
    def diagonal(self) -> np.ndarray:
        """Flat positions of the diagonal, in elimination order."""
        d = np.arange(self.dense)
        return np.concatenate([self.ptr[: self.lead] + np.arange(self.lead), self.base + d * (self.dense + 1)])

    def pair_places(self, matrix: sparse.csr_matrix) -> np.ndarray:
        """Flat positions of all pairs of entries of each row."""
        return kernels.pair_places(
            matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), self.ptr, self.rows, self.lead, self.size
        )

    def gram(self, matrix: sparse.csr_matrix, which: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Flat positions and values of ``sum_r weight[r] a_r a_r'`` over some rows of a matrix with columns in elimination order."""
        arrays = matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), matrix.data.astype(float)
        out, factor = np.zeros(self.flat), np.ascontiguousarray(weight, dtype=float)
        gram_kernels.gram(*arrays, which, factor, self.ptr, self.rows, self.lead, self.size, out)
        where = np.flatnonzero(out)
        return where, out[where]

    def positions(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Flat positions of entries of a symmetric matrix in elimination order, by row and column of either half."""
        low, high = np.minimum(one, other).astype(np.int64), np.maximum(one, other).astype(np.int64)
        out = np.empty(len(low), dtype=np.int64)
        dense = low >= self.lead
        out[dense] = self.base + (high[dense] - self.lead) + (low[dense] - self.lead) * self.dense
        diagonal = ~dense & (low == high)
        out[diagonal] = self.ptr[low[diagonal]] + low[diagonal]
        rest = np.flatnonzero(~dense & (low != high))
        keys = np.repeat(np.arange(self.size), np.diff(self.ptr)) * self.size + self.rows  # sorted: columns, then rows
        out[rest] = np.searchsorted(keys, low[rest] * self.size + high[rest]) + low[rest] + 1
        return out

    @classmethod
    def of(cls, matrices: Sequence[sparse.csr_matrix], size: int) -> Pattern:
        """Order, factorise symbolically and choose how many columns LAPACK gets.

        Raises
        ------
        realmat.FitError
            If the factor would not fit in memory.
        """
        graph = _graph(matrices, size)
        order = _order(graph)
        place = np.empty(size, dtype=np.int64)
        place[order] = np.arange(size)
        permuted = sparse.tril(graph[order][:, order], -1).tocsc()
        permuted.sort_indices()
        ptr, rows = kernels.symbolic(permuted.indptr.astype(np.int32), permuted.indices.astype(np.int32), size)
        lead, cost = _split(ptr, rows)
        full = _full(ptr, rows, lead)
        if cost.pairs > _MOST_PAIRS or size - lead > 15_000:
            raise FitError("the design crosses too many large groups for the exact engine; use engine='nuts'.")
        ptr, rows = kernels.filled(ptr, rows, lead, size, full)
        return cls(place, lead, ptr, rows, kernels.targets(ptr, rows, lead, size, full), full, cost.time)


def _graph(matrices: Sequence[sparse.csr_matrix], size: int) -> sparse.csr_matrix:
    """Pattern of A'A over all row_blocks, with a full diagonal."""
    total = sparse.identity(size, format="csr")
    for matrix in matrices:
        ones = sparse.csr_matrix((np.ones(len(matrix.data)), matrix.indices, matrix.indptr), shape=matrix.shape)
        ones = _distinct(ones)
        total = total + ones.T @ ones
    return sparse.csr_matrix(total)


def _distinct(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """One copy of each distinct row pattern: replicates add nothing to the graph."""
    rng = np.random.default_rng(0)
    signature = matrix @ rng.random(matrix.shape[1])
    return matrix[np.unique(signature, return_index=True)[1]]


def _order(graph: sparse.csr_matrix) -> np.ndarray:
    """Minimum degree (SuperLU's) on the sparse columns; columns that touch nearly everything come last."""
    n = graph.shape[0]
    degree = np.diff(graph.indptr)
    dense = degree > max(40, 10 * np.sqrt(n))
    sparse_columns = np.flatnonzero(~dense)
    if len(sparse_columns) > 1:
        sub = graph[sparse_columns][:, sparse_columns].astype(float)
        count = np.diff(sub.indptr)
        dominant = sparse.csc_matrix(sparse.diags(count + 1.0) + sub * 1e-3)
        options: dict[str, Any] = {"SymmetricMode": True}
        permutation = splu(dominant, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options).perm_c
        sparse_columns = sparse_columns[np.argsort(permutation)]
    dense_columns = np.flatnonzero(dense)
    return np.concatenate([sparse_columns, dense_columns[np.argsort(degree[dense_columns], kind="stable")]])


def _full(ptr: np.ndarray, rows: np.ndarray, lead: int) -> np.ndarray:
    """Which lead columns reach so much of the trailing block that they had better be given all of it."""
    dense = len(ptr) - 1 - lead
    reached = np.add.reduceat(np.append(rows >= lead, False).astype(np.int64), ptr[:lead]) * (np.diff(ptr[: lead + 1]) > 0)
    return (reached >= _NEARLY * dense) & (dense > 1)


@dataclass(frozen=True)
class _Cost:
    """Multiply-adds done one by one, and the time that all of a factorisation is expected to take."""

    pairs: float
    time: float

    @classmethod
    def of(cls, ptr: np.ndarray, rows: np.ndarray, lead: int) -> _Cost:
        n = len(ptr) - 1
        dense = n - lead
        full = _full(ptr, rows, lead)
        h = np.diff(ptr[: lead + 1]).astype(float)
        pairs = float(np.sum(h * (h + 1) / 2 - np.where(full, dense * (dense + 1) / 2, 0.0)))
        together = 2 * float(full.sum()) * dense**2
        trailing = (dense**3 / 3 + together) * _DENSE_COST + 3000.0 * (dense > 0) + float(dense) ** 2
        return cls(pairs, _SPARSE_COST * pairs + trailing)


def _split(ptr: np.ndarray, rows: np.ndarray) -> tuple[int, _Cost]:
    """How many columns to eliminate one by one so that the expected time is smallest.

    Tried are the best split when no column is full, and those at which many columns' last gap ends.
    """
    n = len(ptr) - 1
    h = np.diff(ptr).astype(float)
    scattered = np.concatenate([[0.0], np.cumsum(h * (h + 1) / 2)]) * _SPARSE_COST
    rest = (n - np.arange(n + 1)).astype(float)
    alone = scattered + rest**3 / 3 * _DENSE_COST + 3000.0 * (rest > 0) + rest**2
    ends, times = np.unique(kernels.ends(ptr, rows, n), return_counts=True)
    likely = {int(np.argmin(alone)), *ends[np.argsort(-times, kind="stable")[:_SPLITS]].tolist()}
    costs = {lead: _Cost.of(ptr, rows, lead) for lead in sorted(likely) if lead > 0} or {0: _Cost.of(ptr, rows, 0)}
    best = min(costs, key=lambda lead: costs[lead].time)
    return best, costs[best]
