"""Latent measured states against closed forms: shrinkage, attenuation, populations, detection limits, new specimens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import realmat as rm
from realmat.algebra import System
from realmat.terms.problem import Problem
from realmat.terms.readings import IDENTITY, LOG, power, read, rows_in
from realmat.terms.state import LatentState
from realmat.terms.term import evaluate

EXACT = {"theory": rm.theory.Constant(0.0), "observation": rm.observation.Normal()}


def bound(df: pd.DataFrame, component: Any, **changes: Any) -> tuple[rm.Model, Problem]:
    model = rm.Model("y", **{"material": component, "levels": {"specimen": "piece"}, **EXACT, **changes})
    return model, model.bind(df)


def posterior(problem: Problem, name: str, **psi: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sd of a block of coefficients at fixed hyperparameters."""
    system = System(problem)
    at = system.at({**system.example, **psi})
    where = system.columns[name]
    return at.mean[where], np.sqrt(np.diag(at.cov(_identity(system.size))))[where]


def _identity(n: int) -> Any:
    from scipy import sparse

    return sparse.identity(n, format="csr")


# --- readings -------------------------------------------------------------------------------------------------------------------


def test_limits_are_read_in_all_three_ways() -> None:
    df = pd.DataFrame(
        {"y": 1.0, "piece": range(6), "O": [50, "<20", np.nan, 8, 30, np.nan], "lod": [20.0, np.nan, 20.0, 20.0, np.nan, np.nan]}
    )
    model = rm.Model("y", material=rm.material.Impurity("O", below="lod"))
    by_column = read(model.table(df), "O", None, "lod", IDENTITY)
    np.testing.assert_array_equal(by_column.censored, [0, -1, -1, -1, 0, 0])  # written, empty at a limit, under its limit
    np.testing.assert_array_equal(by_column.value, [50, 20, 20, 20, 30, np.nan])
    np.testing.assert_allclose(by_column.u, [0, 20 / 3.29, 20 / 3.29, 20 / 3.29, 0, 0])  # Currie 1995
    by_number = read(model.table(df), "O", None, 40.0, IDENTITY)
    np.testing.assert_array_equal(by_number.censored, [0, -1, 0, -1, -1, 0])  # an empty cell is not a limit
    np.testing.assert_array_equal(by_number.value[[3, 4]], [40, 40])


def test_u_follows_the_transform_to_first_order() -> None:
    df = pd.DataFrame({"y": 1.0, "d": [4.0, 25.0], "ud": [0.8, 5.0]})
    table = rm.Model("y", material=rm.material.GrainSize("d", u="ud")).table(df)
    rooted = read(table, "d", "ud", None, power(-0.5))
    np.testing.assert_allclose(rooted.value, [0.5, 0.2])
    np.testing.assert_allclose(rooted.u / rooted.value, 0.1)  # 20 % of d are 10 % of d^-1/2
    np.testing.assert_allclose(read(table, "d", "ud", None, LOG).u, 0.2)


def test_a_limit_from_below_is_one_from_above_on_a_falling_scale() -> None:
    df = pd.DataFrame({"y": 1.0, "d": [4.0, 25.0]})
    table = rm.Model("y", material=rm.material.GrainSize("d")).table(df)
    assert read(table, "d", None, 10.0, power(-0.5)).censored.tolist() == [1, 0]


def test_units_of_u_and_limit_follow_the_column() -> None:
    df = pd.DataFrame({"y": 1.0, "d": [0.004, 0.025], "ud": [0.001, 0.001]})
    table = rm.Model("y", material=rm.material.GrainSize("d", u="ud"), units={"d": "mm"}).table(df)
    np.testing.assert_allclose(table.numeric("d"), [4, 25])
    np.testing.assert_allclose(table.numeric("ud"), [1, 1])


# --- the state ------------------------------------------------------------------------------------------------------------------


