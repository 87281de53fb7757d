"""Row by row, draw by draw: log likelihood and predictive draws of the response, for ArviZ."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from realmat.posterior.contributions import Stream
from realmat.posterior.draws import Posterior
from realmat.terms.problem import Problem

_MOST_NUMBERS = 4_000_000


def draws_kept(posterior: Posterior, rows: int) -> np.ndarray:
    """Which draws of every chain are kept so that a group holds at most four million numbers: all, or evenly spaced ones."""
    chains, draws = posterior.shape
    affordable = int(np.clip(_MOST_NUMBERS // max(rows * chains, 1), min(25, draws), draws))
    return np.unique(np.linspace(0, draws - 1, affordable).astype(int))


def groups(posterior: Posterior, seed: int, likelihood: bool = True) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Predictive draws of each measured row and its log likelihood.

    Returns
    -------
    predictive, log_likelihood : arrays of shape (chain, draw, row)
    kept : int array
        The draw numbers, the same in every chain.
    """
    problem = posterior.problem
    kept = draws_kept(posterior, sum(len(part.table) for part in problem.every))
    chains, draws = posterior.shape
    flat = (np.arange(chains)[:, None] * draws + kept).ravel()
    stream = Stream(posterior, draws=posterior.size)
    stream.indices = flat
    rng = np.random.default_rng([seed, 11])
    shape = (len(flat), len(problem.table))
    predictive, log_likelihood = np.empty(shape), np.empty(shape) if likelihood else None
    for chunk in stream:
        mean = np.ascontiguousarray(sum(chunk.mean.values()).T)[:, stream.cell]  # type: ignore[union-attr]
        noise = chunk.sources[-1]
        sd = np.broadcast_to(np.sqrt(noise.variance), (len(stream), mean.shape[0])).T[:, stream.cell]
        nu = None if noise.nu is None else noise.nu[:, None]
        draw = rng.standard_normal(mean.shape)
        if nu is not None:
            draw /= np.sqrt(rng.chisquare(np.broadcast_to(nu, mean.shape)) / nu)
        draw *= sd
        draw += mean
        predictive[chunk.where] = np.exp(draw, out=draw) if problem.link == "log" else draw
        if log_likelihood is not None:
            log_likelihood[chunk.where] = log_density(problem, mean, sd, nu)
    back = (chains, len(kept), len(problem.table))
    return predictive.reshape(back), None if log_likelihood is None else log_likelihood.reshape(back), kept


def log_density(problem: Problem, mean: np.ndarray, sd: np.ndarray, nu: Any) -> np.ndarray:
    """log p(y | psi, b) of each row in response units, shape of `mean` (draws, rows); censored rows give a probability."""
    g = problem.g
    z = (g - mean) / sd
    if nu is None:
        count, within = problem.table.count, 0.0 if problem.table.within is None else problem.table.within
        out = -0.5 * (count * z**2 + within / sd**2) - count * (np.log(sd) + 0.5 * np.log(2 * np.pi))
    else:
        constant = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * np.log(nu * np.pi)
        out = constant - np.log(sd) - (nu + 1) / 2 * np.log1p(z**2 / nu)
    if problem.link == "log":
        out = out - problem.table.count * g  # the Jacobian: densities are of y, not of log y
    censored = problem.observation.noise(problem.table).censored if problem.observation.noise else None
    if censored is not None and censored.any():
        for side in (-1, 1):
            rows = np.flatnonzero(censored == side)
            tail = -side * z[:, rows]
            out[:, rows] = special.log_ndtr(tail) if nu is None else np.log(special.stdtr(nu, tail))
    return out
