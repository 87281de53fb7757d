"""Updates of every kind of fit: consensus of theories, several properties, heavy tails and limits, curves; each as a new fit says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.engines import choice
from realmat.posterior.draws import Posterior

REST = rm.material.Unresolved(by="specimen")


def distances(fit: rm.Fit, draws: int = 1000) -> dict[str, float]:
    """Of means from those of a fit from the start of the very same problem, in standard deviations."""
    again = Posterior(fit.problem, choice.run(fit.problem, "exact", draws, 4, 7, False))
    every = {name: (value, again.draws.params[name]) for name, value in fit.posterior.draws.params.items()}
    every |= {c.name: (fit.posterior.draws.coefficients[c.name], again.draws.coefficients[c.name]) for c in fit.problem.coefficients}
    return {n: float(np.max(np.abs(x.mean((0, 1)) - y.mean((0, 1))) / y.std((0, 1)))) for n, (x, y) in every.items()}


def test_calculations_of_a_consensus(tmp_path) -> None:
    """Calculations without a measurement, of known materials; a new material with both. Files keep them.

    Draws of the Gibbs sampler are worth some 100 at least: 0.14 standard deviations between two of them.
    """
    rng = np.random.default_rng(1)
    t = rng.normal(3, 1, 22)
    theories = {"A": t + 0.5 + rng.normal(0, 0.3, 22), "B": 1.1 * t + rng.normal(0, 0.2, 22)}
    df = pd.DataFrame({"y": t + rng.normal(0, 0.3, 22), **theories, "mat": [f"m{k}" for k in range(22)]})
    first = df.iloc[:20].assign(B=df["B"].where(df.index < 12))
    model = rm.Model("y", levels={"material": "mat"}, theory=rm.theory.Consensus(["A", "B"], errors="one"))
    base = model.fit(first, draws=100, seed=1, progress=False)
    fit = base.update({"mat": ["m14", "m15"], "B": list(df["B"][14:16])}).update(df.iloc[20:21])
    assert fit.facts["update"] == "reweighted"
    assert len(fit.problem.table) == 21
    ran = next(term.update for term in fit.problem.terms if term.update is not None).calculations.x
    np.testing.assert_allclose(ran[14:17, 1] + base.problem.scale.level, [*df["B"][14:16], np.nan])
    worst = distances(fit, 100)
    assert max(worst.values()) < 0.45, worst
    before, after = (f.posterior.draws.coefficients["consensus"][..., 14] for f in (base, fit))
    assert after.std() < before.std()
    again = rm.load(fit.save(tmp_path / "fit.nc"))
    assert np.array_equal(again.posterior.draws.coefficients["consensus"], fit.posterior.draws.coefficients["consensus"])
    assert again.update(df.iloc[21:]).facts["update"] == "reweighted"


def test_calculations_of_rows_that_are_materials_of_their_own() -> None:
    """Without a level each row has an ideal value; one that was only calculated is there, too, and asks for its other theories."""
    rng = np.random.default_rng(3)
    t = rng.normal(0, 1, 20)
    df = pd.DataFrame({"y": t + rng.normal(0, 0.3, 20), "A": t + rng.normal(0, 0.3, 20), "B": t + rng.normal(0, 0.2, 20)})
    base = rm.Model("y", theory=rm.theory.Consensus(["A", "B"], errors="one")).fit(df, draws=40, seed=1, progress=False)
    fit = base.update({"A": [0.5]})
    assert list(fit.advise("theory").table["what"]) == ["B of row 20"]


def test_several_properties() -> None:
    """One property of a known piece, both of a new one; seen through the property that was asked for."""
    rng = np.random.default_rng(5)
    z = rng.normal(size=41)
    df = pd.DataFrame({"a": z + rng.normal(0, 0.3, 41), "b": np.where(np.arange(41) < 25, 2 * z + rng.normal(0, 0.3, 41), np.nan)})
    df["piece"] = [f"p{k}" for k in range(41)]
    noise = rm.observation.Normal(scale=0.3)
    members = [rm.Model(r, levels={"specimen": "piece"}, theory=rm.theory.Constant(), material=REST, observation=noise) for r in "ab"]
    base = rm.Joint(members, correlate=["unresolved_specimen"]).fit(df.iloc[:40], seed=1, progress=False).of("b")
    fit = base.update({"piece": ["p30"], "b": [2 * z[30]]}).update(df.iloc[40:].assign(b=2 * z[40]))
    assert fit.facts["update"] == "reweighted"
    assert (fit.problem.response, len(fit.problem.table), len(fit.of("a").problem.table)) == ("b", 27, 41)
    assert fit.predict(df.iloc[[40]].drop(columns=["a", "b"])).sizes == {"row": 1, "component": 3}
    worst = distances(fit)
    assert max(worst.values()) < 0.2, worst


def curve_table() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    piece, t = np.repeat(np.arange(14), 3), rng.normal(0, 1, 14)
    y = 0.5 + t[piece] + rng.normal(0, 0.4, 14)[piece] + 0.2 * rng.standard_t(4, 42)
    return pd.DataFrame({"y": y, "t": t[piece], "piece": piece})


def test_heavy_tails_go_on_from_where_the_chains_were() -> None:
    """A new fit that starts from the draws of the old one warms up for less, and says the same as one from the start."""
    df = curve_table()
    tails = rm.observation.StudentT(nu=5)
    model = rm.Model("y", levels={"specimen": "piece"}, theory=rm.theory.Calibrated("t"), material=REST, observation=tails)
    base = model.fit(df.iloc[:39], draws=250, seed=1, progress=False)
    fit = base.update(df.iloc[39:])
    assert "heavy tails" in fit.facts["update"]
    assert fit.facts["warm_up"] < base.facts["warm_up"]
    worst = distances(fit, 250)
    assert max(worst.values()) < 0.3, worst  # some 25 numbers from 400 draws each: 0.07, and three times that for the largest


def test_a_limit_is_fitted_anew() -> None:
    """The first reading that is only a limit changes what kind of fit it is."""
    model = rm.Model("y", levels={"specimen": "piece"}, theory=rm.theory.Calibrated("t"), material=REST)
    base = model.fit(curve_table(), draws=250, seed=1, progress=False)
    fit = base.update({"y": ["<-1"], "t": [0.0], "piece": [0]})
    assert "limits" in fit.facts["update"]
    assert fit.facts["engine"] == "exact"
    where = fit.posterior.draws.coefficients["unresolved_specimen"][..., 0]
    assert where.mean() < base.posterior.draws.coefficients["unresolved_specimen"][..., 0].mean()


def test_a_curve_beyond_where_it_was_measured() -> None:
    """A row outside the range of a descriptor widens the basis of the curve: weights and refits count with the same one."""
    rng = np.random.default_rng(4)
    x = rng.uniform(0, 1, 40)
    df = pd.DataFrame({"y": np.sin(4 * x) + rng.normal(0, 0.2, 40), "x": x})
    base = rm.Model("y", theory=rm.theory.Constant(), material=rm.material.Discrepancy(on=["x"])).fit(df, seed=2, progress=False)
    fit = base.update({"y": [np.sin(5.2)], "x": [1.3]})
    assert fit.facts["update"] == "reweighted"
    worst = distances(fit)
    assert max(worst.values()) < 0.3, worst


@pytest.mark.parametrize("rows", [{"y": [1.0], "t": [0.1], "piece": [0], "mat": ["other"]}, {"piece": [0]}])
def test_rows_that_say_nothing_or_the_wrong_thing(rows) -> None:
    """Nothing is taken in silently."""
    df = curve_table().assign(mat=lambda d: d["piece"] // 2)
    model = rm.Model("y", levels={"specimen": "piece", "material": "mat"}, theory=rm.theory.Calibrated("t"), material=REST)
    base = model.fit(df, draws=100, chains=2, seed=1, progress=False)
    with pytest.raises(rm.DataError):
        base.update(rows)
