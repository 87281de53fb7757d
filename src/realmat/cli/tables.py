"""Read and write users' tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from realmat.errors import FileError

if TYPE_CHECKING:
    import pandas as pd

KINDS = (".csv", ".parquet", ".xlsx", ".xls")
_FIRST = 2  # rows are numbered as a spreadsheet shows them: the header is row 1


def read(path: Path) -> pd.DataFrame:
    """Read a CSV, Parquet or Excel file (its first sheet); rows are numbered as in the file, the header being row 1.

    Raises
    ------
    realmat.FileError
        If it is not there, of another kind, or cannot be read.
    """
    import pandas as pd

    kind = path.suffix.lower()
    if kind not in KINDS:
        raise FileError(f"{path}: a table comes as CSV, Parquet or Excel, with one of the suffixes {', '.join(KINDS)}.")
    if not path.is_file():
        raise FileError(f"{path} does not exist.")
    try:
        if kind == ".csv":
            table = pd.read_csv(path, skip_blank_lines=False)
        elif kind == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = pd.read_excel(path, engine="calamine")
    except Exception as error:  # a reader's complaint, whatever its kind, means that this is no such table
        raise FileError(f"{path} cannot be read as {kind.lstrip('.')}: {error}") from error
    table.index = pd.RangeIndex(_FIRST, _FIRST + len(table))
    table.columns = table.columns.map(lambda name: str(name).strip())
    return table.dropna(how="all")
