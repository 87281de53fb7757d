"""Answers do not depend on units, nor on where a unit has its zero: metamorphic tests, NIST's analyses of variance, and curves."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from metamorphic import AS_IT_STANDS, MODELS, REWRITTEN, Units, differences

import realmat as rm
from realmat.algebra import System

ANOVA = Path(scipy.stats.__file__).parent / "tests" / "data" / "nist_anova"
_CHEAP = [
    ("laboratories", Units(response=1e-12)),
    ("laboratories", Units(offset=1e9)),
    ("states", Units(offset=1e6, column=1e-9)),
    ("uncertain theory", Units(response=1e9, offset=1e6)),
    ("limits", Units(response=1e9)),
    ("tails", Units(response=1e-9, offset=1e3)),
    ("curve", Units(offset=1e6, column=1e9)),
    ("log link", Units(response=1e12, column=1e-9)),
]
_EVERY = [
    *(Units(response=response) for response in (1e-12, 1e-9, 1e9, 1e12)),
    *(Units(column=column) for column in (1e-9, 1e9)),
    *(Units(offset=offset) for offset in (1e3, 1e6, 1e9)),
]


def fitted(name: str, model: rm.Model, df: pd.DataFrame) -> rm.Fit:
    """Rounding leads chains elsewhere after some iterations: those of tails are long enough that seeds differ by less than is allowed."""
    return model.fit(df, seed=1, draws=4000 if name == "tails" else 1000, progress=False)


@cache
def plain(name: str) -> rm.Fit:
    """The fit of the table as it stands."""
    return fitted(name, *MODELS[name](AS_IT_STANDS))


def expect_alike(name: str, fit: rm.Fit, units: Units = AS_IT_STANDS) -> None:
    """Means within 0.1 sd, sds within 5 %, shares within 0.01, R-hat and the road."""
    found = differences(name, plain(name), fit, units)
    print(name, units, {key: round(float(value), 3) for key, value in found.items()})
    assert found["mean"] < 0.1
    assert found["sd"] < 0.05
    assert found["share"] < 0.01
    assert found["r_hat"] <= 1.01
    assert found["road"] == 0


@pytest.mark.parametrize(("name", "units"), _CHEAP)
def test_neither_unit_nor_offset_matters(name: str, units: Units) -> None:
    model, df = MODELS[name](units)
    expect_alike(name, fitted(name, model, df), units)


@pytest.mark.parametrize("how", list(REWRITTEN))
def test_nor_how_a_table_is_written(how: str) -> None:
    model, df = MODELS["laboratories"](AS_IT_STANDS)
    expect_alike("laboratories", model.fit(REWRITTEN[how](df), seed=1, progress=False))


@pytest.mark.validate
@pytest.mark.parametrize("name", list(MODELS))
def test_of_all_models_neither_unit_nor_offset_nor_writing_matters(name: str) -> None:
    for units in _EVERY:
        if units.offset and name == "log link":  # a product has no zero to be counted from
            continue
        model, df = MODELS[name](units)
        expect_alike(name, fitted(name, model, df), units)
    model, df = MODELS[name](AS_IT_STANDS)
    for write in REWRITTEN.values():
        expect_alike(name, fitted(name, model, write(df)))


INTEGERS = {"numpy": int, "32 bits": np.int32, "nullable": "Int64", "pyarrow": "int64[pyarrow]"}


def expect_whole_numbers_alike(name: str, kinds: Iterable[str]) -> None:
    """Whole numbers written as such, and as numbers with a point: the same draws."""
    model, df = MODELS[name](Units(response=1e3, column=1e3))
    numbers = [c for c in df.columns if df[c].dtype.kind == "f"]
    whole = df.assign(**{c: np.maximum(np.round(df[c]), 1.0 if name == "log link" else -np.inf) for c in numbers})
    first = model.fit(whole, draws=100, seed=1, progress=False).tree["posterior"]
    for kind in kinds:
        fitting = [c for c in numbers if kind in ("nullable", "pyarrow") or whole[c].notna().all()]
        second = model.fit(whole.astype(dict.fromkeys(fitting, INTEGERS[kind])), draws=100, seed=1, progress=False).tree["posterior"]
        for variable in first:
            assert np.array_equal(first[variable].values, second[variable].values), (kind, variable)


def test_whole_numbers_are_numbers() -> None:
    expect_whole_numbers_alike("laboratories", ["numpy"])


@pytest.mark.validate
@pytest.mark.parametrize("name", list(MODELS))
def test_whole_numbers_of_any_kind_are_numbers_to_all_models(name: str) -> None:
    expect_whole_numbers_alike(name, INTEGERS)


def anova(file: Path) -> pd.DataFrame:
    """Groups and readings of one of NIST's files."""
    text = file.read_text()
    found = re.search(r"Data\s+\(lines (\d+) to (\d+)\)", text)
    assert found is not None
    rows = [line.split() for line in text.splitlines()[int(found[1]) - 1 : int(found[2])]]
    return pd.DataFrame({"lab": [row[0] for row in rows], "y": [float(row[1]) for row in rows]})


