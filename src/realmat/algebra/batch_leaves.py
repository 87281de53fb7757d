"""Groups alike (see `leaves`) at many psi at once: eliminated, solved for and drawn by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realmat.algebra.leaves import Leaves


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


class BatchLeaves:
    """Evaluates classes of groups at batches of psi."""

    def __init__(self, leaves: Leaves) -> None:
        self.classes = leaves.classes
        self._pairs = leaves.pairs
        self._rest = len(leaves.rest)
        self._back = [leaf.coupling.T.tocsr() for leaf in self.classes]

    def eliminate(self, weights: np.ndarray, side: np.ndarray) -> Eliminated:
        """At weights of all slots, shape (n, slots), and the right-hand side, shape (n, coefficients), group after group, then the rest."""
        n, start = len(weights), 0
        out = Eliminated([], [], [], np.empty((n, len(self._pairs))), np.zeros((self._rest, n)), np.zeros(n))
        for c, (leaf, back) in enumerate(zip(self.classes, self._back, strict=True)):
            count, k = leaf.columns.shape
            used = np.flatnonzero(leaf.block.any(axis=(1, 2)))
            root, log_det = _inverse_roots(weights[:, used] @ leaf.block[used].reshape(len(used), -1), k)
            half = side[:, start : start + count * k].reshape(n, count, k) @ root
            start += count * k
            v = np.zeros((n, leaf.coupling.shape[0] // count, k))
            for slot, member, kind, factor in zip(leaf.slot, leaf.member, leaf.kind, leaf.factor, strict=True):
                v[:, kind, member] += factor * weights[:, slot]
            coupling = v @ root
            out.log += 0.5 * (np.einsum("ngk,ngk->n", half, half) - count * log_det)
            given = coupling @ half.swapaxes(1, 2)  # (n, kinds, groups)
            out.side -= back @ np.ascontiguousarray(given.reshape(n, -1).T)
            mine = self._pairs[:, 0] == c
            out.taken[:, mine] = -(coupling @ coupling.swapaxes(1, 2))[:, self._pairs[mine, 1], self._pairs[mine, 2]]
            for kept, value in zip((out.couplings, out.halves, out.roots), (coupling, half, root), strict=True):
                kept.append(value)
        return out

    def complete(self, b: np.ndarray, rest: np.ndarray, at: Eliminated) -> None:
        """Turn standard normals of the groups in `b` (n, coefficients) into draws given the others, `rest` (rest, n), in place."""
        for leaf, coupling, half, root in zip(self.classes, at.couplings, at.halves, at.roots, strict=True):
            reached = (leaf.coupling @ rest).T.reshape(len(b), -1, len(leaf.columns))  # (n, kinds, groups)
            white = half - reached.swapaxes(1, 2) @ coupling + b[:, leaf.columns]
            b[:, leaf.columns] = white @ root.swapaxes(1, 2)


def _inverse_roots(flat: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """L'^-1 and log determinants of symmetric matrices L L', shape (n, k * k); nan where they are not positive."""
    lower = np.zeros((k, k, len(flat)))
    given = flat.T.reshape(k, k, -1)
    for j in range(k):
        column = given[j:, j] - np.einsum("irn,rn->in", lower[j:, :j], lower[j, :j])
        lower[j:, j] = column / np.sqrt(column[0])
    inverse = np.zeros_like(lower)
    for j in range(k):
        inverse[j, j] = 1 / lower[j, j]
        for i in range(j + 1, k):
            inverse[i, j] = -np.einsum("rn,rn->n", lower[i, j:i], inverse[j:i, j]) / lower[i, i]
    log_det = 2 * np.sum(np.log(lower[np.arange(k), np.arange(k)]), axis=0)
    return np.ascontiguousarray(inverse.transpose(2, 1, 0)), log_det
