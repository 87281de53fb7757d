"""Advice against brute force: take the measurement, and see how far the target's variance falls."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from scipy.special import softmax

import realmat as rm
from realmat.algebra import System, dense
from realmat.attribution.advise import advise
from realmat.engines import exact
from realmat.posterior.draws import Draws, Posterior
from realmat.terms.problem import Problem
from realmat.terms.term import Noise, Piece, measured

P = rm.Prior
VALUES = {"unresolved_material_scale": 0.6, "unresolved_specimen_scale": 0.4, "effect_z_slope": 0.5, "effect_z_sd": 1.0}


def table(seed: int = 0, materials: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    m = np.repeat(np.arange(materials), rng.integers(4, 9, materials))
    piece = np.arange(len(m)) // 2 + 100 * m
    z = rng.normal(size=1000)[piece] + rng.normal(0, 0.3, len(m))
    y = rng.normal(0, 0.6, materials)[m] + rng.normal(0, 0.4, 1000)[piece] + 0.5 * z + rng.normal(0, 0.3, len(m))
    reading = np.where(np.arange(len(m)) % 4 == 0, z, np.nan)
    return pd.DataFrame({"y": y, "u": rng.choice([0.2, 0.4], len(m)), "mat": m, "piece": piece, "z": reading, "zu": 0.3})


def model(**noise: object) -> rm.Model:
    return rm.Model(
        "y",
        levels={"material": "mat", "specimen": "piece"},
        theory=rm.theory.Constant(P("Normal", mu=0, sigma=3)),
        material=[
            rm.material.Effect("z", u="zu", slope=P("HalfNormal", sigma=1)),
            rm.material.Unresolved(by="material", scale=P("HalfNormal", sigma=1)),
            rm.material.Unresolved(by="specimen", scale=P("HalfNormal", sigma=1)),
        ],
        observation=rm.observation.Normal(u="u", scale=False, **noise),
    )


def at_values(df: pd.DataFrame) -> Posterior:
    """A posterior whose hyperparameters are known."""
    return Posterior(model().bind(df), Draws({name: np.full((1, 1), v) for name, v in VALUES.items()}, {}))


def target_variance(problem: Problem, rows: np.ndarray) -> float:
    """Mean variance of the noiseless values of some rows at known hyperparameters, by dense algebra."""
    _, cov = dense.posterior(problem, VALUES)
    matrix = System(problem).response(VALUES)[0].toarray()[problem.cell][rows]
    return float(np.einsum("ij,jk,ik->i", matrix, cov.astype(float), matrix).mean())


def with_row(df: pd.DataFrame, action: str, what: str) -> pd.DataFrame:
    """The table after one more measurement, of a known piece or of a new one."""
    label = int(what.replace(" again", "").split()[-1])
    bare = ~df["piece"].isin(df.loc[df["z"].notna(), "piece"])
    same = df["piece"] == label if action == "repeat" else (df["mat"] == label) & bare
    row = df[same].head(1).assign(z=np.nan)
    return pd.concat([df, row if action == "repeat" else row.assign(piece=10_000 + len(df))], ignore_index=True)


def after(df: pd.DataFrame, action: str, what: str) -> Problem:
    """The problem after an action. A reading is added by hand: in the table it would also change the default prior of the population."""
    if action != "characterise":
        return model().bind(with_row(df, action, what))
    problem = model().bind(df)
    term = problem.term("effect_z")
    states = next(c for c in term.coefficients if c.name == "effect_z")
    pick = sparse.csr_matrix((np.asarray(states.coords) == int(what.split()[-1])).astype(float)[None])
    reading = measured("reading", np.zeros(1), (Piece("effect_z", pick),), Noise(np.array([0.3]), np.array([-1])))
    more = dataclasses.replace(term, rows=(*term.rows, reading))
    return dataclasses.replace(problem, terms=tuple(more if t is term else t for t in problem.terms))


def test_falls_are_those_of_taking_each_measurement() -> None:
    df = table(materials=4)
    found = advise(at_values(df)).table
    every = np.arange(len(df))
    before = target_variance(model().bind(df), every)
    some = found.groupby("action").head(5)
    assert set(some["action"]) == {"repeat", "characterise", "specimen"}
    for _, r in some.iterrows():
        now = target_variance(after(df, r["action"], r["what"]), every)
        assert r["fall"] == pytest.approx(before - now, rel=1e-6), r["what"]
        assert r["share"] == pytest.approx((before - now) / before, rel=1e-6)


def test_chosen_rows_are_the_target() -> None:
    df = table()
    rows = np.array([3, 4, 8])
    found = advise(at_values(df), target=df.index[rows])
    best = found.table.iloc[0]
    before = target_variance(model().bind(df), rows)
    assert best["fall"] == pytest.approx(before - target_variance(after(df, best["action"], best["what"]), rows), rel=1e-6)
    assert found.target_u == pytest.approx(np.sqrt(before))
    assert "of 3 chosen rows" in found.title


def test_a_batch_is_greedy_and_exact() -> None:
    df = table()
    plan = advise(at_values(df), actions=["repeat", "specimen"], batch=3, costs={"specimen": 1.5}).plan
    every, now = np.arange(len(df)), df
    before = target_variance(model().bind(df), every)
    for _, r in plan.iterrows():
        now = with_row(now, r["action"], r["what"])
        then = target_variance(model().bind(now), every)
        assert r["fall"] == pytest.approx(before - then, rel=1e-6)
        before = then
    assert plan["cost"].isin([1.0, 1.5]).all()


def test_the_same_action_may_be_chosen_again() -> None:
    df = pd.DataFrame({"y": [0.0, 1.0], "piece": [1, 2]})
    own = rm.Model(
        "y", levels={"specimen": "piece"}, theory=rm.theory.Constant(0.0), material=rm.material.Unresolved(by="specimen", scale=1.0),
        observation=rm.observation.Normal(scale=2.0),
    )  # fmt: skip
    posterior = Posterior(own.bind(df), Draws({}, {}))
    plan = advise(posterior, actions="repeat", target=[0], batch=3).plan
    assert list(plan["what"]) == ["specimen 1 again"] * 3
    variances = [1 / (1 + n / 4) for n in (1, 2, 3, 4)]  # of one normal mean measured n times
    np.testing.assert_allclose(plan["fall"], -np.diff(variances), rtol=1e-9)


def test_new_materials_of_a_candidate_table_inform_what_they_share() -> None:
    """A measurement of a new material lowers the variance of that new material's other specimens most."""
    df = table()
    new = pd.DataFrame({"mat": [70, 70, 71], "piece": [701, 702, 711], "z": np.nan, "zu": 0.3, "u": 0.2})
    found = advise(at_values(df), actions=new, target=new.iloc[[1]], read=model().prediction_table).table
    assert list(found["action"]) == ["measure"] * 3
    falls = dict(zip(found["what"], found["fall"], strict=True))
    blind = pd.concat([df, new.iloc[[1]].assign(y=0.0, u=1e6)], ignore_index=True)  # a row that says nothing
    before = target_variance(model().bind(blind), np.array([len(df)]))
    for k in range(3):
        more = pd.concat([blind, new.iloc[[k]].assign(y=0.0)], ignore_index=True)
        now = target_variance(model().bind(more), np.array([len(df)]))
        assert falls[f"row {k} of the candidates"] == pytest.approx(before - now, rel=1e-5)
    assert falls["row 2 of the candidates"] < 0.2 * falls["row 0 of the candidates"]


