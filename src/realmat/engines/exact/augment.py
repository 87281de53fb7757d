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

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from realmat.engines.exact.explore import mode
from realmat.engines.exact.local import Local, Site
from realmat.engines.exact.proposals import Proposals, Tally, acceptance
from realmat.engines.exact.space import Density
from realmat.engines.progress import Progress
from realmat.errors import FitError
from realmat.gaussian import System, auxiliary
from realmat.gaussian.part import Memo
from realmat.gaussian.singles import Singles
from realmat.gaussian.system import Conditional
from realmat.posterior import Draws

_LOCAL_MOVES, _OFTEN, _DEAR = 2, 0.6, 3000  # one where proposals are accepted more often, or more effects make it most of an iteration
_TOGETHER, _MOST_MOVES = 3, 3  # hyperparameters that one collapsed move of all others is for, and the most such moves
_SHORTEST, _LONGEST = 200, 1500
_BLOCK = 10  # iterations of a chain between two reports of progress; an interrupt waits for them
_AGREED = 1.05
_POWER = 0.25  # scales and degrees of freedom move in fourth roots: their logarithms have endless tails towards zero


@dataclass
class _State:
    theta: np.ndarray
    aux: dict[str, np.ndarray]
    b: np.ndarray
    rng: np.random.Generator
    tallies: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))


class _Surrogate(Density):
    """The density without heavy tails or censoring: its mode is a place to start, with degrees of freedom from their prior."""

    def __init__(self, system: System, aux: dict[str, np.ndarray]) -> None:
        super().__init__(system)
        self.aux = aux

    def one(self, theta: np.ndarray) -> float:
        self.evaluations += 1
        values = self.space.values(theta)
        return self.space.log_prior(theta, values) + self.system.log_marginal({**values, **self.aux})


def _collapsed(
    density: Density, theta: np.ndarray, aux: dict[str, np.ndarray], memo: Memo | None = None
) -> tuple[float, Conditional | None]:
    """log p(psi | auxiliary values, y) up to a constant, and the coefficients' conditional distribution."""
    with np.errstate(all="ignore"):
        values = density.space.values(theta)
        prior = density.space.log_prior(theta, values)
        if not np.isfinite(prior):
            return -np.inf, None
        everything = {**values, **aux}
        try:
            conditional = density.system.at(everything, memo)
        except FitError:
            return -np.inf, None
        value = prior + conditional.log_marginal + auxiliary.log_local(density.system, everything)
    return (value, conditional) if np.isfinite(value) else (-np.inf, None)


