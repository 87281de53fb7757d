"""Prediction: moments and quantiles of a new measurement, by layer, from the stream of contributions.

Given psi and b a new measurement is Gaussian on the scale of the link (a Student t is a Gaussian whose variance is multiplied by a random
local scale), so the predictive distribution is a mixture of Gaussians over the draws. Its moments and quantiles are computed from
the mixture, not from simulated values: Rao-Blackwell (Gelfand & Smith, J. Am. Stat. Assoc. 85, 398, 1990).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, ndtri

from realmat.attribution.native import predicted
from realmat.posterior.contributions import Source, Stream
from realmat.posterior.draws import Posterior
from realmat.posterior.reading import own_values
from realmat.support.intervals import interval, settings
from realmat.support.links import LINKS, exp, unscaled
from realmat.table.table import Table

if TYPE_CHECKING:
    import xarray as xr

_BLOCK = 8_000_000  # numbers in a block of the mixture
_HELD, _FEWEST = 500, 200  # beyond _BLOCK / _HELD rows fewer draws are held, but never below _FEWEST


def predict(
    posterior: Posterior,
    table: Table | None = None,
    new: str = "observation",
    draws: int | None = None,
    seed: int | None = None,
) -> xr.Dataset:
    """Predict measurements.

    Parameters
    ----------
    posterior : Posterior
    table : Table, optional
        Rows to predict, with or without the response; the rows of the fit by default.
    new : {"observation", "specimen", "material"}
        What counts as new even where the fit has seen it. A level value never seen is always new.
    draws : int, optional
        Also give so many draws of new measurements, as the variable `draws` of shape (draw, row).
    seed : int, optional
        For `draws`, and for the local scales of Student t parts.

    Returns
    -------
    xarray.Dataset
        Along `row`, in response units: `mean`, `sd` (of a new measurement), `mean_sd` (of the value without measurement noise), and
        the bounds `lower`, `upper` of a new measurement at ``az.rcParams["stats.ci_prob"]``; and `contributions` (row, component), the
        posterior mean of each component's part on the scale of the link.

    Raises
    ------
    realmat.ModelError
        For an unknown `new`.

    Notes
    -----
    Counts, fractions and strengths are in response units, with bounds from draws of new readings. With a log link the moments are those
    of the mixture of log-normals. A Student t on the log scale has no moments in response units;
    those of the log-normal with its variance are given in their place, while the bounds are its own.
    """
    rows = len(posterior.problem.cells if table is None else table)
    stream = Stream(posterior, table, new, None if rows * _HELD < _BLOCK else max(_FEWEST, _BLOCK * 2 // rows))
    rng = np.random.default_rng(0 if seed is None else seed)
    log = posterior.problem.link == "log"
    if posterior.problem.native:
        by_cell, parts = predicted(stream, rng)
        return _dataset(stream, by_cell, parts, None if draws is None else simulate(posterior, table, new, draws, rng), new, table)
    collected = _collect(stream, rng, log)
    mean, sd = collected.measurement.moments()
    mean_sd = collected.value.moments()[1]
    lower, upper = _bounds(collected, rng, log)
    by_cell = {"mean": mean, "sd": sd, "mean_sd": mean_sd, "lower": lower, "upper": upper}
    simulated = None if draws is None else simulate(posterior, table, new, draws, rng)
    return _dataset(stream, by_cell, collected.contributions, simulated, new, table)


@dataclass
class _Moments:
    """Running moments over draws of Gaussians, or of log-normals: mean and variance by cell, relative to `reference`.

    That is the first draw; of log-normals the logarithm of the largest standard deviation so far, so that nothing overflows on the way to
    moments that a number holds.
    """

    log: bool
    reference: np.ndarray
    draws: int
    first: np.ndarray
    second: np.ndarray
    within: np.ndarray

    @classmethod
    def start(cls, log: bool, cells: int, draws: int) -> _Moments:
        return cls(log, np.full(cells, np.nan), draws, np.zeros(cells), np.zeros(cells), np.zeros(cells))

    def add(self, mean: np.ndarray, variance: np.ndarray) -> None:
        """Parts of shape (cells, some draws); `variance` may have one row for all cells."""
        if self.log:
            self._refer(np.fmax(self.reference, (mean + variance).max(axis=1)))
            away = mean - self.reference[:, None]
            self.within += (np.exp(2 * (away + variance)) * -np.expm1(-variance)).sum(axis=1)
            away = np.exp(away + variance / 2)
        else:
            self.reference = np.where(np.isnan(self.reference), mean[:, 0], self.reference)
            away = mean - self.reference[:, None]
            self.within += variance.sum(axis=1)
        self.first += away.sum(axis=1)
        self.second += (away**2).sum(axis=1)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation by cell, in response units."""
        mean = self.first / self.draws
        between = np.maximum(self.second - self.first * mean, 0.0) / max(self.draws - 1, 1)
        sd = np.sqrt(between + self.within / self.draws)
        return unscaled(self.reference, mean, sd) if self.log else (self.reference + mean, sd)

    def _refer(self, reference: np.ndarray) -> None:
        """Relative to another reference, from here on and before."""
        shrink = np.exp(np.where(np.isnan(self.reference), 0.0, self.reference - reference))
        self.reference, self.first = reference, self.first * shrink
        self.second, self.within = self.second * shrink**2, self.within * shrink**2


