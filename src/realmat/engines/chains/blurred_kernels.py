"""Loops of readings whose Student t effect is integrated out. Nodes are the last axis, along which the compiler vectorises."""

from __future__ import annotations

import numpy as np
from numba import njit

from realmat.algebra.kernels import FAST, MATRIX

# a division that is checked is no vector instruction, and a sum in a given order none either
_PLAIN = {**FAST, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
_FARTHEST = 600.0  # its exponential is still a number
_HALVINGS = 12
_C2, _C3, _C4, _C5, _C6, _C7, _C8 = 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040, 1 / 40320


@njit("float64(float64)", **_PLAIN)
def _decay(x: float) -> float:
    """exp(-x) for x >= 0 in plain arithmetic, which becomes vector instructions: a series at x / 4096, squared twelve times."""
    t = min(x, _FARTHEST) * (1 / 4096)
    out = 1 - t * (1 - t * (_C2 - t * (_C3 - t * (_C4 - t * (_C5 - t * (_C6 - t * (_C7 - t * _C8)))))))
    for _ in range(_HALVINGS):
        out = out * out
    return out


@njit(f"UniTuple({MATRIX}, 5)({MATRIX}, {MATRIX}, {MATRIX}, {MATRIX}, {MATRIX}, {MATRIX})", **_PLAIN)
def mixed(
    away: np.ndarray, noise: np.ndarray, spread: np.ndarray, stretch: np.ndarray, weight: np.ndarray, bend: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sum over nodes of ``weight N(away; 0, noise + spread stretch)``: its logarithm, and the derivatives of that.

    Parameters
    ----------
    away : array of shape (rows, n)
    noise, spread : arrays of shape (rows, n)
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
    for i in range(rows):
        for j in range(n):
            half, wide, narrow = 0.5 * away[i, j] * away[i, j], spread[i, j], noise[i, j]
            total, bends, pulls, of_noise, of_spread = 0.0, 0.0, 0.0, 0.0, 0.0
            for k in range(stretch.shape[1]):
                inverse = 1 / (narrow + wide * stretch[j, k])
                square = half * inverse
                part = weight[j, k] * np.sqrt(inverse) * _decay(square)
                total += part
                bends += part * bend[j, k]
                part *= inverse
                pulls += part
                part *= square - 0.5
                of_noise += part
                of_spread += part * stretch[j, k]
            log[i, j] = np.log(total)
            in_away[i, j], in_weight[i, j] = -away[i, j] * pulls / total, bends / total
            in_noise[i, j], in_spread[i, j] = of_noise / total, of_spread / total
    return log, in_away, in_noise, in_spread, in_weight


@njit(f"int64[:, ::1]({MATRIX}, {MATRIX}, {MATRIX}, {MATRIX}, {MATRIX}, {MATRIX})", **_PLAIN)
def chosen(
    away: np.ndarray, noise: np.ndarray, spread: np.ndarray, stretch: np.ndarray, weight: np.ndarray, uniform: np.ndarray
) -> np.ndarray:
    """A node for each residual, drawn by its part in the sum of `mixed`; `uniform` random numbers have the shape of the residuals."""
    rows, n = away.shape
    out = np.empty((rows, n), dtype=np.int64)
    parts = np.empty(stretch.shape[1])
    for i in range(rows):
        for j in range(n):
            total = 0.0
            for k in range(stretch.shape[1]):
                inverse = 1 / (noise[i, j] + spread[i, j] * stretch[j, k])
                total += weight[j, k] * np.sqrt(inverse) * _decay(0.5 * away[i, j] * away[i, j] * inverse)
                parts[k] = total
            out[i, j] = min(np.searchsorted(parts, uniform[i, j] * total), stretch.shape[1] - 1)
    return out
