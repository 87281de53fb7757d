"""The gap between theory and experiment as a waterfall."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from realmat.attribution.gap import Gap, step_text
from realmat.plots.style import LAYER_COLOURS, RESIDUAL, figure, ink, shade, theme
from realmat.support.attached import attach
from realmat.support.numbers import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DECADE = 12.0  # ratio of an axis's ends up to which its ticks may stand close


@attach("plot", Gap)
def plot_gap(gap: Gap, specimen: Any, dark: bool = False) -> Figure:
    """Waterfall from theory through the contributions and the residual to the measured value of one specimen.

    Parameters
    ----------
    gap : Gap
    specimen : label
        A row of ``gap.table``.
    dark : bool
        For a dark page.
    """
    row = gap.table.loc[specimen]
    log = gap.posterior.problem.link == "log"
    steps = [*gap.components, "residual"]
    layer = dict(zip(gap.dataset["step"].values, gap.dataset["layer"].values, strict=True))
    with theme(dark):
        made = figure(1.15 + 0.32 * (len(steps) + 2))
        axes = made.subplots()
        at = float(row["theory"])
        _point(axes, 0, at, float(row["u(theory)"]), LAYER_COLOURS["theory"], "o", log)
        for y, step in enumerate(steps, start=1):
            value, u = float(row[step]), float(row[f"u({step})"])
            colour = RESIDUAL if step == "residual" else LAYER_COLOURS[layer[step]]
            _step(axes, y, at, value, u, colour, log)
            at += value
        _point(axes, len(steps) + 1, float(row["measured"]), float(row["u(measured)"]), ink(axes), "D", log)
        _frame(axes, gap, specimen, ["theory", *steps, "measured"], log)
        _numbers(axes, row, ["theory", *steps, "measured"], log)
    return made


def _to(value: float, log: bool) -> float:
    return float(np.exp(value)) if log else value


def _point(axes: Axes, y: int, value: float, u: float, colour: Any, marker: str, log: bool) -> None:
    axes.plot([_to(value - u, log), _to(value + u, log)], [y, y], color=colour, lw=2, solid_capstyle="butt", zorder=3)
    axes.plot(_to(value, log), y, marker, color=colour, ms=6.5, zorder=4)


def _step(axes: Axes, y: int, start: float, value: float, u: float, colour: str, log: bool) -> None:
    a, b = sorted((_to(start, log), _to(start + value, log)))
    axes.barh(y, b - a, left=a, height=0.56, facecolor=shade(colour, 0.75), edgecolor=colour, lw=0.8, zorder=2)
    foreground = ink(axes)
    axes.plot([_to(start, log)] * 2, [y - 1, y], color=foreground, lw=0.7, ls=":", zorder=1)
    end = start + value
    axes.plot([_to(end - u, log), _to(end + u, log)], [y, y], color=foreground, lw=1.0, marker="|", ms=5, zorder=3)


def _frame(axes: Axes, gap: Gap, specimen: Any, names: list[str], log: bool) -> None:
    last, measured = len(names) - 1, _to(float(gap.table.loc[specimen, "measured"]), log)
    axes.plot([measured] * 2, [last - 1, last], color=ink(axes), lw=0.7, ls=":", zorder=1)
    axes.set_yticks(range(len(names)), [gap.said(name) for name in names])
    axes.set_ylim(last + 0.6, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    if log:
        from matplotlib.ticker import FuncFormatter, LogLocator

        axes.set_xscale("log")
        low, high = axes.get_xlim()
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7) if high < _DECADE * low else (1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: significant(float(x))))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda x, _: ""))
    unit = f" ({gap.unit})" if gap.unit else ""
    axes.set_xlabel(f"{gap.said(gap.posterior.problem.response)}{unit}")
    rows = int(gap.table.loc[specimen, "rows"])
    count = "one measurement" if rows == 1 else f"{rows} measurements"
    axes.set_title(f"From theory to measured: {gap.table.index.name} {specimen} ({count})", fontsize=9)
    axes.margins(x=0.06)


def _numbers(axes: Axes, row: Any, names: list[str], log: bool) -> None:
    """Values beside the axes: levels as they are, steps with a sign, or as factors on the log scale."""
    for y, name in enumerate(names):
        value, u = float(row[name]), float(row[f"u({name})"])
        said = step_text(value, u, name in ("theory", "measured"), log)
        axes.annotate(said, (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=8, annotation_clip=False)
