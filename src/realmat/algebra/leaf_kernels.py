"""Compiled loops over groups alike of a class (see `leaves`): eliminated and drawn, one psi after the other."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from realmat.algebra.kernels import FAST, INT32, INT64, MATRIX, VECTOR, invert

Array = np.ndarray
_STACK = "float64[:, :, ::1]"


@njit(f"float64({MATRIX}, {MATRIX})", **FAST)
def _inverse_root(lower: Array, root: Array) -> float:
    """L'^-1, upper, of a symmetric matrix L L' that `lower` holds and loses, and its log determinant; nan where it is not positive."""
    k, log_det = len(lower), 0.0
    root[:] = 0.0
    for j in range(k):
        for i in range(j, k):
            total = lower[i, j]
            for m in range(j):
                total -= lower[i, m] * lower[j, m]
            lower[i, j] = total / lower[j, j] if i > j else math.sqrt(total) if total > 0 else math.nan
        log_det += 2.0 * math.log(lower[j, j])
    invert(lower, root)
    return log_det


@njit(**FAST)
def _couple(weight: Array, slot: Array, member: Array, kind: Array, factor: Array, root: Array, v: Array, coupling: Array) -> None:
    """The couplings of one class at one psi, L^-1 v."""
    v[:] = 0.0
    for c in range(len(slot)):
        v[kind[c], member[c]] += factor[c] * weight[slot[c]]
    for m in range(len(v)):
        for a in range(len(root)):
            total = 0.0
            for b in range(a + 1):
                total += v[m, b] * root[b, a]
            coupling[m, a] = total


@njit(**FAST)
def _take(coupling: Array, halves: Array, indptr: Array, indices: Array, data: Array, side: Array) -> None:
    """Subtract what the groups of one class take from the right-hand side at one psi."""
    groups, k = halves.shape
    for m in range(len(coupling)):
        for g in range(groups):
            given = 0.0
            for a in range(k):
                given += coupling[m, a] * halves[g, a]
            row = m * groups + g
            for t in range(indptr[row], indptr[row + 1]):
                side[indices[t]] -= data[t] * given


@njit(**FAST)
def _halve(side: Array, root: Array, halves: Array) -> float:
    """L^-1 of each group's right-hand side at one psi, and the sum of its squares."""
    groups, k = halves.shape
    square = 0.0
    for g in range(groups):
        for a in range(k):
            total = 0.0
            for b in range(a + 1):
                total += side[g * k + b] * root[b, a]
            halves[g, a] = total
            square += total * total
    return square


@njit(**FAST)
def _pairs(coupling: Array, pair: Array, left: Array, right: Array, taken: Array) -> None:
    """Sums of products of two kinds of couplings at one psi, each in its place."""
    for p in range(len(pair)):
        total = 0.0
        for a in range(coupling.shape[1]):
            total += coupling[left[p], a] * coupling[right[p], a]
        taken[pair[p]] = -total


@njit(
    f"({MATRIX}, {INT64}, {_STACK}, {INT64}, {INT64}, {INT64}, {VECTOR}, {MATRIX}, int64, {INT32}, {INT32}, {VECTOR}, {INT64}, {INT64},"
    f" {INT64}, {_STACK}, {_STACK}, {_STACK}, {MATRIX}, {MATRIX}, {VECTOR})",
    **FAST,
)
def eliminate(
    weights: Array,
    used: Array,
    block: Array,
    slot: Array,
    member: Array,
    kind: Array,
    factor: Array,
    side: Array,
    start: int,
    indptr: Array,
    indices: Array,
    data: Array,
    pair: Array,
    left: Array,
    right: Array,
    couplings: Array,
    halves: Array,
    roots: Array,
    taken: Array,
    side_taken: Array,
    log: Array,
) -> None:
    """One class at every psi.

    Parameters
    ----------
    weights : array of shape (n, slots)
    used, block : arrays of shape (u,) and (u, k, k)
        Slots that the class has numbers in, and D_s of these.
    slot, member, kind, factor
        As `LeafClass` has them; `indptr`, `indices` and `data` are its couplings, csr.
    side : array of shape (n, coefficients)
        The right-hand side, the class from `start` on.
    pair, left, right : int arrays
        Where the sums of products of two kinds of couplings stand in `taken`, and which kinds these are.
    couplings, halves, roots, taken, side_taken, log
        What becomes of it, as `Eliminated` has it: shapes (n, kinds, k), (n, groups, k), (n, k, k), (n, pairs), (n, rest), (n,); the last
        three are added to.
    """
    (n, groups, k), kinds = halves.shape, couplings.shape[1]
    lower, v = np.empty((k, k)), np.empty((kinds, k))
    for i in range(n):
        weight, coupling, root = weights[i], couplings[i], roots[i]
        lower[:] = 0.0
        for s in range(len(used)):
            lower += weight[used[s]] * block[s]
        log_det = _inverse_root(lower, root)
        _couple(weight, slot, member, kind, factor, root, v, coupling)
        square = _halve(side[i, start:], root, halves[i])
        log[i] += 0.5 * (square - groups * log_det)
        _take(coupling, halves[i], indptr, indices, data, side_taken[i])
        _pairs(coupling, pair, left, right, taken[i])


@njit(f"({MATRIX}, {MATRIX}, {INT64}, {INT32}, {INT32}, {VECTOR}, {_STACK}, {_STACK}, {_STACK})", **FAST)
def complete(
    b: Array, rest: Array, columns: Array, indptr: Array, indices: Array, data: Array, couplings: Array, halves: Array, roots: Array
) -> None:
    """Turn standard normals of one class in `b` (n, coefficients) into draws given the others, `rest` (rest, n), in place.

    `columns` are those of all groups, one group after the other.
    """
    (n, groups, k), kinds = halves.shape, couplings.shape[1]
    white, own = np.empty(k), np.empty(len(rest))
    for i in range(n):
        own[:] = rest[:, i]
        for g in range(groups):
            for a in range(k):
                white[a] = halves[i, g, a] + b[i, columns[g * k + a]]
            for m in range(kinds):
                reached, row = 0.0, m * groups + g
                for t in range(indptr[row], indptr[row + 1]):
                    reached += data[t] * own[indices[t]]
                for a in range(k):
                    white[a] -= reached * couplings[i, m, a]
            for a in range(k):
                total = 0.0
                for c in range(a, k):
                    total += roots[i, a, c] * white[c]
                b[i, columns[g * k + a]] = total
