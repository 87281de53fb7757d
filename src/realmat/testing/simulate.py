"""A problem with known truth: parameters and coefficients from the prior, and measurements from both."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from realmat.posterior import prior_draws
from realmat.posterior.reading import own_values
from realmat.terms.problem import Problem
from realmat.terms.term import Contribution, Noise, Rows, Values, degrees, evaluate


@dataclass(frozen=True)
class Simulated:
    """A problem whose measurements were simulated.

    Attributes
    ----------
    problem : Problem
        As the one given, with new measured values (the response and every characterisation).
    values : mapping of str to float or array
        The true hyperparameters.
    coefficients : mapping of str to array
        The true coefficients by block.
    """

    problem: Problem
    values: dict[str, Any]
    coefficients: dict[str, np.ndarray]


def simulate(problem: Problem, seed: int) -> Simulated:
    """Draw psi and b from their prior and every measured row from the model.

    Since truth comes from the very prior that a fit uses, posterior intervals must cover it exactly as often as they say
    (Talts et al., arXiv:1804.06788).

    Parameters
    ----------
    problem : Problem
    seed : int

    Returns
    -------
    Simulated
    """
    prior = prior_draws.draw(problem, 1, seed)
    values = prior.values(0)
    b = {name: draws[0, 0] for name, draws in prior.draws.coefficients.items()}
    rng = np.random.default_rng([seed, 11])
    new: dict[str, Rows] = {}  # what several properties share is measured once
    parts = []
    for part in (problem, *problem.beside):
        response = _simulated(part.response_rows, _measured_mean(part, values, b), values, rng)
        terms = []
        for term in part.terms:
            for r in term.rows:
                if r.name not in new:
                    new[r.name] = _simulated(r, _row_mean(r, values, b), values, rng)
            terms.append(dataclasses.replace(term, rows=tuple(new[r.name] for r in term.rows)))
        parts.append(dataclasses.replace(part, response_rows=response, terms=tuple(terms), beside=()))
    return Simulated(dataclasses.replace(parts[0], beside=tuple(parts[1:])), values, b)


def _measured_mean(part: Problem, values: Values, b: Mapping[str, np.ndarray]) -> np.ndarray:
    """As `mean_of`, with what of the noise is a coefficient."""
    rest = part.response_rows.pieces[sum(len(c.pieces) for c in part.contributions) :]
    return mean_of(part, values, b) + contribution_of(Contribution(tuple(piece for _, piece in rest)), len(part.cells), values, b)


def mean_of(problem: Problem, values: Values, b: Mapping[str, np.ndarray]) -> np.ndarray:
    """Noiseless g(y) of every cell at given parameters and coefficients, shape (cells,)."""
    parts = [contribution_of(c, len(problem.cells), values, b) for c in problem.contributions]
    return np.sum(parts, axis=0)


def contribution_of(contribution: Contribution, rows: int, values: Values, b: Mapping[str, np.ndarray]) -> np.ndarray:
    """What one contribution adds to each row, less what is drawn anew, shape (rows,)."""
    out = np.zeros(rows)
    for piece in contribution.pieces:
        out = out + evaluate(piece.scale, values) * (piece.matrix @ b[piece.coefficients])
    if contribution.offset is not None:
        out = out + np.asarray(contribution.offset(values, np), dtype=float)
    if contribution.nonlinear is not None:
        out = out + np.asarray(contribution.nonlinear(values, b, np), dtype=float)
    return out


def _row_mean(rows: Rows, values: Values, b: Mapping[str, np.ndarray]) -> np.ndarray:
    mean = np.zeros(len(rows.y))
    for _, piece in rows.pieces:
        mean = mean + evaluate(piece.scale, values) * (piece.matrix @ b[piece.coefficients])
    for _, offset in rows.offsets:
        mean = mean + np.asarray(offset(values, np), dtype=float)
    return mean


def _simulated(rows: Rows, mean: np.ndarray, values: Values, rng: np.random.Generator) -> Rows:
    """New values of measured rows. A row with a limit is censored where its new value lies beyond it, and measured where not."""
    noise = rows.noise
    if noise.density is not None:
        y, density = noise.density.anew(rows.y, mean[:, None], own_values(noise, [values]), rng)
        return dataclasses.replace(rows, y=y, noise=dataclasses.replace(noise, density=density, censored=None))
    scales = np.append(np.asarray(noise.scales(values, np), dtype=float), 0.0) if noise.scales is not None else np.zeros(1)
    variance = noise.u**2 + scales[noise.group] ** 2
    if noise.nu is not None:
        nu = degrees(noise.nu, values)
        variance = variance * nu / rng.chisquare(nu, len(mean))
    y = mean + np.sqrt(variance / rows.count) * rng.standard_normal(len(mean))
    within = np.where(rows.count > 1, variance * rng.chisquare(np.maximum(rows.count - 1, 1)), 0.0)
    censored = noise.censored
    if censored is not None:
        beyond = (censored != 0) & (censored * (y - rows.y) > 0)
        y, censored = np.where(beyond, rows.y, y), np.where(beyond, censored, 0)
    return dataclasses.replace(rows, y=y, within=within, noise=Noise(noise.u, noise.group, noise.scales, noise.nu, censored))
