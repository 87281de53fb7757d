"""A model bound to a table: what engines and attribution work on.

A row of data travels: user's table -> `Table` (validated) -> cells (rows alike in all but the response) -> `Term`s -> `Problem`. Several
properties of one material make one problem, seen through one of them: what is measured of the others informs the same unknowns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from realmat.errors import ModelError
from realmat.support.links import LINKS
from realmat.table.table import Table
from realmat.terms.component import Scale
from realmat.terms.parts import Derived
from realmat.terms.term import Coefficients, Contribution, Noise, Param, Rows, Term


def link_values(link: str, y: np.ndarray) -> np.ndarray:
    """g(y) for a link name."""
    return np.asarray(LINKS[link].forward(y))


class _Named(Protocol):
    @property
    def name(self) -> str: ...


def _once[T: _Named](things: Iterable[T]) -> tuple[T, ...]:
    """The first of each name: a state that several properties share stands in the terms of each."""
    found: dict[str, T] = {}
    for thing in things:
        found.setdefault(thing.name, thing)
    return tuple(found.values())


@dataclass(frozen=True)
class Problem:
    """Terms and measured rows, ready for an engine, seen through one measured property.

    Attributes
    ----------
    response, link : str
    table : Table
        Every row on which the property was measured, as validated; `table.whole` has the rows of all properties.
    cells : Table
        One row for each group of rows alike in all but the response; `cells.count` says how many.
    cell : int array of shape (rows,)
        The cell of each row.
    terms : tuple of Term
        Of this property, in the order theory, material, observation.
    response_rows : Rows
        g(y) by cell: mean, count and within-cell sum of squares, with all pieces and offsets.
    scale : Scale
    contributions : tuple of Contribution
        Of each term on the cells.
    noise : Noise
        Of a single new measurement of each cell. That of `response_rows` is less where a part of it is a coefficient.
    beside : tuple of Problem
        The same for every other property, none of them with others beside it.
    rank : int
        Place of the property among all.
    labels : mapping of str to str
        What pictures and reports call columns and components.
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
    noise: Noise
    beside: tuple[Problem, ...] = ()
    rank: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def every(self) -> tuple[Problem, ...]:
        """Every property's part, in the order in which they were declared, whichever the problem is seen through."""
        return tuple(sorted((self, *self.beside), key=lambda part: part.rank))

    @property
    def responses(self) -> tuple[str, ...]:
        """Names of all measured properties."""
        return tuple(part.response for part in self.every)

    def of(self, response: str) -> Problem:
        """The same problem seen through another of its properties.

        Raises
        ------
        realmat.ModelError
            If there is no such property.
        """
        if response not in self.responses:
            raise ModelError(f"no property {response!r} in this fit; there is {', '.join(map(repr, self.responses))}.")
        if response == self.response:
            return self
        first = next(part for part in self.beside if part.response == response)
        others = (replace(self, beside=()), *(part for part in self.beside if part.response != response))
        return replace(first, beside=others)

    @cached_property
    def all_terms(self) -> tuple[Term, ...]:
        """The terms of all properties; what several share stands in each of them."""
        return tuple(term for part in self.every for term in part.terms)

    def said(self, name: str) -> str:
        """A column or component (or several, joined by " + ") as pictures and reports call it: by its label, else by its name."""
        return " + ".join(self.labels.get(part, part) for part in name.split(" + "))

    @cached_property
    def swept(self) -> frozenset[str]:
        """Hyperparameters that terms draw themselves: too many to be explored, reweighted or drawn anew."""
        return frozenset(name for term in self.all_terms if term.update is not None for name in term.update.names)

    @cached_property
    def params(self) -> tuple[Param, ...]:
        """Every hyperparameter, by property and layer."""
        return _once(param for term in self.all_terms for param in term.params)

    @cached_property
    def coefficients(self) -> tuple[Coefficients, ...]:
        """Every block of coefficients, by property and layer."""
        return _once(block for term in self.all_terms for block in term.coefficients)

    @cached_property
    def derived(self) -> tuple[Derived, ...]:
        """What is reported though it is neither: effects that correlate between properties, and their correlations."""
        return _once(x for term in self.all_terms for x in term.derived)

    @cached_property
    def rows(self) -> tuple[Rows, ...]:
        """All measured rows: the response first, then every characterisation and every other property."""
        others = (rows for part in (self, *self.beside) for rows in (part.response_rows, *(r for t in part.terms for r in t.rows)))
        return _once(others)

    @cached_property
    def g(self) -> np.ndarray:
        """The response on the scale of the link, or as it stands where the density reads it so, shape (rows,)."""
        values = self.table.numeric(self.response)
        return values if self.native else link_values(self.link, values)

    @property
    def near(self) -> np.ndarray:
        """g(y) of each row, or where a reading has none a number near it, shape (rows,)."""
        noise = self.response_rows.noise
        return noise.density.guess(self.response_rows.y)[self.cell] if noise.density is not None and self.native else self.g

    @property
    def native(self) -> bool:
        """Whether readings are in response units whatever the link (`realmat.terms.density.Density`)."""
        return native(self.response_rows.noise)

    @property
    def observation(self) -> Term:
        """The term that carries the noise."""
        return next(term for term in self.terms if term.noise is not None)

    def term(self, component: str) -> Term:
        """A term by its component's name."""
        return next(term for term in self.terms if term.component == component)


def tails(problem: Problem) -> bool:
    """Whether any row or effect is heavy-tailed, or known to lie beyond a limit only: normal given psi are then not all of them."""
    limited = any(
        rows.noise.nu or rows.noise.density is not None or (rows.noise.censored is not None and np.any(rows.noise.censored))
        for rows in problem.rows
    )
    return limited or any(bool(block.nu) for block in problem.coefficients)


def native(noise: Noise) -> bool:
    """Whether readings are in response units whatever the link (`realmat.terms.density.Density`)."""
    return noise.density is not None and noise.density.native


def nonlinear_terms(problem: Problem) -> list[tuple[str, Any]]:
    """Components whose effect is not linear given their parameters, with the function."""
    pairs = [pair for part in problem.every for pair in zip(part.terms, part.contributions, strict=True)]
    return [(term.component, c.nonlinear) for term, c in pairs if c.nonlinear is not None]
