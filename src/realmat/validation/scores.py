"""Scores of left-out predictions: each is a weighted mixture of normals (log-normals with a log link) over posterior draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr

from realmat.posterior.grouping import Groups
from realmat.support.links import unscaled
from realmat.terms.problem import Problem

if TYPE_CHECKING:
    import pandas as pd

_PARTS = 32  # parts of the mixture that stand for all draws in the CRPS
_NUMBERS = 4_000_000
_SQRT_2PI = float(np.sqrt(2 * np.pi))
COVERAGES = (0.5, 0.8, 0.95)


@dataclass(frozen=True)
class Moments:
    """Of the value behind each (group, cell) pair and of what a single measurement adds, by draw, on the scale of the link.

    Attributes
    ----------
    mean, variance, noise : array of shape (draws, pairs)
    """

    mean: np.ndarray
    variance: np.ndarray
    noise: np.ndarray

    @classmethod
    def empty(cls, draws: int, pairs: int, kind: Any = float) -> Moments:
        """Zeros to be filled."""
        return cls(*(np.zeros((draws, pairs), dtype=kind) for _ in range(3)))

    def of(self, where: Any, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of means of `count` measurements."""
        return self.mean[where].astype(float), self.variance[where].astype(float) + self.noise[where].astype(float) / count


def row_scores(problem: Problem, groups: Groups, moments: Moments, weight: np.ndarray) -> pd.DataFrame:
    """Mean, sd, PIT and CRPS of each row from the moments of each draw.

    Parameters
    ----------
    problem, groups
    moments : Moments
    weight : array of shape (draws, groups)
        Adding up to one over draws.

    Returns
    -------
    DataFrame
        Indexed as the table: group, y, mean, sd, pit, crps, in response units.
    """
    import pandas as pd

    log = problem.link == "log"
    rows = np.flatnonzero(groups.of_row >= 0)
    out = {name: np.empty(len(rows)) for name in ("mean", "sd", "pit", "crps")}
    chosen = _stratified(weight)
    step = max(1, _NUMBERS // max(len(moments.mean), _PARTS * _PARTS))
    for start in range(0, len(rows), step):
        here = slice(start, start + step)
        pair, group, g = groups.pair[rows[here]], groups.of_row[rows[here]], problem.g[rows[here]]
        count, w = problem.table.count[rows[here]], weight[:, group]
        m, v = moments.of((slice(None), pair), count)
        out["mean"][here], out["sd"][here] = _moments(m, v, w, log)
        out["pit"][here] = np.sum(w * ndtr((g - m) / np.sqrt(v)), axis=0)
        some, spread = moments.of((chosen[:, group], pair), count)
        out["crps"][here] = crps(some, np.sqrt(spread), g, log)
    noise = problem.response_rows.noise
    if noise.censored is not None:
        beyond = noise.censored[problem.cell[rows]] != 0
        out["pit"][beyond] = out["crps"][beyond] = np.nan
    y = problem.table.numeric(problem.response)[rows]
    return pd.DataFrame({"group": groups.labels[groups.of_row[rows]], "y": y, **out}, index=problem.table.index[rows])


def summary(table: pd.DataFrame) -> dict[str, float]:
    """Scores over the rows of `row_scores` that are not censored."""
    own = table[table["pit"].notna()]
    error = own["y"] - own["mean"]
    out = {"rmse": float(np.sqrt((error**2).mean())), "mae": float(error.abs().mean()), "crps": float(own["crps"].mean())}
    for p in COVERAGES:
        out[f"coverage_{100 * p:.0f}"] = float(((own["pit"] - 0.5).abs() <= p / 2).mean())
    return {**out, "sharpness": float(own["sd"].mean())}


def _stratified(weight: np.ndarray) -> np.ndarray:
    """Draws that stand for the weighted ones, by systematic resampling: int array of shape (parts, groups)."""
    total = np.cumsum(weight, axis=0)
    at = (np.arange(_PARTS) + 0.5) / _PARTS
    return np.stack([np.minimum(np.searchsorted(column / column[-1], at), len(column) - 1) for column in total.T], axis=1)


def _moments(m: np.ndarray, v: np.ndarray, w: np.ndarray, log: bool) -> tuple[np.ndarray, np.ndarray]:
    if not log:
        mean = np.sum(w * m, axis=0)
        return mean, np.sqrt(np.sum(w * (v + (m - mean) ** 2), axis=0))
    top = np.max(m + v, axis=0)
    each = np.exp(m - top + v / 2)
    mean = np.sum(w * each, axis=0)
    variance = np.sum(w * ((each - mean) ** 2 - np.exp(2 * (m - top + v)) * np.expm1(-v)), axis=0)
    return unscaled(top, mean, np.sqrt(variance))


def crps(mean: np.ndarray, sd: np.ndarray, g: np.ndarray, log: bool = False) -> np.ndarray:
    """Continuous ranked probability score of equal mixtures, ``E|X - y| - E|X - X'| / 2``, in response units.

    Parameters
    ----------
    mean, sd : array of shape (parts, rows)
        Of the normal parts on the scale of the link.
    g : array of shape (rows,)
        Observations on the scale of the link.
    log : bool
        Whether the parts are log-normal in response units.

    Notes
    -----
    Normal mixtures: Grimit, Gneiting, Berrocal & Johnson, Q. J. R. Meteorol. Soc. 132, 2925 (2006); log-normal: Baran & Lerch, Q. J. R.
    Meteorol. Soc. 141, 2289 (2015).

    Examples
    --------
    >>> crps(np.zeros((1, 1)), np.ones((1, 1)), np.zeros(1)).round(4)
    array([0.2337])
    """
    away = _log_distance if log else _distance
    zero = np.zeros_like(g)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite less infinite: of readings that no mean has
        first = away(mean, sd, g, zero).mean(axis=0)
        second = away(mean[:, None], sd[:, None], mean[None], sd[None]).mean(axis=(0, 1))
        return np.nan_to_num(first - 0.5 * second, nan=np.inf, posinf=np.inf)


def _distance(m: np.ndarray, s: np.ndarray, m2: np.ndarray, s2: np.ndarray) -> np.ndarray:
    """E|X - X'| of independent normals."""
    spread = np.sqrt(s**2 + s2**2)
    z = (m - m2) / spread
    return np.asarray(spread * (z * (2 * ndtr(z) - 1) + 2 * np.exp(-0.5 * z * z) / _SQRT_2PI))


def _log_distance(m: np.ndarray, s: np.ndarray, m2: np.ndarray, s2: np.ndarray) -> np.ndarray:
    """E|exp X - exp X'| of independent normals."""
    spread = np.sqrt(s**2 + s2**2)
    first = np.exp(m + s**2 / 2) * (2 * ndtr((m - m2 + s**2) / spread) - 1)
    return np.asarray(first + np.exp(m2 + s2**2 / 2) * (2 * ndtr((m2 - m + s2**2) / spread) - 1))
