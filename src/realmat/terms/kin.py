"""New pieces whose states depend on each other: what each of their readings tells of all of them.

Given psi and the populations' means the states x of a piece are Gaussian, ``x = alpha + beta x + tau eps`` with beta strictly lower
triangular, and readings of some of them condition on: one rank-one step for each state (Kalman's update), exact readings included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from realmat.table.table import Table
from realmat.terms.term import Contribution, Fresh, Function, Piece, Values

if TYPE_CHECKING:
    from realmat.terms.state import State

_KEPT = 2_000_000  # numbers that are kept for psi that come again, as every piece of a contribution asks for them


class Kin:
    """States of new pieces.

    Parameters
    ----------
    states : sequence of State
        Those that depend on each other, each after those on which it depends.
    table : Table
    new : bool array of shape (rows,)
        Rows of new pieces.
    """

    def __init__(self, states: Sequence[State], table: Table, new: np.ndarray) -> None:
        self.states, self.rows = states, len(table)
        self.names = [state.spec.name for state in states]
        self.news = [state.newcomers(table, new) for state in states]
        self.read = [bool(one.present.any()) for one in self.news]
        self._known: dict[tuple[float, ...], tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def _numbers(self, p: Values) -> tuple[float, ...]:
        """What of psi matters here: slopes between states, spreads of populations and between groups, and u that readings do not state."""
        out: list[float] = []
        for state, one in zip(self.states, self.news, strict=True):
            population = state.population
            out += [float(up.slope(p, np)) for up in population.given.states]
            out += [float(population.sd(p, np)), float(population.between(p, np)), float(one.unstated(p, np))]
        return tuple(out)

    def _links(self, p: Values) -> tuple[np.ndarray, np.ndarray]:
        """beta, shape (k, k), and what the middles take from each mean, shape (k,)."""
        size = len(self.states)
        beta, shift = np.zeros((size, size)), np.zeros(size)
        for i, state in enumerate(self.states):
            for up in state.population.given.states:
                beta[i, self.names.index(up.name)] = slope = float(up.slope(p, np))
                shift[i] -= slope * up.middle
        return beta, shift

    def at(self, p: Values) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The states given their readings, at psi: ``x = M alpha + c + L eps``.

        Returns
        -------
        m, c, factor : arrays of shape (rows, k, k), (rows, k), (rows, k, k)
            alpha are the populations' own means, eps independent standard normals; the factor is lower triangular.
        """
        key = self._numbers(p)
        if key not in self._known:
            if len(self._known) * self.rows * len(self.states) ** 2 > _KEPT:
                self._known.clear()
            self._known[key] = self._made(p)
        return self._known[key]

    def _made(self, p: Values) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        beta, shift = self._links(p)
        size = len(self.states)
        total = np.linalg.inv(np.eye(size) - beta)
        variance = np.stack([one.population.variance(p, one.groups) + np.zeros(self.rows) for one in self.news], axis=1)
        cov = (total * variance[:, None, :]) @ total.T
        m = np.broadcast_to(total, (self.rows, size, size)).copy()
        c = np.broadcast_to(total @ shift, (self.rows, size)).copy()
        for i, one in enumerate(self.news):
            if not self.read[i]:
                continue
            precision, value = one.combined(p)
            with np.errstate(divide="ignore"):
                gain = cov[:, :, i] / (cov[:, i, i] + 1 / precision)[:, None]  # no reading: no gain
            c += gain * (value - c[:, i])[:, None]
            m -= gain[:, :, None] * m[:, None, i, :]
            cov = cov - gain[:, :, None] * cov[:, None, i, :]
        return m, c, _root(cov)

    def on(self, name: str, slope: Function) -> Contribution:
        """``slope(psi) * state`` on the rows of new pieces, for one of the states."""
        i = self.names.index(name)
        pieces: list[Piece] = []
        for j, one in enumerate(self.news):
            if j > i and not any(self.read[j:]):
                continue  # what depends on a state tells of it where it was read
            pieces += one.population.pieces(one.groups, self._weight(slope, i, j), one.x)
        here = self.news[i].codes >= 0

        def offset(p: Any, xp: Any) -> Any:
            return np.where(here, slope(p, np) * self.at(p)[1][:, i], 0.0)

        fresh = tuple(Fresh(self.news[j].codes, self._sd(slope, i, j), of=self.names[j]) for j in range(i + 1))
        return Contribution(tuple(pieces), offset, fresh)

    def _weight(self, slope: Function, i: int, j: int) -> Function:
        return lambda p, xp: slope(p, np) * self.at(p)[0][:, i, j]

    def _sd(self, slope: Function, i: int, j: int) -> Function:
        return lambda p, xp: slope(p, np) * self.at(p)[2][:, i, j]


def _root(cov: np.ndarray) -> np.ndarray:
    """Lower triangular root of covariance matrices, shape (n, k, k), some of whose variances may be zero."""
    out = np.zeros(cov.shape)
    for j in range(cov.shape[-1]):
        rest = cov[:, j:, j] - (out[:, j:, :j] @ out[:, j, :j, None])[..., 0] if j else cov[:, :, 0]
        pivot = np.sqrt(np.maximum(rest[:, 0], 0.0))
        flat = pivot <= 1e-8 * np.sqrt(np.maximum(cov[:, j, j], 1e-300))
        out[:, j:, j] = np.where(flat[:, None], 0.0, rest / np.where(flat, 1.0, pivot)[:, None])
    return out
