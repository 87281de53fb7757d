"""The picture of a component's effect: a curve over its column, or one interval for each group or column."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from realmat.errors import ModelError
from realmat.observation import Normal
from realmat.plots import style
from realmat.posterior import prior_draws
from realmat.posterior.draws import Posterior
from realmat.support.attached import attach
from realmat.support.intervals import interval, words
from realmat.table.table import Column, Table
from realmat.table.validated import validated
from realmat.terms.binding import bind
from realmat.terms.component import Component
from realmat.terms.examples import LEVELS, example_table
from realmat.terms.problem import Problem
from realmat.terms.term import Contribution, Values, evaluate
from realmat.theory import Constant

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from realmat.fit import Fit

_POINTS = 80
_DRAWS = 400
_WIDE = 1e9
_TITLE = 52  # letters that fit over the axes; words at their ticks take from it


@attach("plot", Component)
def plot_effect(component: Component, fit: Fit | None = None, axes: Axes | None = None, seed: int = 1) -> Axes:
    """Draw what a component adds to g(y): by default under its prior, with a fit under its posterior.

    Parameters
    ----------
    component : Component
    fit : Fit, optional
        A fit of a model that holds the component. Without one the prior is drawn on a table made from what the component needs, and the
        effect is in standard deviations of the response.
    axes : matplotlib Axes, optional
    seed : int

    Returns
    -------
    matplotlib Axes
        A component whose first column is a number: a curve over that column, its other columns at their medians, with the median and the
        interval of `az.rcParams`. A group effect or pooled columns: a point and an interval each.

    Raises
    ------
    realmat.ModelError
        If the fit holds no such component, or the component has no columns.
    """
    posterior = _prior(component, seed) if fit is None else fit.posterior
    if component.label not in [term.component for term in posterior.problem.terms]:
        raise ModelError(f"the fit holds no component {component.label!r}.")
    needs = component.needs()
    if not needs:
        raise ModelError(f"{component.label!r} has no column to draw its effect over.")
    main = next((need for need in needs if need.kind == "number"), needs[0])
    labels: list[str] | None = None
    if component.picture == "level":
        labels, frame = _groups(posterior.problem, needs)
    elif component.picture == "columns":
        labels, frame = _columns(needs)
    else:
        limit = getattr(component, "below", None)
        frame = grid(posterior.problem, main, needs, limit if isinstance(limit, (int, float)) else -np.inf)
    effect = effect_on(component, posterior, frame)
    unit = "sd of the response" if fit is None else fit.model.unit or ("log" if posterior.problem.link == "log" else "response")
    with style.theme():
        drawn = style.figure(3.2 if labels is None else 0.9 + 0.2 * len(labels), 4.6).subplots() if axes is None else axes
        paint = style.LAYER_COLOURS[component.layer]
        if labels is None:
            _draw_curve(drawn, frame, main, effect, paint, posterior.problem, fit is not None)
            drawn.set_ylabel(f"effect ({unit})")
        else:
            _draw_points(drawn, [posterior.problem.said(label) for label in labels], effect, paint)
            drawn.set_xlabel(f"effect ({unit})")
        title = f"{posterior.problem.said(component.label)}: {'prior' if fit is None else 'posterior'} median, {words()}"
        drawn.set_title(
            textwrap.fill(title, max(int(_TITLE - 0.75 * max(map(len, labels or [""]))), 20), break_on_hyphens=False), fontsize=8
        )
    return drawn


def _prior(component: Component, seed: int) -> Posterior:
    frame = example_table(component, seed=seed)
    frame["y"] = np.random.default_rng(seed).permutation(np.linspace(math.e - 1.7, math.e + 1.7, len(frame)))  # sd 1
    layers = {"theory": Constant(), "material": None, "observation": Normal(), component.layer: component}
    parts = [part for part in layers.values() if part is not None]
    needs = [need for part in parts for need in part.needs()] + [Column("y", "response")] + [Column(c, c, kind="label") for c in LEVELS]
    levels = {level: level for level in LEVELS}
    try:
        problem = bind("y", "identity", parts, validated(frame, needs, levels, None, "y", "identity"))
    except ModelError as error:
        if "log" not in str(error):
            raise
        problem = bind("y", "log", parts, validated(frame, needs, levels, None, "y", "log"))
    return prior_draws.draw(problem, _DRAWS, seed)


def _groups(problem: Problem, needs: list[Column]) -> tuple[list[str], pd.DataFrame]:
    """One row for each group, every column as on the group's first row."""
    table = problem.table
    level = table.level(needs[0].name)
    first = np.unique(level.codes, return_index=True)[1]
    frame = pd.DataFrame({name: values[first] for name, values in table.columns.items()}, index=table.index[first])
    return [str(value) for value in level.values], frame


