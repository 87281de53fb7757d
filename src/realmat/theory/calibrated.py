"""Theory up to a straight line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from realmat.component import Component, PriorLike, Scale, join, linear
from realmat.data import Column, Table
from realmat.priors import Prior
from realmat.state import IDENTITY, LatentState, constant_within, fixed_u
from realmat.terms import Contribution, Term


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
        fixed_u(self.u, self.label)
        for argument in ("intercept", "slope"):
            self.prior(argument, 0.0)

    def columns(self) -> list[Column]:
        """The theory column, and its u."""
        own = [Column(self.column, "theory")]
        return own + ([Column(self.u, "u of the theory", missing=True, lower=0.0)] if isinstance(self.u, str) else [])

    def default_priors(self) -> dict[str, str]:
        """Defaults in words."""
        return {"intercept": "Normal(0, 2.5 x size of the response)", "slope": "Normal(1, 2.5 sd(response) / sd(theory))"}

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term with coefficients `intercept` and `slope`; with u the slope is a hyperparameter."""
        x = table.link_values(self.column)
        sd_x = float(np.std(x)) or 1.0
        size = float(np.hypot(np.hypot(scale.spread, scale.level), scale.spread / sd_x * abs(np.mean(x))))
        slope_prior = self.prior("slope", Prior("Normal", mu=1.0, sigma=2.5 * scale.spread / sd_x))
        intercept = linear(f"{self.label}_intercept", self.prior("intercept", Prior("Normal", mu=0.0, sigma=2.5 * size)))
        if self.u is not None:
            return self._latent(table, intercept, slope_prior)
        slope = linear(f"{self.label}_slope", slope_prior)

        def contribute(other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
            a, a0 = intercept.on(np.ones(len(other)))
            b, b0 = slope.on(other.link_values(self.column))
            return Contribution((*a, *b), join(a0, b0))

        params, blocks = (*intercept.params, *slope.params), (*intercept.coefficients, *slope.coefficients)
        return Term(self.label, "theory", params, blocks, contribute)

    def _latent(self, table: Table, intercept, slope_prior) -> Term:  # type: ignore[no-untyped-def]
        columns = [self.column] + ([self.u] if isinstance(self.u, str) else [])
        levels = [level for level in ("material", "specimen") if level in table.levels]
        level = next((level for level in levels if constant_within(table, level, *columns)), table.piece)
        state = LatentState(f"{self.label}_{self.column}", "theory", self.column, self.u, None, None, IDENTITY, level, "", once=True)
        term = state.bind(
            table,
            f"{self.label}_slope",
            slope_prior,
            extra=lambda other: intercept.on(np.ones(len(other))),
            extra_params=intercept.params,
            extra_coefficients=intercept.coefficients,
        )
        return Term(self.label, "theory", term.params, term.coefficients, term.contribute, term.rows, notes=term.notes)
