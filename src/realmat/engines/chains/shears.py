"""What a scaled piece adds is taken up by the effect of the same group.

A row that reads ``s(psi) x_i + e_i``, a state that was not measured and the rest of its specimen, tells the sum and little of the two: with
x_i and e_i as coordinates s can hardly move. With b_i = e_i + k_i(psi) (s - s_0) x_i instead, k_i being the share of what the rows of a
group leave that its effect explains, s moves and the sum stays. It is what integrating e_i out would do, to leading order (compare centring
on data: Papaspiliopoulos, Roberts & Skoeld, Statistical Science 22, 59, 2007).
"""

from __future__ import annotations

from collections.abc import Mapping
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
    sd : Derived
        Prior standard deviation of the effect.
    """

    rows: RowsTarget
    scale: Derived
    block: str
    where: np.ndarray
    columns: np.ndarray
    group: sparse.csr_matrix
    matrix: sparse.csr_matrix
    shift: np.ndarray
    sd: Derived
    there: np.ndarray = field(default_factory=lambda: np.zeros((1, 1)))
    weight: np.ndarray | None = None

    def refer(self, values: Batch, weight: np.ndarray | None) -> None:
        """Take psi at `values` as the reference, and rows as informative as `weight` says, shape (rows,); no shear where it is None."""
        self.there, self.weight = self.scale.at(values, 1)[0], weight
        if weight is not None:
            self._told = np.asarray(self.group @ weight)[:, None]
            self._carried = (self.group @ sparse.diags(weight) @ self.matrix).tocsr()

    def move(self, values: Batch, b: np.ndarray, sign: float) -> None:
        """Take what the effects take up out of `b` in place, or (`sign` 1) back into it."""
        if self.weight is not None:
            away = self.scale.at(values, b.shape[1])[0] - self.there
            b[self.where] += sign * away * self._gain(self.sd.at(values, b.shape[1])[0]) * self._carry(b)

    def pull(self, values: Batch, b: np.ndarray, down: np.ndarray, into: dict[str, np.ndarray]) -> None:
        """Add what the gradient `down` in the effects means for the others, in place, and for psi."""
        if self.weight is None:
            return
        (scale, slopes), (sd, sd_slopes) = self.scale.at(values, b.shape[1]), self.sd.at(values, b.shape[1])
        gain, away, carried = self._gain(sd), scale - self.there, self._carry(b)
        own = down[self.where]
        down[self.columns] -= self._carried.T @ (away * gain * own)
        self.scale.pull(slopes, -np.sum(own * gain * carried, axis=0, keepdims=True), into)
        by_sd = -2 * own * away * carried * np.square(gain / sd) / sd
        self.sd.pull(sd_slopes, by_sd.sum(axis=0, keepdims=True) if self.sd.scalar else by_sd, into)

    def _gain(self, sd: np.ndarray) -> np.ndarray:
        """Variance of an effect given its rows, shape (groups, n)."""
        return np.asarray(sd * sd / (1 + self._told * sd * sd))

    def _carry(self, b: np.ndarray) -> np.ndarray:
        """What the rows of each group say of it for a unit of the scale, shape (groups, n)."""
        return np.asarray(self._carried @ (b[self.columns] + self.shift))


def find(system: System, rows: list[RowsTarget], sds: Mapping[str, Derived]) -> list[Shear]:
    """For every scaled piece the largest effect that each of its rows reads once, as it stands."""
    parents = {part.coefficients for block in system.problem.coefficients for part in block.mean_parts}
    blocks = [c for c in system.plain if c.name in sds and not callable(c.mean) and c.name not in parents]
    out = []
    for one in rows:
        plain = next((piece.matrix for piece in one.pieces if piece.scale is None), None)
        scaled = [piece for piece in one.pieces if piece.scale is not None]
        if plain is None or not scaled:
            continue
        found = [(c, _group(plain, system.place[system.columns[c.name]])) for c in sorted(blocks, key=lambda c: -c.size)]
        best = next(((c, group) for c, group in found if group is not None), None)
        for piece in scaled if best else []:
            assert best is not None
            block, group = best
            where, columns = system.place[system.columns[block.name]], np.unique(piece.matrix.indices)
            if not np.isin(columns, where).any():
                matrix = piece.matrix[:, columns].tocsr()
                out.append(Shear(one, piece.scale, block.name, where, columns, group, matrix, system.shift[columns][:, None], sds[block.name]))
    return out


def _group(plain: sparse.csr_matrix, where: np.ndarray) -> sparse.csr_matrix | None:
    """The part of a matrix that reads an effect, transposed; None where a row reads it several times or otherwise than as it stands."""
    own = plain[:, where].tocsr()
    simple = own.nnz and np.diff(own.indptr).max() <= 1 and np.all(own.data == 1)
    return own.T.tocsr() if simple else None
