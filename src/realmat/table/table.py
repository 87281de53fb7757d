"""The data contract: a user's table, validated as a whole before anything is computed, and seen through levels and cells."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from realmat.errors import DataError
from realmat.support.links import LINKS
from realmat.table import labels

ROW = "row"
RESPONSE = "\0response"
"""For `Column.like`: the response, whichever column that is."""
_SHOWN = 6


@dataclass(frozen=True)
class Column:
    """What a component needs of one column.

    Attributes
    ----------
    name : str
    role : str
        For messages: "response", "grain size".
    kind : str
        "number", or "label" for anything that names a group.
    missing : bool
        Whether empty cells are allowed.
    lower, upper : float, optional
        Bounds of a number; `open_lower` excludes the lower bound itself.
    unit : str
        The unit the component works in; a declared unit of the same dimension is converted to it. Empty: any.
    censored : bool
        Whether strings such as "<20" and ">300" are read as limits.
    optional : bool
        Whether a table of new rows to predict may lack the column altogether (a characterisation, a stated u).
    of_reading : bool
        Whether it is about the reading itself, such as a flag of censoring: rows to predict may lack it, measured rows may not.
    like : str
        A column whose declared unit this one shares unless it has one of its own: that of a standard uncertainty or a detection limit.
        `RESPONSE` stands for the response, in whose unit a model then works.
    difference : bool
        Whether the numbers are differences, such as a standard uncertainty: 5 degC is then 5 K.
    only : tuple of str
        Columns of responses: cells may be empty in rows that hold none of these. Empty: no cell may.
    given : bool
        Whether a state's population depends on it: where the column is another component's latent state, that one says what it asks.
    """

    name: str
    role: str
    kind: str = "number"
    missing: bool = False
    lower: float | None = None
    upper: float | None = None
    open_lower: bool = False
    unit: str = ""
    censored: bool = False
    like: str = ""
    difference: bool = False
    optional: bool = False
    of_reading: bool = False
    only: tuple[str, ...] = ()
    given: bool = False


@dataclass(frozen=True)
class Level:
    """A grouping of rows: `codes` of shape (rows,) into `values`; -1 where the label is missing."""

    name: str
    column: str | None
    codes: np.ndarray
    values: np.ndarray

    @property
    def size(self) -> int:
        """Number of distinct values."""
        return len(self.values)


def rows_text(index: Iterable[Any]) -> str:
    """Name rows for a message: the first few labels and how many more."""
    labels = [str(label) for label in index]
    more = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
    return ("row " if len(labels) == 1 else "rows ") + ", ".join(labels[:_SHOWN]) + more


class Table:
    """Validated columns of a user's table.

    Parameters
    ----------
    columns : mapping of name to array of shape (rows,)
        Numbers as float64, labels as object.
    levels : mapping of level name to column name
    index : array of shape (rows,)
        The labels the user knows the rows by.
    limits : mapping of column name to int array
        -1 where a value was written "<20", 1 where it was written ">300": the number is a limit, below or above which the value lies.
    count : array of shape (rows,), optional
        How many equal rows each row stands for; 1 by default.
    response, link : str
        The response column (which a table for prediction may lack) and the link: "identity", "log" or "logit".
    notes : tuple of str
        What was read as something else than it was written, in sentences.
    others : mapping of name to array of shape (rows,), optional
        Columns of the user's table that the model does not use: numbers, and labels of few groups. The check of a fit looks at them.
    within : array of shape (rows,), optional
        Of a table that was reduced where it lives: centred sum of squares of the response, on the scale of the link, of the rows that each
        row stands for.
    units : mapping of column name to str, optional
        Units in which the user's table gave columns that are converted to others.

    Attributes
    ----------
    whole : Table
        The table that this one is a part of (`part`): that of every property, where several are measured; itself otherwise.
    place : int array of shape (rows,)
        Where the rows stand in `whole`.
    shown : array of shape (rows,)
        What results call the rows: the index, unless that had to be made unlike another table's.
    single : int array of shape (rows,), optional
        Rows with the same number are one to the level ``"row"``, as several readings of one piece are; every row its own by default.
    """

    def __init__(
        self,
        columns: Mapping[str, np.ndarray],
        levels: Mapping[str, str],
        index: np.ndarray,
        limits: Mapping[str, np.ndarray] | None = None,
        count: np.ndarray | None = None,
        response: str = "",
        link: str = "identity",
        notes: tuple[str, ...] = (),
        others: Mapping[str, np.ndarray] | None = None,
        within: np.ndarray | None = None,
        units: Mapping[str, str] | None = None,
    ) -> None:
        self.others, self.within, self.units = dict(others or {}), within, dict(units or {})
        self.response, self.link, self.notes = response, link, notes
        self.count = np.ones(len(index)) if count is None else count
        self.columns = dict(columns)
        self.levels = dict(levels)
        self.index = self.shown = index
        self.limits = dict(limits or {})
        self.whole, self.place = self, np.arange(len(index))
        self.single: np.ndarray | None = None
        self._levels: dict[str, Level] = {}
        self._common = False

    def __len__(self) -> int:
        return len(self.index)

    def numeric(self, column: str) -> np.ndarray:
        """A number column, shape (rows,), NaN where empty."""
        return self.columns[column]

    def labels(self, column: str) -> np.ndarray:
        """A label column, shape (rows,), None where empty."""
        return self.columns[column]

    def limit(self, column: str) -> np.ndarray:
        """-1 where the column holds a limit written as "<20", 1 where one written as ">300", 0 elsewhere."""
        return self.limits.get(column, np.zeros(len(self), dtype=np.int8))

    def column_of(self, by: str) -> str | None:
        """The column behind a level name (or a column's own name); None for single rows."""
        return None if by == ROW else self.levels.get(by, by)

    def link_values(self, column: str) -> np.ndarray:
        """A column in response units, on the scale of the link."""
        return self.forward(self.numeric(column))

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Values in response units, on the scale of the link; those beyond its range give infinity."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(LINKS[self.link].forward(values))

    @property
    def least(self) -> float:
        """The smallest value in response units that has an image on the scale of the link."""
        return LINKS[self.link].least

    def link_u(self, u: np.ndarray) -> np.ndarray:
        """A standard uncertainty of the response, on the scale of the link (first order: u / y for a log link)."""
        if self.link == "identity":
            return u
        if self.response not in self.columns:
            raise DataError(
                f"a stated u with a {self.link} link needs the response column {self.response!r}, because it is relative to it."
            )
        return u * LINKS[self.link].slope(self.numeric(self.response))

    def level(self, by: str) -> Level:
        """The grouping by a level name, by a column, or by ``"row"`` (every row its own)."""
        if by not in self._levels:
            column = self.column_of(by)
            if self._common:
                of_all = self.whole.level(by)
                self._levels[by] = Level(of_all.name, of_all.column, of_all.codes[self.place], of_all.values)
            elif column is None:
                codes, first = np.arange(len(self)), np.arange(len(self))
                if self.single is not None:
                    _, first, codes = np.unique(self.single, return_index=True, return_inverse=True)
                self._levels[by] = Level(ROW, None, codes, np.asarray(self.index)[first])
            else:
                codes, values = pd.factorize(self.columns[column], sort=False)
                self._levels[by] = Level(by, column, codes, np.asarray(values))
        return self._levels[by]

    def codes_in(self, by: str, values: np.ndarray) -> np.ndarray:
        """Where each row's label stands in `values` (of a fit); -1 for a label never seen there."""
        column = self.column_of(by)
        if column is None:
            return np.full(len(self), -1)
        return labels.find(values, self.columns[column])

    def take(self, rows: np.ndarray, count: np.ndarray | None = None) -> Table:
        """The table of some rows, in that order; `count` says how many rows of this table each stands for."""
        out = Table(
            {name: values[rows] for name, values in self.columns.items()},
            self.levels,
            self.index[rows],
            {name: values[rows] for name, values in self.limits.items()},
            self.count[rows] if count is None else count,
            self.response,
            self.link,
            self.notes,
            {name: values[rows] for name, values in self.others.items()},
            None if self.within is None or count is not None else self.within[rows],
            self.units,
        )
        out.shown = self.shown[rows]
        out.single = None if self.single is None else self.single[rows]
        return out

    def followed_by(self, other: Table) -> Table:
        """These rows and then those of another table, which may lack columns; a row label that is taken gets another."""
        columns = {n: _joined(self.columns.get(n), other.columns.get(n), len(self), len(other)) for n in {**self.columns, **other.columns}}
        limits = {n: np.concatenate([self.limit(n), other.limit(n)]) for n in {**self.limits, **other.limits}}
        index = np.concatenate([self.index, _free_labels(self.index, other.index)])
        count, within = np.concatenate([self.count, other.count]), None
        if self.within is not None or other.within is not None:
            within = np.concatenate([np.zeros(len(t)) if t.within is None else t.within for t in (self, other)])
        units = {**other.units, **self.units}
        return Table(columns, self.levels, index, limits, count, self.response, self.link, within=within, units=units)

    def part(self, rows: np.ndarray, count: np.ndarray | None, response: str, link: str, common: bool = False) -> Table:
        """The rows on which one of several properties was measured; with `common` the levels hold the values of the whole table."""
        out = self.take(rows, count)
        out.response, out.link = response, link
        out.whole, out.place, out._common = self.whole, self.place[rows], common
        return out

    def replaced(self, columns: Mapping[str, np.ndarray]) -> Table:
        """The table with other values in some columns."""
        of_rows = (self.levels, self.index, self.limits, self.count, self.response, self.link, self.notes, self.others)
        return Table({**self.columns, **columns}, *of_rows, within=self.within, units=self.units)

    @property
    def readings(self) -> int:
        """How many rows the user gave: more than there are here, where rows stand for several."""
        return round(float(self.count.sum()))

    def per(self, codes: np.ndarray, size: int) -> np.ndarray:
        """How many of the user's rows there are in groups, shape (size,); a row of code -1 is in none."""
        known = codes >= 0
        return np.bincount(codes[known], weights=self.count[known], minlength=size)

    @property
    def piece(self) -> str:
        """The level of a physical piece: the specimen level, or the single row where none is declared."""
        return "specimen" if "specimen" in self.levels else ROW

    @property
    def rows_matter(self) -> bool:
        """True once somebody asked for the level of single rows: equal rows must then stay apart."""
        return ROW in self._levels

    @cached_property
    def digest(self) -> str:
        """SHA-256 over every column, in hexadecimal: says whether two fits saw the same data."""
        h = hashlib.sha256()
        for values in () if self.within is None else (self.count, self.within):
            h.update(values.tobytes())
        for name in sorted(self.columns):
            values = self.columns[name]
            h.update(name.encode())
            h.update(values.tobytes() if values.dtype != object else "\x1f".join(map(str, values)).encode())
            for side in (-1, 1):
                beyond = self.limit(name) == side
                if beyond.any():
                    h.update(beyond.tobytes())
        return h.hexdigest()


def _joined(first: np.ndarray | None, then: np.ndarray | None, n: int, m: int) -> np.ndarray:
    """A column of n rows before one of m; either may be absent, but not both."""
    have = first if first is not None else then
    assert have is not None
    kind, empty = (float, np.nan) if have.dtype.kind == "f" else (object, None)
    parts = [np.full(size, empty, dtype=kind) if x is None else x for x, size in ((first, n), (then, m))]
    if parts[0].dtype != parts[1].dtype:
        parts = [x.astype(object) for x in parts]
    return np.concatenate(parts)


def _free_labels(taken: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Row labels that are not taken: of numbers the next ones, of text the label with a number behind it."""
    clash = np.isin(wanted, taken) if taken.dtype.kind == wanted.dtype.kind != "O" else np.array([w in set(taken) for w in wanted])
    if not clash.any():
        return wanted
    if taken.dtype.kind in "iu":
        out = wanted.copy()
        out[clash] = max(taken.max(), wanted.max()) + 1 + np.arange(int(clash.sum()))
        return out
    known, labels = set(taken), np.empty(len(wanted), dtype=object)
    for k, label in enumerate(wanted):
        number, labels[k] = 2, label
        while labels[k] in known:
            labels[k], number = f"{label} ({number})", number + 1
        known.add(labels[k])
    return labels


def statistics(table: Table, g: np.ndarray, code: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number, mean and centred sum of squares of a response g of shape (rows,) in groups, all rows counted for which a row stands."""
    from realmat.table import row_kernels

    if code.min(initial=0) < 0 or code.max(initial=-1) >= size:
        raise ValueError(f"groups are numbered from 0 to {size - 1}.")
    numbers = (np.ascontiguousarray(x, dtype=float) for x in (table.count, g))
    count, mean, squares = row_kernels.moments(np.ascontiguousarray(code, dtype=np.int64), *numbers, size)
    return count, mean, squares if table.within is None else squares + np.bincount(code, weights=table.within, minlength=size)


def cells(table: Table, apart: Iterable[str] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Group rows that are alike in every column but those in `apart`, the responses.

    Returns
    -------
    first : int array of shape (cells,)
        One representative row of each cell.
    cell : int array of shape (rows,)
        The cell of each row.
    """
    used = [values for name, values in sorted(table.columns.items()) if name not in set(apart)]
    return alike([*used, *table.limits.values()], len(table))


def alike(columns: Iterable[np.ndarray], rows: int) -> tuple[np.ndarray, np.ndarray]:
    """`cells` of rows that are alike in every bit of some arrays of shape (rows,), told from each other by 64 bits of all of them."""
    from realmat.table import row_kernels

    key = np.zeros(rows, dtype=np.uint64)
    for values in columns:
        row_kernels.mix(key, _bits(values))
    return row_kernels.alike(key)


def _bits(values: np.ndarray) -> np.ndarray:
    """Values that are told apart as whole numbers of 64 bits."""
    if values.dtype.kind in "fiu" and values.dtype.itemsize == 8:
        return np.ascontiguousarray(values).view(np.uint64)
    return (pd.factorize(values)[0] if values.dtype == object else values).astype(np.int64).view(np.uint64)
