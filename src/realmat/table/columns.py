"""One column of a file: numbers in the laboratory's notation, or labels; what was read as what, and what could not be read."""

from __future__ import annotations

import datetime
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from realmat.table import notation
from realmat.table.labels import one_spelling
from realmat.table.marks import Marks, decide
from realmat.table.notation import Range, Written

_NOTHING = frozenset(["", "-", "--", "–", "—", "n/a", "#n/a", "nan", "null"])
_NO_NUMBER = _NOTHING | {
    *(
        "n.d.",
        "nd",
        "n.d",
        "n/d",
        "n.a.",
        "na",
        "n.a",
        "none",
        "nil",
        "missing",
        "n.m.",
        "n.b.",
        "k.a.",
        "k. a.",
        "?",
        ".",
        "...",
        "…",
        "/",
    ),
    *("not determined", "not measured", "not available", "not reported", "nicht bestimmt", "non déterminé"),
}
"""What is written, in lower case, where there is no label; where there is no number. "Below the detection limit" is neither."""

_YES_NO = {"true": True, "false": False}
_SHOWN = 3


@dataclass
class Cells:
    """A column as it stands in the file.

    Attributes
    ----------
    name : str
    cells : list
        Text, or what a spreadsheet holds: numbers, dates, booleans; None where empty.
    rows : sequence of int
        Where they stand in the file.
    unit : str
        Stated in the header or in a row of units.
    """

    name: str
    cells: list[Any]
    rows: Sequence[int]
    unit: str = ""
    parts: dict[str, Written | Range | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cells = [_trimmed(cell) for cell in self.cells]
        for text in {cell for cell in self.cells if isinstance(cell, str)}:
            self.parts[text] = notation.read(text)

    @property
    def numbers(self) -> list[str]:
        """Every number written as text, which may show what the decimal mark is."""
        parts = self.parts
        return [n for cell in self.cells if isinstance(cell, str) and (part := parts[cell]) is not None for n in part.numbers]

    @property
    def numeric(self) -> bool:
        """Whether it is a column of numbers: it has a unit, or most of what is there are numbers, none of them a code such as 007."""
        there = [c for c in self.cells if c is not None and not (isinstance(c, str) and c.lower() in _NO_NUMBER)]
        written = [self.parts[c] if isinstance(c, str) else c for c in there]
        good = sum(isinstance(w, (int, float, Written)) and not isinstance(w, bool) for w in written)
        if self.unit or not there:
            return bool(good)
        if all(_dated(c) for c in there):
            return False
        codes = any(isinstance(c, str) and re.fullmatch(r"0\d+", c) for c in there)
        return 2 * good >= len(there) and good > 0 and not codes


_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}(?:[T ].*)?|\d{1,2}([./])\d{1,2}\1\d{2}(?:\d{2})?")


def _dated(cell: Any) -> bool:
    return isinstance(cell, datetime.date) or (isinstance(cell, str) and _DATE.fullmatch(cell) is not None)


def _trimmed(cell: Any) -> Any:
    if isinstance(cell, str):
        return cell.strip() or None
    if isinstance(cell, float) and math.isnan(cell):
        return None
    return cell


@dataclass
class Read:
    """A column that was read.

    Attributes
    ----------
    columns : dict of str to array
        The column, and what its cells held besides: ``<name>_u``, ``<name>_lower`` and ``<name>_upper``.
    kind : str
        "number", "label", "date" or "yes or no".
    unit : str
    notes : list of str
        What was read as what.
    refused : list of str
        What could not be read, with rows and the way out; it stays as text, which no model takes for a number.
    """

    columns: dict[str, np.ndarray]
    kind: str
    unit: str = ""
    notes: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def read(column: Cells, elsewhere: frozenset[str] = frozenset()) -> Read:
    """Read a column; `elsewhere` are the decimal marks that other columns of the file show."""
    if column.numeric:
        return _Numbers(column, decide(column.numbers, elsewhere)).read()
    return _labels(column)


