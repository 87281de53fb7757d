"""What measured rows add to P and to the right-hand side, at many psi at once."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from realmat.algebra import batch_kernels
from realmat.algebra.batched_rows import BatchedRows
from realmat.algebra.batching import Batch
from realmat.algebra.normal_equations import FEW_KEYS, NormalEquations, Slot
from realmat.algebra.ordering import Pattern
from realmat.algebra.residual_sums import ResidualSums
from realmat.algebra.simd import pack
from realmat.algebra.weighted_sum import Increment

_LOG_2PI = float(np.log(2 * np.pi))
_MOST_SLOTS, _MOST_NUMBERS = 24, 10_000_000


class BatchNormalEquations:
    """The share of one block of rows in P and in the right-hand side, as `NormalEquations` has it, for a batch.

    Rows of few keys and scales enter P as sums, a slot for each key and pair of scales; others are added row by row.
    """

    def __init__(self, part: NormalEquations, pattern: Pattern) -> None:
        f = self.row_block = part.row_block
        self.part = part
        self.given = BatchedRows(f)
        keys = len(f.key_u2)
        # with auxiliary values every row has a variance of its own
        self._key = np.arange(len(f.y)) if f.augmented else f.key
        self._within = f.within if f.augmented else np.bincount(f.key, weights=f.within, minlength=keys)
        self._totals = f.count if f.augmented else np.bincount(f.key, weights=f.count, minlength=keys)
        slots = keys * len(f.scales) * (len(f.scales) + 1) // 2
        many = keys > FEW_KEYS or slots > _MOST_SLOTS or slots * pattern.flat > _MOST_NUMBERS
        self.by_row = not part.few and (f.augmented or many)
        self.slots: list[Slot] = []
        self.sides = np.zeros((0, pattern.size))
        if part.few:
            self.slots, self.sides = list(part.grams), np.array(part.sides)
        elif not self.by_row:
            self._pair_slots(pattern, slots)
            self._columns = [self._transposed(k, pattern.size) for k in range(len(f.scales))]
            self._sums = ResidualSums.of(f, self._columns.__getitem__)
            if self._sums is not None:
                self.sides = self._sums.products

    def _pair_slots(self, pattern: Pattern, slots: int) -> None:
        f, m = self.row_block, self.row_block.matrix
        rows = (m.indptr, m.indices, m.data, f.scale_of, f.count, f.key, self.part.places)
        where, value = batch_kernels.pairs(*rows, len(f.scales), pattern.flat)
        sums = np.bincount(where, weights=value, minlength=slots * pattern.flat).reshape(slots, pattern.flat)
        self.slots = [(places, own[places]) for own in sums for places in [np.flatnonzero(own)]]

    def _transposed(self, scale: int, size: int) -> sparse.csr_matrix:
        """(columns x rows): the entries of a scale times the rows' counts."""
        f, m = self.row_block, self.row_block.matrix
        data = np.where(f.scale_of == scale, m.data * np.repeat(f.count, np.diff(m.indptr)), 0.0)
        out = sparse.csr_matrix((data, m.indices, m.indptr), shape=m.shape)[:, :size].T.tocsr()
        out.eliminate_zeros()
        return out

    def at(self, values: Batch, n: int) -> Increment:
        """Weights, and log p(rows | b = b0, psi)."""
        precision = 1.0 / (self.given.by_row(values, n) if self.row_block.augmented else self.given.variance(values, n))
        log = -0.5 * ((_LOG_2PI - np.log(precision)) @ self._totals)
        if self.part.few:
            return Increment(precision, precision, log - 0.5 * precision @ self.part.squares)
        f = self.row_block
        scales = self.given.scales(values, n)
        if not self.by_row and self._sums is not None:
            found = self._sums.at(values, n, scales, precision)
            if found is not None:
                return Increment(self._slots(scales, precision), found[1], log - 0.5 * (precision @ self._within + found[0]))
        residual = np.broadcast_to(self.given.measured(values) - self.given.offset(values, n), (len(f.y), n))
        single = precision.T[self._key]
        log = log - 0.5 * (precision @ self._within + f.count @ (single * residual**2))
        if self.by_row:
            return Increment(np.zeros((n, 0)), np.zeros((n, 0)), log, more=(scales, precision, residual.T))
        weighted = single * residual
        side = sum((transposed @ weighted) * scale for transposed, scale in zip(self._columns, scales.T, strict=True)).T
        return Increment(self._slots(scales, precision), np.zeros((n, len(self.sides))), log, side)

    @staticmethod
    def _slots(scales: np.ndarray, precision: np.ndarray) -> np.ndarray:
        """Weights of the slots, shape (n, keys x pairs of scales)."""
        pairs = [scales[:, low] * scales[:, high] for high in range(scales.shape[1]) for low in range(high + 1)]
        return (precision[:, :, None] * np.array(pairs).T[:, None]).reshape(len(scales), -1)

    def add(self, at: Increment, xs: np.ndarray, sides: np.ndarray) -> None:
        """Add what no slot holds: A' W A to `xs` (blocks, flat, 8), A' W (y - offset) to `sides` (blocks, columns, 8)."""
        if at.more:
            scales, precision, residual = (pack(x) for x in at.more)
            f, m = self.row_block, self.row_block.matrix
            rows = (m.indptr, m.indices, m.data, f.scale_of, scales, f.count, self._key, precision, residual)
            batch_kernels.assemble(xs, sides, *rows, self.part.places)
