"""Student t and censored parts: auxiliary values alternated with exact draws of the coefficients.

One iteration, each step leaving the joint posterior as it is:

1. single coefficients with censored rows, latent values integrated out (`realmat.algebra.singles`);
2. hyperparameters of heavy-tailed or censored parts, with local effects, given the other coefficients, all auxiliary values integrated out
   (`local`);
3. auxiliary values given psi and b, exactly;
4. scales, then all other hyperparameters, given the auxiliary values, coefficients integrated out (one factorisation a proposal);
5. b given psi and the auxiliary values, exactly.

Chains take steps 1 to 3 each by itself, 4 and 5 together, in batches (`realmat.algebra.many`).
Proposals adapt during warm-up only, pooled over chains; warm-up ends when the chains agree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realmat.algebra import System, auxiliary
from realmat.algebra.conditional import NOT_IDENTIFIED
from realmat.algebra.many import Singly, Solved
from realmat.algebra.singles import Singles
from realmat.engines.exact.explore import mode
from realmat.engines.exact.local import Local, Site
from realmat.engines.exact.proposals import Proposal, Proposals, Tally, acceptance
from realmat.engines.exact.space import Density
from realmat.engines.progress import Progress
from realmat.errors import FitError
from realmat.posterior.draws import Draws

_LOCAL_MOVES, _OFTEN, _DEAR = 2, 0.6, 3000  # one where proposals are accepted more often, or more effects make it most of an iteration
_TOGETHER, _MOST_MOVES = 3, 3  # hyperparameters that one collapsed move of all others is for, and the most such moves
_SHORTEST, _LONGEST = 200, 1500
_BLOCK = 10  # iterations of a chain between two reports of progress; an interrupt loses those since the last
_AGREED = 1.05
_POWER = 0.25  # scales and degrees of freedom move in fourth roots: their logarithms have endless tails towards zero


@dataclass
class _State:
    theta: np.ndarray
    aux: dict[str, np.ndarray]
    b: np.ndarray
    rng: np.random.Generator
    tallies: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))


class _Site:
    """log p(psi | auxiliary values, y) of all chains, up to a constant, each with auxiliary values of its own: shape (rows, chains)."""

    def __init__(self, density: Density, aux: Mapping[str, np.ndarray]) -> None:
        self._density, self._aux = density, aux
        self._local = auxiliary.LocalPrior(density.system, aux)

    def at(self, thetas: np.ndarray) -> tuple[np.ndarray, Solved | Singly]:
        """Log densities at one theta of each chain, or several, chain after chain; and the coefficients' conditional distributions."""
        n = len(thetas)
        with np.errstate(all="ignore"):
            values, prior = self._density.space.many(thetas)
            aux = {name: np.tile(own, n // own.shape[1]) for name, own in self._aux.items()}
            solved = self._density.system.many.at({**values, **aux}, n)
            total = prior + solved.log_marginal + self._local.log(values, n)
        return np.where(np.isfinite(total), total, -np.inf), solved


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
        system = self.density.system
        for start in range(0, count, _BLOCK):
            thetas, b = [], []
            for _ in range(min(_BLOCK, count - start)):
                self.iterate(states)
                thetas.append([state.theta for state in states])
                b.append([system.natural(state.b) for state in states])
            yield np.array(thetas).swapaxes(0, 1), np.array(b).swapaxes(0, 1)

    def iterate(self, states: Sequence[_State]) -> None:
        """One iteration of every chain: each by itself, then all together."""
        for _ in self.density.map(self._uncollapsed, states):
            pass
        self._collapsed(states)

    def _uncollapsed(self, state: _State) -> None:
        """Steps given coefficients."""
        if self.singles.blocks:
            self.singles.move({**self.density.space.values(state.theta), **state.aux}, state.b, state.rng)
        if "local" in self.moves:
            self._local(state)
        values = self.density.space.values(state.theta)
        state.aux = auxiliary.draw_centred(self.density.system, values, state.b, state.rng)

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

    def _collapsed(self, states: Sequence[_State]) -> None:
        """Steps with the coefficients integrated out, and the coefficients."""
        n, names = len(states), self.collapsed
        site = _Site(self.density, {name: np.stack([state.aux[name] for state in states], axis=-1) for name in states[0].aux})
        # where the chains stand is evaluated along with their first proposals: eight psi take hardly longer than four
        proposals = self._proposals(names[0], states) if names else []
        logs, solved = site.at(np.array([*(state.theta for state in states), *(p.there for p in proposals)]))
        here, of_chain = logs[:n].copy(), [(solved, c) for c in range(n)]
        for k, name in enumerate(names):
            if k:
                proposals = self._proposals(name, states)
                logs, solved = site.at(np.array([p.there for p in proposals]))
            first = len(logs) - n
            for c, (state, proposal) in enumerate(zip(states, proposals, strict=True)):
                value = logs[first + c]
                if self.moves[name].accept(proposal, value - here[c], state.rng, state.tallies[name]):
                    state.theta, here[c], of_chain[c] = proposal.there, value, (solved, first + c)
        if not np.isfinite(here).all():
            raise FitError(NOT_IDENTIFIED)
        _draw(states, of_chain)

    def _proposals(self, name: str, states: Sequence[_State]) -> list[Proposal]:
        return [self.moves[name].propose(state.theta, state.rng, state.tallies[name]) for state in states]

    def adapt(self, history: np.ndarray, rng: np.random.Generator, states: Sequence[_State]) -> None:
        for name, moves in self.moves.items():
            moves.adapt(history, rng, [state.tallies[name] for state in states])
        for state in states:
            state.tallies.clear()


def _draw(states: Sequence[_State], of_chain: Sequence[tuple[Solved | Singly, int]]) -> None:
    """Coefficients of every chain: given the place of its psi in a factorised batch."""
    for solved in {id(solved): solved for solved, _ in of_chain}.values():
        own = [(state, place) for state, (one, place) in zip(states, of_chain, strict=True) if one is solved]
        b = np.zeros((len(solved.log_marginal), len(states[0].b)))
        for state, place in own:
            b[place] = state.rng.standard_normal(b.shape[1])
        solved.centred(b)
        for state, place in own:
            state.b = b[place]


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
    aux = system.example_auxiliary()
    location, covariance = mode(Density(system, aux=aux))  # without heavy tails or censoring
    covariance = np.clip(covariance, -4.0, 4.0) if np.all(np.isfinite(covariance)) else np.eye(len(location))
    factor = np.linalg.cholesky(covariance + 1e-6 * np.eye(len(location)))
    site = _Site(density, {name: values[:, None] for name, values in aux.items()})
    states = []
    for c in range(chains):
        rng = np.random.default_rng([seed, 5, c])
        for spread in (1.0, 0.3, 0.0):
            theta = density.space.theta(logs.space.values(location + spread * factor @ rng.standard_normal(len(location))))
            value, solved = site.at(theta[None])
            if np.isfinite(value[0]):
                break
        else:
            raise FitError("the model has no finite density at typical parameter values; check the priors and the stated uncertainties.")
        b = rng.standard_normal((1, system.size))
        solved.centred(b)
        states.append(_State(theta, aux, b[0], rng))
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
