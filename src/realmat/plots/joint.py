"""Which state informs which property: a joint model as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from realmat.plots.style import LAYER_COLOURS, figure, ink, shade, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from realmat.terms.problem import Problem

_STEP = 0.62  # inches between boxes


def links(problem: Problem) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Properties that each latent state acts on, and properties that each correlation ties, by name.

    Examples
    --------
    >>> import pandas as pd
    >>> import realmat as rm
    >>> def member(y):
    ...     material = [rm.material.Effect("x", u=0.1), rm.material.Unresolved(by="row")]
    ...     return rm.Model(y, theory=rm.theory.Constant(), material=material)
    >>> table = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [2.0, 3.0, 3.5], "x": [0.1, 0.5, 0.4]})
    >>> links(rm.Joint([member("a"), member("b")], correlate=["unresolved_row"]).bind(table))
    ({'effect_x': ['a', 'b']}, {'unresolved_row': ['a', 'b']})
    """
    states: dict[str, list[str]] = {}
    for part in problem.every:
        for name in dict.fromkeys(state.name for term in part.terms for state in term.states):
            states.setdefault(name, []).append(part.response)
    ties = {d.name.removesuffix("_correlation"): [str(r) for r in d.coords[0]] for d in problem.derived}
    return states, ties


def plot_joint(problem: Problem, dark: bool = False) -> Figure:
    """Latent states and correlated rests on the left, properties on the right, a line from each to what it informs.

    Parameters
    ----------
    problem : Problem
    dark : bool
        For a dark page.
    """
    states, ties = links(problem)
    left = [*states, *ties]
    height = _STEP * max(len(left), len(problem.every)) + 0.5
    with theme(dark):
        made = figure(height)
        made.set_layout_engine("none")
        axes = made.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0, 7.2), ylim=(height, 0))
        axes.axis("off")
        right_at = dict(zip(problem.responses, _spread(len(problem.every), height), strict=True))
        for name, at in zip(left, _spread(len(left), height), strict=True):
            state = name in states
            for response in states[name] if state else ties[name]:
                line = "-" if state else "--"
                axes.plot([2.9, 4.3], [at, right_at[response]], zorder=0, color=LAYER_COLOURS["material"], lw=1.4, ls=line)
            _box(axes, 0.3, at, problem.said(name), "latent state" if state else "correlates", LAYER_COLOURS["material"])
        for part in problem.every:
            measured = f"measured in {len(part.table)} rows"
            _box(axes, 4.3, right_at[part.response], part.said(part.response), measured, LAYER_COLOURS["observation"])
    return made


def _spread(count: int, height: float) -> np.ndarray:
    """Middles of boxes, evenly over the height."""
    return (np.arange(count) + 0.5) * height / max(count, 1)


def _box(axes: Axes, left: float, middle: float, name: str, what: str, colour: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    shape = FancyBboxPatch((left, middle - 0.21), 2.6, 0.42, boxstyle="round,pad=0,rounding_size=0.05", lw=0.8)
    shape.set(facecolor=shade(colour, 0.14), edgecolor=colour)
    axes.add_patch(shape)
    axes.text(left + 0.1, middle - 0.07, name, va="center", fontsize=8, weight="bold", color=ink(axes))
    axes.text(left + 0.1, middle + 0.1, what, va="center", fontsize=6.5, color=ink(axes))
