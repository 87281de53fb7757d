"""The exact engine: coefficients integrated out, hyperparameters explored, coefficients drawn back exactly.

It never imports PyMC and compiles nothing but a few cached loops.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realmat.engines.exact import chain, fallback, pareto
from realmat.engines.exact.explore import Explored, explore
from realmat.engines.exact.space import Density
from realmat.engines.progress import Progress
from realmat.errors import FitError
from realmat.gaussian import System
from realmat.posterior import Draws
from realmat.problem import Problem, nonlinear_terms
from realmat.space import Space
from realmat.threads import one_blas_thread

K_HAT_LIMIT = 0.7
EFFICIENCY_LIMIT = 0.1
_STORED_BYTES = 1_000_000_000
_ATTEMPTS = 3


def refusal(problem: Problem) -> str | None:
    """Why this problem cannot run here, in one line; None where it can."""
    bent = [name for name, _ in nonlinear_terms(problem)]
    if bent:
        return f"the effect of {', '.join(bent)} is not linear given its parameters"
    return None


@one_blas_thread()
def sample(problem: Problem, draws: int, chains: int, seed: int, latents: str | None = None, progress: bool = True) -> Draws:
    """Draw from the posterior of a conditionally Gaussian problem.

    Parameters
    ----------
    problem : Problem
    draws, chains : int
    seed : int
    latents : {"draws", "summary"}, optional
        "summary" keeps mean and sd of every coefficient instead of draws; by default it is chosen where draws would need over 1 GB.
    progress : bool

    Raises
    ------
    realmat.FitError
        If the problem is not conditionally Gaussian, or its density is nowhere finite.
    """
    why = refusal(problem)
    if why:
        raise FitError(f"engine='exact' cannot run this model: {why}. Use engine='nuts'.")
    started = time.perf_counter()
    system = System(problem)
    if latents is None:
        latents = "summary" if draws * chains * system.size * 8 > _STORED_BYTES and not system.augmented else "draws"
    if system.augmented:
        from realmat.engines.exact import augment

        out = augment.sample(system, draws, chains, seed, progress)
    elif not problem.params:
        out = _fixed(system, draws, chains, seed)
    else:
        out = _explored(system, draws, chains, seed, latents, progress)
    facts = {**out.facts, "engine": "exact", "seconds": round(time.perf_counter() - started, 4), "latents": latents}
    return Draws(out.params, out.coefficients, out.summary, out.stats, facts)


def _fixed(system: System, draws: int, chains: int, seed: int) -> Draws:
    """No hyperparameters at all: independent exact draws."""
    conditional = system.at({})
    rng = np.random.default_rng([seed, 2])
    b = np.array([conditional.draw(rng) for _ in range(chains * draws)]).reshape(chains, draws, system.size)
    return Draws({}, {name: b[..., where] for name, where in system.columns.items()}, facts={"method": "independent exact draws"})


def _explored(system: System, draws: int, chains: int, seed: int, latents: str, progress: bool) -> Draws:
    with Progress(progress, "exploring hyperparameters", None) as bar:
        explored = explore(system, np.random.default_rng([seed, 0]))
        store = _Store(system, chains, draws, latents)
        facts: dict[str, Any] = {"evaluations": explored.density.evaluations}
        for attempt in range(_ATTEMPTS):
            bar.restart("drawing" if attempt == 0 else "drawing again from a better proposal", draws * chains)
            proposals = chain.evaluate(explored, draws, chains, seed + attempt, store.keep, bar.advance)
            k_hat, efficiency = judge(proposals.log_weight[:, 1:])
            facts |= {"evaluations": facts["evaluations"] + proposals.log_weight.size, "k_hat": k_hat, "efficiency": efficiency}
            trusted = not (k_hat > K_HAT_LIMIT or efficiency < EFFICIENCY_LIMIT)
            if trusted or proposals.done < draws or attempt == _ATTEMPTS - 1:
                break
            # what failed as draws is still a large weighted sample: learn from it
            thetas, logs = proposals.evaluated(explored.proposal)
            explored = explored.refined(thetas, logs, np.random.default_rng([seed, 6, attempt]))
    if proposals.done < draws:
        facts["interrupted"] = f"interrupted after {proposals.done} of {draws} draws"
    elif not trusted:
        try:
            return _by_nuts(explored, store, draws, chains, seed, progress, facts)
        except RuntimeError as error:  # nutpie found no place to start: the chains below are still right, and their R-hat and ESS honest
            facts["why"] = f"NUTS on hyperparameters could not start ({str(error).splitlines()[0]})"
    index, accepted = chain.accept(proposals, seed)
    thetas = np.take_along_axis(proposals.thetas, index[..., None], axis=1)
    store.choose(index, proposals.thetas, explored.density, seed)
    facts |= {"method": "independence Metropolis on hyperparameters", "acceptance": round(float(accepted[:, 1:].mean()), 3)}
    return store.draws(thetas, explored.density.space, {"accepted": accepted}, facts)


def judge(log_weight: np.ndarray) -> tuple[float, float]:
    """Pareto k-hat (nan for fewer than 25 weights, too few to tell) and efficiency (effective over nominal size) of weights."""
    flat = log_weight[np.isfinite(log_weight)]
    if len(flat) < 2:
        return np.nan, 0.0
    w = np.exp(flat - flat.max())
    k_hat = pareto.shape(w) if len(flat) >= 25 else np.nan
    return round(k_hat, 3), round(float(w.sum() ** 2 / np.sum(w**2) / log_weight.size), 3)


def _by_nuts(explored: Explored, store: _Store, draws: int, chains: int, seed: int, progress: bool, facts: dict[str, Any]) -> Draws:
    density, thetas, stats = fallback.sample(explored, draws, chains, seed, progress)
    store.fill(thetas, density, seed)
    why = f"importance sampling was not trusted (k-hat {facts['k_hat']:.2f}, efficiency {facts['efficiency']:.0%})"
    return store.draws(thetas, density.space, stats, {**facts, "method": "NUTS on hyperparameters", "why": why})


@dataclass
class _Store:
    """Where coefficient draws go: all of them, or only their mean and sd."""

    system: System
    chains: int
    size: int
    latents: str
    b: np.ndarray = field(init=False)
    mean: np.ndarray | None = None
    square: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.latents == "draws":
            self.b = np.empty((self.chains, self.size, self.system.size))

    @property
    def keep(self) -> chain.Keep | None:
        """What the chain calls with draws of b."""
        if self.latents != "draws":
            return None

        def put(first: int, b: np.ndarray) -> None:
            self.b[:, first : first + len(b)] = b.swapaxes(0, 1)

        return put

    def choose(self, index: np.ndarray, thetas: np.ndarray, density: Density, seed: int) -> None:
        """Keep the draws that were accepted, repeated as often as the chain stayed."""
        if self.latents == "draws":
            for c, row in enumerate(index):
                self.b[c, : len(row)] = self.b[c, row]
            self.b = self.b[:, : index.shape[1]]
            return
        pairs, times = np.unique(np.stack([np.repeat(np.arange(len(index)), index.shape[1]), index.ravel()]), axis=1, return_counts=True)
        self._summarise(thetas[*pairs], times, density, seed)

    def fill(self, thetas: np.ndarray, density: Density, seed: int) -> None:
        """Draw b afresh at every theta."""
        flat = thetas.reshape(-1, thetas.shape[-1])
        if self.latents != "draws":
            self._summarise(flat, np.ones(len(flat)), density, seed)
            return
        for batch in density.batches(len(flat)):
            solved = density.solve(flat[batch])[1]
            self.b.reshape(len(flat), -1)[batch] = solved.draw(np.random.default_rng([seed, 2, batch.start]))

    def _summarise(self, thetas: np.ndarray, times: np.ndarray, density: Density, seed: int) -> None:
        share = times / times.sum()
        mean, square = np.zeros(self.system.size), np.zeros(self.system.size)
        centre: np.ndarray | None = None

        def work(batch: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            solved = density.solve(thetas[batch])[1]
            return share[batch], solved.mean(), solved.draw(np.random.default_rng([seed, 2, batch.start]))

        for weight, m, b in density.map(work, density.batches(len(thetas))):
            centre = m[0] if centre is None else centre
            mean += weight @ m
            square += weight @ (b - centre) ** 2
        assert centre is not None
        self.mean = mean
        self.square = square - (mean - centre) ** 2

    def draws(self, thetas: np.ndarray, space: Space, stats: dict[str, np.ndarray], facts: dict[str, Any]) -> Draws:
        """Named draws."""
        chains, size = thetas.shape[:2]
        values = space.many(thetas.reshape(chains * size, -1))[0]
        params = {q.name: values[q.name].T.reshape((chains, size) if q.coords is None else (chains, size, q.size)) for q in space.params}
        columns = self.system.columns
        if self.latents == "draws":
            return Draws(params, {name: self.b[..., where] for name, where in columns.items()}, stats=stats, facts=facts)
        assert self.mean is not None
        assert self.square is not None
        sd = np.sqrt(np.maximum(self.square, 0.0))
        return Draws(params, {}, {name: (self.mean[where], sd[where]) for name, where in columns.items()}, stats=stats, facts=facts)
