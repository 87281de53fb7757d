"""Errors of stated size that several rows share: a calibration, a reference material, a standard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from realmat.errors import DataError, ModelError
from realmat.table.table import Column, Table, rows_text
from realmat.terms.component import Component, indicator
from realmat.terms.term import Coefficients, Fresh, Function, Param, Piece


@dataclass(frozen=True)
class Common(Component):
    """``e_b ~ N(0, u_b^2)``: one error for each value of a column, the same on all of its rows. It does not average away.

    Parameters
    ----------
    by : str
        Level or column whose rows share the error, such as the calibration.
    u : str or float
        Its standard uncertainty, a column (one value for each value of `by`) or a number, in response units.
    relative : bool
        Whether u is relative to the response (0.01 is 1 %); with an identity link the error is then u times the reading.
    name : str, optional

    Notes
    -----
    Correlated input quantities: JCGM 100:2008, F.1.2. Variables: `common_<by>` (dim: the column), in response units (relative with a log
    link, or where `relative`).

    Examples
    --------
    >>> Common(by="calibration", u="u_cal").label
    'common_calibration'
    """

    layer: ClassVar[str] = "observation"
    about: ClassVar[tuple[str, ...]] = ("by",)
    by: str
    u: str | float
    relative: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.u, str) and not (isinstance(self.u, (int, float)) and np.isfinite(self.u) and self.u > 0):
            raise ModelError(f"Common(by={self.by!r}): u={self.u!r} must be a column or a positive standard uncertainty.")

    def needs(self) -> list[Column]:
        """What shares the error, and its u."""
        own = [Column(self.by, "what shares an error", kind="label")]
        return own + ([Column(self.u, "u of a shared error", lower=0.0, open_lower=True)] if isinstance(self.u, str) else [])

    def stated(self, table: Table) -> np.ndarray:
        """u by row, in response units or relative."""
        return table.numeric(self.u) if isinstance(self.u, str) else np.full(len(table), float(self.u))

    def weight(self, table: Table) -> np.ndarray:
        """What the error is multiplied by on each row, on the scale of the link."""
        if self.relative and table.link == "log":
            return np.ones(len(table))
        size = np.ones(len(table))
        if self.relative:
            if table.response not in table.columns:
                raise DataError(f"{self.label}: a relative u needs the response column {table.response!r}.")
            size = np.abs(table.numeric(table.response))
        return size if table.link == "identity" else table.link_u(size)

    def shared(self, table: Table) -> Batches:
        """The errors of the values of `by` on a table."""
        return Batches(self, table)


class Batches:
    """Errors of batches, bound to the table of a fit."""

    params: tuple[Param, ...] = ()

    def __init__(self, spec: Common, table: Table) -> None:
        self.spec, self.name, self.level = spec, spec.label, table.level(spec.by)
        self.sd: Function = lambda p, xp: float(np.sqrt(np.mean(np.square(np.asarray(self.block.sd)))))
        u, first = spec.stated(table), np.unique(self.level.codes, return_index=True)[1]
        clash = u != u[first][self.level.codes]
        if clash.any():
            where = rows_text(table.index[clash])
            raise DataError(f"column {spec.u!r}: the same {spec.by} has different u of its shared error in {where}.")
        self.block = Coefficients(self.name, self.level.size, u[first], dim=self.level.name, coords=self.level.values, level=spec.by)

    def on(self, table: Table, fresh_levels: tuple[str, ...]) -> tuple[Piece, tuple[Fresh, ...]]:
        """Errors on the rows of a table, and those of batches that are new."""
        known = self.spec.by not in fresh_levels
        codes = table.codes_in(self.spec.by, self.level.values) if known else np.full(len(table), -1)
        weight = self.spec.weight(table)
        piece = Piece(self.name, indicator(codes, self.level.size, weight))
        new = np.where(codes < 0, table.level(self.spec.by).codes, -1)
        own = self.spec.stated(table) * weight
        return piece, (Fresh(new, lambda p, xp: own, part=self.sd),) if (new >= 0).any() else ()
