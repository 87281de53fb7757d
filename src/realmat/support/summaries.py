"""Summaries of draws as ArviZ makes them, in numbers that can be told apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

_OWN = ("ess_bulk", "ess_tail", "r_hat")


def summary(
    tree: xr.DataTree, names: Sequence[str], kind: str = "all", round_to: int | str = "auto", coords: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """`az.summary`; unless `round_to` says otherwise text, mean and bounds of a row with two digits of its standard deviation.

    Rounded each by its own size, a mean of 10.0001 with a standard deviation of 0.00002 would lie between 10 and 10.
    """
    import arviz_stats

    asked = {"var_names": list(names), "kind": kind, "coords": coords}
    with np.errstate(invalid="ignore", divide="ignore"):  # the diagonal of a correlation matrix never moves
        table = arviz_stats.summary(tree, round_to="none" if round_to == "auto" else round_to, **asked)
    if round_to != "auto":
        return table
    out = table.astype(object)
    for name in table.columns:
        if name in _OWN:
            form = "{:.2f}" if name == "r_hat" else "{:.0f}"
            out[name] = [form.format(v) if math.isfinite(v) else "" for v in table[name]]
        elif "mcse" in name or name == "sd":
            out[name] = [f"{v:.2g}" if math.isfinite(v) else "" for v in table[name]]
        else:
            widths = table["sd"] if "sd" in table else table[name] * float("nan")
            out[name] = [to_width(v, width) for v, width in zip(table[name], widths, strict=True)]
    return out


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
