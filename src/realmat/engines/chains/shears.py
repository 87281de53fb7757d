"""What hyperparameters add to rows through one coefficient is taken up by others of the same rows, so that what rows tell stays.

A row that reads ``s(psi) x_i + e_i``, a state that was not measured and the rest of its specimen, tells the sum and little of the two: with
x_i and e_i as coordinates s can hardly move. With e_i + k_i (s x_i - s_0 x_i0) instead, x_i0 being x_i at a reference psi and k_i the
share of what the rows of a group leave that its effect explains, s and the scale of x move and the sum stays (`Shear`). Likewise an
intercept takes up the common part of the biases beside it as their scale moves (`Balance`). It is what integrating e_i and the
intercept out would do, to leading order (compare centring on data: Papaspiliopoulos, Roberts & Skoeld, Statistical Science 22, 59, 2007).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from realmat.algebra import System
from realmat.algebra.batching import Batch
from realmat.engines.chains.derived import Derived
from realmat.engines.chains.rows import RowsTarget

FEW = 40  # effects up to which it matters what they have in common
_FIXED = 32  # coefficients beside effects that are looked at


@dataclass
class Shear:
    """One scaled piece of rows and the effect that takes it up; places in elimination order.

    Attributes
    ----------
    block : str
        The effect.
    where, columns : int arrays
        Places of the effect, and of the coefficients that are scaled.
    group : csr, shape (groups, rows)
        Which rows read each effect.
    matrix : csr, shape (rows, columns)
    shift : array of shape (columns, 1)
        Where the coefficients are measured from.
    share, returned : csr, shapes (groups, columns) and (columns, groups), optional
        What moves the effects as a unit of what is scaled moves, and its transpose.
    """

    rows: RowsTarget
    scale: Derived
    block: str
    where: np.ndarray
    columns: np.ndarray
    group: sparse.csr_matrix
    matrix: sparse.csr_matrix
    shift: np.ndarray
    there: np.ndarray = field(default_factory=lambda: np.zeros((1, 1)))
    share: sparse.csr_matrix | None = None
    returned: sparse.csr_matrix | None = None

    def shares(self, values: Batch, b: np.ndarray, sd: np.ndarray) -> sparse.csr_matrix:
        """What moves the effects as a unit of what is scaled moves, shape (groups, columns), at one (psi, b); `sd` is the effects' own."""
        weight = self.rows.weights(values, b)
        gain = 1 / (self.group @ weight + 1 / np.square(np.broadcast_to(sd.ravel(), (self.group.shape[0],))))
        return (sparse.diags(gain) @ self.group @ sparse.diags(weight) @ self.matrix).tocsr()

    def refer(self, values: Batch, share: sparse.csr_matrix | None) -> None:
        """Take psi at `values` as the reference; there is no shear where `share` is None."""
        self.there, self.share = self.scale.at(values, 1)[0], share
        self.returned = None if share is None else share.T.tocsr()

    def move(self, values: Batch, b: np.ndarray, beta: np.ndarray, sign: float) -> None:
        """Take what the effects take up out of `b` in place, or (`sign` 1) back into it."""
        if self.share is not None:
            scale = self.scale.at(values, b.shape[1])[0]
            away = scale * (b[self.columns] + self.shift) - self.there * (beta[self.columns] + self.shift)
            b[self.where] += sign * (self.share @ away)

    def pull(self, values: Batch, b: np.ndarray, down: np.ndarray, direct: np.ndarray, into: dict[str, np.ndarray]) -> None:
        """Add what the gradient `down` in the effects means for the others, in place, for their coordinates (`direct`), and for psi."""
        if self.returned is None:
            return
        scale, slopes = self.scale.at(values, b.shape[1])
        own = self.returned @ down[self.where]
        down[self.columns] -= scale * own
        direct[self.columns] += self.there * own
        self.scale.pull(slopes, -np.sum(own * (b[self.columns] + self.shift), axis=0, keepdims=True), into)

    def whole(self, share: sparse.csr_matrix, size: int) -> sparse.csr_matrix:
        """What the effects take up of deviations of all coefficients, at the reference: to be added, shape (size, size)."""
        entries = share.tocoo()
        taken = entries.data * float(np.ravel(self.there)[0])
        return sparse.csr_matrix((taken, (self.where[entries.row], self.columns[entries.col])), shape=(size, size))


