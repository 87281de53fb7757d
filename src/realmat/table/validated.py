"""A user's table validated against what a model needs: all problems at once, with column, rows and the way out."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from realmat.errors import DataError
from realmat.table import lazy, notation
from realmat.table.labels import one_spelling, parts, with_joined
from realmat.table.reading import UNITS, ReadTable
from realmat.table.table import Column, Table, rows_text

_LARGEST = 1e100  # squares and their sums must stay far from where numbers end
_MOST_OTHERS, _FEW_GROUPS = 200, 30  # columns not used that are kept, and groups of labels among them
_NOT_NUMBERS = {
    "M": ("dates where numbers are needed", "Make numbers of them, such as years: (df[column] - df[column].min()).dt.days / 365.25."),
    "m": ("durations where numbers are needed", 'Make numbers of them: df[column] / pd.Timedelta("1h").'),
    "c": ("complex numbers where real ones are needed", "Take a part of them, such as their modulus."),
}


class _Reader:
    """Reads and checks columns, collecting problems instead of stopping at the first."""

    def __init__(self, frame: pd.DataFrame, units: Mapping[str, str]) -> None:
        self.frame = frame
        of_file = dict(frame.attrs.get(UNITS, {}))
        self.units = {**units, **of_file}
        self.said_otherwise = {name: unit for name, unit in units.items() if of_file.get(name, unit) != unit}
        self.problems: list[str] = []
        self.limits: dict[str, np.ndarray] = {}
        self.notes: list[str] = []

    def say(self, column: str, what: str, bad: np.ndarray | None = None, way_out: str = "") -> None:
        where = "" if bad is None else f" in {rows_text(self.frame.index[bad])}"
        self.problems.append(f"column {column!r}: {what}{where}.{' ' + way_out if way_out else ''}")

    def read(self, spec: Column) -> np.ndarray | None:
        if spec.name not in self.frame.columns:
            absent = [c for c in parts(spec.name) if c not in self.frame.columns]
            if absent:
                self.say(absent[0], f"not in the table (needed as {spec.role} together with the others of {spec.name!r})")
                return None
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
        missing = series.isna().to_numpy(dtype=bool)
        if not pd.api.types.is_numeric_dtype(series.dtype):
            missing = missing | np.array([isinstance(v, str) and not v.strip() for v in series], dtype=bool)
        empty = missing & self._asked(spec)
        if empty.any() and not spec.missing:
            self.say(spec.name, f"empty {spec.role}", empty, "Give every row a label, or leave the rows out.")
        nested = series.map(_holds_more).to_numpy(dtype=bool) if series.dtype == object else np.zeros(len(series), dtype=bool)
        if nested.any():
            self.say(spec.name, "a list or table in a cell", nested, "A label is one text or number.")
            return np.full(len(series), None, dtype=object)
        if pd.api.types.is_integer_dtype(series.dtype) and not missing.any():
            return series.to_numpy(dtype=np.int64)
        values = series.astype(object).to_numpy(copy=True)
        values[missing] = None
        values, notes = one_spelling(values)
        self.notes += [f"Column {spec.name!r}: {note}." for note in notes]
        return values

    def _numbers(self, spec: Column, series: pd.Series) -> np.ndarray:
        kind = _kind_of(series)
        if kind in _NOT_NUMBERS:
            what, way_out = _NOT_NUMBERS[kind]
            self.say(spec.name, what, way_out=way_out)
            return np.full(len(series), np.nan)
        values = self._parse(spec, series)
        if not _ordinary(values):
            self._extremes(spec, series, values)
        values = self._convert(spec, values)
        self._bounds(spec, values)
        return values

    def _extremes(self, spec: Column, series: pd.Series, values: np.ndarray) -> None:
        """What is empty, infinite, or so far from one that squares are no numbers; the latter becomes NaN."""
        infinite = np.isinf(values)
        if infinite.any():
            self.say(spec.name, "infinite value", infinite)
        huge = ~infinite & (np.abs(values) > _LARGEST)
        if huge.any():
            self.say(spec.name, f"a number beyond {_LARGEST:g}", huge, "Is it a placeholder for an empty cell, or in another unit?")
            values[huge] = np.nan
        elif 0 < np.nanmax(np.abs(values), initial=0.0) < 1 / _LARGEST:
            self.say(spec.name, f"no number above {1 / _LARGEST:g}", way_out="Give it in another unit.")
        missing = np.isnan(values) & series.isna().to_numpy()  # text was said already
        missing &= self._asked(spec)
        if missing.any() and not spec.missing:
            way = "Leave these rows out, or give the value."
            more = "Leave these rows out, give the value, or give the column a component of its own: its latent state may have gaps."
            self.say(spec.name, f"empty {spec.role}", missing, more if spec.given else way)

    def _asked(self, spec: Column) -> np.ndarray:
        """Rows in which a cell must not be empty."""
        if not spec.only:
            return np.ones(len(self.frame), dtype=bool)
        return np.any([self.frame[c].notna().to_numpy() for c in spec.only if c in self.frame.columns], axis=0)

    def _parse(self, spec: Column, series: pd.Series) -> np.ndarray:
        if series.dtype == np.float64:
            return series.to_numpy(copy=True)
        if pd.api.types.is_numeric_dtype(series.dtype) and not pd.api.types.is_bool_dtype(series.dtype):
            return series.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
        cells: Iterable[Any] = series.astype(object)
        if spec.censored:
            written = [notation.limit(v) for v in cells]
            beyond = np.array([limit for limit, _ in written], dtype=np.int8)
            cells = [v for _, v in written]
            if beyond.any():
                self.limits[spec.name] = beyond
        numbers = np.array([_number(v) for v in cells], dtype=np.float64)
        bad = np.isnan(numbers) & ~series.isna().to_numpy()
        if bad.any():
            examples = ", ".join(repr(v) for v in list(dict.fromkeys(str(v)[:30] for v in series[bad]))[:3])
            readable = any(isinstance(v, str) and notation.read(v) for v in series[bad])
            way = "rm.read_table reads what laboratories write, in a file or a DataFrame." if readable else ""
            self.say(spec.name, f"text where numbers are needed ({examples})", bad, way)
        return numbers

    def declared(self, spec: Column) -> str:
        """The unit in which a column is given; empty where nobody says."""
        return self.units.get(spec.name) or self.units.get(spec.like) or ""

    def _convert(self, spec: Column, values: np.ndarray) -> np.ndarray:
        declared = self.declared(spec)
        if spec.name in self.said_otherwise:
            other = self.said_otherwise[spec.name]
            self.notes.append(f"Column {spec.name!r} is in {declared!r}, as its file says, not in {other!r}, as the model's units= say.")
        if not declared or not spec.unit or declared == spec.unit:
            return values
        from realmat.errors import RealmatError
        from realmat.table import units

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


def _ordinary(values: np.ndarray) -> bool:
    """Whether all numbers are there, and none of them is too large or all of them too small."""
    least, most = float(values.min(initial=0.0)), float(values.max(initial=0.0))  # NaN if one is
    size = max(-least, most)
    return size == 0 or 1 / _LARGEST <= size <= _LARGEST


def _holds_more(value: Any) -> bool:
    return (isinstance(value, Iterable) and not isinstance(value, (str, bytes, tuple))) or not isinstance(value, Hashable)


def _number(value: Any) -> float:
    """The number that a cell holds; NaN for anything else, be it empty."""
    if not isinstance(value, (str, Real, Decimal, np.bool_)) or (isinstance(value, str) and "_" in value):
        return np.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return np.nan


def _kind_of(series: pd.Series) -> str:
    """Kind of a column as NumPy names it; of a column of objects that of those which are no numbers though they could pass for some."""
    if series.dtype != object:
        return getattr(series.dtype, "kind", "O")
    for kind, types in (
        ("M", (datetime.date, np.datetime64)),
        ("m", (datetime.timedelta, np.timedelta64)),
        ("c", (complex, np.complexfloating)),
    ):
        if series.map(lambda v, types=types: isinstance(v, types) and not pd.isna(v)).any():
            return kind
    return "O"


def as_frame(data: Any) -> pd.DataFrame:
    """A table as pandas holds it: of a mapping of columns, of what `rm.read_table` gives, of Parquet or a lazy frame.

    Raises
    ------
    realmat.DataError
        If it is none of these, its columns are of different lengths, or it has too many rows.
    """
    if isinstance(data, ReadTable):
        return data.frame
    if isinstance(data, pd.DataFrame):
        return data
    if lazy.is_lazy(data):
        return lazy.collected(data)
    if isinstance(data, Mapping):
        try:
            return pd.DataFrame(dict(data))
        except (ValueError, TypeError) as error:
            ways = "Give every column a list of the same length."
            raise DataError(f"the data are no table: {error}. {ways}") from error
    raise DataError(
        f"the data must be a pandas DataFrame, a dict of columns, or what rm.read_table gives, not {type(data).__name__}; "
        "rm.read_table(path) reads a file."
    )


def _reduced(data: Any, specs: Sequence[Column], levels: Mapping[str, str], units: Mapping[str, str], response: str, link: str) -> Table:
    """A table that is reduced where it lives: its cells, each of which stands for its rows."""
    own = next(spec for spec in specs if spec.name == response)
    frame, count, within = lazy.reduced(data, [spec.name for spec in specs], response, link)
    read = validated(frame, specs, levels, units, response, link)
    declared = units.get(response, "")
    if link == "identity" and declared and own.unit and declared != own.unit:
        from realmat.table.units import convert

        within = within * float(convert(1.0, declared, own.unit, difference=True)) ** 2
    note = (
        f"{int(count.sum()):,} rows were reduced to {len(count):,} cells where they live: what is told by row is told by cell, "
        "by the mean of its measurements, which scatters less than one of them."
    )
    notes = (*read.notes, note)
    return Table(read.columns, levels, read.index, read.limits, count, response, link, notes, within=within, units=read.units)


def merged(specs: Iterable[Column]) -> list[Column]:
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
            old.of_reading and spec.of_reading,
            tuple(dict.fromkeys((*old.only, *spec.only))) if old.only and spec.only else (),
        )
    return list(merged.values())


def validated(
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
    specs = merged(specs)
    if response and lazy.is_large(frame):
        return _reduced(frame, specs, levels, units or {}, response, link)
    frame = as_frame(frame)
    anew = frame.index.name is None and pd.api.types.is_integer_dtype(frame.index.dtype) and not frame.index.is_unique
    frame = with_joined(frame, [spec.name for spec in specs if spec.kind == "label"])
    reader = _Reader(frame.reset_index(drop=True) if anew else frame, units or {})
    frame = reader.frame
    if anew:  # as of tables that were put one under the other
        reader.notes.append("The index repeats row numbers, so rows are numbered anew from 0.")
    if len(frame) == 0:
        reader.problems.append("the table has no rows.")
    if frame.index.dtype == object and (nested := [value for value in frame.index if not isinstance(value, Hashable)]):
        reader.problems.append(f"the index holds {nested[0]!r:.40}, which is no label. Use df.reset_index(drop=True).")
    elif (doubled := frame.index.duplicated(keep=False)).any():
        reader.problems.append(f"the index has duplicate labels: {rows_text(frame.index[doubled])}. Use df.reset_index(drop=True).")
    columns: dict[str, np.ndarray] = {}
    for spec in specs:
        values = reader.read(spec)
        if values is not None:
            columns[spec.name] = values
    if "specimen" in levels and "material" in levels and {levels["specimen"], levels["material"]} <= set(columns):
        _nested(frame, columns, levels, reader)
    if link == "log" and (y := columns.get(response)) is not None and y.dtype.kind == "f" and (tiny := (y > 0) & (y < 1 / _LARGEST)).any():
        reader.say(response, f"a number below {1 / _LARGEST:g}, whose logarithm is far from all others", tiny, "Is it a placeholder?")
    if reader.problems:
        count = "a problem" if len(reader.problems) == 1 else f"{len(reader.problems)} problems"
        raise DataError(f"the table does not fit the model: {count}.", reader.problems)
    others = _others(frame, set(columns))
    given = {spec.name: unit for spec in specs if spec.kind == "number" and (unit := reader.declared(spec))}
    return Table(columns, levels, frame.index.to_numpy(), reader.limits, None, response, link, tuple(reader.notes), others, units=given)


def _others(frame: pd.DataFrame, used: set[str]) -> dict[str, np.ndarray]:
    """Columns that the model does not use: numbers, dates (as days since the first), and labels of few groups."""
    out: dict[str, np.ndarray] = {}
    unused = [name for name in frame.columns if isinstance(name, str) and name not in used]
    for name in unused[:_MOST_OTHERS]:
        series = frame[name]
        if isinstance(series, pd.DataFrame):
            continue
        kind = _kind_of(series)
        if kind in "iuf" and series.dtype != object:
            out[name] = series.to_numpy(dtype=np.float64, na_value=np.nan)
        elif kind == "M" and series.dtype != object:
            out[name] = ((series - series.min()) / pd.Timedelta(days=1)).to_numpy(dtype=np.float64, na_value=np.nan)
        elif kind not in "mcM" and not series.astype(object).map(_holds_more).any() and 2 <= series.nunique() <= _FEW_GROUPS:
            out[name] = series.astype(object).where(series.notna(), None).to_numpy()
    return out


def _nested(frame: pd.DataFrame, columns: Mapping[str, np.ndarray], levels: Mapping[str, str], reader: _Reader) -> None:
    """A specimen is one piece of one material: the same specimen label under two materials is a mistake in the labels."""
    from realmat.table import row_kernels

    specimen, material = (_numbered(columns[levels[level]]) for level in ("specimen", "material"))
    bad = row_kernels.elsewhere(specimen, material, int(specimen.max(initial=-1)) + 1)
    if bad.any():
        reader.say(
            levels["specimen"],
            f"the same specimen belongs to another {levels['material']!r} elsewhere",
            bad,
            "Make specimen labels unique, for example by joining both columns.",
        )


def _numbered(labels: np.ndarray) -> np.ndarray:
    """A number from 0 for each label, -1 where it is missing."""
    if labels.dtype == np.int64 and len(labels):
        least, most = int(labels.min()), int(labels.max())
        if most - least <= len(labels):  # they are such numbers themselves
            return np.ascontiguousarray(labels - least if least else labels)
    return pd.factorize(labels)[0].astype(np.int64)
