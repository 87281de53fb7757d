"""Campaigns: what they ask for, that nothing told is lost, and that what was expected happens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

import realmat as rm
from realmat.campaign.record import Record
from realmat.campaign.targets import Best, Parameter, Passing, Predict

MODEL = rm.Model("y", levels={"specimen": "piece"}, theory=rm.theory.Constant(), material=rm.material.Unresolved(by="specimen"))


def table(pieces: int = 10) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    piece = np.repeat(np.arange(pieces), 2)
    return pd.DataFrame({"y": rng.normal(0, 1, pieces)[piece] + rng.normal(0, 0.4, 2 * pieces), "piece": [f"p{k}" for k in piece]})


@pytest.fixture(scope="module")
def fit() -> rm.Fit:
    return MODEL.fit(table(), seed=1, progress=False)


def known_scales() -> rm.Fit:
    """A fit whose updates are exact."""
    effect, noise = rm.material.Unresolved(by="specimen", scale=1.0), rm.observation.Normal(scale=0.4)
    known = rm.Model("y", levels={"specimen": "piece"}, theory=rm.theory.Constant(), material=effect, observation=noise)
    return known.fit(table(), seed=1, progress=False)


def test_the_loop() -> None:
    """It asks for what was measured least, stays within its budget, and with known scales the uncertainty falls exactly as expected."""
    thin = known_scales().update(pd.DataFrame({"y": [0.1, -0.2, 0.3], "piece": ["p0", "p0", "p0"]}))
    campaign = rm.Campaign(thin, costs={"repeat": 2.0, "specimen": 50.0}, budget=9)
    rng, truth = np.random.default_rng(5), np.random.default_rng(3).normal(0, 1, 10)
    expected, seen = [], []
    while not campaign.done:
        before = campaign.uncertainty**2
        todo = campaign.ask()
        assert list(todo["measure"]) == ["y"]
        assert list(todo["piece"]) != ["p0"]
        todo["y"] = truth[int(todo["piece"].iloc[0][1:])] + rng.normal(0, 0.4)
        campaign.tell(todo)
        expected.append(float(todo["gain"].sum()))
        seen.append(before - campaign.uncertainty**2)
    assert campaign.why_done == "the budget is spent"
    assert campaign.spent == 8.0
    assert seen == pytest.approx(expected, rel=1e-6)
    assert len(campaign.history) == 4
    assert campaign.plot().axes


def test_candidates_are_measured_once(fit: rm.Fit) -> None:
    pool = pd.DataFrame({"piece": ["p1", "p2", "p9"]}, index=["a", "b", "c"])
    campaign = rm.Campaign(fit, actions=pool)
    todo = campaign.ask(3)
    assert set(todo["what"]) == {f"row {k} of the candidates" for k in "abc"}
    campaign.tell(todo.assign(y=0.0))
    assert campaign.why_done == "nothing is left to measure"
    assert campaign.ask().empty


def test_a_record_goes_on(fit: rm.Fit, tmp_path) -> None:
    """What was told is taken in again; another fit, or another file, is refused."""
    path = tmp_path / "campaign.jsonl"
    first = rm.Campaign(fit, path=path)
    first.tell(first.ask(2).assign(y=[0.3, 0.4]))
    again = rm.Campaign(fit, path=path)
    assert again.spent == 2.0
    assert len(again.fit.problem.table) == 22
    assert again.uncertainty == pytest.approx(first.uncertainty, rel=0.05)
    with open(path, "ab") as file:
        file.write(b'{"step": 3, "kind": "te')  # the process was killed here
    once_more = rm.Campaign(fit, path=path)
    once_more.tell(pd.DataFrame({"y": [0.1], "piece": ["p3"]}))
    assert [s["kind"] for s in Record(path).steps] == ["start", "ask", "tell", "tell"]
    with pytest.raises(rm.FileError, match="began with other data"):
        rm.Campaign(once_more.fit, path=path)
    (tmp_path / "other.jsonl").write_text("[1]\n")
    with pytest.raises(rm.FileError, match="not the record"):
        rm.Campaign(fit, path=tmp_path / "other.jsonl")


@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.validate)])
def test_killed_at_any_moment(kills: int, tmp_path) -> None:
    """Whatever `tell` confirmed is there, whole, whenever the process dies."""
    script = Path(__file__).with_name("campaign_killed.py")
    run = subprocess.run([sys.executable, str(script), str(tmp_path / "c.jsonl"), str(kills)], capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stderr
    assert f"{kills} kills" in run.stdout
    print(run.stdout.strip())


def test_gains_are_those_of_their_definitions() -> None:
    """Against numerical integration over what the measurement may say."""
    rng = np.random.default_rng(2)
    mean, root = rng.normal(0, 1, 6), rng.normal(0, 0.5, (6, 6))
    cov = root @ root.T
    target, cross, variance = np.diag(cov), cov[:, :3], np.diag(cov)[:3] + 0.2
    moved = cross / np.sqrt(variance)

    def over(f) -> np.ndarray:
        return np.array([integrate.quad(lambda z, k=k: f(z, k) * stats.norm.pdf(z), -8, 8, limit=400)[0] for k in range(3)])

    gain = Best().gain(mean, cross, variance, target)
    np.testing.assert_allclose(gain, over(lambda z, k: np.max(mean + moved[:, k] * z)) - mean.max(), atol=2e-3)
    sd = np.sqrt(target)
    now = stats.norm.cdf(-np.abs(mean - 0.3) / sd).mean()

    def wrong(z: float, k: int) -> float:
        after = np.sqrt(target - moved[:, k] ** 2)
        return float(stats.norm.cdf(-np.abs(mean + moved[:, k] * z - 0.3) / after).mean())

    np.testing.assert_allclose(Passing(above=0.3).gain(mean, cross, variance, target), now - over(wrong), atol=1e-3)
    np.testing.assert_allclose(Predict().gain(mean, cross, variance, target), (moved**2).mean(axis=0))
    alone, sd = np.diag(target), np.sqrt(target)  # rows that tell of themselves alone, measured exactly
    improved = Best(by="expected_improvement").gain(mean, alone[:, :3], target[:3], target)
    np.testing.assert_allclose(improved, over(lambda z, k: max(mean[k] + sd[k] * z - mean.max(), 0.0)), rtol=1e-4)
    least = Best(by="expected_improvement", largest=False).gain(-mean, alone[:, :3], target[:3], target)
    np.testing.assert_allclose(least, improved)


def test_other_targets() -> None:
    rows = pd.DataFrame({"piece": [f"p{k}" for k in range(10)]})
    fit = MODEL.fit(table().assign(y=lambda d: 0.3 * d["y"] + np.tile([0.2, -0.2], 10)), seed=1, progress=False)  # none stands out
    one = Parameter("unresolved_specimen", "p4")
    for target in (Best(rows), Best(rows, by="expected_improvement"), Passing(rows, above=0.2), "constant", one):
        campaign = rm.Campaign(fit, target, actions=["repeat"])
        todo = campaign.ask()
        assert len(todo) == 1
        campaign.tell(todo.assign(y=0.0))
        assert np.isfinite(campaign.uncertainty)
    with pytest.raises(rm.ModelError, match="unknown parameter"):
        rm.Campaign(fit, "constants").ask()


def test_from_the_command_line(fit: rm.Fit, tmp_path, monkeypatch) -> None:
    from realmat.cli import run

    monkeypatch.chdir(tmp_path)
    fit.save("fit.nc")

    def realmat(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["realmat", "campaign", *arguments])
        return run()

    assert realmat("start", "fit.nc", "c.jsonl", "--budget", "3", "--cost", "specimen=50") == 0
    assert realmat("ask", "c.jsonl", "-n", "2", "-o", "todo.csv") == 0
    todo = pd.read_csv("todo.csv")
    todo["y"] = 0.2
    todo.to_csv("todo.csv", index=False)
    assert realmat("tell", "c.jsonl", "todo.csv") == 0
    assert realmat("report", "c.jsonl", "-o", "c.png") == 0
    assert os.path.getsize("c.png") > 1000
    assert [s["kind"] for s in Record("c.jsonl").steps] == ["start", "settings", "ask", "tell"]
    assert realmat("start", "fit.nc", "c.jsonl") == 1


def test_what_is_told_must_fit(fit: rm.Fit) -> None:
    campaign = rm.Campaign(fit)
    with pytest.raises(rm.DataError, match="nothing was filled in"):
        campaign.tell(campaign.ask())
    with pytest.raises(rm.DataError, match="text where numbers"):
        campaign.tell(campaign.ask().assign(y="many"))
    assert campaign.spent == 0.0
    with pytest.raises(rm.ModelError, match="positive"):
        rm.Campaign(fit, budget=-1)


def test_what_is_not_measured_yet_stays_open(tmp_path) -> None:
    """Of a half-filled table the filled rows are taken and paid for, with rows of the user's own; the others can be told later."""
    fit = known_scales()
    campaign = rm.Campaign(fit, costs={"repeat": 3.0}, actions=["repeat"], path=tmp_path / "c.jsonl")
    todo = campaign.ask(3)
    own = pd.DataFrame({"y": [0.7], "piece": ["p3"]})
    half = pd.concat([todo.assign(y=[0.1, np.nan, " "]), own], ignore_index=True)
    campaign.tell(half)
    assert campaign.spent == 3.0 + 1.0
    assert len(campaign.fit.problem.table.whole) == 22
    assert campaign.open == list(todo["what"][1:])
    again = rm.Campaign(fit, costs={"repeat": 3.0}, actions=["repeat"], path=tmp_path / "c.jsonl")
    assert again.open == campaign.open
    assert again.uncertainty == pytest.approx(campaign.uncertainty)
    again.tell(todo.assign(y=[0.1, 0.2, 0.3]))  # the same table, filled on: its first row was told already
    assert again.spent == 10.0
    with pytest.raises(rm.DataError, match="told already"):
        again.tell(todo.assign(y=[0.1, 0.2, 0.3]))
    assert not again.open
    whole = fit.update([pd.DataFrame({"y": [0.1, 0.7, 0.2, 0.3], "piece": [todo["piece"][0], "p3", *todo["piece"][1:]]})])
    assert again.uncertainty == pytest.approx(rm.Campaign(whole, target=list(fit.problem.table.index)).uncertainty, rel=1e-6)
    for wrong, said in ((todo.assign(y=0.1, cost="dear"), "'dear' is none"), (todo.assign(y=0.1, measure="z"), "no column 'z'")):
        with pytest.raises(rm.DataError, match=said):
            again.tell(wrong)
    with pytest.raises(rm.DataError, match="nothing was filled in for any row"):
        again.tell(todo.iloc[:0])
    assert again.spent == 10.0


def test_costs_are_of_what_there_is(fit: rm.Fit) -> None:
    """By kind, by what is measured, or by the words of an action; a slip of the pen is no cost of one."""
    pool = pd.DataFrame({"piece": ["p1", "p2"]})
    assert set(rm.Campaign(fit, costs={"y": 3.0}).ask(2)["cost"]) == {3.0}
    assert set(rm.Campaign(fit, costs={"y": 3.0}, actions=pool).ask(2)["cost"]) == {3.0}
    with pytest.raises(rm.ModelError, match="did you mean 'repeat'"):
        rm.Campaign(fit, costs={"repaet": 2.0})
