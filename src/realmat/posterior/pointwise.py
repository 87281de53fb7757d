"""Row by row, draw by draw: log likelihood and predictive draws of the response, for ArviZ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from realmat.posterior.contributions import Stream
from realmat.posterior.draws import Posterior
from realmat.posterior.reading import own_values
from realmat.support.links import LINKS
from realmat.terms.problem import Problem
from realmat.terms.term import Noise, Values

_MOST_NUMBERS = 4_000_000


def draws_kept(posterior: Posterior, rows: int) -> np.ndarray:
    """Which draws of every chain are kept so that a group holds at most four million numbers: all, or evenly spaced ones."""
    chains, draws = posterior.shape
    affordable = int(np.clip(_MOST_NUMBERS // max(rows * chains, 1), min(25, draws), draws))
    return np.unique(np.linspace(0, draws - 1, affordable).astype(int))


def groups(posterior: Posterior, seed: int, likelihood: bool = True) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Predictive draws of each measured row and its log likelihood; a row that stands for several holds their mean.

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
    noise = problem.response_rows.noise.take(stream.cell)
    shape = (len(flat), len(problem.table))
    predictive, log_likelihood = np.empty(shape), np.empty(shape) if likelihood else None
    for chunk in stream:
        mean = np.ascontiguousarray(chunk.total.T)[:, stream.cell]
        if noise.density is not None:
            values = [posterior.values(int(i)) for i in stream.indices[chunk.where]]
            predictive[chunk.where] = in_units(problem, noise.density.draw(mean.T, own_values(noise, values), rng).T)
            if log_likelihood is not None:
                log_likelihood[chunk.where] = density_log(problem, noise, mean.T, values).T
            continue
        source = chunk.sources[-1]
        sd = np.broadcast_to(np.sqrt(source.variance), (len(stream), mean.shape[0])).T[:, stream.cell]
        nu = None if source.nu is None else source.nu[:, None]
        draw = rng.standard_normal(mean.shape)
        if nu is not None:
            draw /= np.sqrt(rng.chisquare(np.broadcast_to(nu, mean.shape)) / nu)
        draw *= sd / np.sqrt(problem.table.count)  # a row that stands for several holds their mean
        draw += mean
        predictive[chunk.where] = in_units(problem, draw)
        if log_likelihood is not None:
            log_likelihood[chunk.where] = log_density(problem, mean, sd, nu)
    back = (chains, len(kept), len(problem.table))
    return predictive.reshape(back), None if log_likelihood is None else log_likelihood.reshape(back), kept


def in_units(problem: Problem, readings: np.ndarray) -> np.ndarray:
    """Readings as their density has them, in response units."""
    return readings if problem.native else np.asarray(LINKS[problem.link].inverse(readings))


def jacobian(problem: Problem) -> np.ndarray:
    """From log densities of what is read to those of the response, shape (rows,); 0 where a row only has a probability."""
    noise, y = problem.response_rows.noise, problem.table.numeric(problem.response)
    if problem.native or problem.link == "identity":
        return np.zeros(len(y))
    exact = np.ones(len(problem.response_rows.y), dtype=bool)
    if noise.censored is not None:
        exact = noise.censored == 0
    if noise.density is not None and not noise.density.native:
        exact = noise.density.points
    return np.where(exact[problem.cell], np.log(LINKS[problem.link].slope(y)), 0.0)


def density_log(problem: Problem, noise: Noise, eta: np.ndarray, values: Sequence[Values]) -> np.ndarray:
    """log p(y | psi, b) in response units by a row's density, shape of `eta` (rows, psi); `noise` is that of the rows."""
    assert noise.density is not None
    return noise.density.log(problem.g, eta, own_values(noise, values)) + jacobian(problem)[:, None]


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
    out = out + problem.table.count * jacobian(problem)
    censored = problem.observation.noise(problem.table).censored if problem.observation.noise else None
    if censored is not None and censored.any():
        for side in (-1, 1):
            rows = np.flatnonzero(censored == side)
            tail = -side * z[:, rows]
            out[:, rows] = special.log_ndtr(tail) if nu is None else np.log(special.stdtr(nu, tail))
    return out
