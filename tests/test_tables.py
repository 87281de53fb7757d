"""Files as laboratories write them: read as they are meant, and said; what cannot be read is refused with row and way out."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from laboratory_files import FILES, UGLY, File, same

import realmat as rm


def test_there_are_forty_files() -> None:
    assert len(FILES) == len({f.name for f in FILES}) == 40


@pytest.mark.parametrize("file", [*FILES, *UGLY], ids=lambda f: f.name)
def test_a_file_is_read_as_it_is_meant_or_refused(file: File, tmp_path: Path) -> None:
    path = tmp_path / file.name
    file.write(path)
    if file.refused:
        with pytest.raises(rm.RealmatError) as refused:
            rm.read_table(path, **file.options)
        assert all(word in str(refused.value) for word in file.refused), str(refused.value)
        return
    table = rm.read_table(path, **file.options)
    assert all(word in table.text for word in file.said), table.text
    if not any(table.refused.values()):
        for name, meant in file.meant.items():
            assert same(table.frame[name], meant), (name, list(table.frame[name]), table.text)
    assert {name: table.units.get(name) for name in file.units} == file.units


DIGITS = st.floats(1e-9, 1e15) | st.floats(-1e15, -1e-9) | st.decimals(0, 2000, places=3).map(float)
NOTATIONS = (
    lambda text: text,
    lambda text: text.replace(".", ","),
    lambda text: f"<{text}",
    lambda text: f"{text} ± 0.5",
    lambda text: f"  {text} ",
    lambda text: text.replace("-", "−"),
    lambda text: f"{text} MPa",
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(DIGITS, min_size=2, max_size=6), st.integers(0, len(NOTATIONS) - 1))
def test_no_number_changes_its_value(values: list[float], kind: int) -> None:
    """Whatever is read is the nearest float to what was written, to the bit; the rest is left as text."""
    written = [NOTATIONS[kind](repr(value)) for value in values]
    table = rm.read_table(pd.DataFrame({"label": [f"p{k}" for k in range(len(values))], "x (MPa)": written}))
    read = table.frame[next(name for name in table.frame if name.startswith("x"))]
    for value, cell, text in zip(values, read, written, strict=True):
        if isinstance(cell, str) and not cell.startswith("<"):
            assert cell == text.strip()
            assert any(text.strip() in said for why in table.refused.values() for said in why) or len(values) > 3
        else:
            assert float(str(cell).lstrip("<")) == value


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.decimals(min_value=0, max_value=10**6, places=3), st.sampled_from([",", "."]), st.sampled_from(["", " ", "'", "\u202f"]))
def test_thousands_do_not_change_a_number(value, mark: str, thousands: str) -> None:
    """A number with its thousands set apart, beside one that shows the decimal mark."""
    whole, _, fraction = f"{value:,.3f}".partition(".")
    written = f"{whole.replace(',', thousands)}{mark}{fraction}"
    table = rm.read_table(pd.DataFrame({"label": ["a", "b"], "x": [written, f"0{mark}5"]}))
    assert table.frame["x"].tolist() == [float(value), 0.5], table.text


def test_a_limit_in_the_response_is_one_without_flags() -> None:
    """The same posterior as with flags; checked against the flags, whose likelihood is tested against closed forms."""
    values, side = [0.05, 0.12, 0.08, 0.30, 0.15, 0.1], [-1, 0, 0, 1, 0, 0]
    written = pd.DataFrame({"C": [f"{'<' if s < 0 else '>'}{v}" if s else v for v, s in zip(values, side, strict=True)]})
    flagged = pd.DataFrame({"C": values, "lo": [s < 0 for s in side], "hi": [s > 0 for s in side]})
    plain = rm.Model("C", theory=rm.theory.Constant())
    flags = plain.with_observation(rm.observation.Normal(below="lo", above="hi"))
    one = plain.fit(written, draws=50, chains=2, seed=1, progress=False)
    two = flags.fit(flagged, draws=50, chains=2, seed=1, progress=False)
    for name in ("constant", "noise_scale"):
        np.testing.assert_array_equal(one.tree["posterior"][name], two.tree["posterior"][name])
    assert "2 of them limits" in str(plain.check(written))


def test_limits_survive_saving_and_above_is_not_below(tmp_path: Path) -> None:
    model = rm.Model("C", theory=rm.theory.Constant())
    fit = model.fit(pd.DataFrame({"C": ["<0.05", "0.12", ">0.3", "0.1"]}), draws=20, chains=2, seed=1, progress=False)
    back = rm.load(fit.save(tmp_path / "fit.nc"))
    assert back.problem.table.limit("C").tolist() == [-1, 0, 1, 0]
    assert back.problem.observation.noise(back.problem.table).censored.tolist() == [-1, 0, 1, 0]


def test_an_upper_limit_of_a_state_is_above() -> None:
    """A state known only to exceed a bound lies higher than one known only to be under it."""
    effect = rm.material.Effect("x", slope=0.5)
    noise = rm.observation.Normal(scale=1.0)
    model = rm.Model("y", levels={"specimen": "s"}, theory=rm.theory.Constant(), material=effect, observation=noise)
    x = ["1.0", "2.0", "3.0", "4.0", "<1.5", ">3.5"]
    df = pd.DataFrame({"y": [1.0, 1.5, 2.0, 2.5, 1.7, 1.7], "s": list("abcdef"), "x": x})
    fit = model.fit(df, draws=50, chains=2, seed=1, progress=False)
    states = fit.tree["posterior"]["effect_x"].mean(("chain", "draw")).to_numpy()
    assert states[4] < 2 < 3 < states[5]


@pytest.mark.parametrize("spelling", [("A", "A "), ("b", "B"), (1, "1"), ("Köln", "Ko\u0308ln"), ("A B", "A\u00a0 B"), ("Fe2O3", "Fe₂O₃")])
def test_labels_in_two_spellings_are_one(spelling) -> None:
    """In fit, check and predict, of a plain DataFrame; and said."""
    one, other = spelling
    df = pd.DataFrame({"y": [1.0, 1.2, 3.0, 3.3, 1.1, 3.1], "lab": [one, other, "Z", "Z", one, "Z"]})
    model = rm.Model("y", levels={"lab": "lab"}, theory=rm.theory.Constant(), observation=rm.observation.Normal(bias_by="lab"))
    assert "are read as one label" in model.check(df).text
    fit = model.fit(df, draws=50, chains=2, seed=1, progress=False)
    assert fit.problem.table.level("lab").size == 2
    assert fit.tree["posterior"].sizes["lab"] == 2
    means = [float(fit.predict(pd.DataFrame({"lab": [label]}))["mean"][0]) for label in spelling]
    assert means[0] == means[1]
    held_out = rm.cross_validate(model, df, folds=2, by="lab", draws=20, chains=2, seed=1)
    assert held_out.rows.groupby("fold").size().tolist() == [3, 3]


def test_a_whole_number_that_no_float_holds_is_a_label_and_no_reading() -> None:
    huge = pd.Series([10**400, 10**400, 7, 7], dtype=object)
    df = pd.DataFrame({"y": [1.0, 1.1, 3.0, 3.1]}).assign(lab=huge)
    model = rm.Model("y", levels={"lab": "lab"}, theory=rm.theory.Constant(), observation=rm.observation.Normal(bias_by="lab", scale=0.1))
    fit = model.fit(df, draws=50, chains=2, seed=1, progress=False)
    assert list(fit.problem.table.level("lab").values) == [str(10**400), 7]
    first, last = (float(fit.predict(df.loc[[k], ["lab"]])["mean"][0]) for k in (0, 3))
    assert first < 2 < last
    with pytest.raises(rm.DataError, match=r"'y': .*rows 0, 1"):
        model.table(df.assign(y=huge))


def test_formulas_that_differ_in_case_stay_two() -> None:
    table = rm.Model("y", levels={"material": "m"}, theory=rm.theory.Constant()).table(pd.DataFrame({"y": [1.0, 2.0], "m": ["Co", "CO"]}))
    assert table.level("material").size == 2
    assert "both are chemical formulas" in table.notes[0]


def test_units_of_the_file_are_converted_to_those_of_the_model() -> None:
    raw = pd.DataFrame({"YS (GPa)": ["0.2957 ± 0.0012", "0.3012(5)"]})
    model = rm.Model("YS", unit="MPa", theory=rm.theory.Constant(), observation=rm.observation.Normal(u="YS_u"))
    table = model.table(rm.read_table(raw))
    np.testing.assert_allclose(table.numeric("YS"), [295.7, 301.2], rtol=1e-12)
    np.testing.assert_allclose(table.numeric("YS_u"), [1.2, 0.5], rtol=1e-12)
    with pytest.raises(rm.DataError, match="'GPa'"):
        rm.Model("YS", unit="K", theory=rm.theory.Constant()).table(rm.read_table(raw))


def test_text_in_a_plain_frame_is_refused_with_the_way_out() -> None:
    with pytest.raises(rm.DataError, match=r"'295,7 ± 1,2'.*row 0\. rm\.read_table reads"):
        rm.Model("YS", theory=rm.theory.Constant()).table(pd.DataFrame({"YS": ["295,7 ± 1,2", 300.0]}))


def test_empty_cells_repeat_what_stands_above_where_asked(tmp_path: Path) -> None:
    path = tmp_path / "blocks.csv"
    path.write_text("Lab,YS\nA,1.5\n,2.5\nB,3.5\n,4.5\n")
    assert rm.read_table(path, fill=["Lab"]).frame["Lab"].tolist() == ["A", "A", "B", "B"]
    with pytest.raises(rm.DataError, match="empty level lab in rows 3, 5"):
        rm.Model("YS", levels={"lab": "Lab"}, theory=rm.theory.Constant()).table(rm.read_table(path))


def test_long_codes_keep_every_digit() -> None:
    table = rm.read_table(pd.DataFrame({"code": ["007", "012"], "big": ["123456789012345678", "123456789012345679"], "x": ["1.5", "2.5"]}))
    assert table.frame["code"].tolist() == ["007", "012"]
    assert table.frame["big"].tolist() == [123456789012345678, 123456789012345679]
    assert math.isclose(table.frame["x"].sum(), 4.0)


def test_tables_put_one_under_the_other_are_numbered_anew() -> None:
    half = pd.DataFrame({"y": [1.0, 2.0]})
    table = rm.Model("y", theory=rm.theory.Constant()).table(pd.concat([half, half + 5]))
    assert table.index.tolist() == [0, 1, 2, 3]
    assert "numbered anew" in table.notes[-1]
