"""The uncertainty budget as bars."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from realmat.attribution.budget import Budget
from realmat.plots.style import LAYER_COLOURS, SHADES, figure, ink, layer_paint, shade, theme
from realmat.support.attached import attach
from realmat.support.numbers import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACROSS = 34  # letters beside the bars
_TITLE = 84  # letters above them


@attach("plot", Budget)
def plot_budget(budget: Budget, dark: bool = False) -> Figure:
    """Stacked bar by layer and kind; below it every part with the interval of its share and its u.

    Parameters
    ----------
    budget : Budget
    dark : bool
        For a dark page.
    """
    names = [_wrapped(budget.said(str(row.component)), str(row.kind)) for row in budget.table.itertuples()]
    rows = 0.27 * float(_room(names).sum())  # inches
    with theme(dark):
        made = figure(1.75 + rows + 0.17 * (len(budget.title) > _TITLE))
        top, below = made.subplots(2, 1, height_ratios=[0.85, 0.35 + rows], sharex=True)
        _stack(top, budget)
        _parts(below, budget, names)
    return made


def _wrapped(component: str, kind: str) -> str:
    """The name of a part in lines short enough to leave the bars their room."""
    lines = textwrap.wrap(component, _ACROSS, break_on_hyphens=False)
    return "\n".join([*lines[:-1], f"{lines[-1]}  ({kind})"])


def _room(names: list[str]) -> np.ndarray:
    """What each part takes of the height; 1 for a name of one line."""
    return np.array([1 + 0.6 * name.count("\n") for name in names])


def _stack(axes: Axes, budget: Budget) -> None:
    right, left = 0.0, 0.0
    for layer, kind, share in zip(budget.table["layer"], budget.table["kind"], budget.table["share"], strict=True):
        start = right if share >= 0 else left + share
        axes.barh(0, abs(share), left=start, height=0.8, **layer_paint(str(layer), str(kind)))
        if share > 0.06:
            _inside(axes, start + share / 2, f"{100 * share:.0f} %", str(layer), str(kind))
        right, left = (right + share, left) if share >= 0 else (right, left + share)
    axes.set_yticks([])
    axes.set_ylim(-0.5, 0.5)
    axes.tick_params(bottom=False, labelbottom=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    _legend(axes)
    unit = f" {budget.dataset.attrs['unit']}".rstrip() if budget.dataset.attrs["scale"] == "response" else ""
    title = budget.title if len(budget.title) <= _TITLE else budget.title.replace(" (", "\n(")
    said = f"{title}\nu = {significant(budget.u)}{unit},  U = {significant(budget.U)}{unit} (k = {budget.k:g})"
    axes.figure.suptitle(said, x=0.01, ha="left", fontsize=9.5, fontweight="bold")


def _inside(axes: Axes, x: float, said: str, layer: str, kind: str) -> None:
    """Text on a bar: white on the dark solid ones, dark on the light ones, on a patch of its own where the bar is hatched."""
    solid = kind == "aleatoric"
    colour = ("white" if layer in ("theory", "observation") else "#1c1c1c") if solid else ink(axes)
    patch = (
        {"boxstyle": "round,pad=0.15", "facecolor": LAYER_COLOURS["material"], "edgecolor": "none"} if " + " in layer and solid else None
    )
    axes.text(x, 0, said, ha="center", va="center", fontsize=8, color=colour, bbox=patch)


def _legend(axes: Axes) -> None:
    from matplotlib.patches import Patch

    layers = [Patch(facecolor=colour, label=layer) for layer, colour in LAYER_COLOURS.items()]
    kinds = [Patch(facecolor=shade("#777777", SHADES[kind]), edgecolor="#777777", label=kind) for kind in SHADES]
    axes.legend(
        handles=[*layers, *kinds], ncols=5, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0, handlelength=1.1, columnspacing=1.2
    )


def _parts(axes: Axes, budget: Budget, names: list[str]) -> None:
    table = budget.table
    colour = ink(axes)
    room = _room(names)
    place = np.cumsum(room) - room / 2
    for y, (_, row) in zip(place, table.iterrows(), strict=True):
        axes.barh(y, row["share"], height=0.62, **layer_paint(str(row["layer"]), str(row["kind"])))
        axes.plot([row["share_lb"], row["share_ub"]], [y, y], color=colour, lw=1.1, solid_capstyle="butt", marker="|", ms=5)
        edge = max(float(row["share_ub"]), float(row["share"]), 0.0)
        axes.annotate(
            f"u = {significant(float(row['u']))}".replace("-", "\N{MINUS SIGN}"),
            (edge, y),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
        )
    axes.set_yticks(place, names)
    axes.set_ylim(room.sum() + 0.1, -0.1)
    axes.axvline(0, color=colour, lw=0.8)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.0f} %")
    axes.set_xlabel("Share of the predictive variance")
    low = min(0.0, float(table[["share", "share_lb"]].min().min()))
    high = max(1.0, float(table["share"].clip(lower=0).sum()))
    axes.set_xlim(low * 1.05, high * 1.02)
