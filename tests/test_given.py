"""States whose population depends on other columns: against the dense oracle, and what that is worth in a prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.algebra import System, dense
from realmat.algebra.example import example_values


def gaps(seed: int = 1, rows: int = 150) -> pd.DataFrame:
    """A band gap, measured; a good calculation for a third of the materials, a poor one for all; the good one follows the poor one."""
    rng = np.random.default_rng(seed)
    pbe = rng.gamma(3.0, 0.7, rows)
    hse = 0.6 + 1.3 * pbe + rng.normal(0, 0.35, rows)
    known = rng.random(rows) < 1 / 3
    gap = 0.1 + 1.02 * hse + rng.normal(0, 0.13, rows)
    return pd.DataFrame(
        {"gap": gap, "HSE": np.where(known, hse, np.nan), "PBE": pbe, "formula": [f"m{i}" for i in range(rows)], "true": hse}
    )


def model(**changes: Any) -> rm.Model:
    effect = rm.material.Effect("HSE", **{"given": ["PBE"], "level": "material", **changes})
    return rm.Model("gap", unit="eV", levels={"material": "formula"}, theory=rm.theory.Constant(), material=effect)


@pytest.mark.parametrize("changes", [{}, {"u": 0.1}, {"by": "family", "u": 0.1, "given": ["PBE", "mass"]}])
def test_the_marginal_density_is_that_of_the_dense_covariance(changes: dict[str, Any]) -> None:
    df = gaps(rows=25).assign(family=lambda d: np.where(np.arange(len(d)) % 2, "oxide", "sulfide"), mass=lambda d: np.arange(len(d)) % 7)
    problem = model(**changes).bind(df)
    psi = example_values(problem.params)
    assert System(problem).at(psi).log_marginal == pytest.approx(dense.log_marginal(problem, psi), abs=1e-6)


def test_a_state_explained_by_another_column_keeps_its_slope() -> None:
    df = gaps(rows=450)
    fit = model().fit(df, seed=1, progress=False)
    post = fit.tree["posterior"]
    assert float(post["effect_HSE_slope"].mean()) == pytest.approx(1.02, abs=0.06)
    assert float(post["effect_HSE_given"].mean()) == pytest.approx(1.3, abs=0.15)
    new = pd.DataFrame({"formula": ["a", "b"], "HSE": [3.0, np.nan], "PBE": [2.0, 2.0]})
    out = fit.predict(new, new="material")
    assert out["sd"].values[0] == pytest.approx(0.13, abs=0.012)  # 150 materials tell the noise to 0.008
    assert out["sd"].values[1] == pytest.approx(np.hypot(1.02 * 0.35, 0.13), rel=0.2)  # the spread that PBE leaves
    assert out["mean"].values[1] == pytest.approx(0.1 + 1.02 * (0.6 + 1.3 * 2), abs=0.15)


def test_a_curved_effect_takes_given_columns_too() -> None:
    rng = np.random.default_rng(2)
    grain = np.exp(rng.normal(2, 0.6, 60))
    df = pd.DataFrame({"y": grain**-0.5, "grain": grain, "anneal": np.log(grain)})
    df.loc[::4, "grain"] = np.nan
    component = rm.material.GrainSize("grain", u=0.1, exponent=rm.Prior("Normal", mu=-0.5, sigma=0.1), given=["anneal"])
    made = rm.Model("y", theory=rm.theory.Constant(), material=component)
    problem = made.bind(df)
    psi = example_values(problem.params) | {"grain_size_grain_slope": 1.0, "grain_size_grain_given": np.array([1.0])}
    psi |= {"grain_size_grain_sd": 1e-6, "grain_size_grain_mean": float(np.log(grain).mean())}
    later = made.prediction_table(pd.DataFrame({"anneal": [1.0, 3.0]}))
    offset = problem.term("grain_size_grain").contribute(later).offset
    assert offset is not None
    np.testing.assert_allclose(offset(psi, np), np.exp([-0.5, -1.5]), rtol=1e-3)


def test_given_columns_are_one_for_each_state_and_not_constant() -> None:
    df = gaps(rows=20)
    df["formula"] = [f"m{i // 2}" for i in range(20)]
    with pytest.raises(rm.DataError, match="'PBE', given for 'effect_HSE': the same material has different values in rows 1, 3"):
        model(u=0.1).bind(df)
    with pytest.raises(rm.DataError, match="every value is the same, so it tells nothing"):
        model().bind(gaps(rows=20).assign(PBE=1.0))
