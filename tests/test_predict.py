"""Predictions against closed forms: normal mixtures, log-normals, Student t quantiles, and levels seen and unseen."""

from __future__ import annotations

import arviz_base as azb
import numpy as np
import pandas as pd
import pytest
from attribution import by_hand
from scipy import optimize, stats

import realmat as rm
from realmat.attribution.predict import mixture_quantile, predict
from realmat.posterior.draws import Posterior

DRAWS = 1000
LOW, HIGH = 0.055, 0.945


def simple(link: str = "identity", observation: rm.Component | None = None) -> tuple[rm.Model, Posterior]:
    """A constant of 1, ten materials with known effects, and constant scales: the predictive distribution is known in closed form."""
    df = pd.DataFrame({"y": np.linspace(1, 3, 30), "m": np.arange(30) % 10})
    model = rm.Model(
        "y",
        link=link,
        levels={"material": "m"},
        theory=rm.theory.Constant(),
        material=rm.material.Unresolved(by="material"),
        observation=observation or rm.observation.Normal(),
    )
    problem = model.bind(df)
    params = {"unresolved_material_scale": np.full(DRAWS, 0.4), "noise_scale": np.full(DRAWS, 0.3), "noise_nu": np.full(DRAWS, 4.0)}
    effects = np.tile(np.linspace(-1, 1, 10), (DRAWS, 1))
    b = {"constant": np.ones((DRAWS, 1)), "unresolved_material": effects}
    return model, by_hand(problem, {p.name: params[p.name] for p in problem.params}, b)


def test_known_and_unseen_levels() -> None:
    """A material of the fit keeps its effect unless new="material"; one never seen is drawn anew."""
    model, posterior = simple()
    table = model.table(pd.DataFrame({"m": [0, 9, 77, 88]}), response=False)
    out = predict(posterior, table)
    assert out["mean"].values == pytest.approx([0, 2, 1, 1])
    assert out["sd"].values == pytest.approx([0.3, 0.3, 0.5, 0.5])
    assert out["mean_sd"].values == pytest.approx([0, 0, 0.4, 0.4])
    new = predict(posterior, table, new="material")
    assert new["mean"].values == pytest.approx(np.ones(4))
    assert new["sd"].values == pytest.approx(np.full(4, 0.5))
    assert new["lower"].values == pytest.approx(np.full(4, 1 + 0.5 * stats.norm.ppf(LOW)), abs=1e-4)
    assert out["contributions"].sel(component="unresolved_material").values == pytest.approx([-1, 1, 0, 0])
    assert list(out["row"].values) == [0, 1, 2, 3]


def test_log_link_gives_lognormal_moments_and_bounds() -> None:
    """Mean exp(m + v/2) and variance (exp(v) - 1) exp(2m + v): Johnson, Kotz & Balakrishnan 1994, eq. 14.8."""
    model, posterior = simple(link="log")
    out = predict(posterior, model.table(pd.DataFrame({"m": [77]}), response=False))
    exact = stats.lognorm(s=0.5, scale=np.e)
    assert out["mean"].item() == pytest.approx(exact.mean(), rel=1e-9)
    assert out["sd"].item() == pytest.approx(exact.std(), rel=1e-9)
    assert out["mean_sd"].item() == pytest.approx(stats.lognorm(s=0.4, scale=np.e).std(), rel=1e-9)
    assert (out["lower"].item(), out["upper"].item()) == pytest.approx(exact.ppf([LOW, HIGH]), rel=1e-4)


def test_student_t_bounds_and_variance() -> None:
    """Bounds are quantiles of Student's t itself, from stratified local scales (error far below 1 %); sd is scale sqrt(nu/(nu-2))."""
    model, posterior = simple(observation=rm.observation.StudentT())
    with azb.rc_context({"stats.ci_prob": 0.98}):
        out = predict(posterior, model.table(pd.DataFrame({"m": [4]}), response=False), seed=1)
    centre = 1 + np.linspace(-1, 1, 10)[4]
    assert out["sd"].item() == pytest.approx(0.3 * np.sqrt(2), rel=1e-9)
    assert out["upper"].item() - centre == pytest.approx(0.3 * stats.t(4).ppf(0.99), rel=0.01)
    assert out["lower"].item() - centre == pytest.approx(0.3 * stats.t(4).ppf(0.01), rel=0.01)


