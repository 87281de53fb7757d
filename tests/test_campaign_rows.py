"""The rows that a campaign asks for: in the user's units, with what is known, and told back as they were meant."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import realmat as rm

STEEL = rm.Model(
    "ys",
    unit="MPa",
    levels={"specimen": "piece"},
    theory=rm.theory.Calibrated("T"),
    material=[rm.material.GrainSize("grain", u="grain_u"), rm.material.Unresolved(by="specimen")],
    observation=rm.observation.Normal(u="ys_u"),
    units={"ys": "GPa"},
)


def steel() -> pd.DataFrame:
    """Strength in GPa, as the model says, grain size in mm, as the table says."""
    rng = np.random.default_rng(2)
    piece = np.repeat(np.arange(20), 3)
    temperature, grain = rng.uniform(20, 600, 20), np.exp(rng.normal(3, 0.6, 20))
    y = 500 + 0.2 * temperature[piece] + 600 / np.sqrt(grain[piece]) + rng.normal(0, 20, 20)[piece] + rng.normal(0, 10, 60)
    read = np.where((piece % 2 == 0) & (np.arange(60) % 3 == 0), grain[piece], np.nan)
    columns = {"ys": y / 1000, "ys_u": 0.01, "T": temperature[piece], "grain": read / 1000, "grain_u": 0.05 * read / 1000}
    df = pd.DataFrame({**columns, "piece": [f"p{k}" for k in piece]})
    df.attrs["units"] = {"grain": "mm"}
    return df


@pytest.fixture(scope="module")
def fit() -> rm.Fit:
    return STEEL.fit(steel(), draws=300, chains=2, seed=1, progress=False)


def test_ask_and_tell_speak_the_units_of_the_table(fit: rm.Fit, tmp_path) -> None:
    """A table of GPa and mm under a model that works in MPa and um: what is asked for is told back as it was."""
    loaded = rm.load(fit.save(tmp_path / "fit.nc"))
    for start in (fit, loaded):
        campaign = rm.Campaign(start, actions={"repeat": None, "characterise": None})
        todo = pd.concat([campaign.ask(1), rm.Campaign(start, actions=["characterise"]).ask(1)], ignore_index=True)
        assert list(zip(todo["measure"], todo["unit"], strict=True)) == [("ys", "GPa"), ("grain", "mm")]
        again, read = todo.iloc[0], todo.iloc[1]
        assert again["ys_u"] == pytest.approx(0.01)  # as that piece was measured before
        assert np.isnan(again["grain"])  # its reading, if any, was told already
        known = steel().query("piece == @again.piece").iloc[0]
        assert again["T"] == known["T"]
        assert read["grain_u"] == pytest.approx(float(steel()["grain_u"].median()))
        campaign.tell(todo.assign(ys=[known["ys"], np.nan], grain=[np.nan, 0.02]))
        table = campaign.fit.problem.table.whole
        np.testing.assert_allclose(table.numeric("ys")[-2:], [1000 * known["ys"], np.nan])
        np.testing.assert_allclose(table.numeric("ys_u")[-2], 10)
        np.testing.assert_allclose(table.numeric("grain")[-2:], [np.nan, 20])


def test_a_record_keeps_the_units_of_what_was_told(fit: rm.Fit, tmp_path) -> None:
    """Rows told in other units than those of the table say so, here and when the campaign goes on."""
    campaign = rm.Campaign(fit, path=tmp_path / "c.jsonl")
    row = pd.DataFrame({"ys": [712.0], "ys_u": [12.0], "T": [100.0], "piece": ["new"]})
    row.attrs["units"] = {"ys": "MPa", "ys_u": "MPa"}
    campaign.tell(row)
    campaign.tell(pd.DataFrame({"ys": [0.7], "ys_u": [0.01], "T": [100.0], "piece": ["new"]}))
    for seen in (campaign, rm.Campaign(fit, path=tmp_path / "c.jsonl")):
        np.testing.assert_allclose(seen.fit.problem.table.whole.numeric("ys")[-2:], [712, 700])


def test_candidates_keep_what_is_known_of_them(fit: rm.Fit) -> None:
    """Their own readings join the fit with them, limits as limits."""
    pool = pd.DataFrame({"T": [50.0, 90.0], "grain": [0.02, "<0.01"], "grain_u": [0.001, np.nan], "ys_u": 0.02, "piece": ["x", "y"]})
    todo = rm.Campaign(fit, actions=pool).ask(2).sort_values("piece")
    assert list(todo["grain"]) == ["<0.01", pytest.approx(0.02)][::-1]
    np.testing.assert_allclose(todo["ys_u"], 0.02)
    table = STEEL.further_table(todo.assign(ys=0.8), fit.problem.table.units)
    np.testing.assert_allclose(table.numeric("grain"), [20, 10])
    np.testing.assert_array_equal(table.limit("grain"), [0, -1])


def test_only_what_a_row_can_say_is_asked_for() -> None:
    """Where every row is a piece of its own, another row is another piece: nothing can be repeated, no piece characterised."""
    rng = np.random.default_rng(3)
    x, z = rng.normal(size=(2, 40))
    df = pd.DataFrame({"y": x + z + rng.normal(0, 0.3, 40), "x": x, "z": np.where(np.arange(40) % 2, z, np.nan)})
    model = rm.Model("y", theory=rm.theory.Calibrated("x"), material=rm.material.Effect("z"))
    todo = rm.Campaign(model.fit(df, draws=200, chains=2, seed=1, progress=False)).ask(3)
    assert set(todo["action"]) == {"specimen"}
    assert "z" not in todo.columns
    with pytest.raises(rm.ModelError, match="'cost', a column that a campaign uses itself"):
        rm.Campaign(rm.Model("y", theory=rm.theory.Calibrated("cost")).fit(df.assign(cost=x), draws=100, chains=2, seed=1, progress=False))


def test_several_properties() -> None:
    """Each action fills the column of its own property, and tells no measurement again."""
    rng = np.random.default_rng(5)
    z = rng.normal(size=30)
    df = pd.DataFrame({"a": z + rng.normal(0, 0.3, 30), "b": np.where(np.arange(30) < 10, 2 * z + rng.normal(0, 0.3, 30), np.nan)})
    df["piece"] = [f"p{k}" for k in range(30)]
    rest = rm.material.Unresolved(by="specimen")
    members = [rm.Model(r, levels={"specimen": "piece"}, theory=rm.theory.Constant(), material=rest) for r in "ab"]
    joint = rm.Joint(members, correlate=["unresolved_specimen"]).fit(df, draws=300, chains=2, seed=1, progress=False)
    campaign = rm.Campaign(joint.of("b"), df.loc[10:, ["piece", "a"]], actions=["property", "repeat"], costs={"a": 50.0, "repeat": 3.0})
    todo = campaign.ask(2)
    assert list(todo["measure"]) == ["b", "b"]
    assert set(todo["action"]) == {"property"}
    assert "a" not in todo.columns
    campaign.tell(todo.assign(b=0.1))
    assert len(campaign.fit.problem.table) == 12
    assert len(campaign.fit.of("a").problem.table) == 30


def test_whole_numbers_stay_labels() -> None:
    """Candidates called by numbers beside a target that does not name pieces; and each is paid for by its own cost."""
    rng = np.random.default_rng(6)
    df = pd.DataFrame({"y": rng.normal(0, 1, 12), "alloy": np.arange(12) % 4, "piece": np.arange(12)})
    rest = rm.material.Unresolved(by="material")
    model = rm.Model("y", unit="MPa", levels={"material": "alloy", "specimen": "piece"}, theory=rm.theory.Constant(), material=rest)
    pool = pd.DataFrame({"alloy": [0, 1], "piece": [20, 21]})
    fit = model.fit(df, draws=100, chains=2, seed=1, progress=False)
    campaign = rm.Campaign(fit, pd.DataFrame({"alloy": [0, 1]}), actions={"measure": pool, "repeat": None}, costs={"repeat": 3.0})
    todo = campaign.ask(4)
    assert [str(piece) for piece in todo["piece"]] == [str(int(piece)) for piece in todo["piece"]]
    campaign.tell(todo.assign(y=0.0))
    step = campaign.record.of("tell")[0]
    assert step["costs"] == [3.0 if action == "repeat" else 1.0 for action in step["action"]]
    assert campaign.unit == "MPa"
    assert campaign.plot().axes[0].get_ylabel().endswith("(MPa)")
