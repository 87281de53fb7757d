"""Measured rows, and priors written as rows, in the form the algebra needs: a sparse matrix under a few scales, and weights by key.

A *key* is a distinct noise variance ``u^2 + scales(psi)[group]^2``: with one unknown common noise a million rows share one key, and
their Gram matrix is computed once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from realmat.algebra.frame import Frame
from realmat.terms.term import Coefficients, Function, Known, Noise, Piece, Rows, Scaled, Values, evaluate


@dataclass
class RowBlock:
    """Rows ``y ~ N(A(psi) b + offset(psi), variance(psi) / count)``, columns in elimination order.

    Attributes
    ----------
    matrix : csr, shape (rows, coefficients)
        Entries without their scales; a column may stand twice in a row under two scales.
    scale_of : int array, one per stored entry
        Which of `scales` multiplies the entry; 0 is the constant 1.
    declared : Noise
        As the component declared it; `noise` is that of the normal rows that stand for it.
    key : int array of shape (rows,)
        Variance key of each row; `key_u2` and `key_group` describe the keys.
    known : array or float
        Offsets that do not depend on psi, already subtracted from `y`.
    local, latent : str
        Names, among the values of psi, of the local variance factors and of the values that stand for the readings, one per row each, of
        rows that are normal only given these.
    centre : array or float
        A b0 of the reference b0, already subtracted from `y`.
    least : array of shape (keys,) or float
        Least variance of rows whose noise is an inferred scale alone.
    """

    name: str
    y: np.ndarray
    count: np.ndarray
    within: np.ndarray
    matrix: sparse.csr_matrix
    scale_of: np.ndarray
    scales: Sequence[Function | None]
    offsets: Sequence[Function]
    known: np.ndarray | float
    noise: Noise
    key: np.ndarray
    key_u2: np.ndarray
    key_group: np.ndarray
    declared: Noise
    local: str = ""
    latent: str = ""
    centre: np.ndarray | float = 0.0
    least: np.ndarray | float = 0.0

    def framed(self, frame: Frame) -> RowBlock:
        """The same rows with centred columns."""
        matrix, scale_of = frame.moved(self.matrix, self.scale_of)
        return replace(self, matrix=matrix, scale_of=scale_of)

    def placed(self, place: np.ndarray) -> RowBlock:
        """The same rows with their columns in another order: `place` says where each column goes."""
        columns, order = by_column(place[self.matrix.indices].astype(np.int32), self.matrix.indptr, self.matrix.shape)
        matrix = sparse.csr_matrix((self.matrix.data[order], columns, self.matrix.indptr), shape=self.matrix.shape)
        return replace(self, matrix=matrix, scale_of=self.scale_of[order])

    @property
    def augmented(self) -> bool:
        """Whether rows are normal only given local factors and latent values, so that each has its own weight and value."""
        return bool(self.local)

    @property
    def uniform(self) -> bool:
        """Whether all rows have one variance, and neither the matrix nor offsets depend on psi."""
        return len(self.key_u2) == 1 and not self.augmented and len(self.scales) == 1 and not self.offsets

    @property
    def censored(self) -> bool:
        """Whether some rows are known only to lie beyond a limit."""
        return self.noise.censored is not None and bool(np.any(self.noise.censored != 0))

    def entries(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places in the matrix's data that belong to chosen columns (bool by column), and their rows."""
        inside = np.flatnonzero(chosen[self.matrix.indices])
        return inside, np.repeat(np.arange(len(self.y)), np.diff(self.matrix.indptr))[inside]

    def recentre(self, shift: np.ndarray) -> None:
        """Measure from A(psi) b0 of a reference `shift` b0: what no scale multiplies moves the values, the rest becomes an offset."""
        m = self.matrix
        for k, scale in enumerate(self.scales):
            own = sparse.csr_matrix((np.where(self.scale_of == k, m.data, 0.0), m.indices, m.indptr), shape=m.shape)
            moved = own @ shift
            if scale is None:
                self.centre = moved
                self.y = self.y - moved
            elif moved.any():
                self.offsets = [*self.offsets, Scaled(scale, moved)]

    @cached_property
    def _alike(self) -> bool:
        """Whether all rows have the first inferred scale."""
        return not np.any(self.key_group)

    def variance(self, p: Values) -> np.ndarray:
        """Variance of a single measurement by key, shape (keys,)."""
        if self.noise.scales is None:
            return self.key_u2
        return self.of_scales(np.asarray(self.noise.scales(p, np), dtype=float))

    def of_scales(self, scales: np.ndarray) -> np.ndarray:
        """The same from the inferred scales, shape (groups,), or (groups, n) at n psi, which gives (keys, n)."""
        u2, least = (x if scales.ndim == 1 else np.reshape(x, (-1, 1)) for x in (self.key_u2, self.least))
        if self._alike:
            return np.maximum(u2 + scales[0] ** 2, least)
        scales = np.concatenate([scales, np.zeros((1, *scales.shape[1:]))])  # group -1 reads the zero
        return np.maximum(u2 + scales[self.key_group] ** 2, least)

    def row_variance(self, p: Values) -> np.ndarray:
        """Variance of a single measurement by row, shape (rows,), local factors included."""
        return self.by_row(self.variance(p), p)

    def by_row(self, variance: np.ndarray, p: Values) -> np.ndarray:
        """The same from the variances by key."""
        own = variance[self.key]
        return own * p[self.local] if self.local in p else own

    def values(self, p: Values) -> np.ndarray:
        """y less its known offset and centre, with censored values replaced by their current latent ones."""
        return p[self.latent] - self.known - self.centre if self.latent in p else self.y

    def scale_values(self, p: Values) -> np.ndarray:
        """Value of each scale at psi, shape (scales,)."""
        return np.array([evaluate(f, p) for f in self.scales], dtype=float)

    def offset(self, p: Values) -> np.ndarray | float:
        """Part of the mean that depends on psi alone."""
        return sum((f(p, np) for f in self.offsets), 0.0)

    def at(self, p: Values) -> sparse.csr_matrix:
        """The matrix A(psi)."""
        if len(self.scales) == 1:
            return self.matrix
        scaled = self.matrix.data * self.scale_values(p)[self.scale_of]
        return sparse.csr_matrix((scaled, self.matrix.indices, self.matrix.indptr), shape=self.matrix.shape)


