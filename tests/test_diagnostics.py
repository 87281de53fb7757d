"""The check of a fit: right fits pass, and each fault that is built in is found and named."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from misfits import FAULTS, laboratory, named
from scipy import stats

import realmat as rm
from realmat.engines import exact
from realmat.posterior.draws import Draws, Posterior
from realmat.validation.diagnostics import check, warning
from realmat.validation.sensitivity import sensitivity


def table(tails: float | None = None, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    m = np.repeat(np.arange(40), 5)
    noise = rng.normal(size=200) if tails is None else rng.standard_t(tails, 200)
    return pd.DataFrame({"y": 1 + rng.normal(0, 0.5, 40)[m] + 0.3 * noise, "mat": m})


def fitted(df: pd.DataFrame, **parts: object) -> Posterior:
    parts = {"theory": rm.theory.Constant(), "material": rm.material.Unresolved(by="material"), **parts}
    problem = rm.Model("y", levels={"material": "mat"}, **parts).bind(df)  # type: ignore[arg-type]
    return Posterior(problem, exact.sample(problem, 400, 4, 1, progress=False))


@pytest.fixture(scope="module")
def good() -> Posterior:
    return fitted(table())


def verdicts(posterior: Posterior) -> dict[str, str]:
    found = check(posterior).table
    return {part: "bad" if "bad" in set(v) else "look" if "look" in set(v) else "ok" for part, v in found.groupby("part")["verdict"]}


def test_a_right_model_passes(good: Posterior) -> None:
    found = check(good)
    assert found.ok
    assert found.text == "Nothing stands out: the fit can be used."
    assert set(found.table["verdict"]) == {"ok"}
    assert set(found.table["part"]) == {"convergence", "misfit", "prior", "calibration", "influence", "components"}
    assert found.findings is not None
    assert len(found.findings) == 0
    assert warning(good) == ""


def test_chains_that_disagree_make_the_fit_not_ok(good: Posterior) -> None:
    shift = np.array([0.0, 0.0, 0.0, 0.2])[:, None]
    params = {**good.draws.params, "noise_scale": good.draws.params["noise_scale"] + shift}
    found = check(Posterior(good.problem, dataclasses.replace(good.draws, params=params)))
    assert not found.ok
    assert "did not converge (largest R-hat (noise_scale)" in found.text
    assert warning(Posterior(good.problem, dataclasses.replace(good.draws, params=params))).startswith("The fit did not converge")


def test_divergences_are_counted(good: Posterior) -> None:
    diverging = np.zeros(good.shape, dtype=bool)
    diverging[0, :3] = True
    few = Posterior(good.problem, dataclasses.replace(good.draws, stats={"diverging": diverging}))
    assert verdicts(few)["convergence"] == "look"
    diverging[:, :30] = True
    many = Posterior(good.problem, dataclasses.replace(good.draws, stats={"diverging": diverging}))
    assert "divergent transitions 120" in warning(many)


def test_a_prior_that_contradicts_the_data_is_named() -> None:
    """The constant's prior is 30 of its standard deviations off; a prior of the right place is not named."""
    model = rm.Model(
        "y",
        levels={"material": "mat"},
        theory=rm.theory.Constant(rm.Prior("Normal", mu=4, sigma=0.1)),
        material=rm.material.Unresolved(by="material"),
    )
    found = model.fit(table(), draws=250, seed=1, progress=False).check()
    assert found.ok  # converged, but not to be left unsaid
    assert found.findings is not None
    assert found.findings["finding"].tolist() == ["a level that the prior holds in the wrong place"]
    assert "model.with_theory(*model.theory[:0], dataclasses.replace(model.theory[0], value=None)" in found.text
    right = model.with_theory(rm.theory.Constant(rm.Prior("Normal", mu=1, sigma=0.5)))
    tight = dataclasses.replace(model, material=(), theory=rm.theory.Constant(rm.Prior("Normal", mu=4, sigma=0.3)))
    assert "Prior and data contradict each other on constant" in tight.fit(table(), draws=250, seed=1, progress=False).check().text
    assert "contradict" not in right.fit(table(), draws=250, seed=1, progress=False).check().text


def test_a_scale_the_data_do_not_know_is_named() -> None:
    df = table().assign(lab="a")
    problem = rm.Model("y", theory=rm.theory.Constant(), observation=rm.observation.Normal(bias_by="lab")).bind(df)
    found = check(Posterior(problem, exact.sample(problem, 250, 4, 1, progress=False)))
    text = found.text
    assert "least contraction of the prior (bias_lab_scale)" in set(found.table["item"])
    assert "constant and bias_lab compensate each other" in text


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_named_and_answered_by_code_that_runs(fault: str) -> None:
    """One table each; their rates are in tests/validate/test_check_rates.py."""
    model, df = laboratory(np.random.default_rng(4), fault)
    found = model.fit(df, draws=100, seed=1, progress=False).check()
    assert found.findings is not None
    assert named(found.findings, fault), found.findings
    change = found.findings["change"].iloc[0]
    assert change in found.text
    scope = {"model": model, "data": df.copy(), "rm": rm, "dataclasses": dataclasses, "changed": None}
    *first, last = change.removeprefix("model.fit(").removesuffix(")" if change.startswith("model.fit(") else "").split("; ")
    for line in (*first, last if " = " in last else f"changed = {last}"):
        exec(line, scope)
    if fault == "wrong material":  # the label alone is what the code can put right; its theory is that of the other material
        assert not scope["data"]["mat"].equals(df["mat"])
    else:
        assert isinstance(scope["changed"], rm.Model | pd.DataFrame)


