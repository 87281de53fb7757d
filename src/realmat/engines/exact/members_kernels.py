"""Loops of one-dimensional densities that are drawn from exactly: a normal prior times a likelihood known on a grid."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from realmat.algebra.kernels import FAST, MATRIX, VECTOR

_REACH = 8.0  # standard deviations of the prior
_COARSE, _FINE = 16, 32
_LOW = 18.0  # log density below the highest, from which there is nothing
_NEVER = -200.0  # log density outside the nodes
_ENDS = "UniTuple(float64, 2)"


@njit(f"float64({MATRIX}, float64, float64, int64, float64)", **FAST)
def _likelihood(table: np.ndarray, first: float, step: float, j: int, t: float) -> float:
    """Between the nodes of a row of the table, and in a straight line beyond its ends."""
    at = (t - first) / step
    k = min(max(int(math.floor(at)), 0), table.shape[1] - 2)
    return table[j, k] + (at - k) * (table[j, k + 1] - table[j, k])


@njit(f"{_ENDS}({MATRIX}, float64, float64, int64)", **FAST)
def _ends(table: np.ndarray, first: float, step: float, j: int) -> tuple[float, float]:
    """Where the likelihood of a member is not much lower than at its highest; infinite where the table does not end so low."""
    least, last = table[j].max() - 2 * _LOW, table.shape[1] - 1
    a, b = 0, last
    while a < last and table[j, a + 1] < least:
        a += 1
    while b > 0 and table[j, b - 1] < least:
        b -= 1
    return first + a * step if table[j, 0] < least else -np.inf, first + b * step if table[j, last] < least else np.inf


@njit(f"UniTuple(float64, 3)({MATRIX}, float64, float64, int64, {_ENDS}, float64, float64, {VECTOR})", **FAST)
def _nodes(
    table: np.ndarray, first: float, step: float, j: int, ends: tuple[float, float], mean: float, sd: float, p: np.ndarray
) -> tuple[float, float, float]:
    """Density of member j at equally far nodes, into `p`: the first node, their distance, and the integral.

    Nodes are where the likelihood is not much lower than at its highest, between `ends`, and the prior reaches.
    """
    below, above = ends
    low, high = max(mean - _REACH * sd, below), min(mean + _REACH * sd, above)
    if not low < high:  # prior and likelihood are far apart: between them
        low, high = min(above, mean - _REACH * sd), max(below, mean + _REACH * sd)
        if above < mean:
            high = min(high, mean + sd)
        else:
            low = max(low, mean - sd)
    wide = (high - low) / _COARSE
    best = -np.inf
    for k in range(_COARSE + 1):
        t = low + k * wide
        z = (t - mean) / sd
        p[k] = _likelihood(table, first, step, j, t) - 0.5 * z * z
        best = max(best, p[k])
    begin, end = 0, _COARSE
    while begin < _COARSE - 1 and p[begin + 1] < best - _LOW:
        begin += 1
    while end > begin + 1 and p[end - 1] < best - _LOW:
        end -= 1
    start, narrow = low + begin * wide, (end - begin) * wide / _FINE
    best = -np.inf
    for k in range(_FINE + 1):
        t = start + k * narrow
        z = (t - mean) / sd
        p[k] = _likelihood(table, first, step, j, t) - 0.5 * z * z
        best = max(best, p[k])
    total = 0.0
    for k in range(_FINE + 1):
        p[k] = math.exp(p[k] - best)
        total += p[k]
    total = narrow * (total - 0.5 * (p[0] + p[_FINE]))
    return start, narrow, total


@njit(f"Tuple(({MATRIX}, {VECTOR}))({MATRIX}, {VECTOR}, {VECTOR}, {VECTOR}, {VECTOR}, {MATRIX})", **FAST)
def drawn(
    table: np.ndarray, first: np.ndarray, step: np.ndarray, mean: np.ndarray, sd: np.ndarray, u: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draws of every member, shape (n, members), from uniform numbers `u` of that shape, and their log densities, shape (n,).

    Parameters
    ----------
    table : array of shape (members, nodes)
        Log likelihood of each at ``first + step * k``.
    mean, sd : arrays of shape (n,)
        Of their prior.
    """
    n, members = u.shape
    out, log, p = np.empty((n, members)), np.zeros(n), np.empty(_FINE + 1)
    for j in range(members):
        ends = _ends(table, first[j], step[j], j)
        for i in range(n):
            start, width, total = _nodes(table, first[j], step[j], j, ends, mean[i], sd[i], p)
            left = u[i, j] * total / width
            k = 0
            while k < _FINE - 1 and left > 0.5 * (p[k] + p[k + 1]):
                left -= 0.5 * (p[k] + p[k + 1])
                k += 1
            left = min(left, 0.5 * (p[k] + p[k + 1]))
            rise = p[k + 1] - p[k]  # x p_k + x^2 rise / 2 = left, the density being straight between nodes
            root = math.sqrt(max(p[k] * p[k] + 2 * rise * left, 0.0))
            share = min(2 * left / max(p[k] + root, 1e-300), 1.0)
            out[i, j] = start + (k + share) * width
            log[i] += math.log(max(p[k] + share * rise, 1e-300) / total)
    return out, log


@njit(f"{VECTOR}({MATRIX}, {VECTOR}, {VECTOR}, {VECTOR}, {VECTOR}, {MATRIX})", **FAST)
def log_density(
    table: np.ndarray, first: np.ndarray, step: np.ndarray, mean: np.ndarray, sd: np.ndarray, t: np.ndarray
) -> np.ndarray:
    """Log density of what `drawn` draws, at t of shape (n, members), summed over the members."""
    n, members = t.shape
    log, p = np.zeros(n), np.empty(_FINE + 1)
    for j in range(members):
        ends = _ends(table, first[j], step[j], j)
        for i in range(n):
            start, width, total = _nodes(table, first[j], step[j], j, ends, mean[i], sd[i], p)
            at = (t[i, j] - start) / width
            if not 0.0 <= at <= _FINE:
                log[i] += _NEVER
                continue
            k = min(int(at), _FINE - 1)
            log[i] += math.log(max(p[k] + (at - k) * (p[k + 1] - p[k]), 1e-300) / total)
    return log
