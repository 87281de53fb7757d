"""States that were not measured, beside the rest of the same pieces: integrated out, drawn back afterwards.

Of a solvent whose polarity nobody knows, rows tell ``w_j = s(psi) (x_j - mean_j) + v_j`` and no more of polarity and rest. Their ratio
bends with every scale, so that no step suits all of it. The sum is one normal effect, of variance ``sd_v^2 + s^2 sd_x^2``, and given it the
state is normal again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from realmat.algebra import System
from realmat.algebra.batching import Batched
from realmat.algebra.space import Space
from realmat.terms.problem import Problem
from realmat.terms.term import Coefficients, Function, Piece, Values, evaluate


@dataclass(frozen=True)
class Unmeasured:
    """The states `state` of a problem: state j stands beside element ``effect[j]`` of `rest` in every row that reads either."""

    state: Coefficients
    rest: Coefficients
    effect: np.ndarray
    slope: Function
    reduced: Problem

    def restored(self, system: System, inner: System, space: Space, thetas: np.ndarray, b: np.ndarray, seed: int) -> np.ndarray:
        """All coefficients, shape (chains, draws, size), from those of the reduced problem: states are drawn given the rest."""
        flat = np.empty((b.shape[0] * b.shape[1], system.size))
        for name, where in inner.columns.items():
            flat[:, system.columns[name]] = b[..., where].reshape(len(flat), -1)
        values = space.many(thetas.reshape(len(flat), -1))[0]
        of_state, of_rest, slope = (
            np.atleast_2d(Batched(function)(values, len(flat))).T for function in (self.state.sd, self.rest.sd, self.slope)
        )
        own, at = of_rest if of_rest.shape[1] == 1 else of_rest[:, self.effect], system.columns[self.rest.name].start + self.effect
        mean = sum(flat[:, system.columns[name]] @ matrix.T for name, matrix in self.state.parents)
        together, variance = flat[:, at], np.square(own) + np.square(slope * of_state)
        white = np.random.default_rng([seed, 14]).standard_normal(together.shape)
        away = slope * np.square(of_state) / variance * together + own * of_state / np.sqrt(variance) * white
        flat[:, system.columns[self.state.name]] = mean + away
        flat[:, at] = together - slope * away
        return flat.reshape(*b.shape[:2], -1)


def find(problem: Problem) -> Unmeasured | None:
    """States that can be integrated out with the rest beside them, the first block of them; None where there are none."""
    if len(problem.every) > 1:
        return None
    for _, piece in problem.response_rows.pieces:
        state = _alone(problem, piece)
        if state is None or piece.scale is None:
            continue
        for _, other in problem.response_rows.pieces:
            rest = _alone(problem, other) if other.scale is None else None
            effect = None if rest is None or rest.mean_parts else _beside(piece.matrix, other.matrix)
            if rest is not None and effect is not None:
                return Unmeasured(state, rest, effect, piece.scale, _without(problem, piece, state, rest, effect))
    return None


def _alone(problem: Problem, piece: Piece) -> Coefficients | None:
    """The normal coefficients of a piece of the response, if nothing else reads them or has a mean of them."""
    block = next(c for c in problem.coefficients if c.name == piece.coefficients)
    read = [one for rows in problem.rows for _, one in rows.pieces if one.coefficients == block.name]
    children = [part for c in problem.coefficients for part in c.mean_parts if part.coefficients == block.name]
    centred = not callable(block.mean) and not np.any(block.mean) and not block.leans
    matrix = piece.matrix
    single = np.all(np.diff(matrix.indptr) <= 1) and np.all(matrix.data == 1)
    return block if len(read) == 1 and not children and block.nu is None and not block.inner and centred and single else None


def _beside(states: sparse.csr_matrix, effects: sparse.csr_matrix) -> np.ndarray | None:
    """The effect that the same rows read as each state, and no others; None where there is not one for each."""
    pairs = (states.T @ effects).tocsr()
    if pairs.shape[0] == 0 or np.any(np.diff(pairs.indptr) != 1):
        return None
    effect = pairs.indices.copy()
    own, others = (np.asarray(x.sum(axis=0)).ravel() for x in (states, effects[:, effect]))
    alike = np.array_equal(own, pairs.data) and np.array_equal(others, pairs.data)
    return effect if alike and len(np.unique(effect)) == len(effect) else None


def _without(problem: Problem, piece: Piece, state: Coefficients, rest: Coefficients, effect: np.ndarray) -> Problem:
    """The problem without the states: the rest beside them is as much wider, and rows read the mean of the states."""
    beside = np.zeros(rest.size)
    beside[effect] = 1.0
    slope, of_state, of_rest = piece.scale, state.sd, rest.sd

    def wider(p: Values, xp: Any) -> Any:
        return xp.sqrt(evaluate(of_rest, p, xp) ** 2 + beside * (evaluate(slope, p, xp) * evaluate(of_state, p, xp)) ** 2)

    means = [Piece(name, (piece.matrix @ matrix).tocsr(), piece.scale) for name, matrix in state.parents]
    pieces = [(owner, each) for owner, one in problem.response_rows.pieces for each in (means if one is piece else [one])]
    terms = tuple(
        replace(
            term,
            coefficients=tuple(replace(c, sd=wider) if c.name == rest.name else c for c in term.coefficients if c.name != state.name),
        )
        for term in problem.terms
    )
    return replace(problem, terms=terms, response_rows=replace(problem.response_rows, pieces=tuple(pieces)))
