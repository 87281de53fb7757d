"""Draws by walkers, for few hyperparameters whose posterior no mixture covers, such as a bent ridge of the parameters of a curve.

Walkers of a group that has settled are independent draws of the posterior; groups are independent of each other, so that R-hat between
them is honest. Their density has the coefficients integrated out, and is evaluated for all of them at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from realmat.engines.chains import agreement
from realmat.engines.exact import ensemble
from realmat.engines.exact.asked import Asked
from realmat.engines.exact.explore import Explored
from realmat.engines.exact.store import Store
from realmat.posterior.draws import Draws
from realmat.support.progress import Progress

FEW = 20  # hyperparameters up to which walkers find their way
_EVERY = 10  # sweeps between places that are kept
_FIRST, _LONGEST = 400, 6400  # sweeps
_AGREED = 1.007  # R-hat of groups, of a user's chains to come
_ENOUGH = 1000  # effective draws


def sample(explored: Explored, asked: Asked, why: str, facts: Mapping[str, Any]) -> Draws | None:
    """Walk until groups agree; None where they do not."""
    density, draws, chains = explored.density, asked.draws, asked.chains
    walkers = ensemble.start(explored, max(chains, 2), asked.seed)
    seen: list[np.ndarray] = []
    told: dict[str, Any] = {}
    goal, length = min(_ENOUGH, draws * chains), _FIRST
    with Progress(asked.progress, "walking", length) as bar:
        try:
            while True:
                for _ in range(length // _EVERY - len(seen)):
                    walkers.run(_EVERY)
                    seen.append(walkers.thetas.copy())
                    bar.advance(_EVERY)
                apart, ess = _judged(seen)
                settled = apart < _AGREED and ess >= goal
                if settled or length >= _LONGEST:
                    break
                length = min(2 * length, _LONGEST)
                bar.restart("walking on", length)
        except KeyboardInterrupt:
            if len(seen) < 4:
                raise
            (apart, ess), settled = _judged(seen), True
            told["interrupted"] = f"interrupted after {_EVERY * len(seen)} sweeps"
    if not settled:
        return None
    thetas = _gathered(seen, draws, chains)
    store = Store(density.system, chains, asked.latents)
    store.fill(thetas, density, asked.seed)
    told |= {"method": "walkers on hyperparameters, coefficients drawn exactly", "why": why, "evaluations": density.evaluations}
    told |= {"sweeps": _EVERY * len(seen), "walkers": walkers.logs.size, "ess": round(ess), "r_hat": round(apart, 4)}
    return store.draws(thetas, density.space, {}, {**facts, **told})


def _settled(seen: list[np.ndarray]) -> np.ndarray:
    """Places of the later half, shape (places, groups, walkers, size)."""
    return np.array(seen[len(seen) // 2 :])


def _judged(seen: list[np.ndarray]) -> tuple[float, float]:
    """R-hat of groups, early places first, and smallest effective sample size, each walker a chain."""
    x = _settled(seen)
    places, groups, walkers, size = x.shape
    apart = agreement.r_hat(x.transpose(3, 1, 0, 2).reshape(size, groups, places * walkers))
    return float(apart.max()), float(agreement.bulk_ess(x.transpose(3, 1, 2, 0).reshape(size, groups * walkers, places)).min())


def _gathered(seen: list[np.ndarray], draws: int, chains: int) -> np.ndarray:
    """Thetas of shape (chains, draws, size): walker after walker of a group, each at places as far apart as can be."""
    x = _settled(seen)
    places, _, walkers, size = x.shape
    each = min(-(-draws // walkers), places)
    chosen = x[np.linspace(0, places - 1, each).round().astype(int), :chains]
    joined = chosen.transpose(1, 2, 0, 3).reshape(chains, walkers * each, size)
    return joined[:, np.linspace(0, joined.shape[1] - 1, draws).round().astype(int)]