@dataclass
class _Collected:
    """Moments of the value and of its measurement; mean and sampled variance of each part of the mixture, shape (cells, draws)."""

    value: _Moments
    measurement: _Moments
    mean: np.ndarray
    sampled: np.ndarray
    contributions: np.ndarray


def _collect(stream: Stream, rng: np.random.Generator, log: bool) -> _Collected:
    n, size = len(stream), len(stream.indices)
    out = _Collected(
        _Moments.start(log, n, size),
        _Moments.start(log, n, size),
        np.zeros((n, size)),
        np.zeros((n, size)),
        np.zeros((n, len(stream.components))),
    )
    strata: dict[int, np.ndarray] = {}
    for chunk in stream:
        here = chunk.where
        mean = np.zeros((n, here.stop - here.start))
        for k, component in enumerate(stream.components):
            if component in chunk.mean:
                mean += chunk.mean[component]
                out.contributions[:, k] += chunk.mean[component].sum(axis=1) / size
        value, noise, sampled = np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1))
        for j, source in enumerate(chunk.sources):
            drawn = source.variance
            if source.nu is not None:
                if j not in strata:
                    strata[j] = (rng.permutation(size) + 0.5) / size
                drawn = drawn * local_scales(source.nu, strata[j][here])
            sampled = sampled + drawn
            value = value if source.groups is None else value + source.full_variance
            noise = noise + source.full_variance if source.groups is None else noise
        out.value.add(mean, np.broadcast_to(value, (len(value), mean.shape[1])))
        out.measurement.add(mean, value + noise)
        out.mean[:, here], out.sampled[:, here] = mean, sampled
    return out


