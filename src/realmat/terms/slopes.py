"""Slopes that differ from piece to piece: ``slope_l ~ N(slope_mean, slope_scale^2)`` for each value l of a level.

The varying-slope model (Laird & Ware, Biometrics 38, 963, 1982; Gelman & Hill, Data Analysis Using Regression and
Multilevel/Hierarchical Models, 2007, chapter 13), with slopes independent of intercepts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from realmat.errors import ModelError
from realmat.table.table import ROW, Column, Level, Table
from realmat.terms.component import Component, Parameter, hyper, indicator, linear
from realmat.terms.priors import Prior
from realmat.terms.term import Coefficients, Contribution, Fresh, Function, Param, Piece, evaluate


def slope_columns(slope_by: str | None) -> list[Column]:
    """What `slope_by` asks of a table."""
    return [] if slope_by is None else [Column(slope_by, "grouping of slopes", kind="label")]


def check_slopes(component: Component) -> None:
    """Check the arguments slope, slope_by and slope_scale of a component.

    Raises
    ------
    realmat.ModelError
        If one of them is not what it should be, or a scale is given without groups.
    """
    by, scale = getattr(component, "slope_by", None), getattr(component, "slope_scale", None)
    component.prior("slope", 0.0)
    component.prior("slope_scale", 0.0)
    if by is not None and (not isinstance(by, str) or by == ROW):
        raise ModelError(f"{component.label}: slope_by= takes the name of a level or a column, not {by!r}.")
    if by is None and scale is not None:
        raise ModelError(f"{component.label}: slope_scale= is the spread of the slopes, so it needs slope_by=.")
    if isinstance(scale, Prior) and scale.support[0] < 0:
        raise ModelError(f"{component.label}: slope_scale={scale!r} must be positive.")


@dataclass(frozen=True)
class Slopes:
    """A slope for each value of a level, before it is known whether the slopes are coefficients or hyperparameters.

    Attributes
    ----------
    name : str
        ``<component>_slope``; beside it stand `<name>_mean` and `<name>_scale`.
    by : str
        The level or column.
    level : Level
        Its values on the table of the fit.
    mean_prior, scale_prior : Prior or float
    """

    name: str
    by: str
    level: Level
    mean_prior: Prior | float
    scale_prior: Prior | float

    @classmethod
    def of(cls, component: Component, table: Table, mean: Prior | float, size: float) -> Slopes | None:
        """The slopes of a component with `slope_by`; None without. `size` is a typical slope, for the default prior of their spread."""
        by: str | None = getattr(component, "slope_by", None)
        if by is None:
            return None
        spread = component.prior("slope_scale", Prior("HalfNormal", sigma=size))
        return cls(f"{component.label}_slope", by, table.level(by), mean, spread)

    def place(self, table: Table, fresh_levels: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Slope of each row (-1: one that the fit has not seen), and the number of a new draw for those (-1 for the others)."""
        codes = np.full(len(table), -1) if self.by in fresh_levels else table.codes_in(self.by, self.level.values)
        return codes, np.where(codes < 0, table.level(self.by).codes, -1)

    def linear(self) -> LinearSlopes:
        """Slopes of a column known exactly: coefficients."""
        mean = linear(f"{self.name}_mean", self.mean_prior)
        scale_params, sd = hyper(f"{self.name}_scale", self.scale_prior)
        own: Function | float = 0.0
        parents: tuple[tuple[str, sparse.csr_matrix], ...] = ()
        if mean.coefficients:
            parents = ((mean.coefficients[0].name, sparse.csr_matrix(np.ones((self.level.size, 1)))),)
        else:
            own = self.mean_prior if isinstance(self.mean_prior, float) else (lambda p, xp: p[mean.params[0].name])
        level = self.level
        block = Coefficients(self.name, level.size, sd, own, level.name, level.values, parents, level=self.by)
        return LinearSlopes(self, (*mean.params, *scale_params), (*mean.coefficients, block), mean, sd)

    def hyper(self) -> PsiSlopes:
        """Slopes of a latent state, whose product with them is not linear: hyperparameters."""
        mean_params, mean = hyper(f"{self.name}_mean", self.mean_prior)
        scale_params, sd = hyper(f"{self.name}_scale", self.scale_prior)
        mu = mean_params[0].name if mean_params else self.mean_prior
        sigma = scale_params[0].name if scale_params else self.scale_prior
        prior = Prior("Normal", mu=mu, sigma=sigma)  # type: ignore[arg-type]
        own = Param(self.name, prior, self.level.name, self.level.values)
        return PsiSlopes(self, (*mean_params, *scale_params, own), mean, sd)


