"""Comparison: the right model first, ArviZ's own columns, links made comparable, other data refused."""

from __future__ import annotations

import arviz as az
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

import realmat as rm
from realmat.fit import Fit
from realmat.validation.comparison import Comparison, compare


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    m = np.repeat(np.arange(24), rng.integers(1, 6, 24))
    theory = rng.uniform(1, 12, 24)[m]
    y = theory * np.exp(rng.normal(0, 0.15, 24)[m] + rng.normal(0, 0.05, len(m)))
    return pd.DataFrame({"y": y, "theory": theory, "mat": m})


def model(link: str = "identity", real: bool = True, levels: bool = True) -> rm.Model:
    return rm.Model(
        "y",
        unit="GPa",
        link=link,
        levels={"material": "mat"} if levels else {},
        theory=rm.theory.Calibrated("theory") if real else rm.theory.Constant(),
        material=rm.material.Unresolved(by="material") if levels else (),
    )


def fitted(model: rm.Model, table: pd.DataFrame) -> Fit:
    return model.fit(table, draws=100, seed=1, progress=False)


@pytest.fixture(scope="module")
def fits(table: pd.DataFrame) -> dict[str, Fit]:
    every = {"ideal": model(real=False), "real": model(), "log": model("log"), "pooled": model(levels=False)}
    return {name: fitted(m, table) for name, m in every.items()}


@pytest.fixture(scope="module")
def comparison(fits: dict[str, Fit]) -> Comparison:
    return compare(fits, by="material", draws=300)


def test_the_model_that_made_the_data_comes_first(comparison: Comparison) -> None:
    assert comparison.table.index[0] == "log"
    assert comparison.table.index[-1] == "ideal"
    assert "log predicts left-out materials better than ideal" in comparison.text
    assert "Jacobian" in comparison.text
    assert comparison.table.loc["log", "coverage_95"] == pytest.approx(0.95, abs=0.06)


def test_columns_are_those_of_arviz_and_its_numbers_agree(comparison: Comparison) -> None:
    direct = az.compare({name: found.elpd for name, found in comparison.left_out.items()}, round_to="none")
    for column in ("rank", "elpd_diff", "dse", "p", "elpd", "se"):
        np.testing.assert_allclose(comparison.table[column].astype(float), direct[column].astype(float), atol=1e-8)
    np.testing.assert_allclose(comparison.table["weight"], direct["weight"], atol=1e-3)  # ArviZ stops its optimiser early
    errors = {name: found.table["y"] - found.table["mean"] for name, found in comparison.left_out.items()}
    for name, error in errors.items():
        assert comparison.table.loc[name, "rmse"] == pytest.approx(np.sqrt((error**2).mean()))
        assert comparison.table.loc[name, "mae"] == pytest.approx(error.abs().mean())


def test_weights_survive_densities_that_underflow(table: pd.DataFrame) -> None:
    many = pd.concat([table] * 40, ignore_index=True)
    many["y"] *= np.exp(np.random.default_rng(0).normal(0, 0.05, len(many))) * 1e6  # log densities near -1000 a material
    found = compare({"real": fitted(model(), many), "log": fitted(model("log"), many)}, by="material", draws=200)
    each = np.stack([found.left_out[name].elpd.elpd_i.values for name in found.table.index])
    each = each - each.max(axis=0)
    best = minimize(lambda w: -np.log(np.exp(each[0]) * w[0] + np.exp(each[1]) * (1 - w[0])).sum(), [0.5], bounds=[(0, 1)])
    assert (np.abs(each.min()) > 1).any()
    np.testing.assert_allclose(found.table["weight"].iloc[0], best.x[0], atol=0.02)


def test_a_level_that_one_model_lacks_is_taken_from_another(comparison: Comparison) -> None:
    assert "mat" not in comparison.fits["pooled"].problem.table.columns
    assert comparison.left_out["pooled"].elpd.n_data_points == 24


def test_rows_in_another_order_are_the_same_data(fits: dict[str, Fit], table: pd.DataFrame) -> None:
    shuffled = fitted(model(), table.sample(frac=1, random_state=0))
    found = compare({"real": fits["real"], "shuffled": shuffled}, by="material", draws=300)
    np.testing.assert_allclose(found.table["elpd"].iloc[0], found.table["elpd"].iloc[1], atol=0.3)
    assert found.table["dse"].max() < 0.5


def test_other_data_are_refused_and_every_difference_is_named(fits: dict[str, Fit], table: pd.DataFrame) -> None:
    fewer = fitted(model(), table.iloc[:-2])
    other = fitted(model(), table.assign(y=table["y"].where(table.index != 3, 9.0)))
    unit = fitted(rm.Model("y", unit="MPa", theory=rm.theory.Constant()), table)
    with pytest.raises(rm.DataError) as caught:
        compare({"real": fits["real"], "fewer": fewer, "other": other, "unit": unit})
    assert len(caught.value.problems) == 3
    for words in (
        f"'fewer' {len(table) - 2}; rows {len(table) - 2}, {len(table) - 1} are not in both",
        "other values of y in row 3",
        "y in MPa",
    ):
        assert words in str(caught.value)
    with pytest.raises(rm.ModelError, match="at least two"):
        compare({"real": fits["real"]})
    with pytest.raises(rm.ModelError, match="the models know observation, mat"):
        compare({"real": fits["real"], "log": fits["log"]}, by="batch")


def test_it_plots_with_arviz(comparison: Comparison) -> None:
    assert type(comparison.plot()).__name__ == "PlotCollection"
    assert "Comparison of 4 models" in str(comparison)
