"""Measured rows in a PyMC model: noise, log density, and the observed variable."""

from __future__ import annotations

from typing import Any

import numpy as np

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


def observe(rows: Rows, y: np.ndarray, mean: Any, index: np.ndarray, p: Values, dim: str, log: bool, table: Table | None = None) -> None:
    """An observed variable under the name of the rows; `y` is in the response's own unit, also where the link is a logarithm.

    Rows of a table that was reduced where it lives are means; what their measurements scatter about them is a potential beside.
    """
    import pymc as pm
    import pytensor.tensor as pt

    sd = sd_of(rows.noise, p)
    sd = sd if np.ndim(sd) == 0 else sd[index]
    if table is not None and table.within is not None:
        pm.Potential(f"{rows.name}_within", pt.sum(-0.5 * table.within / sd**2 - (table.count - 1) * pt.log(sd)))
        sd = sd / np.sqrt(table.count)
    nu = () if rows.noise.nu is None else (degrees(rows.noise.nu, p),)
    flags = None if rows.noise.censored is None or not rows.noise.censored.any() else rows.noise.censored[index]
    if flags is None and not (log and nu):
        family = pm.LogNormal if log else pm.StudentT if nu else pm.Normal
        family(rows.name, mu=mean, sigma=sd, **({"nu": nu[0]} if nu else {}), observed=y, dims=(dim,))
        return

    def logp(value: Any, mean: Any, sd: Any, *nu: Any) -> Any:
        density = log_density(pt.log(value) if log else value, mean, sd, nu[0] if nu else None, flags)
        measured = 1.0 if flags is None else (flags == 0).astype(float)
        return density - measured * pt.log(value) if log else density  # the Jacobian; a limit is a probability and has none

    def dist(mean: Any, sd: Any, *rest: Any) -> Any:
        *nu, size = rest
        base = pm.StudentT.dist(nu=nu[0], mu=mean, sigma=sd, size=size) if nu else pm.Normal.dist(mean, sd, size=size)
        return pt.exp(base) if log else base

    pm.CustomDist(rows.name, mean, sd, *nu, logp=logp, dist=dist, observed=y, dims=(dim,))
