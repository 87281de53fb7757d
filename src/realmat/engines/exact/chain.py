"""Draws: independence Metropolis chains on theta, an exact draw of the coefficients with each proposal.

The proposals are independent and drawn from a fixed mixture, so they are evaluated in any order and on both cores; accepting or
rejecting is then arithmetic. Unlike resampled importance draws, the chains show their own autocorrelation, so R-hat and ESS are honest
(Tierney, Annals of Statistics 22, 1701, 1994, section 2.3.3).
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


class Keep(Protocol):
    """What keeps coefficients with proposals."""

    def made(self, first: int, solved: Solved, log_weight: np.ndarray, rng: np.random.Generator) -> Any:
        """Of the proposals from draw `first` on, of log weights (draws, chains): in any order, on any thread."""

    def take(self, made: Any) -> None:
        """What was made, one after the other."""


@dataclass
class Proposals:
    """Evaluated proposals of all chains: log target minus log proposal, shape (chains, draws)."""

    thetas: np.ndarray
    log_weight: np.ndarray
    done: int

    def evaluated(self, proposal: Proposal) -> tuple[np.ndarray, np.ndarray]:
        """All draws of the proposal and their log densities; the starts of the chains came from elsewhere and are left out."""
        thetas = self.thetas[:, 1:].reshape(-1, self.thetas.shape[-1])
        return thetas, self.log_weight[:, 1:].ravel() + proposal.logpdf(thetas)


def evaluate(explored: Explored, draws: int, chains: int, seed: int, keep: Keep | None, tick: Callable[[int], None]) -> Proposals:
    """Evaluate proposals draw by draw over all chains; `keep` makes of them what is kept of the coefficients.

    An interrupt ends it early: `done` says how many draws of every chain are complete.
    """
    density = explored.density
    rng = np.random.default_rng([seed, 1])
    drawn = explored.proposal.draw(rng, chains * draws)
    log_q = explored.proposal.logpdf(drawn).reshape(draws, chains)
    thetas = drawn.reshape(draws, chains, density.space.size).copy()
    # each chain starts from a draw of the explored posterior: already where it belongs
    thetas[0] = explored.thetas[rng.choice(len(explored.thetas), size=chains, p=explored.weights)]
    log_q[0] = explored.proposal.logpdf(thetas[0])
    log_weight = np.full((draws, chains), -np.inf)

    def work(block: slice) -> tuple[int, Any]:
        own = thetas[block]
        rng = np.random.default_rng([seed, 2, block.start])
        logs, solved = density.proposed(own.reshape(-1, own.shape[-1]), rng)
        log_weight[block] = logs.reshape(own.shape[:2]) - log_q[block]
        if keep is None:
            return block.stop, None
        of_proposals = np.where(np.arange(block.start, block.stop)[:, None] > 0, log_weight[block], -np.inf)  # the starts are none
        return block.stop, keep.made(block.start, solved, of_proposals, rng)

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
    return Proposals(thetas[:done].swapaxes(0, 1), log_weight[:done].T, done)


def accept(proposals: Proposals, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Accept or reject: which proposal each draw of each chain is, shape (chains, draws), and whether it was accepted."""
    chains, draws = proposals.log_weight.shape
    log_u = np.log(np.random.default_rng([seed, 3]).random((chains, draws)))
    index = np.zeros((chains, draws), dtype=int)
    for c in range(chains):
        weight, bound = proposals.log_weight[c].tolist(), log_u[c].tolist()  # Python's own numbers: the loop is ten times faster
        current, at = int(np.argmax(np.isfinite(proposals.log_weight[c]))), []
        for t in range(draws):
            if t > current and weight[t] - weight[current] > bound[t]:
                current = t
            at.append(current)
        index[c] = at
    accepted = index == np.arange(draws)
    return index, accepted


def longest_stay(index: np.ndarray) -> float:
    """The largest share of a chain's draws that are one and the same proposal; `index` has shape (chains, draws)."""
    return max(float(np.unique(row, return_counts=True)[1].max()) for row in index) / index.shape[1]
