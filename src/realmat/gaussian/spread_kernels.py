"""Compiled loops of covariances given psi and y, eight psi side by side (see `lanes` and `batch_kernels`)."""

from __future__ import annotations

import numpy as np
from numba import njit

from realmat.gaussian.kernels import FAST, INT32, INT64, VECTOR
from realmat.gaussian.lanes import LANES, add_product, set_product

Array = np.ndarray
_BLOCKS = "float64[:, :, ::1]"


@njit(f"({INT32}, {INT32}, {INT64}, {INT32}, int64, int64, {INT32}, {INT32})", **FAST)
def reaches(
    indptr: Array, indices: Array, ptr: Array, rows: Array, lead: int, rest: int, tie_ptr: Array, tie_idx: Array
) -> tuple[Array, Array]:
    """Which lead columns a forward solution of each row meets: those on the elimination-tree paths of its entries, sorted.

    Entries in the leaf (from column `rest` on) enter through the columns that they are tied to, and are listed themselves, last.
    """
    mark = np.full(lead, -1, np.int64)
    out_ptr = np.zeros(len(indptr), np.int64)
    out = np.empty(max(4 * len(indices), 16), np.int64)
    found = np.empty(lead + 1, np.int64)
    size = 0
    for r in range(len(indptr) - 1):
        count = 0
        own = 0
        for a in range(indptr[r], indptr[r + 1]):
            first, last, leaf = a, a + 1, indices[a] >= rest
            if leaf:
                first, last = tie_ptr[indices[a] - rest], tie_ptr[indices[a] - rest + 1]
                own += 1
            for q in range(first, last):
                j = np.int64(tie_idx[q]) if leaf else np.int64(indices[q])
                while j < lead and mark[j] != r:
                    mark[j] = r
                    found[count] = j
                    count += 1
                    j = np.int64(rows[ptr[j]]) if ptr[j + 1] > ptr[j] else np.int64(lead)
        if size + count + own > len(out):
            grown = np.empty(max(2 * len(out), size + count + own), np.int64)
            grown[:size] = out[:size]
            out = grown
        out[size : size + count] = np.sort(found[:count])
        size += count
        for a in range(indptr[r], indptr[r + 1]):
            if indices[a] >= rest:
                out[size] = indices[a]
                size += 1
        out_ptr[r + 1] = size
    return out_ptr, out[:size].copy()


@njit(**FAST)
def _pivots(x: Array, ptr: Array, lead: int, d: int, inverse: Array, root: Array) -> None:
    """1 / D and its square root, by column."""
    base = ptr[lead] + lead
    for j in range(lead + d):
        place = ptr[j] + j if j < lead else base + (j - lead) * (d + 1)
        for w in range(LANES):
            inverse[j, w] = 1.0 / x[place, w]
            root[j, w] = np.sqrt(inverse[j, w])


@njit(**FAST)
def _eliminate(z: Array, j: int, x: Array, start: int, below: Array, inverse: Array, root: Array, half: Array, at: int) -> None:
    """Carry entry j of z down column j, whose rows are `below`; what it leaves in the square root goes to ``half[at]``."""
    ratio = np.empty((1, LANES))
    set_product(ratio, 0, z, j, inverse, j, -1.0)
    for k in range(len(below)):
        add_product(z, below[k], ratio, 0, x, start + 1 + k, 1.0)
    set_product(half, at, z, j, root, j, 1.0)
    for w in range(LANES):
        z[j, w] = 0.0


@njit(**FAST)
def _overlap(reach: Array, i: int, i_end: int, j: int, j_end: int, half: Array, a: int, b: int, d: int, out: Array, place: int) -> None:
    """Dot product of two rows of the square root, which stand at `a` and `b`: their sparse parts, then `d` dense numbers."""
    one, total = np.ones((1, LANES)), np.zeros((1, LANES))
    while i < i_end and j < j_end:
        if reach[i] == reach[j]:
            add_product(total, 0, half, a, half, b, 1.0)
        low, high = reach[i] <= reach[j], reach[j] <= reach[i]
        i, a = i + low, a + low
        j, b = j + high, b + high
    a, b = a + i_end - i, b + j_end - j
    for c in range(d):
        add_product(total, 0, half, a + c, half, b + c, 1.0)
    set_product(out, place, total, 0, one, 0, 1.0)


