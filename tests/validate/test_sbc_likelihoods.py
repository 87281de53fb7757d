"""Simulation-based calibration of counts, fractions and strengths: truths from the prior rank uniformly among the draws of a fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import realmat as rm

REPLICATES = 300
P = rm.Prior
DISPERSION = P("Gamma", alpha=6.0, beta=15.0)  # 0.4 with sd 0.16

LIKELIHOODS: dict[str, Any] = {
    "Poisson": rm.observation.Poisson(exposure="size"),
    "NegativeBinomial": rm.observation.NegativeBinomial(exposure="size", dispersion=DISPERSION),
    "Binomial": rm.observation.Binomial(trials="n"),
    "Beta": rm.observation.Beta(dispersion=DISPERSION),
    "Gamma": rm.observation.Gamma(dispersion=DISPERSION),
    "Weibull": rm.observation.Weibull(size="size", modulus=P("Gamma", alpha=9.0, beta=1.5)),
}


def design() -> pd.DataFrame:
    """Eight lots of three readings, over a column; sizes and numbers of trials that differ."""
    rows = np.arange(24)
    df = pd.DataFrame({"lot": rows // 3, "x": np.tile([-1.0, 0.0, 1.0], 8), "size": 1.0 + rows % 4, "n": 5 + 5 * (rows % 3)})
    return df.assign(y=0.0)


def declared(observation: Any) -> tuple[rm.Model, pd.DataFrame]:
    """A constant, a slope, and lots that differ; all priors proper, and stated so that no table scales them."""
    model = rm.Model(
        "y",
        levels={"specimen": "lot"},
        theory=rm.theory.Constant(P("Normal", mu=0.8, sigma=0.7)),
        material=[
            rm.material.Effect("x", level="row", slope=P("Normal", mu=0.0, sigma=0.5)),
            rm.material.Unresolved(by="specimen", scale=P("Gamma", alpha=4.0, beta=10.0)),
        ],
        observation=observation,
    )
    whole = isinstance(observation, rm.observation.Binomial | rm.observation.Poisson | rm.observation.NegativeBinomial)
    return model, design().assign(y=1.0 if whole else 0.5)


@pytest.mark.validate
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_truths_rank_uniformly(name: str) -> None:
    """No quantity of a model is out of line (in 1 of 100 calibrations of a right one some is)."""
    model, df = declared(LIKELIHOODS[name])
    found = rm.testing.sbc(model, df, replicates=REPLICATES, draws=250, chains=2, ranked=50)
    print(f"\n{name}\n{found.table.round(3)}")
    assert found.passed, found.text