@dataclass(frozen=True)
class LinearSlopes:
    """Slopes as coefficients: ``sum_l slope_l x [l]``, with the mean slope where a value is new and a fresh departure from it."""

    slopes: Slopes
    params: tuple[Param, ...]
    coefficients: tuple[Coefficients, ...]
    mean: Parameter
    sd: Function

    def on(self, table: Table, fresh_levels: tuple[str, ...], x: np.ndarray) -> Contribution:
        """Contribution on the rows of a table, whose column has the values `x` of shape (rows,)."""
        codes, new = self.slopes.place(table, fresh_levels)
        piece = Piece(self.slopes.name, indicator(codes, self.slopes.level.size, x))
        if (codes >= 0).all():
            return Contribution((piece,))
        pieces, offset = self.mean.on(np.where(codes < 0, x, 0.0))
        sd = self.sd
        return Contribution((piece, *pieces), offset, (Fresh(new, lambda p, xp: sd(p, xp) * x),))


@dataclass(frozen=True)
class PsiSlopes:
    """Slopes as hyperparameters, for effects of latent states."""

    slopes: Slopes
    params: tuple[Param, ...]
    mean: Function
    sd: Function

    @property
    def note(self) -> str:
        """What the user should know of how these slopes are inferred."""
        s = self.slopes
        return (
            f"{s.name}: {s.level.size} slopes by {s.by} multiply latent states, so they are explored as hyperparameters; "
            "where that fails importance sampling, the facts of the fit say which chains took over."
        )

    def by_row(self, table: Table, fresh_levels: tuple[str, ...]) -> Function:
        """Slope of each row, shape (rows,); the mean slope where the value is new."""
        codes, _ = self.slopes.place(table, fresh_levels)
        name = self.slopes.name

        def slope(p: Any, xp: Any) -> Any:
            return xp.where(codes >= 0, p[name][np.maximum(codes, 0)], self.mean(p, xp))

        return slope

    def spread(
        self, contribution: Contribution, rows: Function, table: Table, fresh: tuple[str, ...], size: Function | np.ndarray
    ) -> Contribution:
        """A contribution made with the slopes `rows`, with a scalar slope in every piece, and new slopes drawn afresh.

        `size`, shape (rows,) or a function of psi that gives it, is the state that a new slope multiplies, as far as it is known before
        the fit.
        """
        codes, new = self.slopes.place(table, fresh)
        pieces: list[Piece] = []
        for piece in contribution.pieces:
            pieces += self._split(piece, codes) if piece.scale is rows else [piece]
        drawn = contribution.fresh
        if (new >= 0).any():
            drawn = (*drawn, Fresh(new, lambda p, xp: self.sd(p, xp) * evaluate(size, p, xp)))
        return Contribution(tuple(pieces), contribution.offset, drawn, contribution.nonlinear, contribution.raw)

    def _split(self, piece: Piece, codes: np.ndarray) -> list[Piece]:
        """One piece for each slope, since engines take one number as the scale of a piece."""
        out = []
        for code in np.unique(codes):
            matrix = sparse.diags((codes == code).astype(float)) @ piece.matrix
            if matrix.count_nonzero():
                out.append(Piece(piece.coefficients, sparse.csr_matrix(matrix), self._of(int(code))))
        return out

    def _of(self, code: int) -> Function:
        name = self.slopes.name
        return self.mean if code < 0 else lambda p, xp: p[name][code]
