"""States that were not measured, beside the rest of the same pieces: integrated out, drawn back afterwards.

Of a solvent whose polarity was not read, rows tell ``w_j = s(psi) (x_j - mean_j) + v_j`` and no more of polarity and rest. Their ratio
bends with every scale, so that no step suits all of it. The sum is one normal effect, of variance ``sd_v^2 + s^2 sd_x^2``, and given it the
state is normal again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from realmat.algebra import System
from realmat.algebra.batching import Batched
from realmat.algebra.example import example_values
from realmat.algebra.space import Space
from realmat.terms.problem import Problem
from realmat.terms.term import Coefficients, Function, Piece, Rows, Values, evaluate


@dataclass(frozen=True)
class Unmeasured:
    """States `element` of the block `state` of a problem, each beside an element `effect` of `rest` in every row that reads either."""

    state: Coefficients
    element: np.ndarray
    rest: Coefficients
    effect: np.ndarray
    slope: Function
    reduced: Problem

    @property
    def kept(self) -> np.ndarray:
        """The states of the block that stay."""
        return np.delete(np.arange(self.state.size), self.element)

    def restored(self, system: System, inner: System, space: Space, thetas: np.ndarray, b: np.ndarray, seed: int) -> np.ndarray:
        """All coefficients, shape (chains, draws, size), from those of the reduced problem: states are drawn given the rest."""
        flat = np.empty((b.shape[0] * b.shape[1], system.size))
        for name, where in inner.columns.items():
            places = np.arange(system.size)[system.columns[name]]
            flat[:, places[self.kept] if name == self.state.name else places] = b[..., where].reshape(len(flat), -1)
        values = space.many(thetas.reshape(len(flat), -1))[0]
        of_state, of_rest, slope = (
            np.atleast_2d(Batched(function)(values, len(flat))).T for function in (self.state.sd, self.rest.sd, self.slope)
        )
        of_state, own = (x if x.shape[1] == 1 else x[:, at] for x, at in ((of_state, self.element), (of_rest, self.effect)))
        at = system.columns[self.rest.name].start + self.effect
        mean = sum(flat[:, system.columns[name]] @ matrix.tocsr()[self.element].T for name, matrix in self.state.parents)
        together, variance = flat[:, at], np.square(own) + np.square(slope * of_state)
        white = np.random.default_rng([seed, 14]).standard_normal(together.shape)
        away = slope * np.square(of_state) / variance * together + own * of_state / np.sqrt(variance) * white
        flat[:, system.columns[self.state.name].start + self.element] = mean + away
        flat[:, at] = together - slope * away
        return flat.reshape(*b.shape[:2], -1)


def find(problem: Problem) -> Unmeasured | None:
    """States of the response that the problem is seen through that can be integrated out with the rest beside them.

    Those of the first block that has any; None where none has.
    """
    for _, piece in problem.response_rows.pieces:
        state = _block(problem, piece)
        element = np.zeros(0, dtype=int) if piece.scale is None else _unread(problem, state, piece)
        if not len(element):
            continue
        for _, other in problem.response_rows.pieces:
            rest = _block(problem, other)
            if other.scale is not None or rest.mean_parts or len(_unread(problem, rest, other)) < rest.size:
                continue
            effect = _beside(piece.matrix.tocsc()[:, element].tocsr(), other.matrix)
            if effect is not None:
                return _found(problem, piece, state, element, rest, effect)
    return None


def _block(problem: Problem, piece: Piece) -> Coefficients:
    return next(c for c in problem.coefficients if c.name == piece.coefficients)


def _unread(problem: Problem, block: Coefficients, piece: Piece) -> np.ndarray:
    """Which normal coefficients of a piece of the response nothing but the piece reads, and each of its rows one: int array."""
    children = [part for c in problem.coefficients for part in c.mean_parts if part.coefficients == block.name]
    centred = not callable(block.mean) and not np.any(block.mean) and not block.leans
    if children or block.nu is not None or block.inner or not centred:
        return np.zeros(0, dtype=int)
    others = [one for rows in problem.rows for _, one in rows.pieces if one.coefficients == block.name and one is not piece]
    read = sum((np.diff(one.matrix.tocsc().indptr) for one in others), np.zeros(block.size, dtype=int))
    matrix = piece.matrix.tocsr()
    odd = np.repeat(np.diff(matrix.indptr) > 1, np.diff(matrix.indptr)) | (matrix.data != 1)
    return np.flatnonzero((read == 0) & (np.bincount(matrix.indices[odd], minlength=block.size) == 0))


def _beside(states: sparse.csr_matrix, effects: sparse.csr_matrix) -> np.ndarray | None:
    """The effect that the same rows read as each state, and no others; None where there is not one for each."""
    pairs = (states.T @ effects).tocsr()
    if pairs.shape[0] == 0 or np.any(np.diff(pairs.indptr) != 1):
        return None
    effect = pairs.indices.copy()
    own, others = (np.asarray(x.sum(axis=0)).ravel() for x in (states, effects[:, effect]))
    alike = np.array_equal(own, pairs.data) and np.array_equal(others, pairs.data)
    return effect if alike and len(np.unique(effect)) == len(effect) else None


@dataclass(frozen=True)
class _Part:
    """States beside effects: their slope and standard deviation, of `each` state or of all, and the state of each effect or -1."""

    slope: Function
    sd: Function | float | np.ndarray
    each: bool
    place: np.ndarray

    def variance(self, p: Values, xp: Any, effects: np.ndarray) -> Any:
        """What the states add to some effects."""
        place = self.place[effects]
        sd = evaluate(self.sd, p, xp)
        return (place >= 0) * (evaluate(self.slope, p, xp) * (sd[..., place] if self.each else sd)) ** 2


@dataclass(frozen=True)
class _Wider:
    """The standard deviation of effects with states beside them, evaluated once for all that have the same; `each` has its own before."""

    rest: Function | float | np.ndarray
    each: bool
    parts: tuple[_Part, ...]

    @cached_property
    def _kinds(self) -> tuple[np.ndarray, np.ndarray]:
        """The first effect of each kind, and the kind of each effect."""
        places = [part.place for part in self.parts] + [np.arange(len(self.parts[0].place))] * self.each
        _, first, kind = np.unique(np.array(places), axis=1, return_index=True, return_inverse=True)
        return first, kind.ravel()

    def __call__(self, p: Values, xp: Any) -> Any:
        first, kind = self._kinds
        own = evaluate(self.rest, p, xp)
        total = (own[..., first] if self.each else own) ** 2
        for part in self.parts:
            total = total + part.variance(p, xp, first)
        return xp.sqrt(total)[..., kind]


def _found(problem: Problem, piece: Piece, state: Coefficients, element: np.ndarray, rest: Coefficients, effect: np.ndarray) -> Unmeasured:
    """With the problem without the states: the rest beside them is as much wider, and rows read the mean of the states."""
    slope, of_state = piece.scale, state.sd
    assert slope is not None
    several, of_each = (np.ndim(evaluate(sd, example_values(problem.params))) == 1 for sd in (of_state, rest.sd))
    place = np.full(rest.size, -1)
    place[effect] = element if several else 0
    alone = rest.sd if isinstance(rest.sd, _Wider) else _Wider(rest.sd, of_each, ())
    wider = replace(alone, parts=(*alone.parts, _Part(slope, of_state, several, place)))
    kept = np.delete(np.arange(state.size), element)
    means = [Piece(name, (piece.matrix.tocsc()[:, element] @ matrix.tocsr()[element]).tocsr(), slope) for name, matrix in state.parents]

    def pieces(rows: Rows) -> Rows:
        out = []
        for owner, one in rows.pieces:
            if one.coefficients == state.name:
                out += [(owner, replace(one, matrix=one.matrix.tocsc()[:, kept].tocsr()))] if len(kept) else []
                out += [(owner, mean) for mean in means] if one is piece else []
            else:
                out.append((owner, one))
        return replace(rows, pieces=tuple(out))

    def block(c: Coefficients) -> Coefficients:
        if c.name == rest.name:
            return replace(c, sd=wider)
        if c.name != state.name:
            return c
        sd = (lambda p, xp: evaluate(of_state, p, xp)[..., kept]) if several else of_state
        parents = tuple((name, matrix.tocsr()[kept]) for name, matrix in c.parents)
        return replace(c, size=len(kept), sd=sd, parents=parents, coords=None, dim=None, report=None)

    terms = tuple(
        replace(
            term,
            coefficients=tuple(block(c) for c in term.coefficients if c.name != state.name or len(kept)),
            rows=tuple(pieces(rows) for rows in term.rows),
        )
        for term in problem.terms
    )
    reduced = replace(problem, terms=terms, response_rows=pieces(problem.response_rows))
    return Unmeasured(state, element, rest, effect, slope, reduced)
