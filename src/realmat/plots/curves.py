"""Curves that differ from piece to piece: a panel for each, with its data, its own law, and where the curve of a new piece may lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from realmat.errors import ModelError
from realmat.plots import style
from realmat.plots.effect import effect_on
from realmat.support.intervals import interval, words
from realmat.support.links import LINKS
from realmat.table.table import ROW, Table
from realmat.terms.varies import Varies
from realmat.theory import Function

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from realmat.model import Model
    from realmat.posterior.draws import Posterior
    from realmat.terms.problem import Problem

_PANELS, _ACROSS, _POINTS = 12, 4, 40
_MARKS = {-1: "v", 0: "o", 1: "^"}  # known to lie below, measured, above


def varied_of(model: Model) -> tuple[Function, str] | None:
    """The one theory of a model, if a parameter of its law differs from piece to piece, and the level of these."""
    for part in model.theory if len(model.theory) == 1 else ():  # type: ignore[arg-type, union-attr]
        levels = [v.by for v in part.params.values() if isinstance(v, Varies)] if isinstance(part, Function) else []
        if levels and part.columns:  # type: ignore[union-attr]
            return part, levels[0]  # type: ignore[return-value]
    return None


def plot_curves(model: Model, posterior: Posterior, component: Function, level: str, dark: bool = False) -> Figure:
    """Small multiples over the law's first column; its other columns are at their medians for each piece.

    The coloured band is what is known of a piece's own curve, the grey one holds the curve of a new piece, both without the noise of
    readings. Of many pieces twelve are shown, spread evenly over the table.

    Parameters
    ----------
    model : Model
    posterior : Posterior
    component : Function
    level : str
        Level or column of the pieces.
    dark : bool
        For a dark page.
    """
    problem = posterior.problem
    columns = list(component.arguments.values())
    table, main, link = problem.table, columns[0], LINKS[problem.link]
    pieces = table.level(level)
    if level == ROW or pieces.size < 1:
        raise ModelError(f"plot_curve needs pieces to tell apart, and {level!r} names none.")
    shown = np.unique(np.linspace(0, pieces.size - 1, min(pieces.size, _PANELS)).round().astype(int))
    across = min(_ACROSS, len(shown))
    down = -(-len(shown) // across)
    with style.theme(dark):
        made = style.figure(1.6 * down + 0.9, max(1.8 * across, 3.6))
        panels = made.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, code in zip(panels, shown, strict=False):
            rows = np.flatnonzero(pieces.codes == code)
            frame = _frame(table, rows, columns, pieces.column)
            own = link.inverse(effect_on(component, posterior, frame))
            frame[str(pieces.column)] = "a new piece"
            new = link.inverse(effect_on(component, posterior, frame, np.random.default_rng(0)))
            _panel(axes, frame[main].to_numpy(), own, new)
            _points(axes, problem, rows, table.numeric(main)[rows])
            axes.set_title(str(pieces.values[code]), fontsize=8, fontweight="normal")
            if problem.link == "log":
                axes.set_yscale("log")
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
        unit = f" ({model.unit})" if model.unit else ""
        made.supylabel(f"{problem.said(problem.response)}{unit}", fontsize=9)
        made.supxlabel(problem.said(main), fontsize=9)
        some = "" if len(shown) == pieces.size else f"{len(shown)} of {pieces.size} shown; "
        made.suptitle(f"{some}blue: each piece's own curve, grey: that of a new one; median, {words()}", fontsize=8)
    return made


def _frame(table: Table, rows: np.ndarray, columns: tuple[str, ...] | list[str], column: str | None) -> pd.DataFrame:
    """A grid over the first column with whatever else these rows have: numbers at their medians, labels as on the first."""
    seen = table.numeric(columns[0])
    grid: dict[str, object] = {columns[0]: np.linspace(np.nanmin(seen), np.nanmax(seen), _POINTS)}
    for name, values in table.columns.items():
        if name not in grid:
            grid[name] = np.nanmedian(values[rows]) if values.dtype.kind == "f" and np.isfinite(values[rows]).any() else values[rows[0]]
    frame = pd.DataFrame(grid, index=pd.Index([f"grid {i}" for i in range(_POINTS)]))
    return frame.astype({str(column): object})


def _panel(axes: Axes, x: np.ndarray, own: np.ndarray, new: np.ndarray) -> None:
    colour = style.LAYER_COLOURS["theory"]
    for curves, paint in ((new, style.shade(style.RESIDUAL, 0.25)), (own, style.shade(colour, 0.35))):
        low, high = interval(curves.T).T
        axes.fill_between(x, low, high, color=paint, linewidth=0)
    axes.plot(x, np.median(own, axis=0), color=colour, linewidth=1.1)


def _points(axes: Axes, problem: Problem, rows: np.ndarray, x: np.ndarray) -> None:
    """The piece's readings; those beyond a limit as arrows."""
    y, side = problem.table.numeric(problem.response)[rows], np.zeros(len(rows), dtype=int)
    if problem.noise.censored is not None:
        side = problem.noise.censored[problem.cell[rows]]
    for which, mark in _MARKS.items():
        axes.plot(x[side == which], y[side == which], mark, color=style.ink(axes), markersize=2.8, markeredgewidth=0, alpha=0.8)