def _labels(column: Cells) -> Read:
    there = [c for c in column.cells if c is not None]
    if there and all(isinstance(c, bool) or (isinstance(c, str) and c.lower() in _YES_NO) for c in there) and None not in column.cells:
        flags = np.array([c if isinstance(c, bool) else _YES_NO[c.lower()] for c in column.cells])
        return Read({column.name: flags}, "yes or no")
    if there and all(isinstance(c, (datetime.date, datetime.datetime)) for c in there):
        return Read({column.name: pd.to_datetime(pd.Series(column.cells)).to_numpy()}, "date")
    said = Counter(c for c in there if isinstance(c, str) and c.lower() in _NOTHING)
    values = np.empty(len(column.cells), dtype=object)
    values[:] = [None if isinstance(c, str) and c.lower() in _NOTHING else c for c in column.cells]
    values, notes = one_spelling(values)
    forms = {re.sub(r"\d+", "", c[:8]) if isinstance(c, str) else "date" for c in there}
    if there and all(_dated(c) for c in there) and len(forms) > 1:
        notes.append("dates in several forms stay as they are written; write all of them as 2026-01-31")
    notes += [f"{_shown(said)} {'is' if len(said) == 1 else 'are'} read as missing"] if said else []
    formulas = [k for k, c in enumerate(column.cells) if isinstance(c, str) and re.match(r"=[A-Z$.(]", c)]
    return Read({column.name: values}, "label", "", notes, [_uncalculated(column, formulas)] if formulas else [])


def _uncalculated(column: Cells, which: list[int]) -> str:
    there = Counter(str(column.cells[k]) for k in which)
    way = "were never calculated. Open the workbook where it was made, and save it."
    return f"{_shown(there)} in {_places([column.rows[k] for k in which])} {way}"


def _places(rows: Sequence[int]) -> str:
    return ("row " if len(rows) == 1 else "rows ") + ", ".join(map(str, rows[:6])) + (", ..." if len(rows) > 6 else "")


class _Numbers:
    """A column of numbers."""

    def __init__(self, column: Cells, marks: Marks) -> None:
        self.column, self.marks = column, marks
        self.unit = column.unit or self._common_unit()
        self.value: list[Any] = []
        self.u = np.full(len(column.cells), np.nan)
        self.ends = np.full((2, len(column.cells)), np.nan)
        self.seen: dict[str, Counter[str]] = {}
        self.bad: dict[str, dict[int, str]] = {}

    def read(self) -> Read:
        for k, cell in enumerate(self.column.cells):
            self.value.append(self._one(k, cell))
        name = self.column.name
        columns = {name: self._array()}
        if np.isfinite(self.u).any():
            columns[f"{name}_u"] = self.u
        if np.isfinite(self.ends).any():
            columns[f"{name}_lower"], columns[f"{name}_upper"] = self.ends
        return Read(columns, "number", self.unit, self._notes(), self._refused())

    def _one(self, k: int, cell: Any) -> Any:
        if cell is None or (isinstance(cell, str) and cell.lower() in _NO_NUMBER):
            return self._note("missing", cell, math.nan) if cell else math.nan
        if isinstance(cell, bool) or not isinstance(cell, (int, float, str)):
            return self._refuse("are no numbers", k, str(cell))
        if not isinstance(cell, str):
            return cell
        part = self.column.parts[cell]
        if part is None:
            return self._refuse("are no numbers", k, cell)
        if any(not self.marks.of(n) for n in part.numbers):
            return self._refuse("can be read with a decimal point and with a decimal comma, and no other number decides", k, cell)
        if part.unit and not self._same_unit(part.unit):
            return self._refuse("have a unit that the column does not have", k, cell)
        if not part.unit and not self.column.unit and self.unit:
            return self._refuse(f"lack the unit {self.unit!r} that other cells of the column have", k, cell)
        return self._range(k, cell, part) if isinstance(part, Range) else self._value(k, cell, part)

    def _range(self, k: int, cell: str, part: Range) -> Any:
        mark = self._mark(part.numbers)
        bounds = part.bounds(mark) if mark else None
        if bounds is None:
            return self._refuse("are no numbers", k, cell)
        self.ends[:, k] = bounds
        return self._refuse("are ranges", k, cell)

    def _value(self, k: int, cell: str, part: Written) -> Any:
        if part.relative and part.unit in ("%", "‰") and self.column.unit == "":
            return self._refuse(f"may give the uncertainty in {part.unit} of the value, or both in {part.unit}", k, cell)
        mark = self._mark(part.numbers)
        found = part.value(mark) if mark else None
        if found is None or not all(math.isfinite(x) for x in found if x is not None):
            return self._refuse("are no numbers", k, cell)
        value, u = found
        for kind, is_so in (("mark", "," in cell and mark == ","), ("thousands", _grouped(part.number, mark)), ("unit", bool(part.unit))):
            if is_so:
                self._note(kind, cell, None)
        if u is not None:
            self.u[k] = u
            self._note("bracket" if part.digits else "plus-minus", cell, None)
        if part.side:
            return self._note("below" if part.side < 0 else "above", cell, f"{'<' if part.side < 0 else '>'}{value!r}")
        whole = re.fullmatch(r"[+-]?\d+", part.number) and not part.power
        return int(part.number) if whole else value

    def _mark(self, numbers: Sequence[str]) -> str:
        """The one decimal mark of all numbers in a cell; those without any go along."""
        marks = {self.marks.of(n) for n in numbers if "." in n or "," in n}
        return next(iter(marks), ".") if len(marks) < 2 else ""

    def _note(self, kind: str, cell: str, value: Any) -> Any:
        self.seen.setdefault(kind, Counter())[cell] += 1
        return value

    def _refuse(self, why: str, k: int, cell: str) -> str:
        self.bad.setdefault(why, {})[k] = cell
        return cell

    def _common_unit(self) -> str:
        """The unit that cells have, where they agree on one that is known."""
        parts = [(c, self.column.parts[c]) for c in self.column.cells if isinstance(c, str)]
        found = Counter(p.unit for _, p in parts if p is not None and p.unit and _credible(p))
        return next(iter(found)) if len(found) == 1 and known_unit(next(iter(found))) else ""

    def _same_unit(self, unit: str) -> bool:
        if unit == self.unit:
            return True
        if not known_unit(unit) or not self.unit:
            return False
        from realmat.table import units

        percent = unit in ("%", "‰") and unit in self.unit
        return percent or units.parse(unit) == units.parse(self.unit)

    def _array(self) -> np.ndarray:
        if any(isinstance(v, str) for v in self.value):
            out = np.empty(len(self.value), dtype=object)
            out[:] = [v if isinstance(v, str) else float(v) for v in self.value]
            return out
        if all(isinstance(v, int) and abs(v) < 2**63 for v in self.value):
            return np.array(self.value, dtype=np.int64)
        return np.array(self.value, dtype=np.float64)

    def _notes(self) -> list[str]:
        name, out = self.column.name, []
        for kind, words in _WORDS.items():
            if kind in self.seen:
                out.append(words.format(_shown(self.seen[kind]), name=name, unit=self.unit))
        return out + ([self.marks.why] if self.marks.why else [])

    def _refused(self) -> list[str]:
        out = []
        for why, cells in self.bad.items():
            where = _places([self.column.rows[k] for k in cells])
            way = next((way for words, way in _WAYS.items() if why.startswith(words)), "").format(name=self.column.name)
            out.append(f"{_shown(Counter(cells.values()))} in {where} {_singular(why) if len(cells) == 1 else why}. {way}")
        return out


