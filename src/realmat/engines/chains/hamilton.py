"""Hamiltonian Monte Carlo with all chains in one array (Duane et al., Phys. Lett. B 195, 216, 1987; Neal, Handbook of MCMC, 2011).

In coordinates that nearly are standard normal, motion under the standard normal alone is a rotation, which is exact for any step; what the
density pulls besides comes in kicks (Shahbaba, Lan, Johnson & Neal, Statistics and Computing 24, 339, 2014). Their weights are those of
Simpson's rule, so that the error to first order in these pulls has the fourth power of the step (the scheme SBAB2 of Laskar & Robutel,
Celestial Mechanics and Dynamical Astronomy 80, 39, 2001). All chains have one step size, learnt together; every iteration has a length
of its own, about a third of a turn, so that no period is hit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import numpy as np

Density = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
_ACCEPT, _GAIN = 0.8, 0.4
_FIRST_STEP = 0.3
_LENGTH, _MOST_STEPS = 2.0, 12  # radians of an iteration on average, and rotations of it, each with two gradients
_LONGEST = 1.5  # step
_KICKS = (1 / 6, 2 / 3, 1 / 6)


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
        Radians for each gradient.

    Attributes
    ----------
    still : int array of shape (n,)
        Iterations since each chain moved.
    """

    def __init__(self, at: Density, q: np.ndarray, rng: np.random.Generator, step: float | None = None) -> None:
        self.at, self.q, self.rng, self.step = at, q, rng, _FIRST_STEP if step is None else step
        self.value, self.slope = at(q)
        self.still = np.zeros(q.shape[1], dtype=int)

    def take(self, source: np.ndarray) -> None:
        """Let chain i go on from where chain `source[i]` is."""
        self.q, self.value, self.slope = self.q[:, source], self.value[source], self.slope[:, source]
        self.still = self.still[source]

    def move(self, adapt: bool = False) -> float:
        """One iteration of every chain; returns the mean acceptance."""
        momentum = self.rng.standard_normal(self.q.shape)
        energy = self.value - 0.5 * np.sum(momentum * momentum, axis=0)
        length = self.rng.uniform(0.7, 1.3) * _LENGTH
        count = min(_MOST_STEPS, int(np.ceil(0.5 * length / self.step)))
        turn = min(length / count, 2 * self.step)
        cosine, sine = np.cos(0.5 * turn), np.sin(0.5 * turn)
        first, middle, last = (kick * turn for kick in _KICKS)
        q, value, slope = self.q, self.value, self.slope
        for _ in range(count):
            for kick in (first, middle):
                momentum += kick * (slope + q)
                q, momentum = cosine * q + sine * momentum, cosine * momentum - sine * q
                value, slope = self.at(q)
            momentum += last * (slope + q)
        change = value - 0.5 * np.sum(momentum * momentum, axis=0) - energy
        accept = np.exp(np.minimum(np.where(np.isfinite(change), change, -np.inf), 0.0))
        moved = self.rng.random(len(accept)) < accept
        self.q, self.value = np.where(moved, q, self.q), np.where(moved, value, self.value)
        self.slope, self.still = np.where(moved, slope, self.slope), np.where(moved, 0, self.still + 1)
        mean = float(accept.mean())
        if adapt:
            self.step = min(self.step * float(np.exp(_GAIN * (mean - _ACCEPT))), _LONGEST)
        return mean
