"""Leaving groups out at fixed hyperparameters, against dense normal algebra on single rows and against numerical integration."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

import realmat as rm
from realmat.algebra import System, dense
from realmat.posterior.grouping import groups_of, of_rows
from realmat.validation import leaving


def table(seed: int = 3, materials: int = 7) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 6, materials)
    m = np.repeat(np.arange(materials), size)
    piece = np.arange(len(m)) // 2 + 100 * m
    rows = np.repeat(np.arange(len(m)), rng.integers(1, 4, len(m)))
    theory = rng.normal(size=materials)[m]
    lab = rng.integers(0, 3, len(rows))
    y = theory[rows] + rng.normal(0, 0.5, materials)[m][rows] + rng.normal(0, 0.3, len(rows))
    return pd.DataFrame({"y": y, "theory": theory[rows], "mat": m[rows], "piece": piece[rows], "lab": lab})


def model(**noise: object) -> rm.Model:
    return rm.Model(
        "y",
        levels={"material": "mat", "specimen": "piece", "lab": "lab"},
        theory=rm.theory.Calibrated("theory"),
        material=[rm.material.Unresolved(by="material"), rm.material.Unresolved(by="specimen")],
        observation=rm.observation.Normal(bias_by="lab", **noise),
    )


VALUES = {"unresolved_material_scale": 0.5, "unresolved_specimen_scale": 0.2, "noise_scale": 0.3, "bias_lab_scale": 0.25}


def at_one(leaver: leaving.Leaver, values: dict, seed: int = 0) -> leaving.LeftOutDensities:
    """At a single psi."""
    batch = {name: np.asarray(v, dtype=float)[..., None] for name, v in values.items()}
    got = leaver.at(batch, 1, [np.random.default_rng(seed)])
    return leaving.LeftOutDensities(got.left_out[0], got.mean[0], got.variance[0], got.noise[0])


def marginal(problem, values) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of all single response rows, straight from the definition."""
    prior_mean, prior_cov = dense.prior(problem, values)
    matrix, offset, variance = System(problem).response(values)
    a = matrix.toarray()[problem.cell]
    cov = a @ prior_cov @ a.T + np.diag(variance[problem.cell])
    return (a @ prior_mean + offset[problem.cell]).astype(float), cov.astype(float)


