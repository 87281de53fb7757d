"""Readings whose errors have a known correlation: against the multivariate normal, generalised least squares, and the PyMC route."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import realmat as rm
from realmat.algebra import System, dense

P = rm.Prior


def decaying(n: int, r: float = 0.7) -> np.ndarray:
    return r ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))


def table(n: int = 12, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    u = rng.uniform(0.2, 0.6, n)
    error = rng.multivariate_normal(np.zeros(n), decaying(n) * np.outer(u, u))
    x = rng.normal(size=n)
    return pd.DataFrame({"y": 2 + 0.5 * x + error, "x": x, "u": u}, index=[f"r{i}" for i in range(n)])


def model(scale: Any = False, **noise: Any) -> rm.Model:
    line = rm.theory.Constant(P("Normal", mu=0.0, sigma=3.0)), rm.material.Effect("x", level="row", slope=P("Normal", mu=0.0, sigma=2.0))
    return rm.Model("y", theory=line[0], material=line[1], observation=rm.observation.Normal(scale=scale, **noise))


def truth(df: pd.DataFrame, covariance: np.ndarray, extra: float = 0.0) -> tuple[float, np.ndarray, np.ndarray]:
    """Log density of the readings, and mean and covariance of intercept and slope, as one multivariate normal says."""
    x, prior = np.column_stack([np.ones(len(df)), df.x]), np.diag([9.0, 4.0])
    noise = covariance + extra**2 * np.eye(len(df))
    whole = x @ prior @ x.T + noise
    gain = prior @ x.T @ np.linalg.inv(whole)
    return float(stats.multivariate_normal(np.zeros(len(df)), whole).logpdf(df.y)), gain @ df.y, prior - gain @ x @ prior


@pytest.mark.parametrize("form", ["correlation", "covariance", "labelled", "two blocks"])
def test_posterior_and_density_are_those_of_the_multivariate_normal(form: str) -> None:
    df = table()
    r = decaying(12)
    if form == "two blocks":  # rows 3 and 7 go with no other
        r = np.where(np.add.outer(np.isin(range(12), (3, 7)), np.isin(range(12), (3, 7))) & ~np.eye(12, dtype=bool), 0.0, r)
    covariance = r * np.outer(df.u, df.u)
    if form == "labelled":
        turned = df.index[::-1]
        noise: dict[str, Any] = {"u": "u", "correlation": pd.DataFrame(r, df.index, df.index).loc[turned, turned]}
    else:
        noise = {"correlation": covariance} if form == "covariance" else {"u": "u", "correlation": r.tolist()}
    made = model(**noise)
    assert rm.Model.from_dict(made.to_dict()) == made
    log_density, mean, spread = truth(df, covariance)
    problem = made.bind(df)
    at = System(problem).at({})
    assert at.log_marginal == pytest.approx(log_density, abs=1e-8)
    assert dense.log_marginal(problem, {}) == pytest.approx(log_density, abs=1e-8)
    fit = made.fit(df, draws=4000, seed=1, progress=False)
    found = fit.tree["posterior"]
    for k, name in enumerate(("constant", "effect_x_slope")):  # 16,000 independent draws: 4 standard errors
        assert float(found[name].mean()) == pytest.approx(mean[k], abs=4 * np.sqrt(spread[k, k] / 16_000))
        assert float(found[name].std()) == pytest.approx(np.sqrt(spread[k, k]), rel=0.025)
    assert not any("correlated" in str(name) for name in found.data_vars)


def test_a_reading_left_out_is_predicted_from_those_that_its_error_goes_with() -> None:
    df = table()
    whole = np.column_stack([np.ones(12), df.x]) @ np.diag([9.0, 4.0]) @ np.column_stack([np.ones(12), df.x]).T
    whole = whole + decaying(12) * np.outer(df.u, df.u)
    precision = np.linalg.inv(whole)
    sd = 1 / np.sqrt(np.diag(precision))
    expected = stats.norm(df.y - precision @ df.y * sd**2, sd).logpdf(df.y)
    fit = model(u="u", correlation=decaying(12)).fit(df, draws=2000, seed=1, progress=False)
    np.testing.assert_allclose(fit.loo().elpd_i, expected, atol=0.02)


def test_a_new_reading_has_an_error_of_its_own_of_the_full_size() -> None:
    df = table()
    fit = model(u="u", correlation=decaying(12)).fit(df, draws=2000, seed=1, progress=False)
    _, _, spread = truth(df, decaying(12) * np.outer(df.u, df.u))
    expected = np.hypot(df.u, np.sqrt([[1, x] @ spread @ [1, x] for x in df.x]))
    np.testing.assert_allclose(fit.predict()["sd"], expected, rtol=0.02)
    later = df.assign(y=np.nan).set_index(pd.Index([f"later {i}" for i in range(12)]))
    np.testing.assert_allclose(fit.predict(later)["sd"], expected, rtol=0.02)
    noise = fit.budget().table.set_index("component").loc["noise"]
    assert noise["u"] == pytest.approx(np.sqrt(np.mean(df.u**2)), rel=1e-6)


def test_more_rows_join_those_that_are_named() -> None:
    df = table()
    named = pd.DataFrame(decaying(12), df.index, df.index)
    fit = model(u="u", correlation=named).fit(df[:11], draws=2000, seed=1, progress=False)
    later = df[11:].assign(y=3.0)
    whole = pd.concat([df[:11], later])
    expected = truth(whole, decaying(12) * np.outer(df.u, df.u))[1]
    found = fit.update(later).tree["posterior"]
    assert [float(found[n].mean()) for n in ("constant", "effect_x_slope")] == pytest.approx(list(expected), abs=0.02)


def test_inferred_noise_limits_and_a_log_link_stand_beside_it() -> None:
    df = table()
    covariance = decaying(12) * np.outer(df.u, df.u)
    problem = model(True, u="u", correlation=np.ones((12, 12))).bind(df)  # singular: one error of all
    assert System(problem).at({"noise_scale": 0.4}).log_marginal == pytest.approx(truth(df, np.outer(df.u, df.u), 0.4)[0], abs=1e-8)
    positive = df.assign(y=np.exp(df.y), u=df.u * np.exp(df.y))
    logged = rm.Model(
        **{f: getattr(model(u="u", correlation=decaying(12)), f) for f in ("theory", "material", "observation")},
        response="y",
        link="log",
    )
    assert System(logged.bind(positive)).at({}).log_marginal == pytest.approx(truth(df, covariance)[0], abs=1e-8)


def test_the_pymc_model_is_the_same() -> None:
    import pytensor

    df = table(6)
    made = model(u="u", correlation=decaying(6))
    problem = made.bind(df)
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        log = made.to_pymc(df).compile_logp()
    rng = np.random.default_rng(1)
    at = [{"constant": 2 + rng.normal(), "effect_x_slope": rng.normal(), "noise_correlated": rng.normal(size=5)} for _ in range(2)]
    term = problem.observation.together(problem.table)
    assert term is not None

    def ours(b: dict[str, Any]) -> float:
        eta = b["constant"] + b["effect_x_slope"] * df.x + term.loading @ b["noise_correlated"]
        prior = stats.norm(0, 3).logpdf(b["constant"]) + stats.norm(0, 2).logpdf(b["effect_x_slope"])
        return float(prior + stats.norm.logpdf(b["noise_correlated"]).sum() + stats.norm(eta, term.noise.u).logpdf(df.y).sum())

    assert float(log(at[0]) - log(at[1])) == pytest.approx(ours(at[0]) - ours(at[1]), rel=1e-8)


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        ({"u": "u", "correlation": [[1.0, 0.5]]}, "square matrix"),
        ({"u": "u", "correlation": [[1.0, 0.5], [0.2, 1.0]]}, "not symmetric"),
        ({"u": "u", "correlation": [[1.0, 2.0], [2.0, 1.0]]}, "negative eigenvalue"),
        ({"u": "u", "correlation": [[0.04, 0.0], [0.0, 0.04]]}, "covariance and states u itself; leave u= out"),
        ({"correlation": [[1.0, 0.5], [0.5, 1.0]]}, "which u= must give"),
        ({"u": "u", "correlation": [[1.0, 1.0], [1.0, 1.0]]}, "singular.*common="),
        ({"u": "u", "correlation": [[1.0, 0.5], [0.5, 1.0]], "dof": 3.0, "kept_above": 0.0}, "kept_above=, dof="),
        ({"u": "u", "correlation": [[1.0, np.nan], [np.nan, 1.0]]}, "not finite"),
    ],
)
def test_what_is_no_correlation_is_refused_where_it_is_written(noise: dict[str, Any], said: str) -> None:
    with pytest.raises(rm.ModelError, match=said):
        model(**noise)


def test_a_matrix_of_other_rows_is_refused() -> None:
    df = table()
    with pytest.raises(rm.DataError, match=r"11 x 11, but the table has 12 rows.*DataFrame"):
        model(u="u", correlation=decaying(11)).bind(df)
    other = pd.DataFrame(decaying(2), ["a", "b"], ["a", "b"])
    with pytest.raises(rm.DataError, match="names none of the table's rows"):
        model(u="u", correlation=other).bind(df)
    with pytest.raises(rm.DataError, match="r2: a reading whose error goes with others needs a stated u"):
        model(True, u="u", correlation=decaying(12)).bind(df.assign(u=df.u.where(df.index != "r2")))
    with pytest.raises(rm.ModelError, match="same labels"):
        model(u="u", correlation=pd.DataFrame(decaying(2), ["a", "b"], ["b", "a"]))
