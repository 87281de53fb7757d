"""Users' tables on the command line: read, renamed, matched with the columns of a template; said before they are used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from realmat.errors import DataError
from realmat.support.shown import Shown

if TYPE_CHECKING:
    import pandas as pd

    from realmat.table.reading import ReadTable
    from realmat.templates.template import Template


def read(path: Path, sheet: str | None = None, rename: Sequence[str] = (), fill: Sequence[str] = ()) -> ReadTable:
    """Read a table; `rename` holds "old=new".

    Raises
    ------
    realmat.FileError
        If it is not there, of another kind, or cannot be read.
    realmat.DataError
        If it holds no table, or cannot be renamed so.
    """
    from realmat.table.reading import read_table

    wrong = [text for text in rename if "=" not in text]
    if wrong:
        raise DataError(f"--rename takes OLD=NEW, as in --rename 'YS=yield_strength', not {', '.join(map(repr, wrong))}.")
    names = {old.strip(): new.strip() for old, _, new in (text.rpartition("=") for text in rename)}
    return read_table(path, sheet, names, fill)


def prepared(table: ReadTable, template: Template) -> tuple[ReadTable, list[str]]:
    """A table as a template takes it, and what was read as what, line by line; nothing where nothing was changed.

    Raises
    ------
    realmat.DataError
        If columns are missing, could be several, or have a unit of another kind.
    """
    import dataclasses

    from realmat.templates.matching import match

    matched, said = match(table, template.columns, template.name)
    changed = table.changed
    if changed or said:
        said = [table.title, *(table.text.splitlines() if changed else []), *said, ""]
    return dataclasses.replace(matched, frame=template.prepare(matched.frame)), said


def own(template: Template) -> ReadTable:
    """The table that a template was made for."""
    from realmat.table.reading import ReadTable

    return ReadTable(template.data(), {}, template.name)


def write(table: ReadTable, path: Path) -> None:
    """Write a table as it was read, units in the header, whole or not at all.

    Raises
    ------
    realmat.FileError
        If the file cannot be written.
    """
    named = {name: f"{name} ({table.units[name]})" if name in table.units else name for name in table.frame.columns}
    Written(table.frame.rename(columns=named).reset_index(drop=True)).to_csv(path)


class Written(Shown):
    """A table to be written."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
