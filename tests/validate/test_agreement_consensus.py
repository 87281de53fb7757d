"""A consensus of theories by its own sampler and by NUTS: the same posterior, by the measures and bounds of `test_agreement`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_agreement import beyond, compared, diverging

import realmat as rm
from realmat.engines import gibbs, nuts

NAMES = ["A", "B", "C"]
CASES = {
    "families": {"errors": "families", "families": {"one": ["A", "B"]}},
    "any way, some materials hard": {"errors": "full", "nu": 5.0},
}


def table() -> pd.DataFrame:
    """24 materials and three theories, of which all, the first two or the last two were run: what differs, PyMC compiles by itself."""
    rng = np.random.default_rng(12)
    t = rng.normal(3, 1.5, 24)
    shared = rng.normal(0, 0.3, (24, 2))[:, [0, 0, 1]]
    bias, slope = np.array([-0.6, -0.4, 0.3]), np.array([0.8, 0.85, 1.1])
    x = 3 + bias + slope * (t[:, None] - 3) + shared + rng.normal(0, 0.3, (24, 3))
    x[10:17, 2], x[17:, 0] = np.nan, np.nan
    df = pd.DataFrame(x, columns=NAMES)
    return df.assign(y=t + rng.normal(0, 0.2, 24), solid=[f"s{k}" for k in range(24)])


@pytest.mark.validate
@pytest.mark.parametrize("case", CASES)
def test_the_engines_agree(case: str) -> None:
    """Priors keep scales from zero, where NUTS does not find its way."""
    scale = rm.Prior("LogNormal", mu=-1.0, sigma=0.5)
    scales = dict.fromkeys(("bias_scale", "slope_scale", "own", "spread", *(["family"] if "families" in CASES[case] else [])), scale)
    theory = rm.theory.Consensus(NAMES, **CASES[case], **scales)
    model = rm.Model("y", levels={"material": "solid"}, theory=theory, observation=rm.observation.Normal(scale=scale))
    problem = model.bind(table())
    found = gibbs.sample(problem, draws=1500, chains=4, seed=1, progress=False)
    sampled = nuts.sample(problem, draws=1000, chains=4, seed=2, progress=False)
    z, left_out = compared(problem, found, sampled)
    seconds = sampled.facts.get("compile_seconds")
    print(f"\n{case}: {len(z)} comparisons, {len(left_out)} unknowns left out, {diverging(sampled)} divergences, compiled in {seconds} s")
    assert not beyond(z)
