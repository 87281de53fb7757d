"""Advice against brute force: simulate each measurement, refit everything, and see how far the target's variance falls."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import realmat as rm
from realmat.fit import Fit

MATERIALS, VALUES = 12, 12
half = rm.Prior("HalfNormal", sigma=1)
MODEL = rm.Model(
    "y",
    levels={"material": "mat", "specimen": "piece"},
    theory=rm.theory.Constant(rm.Prior("Normal", mu=0, sigma=3)),
    material=[rm.material.Unresolved(by="material", scale=half), rm.material.Unresolved(by="specimen", scale=half)],
    observation=rm.observation.Normal(u="u", scale=False),
)


def table() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    m = np.repeat(np.arange(MATERIALS), rng.integers(1, 8, MATERIALS))
    u = rng.choice([0.2, 0.6, 1.2], len(m))
    y = rng.normal(0, 0.7, MATERIALS)[m] + rng.normal(0, 0.5, len(m)) + rng.normal(0, u)
    return pd.DataFrame({"y": y, "u": u, "mat": m, "piece": np.arange(len(m))})


def fitted(df: pd.DataFrame, seed: int) -> Fit:
    return MODEL.fit(df, engine="exact", draws=200, chains=4, seed=seed, progress=False)


def variance(fit: Fit, rows: int) -> float:
    """Mean variance of the noiseless values of the first rows: given psi exactly, over psi from the draws."""
    means, inner = [], []
    for i in fit.posterior.thin(800):
        values = fit.posterior.values(int(i))
        at, (matrix, offset, _) = fit.posterior.system.at(values), fit.posterior.system.response(values)
        own = matrix[fit.problem.cell[:rows]]
        means.append(own @ at.mean + offset[fit.problem.cell[:rows]])
        inner.append(at.variances(own))
    return float((np.var(means, axis=0) + np.mean(inner, axis=0)).mean())


@pytest.mark.validate
def test_thirty_actions_fall_as_far_as_refitting_says() -> None:
    """Rank correlation at least 0.95, mean ratio within 5 %."""
    df = table()
    base = fitted(df, 1)
    found = base.advise(["repeat", "specimen"]).table
    chosen = found.iloc[np.linspace(0, len(found) - 1, 30).astype(int)]
    rng = np.random.default_rng(0)
    before, falls = variance(base, len(df)), []
    for _, r in chosen.iterrows():
        label = int(r["what"].replace(" again", "").split()[-1])
        row = df[df["piece" if r["action"] == "repeat" else "mat"] == label].head(1)
        row = row if r["action"] == "repeat" else row.assign(piece=9999)
        y = base.predict(row.drop(columns="y"), draws=800, seed=int(rng.integers(2**31)))["draws"].values[:, 0]
        y = np.quantile(y, (np.arange(VALUES) + 0.5) / VALUES)  # evenly likely: what the measurement may turn out to be
        after = [variance(fitted(pd.concat([df, row.assign(y=v)], ignore_index=True), 1), len(df)) for v in y]
        falls.append(before - np.mean(after))
    assert stats.spearmanr(chosen["fall"], falls).statistic >= 0.95
    assert chosen["fall"].sum() / np.sum(falls) == pytest.approx(1, abs=0.05)
