"""The exact engine: coefficients integrated out, hyperparameters explored, coefficients drawn back exactly.

It never imports PyMC and compiles nothing but a few cached loops.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realmat.algebra import System
from realmat.engines.chains import agreement
from realmat.engines.exact import chained, ensemble, fields, laplace, modes, resample, walked
from realmat.engines.exact.asked import Asked
from realmat.engines.exact.explore import Explored, explore
from realmat.engines.exact.space import Density
from realmat.engines.exact.store import Store
from realmat.errors import FitError
from realmat.posterior.draws import Draws
from realmat.support import pareto
from realmat.support.progress import Progress
from realmat.support.threads import one_blas_thread
from realmat.terms.problem import Problem, nonlinear_terms

K_HAT_LIMIT = 0.7
EFFICIENCY_LIMIT = 0.1
STAY_LIMIT = 0.05
_FEW = 200  # draws of a chain of which a short stay is already a large part
_STORED_BYTES = 1_000_000_000
_ATTEMPTS = 8
_EVEN, _RETRIES = 0.2, 3  # efficiency below which draws are worth little, and how often more is tried for
_HALF, _LITTLE = 0.5, 0.01  # efficiency, and share of one draw, with which chains of so many draws agree
_EVEN_LONG = 0.8  # below which there are more where they are cheap
_LONGER = 6  # times that more are tried
_TIMES = 4  # as many proposals as draws where weights are trusted but not the draws
_FEWEST = 100  # proposals of a chain, however few draws are wanted
_TOLD = 4000  # draws from which R-hat and the effective sample size of chains are judged
_AGREED, _ENOUGH = 1.01, 400
_NECK = 0.4  # standard deviation of the logarithm of a spread
_METHOD = "importance resampling of hyperparameters, coefficients drawn exactly"
_FUNNEL = "hyperparameters have a population whose spread may be zero"


def refusal(problem: Problem) -> str | None:
    """Why this problem cannot run here, in one line; None where it can."""
    bent = [name for name, _ in nonlinear_terms(problem)]
    if bent and not fields.fields_only(problem):
        return f"the effect of {', '.join(bent)} is not linear given its parameters"
    return None


@one_blas_thread()
def sample(
    problem: Problem,
    draws: int,
    chains: int,
    seed: int,
    latents: str | None = None,
    progress: bool = True,
    start: Mapping[str, np.ndarray] | None = None,
) -> Draws:
    """Draw from the posterior of a conditionally Gaussian problem.

    Parameters
    ----------
    problem : Problem
    draws, chains : int
    seed : int
    latents : {"draws", "summary"}, optional
        "summary" keeps mean and sd of every coefficient instead of draws; by default it is chosen where draws would need over 1 GB.
    progress : bool
    start : mapping of name to array of shape (chain, draw, ...), optional
        Hyperparameters near those that are looked for, such as draws given fewer rows: the search for a mode, and
        chains, start there.

    Raises
    ------
    realmat.FitError
        If the problem is not conditionally Gaussian, or its density is nowhere finite.
    """
    refused = refusal(problem)
    if refused:
        raise FitError(f"engine='exact' cannot run this model: {refused}. Use engine='nuts'.")
    if fields.fields_only(problem):
        return fields.sample(problem, draws, chains, seed, progress)
    started = time.perf_counter()
    system = System(problem)
    if latents is None:
        latents = "summary" if draws * chains * system.size * 8 > _STORED_BYTES and not system.augmented else "draws"
    if why := chained.reason(system):
        out = chained.sample(system, Asked(draws, chains, seed, latents, progress), why, known=start)
    elif not problem.params:
        out = _fixed(system, draws, chains, seed)
    else:
        out = _explored(system, Asked(draws, chains, seed, latents, progress), start)
    facts = {**out.facts, "engine": "exact", "seconds": round(time.perf_counter() - started, 4), "latents": latents}
    return Draws(out.params, out.coefficients, out.summary, out.stats, facts)


def _fixed(system: System, draws: int, chains: int, seed: int) -> Draws:
    """No hyperparameters at all: independent exact draws."""
    conditional = system.at({})
    rng = np.random.default_rng([seed, 2])
    b = np.array([conditional.draw(rng) for _ in range(chains * draws)]).reshape(chains, draws, system.size)
    return Draws({}, {name: b[..., where] for name, where in system.columns.items()}, facts={"method": "independent exact draws"})


def _explored(system: System, asked: Asked, start: Mapping[str, np.ndarray] | None) -> Draws:
    draws, chains, seed = asked.draws, asked.chains, asked.seed
    with Progress(asked.progress, "exploring hyperparameters", None) as bar:
        density = laplace.Normalised(system) if system.augmented else Density(system)
        explored = explore(density, np.random.default_rng([seed, 0]), start)
        system = explored.density.system
        store = Store(system, chains, asked.latents)
        facts: dict[str, Any] = {"evaluations": explored.density.evaluations}
        doubt = _FUNNEL if _funnel(explored) else ""
        if explored.bent and not doubt:
            explored, doubt = ensemble.secured(explored, seed)
            facts |= {"evaluations": explored.density.evaluations} | ({"modes": explored.modes} if explored.modes > 1 else {})
        if doubt:
            return _otherwise(system, asked, doubt, explored, facts)
        times = -(-_FEWEST // draws)
        cheap = explored.history.bent and system.many.small and not density.drawn
        for attempt in range(_ATTEMPTS):
            bar.restart("drawing" if attempt == 0 else "drawing again from a better proposal", times * draws * chains)
            run = _run(explored, asked, store, seed + attempt, times, bar)
            facts |= {"evaluations": facts["evaluations"] + run.proposals.log_weight.size, "k_hat": run.k_hat, "efficiency": run.efficiency}
            why = distrust(run.k_hat, run.efficiency, run.index)
            doubt = why or _apart(run, explored.density)
            poor = why or (attempt < _RETRIES and (run.efficiency < _EVEN or (doubt and not cheap)))
            if not poor or run.interrupted or attempt == _ATTEMPTS - 1 or (attempt >= _RETRIES and explored.bent and run.hopeful):
                break
            # what failed as draws is still a large weighted sample: learn from it
            explored = run.taught(explored, np.random.default_rng([seed, 6, attempt]))
    if not run.interrupted:
        if run.hopeful and (explored.bent or not why) and (doubt or (cheap and run.efficiency < _EVEN_LONG)):
            explored, run, doubt = _longer(explored, asked, store, run)
            facts |= {"evaluations": explored.density.evaluations, "k_hat": run.k_hat, "efficiency": run.efficiency}
        if doubt:
            return _otherwise(system, asked, f"importance sampling was not trusted ({doubt})", explored, facts)
    return run.kept(explored, asked, store, facts)


def _longer(explored: Explored, asked: Asked, store: Store, run: _Run) -> tuple[Explored, _Run, str]:
    """More proposals than draws, from a mixture that learns from those that were not good enough; what is still wrong with them."""
    times = max(_TIMES, run.times)
    for attempt in range(_LONGER):
        with Progress(asked.progress, "drawing from more proposals", times * asked.draws * asked.chains) as bar:
            run = _run(explored, asked, store, asked.seed + _ATTEMPTS + attempt, times, bar)
        doubt = "" if run.interrupted else distrust(run.k_hat, run.efficiency, run.index, _TIMES) or _apart(run, explored.density)
        if not doubt:
            break
        explored = run.taught(explored, np.random.default_rng([asked.seed, 10, attempt]))
    return explored, run, doubt


@dataclass
class _Run:
    """Proposals, `times` as many as draws were asked for, and the `index` of those that are draws, shape (chains, draws)."""

    proposals: resample.Proposals
    index: np.ndarray
    times: int
    asked: int
    k_hat: float = field(init=False)
    efficiency: float = field(init=False)

    def __post_init__(self) -> None:
        self.k_hat, self.efficiency = judge(self.proposals.log_weight)

    @property
    def thetas(self) -> np.ndarray:
        """Of the draws, shape (chains, draws, size)."""
        return np.take_along_axis(self.proposals.thetas, self.index[..., None], axis=1)

    @property
    def interrupted(self) -> bool:
        """Whether there are fewer than were asked for."""
        return self.index.shape[1] < self.asked

    @property
    def even(self) -> bool:
        """Whether draws are worth half their number or more, and none of them much."""
        return self.efficiency >= _HALF and resample.longest_stay(self.index) <= _LITTLE

    @property
    def hopeful(self) -> bool:
        """Whether weights of more proposals would be even enough."""
        return self.k_hat <= K_HAT_LIMIT and _TIMES * self.efficiency >= EFFICIENCY_LIMIT

    def taught(self, explored: Explored, rng: np.random.Generator) -> Explored:
        """What is explored with all proposals learnt from."""
        return explored.refined(*self.proposals.evaluated(explored.proposal), rng)

    def kept(self, explored: Explored, asked: Asked, store: Store, facts: Mapping[str, Any]) -> Draws:
        """The draws, with coefficients."""
        thetas, facts = self.thetas, dict(facts)
        if self.interrupted:
            facts["interrupted"] = f"interrupted after {thetas.shape[1]} of {asked.draws} draws"
        if self.times == 1 or explored.density.drawn:
            store.choose(self.index)
        else:
            store.fill(thetas, explored.density, asked.seed)
        if self.times > 1:
            facts["proposals_per_draw"] = self.times
        return store.draws(thetas, explored.density.space, {}, {**facts, "method": _METHOD})


def _run(explored: Explored, asked: Asked, store: Store, seed: int, times: int, bar: Progress) -> _Run:
    """Chains of the user's number; coefficients are drawn with proposals where about as many of these are kept.

    Where weights are too uneven for draws to be worth enough, or proposals are cheap, there are `times` as many of them as draws.
    """
    wanted = times == 1 or explored.density.drawn
    keep = store.keep(explored.density, explored.thetas[np.argmax(explored.weights)], times * asked.draws) if wanted else None
    proposals = resample.evaluate(explored, times * asked.draws, asked.chains, seed, keep, bar.advance)
    if proposals.done < 2 * times:
        raise KeyboardInterrupt  # too few to hand on
    return _Run(proposals, resample.choose(proposals.log_weight, proposals.done // times, seed), times, asked.draws)


def _otherwise(system: System, asked: Asked, why: str, explored: Explored, facts: Mapping[str, Any]) -> Draws:
    """What importance sampling is not trusted with: walkers along the ridges of a curve of few hyperparameters, or else chains."""
    if explored.bent and not explored.density.drawn and why != _FUNNEL and explored.density.space.size <= walked.FEW:
        found = walked.sample(explored, asked, why, facts)
        if found is not None:
            return found
    return chained.sample(system, asked, why, explored, facts)


def _funnel(explored: Explored) -> bool:
    """Whether a spread may be so near to zero that proposals hardly reach there: what was seen of its logarithm is wide.

    Of n members that are well known it is some 1 / sqrt(2 n); in a neck there is no end to it.
    """
    space = explored.density.space
    held = np.setdiff1d(np.flatnonzero(modes.spreads(explored.density)), explored.history.given.spreads)
    if modes.uncertain(explored.density.system.problem):
        return True
    logs = space.plain(explored.thetas)[0][:, held]
    away = np.nan_to_num(logs - explored.weights @ np.nan_to_num(logs))
    return bool(np.any(explored.weights @ away**2 > _NECK**2))


def distrust(k_hat: float, efficiency: float, index: np.ndarray, times: int = 1) -> str:
    """Why the weights of proposals, and the chains `index` (chains, draws) made of them, are not to be trusted; empty where they are.

    Of `times` as many proposals as draws the weights may be as much less even.
    """
    if k_hat > K_HAT_LIMIT or times * efficiency < EFFICIENCY_LIMIT:
        return f"k-hat {k_hat:.2f}, efficiency {efficiency:.0%}"
    stay = resample.longest_stay(index)
    return f"{stay:.0%} of the draws of a chain are one and the same" if stay > STAY_LIMIT and index.shape[1] >= _FEW else ""


def _apart(run: _Run, density: Density) -> str:
    """What is wrong with the draws of a run as a sample; empty where nothing is, or where there are too few to tell.

    They are judged in the users' own units: the tail R-hat of a power of a scale is not that of the scale. Chains of even weights, none of
    them large, differ by chance alone, and R-hat reaches 1.01 in one of 40 parameters less than once in a thousand fits.
    """
    thetas = run.thetas
    if thetas.shape[0] < 2 or thetas.shape[0] * thetas.shape[1] < _TOLD or run.even:
        return ""
    named = density.space.named(thetas).values()
    x = np.concatenate([v.reshape(*thetas.shape[:2], -1) for v in named], axis=2).transpose(2, 0, 1)
    apart, ess = float(agreement.r_hat(x).max()), float(agreement.bulk_ess(x).min())
    return f"R-hat {apart:.3f}, effective sample size {ess:.0f}" if apart > _AGREED or ess < _ENOUGH else ""


def judge(log_weight: np.ndarray) -> tuple[float, float]:
    """Pareto k-hat (nan for fewer than 25 weights, too few to tell) and efficiency (effective over nominal size) of weights."""
    flat = log_weight[np.isfinite(log_weight)]
    if len(flat) < 2:
        return np.nan, 0.0
    w = np.exp(flat - flat.max())
    k_hat = pareto.shape(w) if len(flat) >= 25 else np.nan
    return round(k_hat, 3), round(float(w.sum() ** 2 / np.sum(w**2) / log_weight.size), 3)
