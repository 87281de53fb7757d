"""Draws: proposals of theta resampled by their weights, an exact draw of the coefficients with each.

Each chain has proposals of its own, drawn from a fixed mixture in mirrored pairs, so that they are evaluated in any order and on both
cores. Of these it keeps each about as often as its weight says (systematic resampling: Kitagawa, J. Comput. Graph. Stat. 5, 1, 1996), pair
by pair in order and copies of the two of a pair in turn: as what belongs together stands together, a chain's autocorrelation tells what
its draws are worth, and R-hat tells whether chains agree. A mean over n draws so made is more precise than one over a Metropolis chain of
as many independent proposals. The largest weights are smoothed first (Vehtari, Simpson, Gelman, Yao & Gabry, J. Mach. Learn. Res. 25(72),
2024).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from realmat.algebra.batching import slices
from realmat.engines.exact.explore import Explored
from realmat.engines.exact.partly import Proposal
from realmat.engines.exact.space import Solved
from realmat.support import pareto


class Keep(Protocol):
    """What keeps coefficients with proposals."""

    def made(self, first: int, solved: Solved, log_weight: np.ndarray, rng: np.random.Generator) -> Any:
        """Of the proposals from draw `first` on, of log weights (draws, chains): in any order, on any thread."""

    def take(self, made: Any) -> None:
        """What was made, one after the other."""


@dataclass
class Proposals:
    """Evaluated proposals of all chains, shape (chains, draws): log target minus log proposal, and of that what is drawn exactly."""

    thetas: np.ndarray
    log_weight: np.ndarray
    given: np.ndarray
    done: int

    def evaluated(self, proposal: Proposal) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All draws of the proposal, log densities of what it draws exactly, and the log target."""
        thetas, given = self.thetas.reshape(-1, self.thetas.shape[-1]), self.given.ravel()
        return thetas, given, self.log_weight.ravel() + proposal.of_rest(thetas) + given


def evaluate(explored: Explored, draws: int, chains: int, seed: int, keep: Keep | None, tick: Callable[[int], None]) -> Proposals:
    """Evaluate proposals draw by draw over all chains; `keep` makes of them what is kept of the coefficients.

    An interrupt ends it early: `done` says how many draws of every chain are complete.
    """
    density = explored.density
    rng = np.random.default_rng([seed, 1])
    thetas, given = (np.stack(own, axis=1) for own in zip(*(explored.proposal.draw_pairs(rng, draws) for _ in range(chains)), strict=True))
    log_q = explored.proposal.of_rest(thetas.reshape(draws * chains, -1)).reshape(draws, chains) + given
    log_weight = np.full((draws, chains), -np.inf)

    def work(block: slice) -> tuple[int, Any]:
        own = thetas[block]
        rng = np.random.default_rng([seed, 2, block.start])
        logs, solved = density.proposed(own.reshape(-1, own.shape[-1]), rng)
        log_weight[block] = logs.reshape(own.shape[:2]) - log_q[block]
        return block.stop, None if keep is None else keep.made(block.start, solved, log_weight[block], rng)

    done = 0
    try:
        for stop, made in density.map(work, slices(draws, max(density.system.many.most // chains, 1))):
            if keep is not None:
                keep.take(made)
            fresh, done = stop - done, stop
            tick(fresh * chains)
    except KeyboardInterrupt:
        if done < 2:
            raise
    return Proposals(thetas[:done].swapaxes(0, 1), log_weight[:done].T, given[:done].T, done)


def choose(log_weight: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Which proposal each draw of each chain is, shape (chains, draws), pairs in order, from log weights of shape (chains, proposals).

    Where no proposal of a chain has a weight, all are alike: `judge` then says that the weights are not to be trusted.
    """
    seen = np.isfinite(log_weight)
    log_weight = np.where(seen, log_weight, -np.inf)
    log_weight[~seen.any(axis=1)] = np.min(log_weight, where=seen, initial=0.0)
    smoothed = pareto.smoothed(log_weight.reshape(-1, 1), 1.0)[0].reshape(log_weight.shape)
    weight = np.exp(smoothed - smoothed.max(axis=1, keepdims=True))
    places = np.arange(draws) + np.random.default_rng([seed, 3]).random((len(weight), 1))
    return np.array([_at(own, where) for own, where in zip(weight, places, strict=True)])


def _at(weight: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The index of the weight within whose share of the whole each place lies, of as many units as there are places.

    Copies of the two of a pair take turns.
    """
    ends = np.cumsum(weight)
    index = np.minimum(np.searchsorted(ends * (len(places) / ends[-1]), places, side="right"), int(np.flatnonzero(weight)[-1]))
    copy = np.arange(len(index)) - np.searchsorted(index, index)
    return index[np.lexsort((index % 2, copy, index // 2))]


def longest_stay(index: np.ndarray) -> float:
    """The largest share of a chain's draws that are one and the same proposal; `index` has shape (chains, draws)."""
    return max(float(np.unique(row, return_counts=True)[1].max()) for row in index) / index.shape[1]
