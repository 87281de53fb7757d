"""When importance sampling does not cover the posterior of theta: NUTS on theta alone, the coefficients still integrated out.

nutpie samples a plain function, so nothing is compiled and PyMC is not imported. Gradients are central differences in coordinates
whitened by what exploration learnt.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from realmat.engines.exact.explore import Explored
from realmat.engines.exact.space import Density

_STEP = 1e-4


def sample(explored: Explored, draws: int, chains: int, seed: int, progress: bool) -> tuple[Density, np.ndarray, dict[str, np.ndarray]]:
    """The density in unbounded coordinates, draws of theta in them, shape (chains, draws, size), and statistics (chains, draws)."""
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
        steps = _STEP * np.eye(d)

        def log_density(z: np.ndarray) -> tuple[float, np.ndarray]:
            points = np.concatenate([z[None], z + steps, z - steps])
            values = density.many(centre + points @ factor.T)
            if not np.isfinite(values).all():
                return -1e300, np.zeros(d)  # nutpie counts it as a divergence and turns back
            return float(values[0]), (values[1 : d + 1] - values[d + 1 :]) / (2 * _STEP)

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
    return density, np.asarray(tree["posterior"]["theta"]).reshape(chains, -1, d), stats


def _starts(density: Density, seen: np.ndarray, weights: np.ndarray, chains: int, rng: np.random.Generator) -> np.ndarray:
    """Weighted draws whose neighbourhood has a finite density; the best point seen where there are too few."""
    steps = 1e-2 * np.eye(density.space.size)
    good: list[np.ndarray] = []
    for theta in seen[rng.choice(len(seen), size=5 * chains, p=weights)]:
        if len(good) < chains and np.isfinite(density.many(np.concatenate([theta[None], theta + steps, theta - steps]))).all():
            good.append(theta)
    best = seen[int(np.argmax(weights))]
    return np.array(good + [best] * (chains - len(good)))
