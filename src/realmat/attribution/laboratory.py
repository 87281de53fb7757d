"""The observation layer in the laboratory's words: repeatability, reproducibility, and the laboratories' biases.

Under repeatability conditions (one laboratory, one operator, one specimen, a short time) measurements scatter with s_r; under
reproducibility conditions (another laboratory) with s_R = sqrt(s_L^2 + s_r^2), s_L being the spread of the laboratories' biases: ISO
5725-2:2019, ASTM E691. Limits r = 2.8 s_r and R = 2.8 s_R are what two measurements differ by in 95 % of cases: ISO 5725-6:1994.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from realmat.errors import ModelError
from realmat.posterior.contributions import CHUNK, Stream, noise_source
from realmat.posterior.draws import Posterior
from realmat.support.attached import attached
from realmat.support.intervals import interval, words
from realmat.support.numbers import significant
from realmat.support.shown import Shown
from realmat.terms.term import Coefficients, Function, evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEW = 5  # laboratories
LIMIT = 2.8  # 1.96 sqrt(2), as the standards round it


@dataclass(frozen=True)
class Laboratory(Shown):
    """Precision of the measurements.

    Attributes
    ----------
    table : DataFrame
        Index `quantity` (s_r, s_L by what it is inferred for, s_R, and the limits r and R), columns `value` (posterior median, for the
        mean of a spread that few laboratories determine lies in its tail), `lb`, `ub`
        and `meaning`. Relative with a log link.
    biases : DataFrame
        One row for each laboratory (or other source of bias): `by`, `lab`; its `bias` from the mean of all laboratories there could be,
        which is not known, with `u`, `lb`, `ub`; its bias `from_mean` of those that took part, with `from_mean_u`, `from_mean_lb`,
        `from_mean_ub`, which is known better; and `rows`.
    intervals : str
        The kind of interval in words.
    """

    table: pd.DataFrame
    biases: pd.DataFrame
    response: str
    unit: str
    relative: bool
    intervals: str

    @property
    def title(self) -> str:
        """What it is of."""
        return f"Precision of measured {self.response}" + (" (relative)" if self.relative else f" in {self.unit}" if self.unit else "")

    @cached_property
    def text(self) -> str:
        """What the numbers say, in a few sentences."""
        unit = "" if self.relative else f" {self.unit}".rstrip()
        value = {str(name): float(mean) for name, mean in zip(self.table.index, self.table["value"].to_numpy(), strict=True)}
        said = [
            f"Repeated by one laboratory on one specimen, measurements scatter with s_r = {significant(value['s_r'])}{unit}; "
            f"two of them differ by less than {significant(value['r'])}{unit} in 95 % of cases."
        ]
        if "s_R" in value:
            said.append(
                f"Between laboratories they scatter with s_R = {significant(value['s_R'])}{unit}, and two differ by less than "
                f"{significant(value['R'])}{unit}."
            )
            said += [*self._few(), *self._clear(unit)]
        else:
            said.append("No bias between laboratories is in the model, so nothing is known of the reproducibility s_R.")
        return " ".join(said) + f" Bounds are {self.intervals}."

    def _few(self) -> list[str]:
        """What few laboratories cannot tell."""
        counts = self.biases.groupby("by", sort=False).size()
        return [
            f"With {n} values of {by} their spread is known within wide bounds only, and its prior has a say; values are medians."
            for by, n in counts.items()
            if n <= _FEW
        ]

    def _clear(self, unit: str) -> list[str]:
        """Biases that are there: from the mean of those that took part, and from that of all there could be."""
        said = []
        for start, of in (("from_mean", "from the mean of those that took part"), ("bias", "from the unknown mean of all there could be")):
            low, high = ("lb", "ub") if start == "bias" else (f"{start}_lb", f"{start}_ub")
            clear = self.biases[(self.biases[low] > 0) | (self.biases[high] < 0)]
            names = ", ".join(f"{lab} ({v:+.3g}{unit})" for lab, v in zip(clear["lab"], clear[start], strict=True))
            said.append(f"Biases clearly different from zero, counted {of}: {names or 'none'}.")
        return said

    def plot(self, dark: bool = False) -> Figure:
        """Biases with their intervals, and the bands of s_r and s_R; see `realmat.plots.laboratory.plot_laboratory`."""
        return attached("plot", self)(dark=dark)


def repeatability(posterior: Posterior, unit: str = "") -> Laboratory:
    """Repeatability s_r, reproducibility s_R and the biases of laboratories, from the observation layer.

    Parameters
    ----------
    posterior : Posterior
    unit : str
        Of the response.

    Notes
    -----
    s_r is the root of the noise variance u^2 + scale^2 averaged over the rows (for Student t noise its variance, nu / (nu - 2) times the
    squared scale). The scatter of specimens is a component of the material layer and no part of s_r, unlike in a test that destroys its
    specimen, where E691 cannot tell them apart.
    """
    stream = Stream(posterior)
    s_r2 = _noise_variance(stream)
    blocks = [block for block in posterior.problem.observation.coefficients if block.level is not None]
    sd_of = {name: bias.sd for bias in posterior.problem.observation.biases for name in bias.blocks}
    spreads = {str(block.level): _spread(posterior, sd_of[block.name], stream.indices) for block in blocks}
    draws = {"s_r": np.sqrt(s_r2)}
    meaning = {"s_r": "repeatability standard deviation"}
    for level, variance in spreads.items():
        name = "s_L" if len(spreads) == 1 else f"s_L ({level})"
        draws[name], meaning[name] = np.sqrt(variance), f"standard deviation of the biases by {level}"
    s_big2: Any = s_r2 + sum(spreads.values(), np.zeros_like(s_r2))
    if spreads:
        draws["s_R"], meaning["s_R"] = np.sqrt(s_big2), "reproducibility standard deviation"
    draws["r"], meaning["r"] = LIMIT * np.sqrt(s_r2), f"repeatability limit, {LIMIT} s_r"
    if spreads:
        draws["R"], meaning["R"] = LIMIT * np.sqrt(s_big2), f"reproducibility limit, {LIMIT} s_R"
    bounds = {name: interval(values) for name, values in draws.items()}
    table = pd.DataFrame(
        [(np.median(values), *bounds[name], meaning[name]) for name, values in draws.items()],
        index=pd.Index(list(draws), name="quantity"),
        columns=["value", "lb", "ub", "meaning"],
    )
    problem = posterior.problem
    return Laboratory(
        table, _biases(posterior, blocks, stream.indices), problem.said(problem.response), unit, problem.link == "log", words()
    )


def _noise_variance(stream: Stream) -> np.ndarray:
    """Noise variance averaged over the rows, at each draw of the stream."""
    posterior = stream.posterior
    component, weight = posterior.problem.observation.component, stream.weight / stream.weight.sum()
    out = []
    if posterior.problem.native:
        raise ModelError(
            f"repeatability is that of readings with noise around a value; {posterior.problem.response!r} is counted, or breaks."
        )
    for some in np.array_split(stream.indices, max(1, len(stream.indices) * len(stream) // CHUNK)):
        variance = noise_source(component, stream.noise, [posterior.values(int(i)) for i in some]).full_variance
        out.append(variance[0] if len(variance) == 1 else weight @ variance)
    return np.concatenate(out)


def _spread(posterior: Posterior, sd: Function, indices: np.ndarray) -> np.ndarray:
    """Variance of a block of biases at each draw."""
    return np.array([float(np.mean(np.square(evaluate(sd, posterior.values(int(i)))))) for i in indices])


def _biases(posterior: Posterior, blocks: list[Coefficients], indices: np.ndarray) -> pd.DataFrame:
    records = []
    for block in blocks:
        b = posterior.block(block.name, indices)
        bounds, away = interval(b.T), b - b.mean(axis=1, keepdims=True)
        near = interval(away.T)
        rows = posterior.problem.table.per(posterior.problem.table.codes_in(str(block.level), np.asarray(block.coords)), block.size)
        for k, lab in enumerate(block.coords):
            bias = b[:, k].mean(), b[:, k].std(), *bounds[k]
            records.append((block.level, lab, *bias, away[:, k].mean(), away[:, k].std(), *near[k], int(rows[k])))
    from_mean = ["from_mean", "from_mean_u", "from_mean_lb", "from_mean_ub"]
    return pd.DataFrame(records, columns=["by", "lab", "bias", "u", "lb", "ub", *from_mean, "rows"])
