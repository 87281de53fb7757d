"""The cells of a file as they stand there: text files in whatever encoding and with whatever separator, sheets of a workbook."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realmat.errors import DataError, FileError
from realmat.table import unvalued

TEXT = (".csv", ".tsv", ".txt", ".dat")
BOOKS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
KINDS = (*TEXT, *BOOKS, ".parquet")

_SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas", "  ": "two spaces or more", " ": "spaces"}
_ENCODINGS = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "mac_roman", "shift_jis", "gb18030", "euc_kr", "utf_16_le", "utf_16_be"]
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe\x00\x00", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass
class Sheet:
    """Cells by row, as wide as the widest row; `first` is the number of the first row in the file."""

    cells: list[list[Any]]
    first: int = 1
    notes: list[str] = field(default_factory=list)
    separator: str = ""


def of_text(path: Path, header: Callable[[list[list[Any]]], int | None]) -> Sheet:
    """Read a text file. `header` says where in rows of cells the header stands; a separator by which there is none is not the one.

    Raises
    ------
    realmat.FileError
        If it is no text.
    """
    raw = path.read_bytes()
    text, encoding = decoded(raw, path)
    notes = [] if encoding in ("utf-8", "utf-8-sig") else [f"The text is read as {encoding}"]
    said = re.match(r"sep=(.)\r?\n", text)
    first = 1
    if said:
        text, first = text[said.end() :], 2
    rows, separator = _split(text, said[1] if said else None, header)
    _refuse_wide(rows, header(rows), first, path)
    if separator not in ("", ","):
        notes.append(f"Columns are separated by {_SEPARATORS.get(separator, repr(separator))}")
    return Sheet(_square(rows), first, notes, separator)


def decoded(raw: bytes, path: Path) -> tuple[str, str]:
    """Text and its encoding."""
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return _try(raw, encoding, path)
    if b"\x00" not in raw:
        try:
            return raw.decode("utf-8"), "utf-8"
        except UnicodeDecodeError:
            pass
    elif raw.count(b"\x00") < len(raw) / 5:
        raise FileError(f"{path} is not a text file. A workbook needs its own suffix: {', '.join(BOOKS)}.")
    from charset_normalizer import from_bytes

    best = from_bytes(raw, cp_isolation=_ENCODINGS).best()
    if best is None:
        raise FileError(f"{path}: the encoding of the text cannot be told. Save it as UTF-8.")
    return _try(raw, best.encoding, path)


def _try(raw: bytes, encoding: str, path: Path) -> tuple[str, str]:
    try:
        return raw.decode(encoding), encoding
    except UnicodeDecodeError as error:
        raise FileError(f"{path} begins as {encoding}, but byte {error.start} is none. Save it as UTF-8.") from error


def _split(text: str, given: str | None, header: Callable[[list[list[Any]]], int | None]) -> tuple[list[list[Any]], str]:
    """Rows by the separator by which most rows are as wide as the header."""
    best: tuple[tuple[Any, ...], list[list[Any]], str] | None = None
    for order, separator in enumerate([given] if given else _SEPARATORS):
        rows = list(_rows(text, separator))
        at = header(rows)
        wide = Counter(len(row) for row in rows if any(row))
        if at is None or (separator != given and wide.most_common(1)[0][0] < 2):
            continue
        width = len(rows[at])
        share = sum(n for w, n in wide.items() if w == width) / sum(wide.values())
        score = (bool(separator.strip(" ")), share > 0.5, -order)
        if best is None or score > best[0]:
            best = score, rows, separator
    if best is not None:
        return best[1], best[2]
    return [[line.strip() or None] for line in text.splitlines()], ""


def _rows(text: str, separator: str) -> Iterator[list[Any]]:
    """One list of cells for each line of the text; a quoted cell may hold line breaks, whose lines count as empty rows after it."""
    if not separator.strip(" "):
        yield from (re.split(rf"\s{{{len(separator)},}}", line.strip()) if line.strip() else [] for line in text.splitlines())
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    done = 0
    for row in reader:
        yield [cell.strip() or None for cell in row]
        for _ in range(reader.line_num - done - 1):
            yield []
        done = reader.line_num


def _refuse_wide(rows: list[list[Any]], at: int | None, first: int, path: Path) -> None:
    """Rows that hold more than the header names are read wrongly: a decimal comma among commas, a space within a label.

    Raises
    ------
    realmat.DataError
        With the rows, and the way out.
    """
    if at is None:
        return
    width = len(rows[at])
    wide = [first + k for k, row in enumerate(rows) if k > at and any(cell is not None for cell in row[width:])]
    if wide:
        where = ("row " if len(wide) == 1 else "rows ") + ", ".join(map(str, wide[:6])) + (", ..." if len(wide) > 6 else "")
        raise DataError(
            f"{path}: the header in row {first + at} names {width} columns, but {where} {'holds' if len(wide) == 1 else 'hold'} more. Put "
            "quotes around cells that hold the separator, or name every column in the header."
        )


def _square(rows: list[list[Any]]) -> list[list[Any]]:
    width = max((len(row) for row in rows), default=0)
    return [[*row, *[None] * (width - len(row))] for row in rows]


def of_book(path: Path, sheet: str | int | None) -> Sheet:
    """Read a sheet of a workbook: by name, by number from 1, or the first that is not empty.

    Raises
    ------
    realmat.FileError
        If it is no workbook, or has no such sheet.
    """
    from python_calamine import CalamineError, load_workbook

    try:
        book = load_workbook(str(path))
        names = list(book.sheet_names)
        name = _chosen(names, sheet, path)
        if name is None:
            shown = {m.name: str(m.visible).endswith(".Visible") for m in book.sheets_metadata}
            wanted = sorted(names, key=lambda n: not shown.get(n, True))  # hidden sheets last
            name = next((n for n in wanted if book.get_sheet_by_name(n).to_python(skip_empty_area=True)), wanted[0])
        page = book.get_sheet_by_name(name)
        cells = [list(row) for row in page.to_python(skip_empty_area=False)]
    except (CalamineError, OSError) as error:
        ways = "Open it where it was made, and save it as .xlsx or .csv."
        raise FileError(f"{path} cannot be read as {path.suffix.lstrip('.')}: {error}. {ways}") from error
    for (row, column), text in unvalued.cells(path, name).items():
        if row < len(cells) and column < len(cells[row]) and cells[row][column] in ("", None):
            cells[row][column] = text
    filled = _merged(cells, getattr(page, "merged_cell_ranges", None) or [])
    cells = [[_plain(cell) for cell in row] for row in cells]
    notes = []
    if len(names) > 1:
        others = ", ".join(repr(n) for n in names if n != name)
        notes.append(f"Sheet {name!r} is read; there {'is' if len(names) == 2 else 'are'} also {others}")
    if filled:
        notes.append(f"{filled} merged cells hold their value in every row that they span")
    return Sheet(_square(cells), 1, notes)


def _chosen(names: list[str], sheet: str | int | None, path: Path) -> str | None:
    if sheet is None:
        return None
    if str(sheet) in names:
        return str(sheet)
    if str(sheet).isdigit() and 1 <= int(sheet) <= len(names):
        return names[int(sheet) - 1]
    raise FileError(f"{path} has no sheet {sheet!r}; it has {', '.join(f'{k} {n!r}' for k, n in enumerate(names, 1))}.")


def _merged(cells: list[list[Any]], ranges: list[Any]) -> int:
    """Fill what was merged over several rows; a cell merged over columns alone is a title, or a heading over several columns."""
    filled = 0
    for (top, left), (bottom, right) in ranges:
        if bottom == top or top >= len(cells):
            continue
        filled += 1
        for row in range(top, min(bottom + 1, len(cells))):
            for column in range(left, min(right + 1, len(cells[row]))):
                cells[row][column] = cells[top][left]
    return filled


def _plain(cell: Any) -> Any:
    """Whole floats of a spreadsheet, which knows no integers, as they are shown."""
    if isinstance(cell, str):
        return cell.strip() or None
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return int(cell)
    return cell
