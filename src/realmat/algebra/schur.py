"""Eliminating the largest group effect in closed form, by classes.

Independent effects, one for each group (each specimen, say), that only the response touches, each row at most once, have a diagonal block
of P; eliminating it leaves its Schur complement (as in lme4: Bates et al., J. Stat. Softw. 67, 1, 2015, section 3). With a common noise
variance 1/w and prior precision q, the effect of group j with g_j measurements has D_j = w g_j + q, and what is left is

    S = P - sum_j w^2 G_j' G_j / D_j

where G_j is the row of the Gram matrix that couples it to the other coefficients. D_j depends on j through g_j alone, so groups with
equally many measurements are summed once and for all: the cost of an evaluation does not grow with the number of groups. Where there are
many classes, 1 / D as a function of g is interpolated between Chebyshev points, to rounding: its pole is at g = -q / w <= 0, so that twenty
points are enough for any interval whose ends differ by a factor of two (Trefethen, Approximation Theory and Practice, 2013, theorem 8.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse

from realmat.algebra.normal_equations import Slot
from realmat.algebra.ordering import Pattern
from realmat.algebra.row_block import RowBlock, by_column
from realmat.terms.term import Coefficients, Function, Values, evaluate

_MOST_NUMBERS = 40_000_000
_SCATTERED = 4.0  # a scattered multiply-add costs as much as so many in a row
_FEWEST = 8
_RATIO = 2.0  # between the ends of an interval of interpolation
_ROUNDING = 1e-16


def find(row_blocks: Sequence[RowBlock], blocks: Sequence[Coefficients], columns: dict[str, slice], example: Values) -> Coefficients | None:
    """The largest block that can be eliminated so; None where there is none, or it would not pay. Matrices in natural order."""
    response = row_blocks[0]
    if not response.uniform:
        return None
    touched = np.zeros(response.matrix.shape[1], dtype=bool)
    for other in row_blocks[1:]:
        touched[other.matrix.indices] = True
    for block in sorted(blocks, key=lambda b: -b.size):
        where = columns[block.name]
        if block.size < _FEWEST or not one_scale(block, example) or touched[where].any():
            continue
        sub = response.matrix[:, where.start : where.stop]
        if np.diff(sub.indptr).max(initial=0) <= 1:
            return block
    return None


def one_scale(block: Coefficients, example: Values) -> bool:
    """Whether coefficients are independent a priori, around zero, with one standard deviation."""
    own = not (block.mean_parts or block.nu) and not callable(block.mean) and np.all(np.asarray(block.mean) == 0)
    return bool(own) and np.ndim(evaluate(block.sd, example)) == 0


@dataclass
class EliminatedEffect:
    """The effect of a system that is eliminated in closed form; arrays in elimination order, its own columns last.

    Attributes
    ----------
    coupling : csr, shape (groups, other coefficients)
        Its rows of the Gram matrix, G_j.
    counts : array of shape (groups,)
        Measurements of each group, g_j.
    class_of : int array of shape (groups,)
        The class of each group, those with equally many measurements; a class has `class_counts` measurements and `class_sizes` groups.
    nodes : array of shape (nodes,)
        Numbers of measurements at which 1 / D is evaluated; `weights` of shape (nodes, classes) interpolates between them.
    pair_sums : csc, shape (flat, nodes)
        Weighted sums over the groups of G_j' G_j, at the flat positions of the factor.
    """

    row_block: RowBlock
    sd: Function | float | np.ndarray
    coupling: sparse.csr_matrix
    counts: np.ndarray
    class_of: np.ndarray
    class_counts: np.ndarray
    class_sizes: np.ndarray
    nodes: np.ndarray
    weights: np.ndarray
    rows: sparse.csr_matrix
    pair_sums: sparse.csc_matrix
    side_sums: np.ndarray
    square_sums: np.ndarray
    side: np.ndarray

    def refresh(self) -> None:
        """The response has moved: recompute what depends on it."""
        f = self.row_block
        self.side = self.rows.T @ (f.count * f.y)
        classes = sparse.csr_matrix(
            (np.ones(len(self.class_of)), (self.class_of, np.arange(len(self.class_of)))),
            shape=(len(self.class_counts), len(self.class_of)),
        )
        self.side_sums = self.weights @ np.asarray((classes @ self.coupling.multiply(self.side[:, None]).tocsr()).toarray())
        self.square_sums = self.weights @ (classes @ self.side**2)

    @property
    def slots(self) -> list[Slot]:
        """The sums, one by one, as places and values."""
        m = self.pair_sums
        return [(m.indices[a:b], m.data[a:b]) for a, b in pairwise(m.indptr)]

    def at(self, p: Values) -> tuple[float, np.ndarray, np.ndarray]:
        """w, D by class and D at the nodes, at psi."""
        w = 1.0 / float(self.row_block.variance(p)[0])
        q = 1.0 / float(evaluate(self.sd, p)) ** 2
        return w, w * self.class_counts + q, w * self.nodes + q


@dataclass(frozen=True)
class Structure:
    """An effect beside the other coefficients: its rows (rows x groups), coupling to the others (groups x others), and counts by group."""

    block: Coefficients
    rows: sparse.csr_matrix
    coupling: sparse.csr_matrix
    counts: np.ndarray

    @classmethod
    def of(cls, response: RowBlock, block: Coefficients, where: slice) -> Structure:
        """Of a block of coefficients, at `where` among the columns, in natural order."""
        rows = response.matrix[:, where].tocsr()
        weighted = rows.multiply(response.count[:, None]).tocsr()
        coupling = (weighted.T @ without(response.matrix, where)).tocsr()
        return cls(block, rows, coupling, np.asarray(rows.multiply(weighted).sum(axis=0)).ravel())

    def too_large(self, flat: int) -> bool:
        """Whether sums by class would cost more, each evaluation, than eliminating the groups one by one."""
        classes = len(interpolation(np.unique(self.counts))[0])
        height = np.diff(self.coupling.indptr).astype(float)
        one_by_one = _SCATTERED * float(np.sum((height + 1) * (height + 2) / 2))
        return classes * flat > min(one_by_one, _MOST_NUMBERS)

    def effect(self, response: RowBlock, pattern: Pattern) -> EliminatedEffect:
        """The eliminated effect of an ordered system: of its response, and the pattern of the other coefficients."""
        columns, order = by_column(pattern.place[self.coupling.indices].astype(np.int32), self.coupling.indptr, self.coupling.shape)
        coupling = sparse.csr_matrix((self.coupling.data[order], columns, self.coupling.indptr), shape=self.coupling.shape)
        class_counts, class_of, class_sizes = np.unique(self.counts, return_inverse=True, return_counts=True)
        nodes, weights = interpolation(class_counts)
        parts = [pattern.gram(coupling, np.flatnonzero(share), share) for share in weights[:, class_of]]
        indptr = np.concatenate([[0], np.cumsum([len(where) for where, _ in parts])])
        where, values = (np.concatenate(each) for each in zip(*parts, strict=True))
        pair_sums = sparse.csc_matrix((values, where, indptr), shape=(pattern.flat, len(nodes)))
        classes, empty = (class_of, class_counts, class_sizes), np.zeros(0)
        effect = EliminatedEffect(
            response, self.block.sd, coupling, self.counts, *classes, nodes, weights, self.rows, pair_sums, empty, empty, empty
        )
        effect.refresh()
        return effect


def without(matrix: sparse.csr_matrix, where: slice) -> sparse.csr_matrix:
    """A matrix less some columns that stand together."""
    behind = matrix.indices >= where.stop
    kept = behind | (matrix.indices < where.start)
    indices = matrix.indices - np.where(behind, matrix.indices.dtype.type(where.stop - where.start), 0)
    indptr = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr].astype(matrix.indptr.dtype)
    shape = matrix.shape[0], matrix.shape[1] - (where.stop - where.start)
    return sparse.csr_matrix((matrix.data[kept], indices[kept], indptr), shape=shape)


def interpolation(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes, and weights of shape (nodes, classes), that give 1 / (w g + q) at sorted positive counts g to rounding, for any w and q.

    Examples
    --------
    >>> counts = np.arange(900.0, 1100.0)
    >>> nodes, weights = interpolation(counts)
    >>> len(nodes), bool(np.allclose(1 / (3 * nodes + 5) @ weights, 1 / (3 * counts + 5), rtol=1e-13, atol=0))
    (14, True)
    """
    nodes, blocks, start = [], [], 0
    while start < len(counts):
        stop = int(np.searchsorted(counts, _RATIO * counts[start], side="right"))
        own = counts[start:stop]
        middle, half = 0.5 * (own[-1] + own[0]), 0.5 * (own[-1] - own[0])
        pole = middle / half if half > 0 else np.inf
        most = int(np.ceil(-np.log(_ROUNDING) / np.arccosh(pole))) + 1 if half > 0 else 1
        if most < len(own):
            x = np.cos(np.pi * (np.arange(most) + 0.5) / most)
            nodes.append(middle + half * x)
            degrees = np.polynomial.chebyshev.chebvander((own - middle) / half, most - 1)
            blocks.append(np.linalg.solve(np.polynomial.chebyshev.chebvander(x, most - 1).T, degrees.T))
        else:
            nodes.append(own)
            blocks.append(np.eye(len(own)))
        start = stop
    return np.concatenate(nodes), sparse.block_diag([sparse.coo_array(block) for block in blocks]).toarray()
