"""Labels that several columns make together: runs that are counted anew every day are other runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import realmat as rm


def runs(seed: int = 1) -> pd.DataFrame:
    """Forty days of two runs, three readings of each: sd 2 between runs of a day, 1 between readings."""
    rng = np.random.default_rng(seed)
    day, run = np.repeat(np.arange(40), 6), np.tile(np.repeat([1, 2], 3), 40)
    y = 10 + rng.normal(0, 2, (40, 2))[day, run - 1] + rng.normal(0, 1, 240)
    return pd.DataFrame({"y": y, "day": day, "run": run})


def model(by: object, **more: object) -> rm.Model:
    return rm.Model("y", theory=rm.theory.Constant(), material=rm.material.Unresolved(by=by, name="runs"), **more)


def sds(fit: rm.Fit) -> np.ndarray:
    post = fit.tree["posterior"]
    return np.array([float(post[name].mean()) for name in ("runs_scale", "noise_scale")])


def test_runs_of_a_day_are_those_of_labels_written_out() -> None:
    df = runs()
    fit = model(["day", "run"]).fit(df, seed=1, progress=False)
    apart = model("piece").fit(df.assign(piece=df["day"].astype(str) + " / " + df["run"].astype(str)), seed=1, progress=False)
    np.testing.assert_allclose(sds(fit), sds(apart), rtol=1e-12)
    between, within = df.groupby(["day", "run"])["y"].mean().var(), df.groupby(["day", "run"])["y"].var().mean()
    anova = np.sqrt([between - within / 3, within])  # method of moments of the balanced nested design
    np.testing.assert_allclose(sds(fit), anova, rtol=0.03)


def test_a_level_may_be_several_columns() -> None:
    df = runs()
    declared = model("specimen", levels={"specimen": ["day", "run"]})
    assert rm.Model.from_dict(declared.to_dict()) == declared
    np.testing.assert_allclose(sds(declared.fit(df, seed=1, progress=False)), sds(model(["day", "run"]).fit(df, seed=1, progress=False)))


def test_predictions_know_old_runs_and_draw_new_ones() -> None:
    fit = model(["day", "run"]).fit(runs(), seed=1, progress=False)
    out = fit.predict(pd.DataFrame({"day": [0, 0, 99], "run": [1, 2, 1]}))
    seen = fit.tree["posterior"]["runs"]
    assert list(seen.coords[seen.dims[-1]].values[:2]) == ["0 / 1", "0 / 2"]
    assert out["sd"].values[2] > 1.5 * out["sd"].values[0]
    more = fit.update(pd.DataFrame({"y": [12.0, 9.0], "day": [0, 99], "run": [1, 1]}))
    assert more.tree["posterior"]["runs"].sizes[seen.dims[-1]] == 81


def test_a_part_that_is_missing_is_named_and_check_says_how() -> None:
    with pytest.raises(rm.DataError, match=r"column 'shift': not in the table .*'shift / run'"):
        model(["shift", "run"]).fit(runs(), progress=False)
    with pytest.raises(rm.ModelError, match="by="):
        model(["day", 3])
    crossed = rm.Model("y", theory=rm.theory.Constant(), material=[rm.material.Unresolved(by="day"), rm.material.Unresolved(by="run")])
    said = " ".join(crossed.check(runs()).text.split())
    assert 'say by=["day", "run"]' in said


def test_tables_reduced_where_they_live_join_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pl = pytest.importorskip("polars")
    from realmat.table import lazy

    df = runs()
    here = model(["day", "run"]).fit(df, seed=1, progress=False)
    monkeypatch.setattr(lazy, "ROWS", 10)
    there = model(["day", "run"]).fit(pl.from_pandas(df).lazy(), seed=1, progress=False)
    np.testing.assert_allclose(sds(here), sds(there), rtol=1e-6)
