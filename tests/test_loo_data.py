"""Leave-one-out on real molecules: integrated over each molecule's own effect it holds where sampling of that effect fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from arviz_stats.base import array_stats

import realmat as rm
from realmat.posterior import pointwise


def test_every_molecule_can_be_left_out_of_freesolv(data_dir: Path) -> None:
    df = rm.datasets.load("freesolv")
    model = rm.Model(
        "hydration_free_energy",
        unit="kcal/mol",
        levels={"material": "molecule"},
        theory=rm.theory.Calibrated("gaff"),
        material=rm.material.Unresolved(by="material"),
        observation=rm.observation.Normal(u="u_stated", scale=False),
    )
    fit = model.fit(df, draws=250, seed=1, progress=False)
    left = fit.left_out("material", refit=False)
    assert left.elpd.n_data_points == len(df) == 642
    assert float(left.elpd.pareto_k.max()) < 0.7
    _, log_likelihood, _ = pointwise.groups(fit.posterior, seed=1)
    assert log_likelihood is not None
    flat = log_likelihood.reshape(-1, 642)[:, ::4]
    latent = np.array([array_stats.psislw(column)[1] for column in flat.T])
    assert (latent > 0.7).mean() > 0.5  # with the molecules' own effects among the draws most molecules cannot be left out
