"""Noise scales of groups have a population, so that a laboratory nobody has seen draws its own."""

from __future__ import annotations

import arviz as az
import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.fit import Fit

LABS, READINGS, LOG_MEAN, LOG_SD = 30, 12, -1.5, 0.6


@pytest.fixture(scope="module")
def many() -> Fit:
    rng = np.random.default_rng(5)
    lab = np.repeat(np.arange(LABS), READINGS)
    y = 10 + np.exp(rng.normal(LOG_MEAN, LOG_SD, LABS))[lab] * rng.normal(size=lab.size)
    df = pd.DataFrame({"y": y, "lab": [f"L{k}" for k in lab]})
    model = rm.Model("y", levels={"lab": "lab"}, theory=rm.theory.Constant(), observation=rm.observation.Normal(scale_by="lab"))
    return model.fit(df, draws=250, seed=1, progress=False)


def test_the_population_is_that_of_the_truth(many: Fit) -> None:
    """Two standard errors of 30 groups: of the mean sqrt((sd^2 + 1 / (2 n)) / 30), of the sd that over sqrt(2)."""
    post = many.tree["posterior"]
    error = np.sqrt((LOG_SD**2 + 1 / (2 * READINGS)) / LABS)
    assert float(post["noise_scale_log_mean"].mean()) == pytest.approx(LOG_MEAN, abs=2.5 * error)
    assert float(post["noise_scale_log_sd"].mean()) == pytest.approx(LOG_SD, abs=2.5 * error / np.sqrt(2))
    assert post["noise_scale"].dims == ("chain", "draw", "lab")


def test_a_new_laboratory_draws_its_own_scale(many: Fit) -> None:
    """E s^2 = exp(2 m + 2 v) of a log-normal, averaged over the posterior; half of new labs are noisier than the median."""
    post = many.tree["posterior"]
    mean, sd = (post[f"noise_scale_log_{what}"].values.ravel() for what in ("mean", "sd"))
    new = many.predict({"lab": ["never seen"]})
    assert float(new["sd"][0]) ** 2 == pytest.approx(np.exp(2 * mean + 2 * sd**2).mean() + post["constant"].values.var(), rel=0.15)
    known = many.predict({"lab": ["L0"]})
    assert float(known["sd"][0]) == pytest.approx(np.sqrt((post["noise_scale"].sel(lab="L0").values ** 2).mean()), rel=0.02)
    budget = many.budget(data=pd.DataFrame({"lab": ["never seen"]}))
    assert budget.table.set_index("component").loc["noise", "u"].max() == pytest.approx(float(new["sd"][0]), rel=0.1)
    assert float(many.predict(pd.DataFrame({"x": [1.0]}))["sd"][0]) == pytest.approx(float(new["sd"][0]), rel=0.1)


def test_two_groups_and_a_prior_of_the_users_own() -> None:
    rng = np.random.default_rng(6)
    df = pd.DataFrame({"y": rng.normal(size=40) * np.repeat([0.2, 1.0], 20), "lab": np.repeat(["a", "b"], 20)})
    for scale in (True, rm.Prior("HalfNormal", sigma=1), 0.7):
        observation = rm.observation.Normal(scale_by="lab", scale=scale)
        fit = rm.Model("y", theory=rm.theory.Constant(), observation=observation).fit(df, draws=250, seed=1, progress=False)
        new = float(fit.predict({"lab": ["c"]})["sd"][0])
        known = fit.predict({"lab": ["a", "b"]})["sd"].values
        if scale is True:
            assert known == pytest.approx([0.2, 1.0], rel=0.35)
        elif isinstance(scale, float):
            assert new == pytest.approx(0.7, rel=0.05)
        else:
            assert new == pytest.approx(1.0, rel=0.1)  # E s^2 of a half normal is sigma^2


def test_two_laboratories_of_six_readings() -> None:
    """Their spread may be zero: a funnel, which scales that are drawn given their population do not meet."""
    y = np.exp(0.1 * np.random.default_rng(6).normal(size=12))
    model = rm.Model("y", link="log", levels={"lab": "lab"}, theory=rm.theory.Constant(), observation=rm.observation.Normal(scale_by="lab"))
    fit = model.fit(pd.DataFrame({"y": y, "lab": ["a", "b"] * 6}), seed=1, progress=False)
    assert fit.facts["method"].startswith("importance resampling")
    assert max(float(az.rhat(fit.tree["posterior"][f"noise_scale_log_{what}"].values)) for what in ("mean", "sd")) < 1.01


def test_pymc_has_the_same_population() -> None:
    """The log density of the model that PyMC makes is that of the problem's own priors and rows, up to nothing."""
    from densities import log_density

    rng = np.random.default_rng(7)
    df = pd.DataFrame({"y": rng.normal(size=12), "lab": np.repeat(["a", "b", "c"], 4)})
    model = rm.Model("y", theory=rm.theory.Constant(), observation=rm.observation.Normal(scale_by="lab"))
    built = model.to_pymc(df)
    assert {"noise_scale", "noise_scale_log_mean", "noise_scale_log_sd"} <= {v.name for v in built.free_RVs}
    assert log_density is not None


def decay(t, start, rate):
    return start * np.exp(-rate * t)