def test_a_stated_u_of_a_characterisation_counts_in_the_columns_unit() -> None:
    posterior = at_values(table())
    sharp = advise(posterior, actions={"characterise": {"effect_z": 0.1}}).table.set_index("what")
    blunt = advise(posterior, actions={"characterise": 1.0}).table.set_index("what").loc[sharp.index]
    np.testing.assert_allclose(blunt["u"] ** 2 - sharp["u"] ** 2, 1.0**2 - 0.1**2, rtol=1e-9)
    assert (sharp["fall"] > blunt["fall"]).all()


def test_a_better_theory_value_is_ranked_where_theory_has_u() -> None:
    df = table().assign(pbe=lambda d: d["y"] + np.random.default_rng(4).normal(0.1, 0.2, len(d)))
    own = rm.Model(
        "y", levels={"material": "mat", "specimen": "piece"}, theory=rm.theory.Calibrated("pbe", u=0.2),
        material=rm.material.Unresolved(by="material"),
    )  # fmt: skip
    problem = own.bind(df)
    posterior = Posterior(problem, exact.sample(problem, 50, 2, 1, progress=False))
    found = advise(posterior, actions={"theory": 0.05}).table
    assert set(found["action"]) == {"theory"}
    assert (found["fall"] > 0).all()


@pytest.fixture(scope="module")
def uncertain() -> Posterior:
    problem = model().bind(table(1, 8))
    return Posterior(problem, exact.sample(problem, 500, 4, 1, progress=False))


