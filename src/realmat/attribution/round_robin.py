"""A round robin as the standards tabulate it: precision of each material, and Mandel's h and k of each laboratory and material.

ASTM E691-23, sections 15 to 20; ISO 5725-2:2019, section 8: with cell means and standard deviations of p laboratories,

    s_r^2 = mean of s_cell^2,   s_R^2 = s_x^2 + s_r^2 (n - 1) / n,   h = (cell mean - mean) / s_x,   k = s_cell / s_r.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from realmat.errors import DataError, ModelError
from realmat.posterior.draws import Posterior
from realmat.support.attached import attached
from realmat.support.numbers import significant
from realmat.support.shown import Shown
from realmat.table.table import statistics
from realmat.terms.problem import Problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIMIT = 2.8
_SIGNIFICANCE = 0.005  # of the critical values of h and k, as E691 has it


@dataclass(frozen=True)
class RoundRobin(Shown):
    """Precision by material.

    Attributes
    ----------
    table : DataFrame
        Index: the materials; columns `mean`, `s_x` (of the cell means), `s_r`, `s_R`, `r`, `R`, `labs`, `replicates` (harmonic mean).
    consistency : DataFrame
        One row for each laboratory and material: `lab`, `material`, `n`, `mean`, `s`, `h`, `k`, and `h_critical`, `k_critical` at 0.5 %.
    response, unit : str
    """

    table: pd.DataFrame
    consistency: pd.DataFrame
    response: str
    unit: str

    @property
    def title(self) -> str:
        """What it is of."""
        return f"Precision of measured {self.response}" + (f" in {self.unit}" if self.unit else "") + " by material"

    @cached_property
    def text(self) -> str:
        """What the numbers say, in a few sentences."""
        t, c = self.table, self.consistency
        spread = t["s_R"].to_numpy()
        low, high = int(np.argmin(spread)), int(np.argmax(spread))
        said = [
            f"s_R goes from {significant(float(spread[low]))} ({t.index[low]}) to {significant(float(spread[high]))} ({t.index[high]})."
        ]
        for statistic, what in (("h", "mean"), ("k", "scatter")):
            out = c[c[statistic].abs() > c[f"{statistic}_critical"]]
            cells = ", ".join(f"{lab} on {material}" for lab, material in zip(out["lab"], out["material"], strict=True))
            said.append(
                f"Beyond the critical value of {statistic} ({what}): {cells}." if cells else f"No {statistic} is beyond its critical value."
            )
        return " ".join(said)

    def plot(self, dark: bool = False) -> Figure:
        """Mandel's h and k by laboratory; see `realmat.plots.round_robin.plot_round_robin`."""
        return attached("plot", self)(dark=dark)


def round_robin(posterior: Posterior, by: str = "material", unit: str = "") -> RoundRobin:
    """The tables of ASTM E691 from the measured rows of a fit.

    Parameters
    ----------
    posterior : Posterior
    by : str
        Level or column of the materials.
    unit : str
        Of the response.

    Raises
    ------
    realmat.ModelError
        If the model has no laboratories, or no such column.
    realmat.DataError
        If a material was measured by fewer than two laboratories, or nowhere twice.
    """
    problem = posterior.problem
    cells = _cells(problem, by)
    records, parts = [], []
    for material, own in cells.groupby(by, sort=False):
        if len(own) < 2:
            raise DataError(f"{by} {material!r} was measured by one laboratory only, which says nothing of reproducibility.")
        repeated = own[own["n"] > 1]
        if not len(repeated):
            raise DataError(f"{by} {material!r} was measured once by each laboratory, which says nothing of repeatability.")
        s_r = float(np.sqrt(np.sum(repeated["s"] ** 2 * (repeated["n"] - 1)) / np.sum(repeated["n"] - 1)))
        n, p = float(len(own) / np.sum(1 / own["n"])), len(own)
        mean, s_x = float(own["mean"].mean()), float(own["mean"].std(ddof=1))
        s_big = max(float(np.sqrt(s_x**2 + s_r**2 * (n - 1) / n)), s_r)
        records.append((material, mean, s_x, s_r, s_big, LIMIT * s_r, LIMIT * s_big, p, n))
        h_critical, k_critical = critical(p, n)
        parts.append(own.assign(h=(own["mean"] - mean) / s_x, k=own["s"] / s_r, h_critical=h_critical, k_critical=k_critical))
    names = [by, "mean", "s_x", "s_r", "s_R", "r", "R", "labs", "replicates"]
    consistency = pd.concat(parts, ignore_index=True).rename(columns={by: "material"})
    return RoundRobin(pd.DataFrame(records, columns=names).set_index(by), consistency, problem.said(problem.response), unit)


def critical(laboratories: int, replicates: float) -> tuple[float, float]:
    """Critical values of h and k at the 0.5 % level (E691, section 16 and table 5).

    Examples
    --------
    >>> [round(x, 2) for x in critical(8, 3)]
    [2.15, 2.06]
    """
    from scipy import stats

    p, n = laboratories, replicates
    h = np.inf
    if p > 2:
        t = stats.t.ppf(1 - _SIGNIFICANCE / 2, p - 2)
        h = float((p - 1) * t / np.sqrt(p * (t**2 + p - 2)))
    f = stats.f.ppf(1 - _SIGNIFICANCE, n - 1, (p - 1) * (n - 1)) if n > 1 else np.inf
    return h, float(np.sqrt(p / (1 + (p - 1) / f)))


def _cells(problem: Problem, by: str) -> pd.DataFrame:
    """Number, mean and standard deviation of the readings of each laboratory on each material."""
    table = problem.table
    levels = [block.level for block in problem.observation.coefficients if block.level is not None]
    lab = levels[0] if levels else "lab" if "lab" in table.levels else None
    if lab is None:
        raise ModelError('the model has no laboratories: give the observation bias_by="lab", or the model a level "lab".')
    if table.column_of(by) not in table.columns:
        raise ModelError(f"no column for {by!r}; the model knows {', '.join([*table.levels, *table.columns])}.")
    y = table.numeric(problem.response)
    if table.within is not None and problem.link != "identity":
        raise DataError(
            "this table was reduced on the scale of the link, and holds no standard deviations of readings; read it as a DataFrame."
        )
    groups = pd.DataFrame({"lab": _labels(problem, lab), by: _labels(problem, by)}).groupby([by, "lab"], sort=False)
    n, mean, within = statistics(table, y, groups.ngroup().to_numpy(), groups.ngroups)
    with np.errstate(invalid="ignore", divide="ignore"):
        s = np.sqrt(within / (n - 1))
    found = groups.head(1).reset_index(drop=True)
    return found.assign(n=n.astype(int), mean=mean, s=np.where(n > 1, s, np.nan))[["lab", by, "n", "mean", "s"]]


def _labels(problem: Problem, by: str) -> np.ndarray:
    level = problem.table.level(by)
    return np.asarray(level.values, dtype=object)[level.codes]
