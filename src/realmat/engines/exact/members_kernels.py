"""Loops of one-dimensional densities that are drawn from exactly: a normal prior times a likelihood known on a grid."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from realmat.algebra.kernels import FAST, MATRIX, VECTOR

_REACH = 8.0  # standard deviations of the prior
_COARSE, _FINE = 12, 32
_LOW = 18.0  # log density below the highest, from which there is nothing
_SEEN, _LOOKS = 3, 5  # nodes that are not so low, with which it is looked closely enough, and how often it is looked
_LOWEST = -25.0  # logarithm of an exponential
_NEVER = -200.0  # log density outside the nodes


@njit(f"float64({MATRIX}, float64, float64, int64, float64, float64, float64, float64, int64, {VECTOR})", **FAST)
def _at_nodes(
    table: np.ndarray, first: float, step: float, j: int, mean: float, sd: float, start: float, width: float, nodes: int, p: np.ndarray
) -> float:
    """Log density of member j at ``start + width k``, into `p`; returns the highest.

    The likelihood is straight between the nodes of its row of the table, and goes on straight beyond its ends.
    """
    most = float(table.shape[1] - 2)
    first_at, each = (start - first) / step, width / step
    first_z, each_z = (start - mean) / sd, width / sd
    best = -np.inf
    for k in range(nodes + 1):
        at, z = first_at + k * each, first_z + k * each_z
        i = int(min(max(at, 0.0), most))
        low = table[j, i]
        p[k] = low + (at - i) * (table[j, i + 1] - low) - 0.5 * z * z
        best = max(best, p[k])
    return best


@njit(f"UniTuple(float64, 3)({MATRIX}, float64, float64, int64, float64, float64, float64, {VECTOR})", **FAST)
def _nodes(
    table: np.ndarray, first: float, step: float, j: int, top: float, mean: float, sd: float, p: np.ndarray
) -> tuple[float, float, float]:
    """Density of member j at equally far nodes, into `p`: the first node, their distance, and the integral.

    Both factors have one hump, that of the likelihood at `top`, and so has their product, between the two: it is looked closer and closer
    around the highest node.
    """
    start = min(mean - _REACH * sd, top)
    width = (max(mean + _REACH * sd, top) - start) / _COARSE
    for _ in range(_LOOKS):
        best = _at_nodes(table, first, step, j, mean, sd, start, width, _COARSE, p)
        begin, end, seen = _COARSE, 0, 0
        for k in range(_COARSE + 1):
            if p[k] > best - _LOW:
                begin, end, seen = min(begin, k), k, seen + 1
        begin, end = max(begin - 1, 0), min(end + 1, _COARSE)
        start, width = start + begin * width, (end - begin) * width / _COARSE
        if seen >= _SEEN:
            break
    width *= _COARSE / _FINE
    best = _at_nodes(table, first, step, j, mean, sd, start, width, _FINE, p)
    for k in range(_FINE + 1):  # exponentials to 1e-5, in vector instructions: what is drawn is drawn from these very numbers
        x = max(p[k] - best, _LOWEST) * (1 / 32)
        x = 1 + x * (1 + x * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120 + x * (1 / 720))))))
        x *= x
        x *= x
        x *= x
        x *= x
        p[k] = x * x
    total = 0.0
    for k in range(_FINE + 1):
        total += p[k]
    return start, width, width * (total - 0.5 * (p[0] + p[_FINE]))


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
        top = first[j] + step[j] * np.argmax(table[j])
        for i in range(n):
            start, width, total = _nodes(table, first[j], step[j], j, top, mean[i], sd[i], p)
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
def log_density(table: np.ndarray, first: np.ndarray, step: np.ndarray, mean: np.ndarray, sd: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Log density of what `drawn` draws, at t of shape (n, members), summed over the members."""
    n, members = t.shape
    log, p = np.zeros(n), np.empty(_FINE + 1)
    for j in range(members):
        top = first[j] + step[j] * np.argmax(table[j])
        for i in range(n):
            start, width, total = _nodes(table, first[j], step[j], j, top, mean[i], sd[i], p)
            at = (t[i, j] - start) / width
            if not 0.0 <= at <= _FINE:
                log[i] += _NEVER
                continue
            k = min(int(at), _FINE - 1)
            log[i] += math.log(max(p[k] + (at - k) * (p[k + 1] - p[k]), 1e-300) / total)
    return log
