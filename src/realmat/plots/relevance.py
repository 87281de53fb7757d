"""Which descriptors matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from realmat.attribution.relevance import Relevance
from realmat.plots.style import LAYER_COLOURS, figure, theme
from realmat.support.attached import attach

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 40


@attach("plot", Relevance)
def plot_relevance(relevance: Relevance, dark: bool = False) -> Figure:
    """Share of the function's variance that each descriptor answers for, with its interval, largest on top.

    Parameters
    ----------
    relevance : Relevance
    dark : bool
        For a dark page.
    """
    shown = relevance.table.head(MOST).iloc[::-1].reset_index(drop=True)
    with theme(dark):
        made = figure(1.2 + 0.24 * max(len(shown), 3))
        axes = made.subplots()
        place = np.arange(len(shown))
        axes.barh(place, shown["share"], color=LAYER_COLOURS["material"], alpha=0.35, height=0.6)
        axes.hlines(place, shown["share_lb"], shown["share_ub"], color=LAYER_COLOURS["material"], lw=2)
        axes.set_yticks(place, [str(name) for name in shown["descriptor"]])
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(0, None)
        axes.set_xlabel(f"Share of the variance of {relevance.component} (total Sobol' index)")
    return made