def test_a_reading_is_shrunk_to_its_population() -> None:
    """With slope 0 the state knows its reading alone: precision-weighted mean of reading and population."""
    rng = np.random.default_rng(3)
    df = pd.DataFrame({"y": rng.normal(size=40), "piece": range(40), "x": rng.normal(5, 2, 40)})
    _, problem = bound(df, rm.material.Effect("x", u=1.5))
    tau, u = 2.0, 1.5
    mean, sd = posterior(problem, "effect_x", effect_x_slope=0.0, effect_x_sd=tau)
    mu, mu_sd = posterior(problem, "effect_x_mean", effect_x_slope=0.0, effect_x_sd=tau)
    trust = tau**2 / (tau**2 + u**2)
    np.testing.assert_allclose(mean, trust * df["x"] + (1 - trust) * mu, rtol=1e-10)
    np.testing.assert_allclose(sd**2, trust * u**2 + ((1 - trust) * mu_sd[0]) ** 2, rtol=1e-10)


def test_marginal_density_is_the_bivariate_normal_of_errors_in_variables() -> None:
    """(y, c) of each specimen is normal with cov [[b^2 t^2 + s^2, b t^2], [b t^2, t^2 + u^2]] around (b mu, mu)."""
    rng = np.random.default_rng(4)
    n, b, t, s, u = 30, 0.7, 2.0, 0.4, 1.1
    df = pd.DataFrame({"y": rng.normal(size=n), "piece": range(n), "x": rng.normal(5, 2, n)})
    _, problem = bound(df, rm.material.Effect("x", u=u))
    centre, width = df["x"].mean(), 2.5 * df["x"].std(ddof=0)  # the default prior of the population's mean
    block = np.array([[b**2 * t**2 + s**2, b * t**2], [b * t**2, t**2 + u**2]])
    shared = width**2 * np.array([[b**2, b], [b, 1.0]])
    cov = np.kron(block, np.eye(n)) + np.kron(shared, np.ones((n, n)))
    truth = stats.multivariate_normal(np.repeat([b * centre, centre], n), cov).logpdf(np.concatenate([df["y"], df["x"]]))
    found = System(problem).at({"effect_x_slope": b, "effect_x_sd": t, "noise_scale": s}).log_marginal
    assert found == pytest.approx(truth, rel=1e-10)


def test_repeated_readings_add_their_precisions() -> None:
    df = pd.DataFrame({"y": [1.0, 2.0, 3.0, 0.5], "piece": [0, 0, 0, 1], "x": [4.0, 6.0, 5.0, 1.0]})
    model, problem = bound(df, rm.material.Effect("x", u=0.5))
    mean, _ = posterior(problem, "effect_x", effect_x_slope=0.0, effect_x_sd=1e6)
    assert mean[0] == pytest.approx(5.0)
    _, sd = posterior(problem, "effect_x", effect_x_slope=0.0, effect_x_sd=1e6)
    np.testing.assert_allclose(sd, [0.5 / np.sqrt(3), 0.5], rtol=1e-6)
    same = df.assign(x=[4.0, 4.0, 4.0, 1.0])
    said = "2 readings repeat one of the same"
    assert any(said in note for note in model.bind(same).terms[1].cautions)
    fit = model.fit(same, draws=100, chains=2, seed=1, progress=False)
    for checked in (model.check(same), fit.check()):
        assert said in checked.text
        assert checked.table["value"].astype(str).str.contains(said).sum() == 1
    assert not len(fit.check().findings)


def test_known_and_inferred_states_are_reported_together() -> None:
    df = pd.DataFrame({"y": [1.0, 2.0, 3.0, 0.5], "piece": list("abcd"), "d": [4.0, np.nan, 25.0, np.nan]})
    model, problem = bound(df, rm.material.GrainSize("d"))
    fit = model.fit(df, seed=1, draws=50, chains=2, progress=False)
    states = fit.tree["posterior"]["grain_size_d"]
    assert states.dims == ("chain", "draw", "specimen")
    assert states["specimen"].values.tolist() == list("abcd")
    np.testing.assert_allclose(states.sel(specimen=["a", "c"]), np.broadcast_to([4.0, 25.0], (2, 50, 2)))
    assert states.sel(specimen="b").std() > 0
    assert problem.terms[1].notes == ("d: measured for 2 of 4 specimens; the rest is inferred.",)


