"""Sums over rows of residuals ``y - sum_j s_j(psi) v_j``, with y and v_j known: none of them needs the rows again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from realmat.algebra.batching import Batch, Batched
from realmat.algebra.row_block import RowBlock
from realmat.terms.term import Scaled


@dataclass
class ResidualSums:
    """By key of the variance: squares of residuals, and products with the matrix by scale.

    The v_j that suit y best are taken from it, so that sums of squares are of numbers as small as they can be.

    Attributes
    ----------
    scales : list of Batched
        s_j.
    best : array of shape (offsets,)
        By least squares.
    grams : array of shape (keys, 1 + offsets, 1 + offsets)
        Products of y less `best` times v, and -v, rows counted.
    products : array of shape (keys x scales of the matrix x (1 + offsets), columns)
    """

    scales: list[Batched]
    best: np.ndarray
    grams: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, rows: RowBlock, columns: Callable[[int], sparse.csr_matrix]) -> ResidualSums | None:
        """Of rows whose offsets are all known vectors under scalars of psi; None for others.

        `columns` gives, by scale of the matrix, its entries times the rows' counts, shape (columns, rows).
        """
        offsets = [offset for offset in rows.offsets if isinstance(offset, Scaled)]
        if len(offsets) < len(rows.offsets):
            return None
        v = np.array([np.broadcast_to(offset.values, rows.y.shape) for offset in offsets]).reshape(len(offsets), len(rows.y))
        size = np.maximum(np.abs(v).max(axis=1), 1e-300)
        root = np.sqrt(rows.count)
        best = np.linalg.lstsq((v * root / size[:, None]).T, rows.y * root, rcond=None)[0] / size if len(v) else np.zeros(0)
        every = np.concatenate([(rows.y - best @ v)[None], -v])
        keys = [np.flatnonzero(rows.key == k) for k in range(len(rows.key_u2))]
        grams = np.array([every[:, k] * rows.count[k] @ every[:, k].T for k in keys])
        matrices: Sequence[sparse.csr_matrix] = [columns(k) for k in range(len(rows.scales))]
        products = np.array([[(m[:, k] @ every[:, k].T).T for m in matrices] for k in keys])
        return cls([Batched(offset.scale) for offset in offsets], best, grams, products.reshape(-1, products.shape[-1]))

    def at(self, values: Batch, n: int, scales: np.ndarray, precision: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Squares of residuals times precisions, shape (n,), and weights of `products`, shape (n, products).

        None where an s_j is not one number.

        Parameters
        ----------
        scales : array of shape (n, scales of the matrix)
        precision : array of shape (n, keys)
        """
        given = [scale(values, n) for scale in self.scales]
        if any(s.ndim != 1 for s in given):
            return None
        away = np.array([np.broadcast_to(s, (n,)) for s in given]).reshape(len(given), n).T - self.best
        weight = np.concatenate([np.ones((n, 1)), away], axis=1)
        squares = np.sum(precision[..., None] * weight[:, None] * (weight @ self.grams).swapaxes(0, 1), axis=(1, 2))
        together = precision[:, :, None, None] * scales[:, None, :, None] * weight[:, None, None]
        return squares, together.reshape(n, -1)
