"""Compiled loops of covariances given psi and y, eight psi side by side (see `simd` and `batch_kernels`)."""

from __future__ import annotations

import numpy as np
from numba import njit

from realmat.algebra.kernels import FAST, INT32, INT64, VECTOR
from realmat.algebra.simd import LANES, add_product, set_product

Array = np.ndarray
_BLOCKS = "float64[:, :, ::1]"
_FIRST = 1 << 40  # taken from columns of the eliminated effect: they sort before all others, and are negative


@njit(f"({INT32}, {INT32}, {INT64}, {INT32}, int64, int64, {INT32}, {INT32})", **FAST)
def reaches(
    indptr: Array, indices: Array, ptr: Array, rows: Array, lead: int, rest: int, coupling_ptr: Array, coupling_idx: Array
) -> tuple[Array, Array]:
    """Which lead columns a forward solution of each row meets: those on the elimination-tree paths of its entries, sorted.

    Those of the eliminated effect (from column `rest` on) enter through the columns they are coupled to, and are listed themselves, first.
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
            first, last, effect = a, a + 1, indices[a] >= rest
            if effect:
                first, last = coupling_ptr[indices[a] - rest], coupling_ptr[indices[a] - rest + 1]
                own += 1
            for q in range(first, last):
                j = np.int64(coupling_idx[q]) if effect else np.int64(indices[q])
                while j < lead and mark[j] != r:
                    mark[j] = r
                    found[count] = j
                    count += 1
                    j = np.int64(rows[ptr[j]]) if ptr[j + 1] > ptr[j] else np.int64(lead)
        if size + count + own > len(out):
            grown = np.empty(max(2 * len(out), size + count + own), np.int64)
            grown[:size] = out[:size]
            out = grown
        for a in range(indptr[r], indptr[r + 1]):
            if indices[a] >= rest:
                out[size] = indices[a] - _FIRST
                size += 1
        out[size : size + count] = np.sort(found[:count])
        size += count
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
def _eliminate(
    z: Array, j: int, x: Array, start: int, below: Array, inverse: Array, root: Array, half: Array, at: int, ratio: Array
) -> None:
    """Carry entry j of z down column j, whose rows are `below`; what it leaves in the square root goes to ``half[at]``."""
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


@njit(**FAST)
def _enter(
    z: Array,
    r: int,
    rows: tuple[Array, ...],
    scale: Array,
    rest: int,
    effect: tuple[Array, ...],
    gain: Array,
    sd: Array,
    half: Array,
    at: int,
) -> int:
    """Put a row into z, and its entries in the effect into the square root from ``half[at]`` on. Returns how many these are."""
    indptr, indices, data, scale_of = rows
    coupling_ptr, coupling_idx, coupling, kind = effect
    one, left = np.ones((1, LANES)), np.empty((1, LANES))
    own = 0
    for e in range(indptr[r], indptr[r + 1]):
        j = indices[e] - rest
        if j < 0:
            add_product(z, indices[e], scale, scale_of[e], one, 0, data[e])
            continue
        set_product(half, at + own, scale, scale_of[e], sd, kind[j], data[e])
        own += 1
        set_product(left, 0, scale, scale_of[e], gain, kind[j], -data[e])
        for q in range(coupling_ptr[j], coupling_ptr[j + 1]):
            add_product(z, coupling_idx[q], left, 0, one, 0, coupling[q])
    return own


@njit(**FAST)
def _longest(members: Array, reach_ptr: Array, d: int) -> int:
    """Numbers in the square roots of the rows of the largest group."""
    most = 0
    for g in range(len(members)):
        total = 0
        for r in members[g]:
            total += reach_ptr[r + 1] - reach_ptr[r] + d
        most = max(most, total)
    return most


_ROWS = f"Tuple(({INT32}, {INT32}, {VECTOR}, {INT64}))"  # csr arrays, and a number for each entry (or for each group of an effect)
_TREE = f"Tuple(({INT64}, {INT32}, int64, int64, int64))"
_REACH = f"Tuple(({INT64}, {INT64}))"


@njit(f"({_BLOCKS}, {_TREE}, {_ROWS}, {_BLOCKS}, {_REACH}, {_ROWS}, {_BLOCKS}, {_BLOCKS}, int64[:, ::1], {_BLOCKS})", **FAST)
def covariances(
    xs: Array,
    tree: tuple[Array, Array, int, int, int],
    combined: tuple[Array, ...],
    scales: Array,
    reached: tuple[Array, Array],
    effect: tuple[Array, ...],
    gain: Array,
    sd: Array,
    members: Array,
    out: Array,
) -> None:
    """Covariances of combinations of coefficients (csr rows, with the scale of each entry) within each group of `members`.

    `tree` is ptr, rows, lead, dense and rest. `out` has shape (blocks, groups x pairs, 8), a pair for each two members, a <= b. `effect` is
    its coupling to other columns and the class of each group; `gain` and `sd`, (blocks, classes, 8), are w / D and 1 / sqrt(D).
    """
    ptr, rows, lead, d, rest = tree
    reach_ptr, reach = reached
    size = members.shape[1]
    half, starts = np.empty((_longest(members, reach_ptr, d), LANES)), np.empty(size, np.int64)
    z, inverse, root = np.zeros((lead + d, LANES)), np.empty((lead + d, LANES)), np.empty((lead + d, LANES))
    trailing, ratio = np.arange(lead, lead + d).astype(np.int32), np.empty((1, LANES))
    for b in range(len(xs)):
        x = xs[b]
        _pivots(x, ptr, lead, d, inverse, root)
        place = 0
        for group in members:
            at = 0
            for a in range(size):
                r = group[a]
                starts[a] = at
                at += _enter(z, r, combined, scales[b], rest, effect, gain[b], sd[b], half, at)
                for q in range(reach_ptr[r], reach_ptr[r + 1]):
                    j = reach[q]
                    if j >= 0:
                        _eliminate(z, j, x, ptr[j] + j, rows[ptr[j] : ptr[j + 1]], inverse, root, half, at, ratio)
                        at += 1
                for c in range(d):
                    start = ptr[lead] + lead + c * (d + 1)
                    _eliminate(z, lead + c, x, start, trailing[c + 1 :], inverse, root, half, at, ratio)
                    at += 1
            for a in range(size):
                for c in range(a, size):
                    i, j = group[a], group[c]
                    _overlap(
                        reach, reach_ptr[i], reach_ptr[i + 1], reach_ptr[j], reach_ptr[j + 1], half, starts[a], starts[c], d, out[b], place
                    )
                    place += 1
