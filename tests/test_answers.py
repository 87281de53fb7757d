"""What a user asks a fit for, and how the answers read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

import realmat as rm
from realmat.fit import Fit
from realmat.fit.result import SealedFit


def law(x, a):
    """Return a straight line through the origin."""
    return a * x


@pytest.fixture(scope="module")
def labs() -> Fit:
    rng = np.random.default_rng(4)
    lab = np.repeat(["a", "b", "c"], 8)
    bias = pd.Series({"a": 0.2, "b": -0.24, "c": 0.04})[lab].to_numpy()
    df = pd.DataFrame({"y": 10 + bias + rng.normal(0, 0.1, 24), "lab": lab})
    model = rm.Model("y", levels={"lab": "lab"}, theory=rm.theory.Constant(), observation=rm.observation.Normal(bias_by="lab"))
    return model.fit(df, draws=500, seed=1, progress=False)


def test_biases_are_counted_from_the_laboratories_that_took_part_too(labs: Fit) -> None:
    """From their own mean, biases of a balanced design are those of the means of readings, with u near s_r sqrt(1/n (1 - 1/3))."""
    found = labs.repeatability(ci_prob=0.97)
    biases = found.biases.set_index("lab")
    means = labs.problem.table.numeric("y").reshape(3, 8).mean(axis=1)
    assert biases["from_mean"].to_numpy() == pytest.approx(means - means.mean(), abs=0.02)
    assert biases["from_mean_u"].to_numpy() == pytest.approx(np.sqrt(0.1**2 / 8 * 2 / 3), rel=0.35)
    assert (biases["u"] > 2 * biases["from_mean_u"]).all()
    assert "counted from the mean of those that took part: a (+" in found.text
    assert "counted from the unknown mean of all there could be: none" in found.text
    assert "3 values of lab" in found.text


def test_a_laboratory_not_named_is_a_new_one(labs: Fit) -> None:
    unnamed = labs.predict(pd.DataFrame({"other": [1.0, 2.0]}))
    named = labs.predict(pd.DataFrame({"lab": ["never seen", None]}))
    np.testing.assert_allclose(unnamed["sd"], named["sd"])
    assert float(unnamed["sd"][0]) > 2 * float(labs.predict({"lab": ["a"]})["sd"][0])


def test_a_mapping_of_columns_is_a_table(labs: Fit) -> None:
    np.testing.assert_array_equal(labs.predict({"lab": ["a", "b"]})["mean"], labs.predict(pd.DataFrame({"lab": ["a", "b"]}))["mean"])


def test_a_variable_that_there_is_not_is_refused_with_those_there_are(labs: Fit) -> None:
    with pytest.raises(rm.ModelError, match=r"'bias_labs' \(did you mean 'bias_lab'\?\).*Known: .*noise_scale"):
        labs.summary(var_names=["bias_labs"])
    assert list(labs.summary("constant").index) == ["constant"]


def test_intervals_may_be_asked_for(labs: Fit) -> None:
    """For a normal predictive distribution the half width at probability p is its quantile times sd."""
    narrow, wide = (labs.predict({"lab": ["a"]}, ci_prob=p) for p in (0.5, 0.95))
    ratio = float((wide["upper"] - wide["lower"])[0] / (narrow["upper"] - narrow["lower"])[0])
    assert ratio == pytest.approx(1.96 / 0.6745, rel=0.05)
    assert {"eti50_lb", "eti50_ub"} <= set(labs.summary(ci_prob=0.5))
    assert "hdi80_lb" in labs.summary(ci_prob=0.8, ci_kind="hdi")
    assert "50 % equal-tailed" in labs.repeatability(ci_prob=0.5).text
    assert labs.budget(ci_prob=0.5).dataset.attrs["ci_prob"] == 0.5
    for wrong in ({"ci_prob": 95}, {"ci_kind": "quantile"}):
        with pytest.raises(rm.ModelError, match="must be"):
            labs.predict(**wrong)


def test_bounds_show_the_digits_of_their_width() -> None:
    rng = np.random.default_rng(1)
    df = pd.DataFrame({"y": 10 + 1e-4 * rng.normal(size=40)})
    fit = rm.Model("y", theory=rm.theory.Constant()).fit(df, draws=200, chains=2, seed=1, progress=False)
    row = fit.summary().formatted().loc["constant"]
    assert row["eti89_lb"] != row["eti89_ub"]
    assert all(len(row[name].partition(".")[2]) >= 6 for name in ("mean", "eti89_lb", "eti89_ub"))


def test_a_summary_holds_numbers_and_shows_what_they_are_worth(labs: Fit) -> None:
    found, draws = labs.summary(), labs.tree["posterior"]["constant"]
    assert set(found.dtypes.map(str)) == {"float64"}
    assert found.loc["constant", "mean"] == pytest.approx(float(draws.mean()), rel=1e-12)
    assert found["eti89_lb"].lt(found["eti89_ub"]).all()
    pd.testing.assert_frame_equal(pd.DataFrame(found), labs.summary(round_to="none"))
    shown = found.formatted().loc["constant", "mean"]
    assert len(shown) < 8
    assert shown in repr(found)
    assert shown in repr(found[["mean", "r_hat"]].loc[["constant"]])
    assert shown in found._repr_html_()
    assert shown in found.to_string()
    assert shown in found.to_html(border=0)
    doubled = 2 * found[["mean"]]
    assert float(doubled.formatted().loc["constant", "mean"]) == pytest.approx(
        2 * float(draws.mean()), abs=found.loc["constant", "sd"] / 10
    )
    for frame in (found.T, found.reset_index(), found[["mean", "mean"]], found.head(0), pd.concat([found, found]), found.rename(str.upper)):
        assert repr(frame)


def test_models_and_fits_show_themselves_in_notebooks(labs: Fit) -> None:
    assert "bias_lab_scale" in labs._repr_html_()
    assert labs._repr_html_().count("<table") == 1
    assert "&#x27;y&#x27;" in labs.model._repr_html_()


def test_a_folder_that_is_not_there_is_called_that(labs: Fit, tmp_path: Path) -> None:
    for write in (labs.save, labs.report, labs.check().to_csv):
        with pytest.raises(rm.FileError, match="there is no folder"):
            write(tmp_path / "none" / "file.html")
    with pytest.raises(rm.FileError, match="it is a folder"):
        labs.save(tmp_path)


@pytest.mark.parametrize(
    ("path", "trusted"),
    [
        ("tests.test_answers:law", False),
        ("os:system", False),
        ("realmat.templates.writing:write", False),  # a function of realmat's own may write files
        ("realmat.fit.files:os.replace", False),
        ("realmat.terms.binding:bind", False),
        ("realmat.templates.yield_strength.template:strength", True),
    ],
)
def test_a_file_names_what_it_runs_and_only_the_gallery_is_run_unasked(path: str, trusted: bool) -> None:
    from realmat.terms.named import UntrustedError, find

    if trusted:
        assert callable(find(path, "the function", ()))
        return
    with pytest.raises(UntrustedError, match="trust="):
        find(path, "the function", ())


def test_a_fit_that_is_not_trusted_opens_with_its_draws(tmp_path: Path) -> None:
    df = pd.DataFrame({"y": [1.0, 2.1, 2.9, 4.2], "x": [1.0, 2.0, 3.0, 4.0]})
    theory = rm.theory.Function(law, columns=["x"], params={"a": rm.Prior("Normal", mu=1, sigma=1)})
    fit = rm.Model("y", theory=theory).fit(df, draws=50, chains=2, seed=1, progress=False)
    fit.save(tmp_path / "fit.nc")
    sealed = rm.load(tmp_path / "fit.nc")
    assert isinstance(sealed, SealedFit)
    pd.testing.assert_frame_equal(sealed.summary(), fit.summary())
    sealed.save(tmp_path / "copy.nc")
    for use in (sealed.predict, sealed.budget, sealed.check, lambda: sealed.model):
        with pytest.raises(rm.FileError, match=r"trust=\['"):
            use()
    again = rm.load(tmp_path / "copy.nc", trust=law.__module__)
    np.testing.assert_array_equal(again.predict()["mean"], fit.predict()["mean"])


def saturating(x, a, b):
    """A law with no linear coefficient."""
    return a * x / (b + x)


@pytest.mark.parametrize(
    ("noise", "a"),
    [
        (rm.observation.StudentT(), rm.Prior("LogNormal", mu=1, sigma=0.5)),
        (rm.observation.Normal(above="run_out"), rm.Prior("Uniform", lower=0, upper=10)),
    ],
    ids=["heavy tails", "run-outs under a uniform prior"],
)
def test_a_law_alone_with_rows_that_are_not_normal_answers_everything(noise: rm.observation.Normal, a: rm.Prior, tmp_path: Path) -> None:
    """No coefficient at all: the parameters are those of least squares before rows were cut, and every question is answered."""
    rng = np.random.default_rng(3)
    x = rng.uniform(0.2, 8, 60)
    y = saturating(x, 3.0, 1.5) + 0.05 * rng.normal(size=60)
    known, cov = optimize.curve_fit(saturating, x, y, p0=(3.0, 1.5))
    cut = y > 2.3
    df = pd.DataFrame({"y": np.where(cut, 2.3, y) if noise.above else y, "x": x, "run_out": cut.astype(int)})
    law = rm.theory.Function(saturating, columns=["x"], params={"a": a, "b": rm.Prior("LogNormal", mu=0.3, sigma=0.5)})
    fit = rm.Model("y", theory=law, observation=noise).fit(df, draws=300, chains=2, seed=1, progress=False)
    found = [fit.tree["posterior"][f"function_{name}"].to_numpy() for name in "ab"]
    for draws, value, own in zip(found, known, np.sqrt(np.diag(cov)), strict=True):
        assert abs(draws.mean() - value) < 3 * max(draws.std(), own)
    fit.summary(), fit.check(), fit.budget(), fit.gap(ci_prob=0.5, ci_kind="hdi")
    there = fit.predict({"x": [2.0]})  # a new row has no reading that could lie beyond a limit
    assert float(there["mean"][0]) == pytest.approx(saturating(2.0, *known), abs=0.1)
    with pytest.raises(rm.ModelError, match="trust=True must be a module's name"):
        rm.load(fit.save(tmp_path / "fit.nc"), trust=True)  # type: ignore[arg-type]
    assert rm.load(tmp_path / "fit.nc", trust=__name__).summary().shape == fit.summary().shape


def test_rows_that_join_a_fit_need_their_flags_of_censoring() -> None:
    df = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0], "low": [0, 0, 0, 1]})
    model = rm.Model("y", theory=rm.theory.Constant(), observation=rm.observation.Normal(below="low"))
    assert len(model.prediction_table({"other": [1.0]})) == 1
    with pytest.raises(rm.DataError, match="low"):
        model.bind(df[["y"]])
    with pytest.raises(rm.DataError, match="low"):
        model.further_table(df[["y"]])
