"""Hamiltonian Monte Carlo with all chains in one array (Duane et al., Phys. Lett. B 195, 216, 1987; Neal, Handbook of MCMC, 2011).

All chains have one step size, learnt together; every iteration has a length of its own, a quarter of a turn of a standard normal give or
take, so that no period is hit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import numpy as np

Density = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
_ACCEPT, _GAIN = 0.8, 0.4
_FIRST_STEP = 0.3
_QUARTER, _MOST_STEPS = 1.57, 24


def halved(at: Density, pool: ThreadPoolExecutor | None) -> Density:
    """The same density of half the chains at a time, side by side where there is a pool: the same numbers with one."""

    def both(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = np.array_split(q, 2, axis=1)
        if pool is None:
            found = [at(part) for part in parts]
        else:  # a thread of a pool has a context of its own, where NumPy warns as by default
            found = list(pool.map(lambda context, part: context.run(at, part), [copy_context() for _ in parts], parts))
        return np.concatenate([value for value, _ in found]), np.concatenate([slope for _, slope in found], axis=1)

    return both


class Chains:
    """Chains at q of shape (size, n) in coordinates that nearly are standard normal.

    Parameters
    ----------
    at : callable
        Log density (n,) and gradient (size, n) at q.
    q : array of shape (size, n)
    rng : numpy Generator
    step : float, optional
    """

    def __init__(self, at: Density, q: np.ndarray, rng: np.random.Generator, step: float | None = None) -> None:
        self.at, self.q, self.rng, self.step = at, q, rng, _FIRST_STEP if step is None else step
        self.value, self.slope = at(q)
        self.gradients = 0

    def move(self, adapt: bool = False) -> float:
        """One iteration of every chain; returns the mean acceptance."""
        momentum = self.rng.standard_normal(self.q.shape)
        energy = self.value - 0.5 * np.sum(momentum * momentum, axis=0)
        q, value, slope = self.q, self.value, self.slope
        steps = min(_MOST_STEPS, int(np.ceil(self.rng.uniform(0.7, 1.3) * _QUARTER / self.step)))
        for _ in range(steps):
            momentum += 0.5 * self.step * slope
            q = q + self.step * momentum
            value, slope = self.at(q)
            momentum += 0.5 * self.step * slope
        self.gradients += steps
        change = value - 0.5 * np.sum(momentum * momentum, axis=0) - energy
        accept = np.exp(np.minimum(np.where(np.isfinite(change), change, -np.inf), 0.0))
        moved = self.rng.random(len(accept)) < accept
        self.q, self.value = np.where(moved, q, self.q), np.where(moved, value, self.value)
        self.slope = np.where(moved, slope, self.slope)
        mean = float(accept.mean())
        if adapt:
            self.step = min(self.step * float(np.exp(_GAIN * (mean - _ACCEPT))), _QUARTER)
        return mean
