"""Fits of what laboratories measure beside numbers with normal noise: against quadrature and published answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

import realmat as rm

CASES = Path(__file__).parent / "cases"


def fitted(df: pd.DataFrame, observation: Any, **model: Any) -> Any:
    made = rm.Model("y", theory=rm.theory.Constant(rm.Prior("Normal", mu=0.5, sigma=1.0)), observation=observation, **model)
    return made.fit(df, seed=1, draws=500, progress=False)


def by_quadrature(log_density: Any, low: float, high: float) -> tuple[float, float]:
    """Mean and sd of a scalar posterior with prior Normal(0.5, 1)."""
    x = np.linspace(low, high, 4001)
    log = np.array([log_density(v) for v in x]) + stats.norm.logpdf(x, 0.5, 1.0)
    w = np.exp(log - log.max())
    w /= w.sum()
    mean = float(w @ x)
    return mean, float(np.sqrt(w @ (x - mean) ** 2))


Y, N = np.array([0.0, 3.0, 2.0, 7.0]), np.array([4.0, 5.0, 6.0, 9.0])
LIKELIHOODS = [
    (rm.observation.Poisson(exposure="n"), lambda e: stats.poisson.logpmf(Y, N * np.exp(e)).sum()),
    (rm.observation.Binomial(trials="n"), lambda e: stats.binom.logpmf(Y, N, special.expit(e)).sum()),
    (rm.observation.NegativeBinomial(dispersion=0.5), lambda e: stats.nbinom.logpmf(Y, 4, 1 / (1 + np.exp(e) / 4)).sum()),
    (rm.observation.Gamma(dispersion=0.4), lambda e: stats.gamma.logpdf(Y + 1, 0.4**-2, scale=np.exp(e) * 0.16).sum()),
    (rm.observation.Weibull(modulus=3.0, size="n"), lambda e: stats.weibull_min.logpdf(Y + 1, 3, scale=np.exp(e) * N ** (-1 / 3)).sum()),
    (
        rm.observation.Beta(dispersion=0.3),
        lambda e: stats.beta.logpdf((Y + 1) / 10, special.expit(e) / 0.09, special.expit(-e) / 0.09).sum(),
    ),
]


@pytest.mark.parametrize(("observation", "log"), LIKELIHOODS, ids=[type(one).__name__ for one, _ in LIKELIHOODS])
def test_a_single_parameter_has_the_posterior_of_quadrature(observation: Any, log: Any) -> None:
    shift = {"Gamma": Y + 1, "Weibull": Y + 1, "Beta": (Y + 1) / 10}.get(type(observation).__name__, Y)
    fit = fitted(pd.DataFrame({"y": shift, "n": N}), observation)
    mean, sd = by_quadrature(log, -5, 6)
    draws = fit.tree["posterior"]["constant"].values
    assert draws.mean() == pytest.approx(mean, abs=0.12 * sd)  # effective samples above 400
    assert draws.std() == pytest.approx(sd, rel=0.12)
    out = fit.predict()
    assert (out["lower"].values >= 0).all()
    low, high = {"Binomial": (0, N), "Beta": (0, 1)}.get(type(observation).__name__, (0, np.inf))
    assert (out["lower"].values >= low).all()
    assert (out["upper"].values <= high).all()
    table = fit.budget().table
    assert table["share"].sum() == pytest.approx(1)
    left = fit.left_out(refit=False)
    assert left.table["pit"].between(0, 1).all()
    assert np.isfinite(left.elpd.elpd)


def test_counts_of_lots_have_the_posterior_of_quadrature() -> None:
    """Poisson with a normal effect of each lot: quadrature over every effect, on a grid of the two others."""
    rng = np.random.default_rng(3)
    lot, area = np.repeat(np.arange(12), 3), rng.uniform(0.5, 3.0, 36)
    count = rng.poisson(area * np.exp(0.7 + rng.normal(0, 0.5, 12)[lot]))
    df = pd.DataFrame({"y": count, "area": area, "lot": [f"l{i}" for i in lot]})
    unresolved = rm.material.Unresolved(by="specimen", scale=rm.Prior("HalfNormal", sigma=1.0))
    fit = fitted(df, rm.observation.Poisson(exposure="area"), levels={"specimen": "lot"}, material=unresolved)
    node, weight = np.polynomial.hermite_e.hermegauss(30)
    constant, tau = np.meshgrid(np.linspace(-0.6, 2.0, 105), np.linspace(0.01, 2.0, 100), indexing="ij")
    eta = constant[..., None, None] + tau[..., None, None] * node
    total, exposure = np.bincount(lot, count), np.bincount(lot, area)
    log = total[:, None] * eta - exposure[:, None] * np.exp(eta)
    high = log.max(-1, keepdims=True)
    post = (np.log((np.exp(log - high) * weight).sum(-1)) + high[..., 0]).sum(-1)
    post = post - 0.5 * (constant - 0.5) ** 2 - 0.5 * tau**2
    post = np.exp(post - post.max())
    post /= post.sum()
    found = fit.tree["posterior"]
    for name, value in (("constant", constant), ("unresolved_specimen_scale", tau)):
        mean = float((post * value).sum())
        sd = float(np.sqrt((post * (value - mean) ** 2).sum()))
        assert float(found[name].mean()) == pytest.approx(mean, abs=0.15 * sd), name
        assert float(found[name].std()) == pytest.approx(sd, rel=0.15), name


def test_a_shared_calibration_does_not_average_away() -> None:
    """JCGM 100:2008, F.1.2: u of the mean is the root of u_cal^2 + s^2 / n."""
    df = pd.DataFrame({"y": np.random.default_rng(1).normal(5, 0.1, 60), "batch": "only", "u_cal": 0.05})
    common = rm.observation.Common(by="batch", u="u_cal")
    model = rm.Model("y", theory=rm.theory.Constant(), observation=rm.observation.Normal(common=common))
    assert model == rm.Model.from_dict(model.to_dict())
    fit = model.fit(df, seed=1, progress=False)
    assert float(fit.tree["posterior"]["constant"].std()) == pytest.approx(np.hypot(0.05, df["y"].std() / np.sqrt(60)), rel=0.05)
    new = fit.predict(df.iloc[:1].assign(batch="another"))
    assert new["sd"].values[0] == pytest.approx(np.hypot(np.hypot(0.05, 0.05), df["y"].std()), rel=0.05)
    assert "common_batch" in set(fit.budget().table["component"])


def test_truncated_readings_are_not_taken_for_all() -> None:
    """Only readings above 1 were reported; the mean of all is 0.8 by simulation."""
    rng = np.random.default_rng(2)
    y = rng.normal(0.8, 0.5, 4000)
    y = y[y > 1.0][:600]
    theory = rm.theory.Constant(rm.Prior("Normal", mu=1.0, sigma=1.0))
    fit = rm.Model("y", theory=theory, observation=rm.observation.Normal(kept_above=1.0)).fit(
        pd.DataFrame({"y": y}), seed=1, draws=400, progress=False
    )
    constant = fit.tree["posterior"]["constant"].values
    assert abs(constant.mean() - 0.8) < 3.5 * constant.std()
    assert y.mean() - constant.mean() > 0.3


def test_what_cannot_be_is_refused() -> None:
    df = pd.DataFrame({"y": [1.0, 2.5], "n": [2.0, 2.0]})
    with pytest.raises(rm.DataError, match="counts must be whole numbers, not as in row 1"):
        rm.Model("y", theory=rm.theory.Constant(), observation=rm.observation.Poisson()).bind(df)
    with pytest.raises(rm.DataError, match="more successes than trials in row 1"):
        rm.Model("y", theory=rm.theory.Constant(), observation=rm.observation.Binomial(trials="n")).bind(df.assign(y=[1, 3]))
    with pytest.raises(rm.ModelError, match="Poisson works with link='log', not with 'logit'"):
        rm.Model("y", link="logit", observation=rm.observation.Poisson())
    with pytest.raises(rm.ModelError, match="between= and resolution= both say where the true value lies"):
        rm.observation.Normal(between=("a", "b"), resolution=0.1)
    with pytest.raises(rm.ModelError, match="dof= is of a stated u, so it needs u="):
        rm.observation.Normal(dof=3.0)
    with pytest.raises(rm.DataError, match="bounds the wrong way round in row 0"):
        rm.Model("y", theory=rm.theory.Constant(), observation=rm.observation.Normal(between=("y", "n"))).bind(df.assign(y=[3.0, 1.0]))


def test_device_times_to_failure() -> None:
    """Meeker & Escobar (1998), Device-A: activation energy 0.628 eV, sigma 0.978 by maximum likelihood; 132 of 165 were stopped."""
    df = pd.read_csv(CASES / "device_arrhenius.csv")
    df = df.assign(kt=11604.5 / (df["celsius"] + 273.15))
    arrhenius, noise = rm.material.Effect("kt", level="row"), rm.observation.Normal(above="cens", count="count")
    fit = rm.Model("hours", link="log", theory=rm.theory.Constant(), material=arrhenius, observation=noise).fit(df, seed=1, progress=False)
    assert len(fit.problem.table) == 165
    summary = fit.summary()
    assert summary["r_hat"].max() <= 1.01
    assert summary["ess_bulk"].min() > 400
    post = fit.tree["posterior"]
    assert float(post["effect_kt_slope"].mean()) == pytest.approx(0.628, abs=0.08)
    assert float(post["noise_scale"].mean()) == pytest.approx(0.978, abs=0.15)


def _rate(v: Any) -> Any:
    return v


def _from_odds(v: Any) -> Any:
    return 4 * (1 - v) / v  # mean of a negative binomial of size 4 that stops with probability v


def _inverse(v: Any) -> Any:
    return 1 / v


def _strength(v: Any) -> Any:
    return v ** (-1 / 3)


B = np.array([0.8, 2.3, 1.1, 1.9])  # broke; the last was stopped
GAMMA, BETA = rm.Prior("Gamma", alpha=2.0, beta=1.5), rm.Prior("Beta", alpha=2.0, beta=1.5)
CONJUGATE: dict[str, tuple[Any, Any, rm.Prior, Any, Any]] = {
    "gamma-Poisson": (rm.observation.Poisson(exposure="n"), _rate, GAMMA, Y, stats.gamma(2 + Y.sum(), scale=1 / (1.5 + N.sum()))),
    "beta-binomial": (rm.observation.Binomial(trials="n"), _rate, BETA, Y, stats.beta(2 + Y.sum(), 1.5 + (N - Y).sum())),
    "beta-negative binomial": (rm.observation.NegativeBinomial(dispersion=0.5), _from_odds, BETA, Y, stats.beta(2 + 16, 1.5 + Y.sum())),
    "gamma-gamma": (rm.observation.Gamma(dispersion=0.5), _inverse, GAMMA, B, stats.gamma(2 + 16, scale=1 / (1.5 + 4 * B.sum()))),
    "gamma-Weibull": (
        rm.observation.Weibull(modulus=3.0, size="n", above="stopped"),
        _strength,
        GAMMA,
        B,
        stats.gamma(2 + 3, scale=1 / (1.5 + (N * B**3).sum())),
    ),
}


@pytest.mark.parametrize("name", CONJUGATE)
def test_conjugate_posteriors_in_closed_form(name: str) -> None:
    """Gelman et al., Bayesian Data Analysis, 3rd ed., 2013, section 2.6; for lifetimes Meeker & Escobar 1998, section 14.4."""
    observation, function, prior, y, truth = CONJUGATE[name]
    model = rm.Model("y", theory=rm.theory.Function(function, columns=[], params={"v": prior}), observation=observation)
    fit = model.fit(pd.DataFrame({"y": y, "n": N, "stopped": [0, 0, 0, 1]}), seed=1, draws=1000, progress=False)
    found = fit.summary().loc["function_v"]
    draws, most = fit.tree["posterior"]["function_v"].values.ravel(), found["ess_bulk"]
    assert most > 400
    assert draws.mean() == pytest.approx(truth.mean(), abs=4 * truth.std() / np.sqrt(most))
    u = truth.cdf(draws)  # uniform
    assert np.mean(u) == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / most))
    assert np.std(u) == pytest.approx(np.sqrt(1 / 12), rel=4 * np.sqrt(0.2 / most))


def test_rows_that_stand_for_several_readings_are_so_many_rows() -> None:
    """The same problem as from a table with a row for each reading; later rows and rows to predict too."""
    df = pd.DataFrame({"y": [3.0, 5.0, 4.0, 9.0], "n": [2, 1, 3, 0]})
    every = df.loc[df.index.repeat(df["n"])]
    for counted, plain in (
        (rm.observation.Poisson(count="n"), rm.observation.Poisson()),
        (rm.observation.StudentT(count="n", nu=4.0), rm.observation.StudentT(nu=4.0)),
    ):
        link = "log" if isinstance(counted, rm.observation.Poisson) else "identity"
        one, two = (rm.Model("y", link=link, theory=rm.theory.Constant(), observation=o) for o in (counted, plain))
        a, b = one.fit(df, draws=100, seed=1, progress=False), two.fit(every, draws=100, seed=1, progress=False)
        for name in b.tree["posterior"].data_vars:
            assert a.tree["posterior"][name].values == pytest.approx(b.tree["posterior"][name].values)
        assert len(a.update(df.iloc[:2]).problem.table) == 9
        assert a.predict(df).sizes["row"] == 4
        assert a.predict(df[["y"]]).sizes["row"] == 4
    for wrong, said in (([2, 1.5, 1, 1], "whole"), ([0, 0, 0, 0], "no readings at all"), ([1, -1, 1, 1], "below 0")):
        with pytest.raises(rm.DataError, match=said):
            one.bind(df.assign(n=wrong))
    with pytest.raises(rm.ModelError, match="give every reading a row"):
        rm.Joint([one, rm.Model("z", theory=rm.theory.Constant())])


def test_intervals_are_readings_wherever_rows_are_read() -> None:
    """Rows of an update and of a joint model that hold bounds alone count as measured, and tell what an interval tells."""
    df = pd.DataFrame({"y": [3.0, 5.0, 4.0, 4.5], "a": np.nan, "b": np.nan, "piece": list("pqrs")})
    later = pd.DataFrame({"a": [4.0, 6.0], "b": [4.2, np.nan], "piece": ["t", "u"]})
    model = rm.Model("y", levels={"specimen": "piece"}, theory=rm.theory.Constant(), observation=rm.observation.Normal(between=("a", "b")))
    longer = model.fit(df, draws=100, seed=1, progress=False).update(later)
    assert longer.problem.table.numeric("y")[-2:] == pytest.approx([4.1, 6.0])
    other = rm.Model("z", levels={"specimen": "piece"}, theory=rm.theory.Constant())
    both = rm.Joint([model, other]).bind(pd.concat([df, later], ignore_index=True).assign(z=[1.0, 2, 3, 4, 5, np.nan]))
    assert len(both.of("y").table) == 6


def test_large_counts_are_fitted() -> None:
    """Counts of which the logarithm is far from zero: the search for the mode begins at the readings."""
    y = np.array([12, 20, 22, 70, 18, 20, 60, 46, 6, 38, 50, 32, 24, 37, 43, 56, 8, 18, 70, 81, 9, 31, 16, 25], dtype=float)
    rows = np.arange(24)
    df = pd.DataFrame({"y": y, "lot": rows // 3, "n": 1.0 + rows % 4})
    unresolved = rm.material.Unresolved(by="specimen", scale=rm.Prior("Gamma", alpha=4.0, beta=10.0))
    fit = fitted(df, rm.observation.Poisson(exposure="n"), levels={"specimen": "lot"}, material=unresolved)
    assert float(fit.tree["posterior"]["constant"].mean()) == pytest.approx(np.log(y.sum() / df["n"].sum()), abs=0.3)
