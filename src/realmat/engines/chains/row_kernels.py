"""Loops over sparse rows that read the coefficients of many chains, the chains as last axis."""

from __future__ import annotations

import numpy as np
from numba import njit

from realmat.algebra.kernels import FAST, INT32, INT64, MATRIX, VECTOR

Array = np.ndarray
PLAIN = {**FAST, "error_model": "numpy", "fastmath": {"contract"}}


@njit(f"void({INT32}, {INT32}, {VECTOR}, {INT64}, {MATRIX}, {MATRIX}, {MATRIX})", **PLAIN)
def predict(indptr: Array, indices: Array, data: Array, scale_of: Array, scales: Array, b: Array, eta: Array) -> None:
    """Add ``sum over entries: scale * value * b`` to `eta` of shape (rows, n); `scales` has shape (scales, n), the first is one."""
    n = b.shape[1]
    for i in range(len(indptr) - 1):
        for p in range(indptr[i], indptr[i + 1]):
            j, value, k = indices[p], data[p], scale_of[p]
            if k == 0:
                for c in range(n):
                    eta[i, c] += value * b[j, c]
            else:
                for c in range(n):
                    eta[i, c] += value * scales[k, c] * b[j, c]


@njit(f"void({INT32}, {INT32}, {VECTOR}, {INT64}, {MATRIX}, {MATRIX}, {MATRIX}, {MATRIX}, {MATRIX})", **PLAIN)
def pull(
    indptr: Array,
    indices: Array,
    data: Array,
    scale_of: Array,
    scales: Array,
    b: Array,
    in_eta: Array,
    gradient: Array,
    in_scales: Array,
) -> None:
    """Add what slopes in `eta` mean for the coefficients to `gradient`, and for the scales, except the first, to `in_scales`."""
    n = b.shape[1]
    for i in range(len(indptr) - 1):
        for p in range(indptr[i], indptr[i + 1]):
            j, value, k = indices[p], data[p], scale_of[p]
            if k == 0:
                for c in range(n):
                    gradient[j, c] += value * in_eta[i, c]
            else:
                for c in range(n):
                    slope = value * in_eta[i, c]
                    gradient[j, c] += slope * scales[k, c]
                    in_scales[k, c] += slope * b[j, c]