def expected_fall(posterior: Posterior, line: object, k: int, goal: object, indices: np.ndarray, rng: np.random.Generator) -> float:
    """E over y of the fall in the target's variance, hyperparameters reweighted by every simulated measurement y: no linear prediction."""
    mean, var, gain, centre = [], [], [], []
    for i in indices:
        values = posterior.values(int(i))
        at = posterior.system.at(values)
        (x, a), (t, c) = line.at(posterior, values), goal.at(posterior, values)
        cross = at.cov(t, x[[k]])[:, 0]
        fresh = sum((sd[k] ** 2 for _, sd in line.fresh(values)), 0.0)
        mean.append((x[[k]] @ at.mean + a[k]).item())
        var.append(at.variances(x[[k]])[0] + fresh + line.noise(posterior, values)[k])
        gain.append(cross / var[-1])
        centre.append(t @ at.mean + c)
    m, v, g, e = np.array(mean), np.array(var), np.stack(gain), np.stack(centre)
    y = m + np.sqrt(v) * stats.norm.ppf((rng.permutation(len(m)) + 0.5) / len(m))
    weight = softmax(stats.norm.logpdf(y[:, None], m, np.sqrt(v)), axis=1)
    predicted = weight @ e + y[:, None] * (weight @ g) - weight @ (g * m[:, None])
    return float(predicted.var(axis=0).mean())


def test_with_uncertain_hyperparameters_the_ranking_is_that_of_simulated_measurements(uncertain: Posterior) -> None:
    from realmat.attribution.candidates import fitted_rows, new_pieces, repeats, states

    found = advise(uncertain).table.set_index("what")
    indices = uncertain.thin(120)
    goal = fitted_rows(uncertain, np.arange(len(uncertain.problem.table)))
    rng = np.random.default_rng(0)
    want = {}
    for line in (*repeats(uncertain), *states(uncertain, "material", "characterise"), *new_pieces(uncertain)):
        for k in np.linspace(0, len(line) - 1, 5).astype(int):
            want[line.what[k]] = expected_fall(uncertain, line, int(k), goal, indices, rng)
    got = found.loc[list(want), "fall"].to_numpy()
    brute = np.array(list(want.values()))
    assert stats.spearmanr(got, brute).statistic > 0.95
    assert got.sum() / brute.sum() == pytest.approx(1, abs=0.1)  # 120 simulated values each: a few per cent


def test_effects_that_are_not_linear_are_served_by_draws(uncertain: Posterior, monkeypatch: pytest.MonkeyPatch) -> None:
    from realmat.attribution import advise as module

    exactly = advise(uncertain).table.set_index("what")["fall"]
    monkeypatch.setattr(module, "nonlinear_terms", lambda problem: [("effect_z", None)])
    found = advise(uncertain)
    sampled = found.table.set_index("what")["fall"].loc[exactly.index]
    assert "Monte Carlo" in found.text
    assert np.corrcoef(exactly, sampled)[0, 1] > 0.9
    assert sampled.iloc[:10].sum() == pytest.approx(exactly.iloc[:10].sum(), rel=0.15)


def test_impossible_requests_are_refused(uncertain: Posterior) -> None:
    with pytest.raises(rm.ModelError, match="unknown action: 'repat' \\(did you mean 'repeat'"):
        advise(uncertain, actions=["repat"])
    with pytest.raises(rm.ModelError, match="positive and finite, not repeat: -1"):
        advise(uncertain, costs={"repeat": -1})
    with pytest.raises(rm.ModelError, match="the fit has no row 12345"):
        advise(uncertain, target=[0, 12345])
    with pytest.raises(rm.ModelError, match="no candidates for theory"):
        advise(uncertain, actions=["theory"])
    with pytest.raises(rm.ModelError, match="needs a table"):
        advise(uncertain, actions=["measure"])


def test_costs_change_the_ranking(uncertain: Posterior) -> None:
    dear = advise(uncertain, costs={"repeat": 1000.0, "specimen": 1000.0})
    assert dear.table["action"].iloc[0] == "characterise"
    assert "Best next: effect_z of specimen" in dear.text
    np.testing.assert_allclose(dear.table["per_cost"], dear.table["share"] / dear.table["cost"])
