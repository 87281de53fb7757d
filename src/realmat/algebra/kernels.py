"""Compiled loops of the sparse Cholesky factorisation.

Columns are split into `lead` sparse columns, eliminated one by one, and a dense trailing block left to LAPACK. One flat array holds
the lead columns (diagonal first, then the rows below it) followed by the trailing block. Where each update lands is found once
(`symbolic`, `targets`), so that a numeric factorisation is a single pass of multiply-adds (right-looking Cholesky: Davis, Direct Methods
for Sparse Linear Systems, SIAM 2006, chapter 4). Columns that reach most of the trailing block (*full* ones) hold all of it, and
update it together, as one matrix product.
"""

from __future__ import annotations

import numpy as np
from numba import njit

Array = np.ndarray
# Functions that every fit uses state their types, so that numba loads them with the module: the first fit takes as long as the next.
FAST = {"cache": True, "nogil": True, "fastmath": False}
_FEW = 64
INT32, INT64, FLAGS, VECTOR, MATRIX = "int32[::1]", "int64[::1]", "boolean[::1]", "float64[::1]", "float64[:, ::1]"


@njit(f"({MATRIX}, {MATRIX})", **FAST)
def invert(lower: Array, inverse: Array) -> None:
    """The transposed inverse of a lower triangular matrix, into the upper triangle of `inverse`."""
    for j in range(len(lower)):
        inverse[j, j] = 1.0 / lower[j, j]
        for i in range(j + 1, len(lower)):
            total = 0.0
            for m in range(j, i):
                total += lower[i, m] * inverse[j, m]
            inverse[j, i] = -total / lower[i, i]


@njit(f"({INT32}, {INT32}, int64)", **FAST)
def symbolic(indptr: Array, indices: Array, n: int) -> tuple[Array, Array]:
    """Pattern of the Cholesky factor, column by column, from the strict lower pattern (csc, sorted) of the matrix.

    A column of the factor is its own pattern joined with that of its children in the elimination tree, without their first row.
    """
    first_child = np.full(n, -1, np.int64)
    next_sibling = np.full(n, -1, np.int64)
    mark = np.full(n, -1, np.int64)
    ptr = np.zeros(n + 1, np.int64)
    rows = np.empty(max(4 * len(indices), 16), np.int32)
    size = 0
    for j in range(n):
        mark[j] = j
        start = size
        need = size + n
        if need > len(rows):
            grown = np.empty(max(2 * len(rows), need), np.int32)
            grown[:size] = rows[:size]
            rows = grown
        for p in range(indptr[j], indptr[j + 1]):
            i = indices[p]
            if i > j and mark[i] != j:
                mark[i] = j
                rows[size] = i
                size += 1
        child = first_child[j]
        while child >= 0:
            for p in range(ptr[child], ptr[child + 1]):
                i = rows[p]
                if i > j and mark[i] != j:
                    mark[i] = j
                    rows[size] = i
                    size += 1
            child = next_sibling[child]
        rows[start:size].sort()
        ptr[j + 1] = size
        if size > start:
            parent = rows[start]
            next_sibling[j] = first_child[parent]
            first_child[parent] = j
    return ptr, rows[:size].copy()


@njit(f"({INT64}, {INT32}, int64)", **FAST)
def ends(ptr: Array, rows: Array, n: int) -> Array:
    """From which column on each column of the factor reaches everything."""
    out = np.empty(n, np.int64)
    for j in range(n):
        last = n
        k = ptr[j + 1] - 1
        while k >= ptr[j] and rows[k] == last - 1:
            last -= 1
            k -= 1
        out[j] = last
    return out


@njit(f"({INT64}, {INT32}, int64, int64, {FLAGS})", **FAST)
def filled(ptr: Array, rows: Array, lead: int, n: int, full: Array) -> tuple[Array, Array]:
    """The pattern with all of the trailing block in full columns."""
    new_ptr = np.zeros(n + 1, np.int64)
    new_rows = np.empty(len(rows) + np.sum(full) * (n - lead), np.int32)
    size = 0
    for j in range(n):
        for k in range(ptr[j], ptr[j + 1]):
            if j < lead and full[j] and rows[k] >= lead:
                break
            new_rows[size] = rows[k]
            size += 1
        if j < lead and full[j]:
            for i in range(lead, n):
                new_rows[size] = i
                size += 1
        new_ptr[j + 1] = size
    return new_ptr, new_rows[:size].copy()


