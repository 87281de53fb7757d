"""The data contract: every kind of bad table is one clear error that names columns and rows, all problems at once."""

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.table import row_kernels
from realmat.table.table import cells, statistics

MODEL = rm.Model(
    "y",
    unit="MPa",
    levels={"material": "formula", "specimen": "piece", "lab": "lab"},
    theory=rm.theory.Calibrated("theory"),
    material=[rm.material.GrainSize("grain", u="grain_u"), rm.material.Unresolved("specimen")],
    observation=rm.observation.Normal(u="u", bias_by="lab"),
    units={"grain": "mm"},
)


def good() -> pd.DataFrame:
    """Eight rows that fit."""
    return pd.DataFrame(
        {
            "y": [100.0, 110, 120, 130, 140, 150, 160, 170],
            "u": [1.0, 2, np.nan, 0, 1, 1, 1, 1],
            "theory": np.arange(8.0),
            "formula": list("AABBCCDD"),
            "piece": list("aabbccdd"),
            "lab": ["x", "y"] * 4,
            "grain": [0.01, np.nan, 0.02, np.nan, 0.04, np.nan, np.nan, np.nan],
            "grain_u": [0.001] * 8,
        },
        index=[f"r{i}" for i in range(8)],
    )


def problems(df: pd.DataFrame, model: rm.Model = MODEL) -> tuple[str, ...]:
    """What is wrong with a table."""
    with pytest.raises(rm.DataError) as caught:
        model.table(df)
    return caught.value.problems


def set_at(column: str, row: str, value: object) -> pd.DataFrame:
    """A table with one cell changed."""
    df = good().astype({column: object})
    df.loc[row, column] = value
    return df


