"""Theory up to a straight line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from realmat.errors import DataError
from realmat.table.table import Column, Table, rows_text
from realmat.terms.component import Component, Parameter, PriorLike, Scale, hyper, join, linear
from realmat.terms.effect import added, state_term
from realmat.terms.priors import Prior
from realmat.terms.readings import IDENTITY, LOG, check_numbers, constant_within
from realmat.terms.state import LatentState
from realmat.terms.term import Contribution, Term, stored_name


@dataclass(frozen=True)
class Calibrated(Component):
    """``T(x) = intercept + slope * theory``: a computed value, trusted up to a straight line.

    Parameters
    ----------
    column : str
        The theoretical value for each row, in the response's unit. With a log link its logarithm is taken.
    u : str or float, optional
        Standard uncertainty of the computed value (its numerical error); the true theory value is then latent (errors in variables).
    intercept, slope : Prior or float, optional
        Defaults: weak normals around 0 and 1, scaled by the data. A number fixes the parameter.
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
        return {"intercept": "Normal(0, 2.5 x size of the response)", "slope": "Normal(1, 2.5 sd(response) / sd(theory))"}

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term with coefficients `intercept` and `slope`; with u the slope is a hyperparameter."""
        x = self._values(table)
        sd_x = float(np.std(x)) or 1.0
        size = float(np.sqrt(scale.spread**2 + scale.level**2 + scale.shift**2 + (scale.spread / sd_x * np.mean(x)) ** 2))
        slope_prior = self.prior("slope", Prior("Normal", mu=1.0, sigma=2.5 * scale.spread / sd_x))
        intercept = linear(f"{self.label}_intercept", self.prior("intercept", Prior("Normal", mu=0.0, sigma=2.5 * size)))
        if self.u is not None:
            return self._latent(table, intercept, slope_prior)
        slope = linear(f"{self.label}_slope", slope_prior)

        def contribute(other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
            a, a0 = intercept.on(np.ones(len(other)))
            b, b0 = slope.on(self._values(other))
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

    def _latent(self, table: Table, intercept: Parameter, slope_prior: Prior | float) -> Term:
        columns = [self.column] + ([self.u] if isinstance(self.u, str) else [])
        levels = [level for level in ("material", "specimen") if level in table.levels]
        level = next((level for level in levels if constant_within(table, level, *columns)), table.piece)
        transform = LOG if table.link == "log" else IDENTITY
        spec = LatentState(stored_name(f"{self.label}_{self.column}"), self.column, self.u, transform=transform, level=level, once=True)
        state = spec.bind(table)
        slope_params, slope = hyper(f"{self.label}_slope", slope_prior)

        def contribute(other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
            return added(Contribution(*intercept.on(np.ones(len(other)))), state.on(other, fresh_levels, slope))

        term = state_term(self, state, (*intercept.params, *slope_params), contribute)
        return dataclasses.replace(term, coefficients=(*intercept.coefficients, *term.coefficients))
