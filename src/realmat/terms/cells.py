"""Rows alike in all but the responses, seen as one: what a model needs of replicates is their number, mean and scatter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from realmat.table.table import Table, alike
from realmat.table.table import cells as alike_but


@dataclass(frozen=True)
class Cells:
    """Groups of rows: a table of one row each, the first row of each, and the cell of each row."""

    table: Table
    first: np.ndarray
    cell: np.ndarray

    @classmethod
    def of(cls, table: Table, responses: Sequence[str]) -> Cells:
        """Rows alike in every column but the responses."""
        return cls._made(table, *alike_but(table, responses))

    @classmethod
    def single(cls, table: Table) -> Cells:
        """Every row its own."""
        each = np.arange(len(table))
        return cls._made(table, each, each)

    @classmethod
    def _made(cls, table: Table, first: np.ndarray, cell: np.ndarray) -> Cells:
        return cls(table.take(first, np.bincount(cell, weights=table.count, minlength=len(first))), first, cell)

    def told_apart(self, table: Table, also: Sequence[np.ndarray]) -> Cells:
        """Those of a table whose rows are alike in some arrays of shape (rows,), too."""
        if all(self._shared(values) for values in also):
            return self
        return self._made(table, *alike([self.cell, *also], len(table)))

    def _shared(self, values: np.ndarray) -> bool:
        """Whether the rows of each cell have the same of some values."""
        if len(values) and values.min() == values.max():
            return True
        return np.array_equal(values, values[self.first][self.cell], equal_nan=True)

    def of_property(self, own: Table, rows: np.ndarray, common: bool) -> Cells:
        """The cells in which a property was measured, in `rows` of the whole table, which are the first ones of `own`."""
        whole = own.whole is own
        if whole and len(rows) == len(self.cell):
            return self
        mine, first, cell = _present(self.cell[rows], len(self.table))
        if whole and len(mine) == len(self.table):
            return Cells(self.table, first, cell)
        part = self.table.part(mine, np.bincount(cell, own.count[: len(rows)]), own.response, own.link, common)
        return Cells(part, first, cell)


def _present(codes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``np.unique(codes, return_index=True, return_inverse=True)`` of numbers below `size`, without sorting them."""
    first = np.full(size, -1)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    there = first >= 0
    return np.flatnonzero(there), first[there], (np.cumsum(there) - 1)[codes]
