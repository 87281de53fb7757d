"""Local chains of hyperparameters that learn their steps from each other: what a fixed proposal never saw, they walk into.

Walkers in several independent groups are moved by differences of others of their group (differential evolution: ter Braak, Stat. Comput.
16, 239, 2006) and by stretches towards them (Goodman & Weare, Commun. Appl. Math. Comput. Sci. 5, 65, 2010): half of a group at a time,
given the other half (Foreman-Mackey et al., PASP 125, 306, 2013). Both kinds of moves see no scale and no correlation, and bent ridges do
not stop them. Densities are cheap in large batches, so there are many walkers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from realmat.engines.exact.explore import Explored
from realmat.engines.exact.space import Density

_WALKERS = 160
_JUMPS = 0.15  # share of differences taken whole: they lead from one mode to another
_STRETCHES = 0.3
_STRETCH = 2.0
_SHORT, _LOOKS = 30, 2  # sweeps of the search for what a proposal has missed, and how often it is looked where walkers are
_MISSED = 0.05  # share of the posterior that it may miss
_TRIES = 2
_HOPELESS = 0.02  # efficiency of a proposal that is not worth drawing from
_FAR = 3.0  # logarithm of the weight, above the average one, from which a place counts as missed


@dataclass
class Ensemble:
    """Walkers of shape (groups, walkers, size) and their log densities."""

    density: Density
    thetas: np.ndarray
    rng: np.random.Generator
    logs: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.logs = self._log(self.thetas)

    def _log(self, thetas: np.ndarray) -> np.ndarray:
        return self.density.many(thetas.reshape(-1, thetas.shape[-1])).reshape(thetas.shape[:-1])

    def sweep(self) -> None:
        """Move every walker once."""
        groups, walkers, _ = self.thetas.shape
        order = np.argsort(self.rng.random((groups, walkers)), axis=1)
        for mine, others in ((order[:, : walkers // 2], order[:, walkers // 2 :]), (order[:, walkers // 2 :], order[:, : walkers // 2])):
            self._move(mine, others)

    def _move(self, mine: np.ndarray, others: np.ndarray) -> None:
        rng, d = self.rng, self.thetas.shape[-1]
        group = np.arange(len(mine))[:, None]
        here, there = self.thetas[group, mine], self.thetas[group, others]
        first = rng.integers(others.shape[1], size=mine.shape)
        second = (first + rng.integers(1, others.shape[1], size=mine.shape)) % others.shape[1]
        one, two = there[group, first], there[group, second]
        length = 2.38 / np.sqrt(2 * d) * np.exp(0.5 * rng.standard_normal(mine.shape))
        length = np.where(rng.random(mine.shape) < _JUMPS, 1.0, length)
        new = here + length[..., None] * (one - two)
        stretch = ((_STRETCH - 1) * rng.random(mine.shape) + 1) ** 2 / _STRETCH
        stretched = rng.random(mine.shape) < _STRETCHES
        new = np.where(stretched[..., None], one + stretch[..., None] * (here - one), new)
        logs = self._log(new)
        gain = logs - self.logs[group, mine] + np.where(stretched, (d - 1) * np.log(stretch), 0.0)
        taken = np.log(rng.random(mine.shape)) < gain
        self.thetas[group, mine] = np.where(taken[..., None], new, here)
        self.logs[group, mine] = np.where(taken, logs, self.logs[group, mine])

    def run(self, sweeps: int) -> None:
        """Move every walker so many times."""
        for _ in range(sweeps):
            self.sweep()


def start(explored: Explored, groups: int, seed: int) -> Ensemble:
    """Walkers on many different draws that exploration has seen, scattered wider than the posterior."""
    rng = np.random.default_rng([seed, 8, groups])
    history = explored.history
    walkers = max(_WALKERS, 8 * explored.thetas.shape[1])
    weights = history.flattened(walkers)
    index = np.array([rng.choice(len(weights), size=walkers, p=weights) for _ in range(groups)])
    return Ensemble(explored.density, explored.thetas[index], rng)


def secured(explored: Explored, seed: int) -> tuple[Explored, str]:
    """A proposal in which local chains find nothing missing, and what is still wrong with it: empty where nothing is.

    A bent ridge that a mixture has hardly met is walked along by local chains: their places describe the next proposals.
    """
    for attempt in range(_TRIES + 1):
        share, found = missed(explored, seed + attempt)
        hopeless = explored.efficiency < _HOPELESS
        if share < _MISSED and not hopeless:
            return explored, ""
        if attempt < _TRIES:
            explored = explored.widened(found, np.random.default_rng([seed, 9, attempt]))
    if hopeless:
        return explored, f"no mixture covers the posterior, efficiency {explored.efficiency:.0%}"
    return explored, f"local chains found {share:.0%} of the posterior where proposals hardly ever are"


def missed(explored: Explored, seed: int) -> tuple[float, np.ndarray]:
    """Share of the posterior that the proposal nearly never visits, as a short run of local chains sees it, and where these were.

    Where walkers stand, the posterior over the proposal is but a few times its average over the proposal's own draws, if these have
    seen all of it.
    """
    walkers = start(explored, 1, seed)
    found, logs = [], []
    for _ in range(_LOOKS):
        walkers.run(_SHORT)
        found.append(walkers.thetas[0].copy())
        logs.append(walkers.logs[0].copy())
    threshold = explored.history.log_evidence + _FAR
    own, weights = explored.history.over(explored.proposal)
    at = np.concatenate(found)
    beyond = np.concatenate(logs) - explored.proposal.logpdf(at) > threshold
    return float(np.mean(beyond)) - float(weights @ (own > threshold)), at
