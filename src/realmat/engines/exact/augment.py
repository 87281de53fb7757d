"""Student t and censored parts: auxiliary values alternated with exact draws of the coefficients.

One iteration, each step leaving the joint posterior as it is:

1. single coefficients with censored rows, latent values integrated out (`realmat.gaussian.singles`);
2. hyperparameters of heavy-tailed or censored parts, with local effects, given the other coefficients, all auxiliary values integrated out
   (`local`);
3. auxiliary values given psi and b, exactly;
4. scales, then all other hyperparameters, given the auxiliary values, coefficients integrated out (one factorisation a proposal);
5. b given psi and the auxiliary values, exactly.

Proposals adapt during warm-up only, pooled over chains; warm-up ends when the chains agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from realmat.engines.exact.explore import mode
from realmat.engines.exact.local import Local, Site
from realmat.engines.exact.proposals import Proposals
from realmat.engines.exact.space import Density
from realmat.engines.progress import Progress
from realmat.errors import FitError
from realmat.gaussian import System, auxiliary
from realmat.gaussian.singles import Singles
from realmat.gaussian.system import Conditional
from realmat.posterior import Draws

_LOCAL_MOVES = 2
_COLLAPSED_MOVES = 3  # at most; one for each hyperparameter
_SHORTEST, _LONGEST = 200, 1500
_AGREED = 1.05
_POWER = 0.25  # scales and degrees of freedom move in fourth roots: their logarithms have endless tails towards zero


@dataclass
class _State:
    theta: np.ndarray
    aux: dict[str, np.ndarray]
    b: np.ndarray
    rng: np.random.Generator


class _Surrogate(Density):
    """The density without heavy tails or censoring: its mode is a place to start, with degrees of freedom from their prior."""

    def __init__(self, system: System, aux: dict[str, np.ndarray]) -> None:
        super().__init__(system)
        self.aux = aux

    def one(self, theta: np.ndarray) -> float:
        self.evaluations += 1
        values = self.space.values(theta)
        return self.space.log_prior(theta, values) + self.system.log_marginal({**values, **self.aux})


def _collapsed(density: Density, theta: np.ndarray, aux: dict[str, np.ndarray]) -> tuple[float, Conditional | None]:
    """log p(psi | auxiliary values, y) up to a constant, and the coefficients' conditional distribution."""
    with np.errstate(all="ignore"):
        values = density.space.values(theta)
        prior = density.space.log_prior(theta, values)
        if not np.isfinite(prior):
            return -np.inf, None
        everything = {**values, **aux}
        try:
            conditional = density.system.at(everything)
        except FitError:
            return -np.inf, None
        value = prior + conditional.log_marginal + auxiliary.log_local(density.system, everything)
    return (value, conditional) if np.isfinite(value) else (-np.inf, None)


class _Sampler:
    """The steps of one iteration and their proposals."""

    def __init__(self, density: Density, covariance: np.ndarray) -> None:
        self.density = density
        self.local = Local(density.system, density.space)
        self.singles = Singles(density.system)
        index = {"local": self.local.index, "scales": self.local.scales, "rest": self.local.rest}
        swaps = {"local": _swaps(self.local)}
        self.moves = {
            name: Proposals(places, covariance[np.ix_(places, places)], swaps.get(name, ()), jumps=name != "scales")
            for name, places in index.items()
            if len(places)
        }
        scales, rest = (self.moves.get(name) for name in ("scales", "rest"))
        self.collapsed = [scales] if scales else []
        self.collapsed += [rest] * min(len(rest.index), _COLLAPSED_MOVES) if rest else []

    def iterate(self, state: _State) -> None:
        self.singles.move({**self.density.space.values(state.theta), **state.aux}, state.b, state.rng)
        if "local" in self.moves:
            self._local(state)
        values = self.density.space.values(state.theta)
        state.aux = auxiliary.draw_centred(self.density.system, values, state.b, state.rng)
        state.b = self._collapsed(state).draw_centred(state.rng)

    def _local(self, state: _State) -> None:
        site = Site(self.local, state.theta, state.b)
        effects = site.effects
        here = site.value(state.theta, effects)
        moves = self.moves["local"]
        for _ in range(_LOCAL_MOVES):
            proposal = moves.propose(state.theta, state.rng)
            fresh = np.empty(len(effects))
            value = site.value(proposal.there, fresh, state.rng)
            if moves.accept(proposal, value - here, state.rng):
                state.theta, effects, here = proposal.there, fresh, value
        if self.local.effects is not None:
            state.b[self.local.effects.columns[self.local.effects.chosen]] = effects

    def _collapsed(self, state: _State) -> Conditional:
        here, conditional = _collapsed(self.density, state.theta, state.aux)
        for moves in self.collapsed:
            proposal = moves.propose(state.theta, state.rng)
            value, other = _collapsed(self.density, proposal.there, state.aux)
            if moves.accept(proposal, value - here, state.rng):
                state.theta, here, conditional = proposal.there, value, other
        if conditional is None:
            raise FitError("the model is not identified at some parameter values: its precision matrix is not positive definite.")
        return conditional

    def adapt(self, history: np.ndarray, rng: np.random.Generator) -> None:
        for moves in self.moves.values():
            moves.adapt(history, rng)


