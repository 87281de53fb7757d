"""Counts, fractions and strengths: the exact engine's chains and NUTS draw from the same posterior; 500 rows of each in seconds.

The models are those of the calibration by simulation, of 24 rows that were simulated from them. Compared as in `test_agreement`: means,
variances and correlations, |difference| / hypot(standard errors) < 4.5.
"""

from __future__ import annotations

from time import perf_counter

import arviz as az
import numpy as np
import pytest
from test_agreement import beyond, diverging, lost, standardised, unknowns
from test_sbc_likelihoods import LIKELIHOODS, declared

from realmat.engines import exact, nuts
from realmat.testing.simulate import simulate

pytestmark = pytest.mark.validate


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_the_engines_agree(name: str) -> None:
    model, df = declared(LIKELIHOODS[name])
    problem = simulate(model.bind(df), 3).problem
    found = exact.sample(problem, draws=2000, chains=4, seed=1, progress=False)
    for seed in (2, 3):  # now and then a chain of NUTS is lost, and says so
        sampled = nuts.sample(problem, draws=1500, chains=4, seed=seed, progress=False)
        one, two = unknowns(problem, found), unknowns(problem, sampled)
        if diverging(sampled) <= 60 and not lost(two):
            break
    assert not lost(one)
    assert not lost(two)
    size = min(float(az.ess(x)) for x in one.values())
    z = standardised(one, two)
    worst = max(map(abs, z.values()))
    print(f"\n{name}: {len(z)} comparisons, largest |z| {worst:.2f}; smallest ESS of the exact engine {size:.0f}; {found.facts['method']}")
    assert not beyond(z)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_500_rows_take_seconds(name: str) -> None:
    """Draws of 500 rows of 167 pieces; the time is printed, R-hat and effective size are those of all unknowns that are looked at."""
    model, df = declared(LIKELIHOODS[name])
    whole = df.loc[np.arange(500) % len(df)].reset_index(drop=True).assign(lot=np.arange(500) // 3)
    problem = simulate(model.bind(whole), 5).problem
    exact.sample(problem, draws=10, chains=2, seed=1, progress=False)  # loops are compiled once
    started = perf_counter()
    found = exact.sample(problem, draws=1000, chains=4, seed=1, progress=False)
    seconds = perf_counter() - started
    of = unknowns(problem, found)
    r_hat, size = max(float(az.rhat(x)) for x in of.values()), min(float(az.ess(x)) for x in of.values())
    told = {k: found.facts.get(k) for k in ("method", "k_hat", "ess", "r_hat") if k in found.facts}
    print(f"\n{name}: {seconds:.1f} s, R-hat {r_hat:.3f}, ESS {size:.0f}, {told}")
    assert r_hat < 1.02
    assert size > 300
