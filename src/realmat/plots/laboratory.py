"""Biases of laboratories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from realmat.attribution.laboratory import Laboratory
from realmat.plots.style import LAYER_COLOURS, figure, ink, theme
from realmat.support.attached import attach

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 40  # laboratories beyond which only those with the largest biases are shown


@attach("plot", Laboratory)
def plot_laboratory(laboratory: Laboratory, dark: bool = False) -> Figure:
    """Each laboratory's bias with its interval, sorted; the bands are the repeatability and the reproducibility standard deviation.

    Parameters
    ----------
    laboratory : Laboratory
    dark : bool
        For a dark page.
    """
    value = dict(zip(laboratory.table.index, laboratory.table["value"], strict=True))
    size = laboratory.biases["bias"].abs()
    shown = laboratory.biases[size.rank(ascending=False, method="first") <= MOST].sort_values("bias").reset_index(drop=True)
    with theme(dark):
        made = figure(1.5 + 0.24 * max(len(shown), 3))
        axes = made.subplots()
        for name, opacity in (("s_R", 0.1), ("s_r", 0.16)):
            if name in value:
                axes.axvspan(-value[name], value[name], color=LAYER_COLOURS["observation"], alpha=opacity, lw=0, label=f"± {name}")
        place = np.arange(len(shown))
        axes.axvline(0, color=ink(axes), lw=0.8)
        axes.hlines(place, shown["lb"], shown["ub"], color=LAYER_COLOURS["observation"], lw=2)
        axes.plot(shown["bias"], place, "o", color=LAYER_COLOURS["observation"], ms=5)
        axes.set_yticks(place, [f"{lab}  (n = {rows})" for lab, rows in zip(shown["lab"], shown["rows"], strict=True)])
        axes.set_ylim(-0.8, max(len(shown), 1) - 0.2)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        unit = " (relative)" if laboratory.relative else f" ({laboratory.unit})" if laboratory.unit else ""
        axes.set_xlabel(f"Bias of measured {laboratory.response}{unit}")
        hidden = len(laboratory.biases) - len(shown)
        more = f"; {hidden} smaller biases are not shown" if hidden else ""
        axes.set_title(f"Biases of laboratories{more}", fontsize=9)
        axes.legend(loc="lower right")
    return made
