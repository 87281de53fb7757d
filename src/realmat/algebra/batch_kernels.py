"""Compiled loops over many psi: assembly, factorisation, solution and draws, eight psi side by side (see `simd`).

Arrays have shape (blocks, numbers, 8). The factorisation is L D L', with pivots and the columns of L D where the matrix stood.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from realmat.algebra.kernels import FAST, FLAGS, INT32, INT64, MATRIX, VECTOR
from realmat.algebra.simd import LANES, TOGETHER, add_moments, add_outer, add_product, set_dot, set_paired, set_product

Array = np.ndarray
_BLAS = 48  # columns of the trailing block beyond which LAPACK is faster than loops
_PIECE = 256  # rows of a sparse matrix
_BLOCKS = "float64[:, :, ::1]"


@njit(**FAST)
def pairs(
    indptr: Array, indices: Array, data: Array, scale_of: Array, count: Array, key: Array, place: Array, scales: int, flat: int
) -> tuple[Array, Array]:
    """Values of all pairs of a row's entries, and where they belong: ``slot * flat + place``, a slot for each key and pair of scales."""
    where, value = np.empty(len(place), np.int64), np.empty(len(place))
    slots = scales * (scales + 1) // 2
    t = 0
    for r in range(len(count)):
        for a in range(indptr[r], indptr[r + 1]):
            for b in range(a, indptr[r + 1]):
                low, high = min(scale_of[a], scale_of[b]), max(scale_of[a], scale_of[b])
                where[t] = (key[r] * slots + high * (high + 1) // 2 + low) * flat + place[t]
                value[t] = count[r] * data[a] * data[b]
                # a column that stands twice in a row (under two scales) meets itself on both sides of the diagonal
                if a != b and indices[a] == indices[b]:
                    value[t] *= 2
                t += 1
    return where, value


@njit(f"({INT64}, {INT32}, {VECTOR}, {_BLOCKS}, {_BLOCKS})", **FAST)
def products(indptr: Array, indices: Array, data: Array, rows: Array, out: Array) -> None:
    """A sparse matrix (csr) times `rows` of shape (blocks, columns, 8)."""
    n = len(indptr) - 1
    for start in range(0, n, _PIECE):  # which stays near while the blocks pass by
        for b in range(len(out)):
            x, own = out[b], rows[b]
            for t in range(start, min(start + _PIECE, n)):
                set_dot(x, t, own, indices, data, indptr[t], indptr[t + 1])


@njit(**FAST)
def assemble(
    xs: Array,
    sides: Array,
    indptr: Array,
    indices: Array,
    data: Array,
    scale_of: Array,
    scales: Array,
    count: Array,
    key: Array,
    precision: Array,
    residual: Array,
    place: Array,
) -> None:
    """Add A' W A and A' W residual row by row: scales (blocks, scales, 8), precisions by key and residuals alike."""
    one = np.ones((1, LANES))
    left, weighted = np.empty((1, LANES)), np.empty((1, LANES))
    for k in range(len(xs)):
        x, side, scale, weight, own = xs[k], sides[k], scales[k], precision[k], residual[k]
        t = 0
        for r in range(len(count)):
            for a in range(indptr[r], indptr[r + 1]):
                set_product(left, 0, weight, key[r], scale, scale_of[a], count[r] * data[a])
                add_product(side, indices[a], left, 0, own, r, 1.0)
                for b in range(a, indptr[r + 1]):
                    value = 2 * data[b] if a != b and indices[a] == indices[b] else data[b]
                    if scale_of[b] == 0:
                        add_product(x, place[t], left, 0, one, 0, value)
                    else:
                        set_product(weighted, 0, left, 0, scale, scale_of[b], value)
                        add_product(x, place[t], weighted, 0, one, 0, 1.0)
                    t += 1


@njit(**FAST)
def _invert(x: Array, start: int, inverse: Array) -> None:
    for w in range(LANES):
        inverse[0, w] = 1.0 / x[start, w]


@njit(**FAST)
def _alike(ptr: Array, full: Array, j: int, lead: int, d: int) -> bool:
    """Whether some columns from `j` on reach nothing but the trailing block."""
    if j + TOGETHER > lead:
        return False
    alike = True
    for k in range(j, j + TOGETHER):
        alike &= full[k] and ptr[k + 1] - ptr[k] == d
    return alike


@njit(**FAST)
def _together(x: Array, z: Array, j: int, start: int, lead: int, base: int, d: int, inverse: Array, ratio: Array) -> None:
    """Eliminate columns that reach nothing but the trailing block: what they take from it, all at once."""
    for k in range(TOGETHER):
        for w in range(LANES):
            inverse[k, w] = 1.0 / x[start + k * (d + 1), w]
    for c in range(d):
        for k in range(TOGETHER):
            set_product(ratio, k, x, start + k * (d + 1) + 1 + c, inverse, k, -1.0)
        add_outer(z, lead + c, ratio, z, j, 1, 1)
        add_outer(x, base + c * (d + 1), ratio, x, start + 1 + c, d + 1, d - c)


@njit(**FAST)
def _lead(x: Array, z: Array, ptr: Array, rows: Array, target: Array, lead: int, full: Array, d: int, inside: bool) -> None:
    """Eliminate the lead columns; `inside`: full columns take their part from the trailing block here, one by one."""
    base = ptr[lead] + lead
    inverse, ratio = np.empty((TOGETHER, LANES)), np.empty((TOGETHER, LANES))
    t, skipped = 0, 0
    for j in range(lead):
        if j < skipped:
            continue
        start, stop = ptr[j] + j, ptr[j + 1] + j + 1
        if inside and _alike(ptr, full, j, lead, d):
            _together(x, z, j, start, lead, base, d, inverse, ratio)
            skipped = j + TOGETHER
            continue
        reached = stop - d if full[j] else stop
        _invert(x, start, inverse)
        for a in range(start + 1, stop):
            set_product(ratio, 0, x, a, inverse, 0, -1.0)
            add_product(z, rows[ptr[j] + a - start - 1], ratio, 0, z, j, 1.0)
            left = stop - a
            if a < reached:
                place = target[t : t + left]  # a slice of unsigned places: no bounds, no sign to check
                for k in range(left):
                    add_product(x, place[k], ratio, 0, x, a + k, 1.0)
                t += left
            elif inside:
                corner = base + (a - reached) * (d + 1)
                for k in range(left):
                    add_product(x, corner + k, ratio, 0, x, a + k, 1.0)


@njit(**FAST)
def _trailing(x: Array, z: Array, base: int, lead: int, d: int) -> None:
    """Eliminate the columns of the trailing block."""
    inverse, ratio = np.empty((1, LANES)), np.empty((1, LANES))
    for c in range(d):
        start = base + c * (d + 1)
        _invert(x, start, inverse)
        for k in range(1, d - c):
            set_product(ratio, 0, x, start + k, inverse, 0, -1.0)
            add_product(z, lead + c + k, ratio, 0, z, lead + c, 1.0)
            place = start + k * (d + 1)
            for r in range(d - c - k):
                add_product(x, place + r, ratio, 0, x, start + k + r, 1.0)


@njit(**FAST)
def _trailing_blas(x: Array, z: Array, ptr: Array, lead: int, full: Array, d: int) -> None:
    """The same for a large block, psi by psi: what full columns take, and the factor, are left to BLAS and LAPACK."""
    base = ptr[lead] + lead
    together = np.sum(full)
    panel, block = np.empty((together, d)), np.empty((d, d))
    for w in range(LANES):
        k = 0
        for j in range(lead):
            if full[j]:
                first = ptr[j + 1] + j + 1 - d
                root = np.sqrt(x[ptr[j] + j, w])
                for i in range(d):
                    panel[k, i] = x[first + i, w] / root
                k += 1
        taken = panel.T @ panel
        good = True
        for c in range(d):
            for r in range(c, d):
                block[c, r] = x[base + c * d + r, w] - taken[c, r]
                good &= np.isfinite(block[c, r])
        if good:
            try:
                lower = np.linalg.cholesky(block.T)
                for c in range(d):
                    for r in range(c, d):
                        block[c, r] = lower[r, c] * lower[c, c]
            except Exception:  # the only kind that compiled code can catch: not positive definite
                good = False
        for c in range(d):
            if not good:
                x[base + c * (d + 1), w] = np.nan
                continue
            share = z[lead + c, w] / block[c, c]
            for r in range(c, d):
                x[base + c * d + r, w] = block[c, r]
                if r > c:
                    z[lead + r, w] -= block[c, r] * share


@njit(f"({_BLOCKS}, {_BLOCKS}, {INT64}, {INT32}, uint32[::1], int64, {FLAGS}, int64)", **FAST)
def solve(xs: Array, sides: Array, ptr: Array, rows: Array, target: Array, lead: int, full: Array, d: int) -> None:
    """Factorise in place, and turn `sides` (blocks, columns, 8) into L^-1 side. A pivot that is not positive says that P is not."""
    for b in range(len(xs)):
        x, z = xs[b], sides[b]
        _lead(x, z, ptr, rows, target, lead, full, d, d <= _BLAS)
        if d <= _BLAS:
            _trailing(x, z, ptr[lead] + lead, lead, d)
        else:
            _trailing_blas(x, z, ptr, lead, full, d)


@njit(f"({_BLOCKS}, float64[:, :, :, ::1], {INT64}, {INT32}, int64, int64)", **FAST)
def backward(xs: Array, bs: Array, ptr: Array, rows: Array, lead: int, d: int) -> None:
    """Turn D^-1 z, several of shape (blocks, columns, 8), into L^-T D^-1 z in place."""
    base = ptr[lead] + lead
    total = np.zeros((1, LANES))
    for k in range(len(xs)):
        x = xs[k]
        for c in range(d - 1, -1, -1):
            start = base + c * (d + 1)
            for s in range(len(bs)):
                b = bs[s, k]
                total[:] = 0.0
                for r in range(1, d - c):
                    add_product(total, 0, x, start + r, b, lead + c + r, 1.0)
                for w in range(LANES):
                    b[lead + c, w] -= total[0, w] / x[start, w]
        for j in range(lead - 1, -1, -1):
            start = ptr[j] + j
            for s in range(len(bs)):
                b = bs[s, k]
                set_paired(total, 0, x, start + 1, b, rows, ptr[j], ptr[j + 1])
                for w in range(LANES):
                    b[j, w] -= total[0, w] / x[start, w]


@njit(f"({MATRIX}, int64, {INT32}, {INT32}, {VECTOR}, {MATRIX}, {INT64}, {MATRIX}, {MATRIX})", **FAST)
def complete_effect(
    b: Array, rest: int, indptr: Array, indices: Array, data: Array, side: Array, kind: Array, gain: Array, sd: Array
) -> None:
    """Turn the standard normals of the eliminated effect, behind the `rest` columns of `b`, into draws given these columns, in place.

    `side` has shape (n or 1, groups), `gain` and `sd`, of shape (n, classes), are w / D and 1 / sqrt(D).
    """
    for i in range(len(b)):
        own, mean, spread = b[i], gain[i], sd[i]
        given = side[i if len(side) > 1 else 0]
        for j in range(len(given)):
            total = given[j]
            for a in range(indptr[j], indptr[j + 1]):
                total -= data[a] * own[indices[a]]
            own[rest + j] = mean[kind[j]] * total + spread[kind[j]] * own[rest + j]


@njit(f"({_BLOCKS}, {_BLOCKS}, {INT32}, {INT32}, {VECTOR}, {VECTOR}, {INT64}, {_BLOCKS}, {_BLOCKS}, {VECTOR}, {VECTOR}, {VECTOR})", **FAST)
def effect_moments(
    means: Array,
    noises: Array,
    indptr: Array,
    indices: Array,
    data: Array,
    side: Array,
    kind: Array,
    gain: Array,
    weight: Array,
    centre: Array,
    first: Array,
    second: Array,
) -> None:
    """Add up, over all psi, weighted moments of the eliminated effect about `centre`, all of shape (groups,).

    `means` and `noises`, of shape (blocks, columns, 8), are those of the other columns, `gain` (blocks, classes, 8) is w / D, and
    `weight` has shape (blocks, 1, 8). To `first` is added E[b], to `second` E[b]^2 and the square of what the others' noise makes of it.
    """
    sums = np.empty((2, LANES))
    for j in range(len(side)):
        sums[:] = 0.0
        for b in range(len(means)):
            add_moments(sums, means[b], noises[b], gain[b], kind[j], weight[b], side[j], centre[j], indices, data, indptr[j], indptr[j + 1])
        for w in range(LANES):
            first[j] += sums[0, w]
            second[j] += sums[1, w]


@njit(f"({MATRIX}, {INT64}, {VECTOR})", **FAST)
def natural(b: Array, place: Array, shift: Array) -> Array:
    """Coefficients in natural order, shape (n, coefficients), from those in elimination order measured from `shift`."""
    out = np.empty_like(b)
    for i in range(len(b)):
        row, own = out[i], b[i]
        for j in range(len(place)):
            row[j] = own[place[j]] + shift[place[j]]
    return out
