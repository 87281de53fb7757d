"""Chains over hyperparameters and coefficients together, for what importance sampling does not do or is not trusted with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from realmat.algebra import System
from realmat.algebra.batching import at_index
from realmat.algebra.ratios import Totals
from realmat.algebra.space import Space
from realmat.engines.chains import Sampler, Start, errors, private, unmeasured
from realmat.engines.chains.climbing import climb
from realmat.engines.chains.target import Target
from realmat.engines.exact import laplace, members, modes, plain
from realmat.engines.exact.asked import Asked
from realmat.engines.exact.explore import Explored, explore
from realmat.engines.exact.space import Density
from realmat.engines.exact.store import Store
from realmat.errors import FitError
from realmat.posterior.draws import Draws
from realmat.terms.problem import Problem, native

_Without = unmeasured.Unmeasured | private.Private

_METHOD = "Hamiltonian chains on hyperparameters and coefficients"
MANY = 24  # hyperparameters from which chains with gradients are faster than importance sampling
_SPARSE, _DENSE, _ROW = 0.4, 0.08, 60.0  # nanoseconds for a multiply-add, scattered and inside LAPACK, and for a row's density
_FACTORISATIONS, _GRADIENTS, _START = 6000, 20_000, 3e9  # of 4000 draws by either road; nanoseconds that chains take at least
_NARROWEST, _WIDEST = 1e-4, 1.0  # sd of a coordinate at the mode
_LOOKED_AT = 400  # draws to go on from
_STARTS = 100.0  # effective draws, at least, that chains start from
_STEP = 1e-4  # of differences between coordinates
_ROUGHLY = 1.0  # of a log density, to which effects are found at psi that are not what is looked for
_ROUNDS, _STILL = 4, 0.3  # of the search for a mode with heavy tails and limits, and what is left of its steps in sd of the posterior
_PLACES = 50  # draws that say where the true values of a column may lie
_TRIED = 4  # psi on which functions of it are tried


def reason(system: System) -> str:
    """Why a system is for chains from the start; empty where importance sampling is tried first."""
    size = sum(param.size for param in system.problem.params) - sum(param.size for param in members.populations(system.problem))
    if system.augmented and not laplace.suits(system):
        return "rows are not normal given the hyperparameters"
    if modes.uncertain(system.problem):
        return "columns of the theory are uncertain"
    if size > MANY:
        return f"more than {MANY} hyperparameters"
    return "a factorisation costs more than many gradients" if size and _dear(system) else ""


def _dear(system: System) -> bool:
    """Whether the factorisations of importance sampling take longer than the gradients of chains, by their multiply-adds."""
    pattern = system.pattern
    below, dense = np.diff(pattern.ptr[: pattern.lead + 1]).astype(float), float(pattern.dense)
    factor = _SPARSE * float(np.sum(below * (below + 1))) / 2 + _DENSE * (dense**3 / 6 + int(np.sum(pattern.full)) * dense**2 / 2)
    rows, entries = (sum(x) for x in zip(*((len(f.y), f.matrix.nnz) for f in system.row_blocks), strict=True))
    gradient = 2 * (_SPARSE * (pattern.flat - dense**2) + _DENSE * dense**2) + entries + _ROW * rows
    return _FACTORISATIONS * factor > _GRADIENTS * gradient + _START


def sample(
    system: System,
    asked: Asked,
    why: str,
    explored: Explored | None = None,
    facts: Mapping[str, Any] | None = None,
    known: Mapping[str, np.ndarray] | None = None,
) -> Draws:
    """Chains that start from what was explored, from draws that are `known`, or from the mode of the hyperparameters, rows taken as normal.

    After importance sampling, the coefficients that come back are drawn afresh and exactly, given the hyperparameters.
    """
    read = errors.find(system.problem)
    if read is not None and (out := _at_places(read, system, asked, why)) is not None:
        return out
    afresh = explored is not None and not system.augmented
    space = Space(system.problem.params)
    joint = system if system.as_declared else System(system.problem, eliminate=False)
    with np.errstate(all="ignore"):  # where a step ends in a place that no posterior has
        if explored is None and known and space.size:
            start = _near(known, space)
        elif seen := explored or _as_normal(system, asked.seed):
            start = _of(seen, space)
        else:
            start = _mode(system, joint, space)
        systems, without = [joint], list[_Without]()
        for find in (unmeasured.find, private.find):
            while (found := _of_any(systems[-1].problem, find)) is not None:
                without.append(found)
                systems.append(System(found.reduced, eliminate=False))
        totals = Totals.of(system.problem, space)
        run = Sampler(systems[-1], space, start, asked.seed, asked.chains, not afresh, totals).run(asked.draws, asked.progress)
        b = run.b
        if not afresh:
            for found, outer, inner in zip(reversed(without), reversed(systems[:-1]), reversed(systems[1:]), strict=True):
                b = found.restored(outer, inner, space, run.thetas, b, asked.seed)
    facts = {**(facts or {}), "method": _METHOD, "why": why, **run.facts}
    store = Store(system, run.thetas.shape[0], asked.latents)
    if afresh:
        density = Density(system)  # whose coordinates are others
        flat = run.thetas.reshape(-1, space.size)
        store.fill(density.space.thetas(space.named(flat), len(flat)).reshape(run.thetas.shape), density, asked.seed)
    else:
        store.put(b)
    return store.draws(run.thetas, space, {}, facts)


def _of_any(problem: Problem, find: Callable[[Problem], _Without | None]) -> _Without | None:
    """What is found to be integrated out of the first property that has something; None where none has."""
    return next((found for name in problem.responses if (found := find(problem.of(name))) is not None), None)


def _as_normal(system: System, seed: int) -> Explored | None:
    """What importance sampling sees of a curve read with heavy tails or limits as if noise were normal; None where it is not for it."""
    straight = plain.system(system.problem) if system.augmented else None
    if straight is None or reason(straight):
        return None
    try:
        return explore(Density(straight), np.random.default_rng([seed, 15]))
    except FitError:  # readings within limits may lie on a curve
        return None


def _at_places(read: errors.Errors, system: System, asked: Asked, why: str) -> Draws | None:
    """Chains with the errors of a column integrated out; None where they cannot be."""
    rng = np.random.default_rng([asked.seed, 13])
    straight = System(read.straight)
    explored = explore(Density(straight), rng)
    some = explored.thetas[rng.choice(len(explored.thetas), size=_PLACES, p=explored.weights)]
    b = explored.density.solve(some)[1].draw(rng)
    with np.errstate(all="ignore"):  # a law may have no value at places that no reading leaves possible
        reduced = read.reduced(explored.density.system, explored.density.space.many(some)[0], b)
    if reduced is None:
        return None
    inner = System(reduced, eliminate=False)
    space = Space(reduced.params)
    with np.errstate(all="ignore"):
        start = replace(_of(explored, space), warm=True)
        totals = Totals.of(system.problem, space)
        run = Sampler(inner, space, start, asked.seed, asked.chains, totals=totals).run(asked.draws, asked.progress)
        params = read.restored(inner, space, run.thetas, run.b, asked.seed)
    facts = {"evaluations": explored.density.evaluations, "method": _METHOD, "why": f"{why}: integrated out", **run.facts}
    store = Store(system, run.thetas.shape[0], asked.latents)
    store.put(run.b)
    return store.named(params, {}, facts)


def _mode(system: System, joint: System, space: Space) -> Start:
    if not space.size:
        return Start(np.zeros(0), np.zeros((0, 0)))
    aux = system.example_auxiliary()  # without heavy tails or limits
    read = any(native(rows.noise) for rows in system.problem.rows)
    if read:
        aux = _standing(joint, space, system.example, aux, guessed=True)
    found = modes.typical(Density(system, aux=aux))
    density = Density(system, aux=aux)
    for _ in range(_ROUNDS if system.augmented and not read else 0):  # normal rows know of no dispersion and no modulus
        before, aux = found.location, _standing(joint, space, density.space.values(found.location), aux)
        density = Density(system, aux=aux)
        found = modes.further(density, found)
        if np.max((found.location - before) ** 2 / np.diag(found.covariance)) < _STILL**2:
            break
    location, covariance = found.location, found.covariance

    def plain(theta: np.ndarray) -> np.ndarray:
        return space.theta(density.space.values(theta))

    turn = np.array([(plain(location + step) - plain(location - step)) / (2 * _STEP) for step in _STEP * np.eye(space.size)]).T
    covariance = turn @ covariance @ turn.T
    eigenvalues, vectors = np.linalg.eigh(np.where(np.isfinite(covariance), covariance, 0.0))
    return Start(plain(location), vectors * np.sqrt(np.clip(eigenvalues, _NARROWEST**2, _WIDEST**2)), known=not read)


def _standing(
    joint: System, space: Space, values: Mapping[str, np.ndarray], aux: Mapping[str, np.ndarray], guessed: bool = False
) -> dict[str, np.ndarray]:
    """Auxiliary values of the normal rows that stand for heavy tails and limits where normal rows `aux` lead, with psi at `values`.

    If `guessed`, counts, fractions and strengths stand where their densities guess from the readings.

    Their weights are Fisher information: squared distances of the values that stand for readings agree with it on average, so that
    scales found from them are those of the density itself (Huber & Ronchetti, Robust Statistics, 2009, section 7.8).
    """
    theta = space.theta(values)
    target = Target(joint, space, np.tile(theta, (_TRIED, 1)))
    b = joint.at({**values, **aux}).centred[:, None]
    if not guessed:
        target.refer(theta)
        b = climb(target, theta, b, settled=_ROUGHLY)
    return at_index(target.gaussian({name: np.asarray(value)[..., None] for name, value in values.items()}, b, guessed), 0)


def _near(known: Mapping[str, np.ndarray], space: Space) -> Start:
    """Draws given other rows, whose chains need less to warm up."""
    thetas = space.of_draws(known, _LOOKED_AT)
    away = thetas - thetas.mean(axis=0)
    eigenvalues, vectors = np.linalg.eigh(away.T @ away / len(away))
    root = vectors * np.sqrt(np.maximum(eigenvalues, _NARROWEST**2))
    return Start(thetas.mean(axis=0), root, thetas, np.full(len(thetas), 1 / len(thetas)), warm=True)


def _of(explored: Explored, space: Space) -> Start:
    """Mean, covariance and draws of what was explored, in logarithms of positive parameters.

    Where a few draws carry nearly all the weight, as beyond the reach of a proposal, chains that all start from them do not part.
    """
    every = explored.history.flattened(_STARTS)
    seen = np.flatnonzero(every > 0)
    thetas = space.thetas(explored.density.space.named(explored.thetas[seen]), len(seen))
    finite = np.isfinite(thetas).all(axis=1)
    thetas, weights = thetas[finite], every[seen][finite]
    weights = weights / weights.sum()
    mean = weights @ thetas
    eigenvalues, vectors = np.linalg.eigh((thetas - mean).T @ ((thetas - mean) * weights[:, None]))
    return Start(mean, vectors * np.sqrt(np.maximum(eigenvalues, 1e-12)), thetas, weights)
