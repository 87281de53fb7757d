"""Loops over the effects of one block in many chains, the chains as last axis: from coordinates to effects, and gradients back."""

from __future__ import annotations

import numpy as np
from numba import njit

from realmat.algebra.kernels import INT32, INT64, MATRIX, VECTOR
from realmat.engines.chains.row_kernels import PLAIN

Array = np.ndarray
_TOGETHER = 4  # effects whose product has a logarithm
_ROWS = f"{INT64}, {INT32}, {INT32}, {VECTOR}"  # places of a block, and the sparse rows of its parents


@njit(f"{MATRIX}({MATRIX}, {MATRIX})", **PLAIN)
def turned(axes: Array, x: Array) -> Array:
    """``axes' x``; x itself where there are no axes."""
    if not len(axes):
        return x
    out = np.zeros(x.shape)
    for j in range(len(axes)):
        for i in range(len(axes)):
            for c in range(x.shape[1]):
                out[i, c] += axes[j, i] * x[j, c]
    return out


@njit(f"Tuple(({VECTOR}, {MATRIX}, {MATRIX}, {MATRIX}))({_ROWS}, {', '.join([MATRIX] * 9)})", **PLAIN)
def place(
    where: Array,
    indptr: Array,
    indices: Array,
    data: Array,
    constant: Array,
    mean_there: Array,
    width_there: Array,
    told: Array,
    axes: Array,
    mean: Array,
    sd: Array,
    beta: Array,
    b: Array,
) -> tuple[Array, Array, Array, Array]:
    """Effects from their coordinates, into `b`; see `Target` for the map.

    Parameters
    ----------
    where : int array of shape (size,)
    indptr, indices, data : arrays
        Rows of the prior mean, a csr matrix of shape (size, coefficients).
    constant, mean_there, width_there, told : arrays of shape (size, 1)
    axes : array of shape (size, size), or (0, 0)
    mean, sd : arrays of shape (size, n) or (1, n)
    beta, b : arrays of shape (coefficients, n)

    Returns
    -------
    volume : array of shape (n,)
        Logarithm of the product of all stretches.
    away, stretch, free : arrays of shape (size, n)
        Distances from the prior mean at the reference along the axes, how they are stretched, and d log v / d log sd.
    """
    size, n = len(where), beta.shape[1]
    away, stretch, free, volume, product = np.empty((size, n)), np.empty((size, n)), np.empty((size, n)), np.zeros(n), np.ones(n)
    for i in range(size):
        for c in range(n):
            away[i, c] = beta[where[i], c] + (constant[i, 0] - mean_there[i, 0])
        for p in range(indptr[i], indptr[i + 1]):
            for c in range(n):
                away[i, c] -= data[p] * beta[indices[p], c]
    away = turned(axes, away)
    here = np.empty((size, n))
    for i in range(size):
        g = min(i, len(sd) - 1)
        for c in range(n):
            own = 1 / (1 + told[i, 0] * sd[g, c] * sd[g, c])
            wide = sd[g, c] * np.sqrt(own) / width_there[i, 0]
            free[i, c], stretch[i, c] = own, wide
            here[i, c] = wide * away[i, c]
            product[c] *= wide
        if i % _TOGETHER == _TOGETHER - 1 or i == size - 1:
            for c in range(n):
                volume[c] += np.log(product[c])
                product[c] = 1.0
    here = turned(axes.T.copy(), here)
    for i in range(size):
        g = min(i, len(mean) - 1)
        for p in range(indptr[i], indptr[i + 1]):
            for c in range(n):
                here[i, c] += data[p] * b[indices[p], c]
        for c in range(n):
            b[where[i], c] = here[i, c] + (mean[g, c] - constant[i, 0])
    return volume, away, stretch, free


@njit(f"{VECTOR}({INT64}, {', '.join([MATRIX] * 7)})", **PLAIN)
def prior(where: Array, constant: Array, mean: Array, sd: Array, b: Array, down: Array, in_mean: Array, in_sd: Array) -> Array:
    """Sum of the log densities of effects at `b` under their normal prior; its derivatives are added to `down`, `in_mean` and `in_sd`."""
    n = b.shape[1]
    out, inverse = np.zeros(n), 1 / sd
    for i in range(len(where)):
        w, g, h = where[i], min(i, len(sd) - 1), min(i, len(mean) - 1)
        for c in range(n):
            away = (b[w, c] + constant[i, 0] - mean[h, c]) * inverse[g, c]
            out[c] -= 0.5 * away * away
            in_sd[g, c] += (away * away - 1) * inverse[g, c]
            pull = away * inverse[g, c]
            down[w, c] -= pull
            in_mean[h, c] += pull
    each = len(where) // len(sd)  # one sd for all, or one each
    for g in range(len(sd)):
        for c in range(n):
            out[c] += each * np.log(inverse[g, c])
    return out


@njit(f"void({_ROWS}, {', '.join([MATRIX] * 9)})", **PLAIN)
def back(
    where: Array,
    indptr: Array,
    indices: Array,
    data: Array,
    axes: Array,
    sd: Array,
    away: Array,
    stretch: Array,
    free: Array,
    down: Array,
    direct: Array,
    in_mean: Array,
    in_sd: Array,
) -> None:
    """From the gradient `down` in effects to that in their coordinates, in place; what parents get besides is in `direct`.

    What moves effects with psi, and the volume, is added to the derivatives in the prior mean and standard deviation.
    """
    size, n = len(where), down.shape[1]
    own = np.empty((size, n))
    for i in range(size):
        own[i] = down[where[i]]
    along = np.empty((size, n))
    along[:] = turned(axes, own)
    for i in range(size):
        g = min(i, len(sd) - 1)
        for c in range(n):
            along[i, c] *= stretch[i, c]
            in_sd[g, c] += free[i, c] * (along[i, c] * away[i, c] + 1) / sd[g, c]
    along = turned(axes.T.copy(), along)
    for i in range(size):
        h = min(i, len(in_mean) - 1)
        for c in range(n):
            in_mean[h, c] += own[i, c]
            down[where[i], c] = along[i, c]
        for p in range(indptr[i], indptr[i + 1]):
            for c in range(n):
                down[indices[p], c] += data[p] * own[i, c]
                direct[indices[p], c] -= data[p] * along[i, c]
