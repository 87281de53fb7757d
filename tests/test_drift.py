"""A drift within runs against generalised least squares with the exact covariance, and where it is not known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import realmat as rm

SCALE, LENGTH, NOISE = 0.5, 0.6, 0.1


def table(runs: int = 4, readings: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    run, t = np.repeat(np.arange(runs), readings), np.tile(np.linspace(0, 60.0, readings), runs)
    root = np.linalg.cholesky(covariance(run, t) + 1e-9 * np.eye(len(t)))
    y = 3 + root @ rng.standard_normal(len(t)) + NOISE * rng.standard_normal(len(t))
    return pd.DataFrame({"y": y, "minutes": t, "run": [f"R{k}" for k in run]})


def covariance(run: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Matern 3/2 in standard deviations of the times, within runs (Rasmussen & Williams 2006, eq. 4.17)."""
    distance = np.sqrt(3) * np.abs(t[:, None] - t) / t.std() / LENGTH
    return SCALE**2 * (1 + distance) * np.exp(-distance) * (run[:, None] == run)


def model(**drift: object) -> rm.Model:
    observation = rm.observation.Normal(scale=NOISE, drift=rm.observation.Drift(along="minutes", by="run", **drift))
    return rm.Model("y", theory=rm.theory.Constant(rm.Prior("Normal", mu=0, sigma=100)), observation=observation)


def test_the_mean_is_that_of_generalised_least_squares() -> None:
    """Aitken 1935: (1'C^-1 1)^-1 1'C^-1 y; the basis has covariances to 4 %.

    Without the drift the mean would seem known more than twice as well.
    """
    df = table()
    codes = df["run"].str[1:].astype(int).to_numpy()
    precision = np.linalg.inv(covariance(codes, df["minutes"].to_numpy()) + NOISE**2 * np.eye(len(df)))
    variance = 1 / precision.sum()
    fit = model(scale=SCALE, lengthscale=LENGTH).fit(df, seed=1, progress=False)
    found = fit.tree["posterior"]["constant"].values
    assert found.mean() == pytest.approx(variance * (precision @ df["y"]).sum(), abs=0.1 * np.sqrt(variance))
    assert found.std() == pytest.approx(np.sqrt(variance), rel=0.08)
    plain = rm.Model("y", theory=rm.theory.Constant(), observation=rm.observation.Normal()).fit(df, seed=1, progress=False)
    assert plain.tree["posterior"]["constant"].values.std() < 0.4 * np.sqrt(variance)


def test_its_size_and_length_are_found_and_what_is_new_is_not_known() -> None:
    """Truth within 95 % intervals; beyond the fit's times, and in a run nobody saw, the drift is as uncertain as it is large."""
    fit = model().fit(table(), seed=1, progress=False)
    post = fit.tree["posterior"]
    for name, truth in (("drift_run_scale", SCALE), ("drift_run_lengthscale", LENGTH)):
        low, high = np.quantile(post[name].values, (0.025, 0.975))
        assert low < truth < high
    rows = pd.DataFrame({"minutes": [30.0, 30.0, 200.0], "run": ["R1", "new", "R1"]})
    sd = fit.predict(rows)["sd"].values
    wide = np.sqrt((post["drift_run_scale"].values ** 2).mean() + NOISE**2 + post["constant"].values.var())
    assert sd[0] < 0.4 * wide
    assert sd[1:] == pytest.approx([wide, wide], rel=0.1)
    budget = fit.budget().table.set_index("component")["share"]
    assert {"noise", "drift_run"} <= set(budget.index)
    assert np.isfinite(fit.check().table["value"].map(lambda v: v if isinstance(v, float) else 0.0)).all()
    again = rm.Model.from_dict(model().to_dict())
    assert again == model()
    later = table().iloc[:3].assign(run="R9")
    longer = fit.update(later)
    assert longer.predict(later.drop(columns="y"))["sd"].values == pytest.approx(np.full(3, 0.12), abs=0.03)


def test_a_drift_that_cannot_be_is_refused() -> None:
    with pytest.raises(rm.DataError, match="one time only"):
        model().bind(table().assign(minutes=1.0))
    with pytest.raises(rm.ModelError, match="kernel='ar1' must be one of matern32"):
        rm.observation.Drift(along="minutes", kernel="ar1")
    with pytest.raises(rm.ModelError, match="goes below"):
        model(lengthscale=1e-3).bind(table())