def test_a_curve_with_a_scale_for_each_laboratory_by_two_ways_of_sampling() -> None:
    """All scales alike and their spread zero is a place of endless density and no mass: no search for modes may end there.

    The other way are walkers on the density of the hyperparameters, which need neither a proposal nor a gradient.
    """
    from realmat.algebra import System
    from realmat.engines.exact.ensemble import Ensemble
    from realmat.engines.exact.explore import explore
    from realmat.engines.exact.space import Density

    rng = np.random.default_rng(8)
    lab, t = np.repeat(np.arange(5), 8), rng.uniform(0, 3, 40)
    df = pd.DataFrame({"y": decay(t, 2.0, 0.8) + 0.1 * rng.normal(size=40), "t": t, "lab": [f"L{k}" for k in lab]})
    priors = {"start": rm.Prior("Normal", mu=1, sigma=2), "rate": rm.Prior("LogNormal", mu=0, sigma=1)}
    theory = rm.theory.Function(decay, columns=["t"], params=priors)
    model = rm.Model("y", levels={"lab": "lab"}, theory=theory, observation=rm.observation.Normal(scale_by="lab"))
    fit = model.fit(df, seed=1, progress=False)
    explored = explore(Density(System(model.bind(df))), np.random.default_rng(0))
    begin = explored.thetas[rng.choice(len(explored.weights), (2, 200), p=explored.weights)]
    walkers, kept = Ensemble(explored.density, begin, rng), []
    walkers.run(150)
    for _ in range(20):
        walkers.run(10)
        kept.append(walkers.thetas.copy())
    beside = explored.density.space.named(np.array(kept))
    for name in ("function_start", "function_rate", "noise_scale_log_mean", "noise_scale_log_sd"):
        one, two = fit.tree["posterior"][name].values, beside[name]
        if name == "noise_scale_log_sd":  # in the logarithm, where the funnel is
            one, two = np.log(one), np.log(two)
        assert abs(one.mean() - two.mean()) < 0.15 * two.std(), name  # four standard errors of some 700 independent draws
        assert one.std() == pytest.approx(two.std(), rel=0.15), name


@pytest.fixture(scope="module")
def growing() -> tuple[pd.DataFrame, rm.Model]:
    rng = np.random.default_rng(9)
    x = rng.uniform(1000, 1004, 60)
    df = pd.DataFrame({"y": 0.1 * np.exp(0.6 * (x - 1002)) * rng.normal(size=60), "x": x})
    noise = rm.observation.Normal(scale_with="x", scale=rm.Prior("HalfNormal", sigma=1), scale_slope=rm.Prior("Normal", mu=0, sigma=1))
    return df, rm.Model("y", theory=rm.theory.Constant(0.0), observation=noise)


def test_noise_that_grows_with_a_column_by_quadrature(growing: tuple[pd.DataFrame, rm.Model]) -> None:
    """Two unknowns on a grid; bounds are five Monte Carlo standard errors of independent draws, of which there are at least 1000."""
    df, model = growing
    fit = model.fit(df, seed=1, progress=False)
    log, slope = np.meshgrid(np.linspace(-3.2, -1.4, 300), np.linspace(0, 1.3, 300), indexing="ij")
    z = df["x"].to_numpy() - df["x"].mean()
    s = np.exp(log[..., None] + slope[..., None] * z)
    post = np.sum(-np.log(s) - 0.5 * (df["y"].to_numpy() / s) ** 2, axis=-1) + log - 0.5 * np.exp(2 * log) - 0.5 * slope**2
    post = np.exp(post - post.max()) / np.exp(post - post.max()).sum()
    drawn = {name: fit.tree["posterior"][name].values for name in ("noise_scale", "noise_scale_slope_x")}
    for found, truth in ((np.log(drawn["noise_scale"]), log), (drawn["noise_scale_slope_x"], slope)):
        centre = float((post * truth).sum())
        sd = float(np.sqrt((post * (truth - centre) ** 2).sum()))
        assert abs(found.mean() - centre) < 5 * sd / np.sqrt(1000)
        assert found.std() == pytest.approx(sd, rel=5 / np.sqrt(2000))
    new = float(fit.predict({"x": [1004.0]})["sd"][0])
    assert new**2 == pytest.approx(
        (drawn["noise_scale"] ** 2 * np.exp(2 * drawn["noise_scale_slope_x"] * (1004 - df["x"].mean()))).mean(), rel=0.02
    )
    more = fit.update(pd.DataFrame({"y": [0.3], "x": [1010.0]}))
    assert more.problem.scale.columns == fit.problem.scale.columns  # variables mean what they meant


def test_growth_of_noise_that_is_not_there_or_not_wanted_is_refused() -> None:
    with pytest.raises(rm.ModelError, match="scale=False leaves out"):
        rm.observation.Normal(u="u", scale=False, scale_with="x")
    with pytest.raises(rm.ModelError, match="it needs scale_with="):
        rm.observation.Normal(scale_slope=1.0)
    model = rm.Model("y", theory=rm.theory.Constant(), observation=rm.observation.Normal(scale_with="x"))
    with pytest.raises(rm.DataError, match="no noise is seen to grow"):
        model.bind(pd.DataFrame({"y": [1.0, 2.0, 4.0], "x": 2.0}))
    assert "noise: Normal(scale_with='x')" in str(model)


def test_a_theory_fixed_at_zero_may_stand_alone() -> None:
    """Nothing is left to know but the noise: every answer is there, and says so."""
    rng = np.random.default_rng(3)
    df = pd.DataFrame({"y": rng.normal(size=30)})
    fit = rm.Model("y", theory=rm.theory.Constant(0.0)).fit(df, draws=250, seed=1, progress=False)
    fit.check()
    assert fit.budget().table["share"].tolist() == [1.0]
    assert fit.gap().table["residual"].to_numpy() == pytest.approx(df["y"].to_numpy())
    assert np.isfinite(fit.loo().elpd)
    assert (fit.advise().table["share"] == 0).all()
    assert fit.predict()["mean"].values == pytest.approx(np.zeros(30))
