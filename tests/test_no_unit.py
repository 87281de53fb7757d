"""Answers do not depend on units, nor on where a unit has its zero: metamorphic tests, NIST's analyses of variance, and curves."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

import realmat as rm

ANOVA = Path(scipy.stats.__file__).parent / "tests" / "data" / "nist_anova"
SCALED = ("unresolved_specimen_scale", "noise_scale", "bias_lab_scale")


def table(unit: float = 1.0, offset: float = 0.0) -> pd.DataFrame:
    """60 rows, 30 specimens, 6 laboratories; response and theory in another unit, counted from elsewhere."""
    rng = np.random.default_rng(3)
    theory, lab, piece = rng.normal(size=60), rng.integers(0, 6, 60), np.arange(60) // 2
    y = 0.3 + 0.9 * theory + 0.25 * rng.normal(size=6)[lab] + 0.3 * rng.normal(size=30)[piece] + 0.2 * rng.normal(size=60)
    return pd.DataFrame({"y": unit * (y + offset), "t": unit * (theory + offset), "lab": lab.astype(str), "piece": piece.astype(str)})


MODEL = rm.Model(
    "y",
    levels={"specimen": "piece", "lab": "lab"},
    theory=rm.theory.Calibrated("t"),
    material=rm.material.Unresolved(by="specimen"),
    observation=rm.observation.Normal(bias_by="lab"),
)


@pytest.fixture(scope="module")
def plain() -> rm.Fit:
    """The fit in the unit as it stands."""
    return MODEL.fit(table(), seed=1, progress=False)


@pytest.mark.parametrize(("unit", "offset"), [(1e-12, 0.0), (1e12, 0.0), (1.0, 1e6), (1.0, 1e9), (1e-9, 1e3)])
def test_neither_unit_nor_offset_matters(plain: rm.Fit, unit: float, offset: float) -> None:
    """Means within 0.1 sd, sds within 5 %, shares within 0.01, and the same road; what follows a fit works too."""
    fit = MODEL.fit(table(unit, offset), seed=1, progress=False)
    before, after = plain.tree["posterior"], fit.tree["posterior"]
    for name, power in [*((name, 1) for name in SCALED), ("calibrated_slope", 0)]:
        was, now = before[name].values.ravel(), after[name].values.ravel() / unit**power
        assert abs(now.mean() - was.mean()) < 0.1 * was.std(), name
        assert abs(now.std() / was.std() - 1) < 0.05, name
    assert fit.facts["method"] == plain.facts["method"]
    shares = [f.budget(new="observation").table["share"].to_numpy() for f in (plain, fit)]
    assert np.abs(shares[0] - shares[1]).max() < 0.01


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


def test_a_law_without_a_value_anywhere_is_an_error() -> None:
    """Overflow at some draws is no probability there; at all of them it is an error."""
    df = pd.DataFrame({"x": np.linspace(1, 2, 12), "y": np.linspace(1, 2, 12)})
    model = rm.Model("y", theory=rm.theory.Function(grows, columns=["x"], params={"rate": rm.Prior("Normal", mu=900, sigma=0.1)}))
    with pytest.raises(rm.RealmatError, match="not finite"):
        model.fit(df, seed=1, progress=False)


def grows(x, rate):  # type: ignore[no-untyped-def]
    """An exponential."""
    return np.exp(rate * x)
