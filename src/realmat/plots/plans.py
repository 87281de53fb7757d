"""Uncertainty over cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realmat.attribution.plans import Plans
from realmat.plots.style import LAYER_COLOURS, RESIDUAL, figure, ink, theme
from realmat.support.attached import attach

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@attach("plot", Plans)
def plot_plans(plans: Plans, dark: bool = False) -> Figure:
    """u of each plan over its cost, the cheapest that reaches the target filled; lines at the target and at what always remains.

    Parameters
    ----------
    plans : Plans
    dark : bool
        For a dark page.
    """
    table, best = plans.table, plans.table[plans.table["reaches"]].iloc[0]
    with theme(dark):
        made = figure(3.2, 5.0)
        axes = made.subplots()
        colour = LAYER_COLOURS["observation"]
        axes.step(table["cost"], table["u"], where="post", color=colour, linewidth=1.0)
        axes.plot(table["cost"], table["u"], "o", color=colour, markersize=4, markerfacecolor="none")
        axes.plot([best["cost"]], [best["u"]], "o", color=colour, markersize=7)
        for y, label, style in ((plans.target_u, "target", "--"), (plans.floor, "what remains", ":")):
            axes.axhline(y, color=ink(axes) if style == "--" else RESIDUAL, linewidth=0.9, linestyle=style, label=label)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("Cost")
        unit = " (relative)" if plans.relative else f" ({plans.unit})" if plans.unit else ""
        axes.set_ylabel(f"u of the mean{unit}")
        axes.set_title(f"Plans for {plans.response}", fontsize=9)
        axes.legend(loc="upper right")
    return made
