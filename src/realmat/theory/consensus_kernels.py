"""Compiled loops of a consensus of theories: products by what materials share, and steps one after the other."""

from __future__ import annotations

import numpy as np
from numba import njit

FAST = {"cache": True, "nogil": True, "fastmath": False}
MATRIX, STACK = "float64[:, ::1]", "float64[:, :, ::1]"


@njit(f"{STACK}(float64[:, :, :, ::1], int64[::1], {STACK})", **FAST)
def applied(weights: np.ndarray, which: np.ndarray, v: np.ndarray) -> np.ndarray:
    """W v of each chain and material: weights (C, patterns, K, K), the pattern of each material (-1: none), v (C, M, K)."""
    chains, materials, k = v.shape
    out = np.zeros_like(v)
    for c in range(chains):
        for m in range(materials):
            if which[m] < 0:
                continue
            w, here, there = weights[c, which[m]], v[c, m], out[c, m]
            for i in range(k):
                value = here[i]
                if value != 0.0:  # W is symmetric, and theories that were not run are zeros
                    for j in range(k):
                        there[j] += w[i, j] * value
    return out


@njit(f"{MATRIX}({MATRIX}, {MATRIX}, {MATRIX}, {STACK}, {STACK}, {MATRIX}, float64, float64)", **FAST)
def one_by_one(
    here: np.ndarray,
    there: np.ndarray,
    allowed: np.ndarray,
    inverse: np.ndarray,
    precision: np.ndarray,
    directions: np.ndarray,
    degrees: float,
    scale: float,
) -> np.ndarray:
    """Metropolis steps of scales s_j of ``S0 = sum_j s_j^2 v_j v_j'`` under a Wishart density of S^-1, one after the other, in place.

    Parameters
    ----------
    here, there : arrays of shape (C, J)
        Where each scale is, and where it might go; `here` is changed.
    allowed : array of shape (C, J)
        Logarithm of a uniform number less the change of the log prior.
    inverse, precision : arrays of shape (C, K, K)
        S0^-1, which is changed, and S^-1.
    directions : array of shape (J, K)
    degrees, scale : float
        Of the inverse Wishart with mean S0.

    Returns
    -------
    array of shape (C, J)
        1 where a step was taken.
    """
    chains, count = here.shape
    k = directions.shape[1]
    taken = np.zeros((chains, count))
    half = np.zeros(k)
    for c in range(chains):
        for j in range(count):
            v = directions[j]
            more = there[c, j] ** 2 - here[c, j] ** 2
            reach, trace = 0.0, 0.0
            for a in range(k):
                total, other = 0.0, 0.0
                for b in range(k):
                    total += inverse[c, a, b] * v[b]
                    other += precision[c, a, b] * v[b]
                half[a] = total
                reach += total * v[a]
                trace += other * v[a]
            grown = 1.0 + more * reach
            if grown <= 0.0 or allowed[c, j] >= 0.5 * degrees * np.log(grown) - 0.5 * scale * more * trace:
                continue
            taken[c, j] = 1.0
            here[c, j] = there[c, j]
            for a in range(k):
                for b in range(k):
                    inverse[c, a, b] -= more / grown * half[a] * half[b]
    return taken
