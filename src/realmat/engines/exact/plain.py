"""Readings with heavy tails and limits taken as normal ones: where a theory bends, what chains start from.

A curve's parameters lie on a ridge that turns. Chains that come to it from its mode walk along it step by step before they know how it
bends; importance sampling of the same theory under normal noise, readings beyond limits left out, has seen all of a ridge much like it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from realmat.algebra import System
from realmat.engines.exact.curve import Curve
from realmat.engines.exact.space import Density
from realmat.terms.problem import Problem, native
from realmat.terms.term import Function, Rows, Values, evaluate

FEWEST = 2  # readings for each parameter of a curve, below which they do not say where it lies


def system(problem: Problem) -> System | None:
    """A problem taken as normal; None where no theory bends, or too few readings would be left."""
    if len(problem.every) > 1 or any(native(rows.noise) for rows in problem.rows) or not len(measured(problem.response_rows)):
        return None
    made = System(_normal(problem))
    bent = len(Curve(Density(made)).index)
    return made if bent and len(made.problem.response_rows.y) >= FEWEST * bent else None


def _normal(problem: Problem) -> Problem:
    terms = tuple(replace(term, rows=tuple(_left(rows) for rows in term.rows)) for term in problem.terms)
    return replace(problem, terms=terms, response_rows=_left(problem.response_rows))


def _left(rows: Rows) -> Rows:
    """The rows that were measured, with normal noise."""
    kept = measured(rows)
    return Rows(
        rows.name,
        rows.y[kept],
        tuple((owner, replace(piece, matrix=piece.matrix.tocsr()[kept])) for owner, piece in rows.pieces),
        tuple((owner, _some(offset, kept, len(rows.y))) for owner, offset in rows.offsets),
        replace(rows.noise.take(kept), nu=None, censored=None),
        rows.count[kept],
        rows.within[kept],
    )


def measured(rows: Rows) -> np.ndarray:
    """Which are no limits, int array."""
    return np.arange(len(rows.y)) if rows.noise.censored is None else np.flatnonzero(rows.noise.censored == 0)


def _some(offset: Function, kept: np.ndarray, rows: int) -> Callable[[Values, Any], Any]:
    """An offset on some rows."""

    def some(p: Values, xp: Any) -> Any:
        value = evaluate(offset, p, xp)
        return value[..., kept] if np.ndim(value) and np.shape(value)[-1] == rows else value

    return some
