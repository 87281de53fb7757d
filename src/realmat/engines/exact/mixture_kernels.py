"""Loops over points of mixtures of multivariate Student t: their density, a step of EM, and draws."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from realmat.algebra.kernels import FAST, INT64, MATRIX, VECTOR, invert

_STACK = "float64[:, :, ::1]"


@njit(f"Tuple(({_STACK}, {VECTOR}))({MATRIX}, {_STACK}, {VECTOR}, {VECTOR})", **FAST)
def _components(locations: np.ndarray, factors: np.ndarray, weights: np.ndarray, nu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Transposed inverses of the factors, shape (k, d, d), and each component's weighted log density at its location, shape (k,)."""
    k, d = locations.shape
    inverses, heights = np.zeros((k, d, d)), np.empty(k)
    for c in range(k):
        height = math.log(weights[c]) + math.lgamma((nu[c] + d) / 2) - math.lgamma(nu[c] / 2) - 0.5 * d * math.log(nu[c] * math.pi)
        for j in range(d):
            height -= math.log(factors[c, j, j])
        invert(factors[c], inverses[c])
        heights[c] = height
    return inverses, heights


@njit(f"({MATRIX}, {VECTOR}, {MATRIX}, float64, float64, {MATRIX}, {VECTOR}, {VECTOR})", **FAST)
def _component(
    points: np.ndarray,
    location: np.ndarray,
    inverse: np.ndarray,
    height: float,
    nu: float,
    centred: np.ndarray,
    square: np.ndarray,
    log: np.ndarray,
) -> None:
    """Points from a location, (d, n), their squared distances, (n,), and weighted log densities, (n,), of one component.

    Points are columns: each step runs over all of them, several at a time.
    """
    d, n = points.shape
    z = np.empty(n)
    square[:] = 0.0
    for j in range(d):
        centred[j] = points[j] - location[j]
    for i in range(d):
        z[:] = inverse[0, i] * centred[0]
        for j in range(1, i + 1):
            z += inverse[j, i] * centred[j]
        square += z * z
    power = 0.5 * (nu + d)
    for m in range(n):
        log[m] = height - power * math.log(1.0 + square[m] / nu)


@njit(f"{VECTOR}({MATRIX}, {MATRIX}, {_STACK}, {VECTOR}, {VECTOR})", **FAST)
def log_density(points: np.ndarray, locations: np.ndarray, factors: np.ndarray, weights: np.ndarray, nu: np.ndarray) -> np.ndarray:
    """Log density of a mixture at points of shape (d, n)."""
    (d, n), k = points.shape, len(weights)
    inverses, heights = _components(locations, factors, weights, nu)
    centred, square, log, out = np.empty((d, n)), np.empty(n), np.empty((k, n)), np.empty(n)
    for c in range(k):
        _component(points, locations[c], inverses[c], heights[c], nu[c], centred, square, log[c])
    for m in range(n):
        top, total = -np.inf, 0.0
        for c in range(k):
            top = max(top, log[c, m])
        for c in range(k):
            total += math.exp(log[c, m] - top)
        out[m] = top + math.log(total) if top > -np.inf else top
    return out


@njit(f"Tuple((float64, {VECTOR}, {VECTOR}, {MATRIX}, {_STACK}))({MATRIX}, {VECTOR}, {MATRIX}, {_STACK}, {VECTOR}, {VECTOR})", **FAST)
def moments(
    points: np.ndarray, share: np.ndarray, locations: np.ndarray, factors: np.ndarray, weights: np.ndarray, nu: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What a step of EM needs of weighted points, shape (d, n).

    Returns
    -------
    score : float
        Mean log density.
    masses, tails : arrays of shape (k,)
        Sums of responsibilities r, and of r times what tails leave of a point, (nu + d) / (nu + square).
    first, second : arrays of shape (k, d) and (k, d, d)
        Sums of the points from each location, and of their products, weighted as in `tails`.
    """
    (d, n), k = points.shape, len(weights)
    inverses, heights = _components(locations, factors, weights, nu)
    masses, tails, first, second = np.zeros(k), np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
    centred, square, log = np.empty((k, d, n)), np.empty((k, n)), np.empty((k, n))
    for c in range(k):
        _component(points, locations[c], inverses[c], heights[c], nu[c], centred[c], square[c], log[c])
    score = 0.0
    for m in range(n):
        top, total = -np.inf, 0.0
        for c in range(k):
            top = max(top, log[c, m])
        for c in range(k):
            log[c, m] = math.exp(log[c, m] - top)
            total += log[c, m]
        score += share[m] * (top + math.log(total))
        for c in range(k):
            log[c, m] *= share[m] / total
    for c in range(k):
        masses[c] = log[c].sum()
        tail = log[c] * (nu[c] + d) / (nu[c] + square[c])
        tails[c] = tail.sum()
        for a in range(d):
            pulled = tail * centred[c, a]
            first[c, a] = pulled.sum()
            for b in range(a + 1):
                second[c, a, b] = second[c, b, a] = np.dot(pulled, centred[c, b])
    return score, masses, tails, first, second


@njit(f"{MATRIX}({INT64}, {MATRIX}, {MATRIX}, {_STACK})", **FAST)
def placed(which: np.ndarray, z: np.ndarray, locations: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Points z of shape (n, d) under unit components, under component `which` of each, shape (n,)."""
    out = np.empty_like(z)
    for i, c in enumerate(which):
        for a in range(z.shape[1]):
            total = 0.0
            for b in range(a + 1):
                total += factors[c, a, b] * z[i, b]
            out[i, a] = locations[c, a] + total
    return out
