"""Hyperparameters in two parts: those that a term draws itself given its coefficients, and the others with the coefficients integrated out.

Each sweep (1) moves the other hyperparameters on their collapsed density, given the term's own parameters; (2) draws all coefficients
exactly; (3) lets the term draw its own parameters given its coefficients. (1) and (2) together are one draw of a block, so the chain is a
partially collapsed Gibbs sampler in the order that keeps its distribution (van Dyk & Park, J. Am. Stat. Assoc. 103, 790, 2008). Chains
stand side by side in arrays, a few such groups of them on a thread each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realmat.algebra import System
from realmat.algebra.example import example_values
from realmat.algebra.space import Space
from realmat.errors import FitError
from realmat.posterior.draws import Draws
from realmat.support.progress import Progress
from realmat.support.threads import one_blas_thread, workers
from realmat.terms.own_update import OwnUpdate
from realmat.terms.problem import Problem

States = list[dict[str, np.ndarray]]

_SIDE_BY_SIDE = 16  # chains in all
_GROUPS, _LARGE = 2, 4000  # groups of chains, where a term handles that many numbers in a sweep
_WARM, _WARM_STILL = 150, 40  # sweeps: from the priors' medians, and from where chains have been
_PLACES = 4  # to go to
_TARGET = 0.45  # of the sweeps that leave where they were
_ESS = 400.0  # of the least well known hyperparameter; sweeps go on until it is reached
_SHARE = 0.25  # of the draws asked for, where they are fewer than that takes
_FEW = 200  # numbers up to which a parameter's effective size is looked at
_FEWEST = 4  # sweeps that have an effective size
_MORE = 1.1, 1.5  # times as many sweeps, at least and at most, before it is looked at again
_LONGEST = 8  # times as many sweeps as draws were asked for


Psi = Mapping[str, np.ndarray]
"""Draws of hyperparameters by name, arrays of shape (chain, draw, ...)."""

Kept = tuple[dict[str, np.ndarray], np.ndarray]
"""Of one sweep: parameters by name, chains first, and the coefficients that were drawn given them, shape (C, coefficients)."""


def needed(problem: Problem) -> bool:
    """Whether a term draws parameters of its own."""
    return any(term.update is not None for term in problem.all_terms)


@one_blas_thread()
def sample(problem: Problem, draws: int, chains: int, seed: int, progress: bool = True, start: Psi | None = None) -> Draws:
    """Draw from the posterior of a problem with a term that draws parameters of its own.

    Parameters
    ----------
    problem : Problem
    draws, chains : int
        As asked for; inside, chains stand side by side and are laid one behind the other, whole ones to each chain asked for.
    seed : int
    progress : bool
    start : mapping of name to array of shape (chain, draw, ...), optional
        Hyperparameters from which to go on: draws given other rows, say.

    Raises
    ------
    realmat.FitError
        If parts of the model have heavy tails or limits, which would need values of their own for every row.
    """
    started = time.perf_counter()
    system = System(problem)
    if system.augmented:
        raise FitError("a consensus of theories beside Student t parts or limits needs engine='nuts'.")
    each = max(1, round(_SIDE_BY_SIDE / chains))
    length = -(-draws // each)
    groups = _Groups(system, each * chains, seed, start)
    with Progress(progress, "warming up", groups.warming) as bar:
        groups.warm(bar)
        bar.restart("sweeping", length)
        groups.keep((chains, draws), length, bar)
    facts: dict[str, Any] = {"engine": "exact", "method": "collapsed Gibbs", "latents": "draws", "sweeps": len(groups.kept)}
    if groups.interrupted:
        facts["interrupted"] = f"interrupted after {len(groups.kept)} sweeps"
    kept = _spread(groups.kept, length)
    facts["seconds"] = round(time.perf_counter() - started, 4)
    return _laid_out(problem, system, kept, chains, draws, facts)


@dataclass
class _Steps:
    """Random-walk steps that learn their shape while the chains warm up (Haario, Saksman & Tamminen, Bernoulli 7, 223, 2001)."""

    size: int
    factor: np.ndarray = field(init=False)
    log_length: float = 0.0

    def __post_init__(self) -> None:
        self.factor = 0.1 * np.eye(self.size)

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Steps of shape (count, size)."""
        return 2.4 / np.sqrt(self.size) * np.exp(self.log_length) * rng.standard_normal((count, self.size)) @ self.factor.T

    def learn(self, history: list[np.ndarray]) -> None:
        """Their shape from where the chains have been."""
        x = np.concatenate(history[len(history) // 2 :])
        if self.size and len(x) > 10 * self.size:
            covariance = np.cov(x.T).reshape(self.size, self.size)
            self.factor = np.linalg.cholesky(covariance + 1e-9 * np.trace(covariance) * np.eye(self.size))


class _Run:
    """Chains side by side: `theta` holds the hyperparameters that no term draws itself, shape (C, size), `states` the others.

    Attributes
    ----------
    kept : list of (dict, array)
    history : list of arrays of shape (C, n)
        Where the chains were while they warmed up.
    """

    def __init__(self, system: System, updates: list[OwnUpdate], count: int, rng: np.random.Generator) -> None:
        self.system, self.updates, self.rng, self.count = system, updates, rng, count
        self.many = system.many  # made here: groups on threads share it
        problem = system.problem
        medians = example_values(problem.params)
        own = {name for update in updates for name in update.names}
        self.space = Space([q for q in problem.params if q.name not in own])
        self.theta = np.repeat(self.space.start()[None], count, axis=0)
        self.theta = self.theta + 0.1 * rng.standard_normal(self.theta.shape)
        self.states = [update.begin(medians, count, rng) for update in updates]
        self.sizes = [update.along(state).shape[1] for update, state in zip(self.updates, self.states, strict=True)]
        self.steps = _Steps(self.space.size + sum(self.sizes))
        self.kept: list[Kept] = []
        self.history: list[np.ndarray] = []

    def given(self, states: States) -> dict[str, np.ndarray]:
        """What the terms have drawn themselves, with what follows from it: chains last."""
        out: dict[str, np.ndarray] = {}
        for update, state in zip(self.updates, states, strict=True):
            every = {**state, **update.derived(state)}
            out |= {name: np.moveaxis(value, 0, -1) for name, value in every.items() if not name.startswith("_")}
        return out

    def sweep(self, learning: float) -> np.ndarray:
        """One sweep of every chain; returns the coefficients it drew, shape (C, size), given the terms' parameters before it."""
        if self.steps.size:
            self._move(learning)
        values = {**self.space.many(self.theta)[0], **self.given(self.states)}
        b = self.many.at(values, self.count).draw(self.rng)
        if not np.isfinite(b).all():
            raise FitError("the numbers broke down while sampling; check the sizes of the theories' values and the priors.")
        self.before = self.states
        drawn = []
        for update, state in zip(self.updates, self.states, strict=True):
            update.learning = learning
            drawn.append(update.draw(state, b[:, self.system.columns[update.block]], self.rng))
        self.states = drawn
        return b

    def coordinates(self) -> np.ndarray:
        """What moves with the coefficients integrated out: theta and what the terms offer, shape (C, n)."""
        return np.concatenate([self.theta, *(u.along(s) for u, s in zip(self.updates, self.states, strict=True))], axis=1)

    def _moved(self, x: np.ndarray) -> States:
        """The terms' parameters at other coordinates."""
        at, states = self.space.size, []
        for update, state, size in zip(self.updates, self.states, self.sizes, strict=True):
            states.append(update.moved(state, x[:, at : at + size]))
            at += size
        return states

    def _move(self, learning: float) -> None:
        """The coordinates go to one of several places around a point near them, or stay.

        All places are equally likely to have been the one they came from, so each is chosen by its density alone (Tjelmeland, Using all
        Metropolis-Hastings proposals to estimate mean values, 2004; Calderhead, PNAS 111, 17408, 2014).
        """
        here = self.coordinates()
        centre = here + self.steps.draw(self.count, self.rng)
        there = np.stack([here, *(centre + self.steps.draw(self.count, self.rng) for _ in range(_PLACES))])
        level = self._levels(there)
        chosen = np.argmax(level + self.rng.gumbel(size=level.shape), axis=0)
        taken = there[chosen, np.arange(self.count)]
        self.theta = taken[:, : self.space.size]
        new = zip(self.updates, self._moved(taken), self.states, strict=True)
        self.states = [update.settled(state, before) for update, state, before in new]
        self.steps.log_length += learning * (float(np.mean(chosen > 0)) - _TARGET)

    def _levels(self, there: np.ndarray) -> np.ndarray:
        """Log density at coordinates of shape (places, C, n), the coefficients integrated out: shape (places, C)."""
        places = [self._moved(x) for x in there]
        values, prior = self.space.many(there[..., : self.space.size].reshape(-1, self.space.size))
        first = self.given(self.states)
        values |= {name: np.tile(value, len(there)) for name, value in first.items()}
        for k, update in enumerate(self.updates):
            every = [{n: v for n, v in s[k].items() if n[0] != "_" and v is not self.states[k][n]} | update.derived(s[k]) for s in places]
            values |= {name: np.concatenate([np.moveaxis(one[name], 0, -1) for one in every], axis=-1) for name in every[0]}
        total = (prior + self.many.log_marginal(values, len(prior))).reshape(there.shape[:2])
        for k, states in enumerate(places):
            total[k] += sum(update.log_density(state) for update, state in zip(self.updates, states, strict=True))
        return np.where(np.isfinite(total), total, -np.inf)

    def begin(self, start: Psi) -> None:
        """Stand at some draws of the hyperparameters."""
        flat = {name: value.reshape(-1, *value.shape[2:]) for name, value in start.items()}
        at = self.rng.integers(len(next(iter(flat.values()))), size=self.count)
        self.theta = self.space.thetas({q.name: flat[q.name][at] for q in self.space.params}, self.count)
        self.states = [{name: flat[name][at] for name in update.names} for update in self.updates]

    def warm(self, sweep: int) -> None:
        """A sweep towards the posterior, from which the sizes of the steps in it are learnt."""
        self.sweep(0.5 / (1 + sweep / 20))
        self.history.append(self.coordinates())
        if sweep % 30 == 29:
            self.steps.learn(self.history)

    def keep(self) -> None:
        """A sweep that counts."""
        b = self.sweep(0.0)
        own = {name: value for state in self.before for name, value in state.items() if not name.startswith("_")}
        self.kept.append(({**self.space.named(self.theta), **own}, b))


class _Groups:
    """Groups of chains, each on a thread where there are several: the same numbers whatever their number.

    Attributes
    ----------
    warming : int
        Sweeps before those that count.
    kept : list of (dict, array)
        As those of a run, of all chains.
    sizes : dict of str to float
        Smallest effective size of each hyperparameter when it was last looked at.
    interrupted : bool
    """

    def __init__(self, system: System, count: int, seed: int, start: Psi | None) -> None:
        own = [term.update for term in system.problem.all_terms if term.update is not None]
        groups = min(_GROUPS if max(update.size for update in own) >= _LARGE else 1, count)
        sizes = [len(part) for part in np.array_split(np.arange(count), groups)]
        rngs = [np.random.default_rng([seed, 31, k]) for k in range(len(sizes))]
        self.runs = [_Run(system, [u.apart() for u in own], size, rng) for size, rng in zip(sizes, rngs, strict=True)]
        self.warming = _WARM if start is None else _WARM_STILL
        self.kept: list[Kept] = []
        self.sizes: dict[str, float] = {}
        self.interrupted = False
        if start is not None:
            for run in self.runs:
                run.begin(start)

    def warm(self, bar: Progress) -> None:
        """Find the posterior."""
        self._all(lambda run, sweep: run.warm(sweep), self.warming, bar)

    def keep(self, asked: tuple[int, int], length: int, bar: Progress) -> None:
        """Keep sweeps until the least well known hyperparameter has the effective size asked for, `length` at least.

        `asked` are the chains and the draws of each that are handed on.
        """
        goal = length
        try:
            while True:
                self._all(lambda run, _: run.keep(), goal - len(self.kept), bar)
                self._join()
                if len(self.kept) >= _LONGEST * length or (short := self._short(asked, length)) <= 1:
                    return
                goal = min(int(np.ceil(len(self.kept) * np.clip(short, *_MORE))), _LONGEST * length)
                bar.restart("sweeping on", goal - len(self.kept))
        except KeyboardInterrupt:
            self._join()
            if len(self.kept) < _FEWEST:
                raise
            self.interrupted = True

    def _all(self, step: Callable[[_Run, int], None], sweeps: int, bar: Progress) -> None:
        """So many steps of every group, in step."""
        several = min(len(self.runs), workers())
        with ThreadPoolExecutor(several) if several > 1 else nullcontext() as pool:
            for sweep in range(sweeps):
                list((map if pool is None else pool.map)(step, self.runs, [sweep] * len(self.runs)))
                bar.advance()

    def _join(self) -> None:
        """Take the sweeps that every group has kept."""
        for parts in zip(*(run.kept for run in self.runs), strict=False):
            params = {name: np.concatenate([p[name] for p, _ in parts]) for name in parts[0][0]}
            self.kept.append((params, np.concatenate([b for _, b in parts])))
        for run in self.runs:
            run.kept.clear()

    def _short(self, asked: tuple[int, int], length: int) -> float:
        """How many times as many sweeps are needed for the smallest effective sample size asked for, of the draws that are handed on.

        Those that were short before are looked at first, and the others only once they are not.
        """
        from arviz_stats.base import array_stats

        if len(self.kept) < _FEWEST:
            return 1.0
        wanted, kept, known = min(_ESS, _SHARE * asked[0] * asked[1]), _spread(self.kept, length), bool(self.sizes)
        names = [name for name, value in kept[0][0].items() if value[0].size <= _FEW]
        for name in sorted(names, key=lambda name: self.sizes.get(name, 0.0)):
            draws = _shaped([p[name] for p, _ in kept], *asked)
            self.sizes[name] = max(float(np.min(array_stats.ess(draws, chain_axis=0, draw_axis=1))), 1.0)
            if known and self.sizes[name] < wanted:
                return wanted / self.sizes[name]
        return wanted / min(self.sizes.values(), default=wanted)


def _spread(kept: list[Kept], most: int) -> list[Kept]:
    """At most so many sweeps, evenly spread."""
    return [kept[k] for k in np.linspace(0, len(kept) - 1, min(most, len(kept))).astype(int)]


def _shaped(parts: list[np.ndarray], chains: int, draws: int) -> np.ndarray:
    """(sweeps, chains side by side) as (chains, draws): several whole chains one behind the other in each."""
    x = np.moveaxis(np.stack(parts), 0, 1)  # chains side by side, sweeps, ...
    return x.reshape(chains, -1, *x.shape[2:])[:, :draws]


def _laid_out(problem: Problem, system: System, kept: list[Kept], chains: int, draws: int, facts: dict[str, Any]) -> Draws:
    """Draws of the parameters and blocks of coefficients."""
    params = {q.name: _shaped([p[q.name] for p, _ in kept], chains, draws) for q in problem.params}
    b = _shaped([b for _, b in kept], chains, draws)
    return Draws(params, {name: b[..., where] for name, where in system.columns.items()}, facts=facts)
