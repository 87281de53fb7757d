"""A discrepancy over many descriptors: against Gaussian process regression in closed form, differences, and known Sobol' indices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.engines.exact.fields import MarginalDensity

NAMES = list("abcde")


def sheet(rows: int = 60, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, (rows, 5))
    y = np.sin(3 * x[:, 0]) + 2 * x[:, 1] + rng.normal(0, 0.1, rows)
    return pd.DataFrame(x, columns=NAMES).assign(y=y, g=[f"g{i % 6}" for i in range(rows)])


def model(*more: Any, **changes: Any) -> rm.Model:
    return rm.Model("y", theory=rm.theory.Constant(), material=[rm.material.Discrepancy(on=NAMES, name="rest", **changes), *more])


def test_the_gradient_is_that_of_the_marginal_density() -> None:
    problem = model(rm.material.Unresolved(by="g")).bind(sheet())
    density = MarginalDensity(problem, np.arange(40))
    theta = density.space.start() + 0.1 * np.random.default_rng(2).normal(size=density.space.size)
    step = 1e-5 * np.eye(len(theta))
    truth = [(density(theta + s)[0] - density(theta - s)[0]) / 2e-5 for s in step]
    np.testing.assert_allclose(density(theta)[1], truth, rtol=1e-4, atol=1e-4)


def test_predictions_are_those_of_gaussian_process_regression() -> None:
    """Rasmussen & Williams (2006), eq. 2.25 and 2.26, with everything but the function known."""
    df, new = sheet(), sheet(8, seed=5)
    observation = rm.observation.Normal(scale=0.1)
    fixed = rm.Model("y", theory=rm.theory.Constant(0.0), observation=observation)
    made = fixed.with_material(rm.material.Discrepancy(on=NAMES, lengthscale=2.0, scale=1.5, name="rest"))
    problem = made.bind(df)
    process = problem.contributions[1].field
    assert process is not None
    unit = df[NAMES].to_numpy().std(axis=0)
    x, there = df[NAMES].to_numpy() / unit, new[NAMES].to_numpy() / unit

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        r = np.sqrt(5) * np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1)) / 2.0
        return 1.5**2 * (1 + r + r**2 / 3) * np.exp(-r)

    np.testing.assert_allclose(process.covariance({}, np), kernel(x, x), atol=1e-7)
    np.testing.assert_allclose(process.cross(there, {}), kernel(there, x), atol=1e-12)
    z = np.random.default_rng(1).normal(size=60)
    f = np.linalg.cholesky(kernel(x, x) + 1e-8 * 1.5**2 * np.eye(60)) @ z
    carried = kernel(there, x) @ np.linalg.solve(kernel(x, x) + 1e-8 * 1.5**2 * np.eye(60), f)
    lines = np.full((60, 1), f.mean())
    np.testing.assert_allclose(process.on_rows({}, {"rest": z}, np), f - lines[:, 0], atol=1e-6)
    np.testing.assert_allclose(process.elsewhere(there, np.ones((8, 1)), {}, {"rest": z}), carried - f.mean(), atol=1e-5)


def test_a_fit_says_which_descriptors_matter() -> None:
    fit = model().fit(sheet(80), seed=1, draws=160, chains=2, progress=False)
    assert fit.facts["engine"] == "exact"
    found = fit.relevance("rest")
    share = found.table.set_index("descriptor")["share"]
    assert set(share.index[:2]) == {"a", "b"}
    rows = sheet(80)  # the indices are over the table's rows: of an additive function its parts' variances over the function's
    parts = np.sin(3 * rows["a"]), 2 * rows["b"]
    expected = [np.var(part) / np.var(parts[0] + parts[1]) for part in parts]
    np.testing.assert_allclose(share[["a", "b"]], expected, atol=0.12)
    assert share[["c", "d", "e"]].sum() < 0.08
    out = fit.predict(sheet(40, seed=7))
    truth = sheet(40, seed=7)
    assert np.sqrt(np.mean((out["mean"].values - truth["y"]) ** 2)) < 0.2
    assert "a" in found.text
    assert found.plot().axes


def test_a_sum_of_smooths_is_one_component() -> None:
    problem = model(additive=True).bind(sheet())
    assert {f"rest_{name}" for name in NAMES} <= {block.name for block in problem.coefficients}
    with pytest.raises(rm.ModelError, match="takes one or more different descriptors"):
        rm.material.Discrepancy(on=["a", "a"])
