"""Noise scales of a population that are drawn one by one given it, and bent ridges that are made straight."""

from __future__ import annotations

import arviz as az
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import realmat as rm
from realmat.engines.exact import members_kernels
from realmat.engines.exact.explore import clipped

FIRST, STEP, NODES = -6.0, 0.1, 121


def likelihoods() -> np.ndarray:
    """Of six readings with a scale of 1, of a hundred with one of e^-2, and of none: log likelihoods at FIRST + STEP k."""
    t = FIRST + STEP * np.arange(NODES)
    told = [-n * t - 0.5 * n * np.exp(2 * (centre - t)) for n, centre in ((6, 0.0), (100, -2.0), (0, 0.0))]
    return np.array([x - x.max() for x in told])


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.0), (-1.0, 0.05), (3.0, 0.3), (-5.0, 0.2), (0.5, 3.0)])
def test_members_are_drawn_from_prior_times_likelihood(mean: float, sd: float) -> None:
    """Quadrature gives means and standard deviations: within 1 % and four standard errors of 20,000 draws. Densities integrate to 1."""
    table, n = likelihoods(), 20_000
    size = len(table)
    first, step = np.full(size, FIRST), np.full(size, STEP)
    u = np.random.default_rng(1).random((n, size))
    drawn, log = members_kernels.drawn(table, first, step, np.full(n, mean), np.full(n, sd), u)
    np.testing.assert_allclose(members_kernels.log_density(table, first, step, np.full(n, mean), np.full(n, sd), drawn), log, atol=1e-6)
    fine = np.linspace(min(FIRST, mean - 8 * sd), max(FIRST + STEP * (NODES - 1), mean + 8 * sd), 40_001)
    for j in range(size):
        inside = np.interp(fine, FIRST + STEP * np.arange(NODES), table[j])
        beyond = np.where(fine < FIRST, table[j, 0] + (fine - FIRST) / STEP * (table[j, 1] - table[j, 0]), inside)
        p = np.exp(beyond - 0.5 * ((fine - mean) / sd) ** 2 - np.max(beyond - 0.5 * ((fine - mean) / sd) ** 2))
        p /= p.sum()
        truth = p @ fine
        spread = np.sqrt(p @ (fine - truth) ** 2)
        assert drawn[:, j].mean() == pytest.approx(truth, abs=4 * spread / np.sqrt(n) + 0.01 * spread)
        assert drawn[:, j].std() == pytest.approx(spread, rel=4 / np.sqrt(2 * n) + 0.02)
        alone = np.ascontiguousarray(fine[:, None])
        own = members_kernels.log_density(table[j : j + 1], first[:1], step[:1], np.full(len(fine), mean), np.full(len(fine), sd), alone)
        assert np.exp(own).sum() * (fine[1] - fine[0]) == pytest.approx(1, abs=0.01)


def test_a_population_of_scales_against_quadrature() -> None:
    """Eight laboratories of five readings each about a mean that is nearly known: given the population they are independent.

    Its posterior is summed on a grid, each laboratory's scale integrated by itself; four Monte Carlo standard errors.
    """
    rng = np.random.default_rng(3)
    scale, readings = np.exp(rng.normal(-1.0, 0.8, 8)), 5
    y = scale[:, None] * rng.normal(size=(8, readings))
    df = pd.DataFrame({"y": y.ravel(), "lab": [f"L{k}" for k in np.repeat(np.arange(8), readings)]})
    theory = rm.theory.Constant(rm.Prior("Normal", mu=0, sigma=1e-6))
    model = rm.Model("y", levels={"lab": "lab"}, theory=theory, observation=rm.observation.Normal(scale_by="lab"))
    fit = model.fit(df, seed=1, progress=False)
    assert fit.facts["method"].startswith("importance resampling")
    priors = {q.name: q.prior for q in fit.problem.params}
    m, log_v, t = np.linspace(-4, 2, 61), np.linspace(-5, 1.3, 64), np.linspace(-5, 3, 401)
    told = -readings * t - 0.5 * (y**2).sum(axis=1)[:, None] * np.exp(-2 * t)
    v = np.exp(log_v)
    of_population = stats.norm.pdf(t, m[:, None, None], v[:, None])  # (m, v, t)
    narrow = v < 4 * (t[1] - t[0])  # a population as narrow as the grid's steps: its members are where it is
    logs = np.zeros((len(m), len(v)))
    for one in told:
        p = np.exp(one - one.max())
        at_mean = np.exp(np.interp(m, t, one) - one.max())[:, None]
        logs += np.log(np.where(narrow, at_mean, of_population @ p * (t[1] - t[0])) + 1e-300)
    logs += priors["noise_scale_log_mean"].logpdf(m)[:, None] + priors["noise_scale_log_sd"].logpdf(v) + log_v
    weight = np.exp(logs - logs.max())
    weight /= weight.sum()
    for name, values in (("noise_scale_log_mean", m[:, None]), ("noise_scale_log_sd", v[None])):
        x = fit.tree["posterior"][name].values
        truth = float((weight * values).sum())
        assert float(az.rhat(x)) < 1.01
        assert x.mean() == pytest.approx(truth, abs=4 * x.std() / np.sqrt(float(az.ess(x))) + 0.003)