def test_mixture_quantile_inverts_the_distribution_function() -> None:
    rng = np.random.default_rng(3)
    mean, sd = rng.normal(0, [[0.1], [1], [10]], (3, 50)), np.exp(rng.normal(0, 0.5, (3, 50)))
    for p in (1e-4, 0.055, 0.5, 0.999):
        x = mixture_quantile(mean, sd, p, tolerance=1e-10)
        assert stats.norm(mean, sd).cdf(x[:, None]).mean(axis=1) == pytest.approx(np.full(3, p), rel=1e-6)


def test_highest_density_interval_of_a_lognormal() -> None:
    """The shortest interval of 89 %, found by minimising its width; 1000 stratified draws place its ends within a few per cent."""
    _, posterior = simple(link="log")
    with azb.rc_context({"stats.ci_kind": "hdi"}):
        densest = predict(posterior, new="material")
    exact = stats.lognorm(s=0.5, scale=np.e)
    low = optimize.minimize_scalar(lambda p: exact.ppf(p + 0.89) - exact.ppf(p), bounds=(0, 0.1099), method="bounded").x
    width = exact.ppf(low + 0.89) - exact.ppf(low)
    assert (densest["upper"] - densest["lower"]).values == pytest.approx(np.full(30, width), rel=0.03)
    assert densest.attrs["ci_kind"] == "hdi"


def test_draws_share_what_is_fresh() -> None:
    """Rows of one new material share its effect: their correlation is tau^2/(tau^2 + sigma^2), Monte Carlo error (1 - r^2)/sqrt(n)."""
    model, posterior = simple()
    table = model.table(pd.DataFrame({"m": [77, 77, 88]}), response=False)
    out = predict(posterior, table, draws=20_000, seed=2)
    r = np.corrcoef(out["draws"].values.T)
    expected = 0.16 / 0.25
    assert out.sizes["draw"] == 20_000
    assert r[0, 1] == pytest.approx(expected, abs=5 * (1 - expected**2) / np.sqrt(20_000))
    assert abs(r[0, 2]) < 5 / np.sqrt(20_000)
    again = predict(posterior, table, draws=20_000, seed=2)
    assert out.equals(again)


def test_relative_u_of_an_unmeasured_response() -> None:
    """With a log link a stated u is relative to the response; where that is unknown, to its predicted median: u/e here."""
    model, posterior = simple(link="log", observation=rm.observation.Normal(u=0.2, scale=False))
    out = predict(posterior, model.table(pd.DataFrame({"m": [77]}), response=False))
    exact = stats.lognorm(s=np.hypot(0.4, 0.2 / np.e), scale=np.e)
    assert out["sd"].item() == pytest.approx(exact.std(), rel=1e-9)


def test_a_row_that_states_no_u_has_the_typical_one() -> None:
    """Without an inferred scale the noise of such a row is the root mean square of the u stated in the fit, not nothing."""
    u = np.linspace(0.1, 0.4, 30)
    df = pd.DataFrame({"y": np.linspace(1, 3, 30), "u": u})
    model = rm.Model("y", theory=rm.theory.Constant(), observation=rm.observation.Normal(u="u", scale=False))
    posterior = by_hand(model.bind(df), {}, {"constant": np.ones((4, 1))})
    out = predict(posterior, model.table(pd.DataFrame({"u": [0.2, np.nan]}), response=False))
    assert out["sd"].values == pytest.approx([0.2, np.sqrt(np.mean(u**2))])


def test_unknown_new() -> None:
    with pytest.raises(rm.ModelError, match=r"new= must be one of observation, specimen, material, not 'lab'"):
        predict(simple()[1], new="lab")
