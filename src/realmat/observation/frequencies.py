"""Tables of frequencies: a row stands for several readings alike."""

from __future__ import annotations

import numpy as np

from realmat.errors import DataError
from realmat.table.table import Column, Table, rows_text

_MOST = 10_000_000  # readings


def frequency(count: str | None) -> list[Column]:
    """What a column of frequencies is asked for."""
    return [] if count is None else [Column(count, "number of readings alike", lower=0.0, optional=True)]


def repeated(table: Table, count: str | None) -> Table:
    """The table with a row for each reading; rows that stand for none are left out.

    Raises
    ------
    realmat.DataError
        If numbers of readings are not whole, there are none or far too many, or the table was reduced to cells, which count themselves.
    """
    if count is None or count not in table.columns:
        return table
    if table.within is not None:
        raise DataError(
            f"column {count!r}: a table that is reduced where it lives counts its rows itself; give it with a row for each reading."
        )
    number = np.nan_to_num(table.numeric(count), nan=1.0)  # a row of an update may hold no reading
    broken = number != np.floor(number)
    if broken.any():
        raise DataError(f"column {count!r}: numbers of readings must be whole, not as in {rows_text(table.index[broken])}.")
    total = float(number.sum())
    if not 0 < total <= _MOST:
        what = "no readings at all" if total == 0 else f"{total:.3g} readings, more than {_MOST:,}"
        raise DataError(f"column {count!r}: {what}.")
    return table if (number == 1).all() else table.take(np.repeat(np.arange(len(table)), number.astype(int)))