def test_known_states_act_exactly_and_inform_the_population() -> None:
    df = pd.DataFrame({"y": [1.0, 2.0, 3.0], "piece": list("abc"), "x": [4.0, np.nan, 6.0]})
    _, problem = bound(df, rm.material.Effect("x"))
    contribution = problem.contributions[1]
    p = {"effect_x_slope": 2.0}
    np.testing.assert_allclose(contribution.offset(p, np), [8.0, 0.0, 12.0])  # type: ignore[misc]
    (rows,) = problem.terms[1].rows
    np.testing.assert_array_equal(rows.y, [4.0, 6.0])
    np.testing.assert_allclose(rows.noise.scales({"effect_x_sd": 3.0}, np), [3.0])  # type: ignore[misc]


def test_population_by_group() -> None:
    """Group means of exactly known states, at tiny within-group spread, are the group averages."""
    df = pd.DataFrame({"y": 1.0, "piece": range(6), "route": list("aaabbb"), "x": [1.0, 2.0, 3.0, 11.0, 12.0, np.nan]})
    df["y"] = np.arange(6.0)
    _, problem = bound(df, rm.material.Effect("x", by="route"))
    name = "effect_x"
    mean, _ = posterior(problem, f"{name}_mean", **{f"{name}_slope": 0.0, f"{name}_sd": 1e-3, f"{name}_between_sd": 1e3})
    np.testing.assert_allclose(mean, [2.0, 11.5], atol=1e-5)
    with pytest.raises(rm.DataError, match=r"'route'.*same specimen stands in another group"):
        bound(
            df.assign(piece=[0, 0, 1, 1, 2, 2], x=np.nan).assign(x=[1, np.nan, np.nan, 3, 2, np.nan], route=list("abaabb")),
            rm.material.Effect("x", by="route"),
        )


def test_curved_effects_of_new_specimens_have_the_moments_of_a_log_normal() -> None:
    rng = np.random.default_rng(6)
    df = pd.DataFrame({"y": rng.normal(size=20), "piece": range(20), "d": np.exp(rng.normal(1, 0.5, 20))})
    df.loc[::2, "d"] = np.nan
    model, problem = bound(df, rm.material.GrainSize("d", exponent=rm.Prior("Normal", mu=-0.5, sigma=0.1)))
    new = model.prediction_table(pd.DataFrame({"piece": ["new", "other"], "d": [np.nan, np.nan]}))
    contribution = problem.terms[1].contribute(new)
    name, m, s, k, n = "grain_size_d", 1.2, 0.4, 3.0, -0.6
    p = {f"{name}_mean": m, f"{name}_sd": s, f"{name}_slope": k, f"{name}_exponent": n}
    truth = stats.lognorm(s=abs(n) * s, scale=k * np.exp(n * m))
    b = {name: np.zeros(10)}
    mean = contribution.offset(p, np) + contribution.nonlinear(p, b, np)  # type: ignore[misc]
    np.testing.assert_allclose(mean, truth.mean(), rtol=1e-9)
    np.testing.assert_allclose(evaluate(contribution.fresh[0].sd, p), truth.std(), rtol=1e-6)


# --- new specimens --------------------------------------------------------------------------------------------------------------


