"""Tables as nobody means them, and what must hold whatever a table is: a RealmatError, or finite answers without a warning."""

from __future__ import annotations

import contextlib
import datetime
import pickle
import warnings
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

import realmat as rm

CELLS: tuple[Any, ...] = (
    None, np.nan, pd.NA, pd.NaT, np.inf, -np.inf, 1e300, -1e300, 1e-300, 1e155, 10**400, 0, -1, 1, 1e6, -0.0, True, np.bool_(False), 3 + 2j,
    "", " ", "abc", "<5", ">5", "< 0", "1,5", "12 kg", "nan", "inf", "−3", "1e400", "A ", "a", b"x", [1.0, 2.0], (), {}, {"a": 1}, {1, 2},
    datetime.date(2020, 1, 1), datetime.timedelta(1), pd.Timestamp("2020-01-01"), Decimal("1.5"), np.float32(2.5), pd.Series([1.0, 2.0]),
    object,
)  # fmt: skip
CASTS = ("object", "str", "category", "float32", "Int64", "bool", "complex128", "datetime64[ns]", "timedelta64[s]", "string", "float16")
COLUMNS = ("y", "t", "x", "u", "mat", "piece", "lab", "low")


def table(rows: int = 24) -> pd.DataFrame:
    """The table that mutations start from."""
    rng = np.random.default_rng(rows)
    n = np.arange(rows)
    df = pd.DataFrame({"t": rng.normal(10, 2, rows), "x": rng.uniform(1, 3, rows), "u": rng.uniform(0.1, 0.3, rows), "low": 0})
    labels = {"mat": [f"M{k // 6}" for k in n], "piece": [f"S{k // 3}" for k in n], "lab": [f"L{k % 3}" for k in n]}
    return df.assign(y=df["t"] + 0.5 * df["x"] + rng.normal(0, 0.3, rows) + 5, **labels)


LEVELS = {"material": "mat", "specimen": "piece", "lab": "lab"}
MODELS: tuple[rm.Model, ...] = (
    rm.Model("y", theory=rm.theory.Calibrated("t"), observation=rm.observation.Normal(u="u", scale=False)),
    rm.Model(
        "y",
        levels=LEVELS,
        theory=rm.theory.Calibrated("t"),
        material=[rm.material.Effect("x"), rm.material.Unresolved(by="specimen")],
        observation=rm.observation.Normal(bias_by="lab"),
    ),
    rm.Model("y", link="log", levels={"lab": "lab"}, theory=rm.theory.Constant(), observation=rm.observation.Normal(scale_by="lab")),
    rm.Model(
        "y",
        levels={"specimen": "piece"},
        theory=rm.theory.Constant(),
        material=rm.material.Impurity("x", u="u"),
        observation=rm.observation.Normal(),
    ),
)


def _cell(df: pd.DataFrame, column: str, row: int, value: Any) -> pd.DataFrame:
    if column not in df or isinstance(df[column], pd.DataFrame) or not len(df):
        return df
    values = df[column].astype(object).tolist()
    values[row % len(values)] = value
    held = pd.Series([None] * len(values), index=df.index, dtype=object)
    for k, v in enumerate(values):
        held.iat[k] = v
    return df.assign(**{column: held})


def _cast(df: pd.DataFrame, column: str, dtype: str) -> pd.DataFrame:
    if column not in df or isinstance(df[column], pd.DataFrame):
        return df
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return df.assign(**{column: df[column].astype(dtype)})


def _whole(df: pd.DataFrame, column: str, value: Any) -> pd.DataFrame:
    for row in range(len(df)):
        df = _cell(df, column, row, value)
    return df


MUTATIONS = st.one_of(
    st.tuples(st.just(_cell), st.sampled_from(COLUMNS), st.integers(0, 30), st.sampled_from(CELLS)),
    st.tuples(st.just(_cast), st.sampled_from(COLUMNS), st.sampled_from(CASTS)),
    st.tuples(st.just(_whole), st.sampled_from(COLUMNS), st.sampled_from(CELLS)),
    st.tuples(st.just(lambda df, c: df.drop(columns=c, errors="ignore")), st.sampled_from(COLUMNS)),
    st.tuples(st.just(lambda df, c: pd.concat([df, df[[c]]], axis=1) if c in df else df), st.sampled_from(COLUMNS)),
    st.tuples(st.just(lambda df, c: df.rename(columns={c: f"{c} "})), st.sampled_from(COLUMNS)),
    st.tuples(st.just(lambda df, n: df.iloc[:n]), st.integers(0, 5)),
    st.tuples(st.just(lambda df, n: df.iloc[np.arange(len(df)) // n]), st.integers(1, 4)),
    st.tuples(st.just(lambda df, n: df.iloc[np.arange(len(df)) // n].reset_index(drop=True)), st.integers(1, 4)),
    st.tuples(st.just(lambda df, c: df.set_index(c) if c in df and not isinstance(df[c], pd.DataFrame) else df), st.sampled_from(COLUMNS)),
    st.tuples(
        st.just(lambda df, f: df.assign(y=df["y"] * f) if "y" in df and df["y"].dtype == float else df),
        st.sampled_from([1e-12, 1e12, 0.0, -1.0]),
    ),
)


def mutated(steps: list[tuple[Any, ...]]) -> pd.DataFrame:
    """The table after those of some mutations that pandas itself can hold."""
    df = table()
    for change, *arguments in steps:
        with contextlib.suppress(TypeError, ValueError, OverflowError, AttributeError, NotImplementedError):
            df = change(df, *arguments)
    return df


def reads_as(model: rm.Model, df: pd.DataFrame) -> bytes:
    """What a model reads of a table: alike for tables that differ in nothing that it uses."""
    table = model.table(df)
    columns = [(name, np.asarray(values)) for name, values in sorted(table.columns.items())]
    return pickle.dumps((MODELS.index(model), columns, list(table.index)))


def holds(model: rm.Model, df: pd.DataFrame, fitting: bool = True, known: dict[bytes, str] | None = None) -> str:
    """What became of a table: refused, bound or answered; an exception that is no RealmatError, a warning or a NaN fails.

    A table that reads as one of those `known` is not fitted again.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            key = b"" if known is None else reads_as(model, df)
            if known is not None and key in known:
                return known[key]
            model.bind(df)
            if not fitting:
                return "bound"
            fit = model.fit(df, draws=20, chains=2, seed=1, progress=False)
            predicted = fit.predict()
            draws = fit.tree["posterior"]
        except rm.RealmatError:
            return "refused"
    for name in ("mean", "sd", "lower", "upper"):
        # of one reading of unknown noise under a log link, a new measurement has bounds, and a mean that no number holds
        beyond = model.link == "log" and name in {"mean", "sd"} and np.isfinite(predicted["upper"].values).all()
        assert np.isfinite(predicted[name].values).all() or (beyond and not np.isnan(predicted[name].values).any()), name
    assert all(np.isfinite(v.values).all() for v in draws.data_vars.values() if v.dtype.kind == "f")
    if known is not None:
        known[key] = "answered"
    return "answered"
