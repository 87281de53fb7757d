"""Densities of counts, fractions, strengths: against SciPy, differences, their own draws, and PyMC."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

import realmat as rm
from realmat.observation.beta import Fractions
from realmat.observation.binomial import Successes
from realmat.observation.gamma import PositiveValues
from realmat.observation.negative_binomial import ScatteredCounts
from realmat.observation.poisson import Counts
from realmat.observation.weibull import WeakestLink
from realmat.terms.density import Density
from realmat.terms.kept import Kept
from realmat.terms.location_scale import Interval
from realmat.testing.simulate import simulate

SIZE = np.array([0.5, 1.0, 3.0, 2.0])
N = np.array([5.0, 12.0, 1.0, 30.0])
EXACT = np.zeros(4, dtype=int)
K = np.array([0.0, 3.0, 1.0, 20.0])
V = np.array([0.2, 1.7, 0.9, 4.0])
F = np.array([0.01, 0.5, 0.93, 0.3])


def _negative(e: Any, d: Any) -> Any:
    mu = SIZE * np.exp(e)
    return stats.nbinom(d**-2, 1 / (1 + mu * d**2))


def _beta(e: Any, d: Any) -> Any:
    return stats.beta(special.expit(e) * d**-2, special.expit(-e) * d**-2)


CASES: list[tuple[Density, np.ndarray, float | None, Any]] = [
    (Counts(SIZE), K, None, lambda e, _: stats.poisson(SIZE * np.exp(e))),
    (ScatteredCounts(SIZE), K, 0.6, _negative),
    (Successes(N), np.minimum(K, N), None, lambda e, _: stats.binom(N.astype(int), special.expit(e))),
    (PositiveValues(4), V, 0.3, lambda e, d: stats.gamma(d**-2, scale=np.exp(e) * d**2)),
    (Fractions(4), F, 0.2, _beta),
    (WeakestLink(SIZE, EXACT), V, 4.0, lambda e, m: stats.weibull_min(m, scale=np.exp(e) * SIZE ** (-1 / m))),
]
NAMES = [type(case[0]).__name__ for case in CASES]


def _own(density: Density, value: Any) -> dict[str, Any]:
    return {name: np.asarray(value, dtype=float).reshape(1, -1) for name in density.names}


@pytest.mark.parametrize(("density", "y", "own", "truth"), CASES, ids=NAMES)
@pytest.mark.parametrize("eta", [-0.7, 0.4, 1.6])
def test_log_density_and_distribution_function_are_scipys(density: Density, y: np.ndarray, own: Any, truth: Any, eta: float) -> None:
    at = np.full((4, 1), eta)
    ours, low_high = density.log(y, at, _own(density, own))[:, 0], density.cdf(y, at, _own(density, own))
    frozen = truth(eta, own)
    discrete = hasattr(frozen, "logpmf") and not hasattr(frozen.dist, "logpdf")
    np.testing.assert_allclose(ours, frozen.logpmf(y) if discrete else frozen.logpdf(y), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(low_high[1][:, 0], frozen.cdf(y), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(low_high[0][:, 0], frozen.cdf(y - 1) if discrete else frozen.cdf(y), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(density.mean(at, _own(density, own))[:, 0], frozen.mean(), rtol=1e-9)
    np.testing.assert_allclose(density.variance(at, _own(density, own))[:, 0], frozen.var(), rtol=1e-9)


@pytest.mark.parametrize(
    ("density", "y", "own"),
    [
        *[(d, y, own) for d, y, own, _ in CASES],
        (WeakestLink(SIZE, np.array([1, -1, 1, -1])), V, 4.0),
        (WeakestLink(SIZE, np.array([1, -1, 1, -1])), 1e-3 * V, 9.0),
    ],
)
def test_derivatives_are_those_of_the_log_density(density: Density, y: np.ndarray, own: Any) -> None:
    eta = np.array([[-0.7, 0.3, 1.4]]) * np.ones((4, 1))
    found = density.derivatives(y, eta, _own(density, own))
    step = 1e-5
    ahead, behind = (density.log(y, eta + s, _own(density, own)) for s in (step, -step))
    np.testing.assert_allclose(found.eta, (ahead - behind) / (2 * step), rtol=2e-6, atol=2e-6)
    for name in density.names:
        ahead, behind = (density.log(y, eta, _own(density, own + s)) for s in (step, -step))
        np.testing.assert_allclose(found.own[name], (ahead - behind) / (2 * step), rtol=2e-6, atol=2e-6)
    assert (density.weight(y, eta, _own(density, own)) > 0).all()
    some = density.take(np.array([2, 0]))
    np.testing.assert_allclose(some.log(y[[2, 0]], eta[[2, 0]], _own(density, own)), found.log[[2, 0]])


@pytest.mark.parametrize(("density", "y", "own", "truth"), CASES, ids=NAMES)
def test_new_readings_are_distributed_as_said_and_inform_as_said(density: Density, y: np.ndarray, own: Any, truth: Any) -> None:
    """The Fisher information is the variance of the slope (its mean is zero); 20,000 draws tell it to some 3 %."""
    eta = np.full((4, 20_000), 0.4)
    drawn = density.draw(eta, _own(density, own), np.random.default_rng(3))
    frozen = truth(0.4, own)
    error = np.sqrt(frozen.var() / 20_000)
    assert (np.abs(drawn.mean(axis=1) - frozen.mean()) < 4.5 * error).all()
    slopes = np.stack([density.derivatives(column, eta[:, :1], _own(density, own)).eta[:, 0] for column in drawn.T[:4000]], axis=1)
    np.testing.assert_allclose(slopes.var(axis=1), density.weight(y, eta[:, :1], _own(density, own))[:, 0], rtol=0.16)
    assert (np.abs(slopes.mean(axis=1)) < 4.5 * slopes.std(axis=1) / np.sqrt(4000)).all()


@pytest.mark.parametrize(
    ("density", "y", "own"),
    [*[(d, y, own) for d, y, own, _ in CASES], (WeakestLink(SIZE, np.array([1, -1, 1, 0])), V, 4.0)],
    ids=[*NAMES, "stopped"],
)
def test_the_symbolic_density_is_the_same(density: Density, y: np.ndarray, own: Any) -> None:
    import pymc as pm
    import pytensor
    import pytensor.tensor as pt

    eta = np.array([-0.7, 0.3, 1.4, 0.2])
    given = {name: pt.as_tensor(float(own)) for name in density.names}
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        theirs = density.symbolic(pm, y, pt.as_tensor(eta), given).eval()
    np.testing.assert_allclose(theirs, density.log(y, eta[:, None], _own(density, own))[:, 0], rtol=1e-8, atol=1e-10)


def test_rows_measured_anew_stay_as_they_were_measured() -> None:
    """Limits stay limits where a new value lies beyond; intervals keep their width; of 40,000 rows, to 4.5 standard errors."""
    n, rng = 10_000, np.random.default_rng(5)
    at, sd, one = np.zeros((4 * n, 1)), {"sd": np.ones((4 * n, 1))}, np.ones(n)
    kinds = np.repeat(np.arange(4), n)  # read, below 0.4, above -0.3, rounded to 0.5
    left = np.concatenate([0 * one, np.inf * one, 0 * one, 0.25 * one])
    right = np.concatenate([0 * one, 0 * one, np.inf * one, 0.25 * one])
    y = np.array([0.0, 0.4, -0.3, 1.0])[kinds]
    new, density = Interval(left, right).anew(y, at, sd, rng)
    error = 4.5 * 0.5 / np.sqrt(n)
    hidden = (density.left > 0) | (density.right > 0)
    assert not hidden[kinds == 0].any()
    assert hidden[kinds == 1].mean() == pytest.approx(stats.norm.cdf(0.4), abs=error)
    assert hidden[kinds == 2].mean() == pytest.approx(stats.norm.sf(-0.3), abs=error)
    assert (new[(kinds == 1) & ~hidden] > 0.4).all()
    assert hidden[kinds == 3].all()
    rounded = new[kinds == 3]
    np.testing.assert_allclose(2 * rounded, np.round(2 * rounded), atol=1e-9)
    assert (rounded == 0.5).mean() == pytest.approx(stats.norm.cdf(0.75) - stats.norm.cdf(0.25), abs=error)
    kept = Kept(Interval(0 * one, 0 * one), 0.5 * one, np.inf * one).anew(one, at[:n], {"sd": sd["sd"][:n]}, rng)[0]
    assert kept.min() > 0.5
    assert kept.mean() == pytest.approx(stats.norm.pdf(0.5) / stats.norm.sf(0.5), abs=error)
    pieces = WeakestLink(one, np.repeat([1, -1], n // 2))
    strengths, after = pieces.anew(one, at[:n], {"modulus": 4 * np.ones((n, 1))}, rng)
    assert (after.censored == 1).sum() == pytest.approx(n / 2 * np.exp(-1), abs=4.5 * np.sqrt(n / 8))
    assert (strengths[: n // 2] <= 1).all()


def test_counts_are_simulated_as_counts() -> None:
    df = pd.DataFrame({"y": [1.0] * 30, "n": 5.0})
    model = rm.Model(
        "y", theory=rm.theory.Constant(rm.Prior("Normal", mu=0.0, sigma=0.5)), observation=rm.observation.Poisson(exposure="n")
    )
    drawn = np.concatenate([simulate(model.bind(df), seed).problem.response_rows.y for seed in range(200)])
    assert (drawn == np.round(drawn)).all()
    assert drawn.mean() == pytest.approx(5 * np.exp(0.125), rel=4.5 * np.sqrt(np.expm1(0.25) / 200))


def test_fractions_never_round_to_none_or_all() -> None:
    drawn = Fractions(2).draw(np.full((2, 4000), [[4.0], [-4.0]]), {"dispersion": np.ones((1, 4000))}, np.random.default_rng(1))
    assert 0 < drawn.min() < 1e-12
    assert 1 - 1e-15 < drawn.max() < 1
