"""`read_table`: a laboratory's file as it is, and what was read as what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realmat.errors import DataError, FileError
from realmat.support.shown import Shown
from realmat.table import columns, grid, sheets
from realmat.table.marks import shown_by
from realmat.table.notation import limit

UNITS = "units"
"""Under this name a frame's `attrs` hold the units of its columns."""


@dataclass(frozen=True, repr=False)
class ReadTable(Shown):
    """A table as it was read from a file.

    Attributes
    ----------
    frame : DataFrame
        Numbers as floats or integers, labels in one spelling each; limits stay written, as ``"<0.05"``, for a model to read them as limits.
        Rows are numbered as in the file.
    units : dict of str to str
        By column, where the file states them. A model converts them to what it works in.
    table : DataFrame
        What was read as what, by column: `read as`, `unit`, `values`, `empty`, `limits`, `not read`.
    notes, refused : dict of str to list of str
        By column: what was changed; what could not be read, and stays as text. Notes on the file stand under the empty name.
    """

    frame: pd.DataFrame
    units: Mapping[str, str]
    source: str
    kinds: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    refused: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame", self.frame.copy(deep=False))
        self.frame.attrs[UNITS] = dict(self.units)  # they go with the frame wherever it goes

    @property
    def title(self) -> str:
        """What it is."""
        return f"{self.source}: {len(self.frame)} rows, {len(self.frame.columns)} columns"

    @property
    def _label(self) -> str:
        return "column"

    @cached_property
    def table(self) -> pd.DataFrame:  # type: ignore[override]
        """What was read as what, by column."""
        rows = {}
        for name in self.frame.columns:
            values = self.frame[name]
            number = self.kinds.get(name, "number") == "number" and values.dtype == object
            text = [limit(v)[0] for v in values if isinstance(v, str)] if number else []
            limits = int(np.count_nonzero(text))
            bad = len(text) - limits
            rows[name] = {
                "read as": self.kinds.get(name, "number"),
                "unit": self.units.get(name, ""),
                "values": int(values.notna().sum()) - limits - bad,
                "empty": int(values.isna().sum()),
                "limits": limits,
                "not read": bad,
            }
        return pd.DataFrame.from_dict(rows, orient="index", columns=["read as", "unit", "values", "empty", "limits", "not read"])

    @cached_property
    def text(self) -> str:
        """Everything that was read as something else than it was written, and what was not read, sentence by sentence."""
        said = [f"{note}." for note in self.notes.get("", ())]
        said += [f"{name}: {note}." for name in self.frame.columns for note in self.notes.get(name, ())]
        said += [f"Not read in {name}: {why}" for name in self.frame.columns for why in self.refused.get(name, ())]
        return "\n".join(said) or "Everything was read as it is written."

    @property
    def changed(self) -> bool:
        """Whether anything was read as something else than it is written, or not read."""
        return any(self.notes.values()) or any(self.refused.values())

    def renamed(self, names: Mapping[str, str]) -> ReadTable:
        """The same table with other column names; a column's uncertainty goes along.

        Raises
        ------
        realmat.DataError
            If there is no such column, or two would have one name.
        """
        every = dict(names)
        for old, new in names.items():
            for tail in ("_u", "_lower", "_upper"):
                if f"{old}{tail}" in self.frame.columns and f"{old}{tail}" not in names:
                    every[f"{old}{tail}"] = f"{new}{tail}"
        absent = [old for old in names if old not in self.frame.columns]
        if absent:
            there = ", ".join(map(repr, self.frame.columns))
            raise DataError(f"no column {', '.join(map(repr, absent))} to rename; the table has {there}.")
        after = [every.get(name, name) for name in self.frame.columns]
        twice = sorted({name for name in after if after.count(name) > 1})
        if twice:
            raise DataError(f"renaming would make two columns {', '.join(map(repr, twice))}; rename the other one too.")

        def moved(of: Mapping[str, Any]) -> dict[str, Any]:
            return {every.get(name, name): value for name, value in of.items()}

        frame = self.frame.set_axis(after, axis=1)
        return ReadTable(frame, moved(self.units), self.source, moved(self.kinds), moved(self.notes), moved(self.refused))


