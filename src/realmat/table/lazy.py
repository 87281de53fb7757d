"""Tables that need not fit into memory: Parquet, and every lazy frame that narwhals knows, reduced to cells where they live.

Rows alike in every column but the response need only their number, the mean of the response and its centred sum of squares, which most
engines compute in one pass by updating means (Welford, Technometrics 4, 419, 1962; Chan, Golub & LeVeque, Am. Stat. 37, 242, 1983). Dask
sums squares: the mean of all rows is taken off first, so that nothing cancels far from zero.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realmat.errors import DataError, FileError
from realmat.table.labels import BETWEEN, parts
from realmat.table.reading import ReadTable

ROWS = 200_000
"""Up to so many rows a table is simply read, and every answer is by row."""

_CELLS = 2_000_000  # cells that fit into memory, and into a fit
_READ = 5_000_000  # rows that are read where every one is needed
_SHOWN = 5
_NUMBER, _MEAN, _VARIANCE = "realmat number", "realmat mean", "realmat variance"


def is_lazy(data: Any) -> bool:
    """Whether it is a path, or a frame of another library than pandas."""
    if isinstance(data, (pd.DataFrame, Mapping, ReadTable, Sequence)) and not isinstance(data, str):
        return False
    return isinstance(data, (str, Path)) or _opened(data) is not None


def is_large(data: Any) -> bool:
    """Whether it is one, of so many rows that it is reduced where it lives."""
    return is_lazy(data) and rows_of(data) > ROWS


def _opened(data: Any) -> Any:
    """A frame as narwhals sees it; None where it is none."""
    import narwhals as nw

    if isinstance(data, (str, Path)):
        return nw.from_native(_scan(Path(data)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # narwhals on where its support of Dask will be
        found: Any = nw.from_native(data, pass_through=True)
    return found if isinstance(found, (nw.LazyFrame, nw.DataFrame)) else None


def _scan(path: Path) -> Any:
    """A Parquet file or a folder of such as a Polars frame."""
    if not path.exists():
        raise FileError(f"{path} does not exist.")
    if path.is_file() and path.suffix.lower() != ".parquet":
        raise FileError(f"{path} is not Parquet; rm.read_table reads other files.")
    parts = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    if not parts:
        raise FileError(f"{path} holds no file that ends in .parquet.")
    try:
        import polars as pl
    except ImportError as error:
        raise FileError("Parquet that need not fit into memory is read with Polars: pip install 'realmat[big]'.") from error
    return pl.scan_parquet(parts)


def rows_of(data: Any) -> int:
    """How many rows there are."""
    import narwhals as nw

    frame = _opened(data)
    return int(_pandas(frame.select(nw.len().alias(_NUMBER)))[_NUMBER].iloc[0])


def collected(data: Any, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """All rows as pandas holds them.

    Raises
    ------
    realmat.DataError
        If they are more than should be in memory.
    """
    frame, rows = _opened(data), rows_of(data)
    if rows > _READ:
        raise DataError(f"here every row is read, and the table has {rows:,}; up to {_READ:,} can be. Give a part of them.")
    names = frame.collect_schema().names()
    return _pandas(frame.select(names if columns is None else [c for c in names if c in set(columns)]))


def _pandas(frame: Any) -> pd.DataFrame:
    import narwhals as nw

    if isinstance(frame, nw.LazyFrame):
        polars = frame.implementation.is_polars()
        frame = frame.collect(engine="streaming") if polars else frame.collect()
    return pd.DataFrame(frame.to_pandas())


def reduced(data: Any, columns: Sequence[str], response: str, link: str) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Cells of a table: rows alike in `columns` but the response, reduced where they live.

    Returns
    -------
    cells : DataFrame
        With the columns; the response is its mean, on the scale of the link. Indexed by what the cells hold.
    count, within : arrays of shape (cells,)
        Rows of each cell, and centred sum of squares of the response on the scale of the link.

    Raises
    ------
    realmat.DataError
        If columns are missing, the response is no number everywhere, or cells are too many: every problem, with the way out.
    """
    import narwhals as nw

    frame = _opened(data)
    there = set(frame.collect_schema().names())
    for name in columns:
        some = parts(name)
        if some and name not in there and there.issuperset(some):
            frame = frame.with_columns(nw.concat_str([nw.col(c).cast(nw.String) for c in some], separator=BETWEEN).alias(name))
    schema = frame.collect_schema()
    absent = [c for c in columns if c not in schema.names()]
    if absent:
        raise DataError(f"the table lacks {', '.join(map(repr, absent))}; it has {', '.join(map(repr, schema.names()[:12]))}.")
    if not schema[response].is_numeric():
        raise DataError(f"column {response!r} holds {schema[response]}, no numbers. Cast it, or read the file with rm.read_table.")
    keys = [c for c in dict.fromkeys(columns) if c != response]
    y = nw.col(response).cast(nw.Float64)
    g = y.log() if link == "log" else y
    middle = _middle(frame, g, keys, response, link)
    g = g - middle
    of_cell = [nw.len().alias(_NUMBER), nw.col(_MEAN).mean(), nw.col(_MEAN).var(ddof=0).alias(_VARIANCE)]
    some = frame.select(*[nw.col(c) for c in keys], g.alias(_MEAN))
    cells = _pandas(some.group_by(keys).agg(*of_cell).head(_CELLS + 1)) if keys else _pandas(some.select(*of_cell))
    if len(cells) > _CELLS:
        raise DataError(_too_many(frame, keys))
    cells = cells.sort_values(keys, kind="stable", ignore_index=True) if keys else cells
    count = cells[_NUMBER].to_numpy(dtype=float)
    within = np.nan_to_num(cells[_VARIANCE].to_numpy(dtype=float)) * count
    mean = cells[_MEAN].to_numpy(dtype=float) + middle
    out = cells[keys].assign(**{response: np.exp(mean) if link == "log" else mean})
    out.index = pd.Index([", ".join(f"{k}={v}" for k, v in zip(keys, row, strict=True)) for row in cells[keys].itertuples(index=False)])
    return out, count, within


