"""An exact change of coefficients that takes the centre out of columns: an offset of the response or of a theory then costs no digits.

With a column of ones for b_0 (an intercept) and a column x_j of known numbers far from zero, both are nearly the same direction, and a
precision matrix of doubles cannot tell them apart. With

    b_0 = b~_0 - sum_j c_j b~_j,    b_j = b~_j,

the column of b~_j is x_j - c_j, which doubles subtract exactly where it matters. The change is unit triangular: densities stay as they
are, and only coefficients are mapped back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from realmat.terms.term import Coefficients, Rows

_FAR = 1.0  # from zero, in standard deviations of a column: below, nothing is to be gained


@dataclass(frozen=True)
class Frame:
    """``b = T b~``; places in natural order, one for each column that is centred.

    Attributes
    ----------
    intercepts : int array
        The coefficient of ones that the centre goes to.
    columns : int array
        The coefficient whose column is centred.
    centres : array
    """

    intercepts: np.ndarray
    columns: np.ndarray
    centres: np.ndarray

    @classmethod
    def of(cls, responses: Sequence[Rows], blocks: Sequence[Coefficients], where: Mapping[str, slice]) -> Frame:
        """Centre the columns of single coefficients that every row of a response has, if one of them is an intercept."""
        single = {c.name for c in blocks if c.size == 1 and c.nu is None}
        found = [one for rows in responses for one in _far(rows, single)]
        taken = {intercept for intercept, _, _ in found}
        found = [one for one in found if one[1] not in taken]
        places = [(where[intercept].start, where[column].start, centre) for intercept, column, centre in found]
        intercepts, columns, centres = zip(*places, strict=True) if places else ((), (), ())
        return cls(np.array(intercepts, dtype=int), np.array(columns, dtype=int), np.array(centres, dtype=float))

    @property
    def plain(self) -> bool:
        """Whether b~ is b."""
        return not len(self.columns)

    def moved(self, matrix: sparse.csr_matrix, scale_of: np.ndarray | None = None) -> tuple[sparse.csr_matrix, np.ndarray]:
        """``X T`` and the scale of each stored entry, for X with columns in natural order."""
        scale_of = np.zeros(len(matrix.data), dtype=np.int64) if scale_of is None else scale_of
        if self.plain or not np.isin(matrix.indices, self.intercepts).any():
            return matrix, scale_of
        row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        rows, columns, data, scales = [row], [np.asarray(matrix.indices)], [np.asarray(matrix.data)], [scale_of]
        for intercept, column, centre in zip(self.intercepts, self.columns, self.centres, strict=True):
            at = np.flatnonzero(matrix.indices == intercept)
            rows.append(row[at])
            columns.append(np.full(len(at), column))
            data.append(-centre * matrix.data[at])
            scales.append(scale_of[at])
        return _summed(np.concatenate(rows), np.concatenate(columns), np.concatenate(data), np.concatenate(scales), matrix.shape)

    def back(self, b: np.ndarray) -> np.ndarray:
        """Coefficients of shape (..., coefficients), natural order, from those inside; in place."""
        for intercept, column, centre in zip(self.intercepts, self.columns, self.centres, strict=True):
            b[..., intercept] -= centre * b[..., column]
        return b

    def inside(self, b: np.ndarray) -> np.ndarray:
        """Inverse of `back`, of a copy."""
        out = np.array(b, dtype=float)
        for intercept, column, centre in zip(self.intercepts, self.columns, self.centres, strict=True):
            out[..., intercept] += centre * out[..., column]
        return out


def _far(response: Rows, single: set[str]) -> list[tuple[str, str, float]]:
    """Intercept, coefficient and centre of each column of a response that is far from zero."""
    scaled = {piece.coefficients for _, piece in response.pieces if piece.scale is not None}
    own: dict[str, np.ndarray] = {}
    for _, piece in response.pieces:
        if piece.coefficients in single - scaled and len(response.y):
            own[piece.coefficients] = own.get(piece.coefficients, np.zeros(1)) + piece.matrix.toarray()[:, 0]
    intercept = next((name for name, x in own.items() if np.all(x == 1)), None)
    out = []
    for name, x in own.items():
        centre = float(np.average(x, weights=response.count))
        away = float(np.sqrt(np.average((x - centre) ** 2, weights=response.count)))
        if intercept is not None and name != intercept and abs(centre) > _FAR * away:
            out.append((intercept, name, centre))
    return out


def _summed(
    rows: np.ndarray, columns: np.ndarray, data: np.ndarray, scales: np.ndarray, shape: tuple[int, int]
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """A csr matrix with one entry for each row, column and scale, and the scale of each entry."""
    alike = int(scales.max(initial=0)) + 1
    order = np.argsort((rows.astype(np.int64) * shape[1] + columns) * alike + scales, kind="stable")  # nearly in order: runs are merged
    rows, columns, data, scales = rows[order], columns[order], data[order], scales[order]
    first = np.ones(len(rows), dtype=bool)
    first[1:] = (np.diff(rows) != 0) | (np.diff(columns) != 0) | (np.diff(scales) != 0)
    data = np.add.reduceat(data, np.flatnonzero(first))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[first], minlength=shape[0]))]).astype(np.int32)
    return sparse.csr_matrix((data, columns[first].astype(np.int32), indptr), shape=shape), scales[first]
