"""Time and memory of the uncertainty budget and of predictions: 100,000 distinct rows, eight components, 1000 posterior draws."""

from __future__ import annotations

import resource
import time

import numpy as np
import pandas as pd

import realmat as rm
from realmat.attribution.budget import budget
from realmat.attribution.predict import predict
from realmat.posterior.draws import Draws, Posterior

ROWS, SPECIMENS, MATERIALS, LABS, DRAWS = 100_000, 20_000, 2000, 20, 1000


def table(rng: np.random.Generator) -> pd.DataFrame:
    """Rows with continuous columns, so that no two are alike."""
    specimen = rng.integers(0, SPECIMENS, ROWS)
    columns = {f"x{k}": rng.normal(size=ROWS) for k in range(3)}
    material = np.arange(SPECIMENS) % MATERIALS
    return pd.DataFrame(
        {
            "y": rng.normal(size=ROWS),
            "t": rng.normal(size=ROWS),
            "m": material[specimen],
            "s": specimen,
            "lab": rng.integers(0, LABS, ROWS),
            **columns,
        }
    )


def main() -> None:
    """Print seconds and peak memory."""
    rng = np.random.default_rng(1)
    model = rm.Model(
        "y",
        levels={"material": "m", "specimen": "s", "lab": "lab"},
        theory=rm.theory.Calibrated("t"),
        material=[
            *(rm.material.Effect(f"x{k}") for k in range(3)),
            rm.material.Unresolved(by="material"),
            rm.material.Unresolved(by="specimen"),
        ],
        observation=rm.observation.Normal(bias_by="lab"),
    )
    problem = model.bind(table(rng))
    params = {p.name: np.exp(rng.normal(-1, 0.1, (1, DRAWS))) for p in problem.params}
    draws = {c.name: rng.normal(0, 0.1, (1, DRAWS, c.size)) for c in problem.coefficients}
    posterior = Posterior(problem, Draws(params, draws))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    for name, work in {
        "budget, new specimen": lambda: budget(posterior, "specimen"),
        "predict, new specimen": lambda: predict(posterior, new="specimen"),
    }.items():
        start, busy = time.perf_counter(), time.process_time()
        made = work()
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        used = getattr(made, "dataset", made).attrs["posterior_draws"]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        said = f"{seconds:.1f} s ({busy:.1f} s of processor), peak {peak:.2f} GB ({before:.2f} GB before, the draws among them)"
        print(f"{name}: {ROWS} rows, {used} draws: {said}")


if __name__ == "__main__":
    main()