def _singular(why: str) -> str:
    verbs = (("are no numbers", "is no number"), ("are ranges", "is a range"), ("have ", "has "), ("lack ", "lacks "))
    return next((one + why[len(many) :] for many, one in verbs if why.startswith(many)), why)


_WORDS = {
    "missing": "{0} read as missing",
    "mark": "decimal commas ({0})",
    "thousands": "thousands set apart ({0})",
    "plus-minus": "what stands after ± ({0}) is the standard uncertainty, column {name}_u",
    "bracket": "digits in brackets ({0}) are the standard uncertainty in units of the last digit, column {name}_u",
    "below": "values below a limit ({0}) are limits",
    "above": "values above a limit ({0}) are limits",
    "unit": "the unit written in its cells ({0}) is that of the column, {unit}",
}
_WAYS = {
    "are no numbers": "Correct the cells, or empty them.",
    "are ranges": "Its ends are in {name}_lower and {name}_upper; or write one value with its u in the cell, or empty it.",
    "can be read": "Write one of them with another number of decimals, or without thousands marks.",
    "have a unit": "Write every value of a column in one unit.",
    "lack": "Write the unit into the header instead.",
    "may give": "Write the uncertainty in the unit of the value.",
}


def _shown(cells: Counter[str]) -> str:
    shown = [repr(cell) for cell in list(cells)[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(cells) - _SHOWN} more" if len(cells) > _SHOWN else "")


def _grouped(number: str, mark: str) -> bool:
    return any(sign in number.lstrip("+-") for sign in ".,'’ " if sign != mark)


def _credible(part: Written | Range) -> bool:
    """A letter right behind a number is rather a part of a code: 12A."""
    return len(part.unit) > 1 or part.unit == "%" or (isinstance(part, Written) and part.spaced)


def known_unit(text: str) -> bool:
    """Whether a text is a unit that pint knows, percent included."""
    from realmat.errors import ModelError
    from realmat.table import units

    if not text or text[0].isdigit() or len(text) > 40:
        return False
    try:
        units.parse(text)
    except ModelError:
        return False
    return True