def read_table(
    path: str | Path | pd.DataFrame,
    sheet: str | int | None = None,
    rename: Mapping[str, str] | None = None,
    fill: Sequence[str] = (),
) -> ReadTable:
    """Read a table as laboratories write them, and say what was read as what.

    Encodings, separators and decimal commas are found. Titles above the header, headers of two rows, rows of units, empty and repeated
    rows, comments, and rows at the end that sum up those above are seen as what they are; ``Name (unit)``, ``Name [unit]`` and
    ``Name / unit`` give units; merged cells hold their value in each of their rows. In columns of numbers ``12.3 ± 0.4`` and
    ``12.3(4)`` become the value and a column ``<name>_u``; ``<5`` and ``>5`` are limits; ``5 %`` gives a unit; ``n.d.`` and the like
    are missing. Labels that differ only in case, spaces or Unicode form are one label.

    Parameters
    ----------
    path : path or DataFrame
        A text file (``.csv``, ``.tsv``, ``.txt``, ``.dat``), a workbook (``.xlsx``, ``.xls``, ``.xlsm``, ``.xlsb``, ``.ods``) or Parquet;
        or a DataFrame whose cells are text.
    sheet : str or int, optional
        Of a workbook: its name, or its number from 1; by default the first that is not empty.
    rename : dict, optional
        New names of columns.
    fill : list of str, optional
        Columns in which an empty cell repeats what stands above it, as where only the first row of a block names the laboratory.

    Returns
    -------
    ReadTable
        With `.frame`, `.units` and `.text`; `Model.fit`, `Model.check` and `Fit.predict` take it as it is.

    Raises
    ------
    realmat.FileError
        If the file is not there, or is none of these.
    realmat.DataError
        If it holds no table, or rows hold more cells than the header names. Cells that cannot be read are not guessed: they stay as text,
        the text names their rows, and a model that needs the column refuses them.

    Examples
    --------
    >>> import pandas as pd
    >>> import realmat as rm
    >>> table = rm.read_table(pd.DataFrame({"Lab": ["A", "a "], "YS (MPa)": ["295,7 ± 1,2", "301,2(12)"]}))
    >>> table.frame["YS_u"].tolist(), dict(table.units)
    ([1.2, 1.2], {'YS': 'MPa', 'YS_u': 'MPa'})
    """
    if isinstance(path, pd.DataFrame):
        found = _read_frame(path)
    else:
        source = Path(path)
        if source.suffix.lower() not in sheets.KINDS:
            raise FileError(f"{source}: a table comes as text, workbook or Parquet, with one of the suffixes {', '.join(sheets.KINDS)}.")
        if not source.is_file():
            raise FileError(f"{source} does not exist.")
        found = _parquet(source) if source.suffix.lower() == ".parquet" else _read_sheet(source, sheet, fill)
    return found.renamed(rename) if rename else found


def _read_sheet(path: Path, sheet: str | int | None, fill: Sequence[str]) -> ReadTable:
    text = path.suffix.lower() in sheets.TEXT
    page = sheets.of_text(path, grid.header_row) if text else sheets.of_book(path, sheet)
    found = grid.columns_of(page.cells, page.first, str(path))
    _fill(found, fill)
    elsewhere = frozenset("." if page.separator == "," else "")
    return _assembled(found, str(path), [*page.notes, *found.notes], elsewhere)


def _read_frame(frame: pd.DataFrame) -> ReadTable:
    header = [str(name) for name in frame.columns]
    cells = [[None if pd.api.types.is_scalar(c) and pd.isna(c) else c for c in row] for row in frame.astype(object).to_numpy().tolist()]
    found = grid.columns_of([header, *cells], 0, "the table")
    index = dict(zip(range(1, len(frame) + 1), frame.index, strict=True))
    found.rows = [index[row] for row in found.rows]
    for column in found.columns:
        column.rows = found.rows
    return _assembled(found, "DataFrame", found.notes, frozenset())


def _parquet(path: Path) -> ReadTable:
    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # a reader's complaint, whatever its kind, means that this is no such table
        raise FileError(f"{path} cannot be read as parquet: {error}") from error
    frame.index = pd.RangeIndex(2, len(frame) + 2)  # as a spreadsheet would number them, below a header
    numbers = {name: "number" if pd.api.types.is_numeric_dtype(frame[name]) else "label" for name in frame.columns}
    return ReadTable(frame, {}, str(path), numbers)


def _fill(found: grid.Grid, names: Sequence[str]) -> None:
    for name in names:
        column = next((c for c in found.columns if c.name == name), None)
        if column is None:
            raise DataError(f"no column {name!r} to fill; the table has {', '.join(repr(c.name) for c in found.columns)}.")
        for k in range(1, len(column.cells)):
            if column.cells[k] is None:
                column.cells[k] = column.cells[k - 1]
        found.notes.append(f"Empty cells of {name!r} repeat what stands above them")


def _assembled(found: grid.Grid, source: str, notes: list[str], elsewhere: frozenset[str]) -> ReadTable:
    """Columns read, each by the marks that it shows, or that the file's other columns of numbers show."""
    marks = frozenset(shown_by(n) for column in found.columns if column.numeric for n in column.numbers) & {".", ","}
    data: dict[str, np.ndarray] = {}
    units, kinds, said, refused = {}, {}, {"": notes}, {}
    for column in found.columns:
        read = columns.read(column, marks or elsewhere)
        for name, values in read.columns.items():
            if name in data or (name != column.name and any(c.name == name for c in found.columns)):
                raise DataError(f"{source}: the cells of column {column.name!r} hold what would be column {name!r}, which is there too.")
            data[name], kinds[name] = values, read.kind
            if read.unit:
                units[name] = read.unit
        said[column.name], refused[column.name] = read.notes, read.refused
    return ReadTable(pd.DataFrame(data, index=found.rows), units, source, kinds, said, refused)