def test_new_specimens_join_all_their_readings_to_the_population() -> None:
    df = pd.DataFrame({"y": np.arange(8.0), "piece": range(8), "x": np.arange(8.0)})
    model, problem = bound(df, rm.material.Effect("x", u=0.5))
    new = pd.DataFrame({"piece": ["n", "n", "m", 3], "x": [4.0, 6.0, np.nan, 100.0]})
    contribution = problem.terms[1].contribute(model.prediction_table(new))
    p = {"effect_x_slope": 2.0, "effect_x_sd": 1.0}
    system = System(problem)
    b = np.zeros(system.size)
    b[system.columns["effect_x_mean"]] = 3.0
    b[system.columns["effect_x"]] = np.arange(8.0)
    made = system.design(contribution, 4, p) @ b + contribution.offset(p, np)  # type: ignore[misc]
    precision = 2 / 0.5**2
    expected = (precision * 5.0 + 3.0) / (precision + 1)
    np.testing.assert_allclose(made, 2.0 * np.array([expected, expected, 3.0, 3.0]))  # the last one was seen: its reading here is not used
    (fresh,) = contribution.fresh
    sd = np.broadcast_to(evaluate(fresh.sd, p), 4)
    np.testing.assert_allclose(sd[:3], 2.0 * np.sqrt([1 / (precision + 1), 1 / (precision + 1), 1.0]))
    assert fresh.groups[0] == fresh.groups[1] != fresh.groups[2]
    assert fresh.groups[3] == -1


def test_a_specimen_of_a_group_never_seen_has_the_mean_of_all_groups() -> None:
    df = pd.DataFrame({"y": np.arange(8.0), "piece": range(8), "x": np.arange(8.0), "route": list("aaaabbbb")})
    df.loc[0, "x"] = np.nan
    model, problem = bound(df, rm.material.Effect("x", by="route"))
    contribution = problem.terms[1].contribute(model.prediction_table(pd.DataFrame({"piece": ["n"], "route": ["c"]})))
    p = {"effect_x_slope": 1.0, "effect_x_sd": 3.0, "effect_x_between_sd": 4.0}
    used = {piece.coefficients for piece in contribution.pieces if piece.matrix.nnz}
    assert used == {"effect_x_population"}
    assert float(np.ravel(evaluate(contribution.fresh[0].sd, p))[0]) == pytest.approx(5.0)


def test_the_same_label_in_another_table_is_not_the_same_row() -> None:
    df = pd.DataFrame({"y": np.arange(4.0), "x": [1.0, 2.0, np.nan, 4.0]})
    model = rm.Model("y", material=rm.material.Effect("x", u=0.1))
    table = model.table(df)
    np.testing.assert_array_equal(rows_in(table.take(np.array([2, 0])), table), [2, 0])
    np.testing.assert_array_equal(rows_in(model.table(df.assign(x=[1.0, 9.0, np.nan, 4.0])), table), [0, -1, 2, 3])
    np.testing.assert_array_equal(rows_in(model.prediction_table(df.drop(columns="y")), table), [0, 1, 2, 3])