class _Sampler:
    """The steps of one iteration and their proposals."""

    def __init__(self, density: Density, covariance: np.ndarray) -> None:
        self.density = density
        self.local = Local(density.system, density.space)
        self.singles = Singles(density.system, self.local.effects)
        index = {"local": self.local.index, "scales": self.local.scales, "rest": self.local.rest}
        swaps = {"local": _swaps(self.local)}
        self.moves = {
            name: Proposals(places, covariance[np.ix_(places, places)], swaps.get(name, ()), jumps=name != "scales")
            for name, places in index.items()
            if len(places)
        }
        rest = min(-(-len(index["rest"]) // _TOGETHER), _MOST_MOVES)
        self.collapsed = [name for name in ("scales", *["rest"] * rest) if name in self.moves]

    def run(self, states: Sequence[_State], count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Iterations of all chains, some at a time: theta and b (natural order), each of shape (chains, iterations, size)."""
        for start in range(0, count, _BLOCK):
            several = partial(self._several, count=min(_BLOCK, count - start))
            thetas, b = zip(*self.density.map(several, states), strict=True)
            yield np.array(thetas), np.array(b)

    def _several(self, state: _State, count: int) -> tuple[np.ndarray, np.ndarray]:
        thetas, b = [], []
        for _ in range(count):
            self.iterate(state)
            thetas.append(state.theta)
            b.append(self.density.system.natural(state.b))
        return np.array(thetas), np.array(b)

    def iterate(self, state: _State) -> None:
        if self.singles.blocks:
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
        moves, tally = self.moves["local"], state.tallies["local"]
        for _ in range(1 if moves.hits > _OFTEN or len(effects) > _DEAR else _LOCAL_MOVES):
            proposal = moves.propose(state.theta, state.rng, tally)
            fresh = np.empty(len(effects))
            value = site.value(proposal.there, fresh, state.rng)
            if moves.accept(proposal, value - here, state.rng, tally):
                state.theta, effects, here = proposal.there, fresh, value
        if self.local.effects is not None:
            state.b[self.local.effects.columns[self.local.effects.chosen]] = effects

    def _collapsed(self, state: _State) -> Conditional:
        memo: Memo = {}
        here, conditional = _collapsed(self.density, state.theta, state.aux, memo)
        for name in self.collapsed:
            moves, tally = self.moves[name], state.tallies[name]
            proposal = moves.propose(state.theta, state.rng, tally)
            value, other = _collapsed(self.density, proposal.there, state.aux, memo)
            if moves.accept(proposal, value - here, state.rng, tally):
                state.theta, here, conditional = proposal.there, value, other
        if conditional is None:
            raise FitError("the model is not identified at some parameter values: its precision matrix is not positive definite.")
        return conditional

    def adapt(self, history: np.ndarray, rng: np.random.Generator, states: Sequence[_State]) -> None:
        for name, moves in self.moves.items():
            moves.adapt(history, rng, [state.tallies[name] for state in states])
        for state in states:
            state.tallies.clear()


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
    run = Chains.start(system, chains, seed)
    thetas, b, facts = run.run(draws, seed, progress)
    facts["method"] = "augmentation: collapsed Metropolis on hyperparameters, exact draws of the rest"
    coefficients = {name: b[..., where] for name, where in system.columns.items()}
    return Draws(run.density.space.named(thetas), coefficients, facts=facts)


@dataclass
class Chains:
    """Chains of psi and b that learn their proposals; without Student t or censored parts, of psi alone."""

    density: Density
    states: list[_State]
    sampler: _Sampler

    @classmethod
    def start(cls, system: System, chains: int, seed: int) -> Chains:
        """Chains at scattered points around the mode."""
        logs = Density(system)
        density = Density(system, np.where(logs.space.positive, _POWER, 0.0)) if logs.space.positive.any() else logs
        states, covariance = _start(logs, density, chains, seed)
        return cls(density, states, _Sampler(density, covariance))

    def run(self, draws: int, seed: int, progress: bool, keep: bool = True) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        """Warm up and draw: theta and b, shape (chains, draws, size), b empty unless it is to be kept, and what was done."""
        chains, system = len(self.states), self.density.system
        thetas, b = np.empty((chains, draws, self.density.space.size)), np.empty((chains, draws, system.size if keep else 0))
        done = 0
        with Progress(progress, "warming up", None) as bar:
            warm_up = _warm_up(self.sampler, self.states, seed, bar)
            bar.restart("drawing", draws * chains)
            try:
                for some, some_b in self.sampler.run(self.states, draws):
                    now = slice(done, done + some.shape[1])
                    thetas[:, now], b[:, now] = some, some_b[..., : b.shape[-1]]
                    done = now.stop
                    bar.advance(chains * some.shape[1])
            except KeyboardInterrupt:
                if done < 4:
                    raise
        moves = {name: acceptance([state.tallies[name] for state in self.states]) for name in self.sampler.moves}
        facts: dict[str, Any] = {"warm_up": warm_up, "acceptance": moves}
        if done < draws:
            facts["interrupted"] = f"interrupted after {done} of {draws} draws"
        return thetas[:, :done], b[:, :done], facts


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
    history = np.empty((len(states), 0, sampler.density.space.size))
    while history.shape[1] < _LONGEST:
        for thetas, _ in sampler.run(states, max(_SHORTEST // 4, history.shape[1] // 3)):
            history = np.concatenate([history, thetas], axis=1)
            bar.advance(len(states) * thetas.shape[1])
        recent = history[:, history.shape[1] // 2 :]
        sampler.adapt(recent.reshape(-1, recent.shape[-1]), rng, states)
        apart = [array_stats.rhat(recent[..., k]) for k in range(recent.shape[-1])]
        if history.shape[1] >= _SHORTEST and max(apart, default=1.0) < _AGREED:
            break
    return history.shape[1]
