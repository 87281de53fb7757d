"""Covariances within groups of rows that have all of a turned block, by matrix products.

With D the pivots of the block and C its coupling to the other coefficients, whose Schur complement is L L', a row (t, x) of both has

    Cov = t D^-1 t' + z z',    z = L^-1 (x - C' D^-1 t).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from realmat.algebra.batching import slices
from realmat.algebra.simd import unpack

if TYPE_CHECKING:
    from realmat.algebra.batch import BatchConditional
    from realmat.algebra.ordering import Pattern
    from realmat.algebra.system import System

_NUMBERS = 4_000_000  # held at once
_FEW = 32  # rows of a group, up to which products pair by pair take less time


class TurnedCovariances:
    """For a system whose turned block is eliminated first.

    Parameters
    ----------
    system : System
    matrix : csr, shape (rows, coefficients)
        Of the coefficients inside, natural order.
    members : int array of shape (groups, size)
    """

    def __init__(self, system: System, matrix: sparse.csr_matrix, members: np.ndarray) -> None:
        assert system.rotation is not None
        where = system.rotation.where
        self._members, pattern = members, system.pattern
        mine = np.zeros(system.size, dtype=bool)
        mine[where] = True
        others = np.flatnonzero(~mine)
        others = others[np.argsort(system.place[others])]
        self._block, self._rest = matrix[:, where].toarray(), matrix[:, others].toarray()
        number = np.empty(system.size, dtype=np.int64)  # of each column of the pattern, in its own kind
        number[system.place[where]], number[system.place[others]] = np.arange(where.stop - where.start), np.arange(len(others))
        first = np.zeros(system.size, dtype=bool)
        first[system.place[where]] = True
        place, column, row = _below(pattern)
        own = first[column]
        self._coupling = place[own], number[column[own]], number[row[own]]
        self._lower = place[~own], number[column[~own]], number[row[~own]]
        self._pivots, self._other_pivots = pattern.diagonal[system.place[where]], pattern.diagonal[system.place[others]]

    @staticmethod
    def applies(system: System) -> bool:
        """Whether the block stands before all that LAPACK gets."""
        return system.rotation is not None and bool(np.all(system.place[system.rotation.where] < system.pattern.lead))

    def at(self, solved: BatchConditional) -> np.ndarray:
        """Covariances within each group, shape (n, groups, size, size)."""
        n, (groups, size) = len(solved.log_marginal), self._members.shape
        x, (rows, m), k = unpack(solved.xs, n), self._rest.shape, self._block.shape[1]
        out = np.empty((n, groups, size, size))
        for some in slices(n, max(_NUMBERS // ((rows + k + m) * max(m, 1)), 1)):
            pivots, z = x[some][:, self._pivots], self._left(x[some])
            if size <= _FEW:
                self._pair_by_pair(pivots, z, out[some])
                continue
            for i, (own, root) in enumerate(zip(z, np.sqrt(pivots), strict=True), some.start):
                half = np.concatenate([self._block / root, own], axis=1)[self._members]
                out[i] = half @ half.swapaxes(1, 2)
        return out

    def _left(self, x: np.ndarray) -> np.ndarray:
        """z of each row, shape (n, rows, others)."""
        k, m = self._block.shape[1], len(self._other_pivots)
        place, column, row = self._coupling
        gain = np.zeros((k, len(x), m))
        gain[column, :, row] = (x[:, place] / x[:, self._pivots][:, column]).T
        left = self._rest - (self._block @ gain.reshape(k, len(x) * m)).reshape(len(self._block), len(x), m).swapaxes(0, 1)
        return np.linalg.solve(self._factor(x), left.swapaxes(1, 2)).swapaxes(1, 2)

    def _pair_by_pair(self, pivots: np.ndarray, z: np.ndarray, out: np.ndarray) -> None:
        """Small groups, all psi in one product."""
        inverse = (1 / pivots).T
        for a, one in enumerate(self._members.T):
            for b, other in enumerate(self._members.T[: a + 1]):
                own = (self._block[one] * self._block[other]) @ inverse
                out[:, :, a, b] = out[:, :, b, a] = own.T + np.einsum("ngm,ngm->ng", z[:, one], z[:, other])

    def _factor(self, x: np.ndarray) -> np.ndarray:
        """L of the other coefficients, from columns of L D."""
        m = len(self._other_pivots)
        root = np.sqrt(x[:, self._other_pivots])
        lower = np.zeros((len(x), m, m))
        lower[:, np.arange(m), np.arange(m)] = root
        place, column, row = self._lower
        lower[:, row, column] = x[:, place] / root[:, column]
        return lower


def _below(pattern: Pattern) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat place, column and row of each number of a factor below its diagonal."""
    lead, d = pattern.lead, pattern.dense
    column = np.repeat(np.arange(lead), np.diff(pattern.ptr[: lead + 1]))
    place = np.arange(len(column)) + column + 1
    across, down = np.triu_indices(d, 1)
    return (
        np.concatenate([place, pattern.base + across * d + down]),
        np.concatenate([column, lead + across]),
        np.concatenate([pattern.rows[: len(column)], lead + down]),
    )
