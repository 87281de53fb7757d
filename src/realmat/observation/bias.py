"""Biases of laboratories, instruments and methods."""

from __future__ import annotations

import numpy as np

from realmat.table.table import Table
from realmat.terms.component import hyper, indicator
from realmat.terms.priors import Prior
from realmat.terms.term import Coefficients, Fresh, Piece


class Offsets:
    """Bias of each lab (or instrument, method ...): exchangeable around zero."""

    def __init__(self, by: str, name: str, scale: Prior | float, table: Table) -> None:
        self.level, self.by, self.name = table.level(by), by, name
        self.params, self.sd = hyper(f"{name}_scale", scale)
        self.block = Coefficients(name, self.level.size, self.sd, dim=self.level.name, coords=self.level.values, level=by)

    def on(self, table: Table, fresh_levels: tuple[str, ...]) -> tuple[Piece, tuple[Fresh, ...]]:
        """Biases on the rows of a table, and those of labs that are new."""
        known = self.by not in fresh_levels
        codes = table.codes_in(self.by, self.level.values) if known else np.full(len(table), -1)
        piece = Piece(self.name, indicator(codes, self.level.size))
        new = np.where(codes < 0, table.level(self.by).codes, -1)
        return piece, (Fresh(new, self.sd),) if (new >= 0).any() else ()


def listed(by: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """No, one or several names as a tuple."""
    return () if by is None else (by,) if isinstance(by, str) else by