def oracle(problem, values, own: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Log density, mean and variances of the rows of a group given all others."""
    mean, cov = marginal(problem, values)
    y, rest = problem.g, ~own
    gain = np.linalg.solve(cov[np.ix_(rest, rest)], cov[np.ix_(rest, own)]).T
    centre = mean[own] + gain @ (y[rest] - mean[rest])
    spread = cov[np.ix_(own, own)] - gain @ cov[np.ix_(rest, own)]
    return float(stats.multivariate_normal(centre, spread).logpdf(y[own])), centre, np.diag(spread)


@pytest.mark.parametrize("by", ["observation", "specimen", "material", "lab", "labels"])
@pytest.mark.parametrize("big", [False, True])
def test_left_out_densities_are_those_of_the_normal(by: str, big: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    df = table()
    problem = model().bind(df)
    assert len(problem.cells) < len(df)  # replicates collapse
    if big:
        monkeypatch.setattr(leaving, "DENSE_CELLS", 1)
    groups = groups_of(problem, np.arange(len(df)) % 4 if by == "labels" else by)
    leaver = leaving.Leaver(System(problem), groups)
    assert bool(leaver.big) == (big and by in ("material", "lab", "labels", "specimen"))
    got = at_one(leaver, VALUES)
    for g in range(len(groups.labels)):
        own = groups.of_row == g
        log_density, mean, variance = oracle(problem, VALUES, own)
        assert got.left_out[g] == pytest.approx(log_density, abs=1e-8)
        np.testing.assert_allclose(got.mean[groups.pair[own]], mean, atol=1e-8)
        np.testing.assert_allclose((got.variance + got.noise)[groups.pair[own]], variance, atol=1e-8)


def test_a_million_rows_cost_no_more_than_their_cells() -> None:
    rng = np.random.default_rng(0)
    m = rng.integers(0, 50, 1_000_000)
    df = pd.DataFrame({"y": rng.normal(size=50)[m] + rng.normal(size=len(m)), "mat": m})
    simple = rm.Model("y", levels={"material": "mat"}, theory=rm.theory.Constant(), material=rm.material.Unresolved(by="material"))
    problem = simple.bind(df)
    groups = groups_of(problem, "material")
    values = {"unresolved_material_scale": 1.0, "noise_scale": 1.0}
    got = at_one(leaving.Leaver(System(problem), groups), values)
    own = np.flatnonzero(groups.of_row == 7)
    rest = np.flatnonzero(groups.of_row != 7)
    alone = System(of_rows(problem, rest)).log_marginal(values)
    assert got.left_out[7] == pytest.approx(System(problem).log_marginal(values) - alone, rel=1e-9)
    assert groups.count[groups.group == 7].sum() == len(own)


def test_student_t_noise_is_integrated() -> None:
    df = table()
    problem = rm.Model(
        "y",
        levels={"material": "mat"},
        theory=rm.theory.Calibrated("theory"),
        material=rm.material.Unresolved(by="material"),
        observation=rm.observation.StudentT(),
    ).bind(df)
    rng = np.random.default_rng(1)
    nu, scale = 4.0, 0.3
    values = {"unresolved_material_scale": 0.5, "noise_scale": scale, "noise_nu": nu, "y_local": 1 / rng.gamma(nu / 2, 2 / nu, len(df))}
    groups = groups_of(problem, "observation")
    leaver = leaving.Leaver(System(problem), groups)
    repeats = [at_one(leaver, values, s) for s in range(40)]
    estimate = np.log(np.mean([np.exp(r.left_out) for r in repeats], axis=0))
    mean, cov = marginal(problem, values)
    for g in (0, 5, 9):
        rest = np.arange(len(df)) != g
        gain = np.linalg.solve(cov[np.ix_(rest, rest)], cov[rest, g])
        centre = mean[g] + gain @ (problem.g[rest] - mean[rest])
        own = values["y_local"][g] * scale**2  # the row's own local scale is in its variance; take it out
        spread = cov[g, g] - own - gain @ cov[rest, g]
        exact = integrate.quad(
            lambda x, c=centre, v=spread, g=g: stats.norm.pdf(x, c, np.sqrt(v)) * stats.t.pdf(problem.g[g] - x, nu, scale=scale),
            centre - 10 * np.sqrt(spread), centre + 10 * np.sqrt(spread),
        )[0]  # fmt: skip
        assert estimate[g] == pytest.approx(np.log(exact), abs=0.02)


def test_an_outlying_student_t_material_gets_a_new_local_scale() -> None:
    df = table()
    df.loc[df["mat"] == 2, "y"] += 4.0
    t_model = rm.Model(
        "y", levels={"material": "mat"}, theory=rm.theory.Constant(0.0), material=rm.material.Unresolved(by="material", nu=True)
    )
    problem = t_model.bind(df)
    nu, scale, sigma = 3.0, 0.5, 0.3
    values = {"unresolved_material_scale": scale, "unresolved_material_nu": nu, "noise_scale": sigma}
    values["unresolved_material_local"] = 1 / np.random.default_rng(1).gamma(nu / 2, 2 / nu, 7)
    groups = groups_of(problem, "material")
    leaver = leaving.Leaver(System(problem), groups)
    repeats = np.array([at_one(leaver, values, s).left_out for s in range(40)])
    estimate = np.log(np.mean(np.exp(repeats), axis=0))
    for g in range(7):  # nothing is shared between materials here: the density is one integral over the effect
        y = df["y"].to_numpy()[groups.of_row == g]

        def joint(b: float, y: np.ndarray = y) -> float:
            return np.exp(stats.norm.logpdf(y, b, sigma).sum()) * stats.t.pdf(b, nu, scale=scale)

        exact = integrate.quad(joint, -15, 15, points=[y.mean()], limit=200)[0]
        assert estimate[g] == pytest.approx(np.log(exact), abs=0.03)


def test_censored_rows_count_by_their_probability() -> None:
    df = table()
    df["low"] = (df["y"] < -0.4).astype(int)
    df["y"] = df["y"].clip(lower=-0.4)
    assert df["low"].sum() > 3
    problem = model(below="low").bind(df)
    values = {**VALUES, "y_latent": np.where(df["low"] > 0, -0.7, df["y"])}
    groups = groups_of(problem, "material")
    leaver = leaving.Leaver(System(problem), groups)
    repeats = np.array([at_one(leaver, values, s).left_out for s in range(40)])
    estimate = np.log(np.mean(np.exp(repeats), axis=0))
    mean, cov = marginal(problem, values)
    latent = values["y_latent"]
    for g in range(len(groups.labels)):
        own, rest = groups.of_row == g, groups.of_row != g
        gain = np.linalg.solve(cov[np.ix_(rest, rest)], cov[np.ix_(rest, own)]).T
        centre = mean[own] + gain @ (latent[rest] - mean[rest])
        spread = cov[np.ix_(own, own)] - gain @ cov[np.ix_(rest, own)]
        low = df["low"].to_numpy()[own] > 0
        y = df["y"].to_numpy()[own]
        a, total = ~low, 0.0
        if a.any():
            total += stats.multivariate_normal(centre[a], spread[np.ix_(a, a)]).logpdf(y[a])
        if low.any():
            k = np.linalg.solve(spread[np.ix_(a, a)], spread[np.ix_(a, low)]).T if a.any() else np.zeros((low.sum(), 0))
            m = centre[low] + k @ (y[a] - centre[a])
            v = spread[np.ix_(low, low)] - k @ spread[np.ix_(a, low)]
            total += np.log(stats.multivariate_normal(m, v, seed=0).cdf(y[low]))
        assert estimate[g] == pytest.approx(total, abs=0.02 if low.sum() > 1 else 1e-6)


def test_groupings_that_do_not_exist_are_refused() -> None:
    problem = model().bind(table())
    with pytest.raises(rm.ModelError, match=r"by 'batch'.*observation, material, specimen, lab"):
        groups_of(problem, "batch")
    with pytest.raises(rm.DataError, match="one for each of the"):
        groups_of(problem, [1, 2, 3])
