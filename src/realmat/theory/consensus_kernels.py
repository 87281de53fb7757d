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


@njit(f"Tuple((float64[:, :, :, ::1], {MATRIX}))({STACK}, {MATRIX}, {STACK})", **FAST)
def inverses(covariance: np.ndarray, ran: np.ndarray, more: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of S + diag(more) over the theories that each pattern has, zero for the others, and the log determinant of what it inverts.

    Parameters
    ----------
    covariance : array of shape (C, K, K)
    ran : array of shape (patterns, K)
        1 for the theories of a pattern.
    more : array of shape (C or 1, patterns, K)

    Returns
    -------
    arrays of shape (C, patterns, K, K) and (C, patterns)
        NaN where S is not positive definite.
    """
    chains, k = covariance.shape[:2]
    patterns, own = ran.shape[0], more.shape[0] > 1
    out, log_det = np.zeros((chains, patterns, k, k)), np.zeros((chains, patterns))
    which, root, inverse = np.zeros(k, dtype=np.int64), np.zeros((k, k)), np.zeros((k, k))
    for p in range(patterns):
        n = 0
        for i in range(k):
            if ran[p, i] > 0:
                which[n] = i
                n += 1
        for c in range(chains):
            for i in range(n):  # Cholesky's L, and its inverse row by row
                for j in range(i + 1):
                    total = covariance[c, which[i], which[j]]
                    if i == j:
                        total += more[c if own else 0, p, which[i]]
                    for a in range(j):
                        total -= root[i, a] * root[j, a]
                    root[i, j] = total / root[j, j] if j < i else np.sqrt(total)
                log_det[c, p] += 2 * np.log(root[i, i])
                for j in range(i):
                    total = 0.0
                    for a in range(j, i):
                        total -= root[i, a] * inverse[a, j]
                    inverse[i, j] = total / root[i, i]
                inverse[i, i] = 1 / root[i, i]
            for i in range(n):
                for j in range(i + 1):
                    total = 0.0
                    for a in range(i, n):
                        total += inverse[a, i] * inverse[a, j]
                    out[c, p, which[i], which[j]] = total
                    out[c, p, which[j], which[i]] = total
    return out, log_det


@njit(f"float64[:, :, :, ::1]({STACK}, {MATRIX}, int64[::1], int64)", **FAST)
def scatter(errors: np.ndarray, weight: np.ndarray, which: np.ndarray, patterns: int) -> np.ndarray:
    """Sums of e e' times the weight over the materials of each pattern: errors (C, M, K), zero where not run; (C, patterns, K, K)."""
    chains, materials, k = errors.shape
    out = np.zeros((chains, patterns, k, k))
    for c in range(chains):
        for m in range(materials):
            if which[m] < 0:
                continue
            e, there = errors[c, m], out[c, which[m]]
            for i in range(k):
                value = e[i] * weight[c, m]
                if value != 0.0:
                    for j in range(k):
                        there[i, j] += value * e[j]
    return out


@njit(f"{MATRIX}({MATRIX}, {MATRIX}, {MATRIX}, float64[:, :, :, ::1], float64[:, :, :, ::1], int64[::1], {MATRIX})", **FAST)
def one_by_one_of_patterns(
    here: np.ndarray,
    there: np.ndarray,
    allowed: np.ndarray,
    weights: np.ndarray,
    squares: np.ndarray,
    members: np.ndarray,
    directions: np.ndarray,
) -> np.ndarray:
    """As `one_by_one`, where ``S = sum_j s_j^2 v_j v_j'`` itself is the covariance of errors of which each pattern shows some.

    Parameters
    ----------
    here, there, allowed : arrays of shape (C, J)
    weights, squares : arrays of shape (C, patterns, K, K)
        Inverse of S over the theories that were run, zero for the others, which is changed; and the errors' `scatter`.
    members : int array of shape (patterns,)
        Materials of each.
    directions : array of shape (J, K)
    """
    chains, count = here.shape
    patterns, k = weights.shape[1:3]
    taken = np.zeros((chains, count))
    half, reach = np.zeros((patterns, k)), np.zeros(patterns)
    for c in range(chains):
        for j in range(count):
            more = there[c, j] ** 2 - here[c, j] ** 2
            change, possible = 0.0, True
            for p in range(patterns):
                w, g, total = weights[c, p], squares[c, p], 0.0
                for a in range(k):
                    value = 0.0
                    for b in range(k):
                        value += w[a, b] * directions[j, b]  # zero where not run, in rows and columns
                    half[p, a] = value
                    total += value * directions[j, a]
                reach[p] = total
                grown = 1.0 + more * total
                if grown <= 0.0:
                    possible = False
                    break
                form = 0.0
                for a in range(k):
                    if half[p, a] != 0.0:
                        for b in range(k):
                            form += half[p, a] * g[a, b] * half[p, b]
                change += -0.5 * members[p] * np.log(grown) + 0.5 * more / grown * form
            if not possible or allowed[c, j] >= change:
                continue
            taken[c, j] = 1.0
            here[c, j] = there[c, j]
            for p in range(patterns):
                share = more / (1.0 + more * reach[p])
                for a in range(k):
                    if half[p, a] != 0.0:
                        for b in range(k):
                            weights[c, p, a, b] -= share * half[p, a] * half[p, b]
    return taken
