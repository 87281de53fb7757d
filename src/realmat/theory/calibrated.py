"""Theory up to a straight line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from realmat.errors import DataError
from realmat.table.table import ROW, Column, Table, rows_text
from realmat.terms.component import Component, Parameter, PriorLike, Scale, counted_from, hyper, join, linear, typical
from realmat.terms.effect import added, state_term
from realmat.terms.priors import Prior
from realmat.terms.readings import IDENTITY, LOG, check_numbers, constant_within
from realmat.terms.state import LatentState
from realmat.terms.term import Contribution, Function, Param, Term, stored_name

_UNLIKE = 1e-3  # spread of the response, in that of a theory whose slope is around 1, below which their units must differ


@dataclass(frozen=True)
class Calibrated(Component):
    """``T(x) = intercept + slope * theory``: a computed value, trusted up to a straight line.

    Parameters
    ----------
    column : str
        The theoretical value for each row, in the response's unit. With a log link its logarithm is taken.
    u : str or float, optional
        Standard uncertainty of the computed value (its numerical error); the true theory value is then latent (errors in variables):
        one for each material, or else specimen, within which the computed value is always the same, or else for each row.
    intercept, slope : Prior or float, optional
        Defaults: a slope around 1, and an intercept with which the line passes through the middle of the data, ``intercept | slope ~
        N(mean(response) - slope * mean(theory), (2.5 sd(response))^2)``: weak normals scaled by the data, which do not depend on where
        a unit has its zero. A number fixes the parameter.
        Where the slope is no Normal, or u is given, `<name>_centre` takes the place of a default intercept: the line at the mean of the
        column.
    name : str, optional
        Component name; ``calibrated`` by default.

    Notes
    -----
    Kennedy & O'Hagan, J. R. Stat. Soc. B 63, 425 (2001), eq. 4 with a linear rho and the discrepancy left to the material layer.

    Examples
    --------
    >>> Calibrated("pbe", intercept=0.0, slope=1.0).label
    'calibrated'
    """

    layer: ClassVar[str] = "theory"
    column: str
    u: str | float | None = None
    intercept: PriorLike = None
    slope: PriorLike = None
    name: str | None = None

    def __post_init__(self) -> None:
        check_numbers(self.label, self.u)
        for argument in ("intercept", "slope"):
            self.prior(argument, 0.0)

    def needs(self) -> list[Column]:
        """The theory column, and its u."""
        own = [Column(self.column, "theory")]
        return own + ([Column(self.u, "u of the theory", missing=True, lower=0.0, like=self.column)] if isinstance(self.u, str) else [])

    def default_priors(self) -> dict[str, str]:
        """Defaults in words."""
        return {
            "intercept": "Normal(mean(response) - slope mean(theory), 2.5 sd(response))",
            "slope": "Normal(1, 2.5 sd(response) / sd(theory))",
        }

    def stands_for(self, table: Table) -> float | None:
        """The line that the given priors have in their middle, at the mean of the column."""
        if self.intercept is None:
            return None
        centre = float(np.average(self._values(table), weights=table.count))
        return typical(self.prior("intercept", 0.0)) + typical(self.prior("slope", 1.0)) * centre

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term with coefficients `intercept` and `slope`; with u the slope is a hyperparameter.

        Raises
        ------
        realmat.DataError
            If the column varies over a thousand times as much as the response, and no prior of the slope is given.
        """
        x = self._values(table)
        centre = float(np.average(x, weights=table.count))
        sd_x = float(np.std(x - centre)) if np.ptp(x) > 0 else abs(centre) or 1.0
        if self.slope is None and scale.spread < _UNLIKE * np.std(x):
            raise DataError(
                f"{self.label}: column {self.column!r} varies {np.std(x) / scale.spread:.1e} times as much as the response, but its slope "
                "is taken to be around 1. Are both in one unit? Convert one of them, say units= in the model, or give a prior for slope=."
            )
        slope_prior = self.prior("slope", Prior("Normal", mu=1.0, sigma=2.5 * scale.spread / sd_x))
        name, slope_name = f"{self.label}_intercept", f"{self.label}_slope"
        given = None if self.intercept is None else linear(name, self.prior("intercept", 0.0))
        slope = linear(slope_name, slope_prior)
        if given is None and (self.u is not None or slope.params):  # intercept and slope would cancel in every evaluation
            about, width = scale.intercept(self.label)
            intercept, start = linear(f"{self.label}_centre", Prior("Normal", mu=about, sigma=width)), centre
        else:
            intercept, start = given or counted_from(name, scale.intercept(self.label), centre, slope, slope_name), 0.0
        if self.u is not None:
            return self._latent(table, intercept, start, *hyper(slope_name, slope_prior))

        def contribute(other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
            a, a0 = intercept.on(np.ones(len(other)))
            b, b0 = slope.on(self._values(other) - start)
            return Contribution((*a, *b), join(a0, b0))

        params, blocks = (*intercept.params, *slope.params), (*intercept.coefficients, *slope.coefficients)
        return Term(self.label, "theory", params, blocks, contribute)

    def _values(self, table: Table) -> np.ndarray:
        """The column on the scale of the link.

        Raises
        ------
        realmat.DataError
            If it has no logarithm where the link takes it.
        """
        low = table.numeric(self.column) <= 0
        if table.link == "log" and low.any():
            raise DataError(
                f"column {self.column!r}: theory not above 0 in {rows_text(table.index[low])}; the log link needs its logarithm."
            )
        return table.link_values(self.column)

    def _latent(self, table: Table, intercept: Parameter, centre: float, slope_params: tuple[Param, ...], slope: Function) -> Term:
        """With a slope that is a hyperparameter; `intercept` is the line's value at `centre`."""
        columns = [self.column] + ([self.u] if isinstance(self.u, str) else [])
        levels = [level for level in ("material", "specimen") if level in table.levels]
        level = next((level for level in levels if constant_within(table, level, *columns)), ROW)
        transform = LOG if table.link == "log" else IDENTITY
        spec = LatentState(stored_name(f"{self.label}_{self.column}"), self.column, self.u, transform=transform, level=level, once=True)
        state = spec.bind(table)

        def contribute(other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
            pieces, offset = intercept.on(np.ones(len(other)))
            back = (lambda p, xp: -centre * slope(p, xp) * np.ones(len(other))) if centre else None
            return added(Contribution(pieces, join(offset, back)), state.on(other, fresh_levels, slope))

        term = state_term(self, state, (*intercept.params, *slope_params), contribute)
        return dataclasses.replace(term, coefficients=(*intercept.coefficients, *term.coefficients))
