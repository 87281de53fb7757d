"""Groups alike (see `leaves`) at many psi at once: eliminated, solved for and drawn by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from realmat.algebra.leaves import Leaves


@dataclass
class Eliminated:
    """What a batch keeps of the groups to draw them: by class, weights of couplings (couplings, n), D^-1 h, and a root of D^-1.

    `taken` are the weights of the sums that the groups take from P, shape (n, pairs); `side` is what they take from the right-hand
    side, shape (rest, n); `log` their share of the density, shape (n,).
    """

    weights: list[np.ndarray]
    centres: list[np.ndarray]
    inverses: list[np.ndarray]
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
        """At weights of all slots, shape (n, slots), and the right-hand side of all coefficients, shape (n, coefficients)."""
        n = len(weights)
        out = Eliminated([], [], [], [], np.empty((n, len(self._pairs))), np.zeros((self._rest, n)), np.zeros(n))
        for c, (leaf, back) in enumerate(zip(self.classes, self._back, strict=True)):
            count, k = leaf.columns.shape
            used = np.flatnonzero(leaf.block.any(axis=(1, 2)))
            inverse, root, log_det = _inverted(weights[:, used] @ leaf.block[used].reshape(len(used), -1), k)
            own = side[:, leaf.columns]  # (n, groups, k)
            centre = own @ inverse
            out.log += 0.5 * (np.einsum("ngk,ngk->n", own, centre) - count * log_det)
            scale = weights[:, leaf.slot].T
            out.side -= _together(back, centre.transpose(2, 1, 0)[leaf.member] * scale[:, None])
            mine = self._pairs[:, 0] == c
            p, q = self._pairs[mine, 1], self._pairs[mine, 2]
            out.taken[:, mine] = -(scale[p] * scale[q]).T * inverse[:, leaf.member[p], leaf.member[q]]
            for kept, value in zip((out.weights, out.centres, out.inverses, out.roots), (scale, centre, inverse, root), strict=True):
                kept.append(value)
        return out

    def complete(self, b: np.ndarray, rest: np.ndarray, at: Eliminated) -> None:
        """Turn standard normals of the groups in `b` (n, coefficients) into draws given the others, `rest` (rest, n), in place."""
        for c, leaf in enumerate(self.classes):
            count, k = leaf.columns.shape
            reached = (leaf.coupling @ rest).reshape(len(leaf.slot), count, -1) * at.weights[c][:, None]
            moved = np.zeros((k, count, len(b)))
            np.add.at(moved, leaf.member, reached)
            b[:, leaf.columns] = (
                at.centres[c] - moved.transpose(2, 1, 0) @ at.inverses[c] + b[:, leaf.columns] @ at.roots[c].swapaxes(1, 2)
            )


def _together(back: sparse.csr_matrix, values: np.ndarray) -> np.ndarray:
    """Sparse (rest, couplings x groups) times values (couplings, groups, n)."""
    return np.asarray(back @ np.ascontiguousarray(values.reshape(-1, values.shape[-1])))


def _inverted(flat: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inverses, a root R of each (R R' is the inverse) and log determinants of symmetric matrices (n, k * k); nan where not positive."""
    lower = np.zeros((k, k, len(flat)))
    given = flat.T.reshape(k, k, -1)
    for j in range(k):
        column = given[j:, j] - np.einsum("irn,rn->in", lower[j:, :j], lower[j, :j])
        lower[j:, j] = column / np.sqrt(column[0])
    inverse = np.zeros_like(lower)  # of the factor
    for j in range(k):
        inverse[j, j] = 1 / lower[j, j]
        for i in range(j + 1, k):
            inverse[i, j] = -np.einsum("rn,rn->n", lower[i, j:i], inverse[j:i, j]) / lower[i, i]
    log_det = 2 * np.sum(np.log(lower[np.arange(k), np.arange(k)]), axis=0)
    root = np.ascontiguousarray(inverse.transpose(2, 1, 0))  # L'^-1
    return root @ root.swapaxes(1, 2), root, log_det