def _columns(needs: list[Column]) -> tuple[list[str], pd.DataFrame]:
    """One row for each column, with 1 in it and 0 in the others."""
    names = [need.name for need in needs]
    return names, pd.DataFrame(np.eye(len(names)), columns=names)


def grid(problem: Problem, main: Column, needs: list[Column], limit: float) -> pd.DataFrame:
    """A grid over the main column above its detection limit; other numbers at their medians, exact readings, new specimens."""
    table = problem.table
    seen = table.numeric(main.name)
    frame = pd.DataFrame({main.name: np.linspace(max(np.nanmin(seen), limit), np.nanmax(seen), _POINTS)})
    frame.index = pd.Index([f"grid {i}" for i in range(_POINTS)])
    for need in needs:
        if need.name == main.name:
            continue
        values = table.columns.get(table.levels.get(need.name, need.name))
        if need.kind == "label" or values is None:
            frame[need.name] = None if values is None else values[0]
        elif need.like:
            frame[need.name] = 1e-9 if need.difference else np.nan
        else:
            frame[need.name] = np.nanmedian(values)
    for name in table.levels.values():
        frame[name] = frame.index
    return frame


def effect_on(component: Component, posterior: Posterior, frame: pd.DataFrame, rng: np.random.Generator | None = None) -> np.ndarray:
    """The component's contribution to the rows of a table, shape (draws, rows); what is drawn anew is at its mean, or drawn with `rng`."""
    problem = posterior.problem
    columns = {name: values.to_numpy(dtype=float if values.dtype.kind in "fi" else object) for name, values in frame.items()}
    levels = {level: column for level, column in problem.table.levels.items() if column in columns}
    table = Table(columns, levels, frame.index.to_numpy(), None, None, problem.response, problem.link)  # type: ignore[arg-type]
    contribution = problem.term(component.label).contribute(table)
    indices = posterior.thin(_DRAWS)
    blocks = {c.name: posterior.block(c.name, indices) for c in problem.coefficients}
    rows = []
    for k, i in enumerate(indices):
        b = {name: draws[k] for name, draws in blocks.items()}
        values = _trusting(posterior.values(int(i)))
        rows.append(_at(contribution, len(frame), values, b))
        for fresh in contribution.fresh if rng is not None else ():
            drawn = rng.standard_normal(int(fresh.groups.max()) + 2)[fresh.groups]  # type: ignore[union-attr]
            rows[-1] = rows[-1] + np.where(fresh.groups >= 0, evaluate(fresh.sd, values) * drawn, 0.0)
    return np.stack(rows)


def _trusting(values: dict[str, Any]) -> dict[str, Any]:
    """Parameters under which a reading counts fully against its population: the curve is over states, not over readings."""
    return {name: value * _WIDE if name.endswith("_sd") else value for name, value in values.items()}


def _at(contribution: Contribution, rows: int, values: Values, b: dict[str, np.ndarray]) -> np.ndarray:
    out = np.zeros(rows)
    for piece in contribution.pieces:
        out = out + np.asarray(evaluate(piece.scale, values)) * (piece.matrix @ b[piece.coefficients])
    if contribution.offset is not None:
        out = out + np.asarray(contribution.offset(values, np), dtype=float)
    if contribution.nonlinear is not None:
        out = out + np.asarray(contribution.nonlinear(values, b, np), dtype=float)
    return out


def _draw_curve(axes: Axes, frame: pd.DataFrame, main: Column, effect: np.ndarray, colour: str, problem: Problem, fitted: bool) -> None:
    x = frame[main.name].to_numpy()
    low, high = interval(effect.T).T
    axes.fill_between(x, low, high, color=style.shade(colour, 0.25), linewidth=0)
    axes.plot(x, np.median(effect, axis=0), color=colour)
    axes.axhline(0.0, color=style.RESIDUAL, linewidth=0.7)
    name = problem.said(main.name)
    axes.set_xlabel(f"{name} ({main.unit})" if main.unit not in ("", "1") else name)
    if fitted:  # where the data lie
        seen = problem.table.numeric(main.name)
        axes.plot(seen, np.zeros(len(seen)), "|", color=style.RESIDUAL, transform=axes.get_xaxis_transform(), clip_on=False)


def _draw_points(axes: Axes, labels: list[str], effect: np.ndarray, colour: str) -> None:
    order = np.argsort(np.median(effect, axis=0))
    place = np.arange(len(labels))
    low, high = interval(effect.T)[order].T
    axes.hlines(place, low, high, color=colour)
    axes.plot(np.median(effect, axis=0)[order], place, "o", color=colour, markersize=4)
    axes.axvline(0.0, color=style.RESIDUAL, linewidth=0.7)
    axes.set_yticks(place, [labels[i] for i in order])