def _swaps(local: Local) -> list[np.ndarray]:
    """Permutations of `local.index` that exchange scale and degrees of freedom of the noise with those of the local effects."""
    if local.effects is None:
        return []
    place = {
        q.name: (where.start, q.prior.support) for q, where in zip(local.space.params, local.space.slices, strict=True) if q.coords is None
    }
    position = {int(k): i for i, k in enumerate(local.index)}
    noise_nu, effect_nu = local.system.families[0].noise.nu, local.effects.block.nu
    scales = [name for name in sorted(local.noise_names()) if name in place]
    out = []
    for name in scales:
        order = np.arange(len(local.index))
        for a, b in ((name, f"{local.effects.block.name}_scale"), (noise_nu, effect_nu)):
            if a in place and b in place and place[a][1] == place[b][1] and place[a][0] in position and place[b][0] in position:
                i, j = position[place[a][0]], position[place[b][0]]
                order[i], order[j] = j, i
        if np.any(order != np.arange(len(order))):
            out.append(order)
    return out


def sample(system: System, draws: int, chains: int, seed: int, progress: bool) -> Draws:
    """Chains of psi and b. An interrupt keeps the draws made so far."""
    logs = Density(system)
    density = Density(system, np.where(logs.space.positive, _POWER, 0.0)) if logs.space.positive.any() else logs
    states, covariance = _start(logs, density, chains, seed)
    sampler = _Sampler(density, covariance)
    thetas, b = np.empty((chains, draws, density.space.size)), np.empty((chains, draws, system.size))
    done = 0
    with Progress(progress, "warming up", None) as bar:
        warm_up = _warm_up(sampler, states, seed, bar)
        bar.restart("drawing", draws * chains)
        try:
            for t in range(draws):
                for c, state in enumerate(states):
                    sampler.iterate(state)
                    thetas[c, t], b[c, t] = state.theta, system.natural(state.b)
                done = t + 1
                bar.advance(chains)
        except KeyboardInterrupt:
            if done < 4:
                raise
    facts: dict[str, Any] = {"method": "augmentation: collapsed Metropolis on hyperparameters, exact draws of the rest", "warm_up": warm_up}
    facts["acceptance"] = {name: moves.acceptance() for name, moves in sampler.moves.items()}
    if done < draws:
        facts["interrupted"] = f"interrupted after {done} of {draws} draws"
    return _named(density, thetas[:, :done], b[:, :done], facts)


def _start(logs: Density, density: Density, chains: int, seed: int) -> tuple[list[_State], np.ndarray]:
    """Scattered starting points and a guess of the covariance, found in logarithms of positive parameters."""
    system = density.system
    surrogate = _Surrogate(system, system.example_auxiliary())
    location, covariance = mode(surrogate)
    covariance = np.clip(covariance, -4.0, 4.0) if np.all(np.isfinite(covariance)) else np.eye(len(location))
    factor = np.linalg.cholesky(covariance + 1e-6 * np.eye(len(location)))
    states = []
    for c in range(chains):
        rng = np.random.default_rng([seed, 5, c])
        conditional = None
        for spread in (1.0, 0.3, 0.0):
            theta = density.space.theta(logs.space.values(location + spread * factor @ rng.standard_normal(len(location))))
            conditional = _collapsed(density, theta, surrogate.aux)[1]
            if conditional is not None:
                break
        if conditional is None:
            raise FitError("the model has no finite density at typical parameter values; check the priors and the stated uncertainties.")
        states.append(_State(theta, surrogate.aux, conditional.draw_centred(rng), rng))
    centre = density.space.theta(logs.space.values(location))
    slope = np.where(density.space.powers > 0, density.space.powers * centre, 1.0)
    return states, covariance * np.outer(slope, slope)


def _warm_up(sampler: _Sampler, states: list[_State], seed: int, bar: Progress) -> int:
    """Rounds of adaptation, each longer than the one before, until the chains agree; returns the iterations made by each chain."""
    from arviz_stats.base import array_stats

    rng = np.random.default_rng([seed, 6])
    history: list[np.ndarray] = []
    while len(history) < _LONGEST:
        for _ in range(max(_SHORTEST // 4, len(history) // 3)):
            for state in states:
                sampler.iterate(state)
            history.append(np.array([state.theta for state in states]))
            bar.advance(len(states))
        recent = np.array(history[len(history) // 2 :])
        sampler.adapt(recent.reshape(-1, recent.shape[-1]), rng)
        apart = [array_stats.rhat(recent[..., k].T) for k in range(recent.shape[-1])]
        if len(history) >= _SHORTEST and max(apart, default=1.0) < _AGREED:
            break
    return len(history)


def _named(density: Density, thetas: np.ndarray, b: np.ndarray, facts: dict[str, Any]) -> Draws:
    chains, draws = thetas.shape[:2]
    values = [density.space.values(theta) for theta in thetas.reshape(chains * draws, -1)]
    params = {
        q.name: np.array([v[q.name] for v in values]).reshape((chains, draws, *(() if q.coords is None else (q.size,))))
        for q in density.space.params
    }
    return Draws(params, {name: b[..., where] for name, where in density.system.columns.items()}, facts=facts)
