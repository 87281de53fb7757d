"""Summaries of draws as ArviZ makes them, in numbers that can be told apart."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import xarray as xr

_OWN = ("ess_bulk", "ess_tail", "r_hat")


def summary(
    tree: xr.DataTree, names: Sequence[str], kind: str = "all", round_to: int | str = "auto", coords: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """`az.summary`: numbers; with ``"auto"`` none is rounded, and only what is shown of them is (see `Summary`)."""
    import arviz_stats

    asked = {"var_names": list(names), "kind": kind, "coords": coords}
    with np.errstate(invalid="ignore", divide="ignore"):  # the diagonal of a correlation matrix never moves
        table = arviz_stats.summary(tree, round_to="none" if round_to == "auto" else round_to, **asked)
    if round_to != "auto":
        return table
    shown = Summary(table)
    shown._sd = table.get("sd")
    return shown


def _shown(name: str) -> Any:
    """The method of a table of that name, of the text that is shown."""

    @functools.wraps(getattr(pd.DataFrame, name))
    def method(self: Summary, *args: Any, **options: Any) -> Any:
        return getattr(self.formatted(), name)(*args, **options)

    return method


class Summary(pd.DataFrame):
    """Numbers to compute with, shown as a reader wants them: mean and bounds of a row with two digits of its standard deviation.

    Rounded each by its own size, a mean of 10.0001 with a standard deviation of 0.00002 would lie between 10 and 10. Rows and columns
    chosen from it are shown alike; what is shown is made from the numbers there are.
    """

    _metadata = ("_sd",)
    _sd: pd.Series | None = None

    @property
    def _constructor(self) -> type[Summary]:
        return Summary

    def formatted(self) -> pd.DataFrame:
        """The table as text."""
        widths = pd.Series(np.nan, self.index) if self._sd is None else self._sd.reindex(self.index)
        plain = pd.DataFrame(self)
        texts = {k: _texts(str(name), plain.iloc[:, k], widths) for k, name in enumerate(plain.columns)}
        return pd.DataFrame(texts, self.index, dtype=object).set_axis(self.columns, axis=1)

    def __repr__(self) -> str:
        return repr(self.formatted())

    _repr_html_, to_string, to_html = (_shown(name) for name in ("_repr_html_", "to_string", "to_html"))
    to_latex, to_markdown = (_shown(name) for name in ("to_latex", "to_markdown"))


def _texts(name: str, values: pd.Series, widths: pd.Series) -> list[str]:
    if values.dtype.kind not in "fiu":
        return list(map(str, values))
    if name in _OWN:
        form = "{:.2f}" if name == "r_hat" else "{:.0f}"
    elif "mcse" in name or name == "sd":
        form = "{:.2g}"
    else:
        return [to_width(v, width) for v, width in zip(values, widths, strict=True)]
    return [form.format(v) if math.isfinite(v) else "" for v in values]


def to_width(value: float, width: float) -> str:
    """A number to two significant digits of a width.

    Examples
    --------
    >>> to_width(10.00012345, 0.000021), to_width(1234.6, 57.0), to_width(3.5, 0.0)
    ('10.000123', '1235', '3.5')
    """
    if not math.isfinite(value):
        return ""
    if not (width > 0 and math.isfinite(width)):
        return f"{value:.6g}"
    places = 1 - math.floor(math.log10(width))
    if places > 12 or (abs(value) < 1e-4 and value != 0):
        digits = max(2, min(15, math.floor(math.log10(max(abs(value), 1e-300))) + places + 1))
        return f"{value:.{digits}g}"
    return f"{value:.{max(places, 0)}f}"