def test_no_draw_counts_for_more_than_its_share() -> None:
    weights = np.exp(4 * np.random.default_rng(5).normal(size=3000))
    weights /= weights.sum()
    cut = clipped(weights, 84)
    assert cut.sum() == pytest.approx(1)
    assert cut.max() == pytest.approx(1 / 84)
    assert np.all(np.diff(cut[np.argsort(weights)]) >= 0)
    even = np.full(100, 0.01)
    np.testing.assert_allclose(clipped(even, 84), even)
    few = np.zeros(200)
    few[:50] = 1 / 50
    assert np.all(np.isfinite(clipped(few, 84)))


def rise(x, top, rate):
    return top * (1 - np.exp(-rate * x))


def test_the_tail_of_a_bent_ridge_is_met() -> None:
    """Six readings (NIST StRD, BoxBOD) of a curve whose rate has a heavy tail.

    `top` is normal given rate and noise, which a grid sums over. Quantiles of the rate, two seeds together: 3 % and 8 % of the
    distance between them, two Monte Carlo errors of 5000 effective draws.
    A mixture that does not know the ridge left the 95th percentile a quarter too near the median with the first of these seeds.
    """
    x, y = np.array([1.0, 2, 3, 5, 7, 10]), np.array([109.0, 149, 149, 191, 213, 224])
    top, rate, sigma = rm.Prior("Normal", mu=100, sigma=228), rm.Prior("Normal", mu=0.75, sigma=1.5), rm.Prior("HalfNormal", sigma=43)
    theory = rm.theory.Function(rise, columns=["x"], params={"top": top, "rate": rate})
    model = rm.Model("y", theory=theory, observation=rm.observation.Normal(scale=sigma))
    fits = [model.fit(pd.DataFrame({"x": x, "y": y}), seed=seed, progress=False) for seed in (1, 4)]
    drawn = np.concatenate([fit.tree["posterior"]["function_rate"].values.ravel() for fit in fits])
    rates, logs = np.linspace(-1.0, 6.0, 1401), np.linspace(0.0, 6.0, 121)
    form = rise(x, 1.0, rates[:, None])
    density = np.empty((len(rates), len(logs)))
    for k, s in enumerate(np.exp(logs)):
        gain, away = 1 + np.sum(form**2, axis=1) * 228**2 / s**2, y - 100 * form  # Sherman and Morrison
        square = (np.sum(away**2, axis=1) - np.sum(form * away, axis=1) ** 2 * 228**2 / s**2 / gain) / s**2
        density[:, k] = -0.5 * square - 0.5 * np.log(gain) - len(y) * np.log(s) + sigma.logpdf(s) + np.log(s)
    density += rate.logpdf(rates)[:, None]
    weight = np.exp(density - density.max()).sum(axis=1)
    below = np.cumsum(weight) / weight.sum()
    truth = np.interp([0.16, 0.5, 0.9, 0.95], below, rates)
    found = np.quantile(drawn, [0.16, 0.5, 0.9, 0.95])
    np.testing.assert_allclose(found[:3], truth[:3], atol=0.03 * (truth[2] - truth[0]))
    assert (found[3] - found[1]) / (truth[3] - truth[1]) == pytest.approx(1, abs=0.08)
