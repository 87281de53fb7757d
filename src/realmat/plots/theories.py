"""What each theory of a consensus is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from realmat.attribution.theories import Theories
from realmat.plots.style import LAYER_COLOURS, figure, ink, theme
from realmat.support.attached import attach

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 30  # theories beyond which those that add least are not shown


@attach("plot", Theories)
def plot_theories(theories: Theories, dark: bool = False) -> Figure:
    """For each theory, best first: u of the ideal value by it alone, beside that by all together; and what it adds to the others.

    Parameters
    ----------
    theories : Theories
    dark : bool
        For a dark page.
    """
    shown = theories.table.head(MOST).iloc[::-1]
    place = np.arange(len(shown))
    colour = LAYER_COLOURS["theory"]
    with theme(dark):
        made = figure(1.5 + 0.24 * max(len(shown), 3))
        left, right = made.subplots(1, 2, sharey=True)
        left.hlines(place, theories.together_u, shown["alone_u"], color=colour, alpha=0.35, lw=2)
        left.plot(shown["alone_u"], place, "o", color=colour, ms=5)
        left.axvline(theories.together_u, color=ink(left), lw=0.9, ls=":")
        left.text(theories.together_u, len(shown) - 0.35, " all together", fontsize=7, color=ink(left), va="bottom")
        left.set_xlim(left=0)
        left.set_yticks(place, [f"{t}  (n = {n})" for t, n in zip(shown["theory"], shown["n"], strict=True)])
        unit = f" ({theories.unit})" if theories.unit else ""
        left.set_xlabel(f"u of the ideal value by it alone{unit}")
        right.barh(place, 100 * shown["adds"], color=colour, height=0.62)
        right.set_xlabel("Variance without it, given the others: + %")
        for axes in (left, right):
            axes.spines["left"].set_visible(False)
            axes.tick_params(axis="y", length=0)
            axes.set_ylim(-0.7, len(shown) + 0.1)
        hidden = len(theories.table) - len(shown)
        more = f"; {hidden} that add less are not shown" if hidden else ""
        made.suptitle(f"What theories tell of {theories.response}{more}", fontsize=9)
    return made
