"""What every answer shares: a table, a few sentences, and the same look in a terminal, a notebook and a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realmat.support.numbers import significant

if TYPE_CHECKING:
    import pandas as pd

_FOLDED = 10  # columns that a column of words can be folded to in a terminal


class Shown:
    """Base of results that have a `table` (DataFrame), a `text` (sentences) and a `title`."""

    table: pd.DataFrame

    @property
    def title(self) -> str:
        """What it is, in one line."""
        raise NotImplementedError

    @property
    def text(self) -> str:
        """A few plain sentences."""
        raise NotImplementedError

    def formatted(self) -> pd.DataFrame:
        """The table as text, numbers to three significant digits."""
        return self.table.map(significant)

    def __str__(self) -> str:
        shown = self.formatted().to_string(index=not self._plain_index, max_rows=30, min_rows=20)
        return f"{self.title}\n\n{shown}\n\n{self.text}"

    __repr__ = __str__

    @property
    def _plain_index(self) -> bool:
        import pandas as pd

        return isinstance(self.table.index, pd.RangeIndex)

    @property
    def _label(self) -> str:
        """What the rows are, where the index has no name."""
        return ""

    def _repr_html_(self) -> str:
        from html import escape

        body = self.formatted().to_html(index=not self._plain_index, border=0, max_rows=60, escape=True)
        return f"<h4>{escape(self.title)}</h4>{body}<p>{escape(self.text)}</p>"

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        yield from self.in_terminal(options.max_width)

    def in_terminal(self, width: int, most: int | None = None) -> Iterator[Any]:
        """What rich prints in `width` columns: at most so many rows, on their side where that fits better, and the text."""
        from rich.text import Text

        part = self.formatted().iloc[:most]
        shown = part if self._plain_index else part.reset_index(names=str(self.table.index.name or self._label))
        numeric = [name in self.table and self.table[name].dtype.kind in "fiu" for name in shown.columns]
        on_side = _needed(shown, numeric) > width and not self._plain_index and len(shown) < len(shown.columns)
        if on_side:
            label, *names = shown.columns
            shown = shown.set_index(label)[names].T.reset_index(names=str(label))
            numeric = [True] * len(shown.columns)  # names of columns are not folded either
        shown, numeric, left_out = narrowed(shown, numeric, width, 0 if on_side else 3)  # a table ends with what says most, such as a sum
        yield rich_table(shown, numeric, self.title)
        if most is not None and most < len(self.table):
            yield Text(f"... and {len(self.table) - most} more rows: --csv writes all of them, --most shows more.\n")
        if left_out:
            yield Text(f"Not shown, for want of width: {', '.join(left_out)}. --csv, or .table in Python, has them.\n")
        yield Text(self.text)

    def to_csv(self, path: str | Path) -> None:
        """Write the table as CSV, whole or not at all.

        Raises
        ------
        realmat.FileError
            If the file cannot be written.
        """
        import os

        from realmat.errors import FileError
        from realmat.support.places import writable

        target = writable(path)
        part = target.with_name(f".{target.name}.part")
        try:
            self.table.to_csv(part, index=not self._plain_index)
            os.replace(part, target)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise FileError(f"cannot write {target}: {error.strerror or error}.") from error


def narrowed(shown: pd.DataFrame, whole: list[bool], width: int, ending: int = 0) -> tuple[pd.DataFrame, list[bool], list[str]]:
    """Leave out columns, the last `ending` last, until a table fits in `width`; `whole` says which columns cannot be folded.

    Returns the table, `whole` of what is left, and the names of what is not.
    """
    left_out: list[str] = []
    while len(shown.columns) > 2 and _needed(shown, whole) > width:
        k = min(max(2, len(whole) - 1 - ending), len(whole) - 1)
        left_out.insert(0, str(shown.columns[k]))
        shown, whole = shown.drop(columns=shown.columns[k]), whole[:k] + whole[k + 1 :]
    return shown, whole, left_out


def _needed(shown: pd.DataFrame, whole: list[bool]) -> int:
    """Least width of a table in a terminal."""
    total = 1
    for name, unfolded in zip(shown.columns, whole, strict=True):
        widest = max(map(len, shown[name].astype(str)), default=0)
        total += 3 + max(len(str(name)), widest if unfolded else min(widest, _FOLDED))
    return total


def rich_table(shown: pd.DataFrame, whole: list[bool], title: str) -> Any:
    """A table of text for rich; columns that are not `whole` are folded where they must, whole ones after the first are numbers."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    plain = not sys.stdout.isatty()  # boxes, and titles folded to the table's width, are in the way of what reads a pipe
    table = Table(title=None if plain else title or None, title_justify="left", title_style="bold", header_style="bold")
    if plain:
        table.box, table.pad_edge = None, False
    for k, (name, number) in enumerate(zip(shown.columns, whole, strict=True)):
        table.add_column(str(name), justify="right" if number and k else "left", no_wrap=number, overflow="fold", min_width=len(str(name)))
    for row in shown.itertuples(index=False):
        table.add_row(*map(str, row))
    return Group(Text(title, style="bold"), table) if plain and title else table
