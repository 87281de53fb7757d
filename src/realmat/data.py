"""The data contract: a user's table, validated as a whole before anything is computed, and seen through levels and cells."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from realmat.errors import DataError

ROW = "row"
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
        Whether strings such as "<20" are read as "below 20".
    optional : bool
        Whether a table of new rows to predict may lack the column altogether (a characterisation, a stated u).
    like : str
        A column whose declared unit this one shares unless it has one of its own: that of a standard uncertainty or a detection limit.
    difference : bool
        Whether the numbers are differences, such as a standard uncertainty: 5 degC is then 5 K.
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
    limits : mapping of column name to bool array
        True where a value was written "<20": the number is a detection limit.
    count : array of shape (rows,), optional
        How many equal rows each row stands for; 1 by default.
    response, link : str
        The response column (which a table for prediction may lack) and the link: "identity" or "log".
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
    ) -> None:
        self.response, self.link = response, link
        self.count = np.ones(len(index)) if count is None else count
        self.columns = dict(columns)
        self.levels = dict(levels)
        self.index = index
        self.limits = dict(limits or {})
        self._levels: dict[str, Level] = {}

    def __len__(self) -> int:
        return len(self.index)

    def numeric(self, column: str) -> np.ndarray:
        """A number column, shape (rows,), NaN where empty."""
        return self.columns[column]

    def labels(self, column: str) -> np.ndarray:
        """A label column, shape (rows,), None where empty."""
        return self.columns[column]

    def limit(self, column: str) -> np.ndarray:
        """True where the column holds a detection limit written as "<20"."""
        return self.limits.get(column, np.zeros(len(self), dtype=bool))

    def column_of(self, by: str) -> str | None:
        """The column behind a level name (or a column's own name); None for single rows."""
        return None if by == ROW else self.levels.get(by, by)

    def link_values(self, column: str) -> np.ndarray:
        """A column in response units, on the scale of the link."""
        return np.log(self.numeric(column)) if self.link == "log" else self.numeric(column)

    def link_u(self, u: np.ndarray) -> np.ndarray:
        """A standard uncertainty of the response, on the scale of the link (first order: u / y for a log link)."""
        if self.link == "identity":
            return u
        if self.response not in self.columns:
            raise DataError(f"a stated u with a log link needs the response column {self.response!r}, because it is relative to it.")
        return u / self.numeric(self.response)

    def level(self, by: str) -> Level:
        """The grouping by a level name, by a column, or by ``"row"`` (every row its own)."""
        if by not in self._levels:
            column = self.column_of(by)
            if column is None:
                self._levels[by] = Level(ROW, None, np.arange(len(self)), np.asarray(self.index))
            else:
                codes, values = pd.factorize(self.columns[column], sort=False)
                self._levels[by] = Level(by, column, codes, np.asarray(values))
        return self._levels[by]

    def codes_in(self, by: str, values: np.ndarray) -> np.ndarray:
        """Where each row's label stands in `values` (of a fit); -1 for a label never seen there."""
        column = self.column_of(by)
        if column is None:
            return np.full(len(self), -1)
        return pd.Index(values).get_indexer(pd.Index(self.columns[column]))

    def take(self, rows: np.ndarray, count: np.ndarray | None = None) -> Table:
        """The table of some rows, in that order; `count` says how many rows of this table each stands for."""
        return Table(
            {name: values[rows] for name, values in self.columns.items()},
            self.levels,
            self.index[rows],
            {name: values[rows] for name, values in self.limits.items()},
            count,
            self.response,
            self.link,
        )

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
        for name in sorted(self.columns):
            values = self.columns[name]
            h.update(name.encode())
            h.update(values.tobytes() if values.dtype != object else "\x1f".join(map(str, values)).encode())
            if name in self.limits:
                h.update(self.limits[name].tobytes())
        return h.hexdigest()


def cells(table: Table, apart: Iterable[str] = (), also: Iterable[np.ndarray] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Group rows that are alike in every column but those in `apart` (the response), and in the arrays of `also`.

    Returns
    -------
    first : int array of shape (cells,)
        One representative row of each cell.
    cell : int array of shape (rows,)
        The cell of each row.
    """
    key = np.zeros(len(table), dtype=np.uint64)
    used = [values for name, values in sorted(table.columns.items()) if name not in set(apart)]
    with np.errstate(over="ignore"):
        for values in [*used, *table.limits.values(), *also]:
            plain = pd.factorize(values)[0] if values.dtype == object else values
            bits = pd.util.hash_array(plain)
            key = (key * np.uint64(0x9E3779B97F4A7C15)) ^ (bits + (key >> np.uint64(29)))
    cell, _ = pd.factorize(key)
    first = np.full(cell.max() + 1 if len(cell) else 0, -1)
    first[cell[::-1]] = np.arange(len(cell))[::-1]
    return first, cell


class _Reader:
    """Reads and checks columns, collecting problems instead of stopping at the first."""

    def __init__(self, frame: pd.DataFrame, units: Mapping[str, str]) -> None:
        self.frame = frame
        self.units = units
        self.problems: list[str] = []
        self.limits: dict[str, np.ndarray] = {}

    def say(self, column: str, what: str, bad: np.ndarray | None = None, way_out: str = "") -> None:
        where = "" if bad is None else f" in {rows_text(self.frame.index[bad])}"
        self.problems.append(f"column {column!r}: {what}{where}.{' ' + way_out if way_out else ''}")

    def read(self, spec: Column) -> np.ndarray | None:
        if spec.name not in self.frame.columns:
            near = difflib.get_close_matches(spec.name, [str(c) for c in self.frame.columns], 1, 0.6)
            hint = f"Did you mean {near[0]!r}?" if near else f"The table has: {', '.join(map(str, self.frame.columns[:12]))}."
            self.say(spec.name, f"not in the table (needed as {spec.role})", way_out=hint)
            return None
        series = self.frame[spec.name]
        if isinstance(series, pd.DataFrame):
            self.say(spec.name, "appears more than once in the table", way_out="Column names must be unique.")
            return None
        return self._labels(spec, series) if spec.kind == "label" else self._numbers(spec, series)

    def _labels(self, spec: Column, series: pd.Series) -> np.ndarray:
        missing = series.isna().to_numpy()
        if missing.any() and not spec.missing:
            self.say(spec.name, f"empty {spec.role}", missing, "Give every row a label, or leave the rows out.")
        if pd.api.types.is_integer_dtype(series.dtype) and not missing.any():
            return series.to_numpy(dtype=np.int64)
        values = series.astype(object).to_numpy(copy=True)
        values[missing] = None
        return values

    def _numbers(self, spec: Column, series: pd.Series) -> np.ndarray:
        values = self._parse(spec, series)
        infinite = np.isinf(values)
        if infinite.any():
            self.say(spec.name, "infinite value", infinite)
        missing = np.isnan(values) & series.isna().to_numpy()  # text was said already
        if missing.any() and not spec.missing:
            self.say(spec.name, f"empty {spec.role}", missing, "Leave these rows out, or give the value.")
        values = self._convert(spec, values)
        self._bounds(spec, values)
        return values

    def _parse(self, spec: Column, series: pd.Series) -> np.ndarray:
        if pd.api.types.is_numeric_dtype(series.dtype) and not pd.api.types.is_bool_dtype(series.dtype):
            return series.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
        text = series.astype(object)
        if spec.censored:
            below = text.map(lambda v: isinstance(v, str) and v.strip().startswith("<")).to_numpy(dtype=bool)
            text = text.map(lambda v: v.strip().lstrip("<").strip() if isinstance(v, str) else v)
            if below.any():
                self.limits[spec.name] = below
        numbers = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, copy=True)
        bad = np.isnan(numbers) & ~series.isna().to_numpy()
        if bad.any():
            examples = ", ".join(repr(v) for v in list(dict.fromkeys(series[bad].astype(str)))[:3])
            self.say(spec.name, f"text where numbers are needed ({examples})", bad)
        return numbers

    def _convert(self, spec: Column, values: np.ndarray) -> np.ndarray:
        declared = self.units.get(spec.name) or self.units.get(spec.like)
        if not declared or not spec.unit or declared == spec.unit:
            return values
        from realmat import units
        from realmat.errors import RealmatError

        try:
            return units.convert(values, declared, spec.unit, spec.difference)
        except RealmatError as error:
            self.say(spec.name, f"declared in {declared!r}, but {spec.role} needs a unit like {spec.unit!r} ({error})")
            return values

    def _bounds(self, spec: Column, values: np.ndarray) -> None:
        with np.errstate(invalid="ignore"):
            if spec.lower is not None:
                low = values <= spec.lower if spec.open_lower else values < spec.lower
                if low.any():
                    sign = "not above" if spec.open_lower else "below"
                    self.say(spec.name, f"{spec.role} {sign} {spec.lower:g}", low)
            if spec.upper is not None and (values > spec.upper).any():
                self.say(spec.name, f"{spec.role} above {spec.upper:g}", values > spec.upper)


def _merge(specs: Iterable[Column]) -> list[Column]:
    """One demand for each column: the strictest of what the components ask."""
    merged: dict[str, Column] = {}
    for spec in specs:
        old = merged.get(spec.name)
        if old is None:
            merged[spec.name] = spec
            continue
        stricter = spec if old.kind == "label" and spec.kind == "number" else old
        lowers = [c.lower for c in (old, spec) if c.lower is not None]
        uppers = [c.upper for c in (old, spec) if c.upper is not None]
        merged[spec.name] = Column(
            spec.name,
            stricter.role,
            stricter.kind,
            old.missing and spec.missing,
            max(lowers) if lowers else None,
            min(uppers) if uppers else None,
            old.open_lower or spec.open_lower,
            old.unit or spec.unit,
            old.censored or spec.censored,
            old.like or spec.like,
            old.difference or spec.difference,
            old.optional and spec.optional,
        )
    return list(merged.values())


def read_table(
    frame: Any,
    specs: Iterable[Column],
    levels: Mapping[str, str],
    units: Mapping[str, str] | None = None,
    response: str = "",
    link: str = "identity",
) -> Table:
    """Validate a user's table against what the model needs, all problems at once.

    Raises
    ------
    realmat.DataError
        With every problem, column and row.
    """
    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"the data must be a pandas DataFrame, not {type(frame).__name__}; read a file with pandas first.")
    specs = _merge(specs)
    reader = _Reader(frame, units or {})
    if len(frame) == 0:
        reader.problems.append("the table has no rows.")
    doubled = frame.index.duplicated(keep=False)
    if doubled.any():
        reader.problems.append(f"the index has duplicate labels: {rows_text(frame.index[doubled])}. Use df.reset_index(drop=True).")
    columns: dict[str, np.ndarray] = {}
    for spec in specs:
        values = reader.read(spec)
        if values is not None:
            columns[spec.name] = values
    if "specimen" in levels and "material" in levels and {levels["specimen"], levels["material"]} <= set(columns):
        _nested(frame, columns, levels, reader)
    if reader.problems:
        count = "a problem" if len(reader.problems) == 1 else f"{len(reader.problems)} problems"
        raise DataError(f"the table does not fit the model: {count}.", reader.problems)
    return Table(columns, levels, frame.index.to_numpy(), reader.limits, None, response, link)


def _nested(frame: pd.DataFrame, columns: Mapping[str, np.ndarray], levels: Mapping[str, str], reader: _Reader) -> None:
    """A specimen is one piece of one material: the same specimen label under two materials is a mistake in the labels."""
    specimen, _ = pd.factorize(columns[levels["specimen"]])
    material, _ = pd.factorize(columns[levels["material"]])
    first = np.full(specimen.max() + 1 if len(specimen) else 0, -1)
    first[specimen[::-1]] = material[::-1]
    bad = (first[specimen] != material) & (specimen >= 0)
    if bad.any():
        reader.say(
            levels["specimen"],
            f"the same specimen belongs to another {levels['material']!r} elsewhere",
            bad,
            "Make specimen labels unique, for example by joining both columns.",
        )