@njit(
    f"({_BLOCKS}, {INT64}, {INT32}, int64, int64, int64, {INT32}, {INT32}, {VECTOR}, {INT64}, {_BLOCKS}, {INT64}, {INT64}, "
    f"{INT32}, {INT32}, {VECTOR}, {INT64}, {_BLOCKS}, {_BLOCKS}, int64[:, ::1], {_BLOCKS})",
    **FAST,
)
def covariances(
    xs: Array,
    ptr: Array,
    rows: Array,
    lead: int,
    d: int,
    rest: int,
    indptr: Array,
    indices: Array,
    data: Array,
    scale_of: Array,
    scales: Array,
    reach_ptr: Array,
    reach: Array,
    tie_ptr: Array,
    tie_idx: Array,
    tie: Array,
    kind: Array,
    gain: Array,
    sd: Array,
    members: Array,
    out: Array,
) -> None:
    """Covariances of combinations of coefficients (csr rows under `scales`) within each group of `members`.

    `out` has shape (blocks, groups x pairs, 8), a pair for each two members, a <= b. `gain` and `sd`, (blocks, classes, 8), are w / D and
    1 / sqrt(D) of the leaf.
    """
    groups, size = members.shape
    most = 0
    for g in range(groups):
        total = 0
        for a in range(size):
            total += reach_ptr[members[g, a] + 1] - reach_ptr[members[g, a]] + d
        most = max(most, total)
    one, left = np.ones((1, LANES)), np.empty((1, LANES))
    half, starts = np.empty((most, LANES)), np.empty(size, np.int64)
    z, inverse, root = np.zeros((lead + d, LANES)), np.empty((lead + d, LANES)), np.empty((lead + d, LANES))
    trailing = np.arange(lead, lead + d).astype(np.int32)
    for b in range(len(xs)):
        x, scale, w, s = xs[b], scales[b], gain[b], sd[b]
        _pivots(x, ptr, lead, d, inverse, root)
        place = 0
        for g in range(groups):
            at = 0
            for a in range(size):
                r = members[g, a]
                starts[a] = at
                for e in range(indptr[r], indptr[r + 1]):
                    j = indices[e] - rest
                    if j < 0:
                        add_product(z, indices[e], scale, scale_of[e], one, 0, data[e])
                        continue
                    set_product(left, 0, scale, scale_of[e], w, kind[j], -data[e])
                    for q in range(tie_ptr[j], tie_ptr[j + 1]):
                        add_product(z, tie_idx[q], left, 0, one, 0, tie[q])
                for q in range(reach_ptr[r], reach_ptr[r + 1]):
                    j = reach[q]
                    if j < lead:
                        _eliminate(z, j, x, ptr[j] + j, rows[ptr[j] : ptr[j + 1]], inverse, root, half, at)
                        at += 1
                for e in range(indptr[r], indptr[r + 1]):
                    if indices[e] >= rest:
                        set_product(half, at, scale, scale_of[e], s, kind[indices[e] - rest], data[e])
                        at += 1
                for c in range(d):
                    start = ptr[lead] + lead + c * (d + 1)
                    _eliminate(z, lead + c, x, start, trailing[c + 1 :], inverse, root, half, at)
                    at += 1
            for a in range(size):
                for c in range(a, size):
                    i, j = members[g, a], members[g, c]
                    ends = reach_ptr[i], reach_ptr[i + 1], reach_ptr[j], reach_ptr[j + 1]
                    _overlap(reach, ends[0], ends[1], ends[2], ends[3], half, starts[a], starts[c], d, out[b], place)
                    place += 1
