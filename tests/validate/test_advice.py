"""Advice against brute force: simulate each measurement, refit everything, and see how far the target's variance falls."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import realmat as rm
from realmat.algebra import System
from realmat.fit import Fit

MATERIALS, VALUES = 12, 30
half = rm.Prior("HalfNormal", sigma=1)
MODEL = rm.Model(
    "y",
    levels={"material": "mat", "specimen": "piece"},
    theory=rm.theory.Constant(rm.Prior("Normal", mu=0, sigma=3)),
    material=[rm.material.Unresolved(by="material", scale=half), rm.material.Unresolved(by="specimen", scale=half)],
    observation=rm.observation.Normal(u="u", scale=False),
)
SCALES = ("unresolved_material_scale", "unresolved_specimen_scale")
SPAN, GRID = (0.02, 4.0), 12  # of the scales


def table() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    m = np.repeat(np.arange(MATERIALS), rng.integers(1, 8, MATERIALS))
    u = rng.choice([0.2, 0.6, 1.2], len(m))
    y = rng.normal(0, 0.7, MATERIALS)[m] + rng.normal(0, 0.5, len(m)) + rng.normal(0, u)
    return pd.DataFrame({"y": y, "u": u, "mat": m, "piece": np.arange(len(m))})


def variance(fit: Fit, df: pd.DataFrame, rows: int) -> float:
    """Mean variance of the noiseless values of the first rows after a refit to `df`: psi on a grid, so that nothing is left to chance.

    Priors are those of `fit`, whose defaults were set by its own data.
    """
    problem = MODEL.bind(df)
    system = System(problem)
    own = np.linspace(*np.log(SPAN), GRID)
    taus, log_weight, means, inner = np.exp(np.stack(np.meshgrid(own, own), axis=-1).reshape(-1, 2)), [], [], []
    for pair in taus:
        values = dict(zip(SCALES, pair, strict=True))
        prior = sum(float(q.prior.logpdf(values[q.name])) for q in fit.problem.params)
        at, (matrix, offset, _) = system.at(values), system.response(values)
        here = matrix[problem.cell[:rows]]
        log_weight.append(prior + np.log(pair).sum() + at.log_marginal)
        means.append(here @ at.mean + offset[problem.cell[:rows]])
        inner.append(at.variances(here))
    w = np.exp(np.array(log_weight) - max(log_weight))
    w /= w.sum()
    mean = w @ np.array(means)
    return float((w @ (np.array(means) - mean) ** 2 + w @ np.array(inner)).mean())


@pytest.mark.validate
def test_thirty_actions_fall_as_far_as_refitting_says() -> None:
    """Rank correlation at least 0.95, mean ratio within 5 %."""
    df = table()
    base = MODEL.fit(df, engine="exact", draws=1000, seed=1, progress=False)
    assert {q.name for q in base.problem.params} == set(SCALES)
    found = base.advise(["repeat", "specimen"]).table
    chosen = found.iloc[np.linspace(0, len(found) - 1, 30).astype(int)]
    rng = np.random.default_rng(0)
    before, falls = variance(base, df, len(df)), []
    for _, r in chosen.iterrows():
        label = int(r["what"].replace(" again", "").split()[-1])
        row = df[df["piece" if r["action"] == "repeat" else "mat"] == label].head(1)
        row = row if r["action"] == "repeat" else row.assign(piece=9999)
        y = base.predict(row.drop(columns="y"), draws=4000, seed=int(rng.integers(2**31)))["draws"].values[:, 0]
        y = np.quantile(y, (np.arange(VALUES) + 0.5) / VALUES)  # evenly likely: what the measurement may turn out to be
        after = [variance(base, pd.concat([df, row.assign(y=v)], ignore_index=True), len(df)) for v in y]
        falls.append(before - np.mean(after))
    rank, ratio = stats.spearmanr(chosen["fall"], falls).statistic, chosen["fall"].sum() / np.sum(falls)
    print(f"rank correlation {rank:.3f}, mean ratio {ratio:.3f}")
    assert rank >= 0.95
    assert ratio == pytest.approx(1, abs=0.05)
