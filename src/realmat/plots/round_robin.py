"""Mandel's h and k."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from realmat.attribution.round_robin import RoundRobin
from realmat.plots.style import LAYER_COLOURS, figure, ink, theme
from realmat.support.attached import attach

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@attach("plot", RoundRobin)
def plot_round_robin(result: RoundRobin, dark: bool = False) -> Figure:
    """A bar for each laboratory and material, grouped by laboratory: h above, k below, with critical values.

    Parameters
    ----------
    result : RoundRobin
    dark : bool
        For a dark page.
    """
    c = result.consistency
    labs, materials = list(dict.fromkeys(c["lab"])), list(dict.fromkeys(c["material"]))
    width = 0.8 / max(len(materials), 1)
    with theme(dark):
        made = figure(4.2, max(4.6, 0.5 * len(labs) + 2))
        upper, lower = made.subplots(2, 1, sharex=True)
        for axes, name in ((upper, "h"), (lower, "k")):
            for k, material in enumerate(materials):
                own = c[c["material"] == material]
                place = [labs.index(lab) + (k - (len(materials) - 1) / 2) * width for lab in own["lab"]]
                shade = 0.35 + 0.65 * (k + 1) / len(materials)
                axes.bar(place, own[name], 0.9 * width, color=LAYER_COLOURS["observation"], alpha=shade, label=str(material))
            for sign in (1, -1) if name == "h" else (1,):
                axes.axhline(sign * float(c[f"{name}_critical"].min()), color=ink(axes), lw=0.8, ls="--")
            axes.set_ylabel(f"Mandel's {name}")
        lower.set_xticks(np.arange(len(labs)), [str(lab) for lab in labs], rotation=45 if len(labs) > 6 else 0)
        upper.legend(loc="upper right", fontsize=7, ncols=min(len(materials), 4))
    return made