@pytest.mark.parametrize("name", ["AtmWtAg", "SiRstv", *(f"SmLs0{k}" for k in range(1, 10))])
def test_certified_analyses_of_variance(name: str) -> None:
    """Noise and scale of the groups against a quadrature of their posterior; readings share up to thirteen leading digits.

    With k groups of n readings the mean square within and the means are sufficient: Box & Tiao, Bayesian Inference in Statistical
    Analysis, 1973, section 5.2. Within 0.1 posterior sd, some six times the Monte Carlo error.
    """
    df = anova(ANOVA / f"{name}.dat")
    left = df["y"] - df["y"].iloc[0]
    groups = left.groupby(df["lab"])
    n, k = int(groups.size().iloc[0]), groups.ngroups
    model = rm.Model("y", theory=rm.theory.Constant(), observation=rm.observation.Normal(bias_by="lab"))
    fit = model.fit(df, seed=1, progress=False)
    unit = float(left.std(ddof=0))
    prior = {q.name: q.prior.arguments()["sigma"] / unit for q in fit.problem.params}
    within, between = groups.var(ddof=1).sum() / unit**2, (groups.mean().var(ddof=1) * (k - 1)) / unit**2
    log_s, log_b = np.log(np.geomspace(0.02, 6.0, 800))[:, None], np.log(np.geomspace(1e-4, 12.0, 600))[None]
    s, b = np.exp(log_s), np.exp(log_b)
    v, wide = b**2 + s**2 / n, fit.problem.coefficients[0].sd / unit
    log = -k * (n - 1) * log_s - 0.5 * (n - 1) * within / s**2 - 0.5 * (k - 1) * np.log(v) - 0.5 * between / v
    log = log - 0.5 * np.log(v + k * wide**2) + log_s + log_b
    log = log - 0.5 * (s / prior["noise_scale"]) ** 2 - 0.5 * (b / prior["bias_lab_scale"]) ** 2
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    for variable, x in (("noise_scale", s), ("bias_lab_scale", b)):
        draws = fit.tree["posterior"][variable].values.ravel() / unit
        mean = float(np.sum(weight * x))
        sd = float(np.sqrt(np.sum(weight * (x - mean) ** 2)))
        assert abs(draws.mean() - mean) < 0.1 * sd, variable
        assert abs(draws.std() / sd - 1) < 0.12, variable


def test_a_curve_known_far_better_than_its_prior_and_its_two_modes() -> None:
    """``a + b exp(-c x) + d exp(-e x)`` may exchange its exponentials: both modes are kept, and the fit says that there are two."""
    rng = np.random.default_rng(0)
    x = np.linspace(0, 300, 40)
    y = 0.4 + 2.0 * np.exp(-0.013 * x) - 1.5 * np.exp(-0.022 * x) + 0.002 * rng.normal(size=40)
    sides = {"a": (0.5, 1.0), "b": (1.0, 3.0), "c": (0.02, 0.02), "d": (0.0, 3.0), "e": (0.02, 0.02)}
    params = {key: rm.Prior("Normal", mu=mu, sigma=sigma) for key, (mu, sigma) in sides.items()}
    model = rm.Model("y", theory=rm.theory.Function(two_decays, columns=["x"], params=params))
    fit = model.fit(pd.DataFrame({"x": x, "y": y}), seed=1, progress=False)
    post = fit.tree["posterior"]
    swapped = float((post["function_c"] > post["function_e"]).mean())
    # the prior of b prefers neither sign much: with b, d and c, e exchanged the likelihood is the same
    log_prior = sum(-0.5 * ((post[f"function_{k}"] - m) / s) ** 2 for k, (m, s) in sides.items())
    assert fit.facts["modes"] == 2
    assert 0.01 < swapped < 0.99
    assert np.isfinite(log_prior).all()


