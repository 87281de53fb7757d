"""What a scaled piece adds is taken up by the effect of the same group.

A row that reads ``s(psi) x_i + e_i``, a state that was not measured and the rest of its specimen, tells the sum and little of the two: with
x_i and e_i as coordinates s can hardly move. With b_i = e_i + k_i (s - s_0) x_i instead, k_i being the share of what the rows of a
group leave that its effect explains, s moves and the sum stays. It is what integrating e_i out would do, to leading order (compare centring
on data: Papaspiliopoulos, Roberts & Skoeld, Statistical Science 22, 59, 2007).
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from realmat.algebra import System
from realmat.algebra.batching import Batch
from realmat.engines.chains.derived import Derived
from realmat.engines.chains.rows import RowsTarget


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

    def shares(self, values: Batch, b: np.ndarray, sd: np.ndarray) -> sparse.csr_matrix:
        """What moves the effects as the scale moves, shape (groups, columns), at one (psi, b); `sd` is the effects' own."""
        weight = self.rows.weights(values, b)
        gain = 1 / (self.group @ weight + 1 / np.square(np.broadcast_to(sd.ravel(), (self.group.shape[0],))))
        return (sparse.diags(gain) @ self.group @ sparse.diags(weight) @ self.matrix).tocsr()

    def refer(self, values: Batch, share: sparse.csr_matrix | None) -> None:
        """Take psi at `values` as the reference; there is no shear where `share` is None."""
        self.there, self.share = self.scale.at(values, 1)[0], share

    def move(self, values: Batch, b: np.ndarray, sign: float) -> None:
        """Take what the effects take up out of `b` in place, or (`sign` 1) back into it."""
        if self.share is not None:
            b[self.where] += sign * (self.scale.at(values, b.shape[1])[0] - self.there) * self._taken(b)

    def pull(self, values: Batch, b: np.ndarray, down: np.ndarray, into: dict[str, np.ndarray]) -> None:
        """Add what the gradient `down` in the effects means for the others, in place, and for psi."""
        if self.share is None:
            return
        scale, slopes = self.scale.at(values, b.shape[1])
        own = down[self.where]
        down[self.columns] -= (scale - self.there) * (self.share.T @ own)
        self.scale.pull(slopes, -np.sum(own * self._taken(b), axis=0, keepdims=True), into)

    def _taken(self, b: np.ndarray) -> np.ndarray:
        """What the effects take up of a unit of the scale, shape (groups, n)."""
        return np.asarray(self.share @ (b[self.columns] + self.shift))


def find(system: System, rows: list[RowsTarget], hierarchical: Container[str]) -> list[Shear]:
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
