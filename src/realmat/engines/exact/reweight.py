"""Draws of the hyperparameters made to fit more rows: reweighted by the ratio of marginal likelihoods, coefficients integrated out.

Draws of psi given the old rows, with weights p(all rows | psi) / p(old rows | psi), are draws given all rows; coefficients follow exactly
given psi. The weights are always those of one *basis*, the draws of the last fit, whatever the number of updates since: they do not
degenerate by being resampled again and again, and k-hat says when the rows since then have moved psi too far (Vehtari, Simpson, Gelman,
Yao & Gabry, J. Mach. Learn. Res. 25(72), 2024). Weighted draws are resampled as proposals of a fit are, each chain by itself and in order,
so that R-hat and effective sample sizes mean what they mean there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from realmat.algebra import System
from realmat.algebra.batching import slices
from realmat.engines import exact
from realmat.engines.exact import resample
from realmat.posterior.draws import Draws, Posterior
from realmat.posterior.prior_draws import hyperparameters
from realmat.support.threads import one_blas_thread, workers
from realmat.terms.problem import Problem

ENOUGH = 0.25  # share of the draws that must stay effective


@dataclass(frozen=True)
class Basis:
    """Draws of psi, and the log marginal likelihood of the rows that they are given.

    Attributes
    ----------
    params : mapping of name to array of shape (chain, draw) or (chain, draw, size)
    log_marginal : array of shape (chain, draw)
    """

    params: Mapping[str, np.ndarray]
    log_marginal: np.ndarray

    @classmethod
    def of(cls, posterior: Posterior) -> Basis:
        """The draws of a fit."""
        params = posterior.draws.params
        return cls(params, _log_marginals(posterior.system, params, posterior.shape))

    def for_problem(self, problem: Problem, seed: int) -> Basis:
        """With every hyperparameter of a longer table: those of a new laboratory, say, are drawn from their prior."""
        return replace(self, params=widened(self.params, problem, self.log_marginal.shape, seed))


def widened(params: Mapping[str, np.ndarray], problem: Problem, shape: tuple[int, ...], seed: int) -> dict[str, np.ndarray]:
    """Draws, `shape` (chain, draw), of every hyperparameter of a longer problem: what is new in it is drawn from its prior."""
    chains, draws = shape
    kept = [q.name for q in problem.params if q.name in params and q.size == _size(params[q.name])]
    known = {name: params[name].reshape(chains * draws, *params[name].shape[2:]) for name in kept}
    fresh = hyperparameters(problem.params, chains * draws, np.random.default_rng([seed, 21]), known)
    out = {}
    for q in problem.params:
        old = params.get(q.name)
        if old is not None and _size(old) == q.size:
            out[q.name] = old
            continue
        new = fresh[q.name].reshape(chains, draws, *fresh[q.name].shape[1:])
        if old is not None:  # values of a level keep their places, new ones follow
            new[..., : old.shape[-1]] = old
        out[q.name] = new
    return out


@dataclass(frozen=True)
class Reweighted:
    """What became of draws given more rows: a posterior, or None where the weights are not to be trusted; and the basis they come from.

    `weighted` is the same posterior as draws of the basis with weights, for expectations: what two updates of one basis expect differs by
    what was measured between, not by chance.
    """

    posterior: Posterior | None
    weighted: Posterior | None
    basis: Basis
    k_hat: float
    efficiency: float


@one_blas_thread()
def reweighted(basis: Basis, problem: Problem, facts: Mapping[str, Any], seed: int) -> Reweighted:
    """Reweight a basis by the rows of a longer problem of the same model; `facts` are those of the fit."""
    started = time.perf_counter()
    system = System(problem)
    basis = basis.for_problem(problem, seed)
    log_weight = _log_marginals(system, basis.params, basis.log_marginal.shape) - basis.log_marginal
    k_hat, efficiency = exact.judge(log_weight)
    if k_hat > exact.K_HAT_LIMIT or efficiency < ENOUGH:
        return Reweighted(None, None, basis, k_hat, efficiency)
    chosen = resample.choose(log_weight, log_weight.shape[1], seed)
    params = {name: np.stack([v[c, own] for c, own in enumerate(chosen)]) for name, v in basis.params.items()}
    told = {
        "method": "hyperparameters reweighted for new rows, coefficients drawn exactly",
        "k_hat": k_hat,
        "efficiency": efficiency,
        "seconds": round(time.perf_counter() - started, 4),
    }
    draws = Draws(params, Later(system, params, chosen.shape, seed), facts={**facts, **told})
    share = np.exp(log_weight - log_weight.max()).ravel()
    same = Draws(basis.params, Later(system, basis.params, chosen.shape, seed))
    return Reweighted(Posterior.on(system, draws), Posterior.on(system, same, share), basis, k_hat, efficiency)


class Later(Mapping[str, np.ndarray]):
    """Exact draws of all coefficients at draws of psi, made when first asked for: by block, shape (chain, draw, size)."""

    def __init__(self, system: System, params: Mapping[str, np.ndarray], shape: tuple[int, ...], seed: int) -> None:
        self._system, self._params, self._shape, self._seed = system, params, shape, seed

    @cached_property
    def _every(self) -> np.ndarray:
        size = int(np.prod(self._shape))
        out = np.empty((size, self._system.size))
        values = _batch(self._params, size)
        for where in slices(size, self._system.many.most):
            own, _ = _told(self._system.problem, {name: v[..., where] for name, v in values.items()})
            solved = self._system.many.at(own, where.stop - where.start)
            out[where] = solved.draw(np.random.default_rng([self._seed, 2, where.start]))
        return out.reshape(*self._shape, -1)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._every[..., self._system.columns[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._system.columns)

    def __len__(self) -> int:
        return len(self._system.columns)


def _log_marginals(system: System, params: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """log p(y | psi) at every draw; a draw that repeats the one before it is not evaluated again."""
    size = int(np.prod(shape))
    values = _batch(params, size)
    flat = np.concatenate([v.reshape(-1, size) for v in values.values()]) if values else np.zeros((1, size))
    changed = np.flatnonzero(np.append(True, (flat[:, 1:] != flat[:, :-1]).any(axis=0)))
    found = np.empty(len(changed))

    def work(where: slice) -> None:
        some = changed[where]
        own, beyond = _told(system.problem, {name: v[..., some] for name, v in values.items()})
        found[where] = system.many.at(own, len(some)).log_marginal + beyond

    with ThreadPoolExecutor(workers()) as pool:
        list(pool.map(work, slices(len(changed), system.many.most)))
    return found[np.cumsum(np.isin(np.arange(size), changed)) - 1].reshape(shape)


def _told(problem: Problem, values: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray | float]:
    """Values, with what terms that draw parameters of their own make of them, and the density of the data of these beyond their rows."""
    beyond: np.ndarray | float = 0.0
    for term in problem.all_terms:
        if term.update is not None:
            state = {name: np.moveaxis(values[name], -1, 0) for name in term.update.names}
            values = values | {name: np.moveaxis(v, 0, -1) for name, v in term.update.derived(state).items()}
            beyond = beyond + term.update.beyond(state)
    return values, beyond


def _batch(params: Mapping[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    """Values by name, the draws as last axis."""
    return {name: np.ascontiguousarray(v.reshape(size, *v.shape[2:]).T) for name, v in params.items()}


def _size(values: np.ndarray) -> int:
    return 1 if values.ndim == 2 else values.shape[2]