def two_decays(x, a, b, c, d, e):  # type: ignore[no-untyped-def]
    """Two exponentials and a constant."""
    return a + b * np.exp(-c * x) + d * np.exp(-e * x)


def three_decays(x, a, b, c, d, e, f):  # type: ignore[no-untyped-def]
    """Three exponentials."""
    return a * np.exp(-b * x) + c * np.exp(-d * x) + e * np.exp(-f * x)


def test_terms_of_one_form_change_places_in_every_way() -> None:
    """Alike priors: each of the six orders of three rates has probability 1/6, though each mode is but a millionth as wide as a prior."""
    x = np.linspace(0, 1.15, 24)
    y = three_decays(x, 0.1, 1.0, 0.86, 3.0, 1.56, 5.0) + 1e-6 * np.random.default_rng(0).normal(size=24)
    params = {key: rm.Prior("Normal", mu=2.0, sigma=4.0) for key in "abcdef"}
    fit = rm.Model("y", theory=rm.theory.Function(three_decays, columns=["x"], params=params)).fit(
        pd.DataFrame({"x": x, "y": y}), seed=1, progress=False
    )
    assert fit.facts["modes"] == 6
    rates = np.array([fit.tree["posterior"][f"function_{key}"].values.ravel() for key in "bdf"])
    _, seen = np.unique(np.argsort(rates, axis=0), axis=1, return_counts=True)
    assert seen / rates.shape[1] == pytest.approx(np.full(6, 1 / 6), abs=0.04)  # four standard errors of some 1500 independent draws
    assert np.sort(rates, axis=0).mean(axis=1) == pytest.approx([1.0, 3.0, 5.0], abs=0.02)


def test_a_bent_ridge_is_followed_to_its_end_from_far_away() -> None:
    """NIST's MGH10 (Meyer 1972) from its first starting values; certified estimates and standard deviations, the priors far wider."""
    y = [34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261, 7030, 6005, 5147, 4427, 3820, 3307, 2872]
    df = pd.DataFrame({"x": np.arange(50.0, 126.0, 5.0), "y": np.array(y, float)})
    start, certified = (2.0, 400_000.0, 25_000.0), (5.6096364710e-3, 6.1813463463e3, 3.4522363462e2)
    params = {key: rm.Prior("Normal", mu=mu, sigma=2 * mu) for key, mu in zip("abc", start, strict=True)}
    fit = rm.Model("y", theory=rm.theory.Function(meyer, columns=["x"], params=params)).fit(df, seed=1, progress=False)
    for key, value, sd in zip("abc", certified, (1.5687892471e-4, 2.3309021107e1, 7.8486103508e-1), strict=True):
        draws = fit.tree["posterior"][f"function_{key}"].values
        assert abs(draws.mean() - value) < 0.3 * sd
        assert draws.std() == pytest.approx(sd, rel=0.2)  # a t of 13 degrees of freedom is wider than its scale by 9 %


def meyer(x, a, b, c):  # type: ignore[no-untyped-def]
    """A thermistor's resistance."""
    return a * np.exp(b / (x + c))


def test_a_rate_whose_exponential_is_gone_at_once_is_not_taken_for_a_linear_parameter() -> None:
    x = np.arange(10.0, 330.0, 10.0)
    df = pd.DataFrame({"x": x, "y": 0.4 + 1.5 * np.exp(-0.013 * x) + 0.003 * np.random.default_rng(3).normal(size=32)})
    params = {key: rm.Prior("Normal", mu=mu, sigma=sigma) for key, mu, sigma in (("a", 50, 100), ("b", 150, 300), ("c", 2, 4))}
    fit = rm.Model("y", theory=rm.theory.Function(one_decay, columns=["x"], params=params)).fit(df, seed=1, progress=False)
    rate = fit.tree["posterior"]["function_c"].values
    assert rate.std() < 3e-4
    assert abs(rate.mean() - 0.013) < 4 * rate.std()
    assert fit.facts["method"].startswith("importance")


def one_decay(x, a, b, c):  # type: ignore[no-untyped-def]
    """An exponential and a constant."""
    return a + b * np.exp(-c * x)