# --- errors and stated consequences ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("component", "changes", "words"),
    [
        (rm.material.GrainSize("x"), {"x": [1.0, -2.0, 3.0, 4.0]}, "'x': grain size not above 0 in row 1"),
        (rm.material.Porosity("x"), {"x": [0.1, 0.2, 1.3, np.nan]}, "'x': porosity above 1 in row 2"),
        (rm.material.Porosity("x", law="power"), {"x": [0.1, 0.2, 1.0, np.nan]}, "'x': row 2: a value at the end of its range"),
        (rm.material.PhaseFraction("x", 1.0, 2.0), {"x": [0.1, -0.2, 0.3, np.nan]}, "'x': phase fraction below 0 in row 1"),
        (
            rm.material.Impurity("x", below="lod"),
            {"lod": [np.nan, -1.0, np.nan, np.nan]},
            "'lod': detection limit of impurity content not above 0",
        ),
        (rm.material.Impurity("x", log=True), {"x": [0.0, 1.0, 2.0, np.nan]}, "'x': impurity content not above 0 in row 0"),
        (rm.material.Effect("x", u="u"), {"u": [0.1, -0.1, 0.1, 0.1]}, "'u': u of effect below 0 in row 1"),
        (rm.material.Effect("x"), {"x": [np.nan] * 4}, "'x': no value anywhere"),
        (rm.material.Impurity("x"), {"x": ["<5", "<5", None, None]}, "no value anywhere but detection limits"),
        (rm.material.Effect("x", u=0.1), {"x": [2.0, 2.0, np.nan, 2.0]}, "'x': every value is the same"),
        (rm.material.Effect("x"), {"x": [2.0, 2.0, 2.0, 2.0]}, "'x': every value is the same"),
        (rm.material.Effect("x"), {"x": [2.0, 3.0, np.nan, 4.0], "piece": [0, 0, 1, 2]}, 'same specimen has different values.*level="row"'),
        (
            rm.material.Effect("x", below="lod"),
            {"lod": [np.nan, 0.0, np.nan, np.nan], "x": [1.0, np.nan, 2.0, 3.0]},
            "limit of zero needs a stated u",
        ),
    ],
)
def test_impossible_tables_are_errors_that_name_column_and_rows(component: Any, changes: dict[str, Any], words: str) -> None:
    df = pd.DataFrame({"y": [1.0, 2.0, 3.0, 4.0], "piece": range(4), "x": [0.1, 0.2, 0.3, np.nan], "u": 0.1, "lod": np.nan}).assign(
        **changes
    )
    with pytest.raises(rm.DataError, match=words):
        bound(df, component, link="log")


@pytest.mark.parametrize(
    "make", [lambda: rm.material.GrainSize("d", u=0.0), lambda: rm.material.Impurity("c", u=-1.0), lambda: rm.theory.Calibrated("t", u=0)]
)
def test_a_u_of_zero_given_as_a_number_is_refused(make: Any) -> None:
    with pytest.raises(rm.ModelError, match="must be a positive standard uncertainty; leave u out for values known exactly"):
        make()


@pytest.mark.parametrize("make", [lambda: rm.material.Impurity("c", below=-1.0), lambda: rm.material.Effect("c", log=True, below=0.0)])
def test_a_limit_below_zero_is_refused(make: Any) -> None:
    with pytest.raises(rm.ModelError, match="must be a detection limit above 0"):
        make()


def test_a_u_of_zero_in_a_column_means_not_stated_and_is_said() -> None:
    df = pd.DataFrame({"y": np.arange(6.0), "piece": range(6), "x": np.arange(6.0), "u": [0.2, 0.2, 0.0, np.nan, 0.2, 0.2]})
    _, problem = bound(df, rm.material.Effect("x", u="u"))
    assert "effect_x_unstated_scale" in [q.name for q in problem.params]
    (rows,) = problem.terms[1].rows
    np.testing.assert_array_equal(rows.noise.group, [-1, -1, 0, 0, -1, -1])
    assert any("u is empty or zero for 2 readings" in note for note in problem.terms[1].notes)


def test_gaps_in_new_rows_of_a_column_the_fit_knew_exactly() -> None:
    df = pd.DataFrame({"y": np.arange(4.0), "piece": range(4), "x": np.arange(4.0)})
    model, problem = bound(df, rm.material.Effect("x"))
    table = model.prediction_table(pd.DataFrame({"piece": ["n", "m"], "x": [1.0, np.nan]}))
    with pytest.raises(rm.DataError, match=r"'x': no value in row 1\. The fit saw no gap"):
        problem.terms[1].contribute(table)


def test_an_exact_column_costs_no_latent_state() -> None:
    df = pd.DataFrame({"y": np.arange(4.0), "piece": range(4), "x": np.arange(4.0)})
    _, problem = bound(df, rm.material.Effect("x"))
    assert [(c.name, c.size) for c in problem.terms[1].coefficients] == [("effect_x_slope", 1)]
    assert not LatentState("s", "x").needed(read(problem.table, "x", None, None, IDENTITY))
