"""Proposals that are resampled by their weights: each as often as its weight says, and draws that do not claim more than they are worth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from arviz_stats.base import array_stats
from scipy import special

import realmat as rm
from realmat.engines import exact
from realmat.engines.exact import resample
from realmat.support import points
from realmat.terms.problem import Problem

REPLICATES, CHAINS, DRAWS = 300, 4, 250


def batches() -> tuple[Problem, tuple[str, str]]:
    """Six batches read five times each, and the names of their two scales."""
    rng = np.random.default_rng(1)
    df = pd.DataFrame({"y": rng.normal(size=6).repeat(5) + 0.7 * rng.normal(size=30), "batch": np.arange(6).repeat(5)})
    model = rm.Model("y", theory=rm.theory.Constant(), material=rm.material.Unresolved("batch"), observation=rm.observation.Normal())
    return model.bind(df), ("unresolved_batch_scale", "noise_scale")


def test_each_proposal_is_kept_as_often_as_its_weight_says() -> None:
    """To within one copy, pair by pair, in every chain by itself; never one of no weight. So few weights are not smoothed."""
    weight = np.array([[0.5, 1.5, 0.0, 2.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0, 3.0, 0.0]])
    with np.errstate(divide="ignore"):
        log_weight = np.log(weight) + np.array([[3.0], [-7.0]])
    for seed in range(50):
        index = resample.choose(log_weight, 12, seed)
        assert (np.diff(index // 2) >= 0).all()
        counts = np.array([np.bincount(row, minlength=6) for row in index])
        expected = 12 * weight / weight.sum(axis=1, keepdims=True)
        assert (np.abs(counts - expected) < 1).all()
        assert (counts[weight == 0] == 0).all()
    mean = np.mean([np.bincount(resample.choose(log_weight, 5, seed)[0], minlength=6) for seed in range(2000)], axis=0)
    assert mean == pytest.approx(5 * weight[0] / weight[0].sum(), abs=4.5 * 0.5 / np.sqrt(2000))


def test_more_proposals_than_draws_are_thinned_evenly() -> None:
    """Of alike weights, every fourth is a draw."""
    assert (np.diff(resample.choose(np.zeros((2, 400)), 100, 1)) == 4).all()


def test_copies_of_the_two_of_a_pair_take_turns() -> None:
    """Three of the first and two of the second; none of either of the next pair; then the second alone."""
    weight = np.array([[3.0, 2.0, 0.0, 0.0, 0.0, 2.0]])
    with np.errstate(divide="ignore"):
        assert resample.choose(np.log(weight), 7, 1)[0].tolist() == [0, 1, 0, 1, 0, 5, 5]


def test_a_chain_without_any_weight_takes_its_proposals_in_turn() -> None:
    """And others are not touched by it, nor by a weight that is no number."""
    log_weight = np.array([[-np.inf] * 4, [0.0, 0.0, np.nan, 0.0]])
    assert resample.choose(log_weight, 4, 1)[0].tolist() == [0, 1, 2, 3]
    assert set(resample.choose(log_weight, 3, 1)[1].tolist()) == {0, 1, 3}


def metropolis(log_weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The slow reference: which proposal an independence Metropolis chain is at (Tierney, Annals of Statistics 22, 1701, 1994)."""
    index = np.zeros(log_weight.shape, dtype=int)
    for c, own in enumerate(log_weight):
        for t in range(1, len(own)):
            before = index[c, t - 1]
            index[c, t] = t if np.log(rng.random()) < own[t] - own[before] else before
    return index


def log_weight(x: np.ndarray, wide: float) -> np.ndarray:
    """Of a standard normal over one so much wider."""
    return 0.5 * (x / wide) ** 2 - 0.5 * x**2


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("wide", [1.5, 2.0])
def test_standard_errors_are_honest(wide: float, pairs: bool) -> None:
    """Proposals wider than their standard normal target: means of x and x^2 over 300 fits scatter no more than their standard errors say.

    At most 10 % more (the scatter of 300 is known to 4 %). Those over independent proposals scatter less than over Metropolis chains of the
    same, and those over pairs of even ones less than these.
    """
    rng = np.random.default_rng(4)
    for power in (1, 2):
        ours, theirs, said = [], [], []
        for seed in range(REPLICATES):
            independent = wide * rng.standard_normal((CHAINS, DRAWS))
            even = wide * special.ndtri([points.mirrored(rng, DRAWS, 1, 0)[:, 0] for _ in range(CHAINS)])
            x = even if pairs else independent
            drawn = np.take_along_axis(x, resample.choose(log_weight(x, wide), DRAWS, seed), axis=1) ** power
            ours.append(drawn.mean())
            said.append(float(array_stats.mcse(drawn, method="mean")))
            log = log_weight(independent, wide)
            index = resample.choose(log, DRAWS, seed) if pairs else metropolis(log, rng)
            theirs.append((np.take_along_axis(independent, index, axis=1) ** power).mean())
        truth = 0.0 if power == 1 else 1.0
        assert np.mean(ours) == pytest.approx(truth, abs=4.5 * np.std(ours) / np.sqrt(REPLICATES))
        assert np.std(ours) < 1.1 * np.mean(said)
        assert np.std(ours) < np.std(theirs)


def test_fits_scatter_no_more_than_they_say() -> None:
    """Mean, standard deviation and quantiles of two scales over 120 fits, to 10 % (the scatter of 120 is known to 6.5 %).

    Means scatter at most 0.7 times as much as over as many independent draws, and standard deviations no more than those of a normal.
    """
    problem, names = batches()
    found, said = [], []
    for seed in range(120):
        params = exact.sample(problem, DRAWS, CHAINS, seed, progress=False).params
        kinds: list[dict[str, Any]] = [{"method": "mean"}, {"method": "sd"}, *({"method": "quantile", "prob": p} for p in (0.05, 0.95))]
        found.append([[x.mean(), x.std(), *np.quantile(x, (0.05, 0.95))] for x in (params[name] for name in names)])
        said.append([[float(array_stats.mcse(params[name], **kind)) for kind in kinds] for name in names])
    scatter, width = np.std(found, axis=0), np.mean(found, axis=0)[:, 1]
    assert (scatter < 1.1 * np.mean(said, axis=0)).all()
    assert (scatter[:, 0] < 0.7 * width / np.sqrt(CHAINS * DRAWS)).all()
    assert (scatter[:, 1] < 0.7 * width / np.sqrt(CHAINS * DRAWS)).all()  # that of a normal: these have heavier tails


def test_a_few_draws_are_draws_of_the_posterior() -> None:
    """Of 80 fits of four draws each: ranks among the draws of a long fit are uniform in mean and variance (4.5 standard errors of 80)."""
    problem, names = batches()
    long = exact.sample(problem, 2500, 4, 100, progress=False).params
    many = {name: np.sort(long[name].ravel()) for name in names}
    few = [exact.sample(problem, 4, 1, seed, progress=False).params for seed in range(80)]
    for name in names:
        ranks = np.array([np.searchsorted(many[name], own[name].ravel()) / len(many[name]) for own in few])
        assert ranks.mean() == pytest.approx(0.5, abs=4.5 / np.sqrt(12 * 80))
        assert np.mean((ranks - 0.5) ** 2) == pytest.approx(1 / 12, abs=4.5 * np.sqrt(1 / 180 / 80))
