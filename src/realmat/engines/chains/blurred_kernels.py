"""Loops of readings whose Student t effect is integrated out. Nodes are the last axis, along which the compiler vectorises."""

from __future__ import annotations

import numpy as np
from numba import njit

from realmat.algebra.kernels import FAST, INT64, MATRIX, VECTOR
from realmat.algebra.simd import decay

Array = np.ndarray
# a division that is checked is no vector instruction, and a sum in a given order none either
_PLAIN = {**FAST, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}


@njit(f"void({VECTOR}, {VECTOR}, {MATRIX}, {MATRIX}, {MATRIX}, {MATRIX})", **_PLAIN)
def _nodes(noise: Array, spread: Array, stretch: Array, weight: Array, inverse: Array, peak: Array) -> None:
    """Precisions of the normals that are summed, and their heights."""
    for j in range(len(noise)):
        for k in range(stretch.shape[1]):
            inverse[j, k] = 1 / (noise[j] + spread[j] * stretch[j, k])
            peak[j, k] = weight[j, k] * np.sqrt(inverse[j, k])


@njit(f"UniTuple({MATRIX}, 5)({MATRIX}, {INT64}, {INT64}, {', '.join([MATRIX] * 5)})", **_PLAIN)
def mixed(
    away: Array, kind: Array, order: Array, noise: Array, spread: Array, stretch: Array, weight: Array, bend: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """Sum over nodes of ``weight N(away; 0, noise + spread stretch)``: its logarithm, and the derivatives of that.

    Parameters
    ----------
    away : array of shape (rows, n)
    kind, order : int arrays of shape (rows,)
        Which variances each row has, and an order in which rows of one kind follow each other.
    noise, spread : arrays of shape (kinds, n)
        Variances.
    stretch, weight, bend : arrays of shape (n, nodes)
        Factors of the variance `spread`, weights, and what `weight` is multiplied by to give its derivative.

    Returns
    -------
    tuple of arrays of shape (rows, n)
        The logarithm, its derivatives in `away`, `noise` and `spread`, and the mean of `bend`.
    """
    rows, n = away.shape
    log, in_away, in_noise = np.empty((rows, n)), np.empty((rows, n)), np.empty((rows, n))
    in_spread, in_weight = np.empty((rows, n)), np.empty((rows, n))
    inverse, peak = np.empty(stretch.shape), np.empty(stretch.shape)
    last = -1
    for i in order:
        if kind[i] != last:
            last = kind[i]
            _nodes(noise[last], spread[last], stretch, weight, inverse, peak)
        for j in range(n):
            half = 0.5 * away[i, j] * away[i, j]
            total, bends, pulls, of_noise, of_spread = 0.0, 0.0, 0.0, 0.0, 0.0
            for k in range(stretch.shape[1]):
                square = half * inverse[j, k]
                part = peak[j, k] * decay(square)
                total += part
                bends += part * bend[j, k]
                part *= inverse[j, k]
                pulls += part
                part *= square - 0.5
                of_noise += part
                of_spread += part * stretch[j, k]
            log[i, j] = np.log(total)
            in_away[i, j], in_weight[i, j] = -away[i, j] * pulls / total, bends / total
            in_noise[i, j], in_spread[i, j] = of_noise / total, of_spread / total
    return log, in_away, in_noise, in_spread, in_weight


@njit(f"{MATRIX}({', '.join([MATRIX] * 6)})", **_PLAIN)
def chosen(away: Array, noise: Array, spread: Array, stretch: Array, weight: Array, uniform: Array) -> Array:
    """`stretch` of a node for each residual, drawn by its part in the sum of `mixed`; `uniform` random numbers are as many."""
    rows, n = away.shape
    out = np.empty((rows, n))
    nodes = stretch.shape[1]
    inverse, peak, parts = np.empty(stretch.shape), np.empty(stretch.shape), np.empty(nodes)
    for i in range(rows):
        _nodes(noise[i], spread[i], stretch, weight, inverse, peak)
        for j in range(n):
            half, total = 0.5 * away[i, j] * away[i, j], 0.0
            for k in range(nodes):
                parts[k] = peak[j, k] * decay(half * inverse[j, k])
                total += parts[k]
            left, k = uniform[i, j] * total, 0
            while k < nodes - 1 and left > parts[k]:
                left -= parts[k]
                k += 1
            out[i, j] = stretch[j, k]
    return out