@njit(f"({INT64}, {INT32}, int64, int64, {FLAGS})", **FAST)
def targets(ptr: Array, rows: Array, lead: int, n: int, full: Array) -> Array:
    """Where each update of a pair of rows of a lead column lands in the flat array; not those of full columns on the trailing block."""
    d = n - lead
    base = ptr[lead] + lead
    total = 0
    for j in range(lead):
        m = ptr[j + 1] - ptr[j]
        total += m * (m + 1) // 2 - (d * (d + 1) // 2 if full[j] else 0)
    out = np.empty(total, np.uint32)
    place = np.full(n, -1, np.int64)
    t = 0
    for j in range(lead):
        for a in range(ptr[j], ptr[j + 1]):
            column = rows[a]
            if column < lead:
                place[column] = ptr[column] + column
                for q in range(ptr[column], ptr[column + 1]):
                    place[rows[q]] = q + column + 1
                for b in range(a, ptr[j + 1]):
                    out[t] = place[rows[b]]
                    t += 1
            elif not full[j]:
                for b in range(a, ptr[j + 1]):
                    out[t] = base + (rows[b] - lead) + (column - lead) * d
                    t += 1
    return out


@njit(**FAST)
def _update_trailing(x: Array, ptr: Array, lead: int, full: Array, d: int, together: int) -> None:
    """Subtract what all full columns take from the trailing block."""
    panel = np.empty((together, d))
    k = 0
    for j in range(lead):
        if full[j]:
            stop = ptr[j + 1] + j + 1
            root = 1.0 / np.sqrt(x[ptr[j] + j])
            for i in range(d):
                panel[k, i] = x[stop - d + i] * root
            k += 1
    taken = panel.T @ panel
    base = ptr[lead] + lead
    for c in range(d):
        for r in range(c, d):
            x[base + r + c * d] -= taken[c, r]


@njit(f"({VECTOR}, {INT64}, uint32[::1], int64, {FLAGS}, int64)", **FAST)
def factor(x: Array, ptr: Array, target: Array, lead: int, full: Array, d: int) -> float:
    """Eliminate the lead columns in place. Returns the sum of their log pivots, or nan when one is not positive."""
    t = 0
    log_det = 0.0
    together = 0
    for j in range(lead):
        start = ptr[j] + j
        stop = ptr[j + 1] + j + 1
        pivot = x[start]
        if not pivot > 0.0:
            return np.nan
        log_det += np.log(pivot)
        inverse = 1.0 / pivot
        together += full[j]
        for a in range(start + 1, stop - d if full[j] else stop):
            ratio = x[a] * inverse
            left = stop - a
            source, place = x[a:stop], target[t : t + left]  # slices of unsigned places: no bounds, no sign to check
            for k in range(left):
                x[place[k]] -= ratio * source[k]
            t += left
    if together:
        _update_trailing(x, ptr, lead, full, d, together)
    return log_det


@njit(f"({VECTOR}, {INT64}, {INT32}, int64, {VECTOR})", **FAST)
def forward(x: Array, ptr: Array, rows: Array, lead: int, z: Array) -> None:
    """Solve the lead part of L z = rhs in place; z has shape (columns,)."""
    for j in range(lead):
        start = ptr[j] + j
        scaled = z[j] / x[start]
        for k in range(ptr[j + 1] - ptr[j]):
            z[rows[ptr[j] + k]] -= x[start + 1 + k] * scaled


@njit(f"({VECTOR}, {INT64}, {INT32}, int64, {VECTOR})", **FAST)
def backward(x: Array, ptr: Array, rows: Array, lead: int, b: Array) -> None:
    """Solve the lead part of L' b = z in place, where b holds z / pivot in the lead part and the solution in the trailing one."""
    for j in range(lead - 1, -1, -1):
        start = ptr[j] + j
        total = 0.0
        for k in range(ptr[j + 1] - ptr[j]):
            total += x[start + 1 + k] * b[rows[ptr[j] + k]]
        b[j] -= total / x[start]


@njit(f"({VECTOR}, {INT64}, {INT32}, int64, {MATRIX})", **FAST)
def forward_many(x: Array, ptr: Array, rows: Array, lead: int, z: Array) -> None:
    """As `forward` for many right-hand sides side by side, z of shape (columns, n)."""
    for j in range(lead):
        start = ptr[j] + j
        for k in range(ptr[j + 1] - ptr[j]):
            i, factor = rows[ptr[j] + k], x[start + 1 + k] / x[start]
            for c in range(z.shape[1]):
                z[i, c] -= factor * z[j, c]


@njit(f"({VECTOR}, {INT64}, {INT32}, int64, {MATRIX})", **FAST)
def backward_many(x: Array, ptr: Array, rows: Array, lead: int, b: Array) -> None:
    """As `backward` for many right-hand sides side by side, b of shape (columns, n)."""
    for j in range(lead - 1, -1, -1):
        start = ptr[j] + j
        for k in range(ptr[j + 1] - ptr[j]):
            i, factor = rows[ptr[j] + k], x[start + 1 + k] / x[start]
            for c in range(b.shape[1]):
                b[j, c] -= factor * b[i, c]


@njit(f"({VECTOR}, {INT64}, {INT32}, int64, {MATRIX})", **FAST)
def raise_many(x: Array, ptr: Array, rows: Array, lead: int, b: Array) -> None:
    """Multiply by L' with unit pivots, the lead part, in place: the inverse of `backward_many`."""
    for j in range(lead):
        start = ptr[j] + j
        for k in range(ptr[j + 1] - ptr[j]):
            i, factor = rows[ptr[j] + k], x[start + 1 + k] / x[start]
            for c in range(b.shape[1]):
                b[j, c] += factor * b[i, c]


