"""Effects that one row each reads, such as the rest of each molecule measured once: integrated out, drawn back afterwards.

Where effect or noise is Student t and the other normal, what a reading is off by has two answers, and chains that hold effects go through
these one by one, while the scales of both wait for all of them; where noise is small, effect and reading hold each other so tightly that
no step suits both them and its scale. A reading of effect and noise together has a density of its own (`Blurred`, `Partly`, `Together`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from realmat.algebra import System
from realmat.algebra.batching import Batched
from realmat.algebra.example import example_values
from realmat.algebra.space import Space
from realmat.engines.chains.blurred import Blurred
from realmat.engines.chains.partly import Partly
from realmat.engines.chains.rows import drawn_back
from realmat.engines.chains.together import Together
from realmat.terms.density import Density, Evaluated, Parameter
from realmat.terms.location_scale import Interval, of_noise
from realmat.terms.problem import Problem
from realmat.terms.term import Coefficients, Function, Noise, Piece, degrees, evaluate

_FEWEST = 20  # normal effects that are worth it
_TRIED = 4  # psi that tell which effects have one prior


@dataclass(frozen=True)
class _Alone:
    """Effects `element` of a block, of which response row `row` each reads one and nothing else does."""

    block: Coefficients
    element: np.ndarray
    row: np.ndarray


@dataclass(frozen=True)
class Private:
    """Effects of a problem that are integrated out of the response."""

    found: tuple[_Alone, ...]
    reduced: Problem

    def restored(self, system: System, joint: System, space: Space, thetas: np.ndarray, b: np.ndarray, seed: int) -> np.ndarray:
        """All coefficients, shape (chains, draws, size), from those of the reduced problem: effects are drawn given the rest."""
        out = np.empty((*b.shape[:2], system.size))
        effects = drawn_back(joint, space, thetas, b, np.random.default_rng([seed, 11, self.reduced.rank]))
        alone = {one.block.name: one for one in self.found}
        for name, where in system.columns.items():
            places = np.arange(where.start, where.stop)
            if name in alone:
                one = alone[name]
                out[..., places[one.element]] = effects[..., one.row]
                places = np.delete(places, one.element)
            if name in joint.columns:
                out[..., places] = b[..., joint.columns[name]]
        return out


def find(problem: Problem) -> Private | None:
    """Effects that can be integrated out of the response that the problem is seen through; None where there are none.

    Of effects with heavy tails under normal noise the first block, if each row has one; of normal effects under noise with heavy tails, or
    of readings with limits, as many as there are, one of a row.
    """
    rows = problem.response_rows
    noise = rows.noise
    limited = noise.censored is not None and bool(np.any(noise.censored))
    if noise.density is not None:
        return None
    if not noise.nu and not limited:
        every = (one for block in problem.coefficients if block.nu for one in _alone(problem, block))
        found = next((one for one in every if len(one.row) == len(rows.y) == one.block.size), None)
        return None if found is None else Private((found,), _without(problem, (found,), _heavy(problem, found)))
    taken, alone = rows.count != 1, []
    if noise.nu and noise.censored is not None:
        taken |= noise.censored != 0  # beyond a limit, the sum of a normal number and a Student t has no density of use
    blocks = (block for block in problem.coefficients if not block.nu and callable(block.sd))
    for one in sorted((x for block in blocks for x in _alone(problem, block)), key=lambda x: -len(x.row)):
        free = ~taken[one.row]
        if free.sum() >= _FEWEST:
            alone.append(_Alone(one.block, one.element[free], one.row[free]))
            taken[one.row] = True
    if not alone:
        return None
    return Private(tuple(alone), _without(problem, alone, _normal(problem, alone) if noise.nu else _limited(problem, alone)))


def _alone(problem: Problem, block: Coefficients) -> list[_Alone]:
    """The effects of a block that one row of the response each reads, as they stand, and nothing else: in a list, or none."""
    if block.mean_parts or callable(block.mean) or np.any(block.mean):
        return []
    if any(part.coefficients == block.name for other in problem.coefficients for part in other.mean_parts):
        return []
    own = [piece for _, piece in problem.response_rows.pieces if piece.coefficients == block.name]
    others = [piece for r in problem.rows if r is not problem.response_rows for _, piece in r.pieces if piece.coefficients == block.name]
    if len(own) != 1 or others or own[0].scale is not None:
        return []
    matrix = own[0].matrix.tocsc()
    element = np.flatnonzero(np.diff(matrix.indptr) == 1)
    place = matrix.indptr[element]
    plain = (matrix.data[place] == 1) & (np.diff(own[0].matrix.indptr)[matrix.indices[place]] == 1)
    return [_Alone(block, element[plain], matrix.indices[place[plain]])] if plain.any() else []


def _heavy(problem: Problem, one: _Alone) -> Noise:
    """Of readings with normal noise and a Student t effect each."""
    rows, nu = problem.response_rows, one.block.nu
    assert nu is not None
    (spread,), group = _spreads(problem, [one])
    parameters = (
        of_noise(rows.noise, rows.count, rows.within)[1][0],
        Parameter("spread", spread, group),
        Parameter("nu", lambda p, xp: xp.stack([degrees(nu, p)]), np.zeros(len(rows.y), dtype=int)),
    )
    return _with(rows.noise, Blurred(rows.count, rows.within), parameters)


def _normal(problem: Problem, alone: Sequence[_Alone]) -> Noise:
    """Of readings with Student t noise, some of which have a normal effect each."""
    rows = problem.response_rows
    readings, (sd, nu) = of_noise(rows.noise, rows.count, rows.within)
    single, effects = _singles(problem, alone, "sd")
    return _with(rows.noise, Partly(cast(Interval, readings), single), (effects, replace(sd, name="spread"), nu))


def _limited(problem: Problem, alone: Sequence[_Alone]) -> Noise:
    """Of normal readings with limits, some of which have a normal effect each."""
    rows = problem.response_rows
    readings, (sd, *_) = of_noise(rows.noise, rows.count, rows.within)
    single, effects = _singles(problem, alone, "spread")
    assert rows.noise.censored is not None
    return _with(rows.noise, Together(readings, np.sign(rows.noise.censored), single), (sd, effects))


def _singles(problem: Problem, alone: Sequence[_Alone], name: str) -> tuple[np.ndarray, Parameter]:
    """The rows that have an effect, and the standard deviations of the effects as a parameter of this name."""
    spreads, group = _spreads(problem, alone)
    effects = Parameter(name, lambda p, xp: xp.concatenate([spread(p, xp) for spread in spreads], axis=-1), group)
    return np.sort(np.concatenate([one.row for one in alone])), effects


def _with(noise: Noise, density: Evaluated, parameters: tuple[Parameter, ...]) -> Noise:
    return replace(noise, nu=None, censored=None, density=cast(Density, density), parameters=parameters)


def _spreads(problem: Problem, alone: Sequence[_Alone]) -> tuple[list[Function], np.ndarray]:
    """The different prior standard deviations of the effects of each block, as vectors, and which of all each row has."""
    group, spreads, count = np.zeros(len(problem.response_rows.y), dtype=int), [], 0
    space = Space(problem.params)
    values = space.many(np.random.default_rng(0).standard_normal((_TRIED, space.size)))[0]
    for one in alone:
        table = np.atleast_2d(Batched(one.block.sd)(values, _TRIED))
        each = table[one.element] if len(table) > 1 else np.repeat(table, len(one.element), axis=0)
        _, first, kind = np.unique(each, axis=0, return_index=True, return_inverse=True)
        spreads.append(_chosen(one.block.sd, one.element[first] if len(table) > 1 else None))
        group[one.row] = count + kind.ravel()
        count += len(first)
    return spreads, group


def _chosen(sd: Function | float | np.ndarray, elements: np.ndarray | None) -> Function:
    """Some elements of a standard deviation as a vector; or one number as a vector of one."""
    if elements is None:
        return lambda p, xp: xp.atleast_1d(evaluate(sd, p, xp))
    return lambda p, xp: evaluate(sd, p, xp)[..., elements]


def _without(problem: Problem, alone: Sequence[_Alone], noise: Noise) -> Problem:
    """The problem without the effects, the response with `noise` instead."""
    left = {one.block.name: np.delete(np.arange(one.block.size), one.element) for one in alone}

    def block(c: Coefficients) -> Coefficients:
        if c.name not in left:
            return c
        keep, sd = left[c.name], c.sd
        several = np.ndim(evaluate(sd, example_values(problem.params))) == 1
        return replace(c, size=len(keep), sd=_chosen(sd, keep) if several else sd, coords=None, dim=None, report=None)

    def piece(one: Piece) -> Piece:
        return replace(one, matrix=one.matrix.tocsc()[:, left[one.coefficients]].tocsr()) if one.coefficients in left else one

    gone = {name for name, keep in left.items() if not len(keep)}
    rows = problem.response_rows
    pieces = tuple((owner, piece(one)) for owner, one in rows.pieces if one.coefficients not in gone)
    terms = tuple(replace(t, coefficients=tuple(block(c) for c in t.coefficients if c.name not in gone)) for t in problem.terms)
    return replace(problem, terms=terms, response_rows=replace(rows, pieces=pieces, noise=noise))