def local_scales(nu: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Local scales lambda of a Student t as a Gaussian of variance lambda * scale^2: nu / chi2(nu), at quantiles `uniform`."""
    from scipy.special import gammaincinv

    return nu / (2 * gammaincinv(nu / 2, uniform))


def _bounds(c: _Collected, rng: np.random.Generator, log: bool) -> tuple[np.ndarray, np.ndarray]:
    """Predictive interval by cell, in response units."""
    prob, kind = settings()
    if kind == "hdi":
        size = c.mean.shape[1]
        z = ndtri((rng.permutation(size) + 0.5) / size)
        simulated = c.mean + np.sqrt(c.sampled) * z
        found = interval(exp(simulated) if log else simulated)
        return found[:, 0], found[:, 1]
    out = np.empty((2, len(c.mean)))
    step = max(1, _BLOCK // max(c.mean.shape[1], 1))
    for start in range(0, len(c.mean), step):
        rows = slice(start, start + step)
        sd = np.sqrt(c.sampled[rows])
        for k, p in enumerate(((1 - prob) / 2, (1 + prob) / 2)):
            out[k, rows] = mixture_quantile(c.mean[rows], sd, p)
    return (exp(out[0]), exp(out[1])) if log else (out[0], out[1])


def mixture_quantile(mean: np.ndarray, sd: np.ndarray, p: float, tolerance: float = 1e-5) -> np.ndarray:
    """Quantile of equal mixtures of Gaussians, one mixture for each row: bracketed Newton steps on the distribution function.

    Parameters
    ----------
    mean, sd : array of shape (rows, parts)
    p : float
        Probability between 0 and 1.
    tolerance : float
        Relative to the spread of the mixture.

    Returns
    -------
    array of shape (rows,)

    Examples
    --------
    >>> mixture_quantile(np.zeros((1, 2)), np.ones((1, 2)), 0.975).round(4)
    array([1.96])
    """
    sd = np.maximum(sd, 1e-12 * (np.abs(mean) + 1e-300))
    each = mean + sd * ndtri(p)
    low, high = each.min(axis=1), each.max(axis=1)
    spread = np.sqrt(mean.var(axis=1) + (sd**2).mean(axis=1))
    x = np.clip(mean.mean(axis=1) + spread * ndtri(p), low, high)
    active = np.flatnonzero(high - low > tolerance * spread)
    for _ in range(60):
        if not len(active):
            break
        z = (x[active, None] - mean[active]) / sd[active]
        excess = ndtr(z).mean(axis=1) - p
        density = (np.exp(-0.5 * z * z) / sd[active]).mean(axis=1) / np.sqrt(2 * np.pi)
        low[active] = np.where(excess < 0, x[active], low[active])
        high[active] = np.where(excess > 0, x[active], high[active])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = x[active] - excess / density
        inside = (step > low[active]) & (step < high[active])
        following = np.where(inside, step, 0.5 * (low[active] + high[active]))
        moved = np.abs(following - x[active])
        x[active] = following
        active = active[moved > tolerance * spread[active]]
    return x


def simulate(posterior: Posterior, table: Table | None, new: str, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draws of new measurements in response units, shape (draws, rows): rows of the same new specimen share its draw."""
    stream = Stream(posterior, table, new, draws=min(draws, posterior.size))
    size = len(stream.indices)
    order = np.arange(draws) % size
    out = np.empty((draws, len(stream.cell)))
    root = 1.0 if table is None else 1 / np.sqrt(table.count)[:, None]  # a row that stands for several holds their mean
    for chunk in stream:
        mine = np.flatnonzero((order >= chunk.where.start) & (order < chunk.where.stop))
        local = order[mine] - chunk.where.start
        values = chunk.total[:, local][stream.cell]
        native = posterior.problem.native
        for source in chunk.sources[:-1] if native else chunk.sources:
            values = values + _draw(source, stream.cell, local, rng) * (root if source.groups is None else 1.0)
        if native:
            values = _read(stream, values, stream.indices[chunk.where][local], rng)
        out[mine] = values.T
    return out if posterior.problem.native else np.asarray(LINKS[posterior.problem.link].inverse(out))


def _read(stream: Stream, eta: np.ndarray, indices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """New readings of rows with linear predictors `eta` of shape (rows, draws)."""
    noise = stream.noise.take(stream.cell)
    assert noise.density is not None
    return noise.density.draw(eta, own_values(noise, [stream.posterior.values(int(i)) for i in indices]), rng)


def _draw(source: Source, cell: np.ndarray, local: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws of one source by row, shape (rows, len(local))."""
    groups = np.arange(len(cell)) if source.groups is None else source.groups[cell]
    count = int(groups.max()) + 1
    normal = rng.standard_normal((count, len(local)))
    if source.nu is not None:
        nu = source.nu[local]
        normal /= np.sqrt(rng.chisquare(np.broadcast_to(nu, normal.shape)) / nu)
    sd = np.sqrt(source.variance) * (1.0 if source.sign is None else source.sign)
    by_row = sd[:, local] if len(sd) == 1 else sd[cell][:, local]
    return by_row * np.where(groups[:, None] >= 0, normal[groups], 0.0)


def _dataset(
    stream: Stream,
    by_cell: dict[str, np.ndarray],
    contributions: np.ndarray,
    simulated: np.ndarray | None,
    new: str,
    table: Table | None,
) -> xr.Dataset:
    import xarray as xr

    problem = stream.posterior.problem
    prob, kind = settings()
    data = {name: ("row", values[stream.cell]) for name, values in by_cell.items()}
    data["contributions"] = (("row", "component"), contributions[stream.cell])  # type: ignore[assignment]
    if simulated is not None:
        data["draws"] = (("draw", "row"), simulated)  # type: ignore[assignment]
    coords = {"row": stream.index, "component": list(stream.components), "layer": ("component", list(stream.layers))}
    attrs = {
        "response": problem.response,
        "new": new,
        "ci_prob": prob,
        "ci_kind": kind,
        "posterior_draws": len(stream.indices),
        "contributions_scale": "log" if problem.link == "log" else "response",
    }
    return xr.Dataset(data, coords=coords, attrs=attrs)
