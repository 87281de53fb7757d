"""When importance sampling does not cover the posterior of theta: chains on theta alone, the coefficients still integrated out.

First Metropolis chains whose proposals learn from all of them (`augment`, here without auxiliary values); where these do not agree, NUTS,
and the better of the two is kept. nutpie samples a plain function, so nothing is compiled and PyMC is not imported; gradients are central
differences in coordinates whitened by what exploration learnt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from realmat.engines.exact import augment
from realmat.engines.exact.explore import Explored
from realmat.engines.exact.space import Density

_STEP = 1e-4
_AGREED = 1.05


@dataclass
class Run:
    """Draws of theta, shape (chains, draws, size), in the coordinates of `density`; statistics (chains, draws); what was done."""

    density: Density
    thetas: np.ndarray
    stats: dict[str, np.ndarray]
    facts: dict[str, Any]

    @property
    def apart(self) -> float:
        """Largest R-hat."""
        from arviz_stats.base import array_stats

        return max(float(array_stats.rhat(self.thetas[..., k])) for k in range(self.thetas.shape[-1]))


def sample(explored: Explored, draws: int, chains: int, seed: int, progress: bool) -> Run:
    """Chains of theta by Metropolis, or by NUTS where these do not agree."""
    first = _metropolis(explored, draws, chains, seed, progress)
    if "interrupted" in first.facts or first.apart < _AGREED:
        return first
    try:
        second = _nuts(explored, draws, chains, seed, progress)
    except RuntimeError:  # nutpie found no place to start: the first chains are still right, and their R-hat and ESS honest
        return first
    return min((first, second), key=lambda run: run.apart)


def _metropolis(explored: Explored, draws: int, chains: int, seed: int, progress: bool) -> Run:
    chain = augment.Chains.start(explored.density.system, chains, seed)
    thetas, _, facts = chain.run(draws, seed, progress, keep=False)
    return Run(chain.density, thetas, {}, {**facts, "method": "Metropolis with learnt proposals on hyperparameters"})


def _nuts(explored: Explored, draws: int, chains: int, seed: int, progress: bool) -> Run:
    import nutpie
    from nutpie.compiled_pyfunc import from_pyfunc

    density = Density(explored.density.system)
    d = density.space.size
    inside = np.flatnonzero(explored.weights > 0)
    seen = np.array([density.space.theta(explored.density.space.values(explored.thetas[i])) for i in inside])
    weights = explored.weights[inside]
    centre = weights @ seen
    spread = (seen - centre).T @ ((seen - centre) * weights[:, None])
    factor = np.linalg.cholesky(spread + 1e-6 * np.diag(np.diag(spread)) + 1e-10 * np.eye(d))
    rng = np.random.default_rng([seed, 4])
    starts = _starts(density, seen, weights, chains, rng)
    whitened = np.ascontiguousarray(np.linalg.solve(factor, (starts - centre).T).T)

    def make_log_density() -> Any:
        steps = _STEP * factor.T

        def log_density(z: np.ndarray) -> tuple[float, np.ndarray]:
            here, ahead, behind = density.around(centre + factor @ z, steps)
            if not np.isfinite([here, *ahead, *behind]).all():
                return -1e300, np.zeros(d)  # nutpie counts it as a divergence and turns back
            return here, (ahead - behind) / (2 * _STEP)

        return log_density

    def make_expand(seed1: int, seed2: int, chain: int) -> Any:
        return lambda z: {"theta": centre + factor @ z}

    turn = iter(range(10**9))
    compiled = from_pyfunc(
        d,
        make_log_density,
        make_expand,
        [np.dtype("float64")],
        [(d,)],
        ["theta"],
        make_initial_point_fn=lambda s: whitened[next(turn) % chains],
    )
    tree = nutpie.sample(compiled, draws=draws, tune=400, chains=chains, cores=1, seed=seed, progress_bar=progress, save_warmup=False)
    stats = {name: np.asarray(tree["sample_stats"][name]) for name in ("diverging", "n_steps", "depth") if name in tree["sample_stats"]}
    thetas = np.asarray(tree["posterior"]["theta"]).reshape(chains, -1, d)
    return Run(density, thetas, stats, {"method": "NUTS on hyperparameters"})


def _starts(density: Density, seen: np.ndarray, weights: np.ndarray, chains: int, rng: np.random.Generator) -> np.ndarray:
    """Weighted draws whose neighbourhood has a finite density; the best point seen where there are too few."""
    steps = 1e-2 * np.eye(density.space.size)
    good: list[np.ndarray] = []
    for theta in seen[rng.choice(len(seen), size=5 * chains, p=weights)]:
        if len(good) == chains:
            break
        here, ahead, behind = density.around(theta, steps)
        if np.isfinite([here, *ahead, *behind]).all():
            good.append(theta)
    best = seen[int(np.argmax(weights))]
    return np.array(good + [best] * (chains - len(good)))
