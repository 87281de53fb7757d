"""Compiled loops over many psi: factorisation, solution and draws, one psi after the other without returning to Python."""

from __future__ import annotations

import numpy as np
from numba import njit

from realmat.gaussian.kernels import FAST, FLAGS, INT32, INT64, MATRIX, VECTOR, assemble, backward, factor, forward

Array = np.ndarray
_BLAS = 48  # columns of the trailing block beyond which LAPACK is faster than loops


@njit(**FAST)
def assemble_many(
    x: Array,
    side: Array,
    indptr: Array,
    indices: Array,
    data: Array,
    scale_of: Array,
    scales: Array,
    count: Array,
    key: Array,
    variance: Array,
    residual: Array,
    place: Array,
) -> Array:
    """`kernels.assemble` for every psi: scales (n, scales), variances by key (n, keys), residuals (n or 1, rows).

    Returns the rows' log density at the reference, without the constant and the sums within cells, shape (n,).
    """
    out = np.empty(len(x))
    weight = np.empty(len(count))
    for i in range(len(x)):
        own = residual[i if len(residual) > 1 else 0]
        total = 0.0
        logs = np.log(variance[i])
        for r in range(len(count)):
            weight[r] = count[r] / variance[i, key[r]]
            total += count[r] * logs[key[r]] + weight[r] * own[r] * own[r]
        out[i] = -0.5 * total
        assemble(x[i], side[i], indptr, indices, data, scale_of, scales[i], weight, own, place)
    return out


@njit(**FAST)
def _cholesky_blas(block: Array) -> float:
    for c in range(len(block)):
        if not np.isfinite(block[c, c]):
            return np.nan
    try:
        lower = np.linalg.cholesky(block.T)
    except Exception:  # the only kind that compiled code can catch: not positive definite
        return np.nan
    block[:] = lower.T
    return 2 * np.sum(np.log(np.diag(lower)))


@njit(**FAST)
def _cholesky(block: Array) -> float:
    """Lower Cholesky factor in place, stored by columns as the rows of `block`. Returns its log determinant twice, or nan."""
    d = len(block)
    if d > _BLAS:
        return _cholesky_blas(block)
    log_det = 0.0
    for c in range(d):
        pivot = block[c, c]
        if not pivot > 0.0:
            return np.nan
        log_det += np.log(pivot)
        root = np.sqrt(pivot)
        block[c, c:] /= root
        for k in range(c + 1, d):
            ratio = block[c, k]
            for r in range(k, d):
                block[k, r] -= ratio * block[c, r]
    return log_det


@njit(f"({MATRIX}, {MATRIX}, {INT64}, {INT32}, uint32[::1], int64, {FLAGS}, int64)", **FAST)
def solve(x: Array, side: Array, ptr: Array, rows: Array, target: Array, lead: int, full: Array, d: int) -> tuple[Array, Array]:
    """Factorise every row of `x` (n, flat) in place and turn `side` (n, columns) into L^-1 side with unit variances.

    Returns log det P, nan where P is not positive definite, and side' P^-1 side, both of shape (n,).
    """
    n = len(x)
    log_det, square = np.full(n, np.nan), np.zeros(n)
    base = ptr[lead] + lead
    for i in range(n):
        total = factor(x[i], ptr, target, lead, full, d)
        if not np.isfinite(total):
            continue
        block = x[i, base:].reshape((d, d))  # row c holds column c of the lower triangle
        own = _cholesky(block)
        if not np.isfinite(own):
            continue
        log_det[i] = total + own
        z = side[i]
        forward(x[i], ptr, rows, lead, z)
        for j in range(lead):
            z[j] /= np.sqrt(x[i, ptr[j] + j])
        for c in range(d):
            z[lead + c] /= block[c, c]
            value = z[lead + c]
            for r in range(c + 1, d):
                z[lead + r] -= value * block[c, r]
        for value in z:
            square[i] += value * value
    return log_det, square


@njit(f"({MATRIX}, {MATRIX}, {MATRIX}, {INT64}, {INT32}, int64, int64)", **FAST)
def complete(x: Array, half: Array, b: Array, ptr: Array, rows: Array, lead: int, d: int) -> None:
    """Turn standard normals `b` (n, columns or more) into draws of the rest given each psi, in place: L^-T (half + b)."""
    base = ptr[lead] + lead
    for i in range(len(x)):
        block = x[i, base:].reshape((d, d))
        z = b[i]
        for j in range(lead + d):
            z[j] += half[i, j]
        for c in range(d - 1, -1, -1):
            value = z[lead + c]
            for r in range(c + 1, d):
                value -= block[c, r] * z[lead + r]
            z[lead + c] = value / block[c, c]
        for j in range(lead):
            z[j] /= np.sqrt(x[i, ptr[j] + j])
        backward(x[i], ptr, rows, lead, z)


@njit(f"({MATRIX}, int64, {INT32}, {INT32}, {VECTOR}, {MATRIX}, {INT64}, {MATRIX}, {MATRIX})", **FAST)
def complete_leaf(
    b: Array, rest: int, indptr: Array, indices: Array, data: Array, side: Array, kind: Array, gain: Array, sd: Array
) -> None:
    """Turn the standard normals of the leaf, behind the `rest` columns of `b`, into draws given these columns, in place.

    `side` has shape (n or 1, pieces), `gain` and `sd`, of shape (n, classes), are w / D and 1 / sqrt(D).
    """
    for i in range(len(b)):
        own, mean, spread = b[i], gain[i], sd[i]
        given = side[i if len(side) > 1 else 0]
        for j in range(len(given)):
            total = given[j]
            for a in range(indptr[j], indptr[j + 1]):
                total -= data[a] * own[indices[a]]
            own[rest + j] = mean[kind[j]] * total + spread[kind[j]] * own[rest + j]
