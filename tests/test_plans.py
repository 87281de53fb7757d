"""Budgets of means, and the cheapest mean: against variance components divided by their numbers."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

import realmat as rm

P = rm.Prior
SPECIMEN, LAB, NOISE = 0.7, 0.5, 0.3


def rows(labs: int = 3, pieces: int = 4, each: int = 2) -> pd.DataFrame:
    index = pd.MultiIndex.from_product([range(pieces), range(labs), range(each)], names=["piece", "lab", "n"])
    df = index.to_frame(index=False).assign(x=lambda d: 1.0 + d["piece"] % 2, lab=lambda d: "L" + d["lab"].astype(str))
    return df.assign(y=np.random.default_rng(1).normal(5, 1, len(df)))


def nested(**changes: Any) -> rm.Model:
    """Every variance is fixed, so that aleatoric parts are known."""
    parts = {
        "levels": {"specimen": "piece", "lab": "lab"},
        "theory": rm.theory.Constant(),
        "material": rm.material.Unresolved(by="specimen", scale=SPECIMEN),
        "observation": rm.observation.Normal(scale=NOISE, bias_by="lab", bias_scale=LAB),
    }
    return rm.Model("y", unit="MPa", **{**parts, **changes})


@cache
def fitted() -> rm.Fit:
    return nested().fit(rows(), draws=300, seed=1, progress=False)


def aleatoric(budget: Any) -> dict[str, float]:
    table = budget.table[budget.table["kind"] == "aleatoric"]
    return dict(zip(table["component"], table["u"] ** 2, strict=True))


@pytest.mark.parametrize(("readings", "labs", "pieces"), list(product((1, 3), (1, 2), (1, 4))))
def test_variance_components_are_divided_by_their_numbers(readings: int, labs: int, pieces: int) -> None:
    plan = {"observation": readings, "lab": labs, "specimen": pieces}
    budget = fitted().budget(new="specimen", average=plan)
    found = aleatoric(budget)
    assert found["unresolved_specimen"] == pytest.approx(SPECIMEN**2 / pieces)
    assert found["bias_lab"] == pytest.approx(LAB**2 / labs)
    assert found["noise"] == pytest.approx(NOISE**2 / (readings * labs * pieces))
    assert budget.table["share"].sum() == pytest.approx(1)
    one = fitted().budget(new="specimen", average={"observation": 1, "lab": 1})
    own = [b.table.set_index(["component", "kind"])["u"][("constant", "epistemic")] for b in (budget, one)]
    assert own[0] == pytest.approx(own[1])  # what all readings share does not average away


def test_what_is_known_stays_known() -> None:
    """On a known specimen only the noise falls; in laboratories that took part their biases are known."""
    found = aleatoric(fitted().budget(average={"observation": 4}))
    assert found == {"noise": pytest.approx(NOISE**2 / 4)}
    assert set(aleatoric(fitted().budget(average={"observation": 4, "lab": 2}))) == {"noise", "bias_lab"}
    text = fitted().budget(new="specimen", average={"observation": 3, "lab": 2}).text
    assert "Y as the mean of 3 readings in each of 2 laboratories on a new specimen of a known material" in text
    assert "on each of 2 new specimens of a known material" in fitted().budget(new="specimen", average={"specimen": 2}).title


def test_single_rows_are_pieces_where_no_specimens_are_declared() -> None:
    model = nested(levels={"lab": "lab"}, material=rm.material.Unresolved(by="row", scale=SPECIMEN))
    fit = model.fit(rows(), draws=100, seed=1, progress=False)
    found = aleatoric(fit.budget(new="specimen", average={"observation": 3, "lab": 2, "specimen": 2}))
    assert [found[name] for name in ("unresolved_row", "bias_lab", "noise")] == pytest.approx([SPECIMEN**2 / 2, LAB**2 / 2, NOISE**2 / 12])
    with pytest.raises(rm.ModelError, match='without a level "specimen" a piece that the fit has seen cannot be told'):
        fit.budget(average={"lab": 2})
    model = nested(material=[rm.material.Unresolved(by="specimen", scale=SPECIMEN), rm.material.Unresolved(by="row", scale=0.2)])
    found = aleatoric(model.fit(rows(), draws=100, seed=1, progress=False).budget(new="specimen", average={"observation": 3, "lab": 2}))
    assert found["unresolved_row"] == pytest.approx(0.04 / 6)  # each reading has its own
    assert found["unresolved_specimen"] == pytest.approx(SPECIMEN**2)


def test_slopes_and_states_of_a_mean() -> None:
    """A slope by laboratory counts with its column; a state that was measured once stays measured once."""
    slopes = rm.material.Effect("x", level="row", slope=0.0, slope_by="lab", slope_scale=0.4)
    fit = nested(material=[rm.material.Unresolved(by="specimen", scale=SPECIMEN), slopes]).fit(rows(), draws=100, seed=1, progress=False)
    rest = pd.DataFrame({"piece": ["new"], "x": [-3.0], "lab": ["L0"]})
    assert aleatoric(fit.budget(new="specimen", data=rest, average={"lab": 5}))["effect_x"] == pytest.approx(9 * 0.16 / 5)
    state = rm.material.Effect("x", u=0.3, slope=2.0)
    df = rows().assign(x=lambda d: 1.0 + 0.1 * d["piece"]).assign(x=lambda d: d["x"].where(d["n"] + d["lab"].str[1].astype(int) == 0))
    fit = nested(material=[state, rm.material.Unresolved(by="specimen", scale=SPECIMEN)]).fit(df, draws=200, seed=1, progress=False)
    new = rest.assign(x=1.2)
    one, six = (aleatoric(fit.budget(new="specimen", data=new, average=plan)) for plan in ({"lab": 1}, {"lab": 6, "observation": 2}))
    assert one["effect_x"] == pytest.approx(six["effect_x"])
    assert six["unresolved_specimen"] == pytest.approx(SPECIMEN**2)
    bare = aleatoric(fit.budget(new="specimen", data=rest.assign(x=np.nan), average={"lab": 2}))
    assert bare["effect_x"] > one["effect_x"]


def test_a_log_link_and_counts() -> None:
    df = rows().assign(y=lambda d: np.exp(d["y"] / 5))
    log = nested(link="log").fit(df, draws=100, seed=1, progress=False)
    assert aleatoric(log.budget(new="specimen", average={"observation": 3, "lab": 2}))["noise"] == pytest.approx(NOISE**2 / 6)
    counts = nested(observation=rm.observation.Poisson()).fit(rows().assign(y=20), draws=100, seed=1, progress=False)
    one, four = (aleatoric(counts.budget(new="specimen", average={"observation": n})) for n in (1, 4))
    assert four["noise"] == pytest.approx(one["noise"] / 4)


def test_the_cheapest_plan_is_that_of_a_search_through_all() -> None:
    fit, costs = fitted(), {"observation": 1.0, "lab": 6.0, "specimen": 10.0}
    target = 0.62
    found = fit.plans(target, costs, new="specimen", most=12)
    one = fit.budget(new="specimen", average=dict.fromkeys(costs, 1), draws=1000)
    epistemic = one.u**2 - SPECIMEN**2 - LAB**2 - NOISE**2
    best = (np.inf, np.inf, ())
    for n, labs, pieces in product(range(1, 13), repeat=3):
        u = np.sqrt(epistemic + SPECIMEN**2 / pieces + LAB**2 / labs + NOISE**2 / (n * labs * pieces))
        cost = n * labs * pieces * 1.0 + 6.0 * labs + 10.0 * pieces
        if u <= target:
            best = min(best, (cost, u, (n, labs, pieces)))
    assert tuple(found.best.values()) == best[2]
    row = found.table[found.table["reaches"]].iloc[0]
    assert (row["cost"], row["u"]) == (pytest.approx(best[0]), pytest.approx(best[1]))
    assert fit.budget(new="specimen", average=found.best, draws=1000).u == pytest.approx(row["u"])
    assert found.floor == pytest.approx(np.sqrt(epistemic))
    assert (np.diff(found.table["cost"]) > 0).all()
    assert (np.diff(found.table["u"]) < 0).all()
    assert found.plot().axes
    assert "The cheapest plan that reaches u = 0.62 MPa is the mean of" in found.text


def test_a_target_below_the_floor_says_which_layer_is_the_floor() -> None:
    with pytest.raises(
        rm.ModelError, match=r"no plan reaches u = 0.5 MPa: with endless repetition of readings and lab u = 0.\d+ MPa remains, "
    ):
        fitted().plans(0.5, {"observation": 1, "lab": 5}, new="specimen")
    with pytest.raises(rm.ModelError, match="the real material"):
        fitted().plans(0.5, {"observation": 1}, new="specimen")
    with pytest.raises(rm.ModelError, match=r"with at most 2 of lab it is .*; allow more with most="):
        fitted().plans(0.9, {"lab": 1}, new="specimen", most=2)


def test_what_cannot_be_averaged_is_refused() -> None:
    with pytest.raises(rm.ModelError) as error:
        fitted().budget(average={"observation": 0, "specimen": 2, "oven": 2})
    for part in ("observation=0 must be a whole number", 'new="specimen" or new="material"', "'oven' is neither 'observation' nor"):
        assert part in str(error.value)
    with pytest.raises(rm.ModelError, match="target_u=-1 must be a positive"):
        fitted().plans(-1, {"observation": 1})
    with pytest.raises(rm.ModelError, match="costs must be numbers, none negative"):
        fitted().plans(1.0, {"observation": -1})


def test_one_property_of_several() -> None:
    df = rows().assign(z=lambda d: d["y"] * 3)
    hardness = rm.Model(
        "z",
        levels={"specimen": "piece", "lab": "lab"},
        theory=rm.theory.Constant(),
        material=rm.material.Unresolved(by="specimen", scale=2.0),
        observation=rm.observation.Normal(scale=0.9),
    )
    fit = rm.Joint([nested(), hardness]).fit(df, draws=100, seed=1, progress=False)
    found = aleatoric(fit.budget(new="specimen", average={"observation": 3, "lab": 2}, of="y"))
    assert found["noise"] == pytest.approx(NOISE**2 / 6)
    assert found["bias_lab"] == pytest.approx(LAB**2 / 2)
    with pytest.raises(rm.ModelError, match="of which property"):
        fit.plans(1.0, {"observation": 1})
    assert fit.plans(0.95, {"observation": 1, "lab": 3}, new="specimen", of="y").best


def test_a_level_inside_another_is_another_in_each() -> None:
    """Sections cut from specimens (nested variance components, Searle, Casella & McCulloch 1992, section 4.6), and what they cost."""
    section = 0.4
    df = rows().assign(section=lambda d: d["piece"].astype(str) + (d["n"] % 2).map({0: "a", 1: "b"}))
    parts = [rm.material.Unresolved(by="specimen", scale=SPECIMEN), rm.material.Unresolved(by="section", scale=section)]
    fit = nested(material=parts).fit(df, draws=100, seed=1, progress=False)
    found = aleatoric(fit.budget(new="specimen", average={"observation": 3, "specimen": 2, "section": 4, "lab": 2}))
    assert found["unresolved_specimen"] == pytest.approx(SPECIMEN**2 / 2)
    assert found["unresolved_section"] == pytest.approx(section**2 / 8)
    assert found["bias_lab"] == pytest.approx(LAB**2 / 2)
    assert found["noise"] == pytest.approx(NOISE**2 / 48)
    table = fit.plans(0.6, {"specimen": 10.0, "section": 3.0, "lab": 1.0}, new="specimen", most=8).table
    cost = 10 * table["specimen"] + 3 * table["specimen"] * table["section"] + table["lab"]
    assert list(table["cost"]) == pytest.approx(list(cost))
    row = table.iloc[-1]
    plan = {level: int(row[level]) for level in ("specimen", "section", "lab")}
    assert fit.budget(new="specimen", average=plan, draws=1000).u == pytest.approx(row["u"])


def test_a_drift_averages_over_runs_not_over_readings_of_one_time() -> None:
    rng = np.random.default_rng(2)
    run, t = np.repeat(np.arange(4), 30), np.tile(np.linspace(0, 60.0, 30), 4)
    y = 3 + 0.5 * np.sin(t / 9 + run) + 0.1 * rng.standard_normal(120)
    df = pd.DataFrame({"y": y, "minutes": t, "run": [f"R{k}" for k in run], "piece": "p"})
    drift = rm.observation.Drift(along="minutes", by="run", scale=0.5, lengthscale=0.6)
    levels, noise = {"specimen": "piece"}, rm.observation.Normal(scale=NOISE, drift=drift)
    fit = rm.Model("y", levels=levels, theory=rm.theory.Constant(), observation=noise).fit(df, draws=100, seed=1, progress=False)
    one = aleatoric(fit.budget(average={"observation": 1, "run": 1}))
    found = aleatoric(fit.budget(average={"observation": 3, "run": 2}))
    assert one["drift_run"] == pytest.approx(0.25, rel=0.02)
    assert found["drift_run"] == pytest.approx(one["drift_run"] / 2)
    assert found["noise"] == pytest.approx(NOISE**2 / 6)
    assert set(aleatoric(fit.budget(average={"observation": 3}))) == {"noise"}  # of a run that took part the drift is known
    plan = fit.plans(0.3, {"observation": 1.0, "run": 5.0}).best
    assert plan["run"] >= 3
