"""A law over its column: the data, the law with its band, and what is left of the data below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from realmat.errors import ModelError
from realmat.plots import style
from realmat.plots.curves import plot_curves, varied_of
from realmat.plots.effect import effect_on, grid
from realmat.support.intervals import interval, words
from realmat.support.links import LINKS
from realmat.terms.problem import native
from realmat.theory import Function

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from realmat.model import Model
    from realmat.posterior.draws import Posterior
    from realmat.table.table import Column, Table
    from realmat.terms.component import Component
    from realmat.terms.problem import Problem

MOST = 2000  # rows that are shown, and that the law is evaluated on
_MARKS = {-1: "v", 0: "o", 1: "^"}  # known to lie below, measured, above


def column_of(model: Model) -> tuple[Component, Column] | None:
    """The theory whose only number column is the model's only one, and that column; None where there is another number of them."""
    found = [(part, need) for part in model.theory for need in part.needs() if need.kind == "number" and not need.like]  # type: ignore[union-attr]
    return found[0] if len(found) == 1 and len(model.theory) == 1 else None  # type: ignore[arg-type]


def shows_itself(model: Model, problem: Problem) -> bool:
    """Whether reports and notebooks show the curve: of a theory in closed form with one column, and of measured numbers."""
    found = column_of(model)
    closed = found is not None and isinstance(found[0], Function)
    return (closed or varied_of(model) is not None) and not native(problem.noise)


def plot_curve(model: Model, posterior: Posterior, by: str | None = None, dark: bool = False) -> Figure:
    """Measurements and the law over the theory's column, and below it measurements less the law's median.

    With a log link the lower panel shows their ratio. Where the column is uncertain, measurements have a bar of one standard uncertainty to
    either side, and what is left is counted from the law where the column stands. Where a parameter of the law differs from piece to piece
    (`realmat.Varies`), each piece has a panel with its own curve and that of a new piece, unless `by` says what else is to have colours.

    Parameters
    ----------
    model : Model
    posterior : Posterior
    by : str, optional
        Level or column whose values have a colour each: by default the laboratory, or else the specimen, where there are a few.
    dark : bool
        For a dark page.

    Raises
    ------
    realmat.ModelError
        If the theory has not exactly one number column, `by` is no column, or the response is no measured number (counts, fractions).
    """
    found, problem, varied = column_of(model), posterior.problem, varied_of(model)
    if varied is not None and by is None and not native(problem.noise):
        return plot_curves(model, posterior, *varied, dark)
    if found is None:
        raise ModelError("plot_curve is for one theory with one number column; component.plot(fit) draws the effect of any other.")
    if native(problem.noise):
        raise ModelError("plot_curve is for measured numbers; counts, fractions and strengths are in plot_parity.")
    component, main = found
    frame = grid(problem, main, component.needs(), -np.inf)
    shown = np.arange(len(problem.table)) if len(problem.table) <= MOST else _some(len(problem.table))
    rows = problem.table.take(shown)
    side = np.zeros(len(rows), dtype=int) if problem.noise.censored is None else problem.noise.censored[problem.cell[shown]]
    inverse, log = LINKS[problem.link].inverse, problem.link == "log"
    law = inverse(effect_on(component, posterior, frame))
    error = _error(component, main.name, rows)
    at_rows = np.median(inverse(effect_on(component, posterior, _frame(rows, anew=error is not None))), axis=0)
    x, y = rows.numeric(main.name), rows.numeric(problem.response)
    left = y / at_rows if log else y - at_rows
    with style.theme(dark):
        made = style.figure(4.6, 5.4)
        top, bottom = made.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        _law(top, bottom, frame[main.name].to_numpy(), law, log)
        _points((top, bottom), x, (y, left), _groups(rows, by), side, error)
        said, unit = problem.said(problem.response), f" ({model.unit})" if model.unit else ""
        top.set_ylabel(f"{said}{unit}")
        bottom.set_ylabel("Ratio to the law" if log else f"Less the law{unit}")
        bottom.set_xlabel(f"{problem.said(main.name)} ({main.unit})" if main.unit not in ("", "1") else problem.said(main.name))
        if log:
            top.set_yscale("log")
        top.set_title(f"{problem.said(component.label)}: median, {words()}", fontsize=9)
        if top.get_legend_handles_labels()[1]:
            top.legend(loc="best")
    return made


