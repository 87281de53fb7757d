"""A dense block of coefficients that share one scale, turned so that each measured row has one of them.

Pooled columns, b ~ N(0, s(psi)^2 I), keep their prior when they are turned, b = V b~. With everything else that the rows have, c, the
rows' counts W, and the triangular factor of both and of y, W^1/2 [X, Z, y] = Q [R, T, r], the singular value decomposition R = U S V'
turns the rows into

    U' r = S b~ + U' T c + noise,

of one variance as before. P is then diagonal in the block: its k^3 multiply-adds are done once, and not at every psi (ridge regression in
canonical form: Hoerl & Kennard, Technometrics 12, 55, 1970; for variance components: Lippert et al., Nat. Methods 8, 833, 2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg, sparse

from realmat.algebra.batching import slices
from realmat.algebra.ordering import Pattern
from realmat.algebra.row_block import RowBlock
from realmat.algebra.schur import one_scale
from realmat.support.threads import one_blas_thread
from realmat.terms.term import Coefficients, Values

_FEWEST, _MOST = 64, 6000  # coefficients; beyond, chains take less time than the decomposition
_TRIANGLE, _DECOMPOSITION = 0.1, 1.0  # nanoseconds for a multiply-add of the triangular factor, and for each of k^3
_EVALUATIONS = 2000  # of psi, at least, that share its cost
_TOGETHER = 4  # rows, in widths of the triangle, that it takes up at once
_DENSE = 0.1  # share of entries from which a sparse matrix is multiplied as a dense one


@dataclass(frozen=True)
class Rotation:
    """``b = V b~`` in one block.

    Attributes
    ----------
    where : slice
        Its coefficients, natural order.
    vectors : array of shape (k, k)
        V.
    """

    where: slice
    vectors: np.ndarray

    def moved(self, matrix: sparse.csr_matrix, scale_of: np.ndarray) -> tuple[sparse.csr_matrix, np.ndarray]:
        """``X V`` and the scale of each stored entry, for X with columns in natural order: a row that touches the block has all of it."""
        inside = (matrix.indices >= self.where.start) & (matrix.indices < self.where.stop)
        if not inside.any():
            return matrix, scale_of
        k, outside = len(self.vectors), ~inside
        row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        parts = [(row[outside], matrix.indices[outside], matrix.data[outside], scale_of[outside])]
        for scale in np.unique(scale_of[inside]):
            mine = inside & (scale_of == scale)
            touched, at = np.unique(row[mine], return_inverse=True)
            own = sparse.csr_matrix((matrix.data[mine], (at, matrix.indices[mine] - self.where.start)), shape=(len(touched), k))
            turned = self._times(own)
            columns = np.tile(np.arange(self.where.start, self.where.stop), len(touched))
            parts.append((np.repeat(touched, k), columns, turned.ravel(), np.full(turned.size, scale)))
        rows, columns, data, scales = (np.concatenate(each) for each in zip(*parts, strict=True))
        order = np.argsort(rows * matrix.shape[1] + columns, kind="stable")
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=matrix.shape[0]))]).astype(np.int32)
        return sparse.csr_matrix((data[order], columns[order].astype(np.int32), indptr), shape=matrix.shape), scales[order]

    def dense(self, matrix: sparse.csr_matrix) -> np.ndarray:
        """``X V`` of a matrix without scales, as a dense one."""
        out = matrix.toarray()
        out[:, self.where] = self._times(matrix[:, self.where])
        return out

    def _times(self, own: sparse.csr_matrix) -> np.ndarray:
        """Columns of the block, turned."""
        return np.asarray((own.toarray() if own.nnz > _DENSE * np.prod(own.shape) else own) @ self.vectors)

    def back(self, b: np.ndarray) -> None:
        """Coefficients of shape (..., coefficients), natural order, from those inside, in place."""
        b[..., self.where] = b[..., self.where] @ self.vectors.T

    def inside(self, b: np.ndarray) -> None:
        """Inverse of `back`, in place."""
        b[..., self.where] = b[..., self.where] @ self.vectors


def find(
    row_blocks: Sequence[RowBlock], blocks: Sequence[Coefficients], columns: dict[str, slice], example: Values, pattern: Pattern
) -> tuple[Rotation, list[RowBlock]] | None:
    """The largest block that can be turned, with the rows once it is; None where there is none, or it would not pay.

    Parameters
    ----------
    row_blocks : sequence of RowBlock
        Columns in natural order.
    pattern : Pattern
        Of the factor as it is without, less an effect that is eliminated in closed form.
    """
    if any(f.augmented for f in row_blocks):
        return None
    for block in sorted(blocks, key=lambda b: -b.size):
        if not _FEWEST <= block.size <= _MOST or not one_scale(block, example):
            continue
        where = columns[block.name]
        touching = [i for i, f in enumerate(row_blocks) if np.any((f.matrix.indices >= where.start) & (f.matrix.indices < where.stop))]
        if len(touching) != 1 or not row_blocks[touching[0]].uniform:
            continue
        rows = row_blocks[touching[0]]
        used = np.flatnonzero(np.bincount(rows.matrix.indices, minlength=rows.matrix.shape[1]))
        others = used[(used < where.start) | (used >= where.stop)]
        if len(others) >= block.size:  # all of them are coupled once it is turned
            continue
        cost = _TRIANGLE * len(rows.y) * (block.size + len(others)) ** 2 + _DECOMPOSITION * float(block.size) ** 3
        if _EVALUATIONS * pattern.time < cost:  # it would not pay if turned rows took no time
            continue
        beside, size = [f.matrix for f in row_blocks if f is not rows], rows.matrix.shape[1]
        turned = Pattern.of([_structure(where, others, size), *beside], size)
        if _EVALUATIONS * (pattern.time - turned.time) > cost:
            rotation, made = _turned(rows, where, others)
            return rotation, [made if f is rows else f for f in row_blocks]
    return None


def _structure(where: slice, others: np.ndarray, size: int) -> sparse.csr_matrix:
    """Where the numbers of turned rows stand: each has one coefficient of the block, and all others."""
    k = where.stop - where.start
    columns = np.column_stack([np.arange(where.start, where.stop), np.tile(others, (k, 1))])
    return sparse.csr_matrix((np.ones(columns.size), columns.ravel(), np.arange(k + 1) * columns.shape[1]), shape=(k, size))


def _turned(rows: RowBlock, where: slice, others: np.ndarray) -> tuple[Rotation, RowBlock]:
    """The rotation of a block, and its rows; a last row has no coefficients, and all measurements that the others do not stand for."""
    k = where.stop - where.start
    with one_blas_thread():  # numbers do not depend on how many threads there are
        triangle = _triangle(rows, np.r_[np.arange(where.start, where.stop), others])
        m = min(k, len(triangle))
        left, values, right = linalg.svd(triangle[:m, :k], check_finite=False)
        triangle[:m] = left.T @ triangle[:m]
    values[values <= np.finfo(float).eps * max(triangle.shape) * values[0]] = 0.0
    triangle[:, :k] = 0.0
    triangle[np.arange(m), np.arange(m)] = values
    at, column = np.nonzero(triangle[:, :-1])
    n = len(triangle) + 1
    single = (triangle[at, column], (at, np.r_[np.arange(where.start, where.stop), others][column]))
    matrix = sparse.csr_matrix(single, shape=(n, rows.matrix.shape[1]))
    first = np.zeros(n, dtype=int)
    made = replace(
        rows,
        y=np.append(triangle[:, -1], 0.0),
        count=np.append(np.ones(n - 1), rows.count.sum() - (n - 1)),
        within=np.append(np.zeros(n - 1), rows.within.sum()),
        matrix=matrix,
        scale_of=np.zeros(len(matrix.data), dtype=np.int64),
        known=0.0,
        noise=rows.noise.take(first),
        key=first,
        declared=rows.declared.take(first),
    )
    return Rotation(where, np.ascontiguousarray(right.T)), made


def _triangle(rows: RowBlock, columns: np.ndarray) -> np.ndarray:
    """The triangular factor of some columns and of y, rows counted, some rows after the other: shape (rows or columns + 1, columns + 1)."""
    root, width = np.sqrt(rows.count)[:, None], len(columns) + 1
    out = np.zeros((0, width))
    for some in slices(len(rows.y), _TOGETHER * width):
        fresh = np.column_stack([rows.matrix[some][:, columns].toarray(), rows.y[some]]) * root[some]
        out = np.linalg.qr(np.concatenate([out, fresh]), mode="r")
    return out
