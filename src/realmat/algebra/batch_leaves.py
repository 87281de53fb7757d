"""Groups alike (see `leaves`) at many psi at once: eliminated, solved for and drawn by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realmat.algebra import leaf_kernels
from realmat.algebra.leaves import LeafClass, Leaves


@dataclass
class Eliminated:
    """What a batch keeps of the groups to draw them: by class, L^-1 v (n, kinds, k), L^-1 h (n, groups, k), and L'^-1 (n, k, k).

    `taken` are the weights of the sums that the groups take from P, shape (n, pairs); `side` is what they take from the right-hand
    side, shape (rest, n); `log` their share of the density, shape (n,).
    """

    couplings: list[np.ndarray]
    halves: list[np.ndarray]
    roots: list[np.ndarray]
    taken: np.ndarray
    side: np.ndarray
    log: np.ndarray


@dataclass
class _Class:
    """A class of groups as compiled loops take it."""

    shape: tuple[int, int]
    kinds: int
    columns: np.ndarray
    block: tuple[np.ndarray, ...]
    coupling: tuple[np.ndarray, ...]
    pairs: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, leaf: LeafClass, pairs: np.ndarray, mine: np.ndarray) -> _Class:
        """`mine` are the places of its pairs among all."""
        used, matrix = np.flatnonzero(leaf.block.any(axis=(1, 2))), leaf.coupling
        return cls(
            leaf.columns.shape,
            matrix.shape[0] // len(leaf.columns),
            np.ascontiguousarray(leaf.columns.ravel()),
            (used, np.ascontiguousarray(leaf.block[used]), leaf.slot, leaf.member, leaf.kind, leaf.factor),
            (matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), matrix.data),
            (mine, *np.ascontiguousarray(pairs[mine, 1:].T)),
        )


class BatchLeaves:
    """Evaluates classes of groups at batches of psi."""

    def __init__(self, leaves: Leaves) -> None:
        self.classes, pairs = leaves.classes, leaves.pairs
        self._size = len(pairs), len(leaves.rest)
        self._each = [_Class.of(leaf, pairs, np.flatnonzero(pairs[:, 0] == c)) for c, leaf in enumerate(leaves.classes)]

    def eliminate(self, weights: np.ndarray, side: np.ndarray) -> Eliminated:
        """At weights of all slots, shape (n, slots), and the right-hand side, shape (n, coefficients), group after group, then the rest."""
        weights, side = np.ascontiguousarray(weights), np.ascontiguousarray(side)
        n, start, (pairs, rest) = len(weights), 0, self._size
        taken, side_taken, log = np.empty((n, pairs)), np.zeros((n, rest)), np.zeros(n)
        out = Eliminated([], [], [], taken, side_taken.T, log)
        for one in self._each:
            groups, k = one.shape
            made = np.empty((n, one.kinds, k)), np.empty((n, groups, k)), np.empty((n, k, k))
            leaf_kernels.eliminate(weights, *one.block, side, start, *one.coupling, *one.pairs, *made, taken, side_taken, log)
            start += groups * k
            for kept, value in zip((out.couplings, out.halves, out.roots), made, strict=True):
                kept.append(value)
        return out

    def complete(self, b: np.ndarray, rest: np.ndarray, at: Eliminated) -> None:
        """Turn standard normals of the groups in `b` (n, coefficients) into draws given the others, `rest` (rest, n), in place."""
        for one, *made in zip(self._each, at.couplings, at.halves, at.roots, strict=True):
            leaf_kernels.complete(b, rest, one.columns, *one.coupling, *made)
