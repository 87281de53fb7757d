"""Student t effects that one row each reads, such as the rest of each molecule measured once: integrated out, drawn back afterwards.

Beside noise that is small, or may be, such an effect and its reading hold each other so tightly that no step suits both them and the
scale of the noise. A reading of effect and noise together has a density of its own (`Blurred`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from realmat.algebra import System
from realmat.algebra.example import example_values
from realmat.algebra.space import Space
from realmat.engines.chains.blurred import Blurred
from realmat.engines.chains.rows import drawn_back
from realmat.terms.density import Parameter
from realmat.terms.location_scale import of_noise
from realmat.terms.problem import Problem
from realmat.terms.term import Coefficients, Rows, degrees, evaluate


@dataclass(frozen=True)
class Private:
    """The effects `block` of a problem, each read by one row: element `row[k]` of the response reads effect k."""

    block: Coefficients
    row: np.ndarray
    reduced: Problem

    def restored(self, system: System, joint: System, space: Space, thetas: np.ndarray, b: np.ndarray, seed: int) -> np.ndarray:
        """All coefficients, shape (chains, draws, size), from those of the reduced problem: effects are drawn given the rest."""
        out = np.empty((*b.shape[:2], system.size))
        for name, where in joint.columns.items():
            out[..., system.columns[name]] = b[..., where]
        effects = drawn_back(joint, space, thetas, b, np.random.default_rng([seed, 11]))
        out[..., system.columns[self.block.name]] = effects[..., self.row]
        return out


def find(problem: Problem) -> Private | None:
    """Effects that can be integrated out, the first block of them; None where there are none."""
    rows = problem.response_rows
    noise = rows.noise
    if noise.density is not None or noise.nu or (noise.censored is not None and np.any(noise.censored)):
        return None
    for block in problem.coefficients:
        if not block.nu or block.mean_parts or callable(block.mean) or np.any(block.mean):
            continue
        row = _row_of(block, problem)
        if row is not None:
            return Private(block, row, _without(problem, block, row))
    return None


def _row_of(block: Coefficients, problem: Problem) -> np.ndarray | None:
    """The row of the response that reads each effect; None where an effect has several, none, or is read by anything else."""
    others: Iterable[Rows] = (rows for rows in problem.rows if rows is not problem.response_rows)
    if any(piece.coefficients == block.name for rows in others for _, piece in rows.pieces):
        return None
    if any(part.coefficients == block.name for other in problem.coefficients for part in other.mean_parts):
        return None
    own = [piece for _, piece in problem.response_rows.pieces if piece.coefficients == block.name]
    if len(own) != 1 or own[0].scale is not None or len(problem.response_rows.y) != block.size:
        return None
    matrix = own[0].matrix.tocsc()
    alone = np.all(np.diff(matrix.indptr) == 1) and np.all(matrix.data == 1) and len(np.unique(matrix.indices)) == block.size
    return matrix.indices.copy() if alone else None


def _without(problem: Problem, block: Coefficients, row: np.ndarray) -> Problem:
    """The problem without the effects, their readings `Blurred` instead."""
    rows, nu, spread = problem.response_rows, block.nu, block.sd
    assert nu is not None
    effect = np.argsort(row)  # of each row
    if np.ndim(evaluate(spread, example_values(problem.params))) == 0:
        one, effect = spread, np.zeros(len(row), dtype=int)
        spread = lambda p, xp: xp.stack([evaluate(one, p, xp)])  # noqa: E731
    parameters = (
        of_noise(rows.noise, rows.count, rows.within)[1][0],
        Parameter("spread", lambda p, xp: evaluate(spread, p, xp), effect),
        Parameter("nu", lambda p, xp: xp.stack([degrees(nu, p)]), np.zeros(len(row), dtype=int)),
    )
    pieces = tuple((owner, piece) for owner, piece in rows.pieces if piece.coefficients != block.name)
    noise = replace(rows.noise, density=Blurred(rows.count, rows.within), parameters=parameters)
    terms = tuple(replace(term, coefficients=tuple(c for c in term.coefficients if c.name != block.name)) for term in problem.terms)
    return replace(problem, terms=terms, response_rows=replace(rows, pieces=pieces, noise=noise))
