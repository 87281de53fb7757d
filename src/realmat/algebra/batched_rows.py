"""What a block of rows has from psi, at many psi at once."""

from __future__ import annotations

import numpy as np

from realmat.algebra.batching import Batch, Batched
from realmat.algebra.row_block import RowBlock


class BatchedRows:
    """What a block of rows has from psi, for a batch: scales, offsets, and variances by key."""

    def __init__(self, row_block: RowBlock) -> None:
        self.row_block = row_block
        self._noise = Batched(row_block.noise.scales) if row_block.noise.scales is not None else None
        self._scales = [Batched(1.0 if scale is None else scale) for scale in row_block.scales]
        self._offsets = [Batched(offset) for offset in row_block.offsets]

    def variance(self, values: Batch, n: int) -> np.ndarray:
        """Variance of a single measurement by key, shape (n, keys)."""
        f = self.row_block
        if self._noise is None:
            return np.broadcast_to(f.key_u2, (n, len(f.key_u2)))
        return np.ascontiguousarray(f.of_scales(self._noise(values, n)).T)

    def by_row(self, values: Batch, n: int) -> np.ndarray:
        """Variance of a single measurement by row, shape (n, rows), local factors included where they are among the values."""
        f = self.row_block
        own = self.variance(values, n)[:, f.key]
        return own * values[f.local].T if f.local in values else own

    def measured(self, values: Batch) -> np.ndarray:
        """y less its known offset and centre, shape (rows, n or 1), latent values in place of censored ones."""
        f = self.row_block
        known = np.broadcast_to(np.asarray(f.known + f.centre, dtype=float), (len(f.y),))
        return values[f.latent] - known[:, None] if f.latent in values else f.y[:, None]

    def scales(self, values: Batch, n: int) -> np.ndarray:
        """Value of each scale, shape (n, scales)."""
        return np.array([np.broadcast_to(scale(values, n), (n,)) for scale in self._scales]).T

    def offset(self, values: Batch, n: int, run: int = 1) -> np.ndarray | float:
        """Part of the mean that depends on psi alone, shape (rows or 1, n), in runs as `Batched` has them."""
        return sum((offset(values, n, run) for offset in self._offsets), 0.0)
