"""Tables that cannot mean what they hold are refused with column, row and way out; nothing passes through as something else."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

import realmat as rm

ROWS = 12
MODEL = rm.Model(
    "y",
    levels={"lab": "lab"},
    theory=rm.theory.Calibrated("t"),
    material=rm.material.Effect("x"),
    observation=rm.observation.Normal(bias_by="lab"),
)


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    lab = np.array(["a", "b", "c"])[np.arange(ROWS) % 3]
    return pd.DataFrame({"y": rng.normal(size=ROWS), "t": rng.normal(size=ROWS), "x": rng.normal(size=ROWS), "lab": lab})


def cell(column: str, value: Any) -> pd.DataFrame:
    df = table().astype({column: object})
    df.at[4, column] = value
    return df


DAYS = pd.date_range("2020-01-01", periods=ROWS)


@pytest.mark.parametrize(
    ("df", "words"),
    [
        (table().assign(x=DAYS), "column 'x': dates where numbers are needed.*dt.days"),
        (table().assign(x=DAYS.tz_localize("UTC")), "column 'x': dates"),
        (table().assign(x=DAYS.to_pydatetime()).astype({"x": object}), "column 'x': dates"),
        (cell("x", datetime.date(2020, 1, 1)), "column 'x': dates"),
        (table().assign(x=DAYS - DAYS[0]), "column 'x': durations"),
        (table().assign(x=table()["x"] + 1j), "column 'x': complex"),
        (cell("t", 2 + 3j), "column 't': complex"),
        (cell("t", [1.0, 2.0]), "column 't': text where numbers are needed.*row 4"),
        (cell("t", pd.Series([1.0, 2.0])), "column 't'.*row 4"),
        (cell("t", "1_000"), "column 't'.*row 4"),
        (cell("lab", ["a"]), "column 'lab': a list or table in a cell in row 4"),
        (cell("lab", {"a": 1}), "column 'lab': a list or table in a cell in row 4"),
        (table().assign(lab=None), "column 'lab': empty"),
        (table().assign(t=1e300), "column 't': a number beyond 1e\\+100"),
        (table().assign(t=table()["t"] * 1e-150), "column 't': no number above 1e-100"),
        (pd.concat([table(), table()[["t"]]], axis=1), "column 't': appears more than once"),
        (cell("lab", pd.Series([1.0])).set_index("lab"), "the index holds .* which is no label.*reset_index"),
        (table().assign(t=1e6 * table()["t"]), "column 't' varies .* times as much as the response.*in one unit.*slope="),
        ({"y": [1.0, 2.0], "t": [1.0]}, "the data are no table"),
        ([1, 2], "pandas DataFrame, a dict of columns"),
    ],
)
def test_it_is_refused_with_column_row_and_way_out(df: Any, words: str) -> None:
    with pytest.raises(rm.DataError, match=f"(?s){words}"):
        MODEL.bind(df)


def test_all_that_is_wrong_is_said_at_once() -> None:
    model = dataclasses.replace(MODEL, levels={"material": "mat", "specimen": "piece", "lab": "lab"})
    df = table().assign(mat="m", piece=cell("lab", ["a"])["lab"], x="?")
    with pytest.raises(rm.DataError, match=r"(?s)'piece': a list or table in a cell in row 4.*'x': text where"):
        model.bind(df)


def test_a_column_that_is_not_used_may_hold_anything() -> None:
    for unused in (pd.Categorical(["u", "v"] * 6), [[1]] * ROWS, pd.Categorical([None] * ROWS), [object()] * ROWS):
        bound = MODEL.bind(table().assign(unused=unused))
        assert np.array_equal(bound.response_rows.y, MODEL.bind(table()).response_rows.y)


@pytest.mark.parametrize("coarse", [["a", "b", "c"], ["b"]])
def test_readings_without_scatter_in_one_laboratory_with_a_scale_of_its_own_ask_for_the_resolution(coarse: list[str]) -> None:
    """Its scale would go to zero, and its readings would count without end."""
    lab = np.array(["a", "b", "c"])[np.arange(30) % 3]
    y = np.where(np.isin(lab, coarse), 3.5, np.random.default_rng(0).normal(3.4, 0.2, 30))
    model = rm.Model("y", levels={"lab": "lab"}, theory=rm.theory.Constant(), observation=rm.observation.Normal(scale_by="lab"))
    where = "" if len(coarse) == 3 else " in rows 1, 4, 7.* whose noise has a scale of its own"
    with pytest.raises(rm.DataError, match=f"every reading is 3.5{where}.*State the resolution"):
        model.fit(pd.DataFrame({"y": y, "lab": lab}), progress=False)
    by_chance = np.where(np.arange(30) < 9, y, np.random.default_rng(1).normal(3.4, 0.2, 30))  # three readings of a laboratory
    model.fit(pd.DataFrame({"y": by_chance, "lab": lab}), draws=10, chains=1, seed=1, progress=False)


def test_laboratories_none_of_which_scatters_ask_for_the_resolution() -> None:
    """Two equal readings of one laboratory may be chance; not those of every one."""
    df = pd.DataFrame({"y": [19.0, 19.0, 16.8, 16.8], "lab": ["a", "a", "b", "b"]})
    model = rm.Model("y", link="log", levels={"lab": "lab"}, theory=rm.theory.Constant(), observation=rm.observation.Normal(scale_by="lab"))
    with pytest.raises(rm.DataError, match=r"readings of the same agree to the last digit.*State the resolution"):
        model.fit(df, progress=False)


def test_a_number_that_stands_for_nothing_is_refused_where_its_logarithm_is_taken() -> None:
    model = rm.Model("y", link="log", theory=rm.theory.Constant())
    with pytest.raises(rm.DataError, match=r"'y': a number below 1e-100.* in row 1\. Is it a placeholder"):
        model.bind({"y": [1.0, 1e-300, 2.0]})


def test_one_positive_reading_says_the_same_in_any_unit() -> None:
    model = rm.Model("y", link="log", theory=rm.theory.Constant())
    spreads = [model.bind({"y": [y]}).scale.spread for y in (19.0, 19e12, 1.0)]
    assert spreads == [1.0, 1.0, 1.0]


def test_a_row_below_and_above_its_limit_is_refused_by_name() -> None:
    df = table().assign(low=[0, 1] * 6, high=[0, 0, 0, 1] * 3)
    model = rm.Model("y", theory=rm.theory.Constant(), observation=rm.observation.Normal(below="low", above="high"))
    with pytest.raises(rm.DataError, match="both are true in rows 3, 7, 11"):
        model.bind(df)
    model.bind(df.assign(high=0))


def exact(name: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    x = np.arange(ROWS, dtype=float)
    piece = np.arange(ROWS) // 3
    match name:
        case "coarse":
            return pd.DataFrame({"y": np.full(ROWS, 3.5)}), {"theory": rm.theory.Constant()}
        case "line":
            return pd.DataFrame({"y": 2 * x + 1, "t": x}), {"theory": rm.theory.Calibrated("t")}
        case _:
            df = pd.DataFrame({"y": np.array([1.0, 4.0, 2.0, 8.0])[piece], "piece": piece})
            return df, {"theory": rm.theory.Constant(), "material": rm.material.Unresolved(by="piece")}


@pytest.mark.parametrize("name", ["coarse", "line", "replicates"])
def test_readings_without_any_scatter_ask_for_the_resolution(name: str) -> None:
    df, parts = exact(name)
    with pytest.raises(rm.DataError, match=r"State the resolution: .*Normal\(resolution=d\)"):
        rm.Model("y", **parts).fit(df, progress=False)
    stated = rm.Model("y", **parts, observation=rm.observation.Normal(u=0.29 * 0.1, scale=False)).fit(df, draws=100, seed=1, progress=False)
    assert stated.predict()["sd"].values.min() >= 0.029
    scattered = df.assign(y=df["y"] + np.r_[0.1, np.zeros(ROWS - 1)])
    rm.Model("y", **parts).fit(scattered, draws=10, chains=1, seed=1, progress=False)


def test_coarse_readings_with_their_resolution_have_the_mean_of_the_closed_form() -> None:
    """A constant with a normal prior and known noise: the posterior is normal, its variance 1 / (n / u^2 + 1 / sigma^2)."""
    prior = rm.Prior("Normal", mu=3.0, sigma=2.0)
    model = rm.Model("y", theory=rm.theory.Constant(prior), observation=rm.observation.Normal(u=0.29, scale=False))
    fit = model.fit(pd.DataFrame({"y": np.full(ROWS, 3.5)}), draws=1000, seed=1, progress=False)
    draws = fit.tree["posterior"]["constant"].values.ravel()
    precision = ROWS / 0.29**2 + 1 / 4
    error = precision**-0.5 / np.sqrt(draws.size)
    assert draws.mean() == pytest.approx((ROWS * 3.5 / 0.29**2 + 3 / 4) / precision, abs=4 * error)
    assert draws.std() == pytest.approx(precision**-0.5, rel=4 / np.sqrt(2 * draws.size))
    assert fit.check().ok
