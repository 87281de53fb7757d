"""What the check before a fit says of columns and labels that are not what they seem, and of closed forms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import realmat as rm

Effect = rm.material.Effect


def columns(n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"y": rng.normal(size=n), "x1": rng.normal(size=n), "x3": rng.normal(size=n)})
    parts = rng.dirichlet([1, 1, 1], n)
    return df.assign(x2=2 * df["x1"], a=parts[:, 0], b=parts[:, 1], c=parts[:, 2])


def test_columns_that_are_multiples_of_each_other_are_named() -> None:
    model = rm.Model("y", theory=rm.theory.Constant(), material=[Effect("x1"), Effect("x2"), Effect("x3")])
    found = model.check(columns())
    assert "cannot tell effect_x1_slope from effect_x2_slope" in found.text
    assert "effect_x3" not in found.text
    assert "cannot tell" not in model.with_material(Effect("x1"), Effect("x3")).check(columns()).text


def test_fractions_that_sum_to_one_beside_a_constant_are_named() -> None:
    model = rm.Model("y", theory=rm.theory.Constant(), material=[Effect("a"), Effect("b"), Effect("c")])
    assert "cannot tell constant from effect_a_slope, effect_b_slope and effect_c_slope" in model.check(columns()).text
    assert "cannot tell" not in model.with_material(Effect("a"), Effect("b")).check(columns()).text
    pooled = rm.Model("y", theory=[rm.theory.Constant(), rm.theory.Corrections(["a", "b", "c"])])
    assert "corrections[a]" in pooled.check(columns()).text


def isotherm(p, q1, b1, q2, b2):
    """Return a dual-site Langmuir isotherm."""
    return q1 * b1 * p / (1 + b1 * p) + q2 * b2 * p / (1 + b2 * p)


def test_a_closed_form_is_judged_by_what_the_data_leave_uncertain() -> None:
    """Parameters that come out to a few per cent under priors of 100 % are not called inseparable."""
    rng = np.random.default_rng(1)
    p = np.geomspace(0.01, 100, 80)
    df = pd.DataFrame({"p": p, "n": isotherm(p, 2.0, 5.0, 3.0, 0.05) * (1 + 0) + 0.01 * rng.normal(size=80)})
    priors = {name: rm.Prior("LogNormal", mu=mu, sigma=1) for name, mu in {"q1": 0.5, "b1": 2.0, "q2": 1.0, "b2": -3.0}.items()}
    model = rm.Model("n", theory=rm.theory.Function(isotherm, columns=["p"], params=priors))
    text = model.check(df).text
    fit = model.fit(df, draws=250, seed=1, progress=False).tree["posterior"]
    relative = {name: float(fit[f"function_{name}"].std() / fit[f"function_{name}"].mean()) for name in priors}
    assert max(relative.values()) < 0.1
    assert "cannot separate" not in text


def test_labels_that_count_within_another_are_asked_about() -> None:
    rng = np.random.default_rng(2)
    df = pd.DataFrame({"day": np.repeat([f"d{k}" for k in range(6)], 4), "run": np.tile([1, 1, 2, 2], 6), "y": rng.normal(size=24)})
    model = rm.Model("y", theory=rm.theory.Constant(), material=[rm.material.Unresolved(by="day"), rm.material.Unresolved(by="run")])
    text = model.check(df).text
    assert "run counts from 1 within every day" in text
    code = text[text.index("by=") : text.index("]", text.index("by=")) + 1]
    nested = eval(f"[rm.material.Unresolved(by='day'), rm.material.Unresolved({code})]", {"rm": rm})
    assert nested[1].by == "day / run"
    again = rm.Model("y", theory=rm.theory.Constant(), material=nested)
    assert again.table(df).level("day / run").size == 12
    assert "counts from" not in again.check(df).text
    labs = df.assign(run=df["run"].map({1: "north", 2: "south"}))
    assert "counts from" not in model.check(labs).text


def test_a_scale_for_every_row_is_said() -> None:
    df = columns()
    model = rm.Model("y", theory=rm.theory.Constant(), observation=rm.observation.Normal(scale_by="x1"))
    assert "40 scales for 40 rows" in model.check(df).text
    with pytest.raises(rm.DataError, match=r"40 scales for 40 rows, none of which.*u=.*scale_with="):
        model.fit(df, progress=False)
    with pytest.raises(rm.ModelError):
        rm.observation.Normal(scale_by=[1.0])


def test_fractions_that_sum_to_one_beside_a_calibrated_theory_are_said() -> None:
    """The default prior of its intercept is given the slope; the design cannot tell it from the fractions all the same."""
    rng = np.random.default_rng(1)
    df = pd.DataFrame(rng.dirichlet([1, 1, 1], 60), columns=list("abc")).assign(t=rng.normal(5, 1, 60))
    df["y"] = 1 + df["t"] + 2 * df["a"] - df["b"] + rng.normal(0, 0.1, 60)
    model = rm.Model("y", theory=rm.theory.Calibrated("t"), material=[rm.material.Effect(c) for c in "abc"])
    assert "cannot tell calibrated_intercept from effect_a_slope, effect_b_slope and effect_c_slope" in model.check(df).text