def test_columns_that_the_model_does_not_use_are_looked_at() -> None:
    rng = np.random.default_rng(2)
    df = table().assign(humidity=rng.uniform(20, 60, 200), operator=rng.choice(["x", "y", "z"], 200), empty=np.nan)
    model = rm.Model("y", levels={"material": "mat"}, theory=rm.theory.Constant(), material=rm.material.Unresolved(by="material"))
    wet = model.fit(df.assign(y=df["y"] + 0.6 * (df["humidity"] - 40) / 12), draws=100, seed=1, progress=False).check()
    assert wet.findings is not None
    assert wet.findings["finding"].iloc[0] == "a trend with humidity"
    assert "rm.material.Effect('humidity')" in wet.text
    apart = model.fit(df.assign(y=df["y"] + 0.5 * (df["operator"] == "x")), draws=100, seed=1, progress=False).check()
    assert apart.findings is not None
    assert apart.findings["finding"].iloc[0] == "differences between values of operator"


def test_scores_are_those_of_dense_algebra() -> None:
    """e = V^-1 (y - mu) over the root of its variance, whatever cells hold."""
    from realmat.validation.misfit import marginal

    rng = np.random.default_rng(0)
    df = pd.DataFrame({"mat": np.repeat(np.arange(6), 4), "y": rng.normal(3, 1, 24)})
    theory = rm.theory.Constant(rm.Prior("Normal", mu=3, sigma=2))
    parts = {"theory": theory, "material": rm.material.Unresolved(by="material", scale=rm.Prior("HalfNormal", sigma=1))}
    problem = rm.Model("y", levels={"material": "mat"}, **parts, observation=rm.observation.Normal(scale=0.3)).bind(df)  # type: ignore[arg-type]
    draws = Draws({"unresolved_material_scale": np.full((1, 50), 0.5)}, exact.sample(problem, 50, 1, 1, progress=False).coefficients)
    found = marginal.pivots(Posterior(problem, draws), 1, np.random.default_rng(1))
    same = df["mat"].to_numpy()[:, None] == df["mat"].to_numpy()
    v = 4.0 + 0.25 * same + 0.09 * np.eye(24)
    e = np.linalg.solve(v, df["y"].to_numpy() - 3)
    assert found.layers[0].z[0] == pytest.approx(e / np.sqrt(np.diag(np.linalg.inv(v))), rel=1e-8)
    sums = (np.eye(6)[df["mat"]]).T
    moves = sums @ e / np.sqrt(np.diag(sums @ np.linalg.inv(v) @ sums.T))
    assert found.layers[1].z[0] == pytest.approx(moves, rel=1e-8)
    taken = found.without([np.eye(24)[:, [3]]])
    rest = np.delete(np.arange(24), 3)
    left = np.linalg.solve(v[np.ix_(rest, rest)], df["y"].to_numpy()[rest] - 3)
    exact_sd = np.sqrt(np.diag(np.linalg.inv(v[np.ix_(rest, rest)])))
    assert taken is not None
    assert taken.layers[0].z[0][rest] == pytest.approx(left / exact_sd, rel=1e-8)  # a free coefficient of a row leaves the row out
    assert taken.layers[0].z[0][3] == 0


def test_sensitivity_of_a_normal_mean_is_that_of_its_closed_form() -> None:
    """Scaling a normal prior of a mean, or its normal likelihood, by a power moves the posterior in closed form."""
    y = np.random.default_rng(0).normal(1.0, 1.0, 10)
    prior = rm.Prior("Normal", mu=0, sigma=0.5)
    problem = rm.Model("y", theory=rm.theory.Constant(prior), observation=rm.observation.Normal(scale=1.0)).bind(pd.DataFrame({"y": y}))

    def posterior(prior_power: float, data_power: float) -> stats.rv_continuous:
        precision = 10 * data_power + 4 * prior_power
        return stats.norm(data_power * y.sum() / precision, precision**-0.5)

    base = posterior(1, 1)
    draws = base.ppf((np.random.default_rng(0).permutation(4000) + 0.5) / 4000).reshape(4, 1000, 1)
    got = sensitivity(Posterior(problem, Draws({}, {"constant": draws})), 4000)
    x = np.linspace(draws.min(), draws.max(), 100_001)

    def distance(scaled: stats.rv_continuous, sign: int) -> float:
        p, q = (d.cdf(x) if sign > 0 else d.sf(x)[::-1] for d in (base, scaled))
        both = p * np.log2(2 * p / (p + q)) + q * np.log2(2 * q / (p + q))
        return float(np.sqrt(both.sum() / (p + q).sum()))

    for group, moved in {"prior": lambda a: posterior(a, 1), "likelihood": lambda a: posterior(1, a)}.items():
        down, up = (max(distance(moved(a), 1), distance(moved(a), -1)) for a in (0.99, 1.01))
        want = (-down / np.log2(0.99) + up / np.log2(1.01)) / 2
        assert got.loc["constant", group] == pytest.approx(want, rel=0.05)