@dataclass
class Balance:
    """What the stretch of one block of effects adds to the rows is taken up by their fixed coefficients, such as the intercept.

    Rows tell the sum of an intercept and the biases of a few laboratories, and little of their common part, which follows the scale of
    the biases.

    Attributes
    ----------
    block : str
        The effects.
    where, columns : int arrays
        Places of the fixed coefficients, and of the effects.
    fixed : csr, shape (rows, fixed coefficients)
    matrix : csr, shape (rows, effects)
    precision : array of shape (fixed coefficients,)
        Of their priors.
    """

    rows: RowsTarget
    block: str
    where: np.ndarray
    columns: np.ndarray
    fixed: sparse.csr_matrix
    matrix: sparse.csr_matrix
    precision: np.ndarray
    share: np.ndarray | None = None

    def shares(self, values: Batch, b: np.ndarray) -> np.ndarray:
        """How the fixed coefficients follow each effect, shape (fixed coefficients, effects), at one (psi, b)."""
        weighted = self.fixed.T @ sparse.diags(self.rows.weights(values, b))
        return np.linalg.solve((weighted @ self.fixed).toarray() + np.diag(self.precision), (weighted @ self.matrix).toarray())

    def move(self, b: np.ndarray, beta: np.ndarray, sign: float) -> None:
        """Take what the coefficients take up out of `b` in place, or (`sign` 1) back into it."""
        if self.share is not None:
            b[self.where] += sign * (self.share @ (b[self.columns] - beta[self.columns]))

    def pull(self, down: np.ndarray, direct: np.ndarray) -> None:
        """Add what the gradient `down` in the coefficients means for the effects, in place, and for their coordinates."""
        if self.share is not None:
            own = self.share.T @ down[self.where]
            down[self.columns] -= own
            direct[self.columns] += own


def balances(system: System, rows: list[RowsTarget], hierarchical: Collection[str]) -> list[Balance]:
    """For every block of few effects the coefficients of fixed width beside which rows read it as it stands: many have little in common."""
    parents = {part.coefficients for block in system.problem.coefficients for part in block.mean_parts}
    precision = np.zeros(system.size)  # of coefficients of fixed width
    for c in system.problem.coefficients:
        if not callable(c.sd) and not callable(c.mean) and c.name not in parents:
            precision[system.place[system.columns[c.name]]] = 1 / np.square(c.sd)
    out = []
    for one in rows:
        matrix = next((piece.matrix for piece in one.pieces if piece.scale is None), None)
        if matrix is None:
            continue
        own = np.flatnonzero((np.diff(matrix.tocsc().indptr) > 0) & (precision > 0))
        if not 0 < len(own) <= _FIXED:
            continue
        for name in hierarchical:
            columns = system.place[system.columns[name]]
            if len(columns) <= FEW and matrix[:, columns].nnz and not precision[columns].any():
                out.append(Balance(one, name, own, columns, matrix[:, own].tocsr(), matrix[:, columns].tocsr(), precision[own]))
    return out


def find(system: System, rows: list[RowsTarget], hierarchical: Collection[str]) -> list[Shear]:
    """For every scaled piece the largest effect that each of its rows reads once, as it stands."""
    parents = {part.coefficients for block in system.problem.coefficients for part in block.mean_parts}
    blocks = [c for c in system.plain if c.name in hierarchical and not callable(c.mean) and c.name not in parents]
    out = []
    for one in rows:
        plain = next((piece.matrix for piece in one.pieces if piece.scale is None), None)
        scaled = [(piece.scale, piece.matrix) for piece in one.pieces if piece.scale is not None]
        if plain is None or not scaled:
            continue
        found = [(c, _group(plain, system.place[system.columns[c.name]])) for c in sorted(blocks, key=lambda c: -c.size)]
        best = next(((c, group) for c, group in found if group is not None), None)
        if best is None:
            continue
        block, group = best
        where = system.place[system.columns[block.name]]
        for scale, matrix in scaled:
            columns = np.unique(matrix.indices)
            if not np.isin(columns, where).any():
                out.append(Shear(one, scale, block.name, where, columns, group, matrix[:, columns].tocsr(), system.shift[columns][:, None]))
    return out


def _group(plain: sparse.csr_matrix, where: np.ndarray) -> sparse.csr_matrix | None:
    """The part of a matrix that reads an effect, transposed; None where a row reads it several times or otherwise than as it stands."""
    own = plain[:, where].tocsr()
    simple = own.nnz and np.diff(own.indptr).max() <= 1 and np.all(own.data == 1)
    return own.T.tocsr() if simple else None
