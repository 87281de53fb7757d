"""Compiled loop of Gram matrices at the places of the sparse factor."""

from __future__ import annotations

import numpy as np
from numba import njit

from realmat.algebra.kernels import FAST, INT32, INT64, VECTOR

Array = np.ndarray


@njit(f"({INT32}, {INT32}, {VECTOR}, {INT64}, {VECTOR}, {INT64}, {INT32}, int64, int64, {VECTOR})", **FAST)
def gram(
    indptr: Array, indices: Array, data: Array, which: Array, weight: Array, ptr: Array, rows: Array, lead: int, n: int, out: Array
) -> None:
    """Add ``sum_r weight[r] a_r a_r'`` over some rows of a csr matrix, the upper triangle, to the flat array of the factor.

    Columns stand in elimination order, ascending in each row; those from `n` on are left out. See `kernels` for the flat array.
    """
    d, base = n - lead, ptr[lead] + lead
    for r in which:
        stop = indptr[r + 1]
        while stop > indptr[r] and indices[stop - 1] >= n:
            stop -= 1
        for a in range(indptr[r], stop):
            low, own = indices[a], data[a]
            k = ptr[low]
            for b in range(a, stop):
                high = indices[b]
                value = own * (data[b] * weight[r])
                if low >= lead:
                    place = base + (high - lead) + (low - lead) * d
                elif low == high:
                    place = ptr[low] + low
                else:
                    while rows[k] < high:
                        k += 1
                    place = k + low + 1
                # a column that stands twice in a row meets itself on both sides of the diagonal
                out[place] += 2 * value if low == high and a != b else value
