"""The response, cell by cell, at many psi at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from realmat.algebra.batched_rows import BatchedRows
from realmat.algebra.batching import Batch

if TYPE_CHECKING:
    from realmat.algebra.system import System


@dataclass
class ResponseMoments:
    """The response at a batch: value of each scale (n, scales), offset and variance of a single measurement, both (n, cells)."""

    scales: np.ndarray
    offset: np.ndarray
    variance: np.ndarray


class Response:
    """Some cells of the response as combinations of coefficients.

    Parameters
    ----------
    system : System
    cells : int array

    Attributes
    ----------
    matrix : csr, shape (cells, coefficients)
        Natural order, without scales; `scale_of` says which of them multiplies each entry.
    """

    def __init__(self, system: System, cells: np.ndarray) -> None:
        row_block = system.declared[0]
        self.row_block, self.cells = row_block, cells
        self._given = BatchedRows(row_block)
        declared, scale_of = row_block.matrix, row_block.scale_of
        ptr = declared.indptr
        size = np.diff(ptr)[cells]
        starts = np.concatenate([[0], np.cumsum(size)])
        entries = np.repeat(ptr[cells] - starts[:-1], size) + np.arange(starts[-1])
        columns, shape = declared.indices[entries], (len(cells), system.size)
        self.matrix = sparse.csr_matrix((declared.data[entries], columns, starts.astype(np.int32)), shape=shape)
        self.scale_of = np.asarray(scale_of[entries], dtype=np.int64)
        self._known = np.broadcast_to(np.asarray(row_block.known, dtype=float), (len(row_block.y),))[cells]
        self._by_scale = [self._of_scale(k) for k in range(len(row_block.scales))]

    def _of_scale(self, scale: int) -> sparse.csr_matrix:
        m = self.matrix
        out = sparse.csr_matrix((np.where(self.scale_of == scale, m.data, 0.0), m.indices, m.indptr), shape=m.shape, copy=True)
        out.eliminate_zeros()
        return out

    def at(self, values: Batch, n: int) -> ResponseMoments:
        """At psi of a batch, which is the last axis of the values; local variance factors are included where they are among them."""
        row_block = self.row_block
        offset = np.broadcast_to(self._given.offset(values, n), (len(row_block.y), n))[self.cells].T + self._known
        return ResponseMoments(self._given.scales(values, n), offset, self._given.by_row(values, n)[:, self.cells])

    def mean(self, at: ResponseMoments, b: np.ndarray) -> np.ndarray:
        """The noiseless values, shape (n, cells), at coefficients of shape (n, coefficients), natural order."""
        columns = np.ascontiguousarray(b.T)
        parts = ((matrix @ columns).T * at.scales[:, [k]] for k, matrix in enumerate(self._by_scale))
        return np.asarray(sum(parts, at.offset))
