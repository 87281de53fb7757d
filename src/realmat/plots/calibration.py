"""Is 90 % of what is measured inside the 90 % intervals? Nominal against empirical coverage of left-out predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from realmat.plots.style import SERIES_COLOURS, figure, ink, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from realmat.posterior.draws import Posterior
    from realmat.validation.loo import LeftOut


def plot_calibration(posterior: Posterior, by: str | None = None, left_out: LeftOut | None = None, dark: bool = False) -> Figure:
    """Coverage of central intervals and the distribution of the left-out PIT, both with the range that chance allows.

    Parameters
    ----------
    posterior : Posterior
    by : str, optional
        What is left out at a time: the material where materials are declared, else the single observation.
    left_out : LeftOut, optional
        Predictions made before, instead of `by`.
    dark : bool
        For a dark page.
    """
    from realmat.validation.loo import left_out as leave_out

    made = left_out or leave_out(posterior, by or ("material" if "material" in posterior.problem.table.levels else "observation"))
    return calibration({f"each {made.by} left out": made.table["pit"].to_numpy(dtype=float)}, dark)


def calibration(pits: Mapping[str, np.ndarray], dark: bool = False) -> Figure:
    """The figure of `plot_calibration`, for one or several models.

    Parameters
    ----------
    pits : mapping of name to array
        Probability integral transforms F(y) of left-out measurements; NaN is left out.
    dark : bool
        For a dark page.
    """
    values = {name: pit[np.isfinite(pit)] for name, pit in pits.items()}
    with theme(dark):
        made = figure(3.3)
        left, right = made.subplots(1, 2)
        fewest = min(len(pit) for pit in values.values())
        _coverage(left, values, fewest)
        _histogram(right, values, fewest)
    return made


def coverage(pit: np.ndarray, nominal: np.ndarray) -> np.ndarray:
    """Share of measurements inside the central interval of each nominal probability, shape (len(nominal),).

    Examples
    --------
    >>> coverage(np.array([0.1, 0.5, 0.45, 0.99]), np.array([0.5, 0.9]))
    array([0.5 , 0.75])
    """
    return np.mean(np.abs(2 * np.asarray(pit)[:, None] - 1) <= nominal, axis=0)


def _coverage(axes: Axes, values: Mapping[str, np.ndarray], fewest: int) -> None:
    from scipy.stats import binom

    nominal = np.linspace(0, 1, 201)
    band = binom.ppf([[0.025], [0.975]], fewest, nominal) / fewest
    axes.fill_between(nominal, *band, color=ink(axes), alpha=0.12, lw=0, label="chance (95 %, independent)")
    axes.plot([0, 1], [0, 1], color=ink(axes), lw=0.8, alpha=0.6)
    for colour, (name, pit) in zip(SERIES_COLOURS, values.items(), strict=False):
        axes.plot(nominal, coverage(pit, nominal), color=colour, lw=1.8, label=name)
        marks = np.array([0.5, 0.8, 0.95])
        axes.plot(marks, coverage(pit, marks), "o", color=colour, ms=5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda x, _: f"{100 * x:.0f} %")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="Nominal probability of the interval", ylabel="Measurements inside")
    axes.set_title("Coverage", fontsize=9)
    axes.legend(loc="upper left")


def _histogram(axes: Axes, values: Mapping[str, np.ndarray], fewest: int) -> None:
    from scipy.stats import binom

    bins = int(np.clip(fewest // 20, 5, 20))
    edges = np.linspace(0, 1, bins + 1)
    band = binom.ppf([0.025, 0.975], fewest, 1 / bins) * bins / fewest
    axes.axhspan(*band, color=ink(axes), alpha=0.12, lw=0)
    axes.axhline(1, color=ink(axes), lw=0.8, alpha=0.6)
    for colour, pit in zip(SERIES_COLOURS, values.values(), strict=False):
        axes.stairs(np.histogram(pit, edges)[0] * bins / max(len(pit), 1), edges, color=colour, lw=1.8, baseline=None)
    axes.set(xlim=(0, 1), xlabel="Left-out PIT of the measured value", ylabel="Density")
    axes.set_ylim(bottom=0)
    axes.set_title("Probability integral transform", fontsize=9)