def _middle(frame: Any, g: Any, keys: Sequence[str], response: str, link: str) -> float:
    """The mean of g(y).

    A response that is empty, not finite, or not above zero where its logarithm is taken is refused: counted, the first rows named.
    """
    import narwhals as nw

    y = nw.col(response).cast(nw.Float64)
    bad = {"empty": y.is_null() | y.is_nan(), "infinite": (y.abs() > 1e100).fill_null(False)}
    if link == "log":
        bad["not above 0"] = (y <= 0).fill_null(False)
    counted = [expr.cast(nw.Int64).sum().alias(name) for name, expr in bad.items()]
    found = _pandas(frame.select(*counted, g.mean().alias(_MEAN))).iloc[0]
    problems = []
    for name, expr in bad.items():
        if found[name] > 0:
            first = _pandas(frame.filter(expr).select(*keys).head(_SHOWN)) if keys else pd.DataFrame()
            rows = "; ".join(", ".join(f"{k}={v}" for k, v in row.items()) for row in first.to_dict("records"))
            problems.append(f"column {response!r}: {name} response in {int(found[name]):,} rows, such as those of {rows}.")
    if problems:
        raise DataError("the table does not fit the model.", problems)
    return float(found[_MEAN])


def _too_many(frame: Any, keys: Sequence[str]) -> str:
    import narwhals as nw

    sizes = _pandas(frame.select(*[nw.col(c).n_unique().alias(c) for c in keys])).iloc[0]
    most = str(sizes.astype(float).idxmax())
    return (
        f"the table has more than {_CELLS:,} different rows apart from the response, and cannot be reduced; column {most!r} alone has "
        f"{int(sizes[most]):,} values. Round it to what was controlled, or fit a part of the rows."
    )