def _some(n: int) -> np.ndarray:
    return np.sort(np.random.default_rng(0).choice(n, MOST, replace=False))


def _frame(rows: Table, anew: bool = False) -> pd.DataFrame:
    """The rows; `anew`, as others with the same columns, whose errors nobody knows: the law where the column stands."""
    index = pd.Index([f"row {k}" for k in range(len(rows))]) if anew else pd.Index(rows.index)
    return pd.DataFrame(dict(rows.columns), index=index)


def _error(component: Component, column: str, rows: Table) -> np.ndarray | None:
    """Standard uncertainty of a law's column on each row, shape (rows,); None where none is stated."""
    if not isinstance(component, Function):
        return None
    u = next((u for key, u in component.u.items() if component.arguments[key] == column), None)
    return None if u is None else rows.numeric(u) if isinstance(u, str) else np.full(len(rows), float(u))


def _groups(rows: Table, by: str | None) -> list[tuple[str, np.ndarray]]:
    """Names and rows of the groups that have a colour each; one without a name where there are none, or too many."""
    everything = [("", np.arange(len(rows)))]
    level = by or next((name for name in ("lab", "specimen") if name in rows.levels), None)
    if level is None:
        return everything
    if level not in rows.levels and level not in rows.columns:
        raise ModelError(f"by={level!r} is neither a level nor a column of the fit's table: {', '.join([*rows.levels, *rows.columns])}.")
    labels = pd.Series(rows.columns[rows.levels.get(level, level)]).astype(str).to_numpy()
    names = sorted(set(labels))
    if not 1 < len(names) <= len(style.SERIES_COLOURS):
        return everything
    return [(name, np.flatnonzero(labels == name)) for name in names]


def _law(top: Axes, bottom: Axes, x: np.ndarray, law: np.ndarray, log: bool) -> None:
    """Median and band; below, the band about the median."""
    order = np.argsort(x)
    x, law = x[order], law[:, order]
    middle, (low, high) = np.median(law, axis=0), interval(law.T).T
    colour = style.LAYER_COLOURS["theory"]
    away = (low / middle, high / middle) if log else (low - middle, high - middle)
    for axes, band, line in ((top, (low, high), middle), (bottom, away, np.full(len(x), 1.0 if log else 0.0))):
        axes.fill_between(x, *band, color=style.shade(colour, 0.3), linewidth=0)
        axes.plot(x, line, color=colour, linewidth=1.2)


def _points(
    panels: tuple[Axes, Axes],
    x: np.ndarray,
    values: tuple[np.ndarray, np.ndarray],
    groups: list[tuple[str, np.ndarray]],
    side: np.ndarray,
    error: np.ndarray | None,
) -> None:
    """Measurements, those beyond a limit as arrows, with one standard uncertainty `error` of x; `values` are those of each panel."""
    size = 3.6 if len(x) <= 200 else 2.4
    colours = style.SERIES_COLOURS[1:] + style.SERIES_COLOURS[:1]  # the law has the first
    for k, (name, rows) in enumerate(groups):
        for which, mark in _MARKS.items():
            mine = rows[side[rows] == which]
            for axes, y in zip(panels, values, strict=True):
                paint: dict[str, Any] = {"color": colours[k] if name else style.ink(axes), "rasterized": len(x) > MOST // 2}
                paint |= {"label": name} if name and which == 0 and axes is panels[0] else {}
                if error is not None and len(mine):
                    axes.hlines(y[mine], (x - error)[mine], (x + error)[mine], color=paint["color"], linewidth=0.7, alpha=0.6)
                axes.plot(x[mine], y[mine], mark, markersize=size, markeredgewidth=0, alpha=0.8, **paint)
