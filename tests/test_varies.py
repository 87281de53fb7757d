"""Curves whose parameters differ from piece to piece: recovered, drawn anew, and kept in a file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import realmat as rm


def saturation(pressure: Any, capacity: Any, constant: Any) -> Any:
    """Langmuir's isotherm."""
    return capacity * constant * pressure / (1 + constant * pressure)


def isotherms(pieces: int = 8, points: int = 8, seed: int = 1) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    s = np.repeat(np.arange(pieces), points)
    p = np.tile(np.geomspace(0.05, 20, points), pieces)
    capacity = np.exp(rng.normal(np.log(3.0), 0.15, pieces))
    q = saturation(p, capacity[s], 0.9) + rng.normal(0, 0.03, s.size)
    return pd.DataFrame({"q": q, "pressure": p, "piece": [f"p{i}" for i in s]}), capacity


def model(**changes: Any) -> rm.Model:
    capacity = rm.Varies("LogNormal", by="specimen", mu=rm.Prior("Normal", mu=1.0, sigma=1.0), sigma=rm.Prior("HalfNormal", sigma=0.5))
    params = {"capacity": capacity, "constant": rm.Prior("LogNormal", mu=0.0, sigma=1.0)}
    theory = rm.theory.Function(saturation, columns=["pressure"], params=params, **changes)
    return rm.Model("q", unit="mmol/g", levels={"specimen": "piece"}, theory=theory)


def test_capacities_come_back_and_a_new_piece_draws_its_own() -> None:
    df, capacity = isotherms()
    made = model()
    assert made == rm.Model.from_dict(made.to_dict())
    fit = made.fit(df, seed=1, draws=400, progress=False)
    post = fit.tree["posterior"]
    found, sd = post["function_capacity"].mean(("chain", "draw")).values, post["function_capacity"].std(("chain", "draw")).values
    assert np.all(np.abs(found - capacity) < 4.5 * sd)
    new = pd.DataFrame({"piece": ["new", "new", "p0"], "pressure": [10.0, 0.5, 10.0]})
    out = fit.predict(new, draws=2000, seed=1)
    spread = float(post["function_capacity_sigma"].mean())
    assert out["sd"].values[0] == pytest.approx(saturation(10.0, 3.0, 0.9) * spread, rel=0.4)
    assert out["sd"].values[2] < 0.1
    assert np.corrcoef(out["draws"].values[:, :2].T)[0, 1] > 0.9
    shares = fit.budget(new="specimen").table
    assert shares["share"].sum() == pytest.approx(1)
    assert ((shares["component"] == "function") & (shares["kind"] == "aleatoric")).any()
    ratio = fit.derive(lambda p: p["function_capacity"].sel(specimen="p0") / p["function_capacity"].sel(specimen="p1"))
    assert ratio.table["value"].iloc[0] == pytest.approx(capacity[0] / capacity[1], abs=4 * ratio.table["u"].iloc[0])
    pair = fit.contrast("function_capacity", ["p0", "p1"])
    assert pair.table.loc["p0 - p1", "value"] == pytest.approx(capacity[0] - capacity[1], abs=4 * pair.table["u"].iloc[0])


def test_an_uncertain_column_widens_what_is_learnt() -> None:
    df = isotherms(4, 6)[0].assign(p_u=lambda d: 0.1 * d["pressure"])
    problem = model(u={"pressure": "p_u"}).bind(df)
    (error,) = [q for q in problem.params if q.name == "function_pressure_error"]
    assert error.size == len(df)
    made = problem.term("function").contribute(model(u={"pressure": "p_u"}).prediction_table(df.iloc[:2].assign(piece="new")))
    assert len(made.fresh) == 2


def test_wrong_distributions_are_refused() -> None:
    with pytest.raises(rm.ModelError, match="unknown prior distribution"):
        rm.Varies("LogNormals", by="specimen", mu=0.0, sigma=1.0)
    with pytest.raises(rm.ModelError, match="Varies: by='row' must be the name of a level or a column"):
        rm.Varies("Normal", by="row", mu=0.0, sigma=1.0)


def test_a_round_robin_has_the_tables_of_e691() -> None:
    """Hand calculation: cell means 1 and 3 of each material, standard deviations of the pairs root 2 times 0.1."""
    rows = [
        (lab, m, base + off + d) for lab, off in (("A", -1.0), ("B", 1.0)) for m, base in (("x", 2.0), ("z", 20.0)) for d in (-0.1, 0.1)
    ]
    df = pd.DataFrame(rows, columns=["lab", "material", "y"])
    made = rm.Model(
        "y", levels={"material": "material", "lab": "lab"}, theory=rm.theory.Constant(), material=rm.material.Unresolved(by="material")
    )
    fit = made.with_observation(rm.observation.Normal(bias_by="lab")).fit(df, seed=1, draws=100, progress=False)
    found = fit.repeatability(by="material")
    s_r, s_x = np.sqrt(0.02), np.sqrt(2.0)
    assert found.table.loc["x", "s_r"] == pytest.approx(s_r)
    assert found.table.loc["x", "s_R"] == pytest.approx(np.sqrt(s_x**2 + s_r**2 / 2))
    assert found.table.loc["z", "R"] == pytest.approx(2.8 * np.sqrt(s_x**2 + s_r**2 / 2))
    np.testing.assert_allclose(np.abs(found.consistency["h"]), np.sqrt(0.5))
    np.testing.assert_allclose(found.consistency["k"], 1.0)
    assert found.plot().axes