def test_a_law_that_leaves_nothing_but_rounding_asks_for_the_resolution() -> None:
    x = np.arange(10.0, 330.0, 10.0)
    df = pd.DataFrame({"x": x, "y": one_decay(x, 0.4, 1.5, 0.013)})
    params = {key: rm.Prior("Normal", mu=mu, sigma=1.0) for key, mu in (("a", 0.0), ("b", 1.0), ("c", 0.02))}
    law = rm.theory.Function(one_decay, columns=["x"], params=params)
    with pytest.raises(rm.FitError, match=r"passes through every reading.*State the resolution"):
        rm.Model("y", theory=law).fit(df, seed=1, progress=False)
    stated = rm.Model("y", theory=law, observation=rm.observation.Normal(u=1e-3, scale=False)).fit(df, draws=300, seed=1, progress=False)
    rate = stated.tree["posterior"]["function_c"].values
    assert abs(rate.mean() - 0.013) < 0.3 * rate.std()


def test_a_law_without_a_value_anywhere_is_an_error_that_shows_its_priors() -> None:
    df = pd.DataFrame({"x": np.linspace(1, 2, 12), "y": np.linspace(1, 2, 12)})
    model = rm.Model("y", theory=rm.theory.Function(grows, columns=["x"], params={"rate": rm.Prior("Normal", mu=900, sigma=0.1)}))
    with pytest.raises(rm.RealmatError, match=r"not finite.*rate ~ .*900"):
        model.fit(df, seed=1, progress=False)


@pytest.mark.parametrize("name", ["grows", "of_python", "of_positive"])
def test_where_a_law_has_no_value_there_is_no_probability(name: str) -> None:
    """Overflow, an error of Python's own numbers, no logarithm: at the medians, or at most draws of the priors."""
    law, truth, prior = {
        "grows": (grows, 0.02, rm.Prior("Normal", mu=4, sigma=2)),
        "of_python": (of_python, 0.02, rm.Prior("Normal", mu=8, sigma=4)),
        "of_positive": (of_positive, 2.0, rm.Prior("Normal", mu=-1, sigma=3)),
    }[name]
    x = np.linspace(1, 2, 25)
    df = pd.DataFrame({"x": x, "y": law(x, truth) + 0.05 * np.random.default_rng(2).normal(size=25)})
    fit = rm.Model("y", theory=rm.theory.Function(law, columns=["x"], params={"rate": prior})).fit(df, draws=300, seed=1, progress=False)
    rate = fit.tree["posterior"]["function_rate"].values
    assert abs(rate.mean() - truth) < 4 * rate.std()
    assert rate.std() < 0.1
    if name == "of_positive":  # the logarithm of a rate stands for a mean of 25 readings
        noise = fit.tree["posterior"]["noise_scale"].values.mean()
        assert rate.std() / truth == pytest.approx(noise / 5, rel=0.15)


def grows(x, rate):  # type: ignore[no-untyped-def]
    """An exponential."""
    return np.exp(100 * rate * x)


def of_python(x, rate):  # type: ignore[no-untyped-def]
    """A line whose slope Python computes, with an error where it overflows."""
    return x * math.exp(100 * rate)


def of_positive(x, rate):  # type: ignore[no-untyped-def]
    """A logarithm."""
    return np.log(rate * x)


@pytest.mark.parametrize("theory", [rm.theory.Calibrated("t", u=0.3), rm.theory.Consensus(["t", "t2"])], ids=["line", "consensus"])
def test_a_computed_value_that_differs_within_a_specimen_is_that_of_the_row(theory: rm.theory.Calibrated | rm.theory.Consensus) -> None:
    """Every value counts, in any order of the rows: with specimens that have no effect of their own it is the model without specimens."""
    rng = np.random.default_rng(4)
    t = rng.normal(10, 2, 12)[np.repeat(np.arange(12), 3)] + np.tile([1.0, 2.0, 3.0], 12)
    df = pd.DataFrame(
        {"y": 1 + 0.9 * t + rng.normal(0, 0.4, 36), "t": t, "t2": t + rng.normal(0, 0.5, 36), "piece": np.repeat(np.arange(12), 3)}
    )
    expected = System(rm.Model("y", theory=theory).bind(df))
    psi = expected.example
    for table in (df, df.sample(frac=1, random_state=2)):
        system = System(rm.Model("y", levels={"specimen": "piece"}, theory=theory).bind(table))
        assert system.size == expected.size
        assert system.at(psi).log_marginal == pytest.approx(expected.at(psi).log_marginal, abs=1e-9)
