"""Coverage of latent states' parameters over 100 simulated laboratories, beside dropping rows and filling in means."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import states_truth as truth

pytestmark = pytest.mark.validate
REPLICATES = 100
SLOPES = ["grain_size_d_slope", "impurity_O_slope"]


def test_coverage_against_dropping_and_filling() -> None:
    found = {"latent": [], "dropped": [], "filled": []}
    for seed in range(REPLICATES):
        df = truth.laboratory(seed)
        found["latent"].append(truth.intervals(truth.model().fit(df, draws=500, chains=2, seed=seed, progress=False)))
        for name, table in (("dropped", truth.complete_cases(df)), ("filled", truth.mean_filled(df))):
            found[name].append(truth.intervals(truth.model(latent=False).fit(table, draws=500, chains=2, seed=seed, progress=False)))
    every = pd.concat({name: pd.concat(tables, keys=range(REPLICATES)) for name, tables in found.items()}).reset_index()
    every.columns = ["method", "replicate", "quantity", *every.columns[3:]]
    every["error"] = (every["mean"] - every["truth"]).astype(float)
    every["width"] = (every["high"] - every["low"]).astype(float)
    by = every.groupby(["method", "quantity"])
    inside, bias, width = by["inside"].apply(lambda x: x.astype(float).mean()), by["error"].mean(), by["width"].mean()
    print(pd.DataFrame({"coverage": inside, "bias": bias, "width": width, "rmse": by["error"].apply(lambda e: np.sqrt((e**2).mean()))}))
    latent = inside["latent"]
    assert 0.85 <= latent.mean() <= 0.95
    assert latent.between(0.81, 0.99).all()  # 100 replicates: 90 % +- 3 standard errors
    for slope in SLOPES:
        error = by["error"].std()["latent", slope] / np.sqrt(REPLICATES)
        assert abs(bias["latent", slope]) < 3 * error
        assert width["dropped", slope] > 2 * width["latent", slope]
        assert inside["filled", slope] < 0.7
        assert bias["filled", slope] < -3 * error
