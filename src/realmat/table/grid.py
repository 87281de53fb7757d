"""From cells to columns: where the header stands, which rows are titles, units or notes, and what the columns are called."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from realmat.errors import DataError
from realmat.table.columns import Cells, known_unit
from realmat.table.notation import Written, read

_LOOKED_AT = 200  # rows among which the header is looked for
_ENOUGH = 0.6  # of the columns that a header names at least
_BRACKETS = re.compile(r"(?P<name>.*?\S)\s*(?:\((?P<round>[^()]*(?:\([^()]*\))?[^()]*)\)|\[(?P<square>[^\[\]]*)\])")
_SLASH = re.compile(r"(?P<name>.*\S)(?P<sign>\s+/\s+|\s*/\s*|\s*,\s+|\s+in\s+)(?P<unit>\S.*)")
_ELEMENT_OR_UNIT = frozenset("BCFHIKNOPSUVWY")  # O/N is a ratio
_U_HEADERS = ("±", "+/-", "+-")


@dataclass
class Grid:
    """Columns as they stand in a sheet."""

    columns: list[Cells]
    rows: list[int]
    notes: list[str] = field(default_factory=list)


def header_row(cells: list[list[Any]]) -> int | None:
    """Where the header stands: the first row that names most columns, and holds no number among mostly text."""
    some = cells[:_LOOKED_AT]
    widths = [sum(cell is not None for cell in row) for row in some]
    width = max(widths, default=0)
    for k, (row, filled) in enumerate(zip(some, widths, strict=True)):
        if filled and filled >= _ENOUGH * width and (filled > 1 or width == 1):
            numbers = sum(_is_number(cell) for cell in row)
            return k if 2 * numbers < filled else None
    return None


def _is_number(cell: Any) -> bool:
    return cell is not None and (not isinstance(cell, str) or isinstance(read(cell), Written))


def columns_of(cells: list[list[Any]], first: int, what: str) -> Grid:
    """Find header, units and body.

    Raises
    ------
    realmat.DataError
        If there is no header, or nothing below it.
    """
    at = header_row(cells)
    if at is None:
        raise DataError(f"{what} has no row of column names above its numbers. Write one as its first row.")
    grid = Grid([], [])
    titles = [" ".join(str(c) for c in row if c is not None) for row in cells[:at] if any(c is not None for c in row)]
    grid.notes += [f"Above the header, and not read: {_quoted(titles)}"] if titles else []
    header = [" ".join(str(c).split()) if c is not None else None for c in cells[at]]
    body = [(first + k, row) for k, row in enumerate(cells) if k > at]
    while body and not any(c is not None for c in body[0][1]):
        body.pop(0)
    of_row = _unit_row(body)
    if of_row is not None:
        grid.notes.append(f"Row {body[0][0]} holds units")
        body = body[1:]
    elif (above := _over(header, body)) is not None:
        grid.notes.append(f"Rows {first + at} and {body[0][0]} are one header: {_quoted([n for n in above if n])}")
        header, body = above, body[1:]
    body = _cleaned(body, cells[at], grid.notes)
    if not body:
        raise DataError(f"{what} has no rows below its header in row {first + at}.")
    grid.rows = [row for row, _ in body]
    _name(grid, header, of_row, body)
    return grid


def _unit_row(body: list[tuple[int, list[Any]]]) -> list[str | None] | None:
    """The units that the first row below the header holds, if it holds nothing else."""
    if len(body) < 2:
        return None
    out: list[str | None] = []
    for cell in body[0][1]:
        text = str(cell).strip() if cell is not None else ""
        inside = re.sub(r"^[(\[]\s*(.*?)\s*[)\]]$", r"\1", text)
        if inside in ("", "-", "–", "—", "1"):
            out.append(None if inside != "1" else "1")
        elif isinstance(cell, str) and known_unit(inside):
            out.append(inside)
        else:
            return None
    numeric = [k for k, unit in enumerate(out) if unit and any(_is_number(row[k]) for _, row in body[1:])]
    return out if numeric and len(numeric) == sum(unit is not None for unit in out) else None


def _over(header: list[str | None], body: list[tuple[int, list[Any]]]) -> list[str | None] | None:
    """The names of a header of two rows: groups above, which may span several columns, and names below; None where there is no second.

    A second row of names stands under every column of numbers, some of which have no name above.
    """
    if len(body) < 3:
        return None
    below = [" ".join(str(c).split()) if isinstance(c, str) else None for c in body[0][1]]
    numbers = [k for k in range(len(below)) if 2 * sum(_is_number(row[k]) for _, row in body[1:]) > len(body) - 1]
    names = [n for n in below if n is not None]
    told = numbers and all(below[k] is not None and not _is_number(below[k]) for k in numbers)
    if not told or any(_is_number(c) for c in body[0][1]) or not any(header[k] is None for k in numbers):
        return None
    out: list[str | None] = []
    group = None
    for upper, lower in zip(header, below, strict=True):
        group = upper if upper is not None else group
        if lower is None:
            out.append(upper)
        else:
            out.append(f"{group} {lower}" if names.count(lower) > 1 else lower)  # one name below several groups
    return out


_SUMMARIES = re.compile(
    "mean|average|avg|mittel|mittelwert|moyenne|median|sd|std|stdev|std ?dev|rsd|cv|min|max|minimum|maximum|sum|total|summe|"
    "standard ?deviation|standardabweichung|ecart ?type"
)


def _summed(body: list[tuple[int, list[Any]]], notes: list[str]) -> list[tuple[int, list[Any]]]:
    """Without rows at the end that sum up those above: their mean, their standard deviation."""
    end = len(body)
    while end and _SUMMARIES.fullmatch(re.sub(r"[^a-z ]", "", str(next((c for c in body[end - 1][1] if c is not None), "")).lower())):
        end -= 1
    if end == len(body) or end < 2:
        return body
    named = _quoted([str(next(c for c in row if c is not None)) for _, row in body[end:]])
    one = len(body) - end == 1
    rows = _rows([k for k, _ in body[end:]])
    notes.append(f"{rows[0].upper()}{rows[1:]} {'sums' if one else 'sum'} up those above and {'is' if one else 'are'} left out: {named}")
    return body[:end]


def _cleaned(body: list[tuple[int, list[Any]]], header: list[Any], notes: list[str]) -> list[tuple[int, list[Any]]]:
    """Without empty rows, headers that are repeated, and notes below the table."""
    kept, again, below, comments = [], [], [], []
    gap = False
    named = sum(c is not None for c in header)
    wide = named > 2
    for row, cells in body:
        filled = [c for c in cells if c is not None]
        if not filled:
            gap = True
        elif cells == header:
            again.append(row)
        elif named > 1 and len(filled) == 1 and isinstance(filled[0], str) and filled[0].startswith(("# ", "//")):
            comments.append(filled[0])
        elif gap and wide and len(filled) == 1 and isinstance(filled[0], str):
            below.append((row, cells))
        else:
            kept += [*below, (row, cells)]  # what came after a gap is a note only where nothing follows
            below, gap = [], False
    if again:
        notes.append(f"The header is repeated in {_rows(again)}")
    if below:
        notes.append(f"Below the table, and not read: {_quoted([str(next(c for c in cells if c is not None)) for _, cells in below])}")
    if comments:
        notes.append(f"Comments, and not read: {_quoted(comments)}")
    empty = len(body) - len(kept) - len(again) - len(below) - len(comments)
    inside = sum(row < kept[-1][0] for row, cells in body if not any(c is not None for c in cells)) if kept else 0
    if empty and inside:
        notes.append(f"{inside} empty row{'s are' if inside > 1 else ' is'} left out")
    return _summed(kept, notes)


def _name(grid: Grid, header: list[str | None], of_row: list[str | None] | None, body: list[tuple[int, list[Any]]]) -> None:
    """Columns with the names and units that the header gives them."""
    taken: Counter[str] = Counter()
    split = [_split(text) if text else (None, "") for text in header]
    names = Counter(name for name, _ in split)
    for k, text in enumerate(header):
        cells = [row[k] for _, row in body]
        if text is None and all(c is None for c in cells):
            continue
        column = Cells("", cells, grid.rows)
        name, unit = split[k]
        if unit and (names[name] > 1 or not _has_numbers(column)):
            name, unit = text, ""  # two columns of one quantity, or words in brackets that are no unit
        if of_row is not None and of_row[k]:
            unit = of_row[k] or ""
        if text in _U_HEADERS and grid.columns:
            before = grid.columns[-1]
            name, unit = f"{before.name}_u", before.unit
            grid.notes.append(f"Column {text!r} behind {before.name!r} is read as {name!r}, its standard uncertainty")
        if name is None:
            name = f"column {_letter(k)}"
            grid.notes.append(f"Column {_letter(k)} has no name and is called {name!r}")
        elif unit and text is not None and name != text:
            grid.notes.append(f"{text!r} is column {name!r} in {unit}")
        taken[name] += 1
        if taken[name] > 1:
            grid.notes.append(f"A {_nth(taken[name])} column {name!r} is called '{name} ({taken[name]})'")
            name = f"{name} ({taken[name]})"
        column.name, column.unit = name, unit
        grid.columns.append(column)


def _has_numbers(column: Cells) -> bool:
    return any(_is_number(c) for c in column.cells)


def _split(text: str) -> tuple[str, str]:
    """Name and unit of a header: ``Name (unit)``, ``Name [unit]``, ``Name / unit``, ``Name, unit``; no unit where it is none.

    Examples
    --------
    >>> _split("grain size / µm"), _split("C [wt%]"), _split("Lab (code)"), _split("O/N")
    (('grain size', 'µm'), ('C', 'wt%'), ('Lab (code)', ''), ('O/N', ''))
    """
    found = _BRACKETS.fullmatch(text)
    if found:
        unit = (found["round"] if found["round"] is not None else found["square"]).strip()
        return (found["name"], unit) if known_unit(unit) else (text, "")
    found = _SLASH.fullmatch(text)
    if found and known_unit(found["unit"]):
        tight = found["sign"] == "/"
        if not (tight and (found["unit"] in _ELEMENT_OR_UNIT or len(found["name"]) < 2)):
            return found["name"], re.sub(r"^\((.*)\)$", r"\1", found["unit"])
    return text, ""


def _letter(k: int) -> str:
    """The name of a column in a spreadsheet."""
    return (_letter(k // 26 - 1) if k >= 26 else "") + chr(ord("A") + k % 26)


def _nth(n: int) -> str:
    return {2: "second", 3: "third"}.get(n, f"{n}th")


def _quoted(texts: list[str]) -> str:
    shown = [repr(t if len(t) < 60 else t[:57] + "...") for t in texts[:3]]
    return ", ".join(shown) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")


def _rows(rows: list[int]) -> str:
    return ("row " if len(rows) == 1 else "rows ") + ", ".join(map(str, rows[:6])) + (", ..." if len(rows) > 6 else "")
