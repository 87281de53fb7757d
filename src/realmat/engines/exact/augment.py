"""Student t and censored parts: auxiliary values alternated with exact draws of the coefficients.

One iteration, each step leaving the joint posterior as it is:

1. psi given the auxiliary values, coefficients integrated out (Metropolis-Hastings, one factorisation a proposal);
2. b given psi and the auxiliary values, exactly;
3. psi given b, auxiliary values integrated out (cheap: no factorisation), which breaks the tie between a scale and its local factors;
4. auxiliary values given psi and b, exactly.

Proposals adapt during warm-up only, pooled over chains (Haario, Saksman & Tamminen, Bernoulli 7, 223, 2001).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from realmat.engines.exact.explore import mode
from realmat.engines.exact.space import Density
from realmat.engines.progress import Progress
from realmat.gaussian import System, auxiliary
from realmat.posterior import Draws

WARM_UP = 500
_COLLAPSED_MOVES, _CHEAP_MOVES = 2, 3
_ADAPT = 25


@dataclass
class _State:
    theta: np.ndarray
    aux: dict[str, np.ndarray]
    b: np.ndarray
    rng: np.random.Generator


class _Surrogate(Density):
    """The collapsed density with auxiliary values held fixed: Gaussian, so its mode is a place to start."""

    def __init__(self, system: System, aux: dict[str, np.ndarray]) -> None:
        super().__init__(system)
        self.aux = aux

    def one(self, theta: np.ndarray) -> float:
        self.evaluations += 1
        return _collapsed(self, theta, self.aux)


def _collapsed(density: Density, theta: np.ndarray, aux: dict[str, np.ndarray]) -> float:
    """log p(psi | auxiliary values, y) up to a constant."""
    with np.errstate(all="ignore"):
        values = density.space.values(theta)
        prior = density.space.log_prior(theta, values)
        if not np.isfinite(prior):
            return -np.inf
        everything = {**values, **aux}
        value = prior + density.system.log_marginal(everything) + auxiliary.log_local(density.system, everything)
    return value if np.isfinite(value) else -np.inf


def _given_b(density: Density, theta: np.ndarray, b: np.ndarray) -> float:
    """log p(psi | b, y) up to a constant, auxiliary values integrated out."""
    with np.errstate(all="ignore"):
        values = density.space.values(theta)
        value = density.space.log_prior(theta, values) + auxiliary.log_joint(density.system, values, b)
    return value if np.isfinite(value) else -np.inf


class _Walk:
    """Random-walk proposals for one kind of move: shape from the pooled history, length from the acceptance."""

    def __init__(self, covariance: np.ndarray) -> None:
        self.factor = np.linalg.cholesky(covariance + 1e-10 * np.eye(len(covariance)))
        self.log_length = np.log(2.4 / np.sqrt(len(covariance)))
        self.tried = self.taken = 0

    def step(self, state: _State, log: Callable[[np.ndarray], float], moves: int) -> None:
        """Some Metropolis moves of theta."""
        d = len(state.theta)
        here = log(state.theta)
        for k in range(moves):
            # every other move along one random direction: joint steps alone crawl in many dimensions
            z = state.rng.standard_normal(d)
            if k % 2 and d > 3:
                z *= state.rng.random(d) < 2.0 / d
            there = state.theta + np.exp(self.log_length) * (self.factor @ z)
            value = log(there)
            self.tried += 1
            if np.log(state.rng.random()) < value - here:
                state.theta, here = there, value
                self.taken += 1

    def adapt(self, history: np.ndarray) -> None:
        """Learn shape and length from warm-up draws of shape (n, d)."""
        d = history.shape[1]
        if len(history) > 10 * d:
            covariance = np.cov(history.T).reshape(d, d)
            self.factor = np.linalg.cholesky(covariance + 1e-6 * np.diag(np.diag(covariance)) + 1e-12 * np.eye(d))
        self.log_length += 0.7 * (self.taken / max(self.tried, 1) - 0.3)
        self.tried = self.taken = 0


def sample(system: System, draws: int, chains: int, seed: int, progress: bool) -> Draws:
    """Chains of psi and b. An interrupt keeps the draws made so far."""
    density = Density(system)
    states, covariance = _start(density, chains, seed)
    walks = (_Walk(covariance), _Walk(covariance))
    d = density.space.size
    thetas, b = np.empty((chains, draws, d)), np.empty((chains, draws, system.size))
    done = 0
    with Progress(progress, "warming up", WARM_UP * chains) as bar:
        _warm_up(density, states, walks, bar)
        taken, tried = walks[0].taken, walks[0].tried
        bar.restart("drawing", draws * chains)
        try:
            for t in range(draws):
                for c, state in enumerate(states):
                    _iterate(density, state, walks)
                    thetas[c, t], b[c, t] = state.theta, system.natural(state.b)
                done = t + 1
                bar.advance(chains)
        except KeyboardInterrupt:
            if done < 4:
                raise
    taken, tried = walks[0].taken - taken, walks[0].tried - tried
    facts: dict[str, Any] = {"method": "augmentation: collapsed Metropolis on hyperparameters, exact draws of the rest", "warm_up": WARM_UP}
    facts["acceptance"] = round(taken / max(tried, 1), 3)
    if done < draws:
        facts["interrupted"] = f"interrupted after {done} of {draws} draws"
    return _named(density, thetas[:, :done], b[:, :done], facts)


def _start(density: Density, chains: int, seed: int) -> tuple[list[_State], np.ndarray]:
    system = density.system
    surrogate = _Surrogate(system, system.example_auxiliary())
    location, covariance = mode(surrogate)
    covariance = np.clip(covariance, -4.0, 4.0) if np.all(np.isfinite(covariance)) else np.eye(len(location))
    factor = np.linalg.cholesky(covariance + 1e-6 * np.eye(len(location)))
    states = []
    for c in range(chains):
        rng = np.random.default_rng([seed, 5, c])
        theta = location + factor @ rng.standard_normal(len(location))
        if not np.isfinite(_collapsed(density, theta, surrogate.aux)):
            theta = location.copy()
        states.append(_State(theta, surrogate.aux, np.zeros(system.size), rng))
    return states, covariance


def _iterate(density: Density, state: _State, walks: tuple[_Walk, _Walk]) -> None:
    walks[0].step(state, lambda theta: _collapsed(density, theta, state.aux), _COLLAPSED_MOVES)
    conditional = density.system.at({**density.space.values(state.theta), **state.aux})
    state.b = conditional.draw_centred(state.rng)
    walks[1].step(state, lambda theta: _given_b(density, theta, state.b), _CHEAP_MOVES)
    state.aux = auxiliary.draw_centred(density.system, density.space.values(state.theta), state.b, state.rng)


def _warm_up(density: Density, states: list[_State], walks: tuple[_Walk, _Walk], bar: Progress) -> None:
    history: list[np.ndarray] = []
    for t in range(WARM_UP):
        for state in states:
            _iterate(density, state, walks)
            history.append(state.theta.copy())
        bar.advance(len(states))
        if (t + 1) % _ADAPT == 0:
            recent = np.array(history[len(history) // 2 :])
            for walk in walks:
                walk.adapt(recent)


def _named(density: Density, thetas: np.ndarray, b: np.ndarray, facts: dict[str, Any]) -> Draws:
    chains, draws = thetas.shape[:2]
    values = [density.space.values(theta) for theta in thetas.reshape(chains * draws, -1)]
    params = {
        q.name: np.array([v[q.name] for v in values]).reshape((chains, draws, *(() if q.coords is None else (q.size,))))
        for q in density.space.params
    }
    return Draws(params, {name: b[..., where] for name, where in density.system.columns.items()}, facts=facts)
