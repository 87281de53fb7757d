"""Sums over rows of one noise and one effect size: in each chain their density is one function of the residual, which is tabled.

Equal steps in ``q = log(1 + r^2 / width^2)`` are even over the core and over the tails of a residual r, and four neighbours tell what is
between them: to 1e-6 of a logarithm, where tails are normal for long and then heavy to 1e-4.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from realmat.algebra.kernels import FAST, INT64, MATRIX, VECTOR
from realmat.algebra.simd import decay

Array = np.ndarray
_PLAIN = {**FAST, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
_STEP = 0.02  # of q
_LANES, _TOGETHER = 8, 64  # chains whose tables are in use together, and rows of which logarithms are taken together
_LANE = "float64[:]"
_PARTS = 5


@njit(f"void(float64, float64, {VECTOR}, {VECTOR}, {VECTOR}, {VECTOR}, int64, {MATRIX})", **_PLAIN)
def _table(noise: float, spread: float, stretch: Array, weight: Array, bend: Array, work: Array, points: int, out: Array) -> None:
    """The logarithm of the density at equal steps of q, minus its slope over r, its slopes in both variances, and the mean of `bend`."""
    nodes = len(stretch)
    for k in range(nodes):
        work[k] = 1 / (noise + spread * stretch[k])
        work[nodes + k] = weight[k] * np.sqrt(work[k])
    for i in range(points):
        half = 0.5 * (noise + spread) * (np.exp(_STEP * i) - 1)
        total, bends, pulls, of_noise, of_spread = 0.0, 0.0, 0.0, 0.0, 0.0
        for k in range(nodes):
            square = half * work[k]
            part = work[nodes + k] * decay(square)
            total += part
            bends += part * bend[k]
            part *= work[k]
            pulls += part
            part *= square - 0.5
            of_noise += part
            of_spread += part * stretch[k]
        out[i, 0], out[i, 1] = np.log(total), pulls / total
        out[i, 2], out[i, 3], out[i, 4] = of_noise / total, of_spread / total, bends / total


@njit(f"void({MATRIX}, int64, {INT64}, {_LANE}, {_LANE}, {_LANE}, {_LANE})", **_PLAIN)
def _between(table: Array, most: int, rows: Array, away: Array, place: Array, in_eta: Array, sums: Array) -> None:
    """Add what a table says at some places, by cubics through four neighbours; slopes go into `in_eta`."""
    log, of_noise, of_spread, bends = 0.0, 0.0, 0.0, 0.0
    for r in range(len(rows)):
        k = max(min(int(place[r]), most - 3), 1)
        t = place[r] - k
        first, last = t * (t - 1) / 6, t * (t + 1) / 6
        w0, w3 = -first * (t - 2), last * (t - 1)
        w1, w2 = (t * t - 1) * (t - 2) / 2, -3 * last * (t - 2)
        log += w0 * table[k - 1, 0] + w1 * table[k, 0] + w2 * table[k + 1, 0] + w3 * table[k + 2, 0]
        pull = w0 * table[k - 1, 1] + w1 * table[k, 1] + w2 * table[k + 1, 1] + w3 * table[k + 2, 1]
        in_eta[rows[r]] = away[r] * pull
        of_noise += w0 * table[k - 1, 2] + w1 * table[k, 2] + w2 * table[k + 1, 2] + w3 * table[k + 2, 2]
        of_spread += w0 * table[k - 1, 3] + w1 * table[k, 3] + w2 * table[k + 1, 3] + w3 * table[k + 2, 3]
        bends += w0 * table[k - 1, 4] + w1 * table[k, 4] + w2 * table[k + 1, 4] + w3 * table[k + 2, 4]
    sums[0] += log
    sums[1] += of_noise
    sums[2] += of_spread
    sums[3] += bends


@njit(f"{MATRIX}({VECTOR}, {MATRIX}, {INT64}, {VECTOR}, {VECTOR}, {', '.join([MATRIX] * 4)})", **_PLAIN)
def tabled(
    y: Array, eta: Array, rows: Array, noise: Array, spread: Array, stretch: Array, weight: Array, bend: Array, in_eta: Array
) -> Array:
    """Sums over `rows` of what `blurred_kernels.mixed` gives: logarithm, slopes in both variances, mean of `bend`: shape (4, n).

    Slopes in the linear predictor go into `in_eta`, shape (all rows, n). Variances have shape (n,), nodes (n, nodes).
    """
    n = eta.shape[1]
    farthest, sums = np.zeros(n), np.zeros((4, n))
    for i in rows:
        for c in range(n):
            farthest[c] = max(farthest[c], abs(y[i] - eta[i, c]))
    most = 0
    for c in range(n):
        reach = np.log(1 + farthest[c] * farthest[c] / (noise[c] + spread[c]))
        most = max(most, int(min(reach, 200.0) / _STEP) + 5)
    tables, work = np.empty((_LANES, most, _PARTS)), np.empty(2 * stretch.shape[1])
    scale, away, place = np.empty(_LANES), np.empty((_TOGETHER, _LANES)), np.empty((_TOGETHER, _LANES))
    for start in range(0, n, _LANES):
        lanes = min(_LANES, n - start)
        for j in range(lanes):
            c = start + j
            scale[j] = 1 / (noise[c] + spread[c])
            points = min(int(np.log(1 + farthest[c] * farthest[c] * scale[j]) / _STEP) + 5, most)
            _table(noise[c], spread[c], stretch[c], weight[c], bend[c], work, points, tables[j])
        for first in range(0, len(rows), _TOGETHER):
            some = rows[first : first + _TOGETHER]
            for r in range(len(some)):
                i = some[r]
                for j in range(lanes):
                    away[r, j] = y[i] - eta[i, start + j]
                    place[r, j] = 1 + away[r, j] * away[r, j] * scale[j]
            for r in range(len(some)):
                for j in range(lanes):
                    place[r, j] = np.log(place[r, j]) / _STEP
            for j in range(lanes):
                _between(tables[j], most, some, away[:, j], place[:, j], in_eta[:, start + j], sums[:, start + j])
    return sums
