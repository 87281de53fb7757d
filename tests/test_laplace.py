"""Curves read with heavy tails or limits: weights of hyperparameters and effects together, against quadrature and against chains."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from posteriors import expect_same_moments
from scipy import stats
from scipy.special import logsumexp
from test_exact import grouped
from test_plain import curve, decay

import realmat as rm
from realmat.algebra import System
from realmat.engines import exact
from realmat.engines.exact import laplace

KINDS = {
    "limits": {},
    "tails": {"nu": 4},
    "limits and tails": {"nu": 4, "below": "low"},
}
DRAWS = 4000


def oracle(df: pd.DataFrame, kind: str, p: dict[str, float]) -> float:
    """log p(y | psi) with the bias of each laboratory summed over a grid."""
    nu = KINDS[kind].get("nu")
    law = stats.norm if nu is None else stats.t(nu)
    away = (df["y"] - decay(df["x"], p["function_a"], p["function_b"])).to_numpy()
    bias = np.linspace(-9, 9, 4001) * p["bias_lab_scale"]
    below = df["low"].to_numpy() > 0 if "below" in KINDS[kind] or nu is None else np.zeros(len(df), dtype=bool)
    z = (away[:, None] - bias) / p["noise_scale"]
    rows = np.where(below[:, None], law.logcdf(z), law.logpdf(z) - np.log(p["noise_scale"]))
    prior = stats.norm.logpdf(bias, scale=p["bias_lab_scale"]) + np.log(bias[1] - bias[0])
    return float(sum(logsumexp(rows[df["lab"] == lab].sum(axis=0) + prior) for lab in df["lab"].unique()))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_those_of_quadrature(kind):
    """The mean weight of many draws of the effects at one psi is its density (4.5 Monte Carlo errors).

    With limits alone the density with effects taken as normal is within 2 % of it.
    """
    model, df = curve(**KINDS[kind])
    system = System(model.bind(df))
    assert laplace.suits(system)
    density = laplace.Normalised(system)
    rng = np.random.default_rng(1)
    for _ in range(4):
        theta = density.space.theta({"function_a": 3.0, "function_b": 0.6, "noise_scale": 0.06, "bias_lab_scale": 0.05})
        theta = theta + 0.2 * rng.standard_normal(4)
        p = density.space.values(theta)
        truth = oracle(df, kind, p) + density.space.log_prior(theta)
        logs = np.concatenate([density.proposed(np.repeat(theta[None], 250, axis=0), rng)[0] for _ in range(DRAWS // 250)])
        weights = np.exp(logs - truth)
        assert abs(weights.mean() - 1) < 4.5 * weights.std() / np.sqrt(DRAWS) + 1e-3
        assert "nu" in KINDS[kind] or density.many(theta[None])[0] == pytest.approx(truth, abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("longer", [False, True])
def test_the_posterior_is_that_of_chains(kind, longer, monkeypatch):
    """Means and variances of psi and of effects within 4.5 standard errors, also where more proposals were called for."""
    model, df = curve(**KINDS[kind])
    looks: list[int] = []
    if longer:
        monkeypatch.setattr(exact, "_apart", lambda run, density: "R-hat 1.02" if len(looks) < 4 and not looks.append(1) else "")
    ours = model.fit(df, seed=1, progress=False)
    assert ours.facts["method"].startswith("importance resampling")
    assert ours.facts.get("proposals_per_draw", 1) == (4 if longer else 1)
    monkeypatch.setattr(laplace, "suits", lambda system: False)
    chains = model.fit(df, seed=1, progress=False)
    assert chains.facts["method"].startswith("Hamiltonian")
    for name in (*(q.name for q in ours.problem.params), "bias_lab"):
        expect_same_moments(*(f.tree["posterior"][name].values for f in (ours, chains)), name)


def test_mean_and_sd_of_effects_alone():
    model, df = curve()
    full, brief = model.fit(df, seed=1, progress=False), model.fit(df, seed=1, progress=False, latents="summary")
    mean, sd = brief.posterior.draws.summary["bias_lab"]
    draws = full.posterior.draws.coefficients["bias_lab"].reshape(-1, 2)
    assert mean == pytest.approx(draws.mean(axis=0), abs=0.3 * sd.min())
    assert sd == pytest.approx(draws.std(axis=0), rel=0.15)


def test_what_it_is_not_for():
    """What is linear, what has more effects than errors allow, counts; and a curve of which hardly a reading was measured."""
    model, df = curve()
    straight = rm.Model("y", theory=rm.theory.Calibrated("x"), observation=rm.observation.Normal(below="low"))
    many = pd.concat([df.assign(lab=np.arange(20) + 20 * k) for k in range(3)], ignore_index=True)
    heavy = curve(nu=4)[0]
    counts = rm.Model("y", theory=model.theory, observation=rm.observation.Poisson())
    assert laplace.suits(System(model.bind(many)))
    for unsuited, table in (
        (straight, df),
        (heavy, many),
        (counts, df.assign(y=np.arange(20))),
        (model, df.assign(low=(np.arange(20) >= 3).astype(int))),
        (rm.Model("y", theory=rm.theory.Constant(), material=rm.material.Unresolved("group")), grouped(6, 30, 1.0, 1)),
    ):
        assert not laplace.suits(System(unsuited.bind(table)))
