"""Measured against predicted, with error bars that grow layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from realmat.errors import DataError
from realmat.plots.style import LAYER_COLOURS, figure, ink, theme
from realmat.support.numbers import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from realmat.posterior.draws import Posterior
    from realmat.validation.loo import LeftOut

BARS = 60  # beyond so many points each bar would hide its neighbours: one typical bar stands for all
RASTER = 2000  # beyond so many points they are drawn as one image
LINE_WIDTHS = {"theory": 4.2, "material": 2.2, "observation": 1.1}


def plot_parity(
    posterior: Posterior, by: str | None = None, left_out: LeftOut | None = None, unit: str = "", k: float = 2.0, dark: bool = False
) -> Figure:
    """Each measurement against its prediction from a fit without its group.

    The error bar of a prediction has three strokes, from thick to thin: k times the standard uncertainty of theory, of theory and the real
    material, and of a whole measurement.

    Parameters
    ----------
    posterior : Posterior
    by : str, optional
        What is left out at a time: the material where materials are declared, else the single observation.
    left_out : LeftOut, optional
        Predictions made before, instead of `by`.
    unit : str
        Of the response.
    k : float
        Coverage factor of the bars.
    dark : bool
        For a dark page.
    """
    from realmat.attribution.budget import budget
    from realmat.validation.loo import left_out as leave_out

    made = left_out or leave_out(posterior, by or ("material" if "material" in posterior.problem.table.levels else "observation"))
    new = made.by if made.by in ("material", "specimen") else "observation"
    table = made.table
    rows = budget(posterior, new).rows
    layer, by_row = rows["layer"].values, rows["share"].sum("kind").transpose("row", "component").values
    layers = {name: by_row[:, layer == name].sum(axis=1) for name in LAYER_COLOURS}
    shares = pd.DataFrame(layers, index=rows["row"].values).reindex(table.index)
    response = posterior.problem.said(posterior.problem.response) + (", means of cells" if made.means else "")
    return parity(table, shares, response, made.by, posterior.problem.link == "log", unit, k, dark)


def parity(
    table: pd.DataFrame,
    shares: pd.DataFrame,
    response: str,
    by: str,
    log: bool = False,
    unit: str = "",
    k: float = 2.0,
    dark: bool = False,
) -> Figure:
    """The figure of `plot_parity` from its numbers.

    Parameters
    ----------
    table : DataFrame
        By row: `y` measured, `mean` and `sd` predicted, in response units. Rows where these are infinite are not drawn.
    shares : DataFrame
        By row: share of the predictive variance of each layer (columns), adding up to 1.
    response, by, log, unit, k, dark
        For axes and words.

    Raises
    ------
    realmat.DataError
        If all are infinite.
    """
    table = table[np.isfinite(table[["mean", "sd"]]).all(axis=1)]
    if table.empty:
        raise DataError(
            f"no prediction of {response} has a mean and a deviation that a number holds: what is left unexplained of its logarithm "
            "scatters too much. Is one of its values a placeholder, or in another unit?"
        )
    shares = shares.loc[table.index]
    y, mean, sd = (table[c].to_numpy(dtype=float) for c in ("y", "mean", "sd"))
    cumulative = np.clip(np.cumsum([shares.get(layer, 0 * mean) for layer in LAYER_COLOURS], axis=0), 0, None)
    u = {layer: k * sd * np.sqrt(np.minimum(c, 1.0)) for layer, c in zip(LAYER_COLOURS, cumulative, strict=True)}
    with theme(dark):
        made = figure(4.6, 4.8)
        axes = made.subplots()
        every = len(y) <= BARS
        ends = _ends(mean, u["observation"], log) if every else (mean, mean)
        _diagonal(axes, np.concatenate([y, *ends]), log)
        if every:
            _bars(axes, y, mean, u, log)
        else:
            _typical(axes, mean, u, log)
        axes.plot(
            y, mean, "o", ms=3.2 if len(y) <= BARS else 2.2, color=ink(axes), mec="none", alpha=0.85 if len(y) <= BARS else 0.35,
            rasterized=len(y) > RASTER, zorder=4,
        )  # fmt: skip
        label = f" ({unit})" if unit else ""
        axes.set_xlabel(f"Measured {response}{label}")
        axes.set_ylabel(f"Predicted {response}{label}")
        _title(axes, y, mean, by, unit)
        _legend(axes, u, k, every=len(y) <= BARS, unit=unit)
    return made


def _diagonal(axes: Axes, values: np.ndarray, log: bool) -> None:
    low, high = float(np.min(values)), float(np.max(values))
    if log:
        axes.set_xscale("log")
        axes.set_yscale("log")
        low, high = low / (high / low) ** 0.05, high * (high / low) ** 0.05
    else:
        low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
    axes.plot([low, high], [low, high], color=ink(axes), lw=0.8, alpha=0.6, zorder=1)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_aspect("equal")


def _ends(mean: np.ndarray, size: np.ndarray, log: bool) -> tuple[np.ndarray, np.ndarray]:
    """Ends of error bars; with a log link u is relative, to first order."""
    return (mean * np.exp(-size / mean), mean * np.exp(size / mean)) if log else (mean - size, mean + size)


def _typical(axes: Axes, mean: np.ndarray, u: dict[str, np.ndarray], log: bool) -> None:
    """One bar of median length in the lower right corner."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    place = 0.94
    x = left * (right / left) ** place if log else left + place * (right - left)
    half = max(float(np.median(u["observation"] / (mean if log else 1.0))), 0.0)
    bottom = np.log(low) if log else low
    top = np.log(high) if log else high
    middle = bottom + 0.04 * (top - bottom) + half
    centre = np.array([np.exp(middle) if log else middle])
    scaled = {layer: np.array([np.median(size / mean) * centre[0] if log else np.median(size)]) for layer, size in u.items()}
    _bars(axes, np.array([x]), centre, scaled, log)
    axes.plot(x, centre, "o", ms=3.2, color=ink(axes), zorder=4)


def _bars(axes: Axes, y: np.ndarray, mean: np.ndarray, u: dict[str, np.ndarray], log: bool) -> None:
    for order, (layer, size) in enumerate(reversed(u.items())):
        axes.vlines(y, *_ends(mean, size, log), color=LAYER_COLOURS[layer], lw=LINE_WIDTHS[layer], zorder=2 + 0.1 * order, alpha=0.8)


def _title(axes: Axes, y: np.ndarray, mean: np.ndarray, by: str, unit: str) -> None:
    error = mean - y
    rmse, mae = float(np.sqrt(np.mean(error**2))), float(np.mean(np.abs(error)))
    suffix = f" {unit}".rstrip()
    axes.set_title(
        f"Each {by} predicted without itself\nRMSE {significant(rmse)}{suffix}, MAE {significant(mae)}{suffix}, n = {len(y)}", fontsize=9
    )


def _legend(axes: Axes, u: dict[str, np.ndarray], k: float, every: bool, unit: str) -> None:
    from matplotlib.lines import Line2D

    words = {"theory": "theory", "material": "+ real material", "observation": "+ measurement"}
    suffix = f" {unit}".rstrip()
    handles: list[Any] = []
    for layer, size in u.items():
        said = words[layer] if every else f"{words[layer]}: ± {significant(float(np.median(size)), 2)}{suffix}"
        handles.append(Line2D([], [], color=LAYER_COLOURS[layer], lw=LINE_WIDTHS[layer], alpha=0.8, label=said))
    heading = f"± {k:g} u of" if every else f"± {k:g} u, median, of"
    axes.legend(handles=handles, loc="upper left", title=heading, title_fontsize=8, alignment="left")