def by_column(columns: np.ndarray, indptr: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Columns of the entries of a csr matrix, ascending in each row, and where each entry stood; equal ones stay in their order."""
    stood = sparse.csr_matrix((np.arange(len(columns)), columns, indptr), shape=shape)
    sorted_rows = stood.tocsc().tocsr()  # two passes over the entries
    return sorted_rows.indices, sorted_rows.data


def of_rows(rows: Rows, places: Mapping[str, np.ndarray], size: int) -> RowBlock:
    """From declared rows; `places` gives the position of each coefficient of each block."""
    noise = rows.noise
    if noise.density is not None:  # its weights and values stand for it
        noise = Noise(np.ones(len(rows.y)), np.full(len(rows.y), -1))
    row_block = _build(
        rows.name, rows.y, rows.count, rows.within, [piece for _, piece in rows.pieces], [f for _, f in rows.offsets], noise, places, size
    )
    row_block.declared = rows.noise
    if row_block.censored or noise.nu or rows.noise.density is not None:
        row_block.local, row_block.latent = f"{rows.name}_local", f"{rows.name}_latent"
    return row_block


def of_prior(block: Coefficients, places: Mapping[str, np.ndarray], size: int, example: Values) -> RowBlock:
    """The prior of a block as rows ``mean = b - sum M b_parent + sd * normal``.

    For a mean that depends on other coefficients, or a Student t. `example` holds any valid psi, to see whether sd is one number or
    one for each coefficient.
    """
    n = block.size
    sd = block.sd
    by_row = np.ndim(evaluate(sd, example)) == 1
    group = np.arange(n) if by_row else np.zeros(n, dtype=int)
    if callable(sd):
        noise = Noise(np.zeros(n), group, lambda p, xp: evaluate(sd, p) if by_row else np.array([evaluate(sd, p)]), nu=block.nu)
    else:
        noise = Noise(np.zeros(n) + sd, np.full(n, -1), nu=block.nu)
    pieces = [Piece(block.name, sparse.identity(n, format="csr"))]
    pieces += [Piece(part.coefficients, -part.matrix, part.scale) for part in block.mean_parts]
    own = block.mean
    offsets: list[Function] = [lambda p, xp: -own(p, xp)] if callable(own) else []
    mean = np.zeros(n) if callable(own) else np.broadcast_to(np.asarray(own, dtype=float), (n,)).copy()
    row_block = _build(f"{block.name}_prior", mean, np.ones(n), np.zeros(n), pieces, offsets, noise, places, size)
    if block.nu:
        row_block.local, row_block.latent = f"{block.name}_local", f"{block.name}_latent"
    return row_block


def _build(
    name: str,
    y: np.ndarray,
    count: np.ndarray,
    within: np.ndarray,
    pieces: Sequence[Piece],
    offsets: Sequence[Function],
    noise: Noise,
    places: Mapping[str, np.ndarray],
    size: int,
) -> RowBlock:
    matrix, scale_of, scales = _stack(len(y), pieces, places, size)
    key, key_u2, key_group = _keys(noise.u**2, noise.group)
    known = sum((f.values for f in offsets if isinstance(f, Known)), 0.0)
    rest = tuple(f for f in offsets if not isinstance(f, Known))
    values = np.asarray(y, dtype=float) - known
    return RowBlock(name, values, count, within, matrix, scale_of, scales, rest, known, noise, key, key_u2, key_group, noise)


def _keys(u2: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The key of each row, and u^2 and group of each key: distinct pairs, ascending."""
    levels, first = np.unique(u2, return_inverse=True)
    groups, second = np.unique(group, return_inverse=True)
    pairs, key = np.unique(first * len(groups) + second, return_inverse=True)
    of_u2, of_group = np.divmod(pairs, max(len(groups), 1))
    return key, levels[of_u2], groups[of_group].astype(int)


def _stack(
    n: int, pieces: Sequence[Piece], places: Mapping[str, np.ndarray], size: int
) -> tuple[sparse.csr_matrix, np.ndarray, list[Function | None]]:
    """All pieces side by side as one csr matrix in elimination order, each entry knowing its scale."""
    scales: list[Function | None] = [None]
    row_parts, column_parts, data_parts, scale_parts = [], [], [], []
    for piece in pieces:
        coo = piece.matrix.tocoo()
        keep = coo.data != 0
        which = 0
        if piece.scale is not None:
            scales.append(piece.scale)
            which = len(scales) - 1
        row_parts.append(coo.row[keep])
        column_parts.append(places[piece.coefficients][coo.col[keep]])
        data_parts.append(coo.data[keep])
        scale_parts.append(np.full(int(keep.sum()), which))
    if not row_parts:
        return sparse.csr_matrix((n, size)), np.zeros(0, dtype=int), scales
    row, column = np.concatenate(row_parts).astype(np.int64), np.concatenate(column_parts)
    order = np.argsort(row * size + column, kind="stable")  # pieces are in order: they are merged
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n))]).astype(np.int32)
    data = np.concatenate(data_parts)[order].astype(float)
    matrix = sparse.csr_matrix((data, column[order].astype(np.int32), indptr), shape=(n, size))
    return matrix, np.concatenate(scale_parts)[order], scales


def variance_error(name: str) -> str:
    """What to say when a row has no noise at all."""
    return f"rows of {name!r} have zero variance: every measured row needs a stated u or an inferred scale."