BAD = {
    "empty response": (set_at("y", "r3", np.nan), ["'y'", "empty response", "row r3"]),
    "infinite theory": (set_at("theory", "r5", np.inf), ["'theory'", "infinite value", "row r5"]),
    "negative u": (set_at("u", "r1", -2.0), ["'u'", "below 0", "row r1"]),
    "text among numbers": (set_at("theory", "r2", "n/a"), ["'theory'", "text where numbers are needed ('n/a')", "row r2"]),
    "unknown column": (good().rename(columns={"theory": "theroy"}), ["'theory'", "not in the table", "Did you mean 'theroy'?"]),
    "empty label": (set_at("lab", "r0", None), ["'lab'", "empty", "row r0"]),
    "duplicate rows in the index": (
        good().set_axis(["r0", "r0", *[f"r{i}" for i in range(2, 8)]]),
        ["duplicate labels", "r0", "reset_index"],
    ),
    "doubled column": (pd.concat([good(), good()[["u"]]], axis=1), ["'u'", "appears more than once"]),
    "specimen in two materials": (set_at("formula", "r1", "Z"), ["'piece'", "same specimen belongs to another 'formula'", "row r1"]),
    "negative grain size": (set_at("grain", "r2", -0.1), ["'grain'", "not above 0", "row r2"]),
    "empty table": (good().iloc[:0], ["no rows"]),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_table(kind):
    """One problem, said with its column and row."""
    table, words = BAD[kind]
    said = problems(table)
    assert len(said) == 1, said
    for word in words:
        assert word in said[0]


def test_all_problems_at_once():
    """Four mistakes in one table are four lines of one error."""
    df = set_at("u", "r1", -1.0)
    df.loc["r2", "y"] = np.nan
    df["theory"] = df["theory"].astype(object)
    df.loc["r4", "theory"] = "abc"
    df = df.drop(columns="lab")
    said = problems(df)
    assert len(said) == 4
    assert {c for line in said for c in ("'y'", "'u'", "'theory'", "'lab'") if c in line} == {"'y'", "'u'", "'theory'", "'lab'"}


def test_wrong_dimension_and_wrong_type():
    """A grain size in MPa is refused; so is something that is not a DataFrame."""
    wrong = rm.Model("y", theory=rm.theory.Constant(), material=rm.material.GrainSize("grain", u="grain_u"), units={"grain": "MPa"})
    said = problems(good(), wrong)
    assert any("'grain'" in line and "MPa" in line for line in said)
    with pytest.raises(rm.DataError, match=r"must be a pandas DataFrame, a dict of columns, or .*, not list"):
        MODEL.table([1, 2, 3])


def test_log_link_needs_positive_values():
    """Zero and negative responses have no logarithm."""
    model = rm.Model("y", link="log", theory=rm.theory.Constant())
    said = problems(set_at("y", "r6", 0.0), model)
    assert "'y'" in said[0]
    assert "not above 0" in said[0]
    assert "row r6" in said[0]


def test_units_are_converted():
    """Grain size declared in mm arrives in um, and so does its u, which shares the unit."""
    table = MODEL.table(good())
    assert table.numeric("grain")[0] == pytest.approx(10.0)
    assert table.numeric("grain_u")[0] == pytest.approx(1.0)


def test_nothing_of_the_users_table_changes():
    """Validation reads; it does not write."""
    df = good()
    before = df.copy(deep=True)
    MODEL.table(df)
    pd.testing.assert_frame_equal(df, before)


def test_cells_are_rows_alike_in_all_but_the_response():
    """Replicates share a cell; anything else that differs, even which value is missing, separates."""
    df = pd.concat([good()] * 3, ignore_index=True)
    df["y"] = np.arange(24.0)
    model = rm.Model("y", levels={"specimen": "piece"}, theory=rm.theory.Calibrated("theory"), material=rm.material.Unresolved("specimen"))
    first, cell = cells(model.table(df), ("y",))
    assert len(first) == 8
    assert np.array_equal(np.bincount(cell), np.full(8, 3))
    assert np.array_equal(cell, np.tile(np.arange(8), 3))


def test_rows_alike_and_their_moments():
    """Groups of many rows, some alike in one column only, and what is summed over them, as pandas has them."""
    rng = np.random.default_rng(2)
    df = pd.DataFrame({"a": rng.integers(0, 60, 5000) * 0.1, "b": rng.integers(0, 60, 5000), "y": 1e6 + rng.normal(size=5000)})
    table = rm.Model("y", theory=rm.theory.Calibrated("a"), material=rm.material.Unresolved("b")).table(df)
    first, cell = cells(table, ("y",))
    groups = df.groupby(["a", "b"], sort=False)
    assert np.array_equal(cell, groups.ngroup())
    assert np.array_equal(first, np.unique(cell, return_index=True)[1])
    count, mean, squares = statistics(table, table.numeric("y"), cell, len(first))
    assert np.array_equal(count, groups.size())
    np.testing.assert_allclose(mean, groups["y"].mean(), rtol=1e-15)
    np.testing.assert_allclose(squares, groups["y"].var(ddof=0) * count, rtol=1e-8, atol=1e-12)
    assert list(row_kernels.elsewhere(np.array([0, 1, -1, 0, 1]), np.array([2, 0, 1, 2, 1]), 2)) == [False, False, False, False, True]


def test_magnitudes_for_default_priors_are_those_of_all_rows():
    """Replicates count as often as they were made: mean, spread and what theory leaves are those of the rows, by NumPy."""
    rng = np.random.default_rng(3)
    x = np.repeat([1.0, 2.0, 5.0, 9.0], [1, 6, 2, 4])
    y = 7 + 2 * x + rng.normal(0, 0.5, len(x))
    model = rm.Model("y", theory=rm.theory.Calibrated("x"), material=rm.material.Effect("x", name="again"))
    scale = model.bind(pd.DataFrame({"y": y, "x": x})).scale
    left = y - np.polyval(np.polyfit(x, y, 1), x)
    np.testing.assert_allclose([scale.level, scale.spread, scale.response], [y.mean(), y.std(), left.std()], rtol=1e-12)
    np.testing.assert_allclose(scale.shift, left.std() * x.mean() / x.std(), rtol=1e-12)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a power beyond the largest number
def test_a_value_without_a_place_on_its_scale_is_named_in_every_replicate():
    """Rows alike are seen as one, but what is wrong with them is said of each."""
    df = pd.DataFrame({"y": np.arange(8.0), "x": np.repeat([1e-20, 2.0], 4)})
    model = rm.Model("y", theory=rm.theory.Constant(), material=rm.material.GrainSize("x", exponent=-30.0))
    with pytest.raises(rm.DataError, match="column 'x': rows 0, 1, 2, 3"):
        model.bind(df)


def test_digest_sees_every_value():
    """The hash of the data changes with any cell and any detection limit, and with nothing else."""
    base = MODEL.table(good()).digest
    assert MODEL.table(good()).digest == base
    assert MODEL.table(set_at("grain", "r2", 0.0200001)).digest != base
    assert MODEL.table(set_at("lab", "r2", "z")).digest != base
