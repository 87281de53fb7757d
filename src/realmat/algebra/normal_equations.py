"""The normal equations of one block of rows: what it adds to the precision matrix, A' W A, and to the right-hand side, A' W y."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from realmat.algebra import kernels
from realmat.algebra.ordering import Pattern
from realmat.algebra.row_block import RowBlock, variance_error
from realmat.errors import FitError
from realmat.terms.term import Values

FEW_KEYS = 8
_WHOLE = 0.2  # share of places from which adding whole arrays is faster than scattering
Slot = tuple[np.ndarray | slice, np.ndarray]
_LOG_2PI = float(np.log(2 * np.pi))


def laid_out(where: np.ndarray, values: np.ndarray, flat: int) -> Slot:
    """Numbers at places of a flat array as they are best added: as a whole array where they are many, else scattered."""
    if len(where) <= _WHOLE * flat:
        return where, values
    full = np.zeros(flat)
    full[where] = values
    return slice(None), full


class NormalEquations:
    """The share of one block of rows in P and in the right-hand side: Gram matrices by key where keys are few, else row by row."""

    def __init__(self, row_block: RowBlock, pattern: Pattern) -> None:
        self.row_block = row_block
        self.pattern = pattern
        unscaled = not row_block.augmented and len(row_block.scales) == 1 and not row_block.offsets
        self.constant = unscaled and row_block.noise.scales is None
        self.few = unscaled and len(row_block.key_u2) <= FEW_KEYS
        if self.few:
            self._grams()

    @cached_property
    def places(self) -> np.ndarray:
        """Flat position of each pair of entries of each row."""
        return self.pattern.pair_places(self.row_block.matrix)

    def _grams(self) -> None:
        f = self.row_block
        self.grams, self.sides = [], []
        for k in range(len(f.key_u2)):
            where, values = self.pattern.gram(f.matrix, np.flatnonzero(f.key == k), f.count)
            self.grams.append(laid_out(where, values, self.pattern.flat))
            self.sides.append(self._side(k))
        self._totals()

    def _side(self, key: int) -> np.ndarray:
        f = self.row_block
        weighted = np.where(f.key == key, f.count * f.y, 0.0)
        return np.asarray(f.matrix.T @ weighted)[: self.pattern.size]

    def _totals(self) -> None:
        f = self.row_block
        keys = len(f.key_u2)
        self.totals = np.bincount(f.key, weights=f.count, minlength=keys)
        self.squares = np.bincount(f.key, weights=f.count * f.y**2 + f.within, minlength=keys)

    def recentred(self) -> None:
        """The rows' values have moved: refresh what was computed from them."""
        if self.few:
            self._totals()
            self.sides = [self._side(k) for k in range(len(self.sides))]

    def add(self, p: Values, x: np.ndarray, side: np.ndarray) -> float:
        """Add A' W A to the flat array `x` and A' W (y - offset) to `side`, both in elimination order.

        Returns log p(rows | b = b0, psi).
        """
        f = self.row_block
        variance = f.variance(p)
        if not np.all(variance > 0):
            raise FitError(variance_error(f.name))
        if self.few:
            for k, (where, gram) in enumerate(self.grams):
                x[where] += gram / variance[k]
                side += self.sides[k] / variance[k]
            return float(-0.5 * np.sum(self.totals * (np.log(variance) + _LOG_2PI) + self.squares / variance))
        scales, by_row = f.scale_values(p), f.by_row(variance, p)
        m, residual = f.matrix, f.values(p) - f.offset(p)
        kernels.assemble(x, side, m.indptr, m.indices, m.data, f.scale_of, scales, f.count / by_row, residual, self.places)
        squares = f.count * residual**2 + f.within
        return float(-0.5 * np.sum(f.count * (np.log(by_row) + _LOG_2PI) + squares / by_row))

    def log_density(self, p: Values, b: np.ndarray) -> float:
        """log p(rows | b, psi), with b in elimination order."""
        f = self.row_block
        residual = f.values(p) - f.offset(p) - f.at(p) @ b
        squares = f.count * residual**2 + f.within
        if self.few:
            variance = f.variance(p)
            by_key = np.bincount(f.key, weights=squares, minlength=len(variance))
            return float(-0.5 * np.sum(self.totals * (np.log(variance) + _LOG_2PI) + by_key / variance))
        variance = f.row_variance(p)
        return float(-0.5 * np.sum(f.count * (np.log(variance) + _LOG_2PI) + squares / variance))
