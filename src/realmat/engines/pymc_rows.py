"""Measured rows in a PyMC model: noise, log density, and the observed variable."""

from __future__ import annotations

from typing import Any

import numpy as np

from realmat.support.links import LINKS
from realmat.table.table import Table
from realmat.terms.term import Noise, Rows, Values, degrees


def sd_of(noise: Noise, p: Values) -> Any:
    """Standard deviation of a single measurement, by row of the Rows; a scalar where it is one inferred scale."""
    import pytensor.tensor as pt

    if noise.scales is None or (noise.group < 0).all():
        return noise.u
    scales = pt.as_tensor(noise.scales(p, pt))
    if not noise.u.any() and (noise.group == noise.group[0]).all():
        return scales[int(noise.group[0])]
    inferred = pt.where(noise.group >= 0, scales[np.maximum(noise.group, 0)] ** 2, 0.0)
    return pt.sqrt(noise.u**2 + inferred)


def log_density(value: Any, mean: Any, sd: Any, nu: Any, censored: np.ndarray | None) -> Any:
    """Elementwise log density of measurements on the scale of the link; log probability of the stated side where censored."""
    import pymc as pm
    import pytensor.tensor as pt

    dist = pm.Normal.dist(mean, sd) if nu is None else pm.StudentT.dist(nu=nu, mu=mean, sigma=sd)
    out = pm.logp(dist, value)
    if censored is None or not censored.any():
        return out
    beyond = pm.logcdf(dist, pt.where(censored > 0, 2 * mean - value, value))  # P(y > value) = P(y < 2 mean - value), by symmetry
    return pt.where(censored == 0, out, beyond)


def own_parameters(noise: Noise, p: Values) -> dict[str, Any]:
    """Own parameters of a density by row, in PyTensor."""
    import pytensor.tensor as pt

    return {q.name: pt.as_tensor(q.value(p, pt))[q.group] for q in noise.parameters}


def density_of(rows: Rows, mean: Any, p: Values) -> Any:
    """Elementwise log density of rows about their mean; where they stand for several measurements, that of all of these."""
    import pymc as pm

    noise = rows.noise
    if noise.density is not None:
        return noise.density.symbolic(pm, rows.y, mean, own_parameters(noise, p))
    sd = sd_of(noise, p)
    density = log_density(rows.y, mean, sd, None if noise.nu is None else degrees(noise.nu, p), noise.censored)
    if rows.within.any():
        density = density - 0.5 * rows.within / (rows.count * sd**2)
    return density if (rows.count == 1).all() else rows.count * density


def observe(rows: Rows, y: np.ndarray, mean: Any, index: np.ndarray, p: Values, dim: str, link: str, table: Table | None = None) -> None:
    """An observed variable under the name of the rows; `y` is in the response's own unit, also where the link is another scale.

    Rows of a table that was reduced where it lives are means; what their measurements scatter about them is a potential beside.
    """
    import pymc as pm
    import pytensor.tensor as pt

    if rows.noise.density is not None:
        return _observe_density(rows, y, mean, index, p, dim, link)
    sd = sd_of(rows.noise, p)
    sd = sd if np.ndim(sd) == 0 else sd[index]
    if table is not None and table.within is not None:
        pm.Potential(f"{rows.name}_within", pt.sum(-0.5 * table.within / sd**2 - (table.count - 1) * pt.log(sd)))
        sd = sd / np.sqrt(table.count)
    nu = () if rows.noise.nu is None else (degrees(rows.noise.nu, p),)
    flags = None if rows.noise.censored is None or not rows.noise.censored.any() else rows.noise.censored[index]
    if flags is None and link != "logit" and not (link == "log" and nu):
        family = pm.LogNormal if link == "log" else pm.StudentT if nu else pm.Normal
        family(rows.name, mu=mean, sigma=sd, **({"nu": nu[0]} if nu else {}), observed=y, dims=(dim,))
        return None

    def logp(value: Any, mean: Any, sd: Any, *nu: Any) -> Any:
        density = log_density(_forward(value, link), mean, sd, nu[0] if nu else None, flags)
        measured = 1.0 if flags is None else (flags == 0).astype(float)
        return density + measured * _steepness(value, link)  # a limit is a probability and has no Jacobian

    def dist(mean: Any, sd: Any, *rest: Any) -> Any:
        *nu, size = rest
        base = pm.StudentT.dist(nu=nu[0], mu=mean, sigma=sd, size=size) if nu else pm.Normal.dist(mean, sd, size=size)
        return pt.exp(base) if link == "log" else pt.sigmoid(base) if link == "logit" else base

    pm.CustomDist(rows.name, mean, sd, *nu, logp=logp, dist=dist, observed=y, dims=(dim,))
    return None


def _observe_density(rows: Rows, y: np.ndarray, mean: Any, index: np.ndarray, p: Values, dim: str, link: str) -> None:
    """Counts, fractions, strengths, limits, digits: the density says what each row is."""
    import pymc as pm

    noise = rows.noise.take(index)
    density, own = noise.density, own_parameters(noise, p)
    assert density is not None
    points = 0.0 if density.native else np.broadcast_to(density.points, len(index)).astype(float)

    def logp(value: Any, mean: Any, *own_values: Any) -> Any:
        return density.symbolic(pm, rows.y[index], mean, dict(zip(own, own_values, strict=True))) + points * _steepness(y, link)

    def random(mean: Any, *rest: Any, rng: np.random.Generator, size: Any = None) -> np.ndarray:
        eta = np.broadcast_to(np.asarray(mean, dtype=float), (len(index),))[:, None]
        values = {name: np.asarray(value, dtype=float)[:, None] for name, value in zip(own, rest, strict=True)}
        drawn = density.draw(eta, values, rng)[:, 0]
        return drawn if density.native else np.asarray(LINKS[link].inverse(drawn))

    pm.CustomDist(rows.name, mean, *own.values(), logp=logp, random=random, observed=y, dims=(dim,))


def _forward(value: Any, link: str) -> Any:
    import pytensor.tensor as pt

    return pt.log(value) if link == "log" else pt.log(value) - pt.log1p(-value) if link == "logit" else value


def _steepness(value: Any, link: str) -> Any:
    """Log derivative of the link, by which a density in response units differs from that on the scale of the link."""
    import pytensor.tensor as pt

    return -pt.log(value) if link == "log" else -pt.log(value) - pt.log1p(-value) if link == "logit" else 0.0
