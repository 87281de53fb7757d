"""One route through the canonical problem in a process of its own; prints one line of JSON.

Usage: python benchmarks/route.py ROUTE [rows specimens materials labs covariates]
"""

from __future__ import annotations

import json
import resource
import sys
import time

import numpy as np
from arviz_stats.base import array_stats
from problem import SCALES, Size, by_hand, model, table


def smallest_ess(draws: dict[str, np.ndarray]) -> float:
    """Smallest bulk ESS over the scales."""
    return min(float(array_stats.ess(values)) for values in draws.values())


def realmat(size: Size) -> dict[str, float]:
    """The exact engine, all in: data handling, exploration, draws of hyperparameters and coefficients."""
    df, declared = table(size), model(size)
    small = Size(60, 12, 4, 3, size.covariates)
    model(small).fit(table(small), draws=10, seed=0, progress=False)  # loads the compiled loops, as a warm cache does for nutpie
    start = time.perf_counter()
    fit = declared.fit(df, engine="exact", seed=1, progress=False)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    declared.bind(df)
    reading = time.perf_counter() - start
    ess = smallest_ess({n: fit.posterior.draws.params[n] for n in SCALES})
    return {"seconds": seconds, "reading": reading, "ess": ess, "draws": 4000}


def nutpie_route(size: Size, backend: str = "numba") -> dict[str, float]:
    """nutpie: compiled twice, the second time with a warm cache; that and the sampling are timed."""
    import nutpie

    hand = by_hand(table(size))
    start = time.perf_counter()
    nutpie.compile_pymc_model(hand, backend=backend)
    cold = time.perf_counter() - start
    start = time.perf_counter()
    compiled = nutpie.compile_pymc_model(hand, backend=backend)
    tree = nutpie.sample(compiled, draws=500, tune=500, chains=2, cores=2, progress_bar=False, seed=1)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "ess": smallest_ess(_scales(tree)), "draws": 1000, "first_compile": cold}


def pymc_route(size: Size, sampler: str = "pymc") -> dict[str, float]:
    """PyMC's default sampler, or NumPyro through PyMC, 500 + 500 draws in 2 chains."""
    import pymc as pm

    hand = by_hand(table(size))
    start = time.perf_counter()
    with hand:
        tree = pm.sample(
            draws=500, tune=500, chains=2, cores=2, random_seed=1, progressbar=False, nuts_sampler=sampler, compute_convergence_checks=False
        )
    return {"seconds": time.perf_counter() - start, "ess": smallest_ess(_scales(tree)), "draws": 1000}


def _scales(tree) -> dict[str, np.ndarray]:
    return {name: np.asarray(tree["posterior"][name]) for name in SCALES}


ROUTES = {
    "realmat": realmat,
    "nutpie": nutpie_route,
    "pymc": pymc_route,
    "numpyro": lambda size: pymc_route(size, "numpyro"),
}

if __name__ == "__main__":
    chosen = Size(*map(int, sys.argv[2:])) if len(sys.argv) > 2 else Size()
    result = ROUTES[sys.argv[1]](chosen)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    result["peak_gb"] = max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, children) / 1e6
    print(json.dumps(result))