@njit(f"({VECTOR}, {INT64}, int64)", **FAST)
def pivots(x: Array, ptr: Array, lead: int) -> Array:
    """Pivots of the lead columns."""
    out = np.empty(lead)
    for j in range(lead):
        out[j] = x[ptr[j] + j]
    return out


@njit(**FAST)
def assemble(
    x: Array,
    side: Array,
    indptr: Array,
    indices: Array,
    data: Array,
    scale_of: Array,
    scale: Array,
    weight: Array,
    residual: Array,
    place: Array,
) -> None:
    """Add A' W A and A' W residual of rows in csr form: `place` gives the flat position of each pair of a row's entries, in order."""
    t = 0
    for r in range(len(indptr) - 1):
        w = weight[r]
        for a in range(indptr[r], indptr[r + 1]):
            left = w * data[a] * scale[scale_of[a]]
            side[indices[a]] += left * residual[r]
            for b in range(a, indptr[r + 1]):
                value = left * data[b] * scale[scale_of[b]]
                # a column that stands twice in a row (under two scales) meets itself on both sides of the diagonal
                x[place[t]] += 2 * value if a != b and indices[a] == indices[b] else value
                t += 1


@njit(**FAST)
def pair_places(indptr: Array, indices: Array, ptr: Array, rows: Array, lead: int, n: int) -> Array:
    """Flat positions of all pairs of entries in each row of a csr matrix whose columns are in elimination order."""
    d = n - lead
    base = ptr[lead] + lead
    total = 0
    for r in range(len(indptr) - 1):
        m = indptr[r + 1] - indptr[r]
        total += m * (m + 1) // 2
    out = np.empty(total, np.int32)
    t = 0
    for r in range(len(indptr) - 1):
        for a in range(indptr[r], indptr[r + 1]):
            for b in range(a, indptr[r + 1]):
                low, high = min(indices[a], indices[b]), max(indices[a], indices[b])
                if low >= lead:
                    out[t] = base + (high - lead) + (low - lead) * d
                elif low == high:
                    out[t] = ptr[low] + low
                else:
                    k = ptr[low] + np.searchsorted(rows[ptr[low] : ptr[low + 1]], high)
                    out[t] = k + low + 1
                t += 1
    return out


@njit(**FAST)
def _sort(x: Array) -> None:
    """In place; by insertion where numbers are few, and most of them stand in order."""
    if len(x) > _FEW:
        x.sort()
        return
    for i in range(1, len(x)):
        value, j = x[i], i
        while j > 0 and x[j - 1] > value:
            x[j] = x[j - 1]
            j -= 1
        x[j] = value


@njit(**FAST)
def spread(
    indptr: Array, indices: Array, data: Array, x: Array, ptr: Array, rows: Array, lead: int, n: int
) -> tuple[Array, Array, Array, Array]:
    """Forward-solve every row of a csr matrix X, scaled so that X P^-1 X' = Y Y' + D D' once D has passed the trailing block.

    A row reaches only the columns on the elimination-tree paths of its entries (the tree parent is a column's first row).
    Returns the lead part Y as csr arrays and the trailing part D, dense.
    """
    count = len(indptr) - 1
    work = np.zeros(n)
    mark = np.full(lead, -1, np.int64)
    reach = np.empty(lead, np.int64)
    out_ptr = np.zeros(count + 1, np.int64)
    out_idx = np.empty(max(4 * len(indices), 16), np.int32)
    out_val = np.empty(len(out_idx))
    dense = np.zeros((count, n - lead))
    size = 0
    for r in range(count):
        found = 0
        for a in range(indptr[r], indptr[r + 1]):
            j = indices[a]
            work[j] += data[a]
            while j < lead and mark[j] != r:
                mark[j] = r
                reach[found] = j
                found += 1
                j = rows[ptr[j]] if ptr[j + 1] > ptr[j] else lead
        order = reach[:found]
        _sort(order)
        if size + found > len(out_idx):
            room = max(2 * len(out_idx), size + found)
            new_idx, new_val = np.empty(room, np.int32), np.empty(room)
            new_idx[:size], new_val[:size] = out_idx[:size], out_val[:size]
            out_idx, out_val = new_idx, new_val
        for j in order:
            start = ptr[j] + j
            scaled = work[j] / x[start]
            out_idx[size], out_val[size] = j, work[j] / np.sqrt(x[start])
            size += 1
            for k in range(ptr[j + 1] - ptr[j]):
                work[rows[ptr[j] + k]] -= x[start + 1 + k] * scaled
            work[j] = 0.0
        for i in range(lead, n):
            dense[r, i - lead] = work[i]
            work[i] = 0.0
        out_ptr[r + 1] = size
    return out_ptr, out_idx[:size].copy(), out_val[:size].copy(), dense
