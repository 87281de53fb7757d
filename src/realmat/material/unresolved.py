"""What nobody characterised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from realmat.errors import DataError, ModelError
from realmat.table.table import ROW, Column, Table, rows_text
from realmat.terms.component import Component, PriorLike, Scale, hyper, indicator
from realmat.terms.population import group_of
from realmat.terms.priors import Prior, variable
from realmat.terms.readings import rows_in
from realmat.terms.term import Coefficients, Contribution, Fresh, Function, Param, Piece, Term


@dataclass(frozen=True)
class Unresolved(Component):
    """``U_m ~ N(0, scale^2)``: the part of the real material that no column explains, one draw for each value of a level.

    Parameters
    ----------
    by : str
        A level (``"material"``, ``"specimen"``), a column, or ``"row"``; several columns are one grouping together, as in
        ``by=["day", "run"]`` where runs are counted anew every day.
    scale : Prior or float, optional
        Standard deviation of the effects; default a half normal of the size of what theory leaves.
    nu : Prior, float or bool, optional
        Degrees of freedom of a Student t instead of a normal (``True``: inferred, Gamma(2, 0.1) above 2).
    scale_by : str, optional
        A column (constant within `by`) whose groups have a scale each.
    name : str, optional

    Notes
    -----
    A random effect: Gelman & Hill, Data Analysis Using Regression and Multilevel/Hierarchical Models, 2007, chapter 12; the scale's
    prior after Gelman, Bayesian Analysis 1, 515 (2006); the degrees of freedom's after Juarez & Steel, J. Appl. Econom. 25, 128 (2010).

    Examples
    --------
    >>> Unresolved(by="specimen").label
    'unresolved_specimen'
    """

    layer: ClassVar[str] = "material"
    about: ClassVar[tuple[str, ...]] = ("by",)
    by: str
    scale: PriorLike = None
    nu: PriorLike | bool = None
    scale_by: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.by, str):
            raise ModelError(f"Unresolved: by= takes a level, a column or a list of columns, not {self.by!r}.")
        self.prior("scale", 0.0)

    def needs(self) -> list[Column]:
        """The grouping column and, if given, the one that groups the scales."""
        own = [] if self.by == "row" else [Column(self.by, "grouping", kind="label")]
        return own + ([Column(self.scale_by, "grouping of scales", kind="label")] if self.scale_by else [])

    @property
    def picture(self) -> str:
        """A point for each group."""
        return "level"

    def default_priors(self) -> dict[str, str]:
        """Defaults in words."""
        return {"scale": "HalfNormal(sd of what theory leaves)"}

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term with coefficients `<name>` (one per value of the level) and `<name>_scale`."""
        level = table.level(self.by)
        name = self.label
        prior = self.prior("scale", Prior("HalfNormal", sigma=scale.response))
        nu_params, nu = tail(name, self.nu)
        scale_params, sd_of, groups = self._scales(table, name, prior)
        if groups is None:
            sd: Function = sd_of
        else:
            of_level = group_of(table, self.by, str(self.scale_by))
            sd = lambda p, xp: sd_of(p, xp)[of_level]  # noqa: E731
        block = Coefficients(name, level.size, sd, dim=level.name, coords=level.values, nu=nu, level=self.by)

        def contribute(other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
            codes = rows_in(other, table) if self.by == ROW else other.codes_in(self.by, level.values)
            codes = np.full(len(other), -1) if self.by in fresh_levels else codes
            pieces = (Piece(name, indicator(codes, level.size)),)
            if (codes >= 0).all():
                return Contribution(pieces)
            new = np.where(codes < 0, other.level(self.by).codes, -1)
            if groups is None:
                return Contribution(pieces, fresh=(Fresh(new, sd_of, nu),))
            row_group = other.codes_in(str(self.scale_by), groups)
            unseen = (new >= 0) & (row_group < 0)
            if unseen.any():
                where = rows_text(other.index[unseen])
                raise DataError(f"{name}: no scale was inferred for {where}, a group of {self.scale_by!r} the fit has not seen.")
            return Contribution(pieces, fresh=(Fresh(new, lambda p, xp: sd_of(p, xp)[row_group], nu),))

        return Term(name, "material", (*scale_params, *nu_params), (block,), contribute)

    def _scales(self, table: Table, name: str, prior: Prior | float) -> tuple[tuple[Param, ...], Function, np.ndarray | None]:
        if self.scale_by is None:
            params, sd = hyper(f"{name}_scale", prior)
            return params, sd, None
        groups = table.level(self.scale_by)
        params, sd = hyper(f"{name}_scale", prior, dim=groups.name, coords=groups.values)
        return params, sd, groups.values


def tail(name: str, nu: PriorLike | bool) -> tuple[tuple[Param, ...], str | float | None]:
    """The Params and degrees of freedom (the Param's name, or a number) of a Student t; nothing where `nu` is not given.

    They stay above 2, so that the variance, and with it the uncertainty budget, exists.
    """
    if nu is None or nu is False:
        return (), None
    default = Prior("Gamma", alpha=2.0, beta=0.1, lower=2.0)
    prior = default if nu is True else nu
    if isinstance(prior, (int, float)):
        if prior <= 2:
            raise ModelError(f"{name}: nu={prior:g} must be above 2, or the variance does not exist.")
        return (), float(prior)
    nu_name = variable(f"{name}_nu", prior)
    return (Param(nu_name, prior),), nu_name
