"""Chains over hyperparameters and coefficients together, for what importance sampling does not do or is not trusted with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from realmat.algebra import System
from realmat.algebra.space import Space
from realmat.engines.chains import Sampler, Start
from realmat.engines.exact.explore import Explored, mode
from realmat.engines.exact.space import Density
from realmat.engines.exact.store import Store
from realmat.posterior.draws import Draws

_NARROWEST, _WIDEST = 1e-4, 1.0  # sd of a coordinate at the mode
_STEP = 1e-4  # of differences between coordinates


def sample(
    system: System,
    draws: int,
    chains: int,
    seed: int,
    latents: str,
    progress: bool,
    why: str,
    explored: Explored | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Draws:
    """Chains that start from what was explored, or from the mode of the hyperparameters, rows taken as normal.

    Where rows are normal, the coefficients that come back are drawn afresh and exactly, given the hyperparameters.
    """
    space = Space(system.problem.params)
    joint = System(system.problem, leaf=False) if system.leaf is not None else system
    with np.errstate(all="ignore"):  # where a step ends in a place that no posterior has
        start = _mode(system, space) if explored is None else _of(explored, space)
        run = Sampler(joint, space, start, seed, chains, keep=system.augmented).run(draws, progress)
    facts = {**(facts or {}), "method": "Hamiltonian chains on hyperparameters and coefficients", "why": why, **run.facts}
    store = Store(system, run.thetas.shape[0], run.thetas.shape[1], latents)
    if not system.augmented:
        store.fill(run.thetas, Density(system), seed)
    elif latents == "draws":
        store.b = run.b
    else:
        store.mean, store.square = run.b.mean(axis=(0, 1)), run.b.var(axis=(0, 1))
    return store.draws(run.thetas, space, {}, facts)


def _mode(system: System, space: Space) -> Start:
    if not space.size:
        return Start(np.zeros(0), np.zeros((0, 0)))
    density = Density(system, aux=system.example_auxiliary())  # without heavy tails or limits
    location, covariance = mode(density)

    def plain(theta: np.ndarray) -> np.ndarray:
        return space.theta(density.space.values(theta))

    turn = np.array([(plain(location + step) - plain(location - step)) / (2 * _STEP) for step in _STEP * np.eye(space.size)]).T
    covariance = turn @ covariance @ turn.T
    eigenvalues, vectors = np.linalg.eigh(np.where(np.isfinite(covariance), covariance, 0.0))
    return Start(plain(location), vectors * np.sqrt(np.clip(eigenvalues, _NARROWEST**2, _WIDEST**2)), known=not system.augmented)


def _of(explored: Explored, space: Space) -> Start:
    """Mean, covariance and draws of what was explored, in logarithms of positive parameters."""
    seen = np.flatnonzero(explored.weights > 0)
    thetas = np.stack([space.theta(explored.density.space.values(explored.thetas[i])) for i in seen])
    finite = np.isfinite(thetas).all(axis=1)
    thetas, weights = thetas[finite], explored.weights[seen][finite]
    weights = weights / weights.sum()
    mean = weights @ thetas
    eigenvalues, vectors = np.linalg.eigh((thetas - mean).T @ ((thetas - mean) * weights[:, None]))
    return Start(mean, vectors * np.sqrt(np.maximum(eigenvalues, 1e-12)), thetas, weights, known=True)
