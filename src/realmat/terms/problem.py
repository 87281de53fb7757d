"""A model bound to a table: what engines and attribution work on.

A row of data travels: user's table -> `Table` (validated) -> cells (rows alike in all but the response) -> `Term`s -> `Problem`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from realmat.errors import ModelError
from realmat.table.table import Table, cells
from realmat.terms.component import Component, Scale
from realmat.terms.resolution import refuse_exact
from realmat.terms.term import Coefficients, Contribution, Noise, Param, Rows, Term, stored_name

LINKS = ("identity", "log")


def link_values(link: str, y: np.ndarray) -> np.ndarray:
    """g(y) for a link name."""
    return np.log(y) if link == "log" else np.asarray(y, dtype=float)


@dataclass(frozen=True)
class Problem:
    """Terms and measured rows, ready for an engine.

    Attributes
    ----------
    response, link : str
    table : Table
        Every row, as validated.
    cells : Table
        One row for each group of rows alike in all but the response; `cells.count` says how many.
    cell : int array of shape (rows,)
        The cell of each row.
    terms : tuple of Term
        In the order theory, material, observation.
    response_rows : Rows
        g(y) by cell: mean, count and within-cell sum of squares, with all pieces and offsets.
    scale : Scale
    """

    response: str
    link: str
    table: Table
    cells: Table
    cell: np.ndarray
    terms: tuple[Term, ...]
    response_rows: Rows
    scale: Scale
    contributions: tuple[Contribution, ...]

    @cached_property
    def params(self) -> tuple[Param, ...]:
        """Every hyperparameter, by layer."""
        return tuple(param for term in self.terms for param in term.params)

    @cached_property
    def coefficients(self) -> tuple[Coefficients, ...]:
        """Every block of coefficients, by layer."""
        return tuple(block for term in self.terms for block in term.coefficients)

    @cached_property
    def rows(self) -> tuple[Rows, ...]:
        """All measured rows: the response first, then every characterisation."""
        return (self.response_rows, *(rows for term in self.terms for rows in term.rows))

    @cached_property
    def g(self) -> np.ndarray:
        """The response on the scale of the link, shape (rows,)."""
        return link_values(self.link, self.table.numeric(self.response))

    @property
    def observation(self) -> Term:
        """The term that carries the noise."""
        return next(term for term in self.terms if term.noise is not None)

    def term(self, component: str) -> Term:
        """A term by its component's name."""
        return next(term for term in self.terms if term.component == component)


def scale_of(table: Table, response: str, link: str, components: Sequence[Component]) -> Scale:
    """Magnitudes of g(y) for default priors."""
    named = [getattr(c, "column", None) for c in components if c.layer == "theory"]
    theory = tuple(name for name in named if name and name in table.columns)
    g = link_values(link, table.numeric(response))
    spread = float(np.std(g))
    level = float(np.mean(g))
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = [link_values(link, table.numeric(c)) for c in theory]
    columns = [x for x in columns if np.all(np.isfinite(x)) and np.std(x) > 0]
    residual = spread
    if columns and len(g) > len(columns) + 1:
        x = np.column_stack([np.ones(len(g)), *columns])
        residual = float(np.std(g - x @ np.linalg.lstsq(x, g, rcond=None)[0]))
    floor = 1e-3 * max(spread, abs(level), 1e-300)
    residual = max(residual, floor)
    shift = residual * float(np.sqrt(sum(c.remoteness(table) ** 2 for c in components)))
    return Scale(residual, level, max(spread, floor), shift, theory)


def _unique_names(terms: Sequence[Term]) -> None:
    seen: dict[str, str] = {}
    for term in terms:
        for name in dict.fromkeys([p.name for p in term.params] + [c.name for c in term.coefficients]):
            if name in seen:
                raise ModelError(f"{name!r} is a variable of both {seen[name]!r} and {term.component!r}; give one of them another name=.")
            if name != stored_name(name):
                raise ModelError(
                    f"{term.component!r}: no file can hold a variable called {name!r}; name it realmat.terms.term.stored_name({name!r})."
                )
            seen[name] = term.component


def _resolvable(terms: Sequence[Term]) -> None:
    """Every reference of a prior leads to a parameter of the same term, and none in a circle."""
    for term in terms:
        pending, done = list(term.params), set[str]()
        while pending:
            ready = [q for q in pending if done.issuperset(q.prior.references)]
            if not ready:
                told = "; ".join(f"{q.name!r} refers to {', '.join(sorted(set(q.prior.references) - done))}" for q in pending)
                raise ModelError(f"{term.component!r}: a prior refers to what the component has not, or priors refer in a circle: {told}.")
            done |= {q.name for q in ready}
            pending = [q for q in pending if q.name not in done]


def bind(response: str, link: str, components: Sequence[Component], table: Table) -> Problem:
    """Turn components and a table into a problem.

    Raises
    ------
    realmat.DataError, realmat.ModelError
        If a component cannot be bound, or two use the same variable name.
    """
    scale = scale_of(table, response, link, components)
    observation = next(c for c in components if c.layer == "observation")
    noise = observation.bind(table, scale).noise
    assert noise is not None
    rowwise: Noise = noise(table)
    apart = rowwise.nu is not None or (rowwise.censored is not None and rowwise.censored.any())
    everything = np.arange(len(table))
    if apart:
        first, cell = everything, everything
    else:
        first, cell = cells(table, (response,), (rowwise.u, rowwise.group))
    count = np.bincount(cell, minlength=len(first)).astype(float)
    collapsed = table.take(first, count)
    terms = tuple(component.bind(collapsed, scale) for component in components)
    contributions = tuple(term.contribute(collapsed) for term in terms)
    if collapsed.rows_matter and len(first) < len(table):  # a component wants every row to be its own piece
        first, cell, collapsed = everything, everything, table
        terms = tuple(component.bind(collapsed, scale) for component in components)
        contributions = tuple(term.contribute(collapsed) for term in terms)
    _unique_names(terms)
    _resolvable(terms)
    cell_noise = Noise(
        rowwise.u[first],
        rowwise.group[first],
        rowwise.scales,
        rowwise.nu,
        None if rowwise.censored is None else rowwise.censored[first],
    )
    g = link_values(link, table.numeric(response))
    rows = _rows(response, terms, contributions, cell_noise, g, cell, len(first))
    refuse_exact(rows, terms, table)
    return Problem(response, link, table, collapsed, cell, terms, rows, scale, contributions)


def _rows(
    response: str,
    terms: Sequence[Term],
    contributions: Sequence[Contribution],
    noise: Noise,
    g: np.ndarray,
    cell: np.ndarray,
    size: int,
) -> Rows:
    """The response by cell: mean, count and within-cell sum of squares, which are sufficient where variances are equal."""
    pieces = tuple((t.component, piece) for t, c in zip(terms, contributions, strict=True) for piece in c.pieces)
    offsets = tuple((t.component, c.offset) for t, c in zip(terms, contributions, strict=True) if c.offset is not None)
    count = np.bincount(cell, minlength=size).astype(float)
    mean = np.bincount(cell, weights=g, minlength=size) / count
    within = np.bincount(cell, weights=(g - mean[cell]) ** 2, minlength=size)
    return Rows(response, mean, pieces, offsets, noise, count, within)


def nonlinear_terms(problem: Problem) -> list[tuple[str, Any]]:
    """Components whose effect is not linear given their parameters, with the function."""
    pairs = zip(problem.terms, problem.contributions, strict=True)
    return [(term.component, c.nonlinear) for term, c in pairs if c.nonlinear is not None]
