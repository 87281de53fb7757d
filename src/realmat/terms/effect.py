"""Effects of columns: one number times a column, or times a latent state where the column has gaps or u; and many pooled columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse

from realmat.errors import DataError
from realmat.table.table import Table, rows_text
from realmat.terms.component import Component, Scale, hyper, join, linear
from realmat.terms.priors import Prior
from realmat.terms.slopes import Slopes
from realmat.terms.state import LatentState, State
from realmat.terms.term import Coefficients, Contribution, Function, Param, Piece, Term


def slope_term(component: Component, table: Table, scale: Scale, state: LatentState, default: Prior | None = None) -> Term:
    """``<name>_slope * column`` on the state's scale.

    The slope is a coefficient where the column is known exactly and everywhere, else a hyperparameter. Its default prior is
    Normal(0, 2.5 sd(response) / sd(column)). With `slope_by` there is a slope for each value of that level, around `<name>_slope_mean`.
    """
    readings = state.read(table)
    spread = state.spread(state.read(table.whole))
    prior = component.prior("slope", default or Prior("Normal", mu=0.0, sigma=2.5 * scale.response / spread))
    name = f"{component.label}_slope"
    slopes = Slopes.of(component, table, prior, scale.response / spread)
    if slopes is not None:
        return _varying(component, table, scale, state, slopes)
    if not state.needed(readings):
        slope = linear(name, prior)
        return Term(
            component.label,
            component.layer,
            slope.params,
            slope.coefficients,
            lambda other, fresh_levels=(): Contribution(*slope.on(complete(other, state))),
        )
    bound = state.bind(table, scale)
    params, slope_of = hyper(name, prior)
    return state_term(component, bound, params, lambda other, fresh_levels=(): bound.on(other, fresh_levels, slope_of))


def _varying(component: Component, table: Table, scale: Scale, state: LatentState, slopes: Slopes) -> Term:
    """The same with a slope for each value of a level."""
    if not state.needed(state.read(table)):
        made = slopes.linear()
        return Term(
            component.label,
            component.layer,
            made.params,
            made.coefficients,
            lambda other, fresh_levels=(): made.on(other, fresh_levels, complete(other, state)),
        )
    bound, psi = state.bind(table, scale), slopes.hyper()
    typical = float(np.sqrt(np.mean(bound.readings.value[bound.readings.present] ** 2)))

    def contribute(other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
        rows = psi.by_row(other, fresh_levels)
        value = state.read(other).value if state.column in other.columns else np.full(len(other), np.nan)
        size = np.where(np.isfinite(value), value, typical)
        return psi.spread(bound.on(other, fresh_levels, rows), rows, other, fresh_levels, size)

    term = state_term(component, bound, psi.params, contribute)
    return replace(term, notes=(*term.notes, psi.note))


def state_term(component: Component, state: State, params: tuple[Param, ...], contribute: Any) -> Term:
    """A term of a latent state and further hyperparameters."""
    params = (*params, *state.params)
    own = (component.label, component.layer, params, state.coefficients, contribute, state.rows)
    return Term(*own, notes=state.notes, cautions=state.cautions, states=(state.latent,))


def complete(table: Table, state: LatentState) -> np.ndarray:
    """Values of a column that the fit knew exactly everywhere, on the state's scale, shape (rows,).

    Raises
    ------
    realmat.DataError
        If this table has gaps or limits: there is no population to fill them from.
    """
    if state.column not in table.columns:
        raise DataError(f"column {state.column!r}: not in the table. The fit saw no gap, so it learnt no population to fill it from.")
    readings = state.read(table)
    gaps = ~readings.measured
    if gaps.any():
        raise DataError(
            f"column {state.column!r}: no value in {rows_text(table.index[gaps])}. The fit saw no gap, so it learnt no population to fill "
            "gaps from; give the values, or state their u in the model."
        )
    return readings.value


def remoteness(table: Table, state: LatentState) -> float:
    """How many standard deviations the readings lie from zero on the state's scale; see `Component.remoteness`."""
    seen = state.read(table.whole)
    value, count = seen.value[seen.present], table.whole.count[seen.present]
    mean = float(np.average(value, weights=count)) if len(value) else 0.0
    sd = float(np.sqrt(np.average((value - mean) ** 2, weights=count))) if len(value) else 0.0
    return abs(mean) / sd if sd > 0 else 0.0


def pooled_term(
    component: Component,
    table: Table,
    scale: Scale,
    columns: Sequence[str],
    dim: str,
    params: tuple[Param, ...] = (),
    nu: str | float | None = None,
) -> Term:
    """``sum_i b_i x_i`` over columns with ``b_i ~ N(0, <name>_scale^2)``: coefficients `<name>` along `dim`.

    The default prior of the scale is HalfNormal(2 sd(response) / root mean square of the rows' length), so that it does not
    depend on the columns' unit.

    Raises
    ------
    realmat.DataError
        If every column is zero everywhere.
    """
    name = component.label
    matrix = stack(table, columns)
    length = float(np.sqrt(matrix.multiply(matrix).sum() / len(table)))
    if length == 0:
        raise DataError(f"{name}: all of {', '.join(columns[:6])} are zero everywhere, so nothing can be learnt; leave it out.")
    prior = component.prior("scale", Prior("HalfNormal", sigma=2 * scale.response / length))
    scale_params, sd = hyper(f"{name}_scale", prior)
    block = Coefficients(name, len(columns), sd, dim=dim, coords=np.array(columns, dtype=object), nu=nu)
    return Term(
        name,
        component.layer,
        (*scale_params, *params),
        (block,),
        lambda other, fresh_levels=(): Contribution((Piece(name, stack(other, columns)),)),
        notes=empty_columns(table, columns),
    )


def stack(table: Table, columns: Sequence[str]) -> sparse.csr_matrix:
    """Number columns side by side, sparse, shape (rows, columns)."""
    return sparse.csr_matrix(np.column_stack([table.numeric(column) for column in columns]))


def empty_columns(table: Table, columns: Sequence[str]) -> tuple[str, ...]:
    """Name the columns that are zero on every row: their coefficients are known from the pool alone."""
    empty = [column for column in columns if not np.any(table.numeric(column))]
    return (f"zero on every row, so known from the pool alone: {', '.join(empty)}.",) if empty else ()


def joined(component: Component, *terms: Term) -> Term:
    """Several terms as the one term of a component."""

    def contribute(other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
        return added(*(term.contribute(other, fresh_levels) for term in terms))

    return Term(
        component.label,
        component.layer,
        tuple(param for term in terms for param in term.params),
        tuple(block for term in terms for block in term.coefficients),
        contribute,
        tuple(rows for term in terms for rows in term.rows),
        notes=tuple(note for term in terms for note in term.notes),
        cautions=tuple(said for term in terms for said in term.cautions),
        states=tuple(state for term in terms for state in term.states),
    )


def added(*contributions: Contribution) -> Contribution:
    """The sum of contributions."""
    curved = [c.nonlinear for c in contributions if c.nonlinear is not None]

    def nonlinear(p: Any, b: Any, xp: Any) -> Any:
        return sum(f(p, b, xp) for f in curved)

    offset: Function | None = join(*(c.offset for c in contributions))
    return Contribution(
        tuple(piece for c in contributions for piece in c.pieces),
        offset,
        tuple(fresh for c in contributions for fresh in c.fresh),
        nonlinear if curved else None,
    )
