"""A layered table of known truth, and a fit of it made by hand: hyperparameters about the truth, coefficients exact given them."""

from __future__ import annotations

import numpy as np
import pandas as pd

import realmat as rm
from realmat.fit import Fit
from realmat.posterior.draws import Draws, Posterior

TRUTH = {
    "impurity_O_wppm_slope": 12.0,
    "impurity_O_wppm_sd": 0.6,
    "unresolved_material_scale": 15.0,
    "unresolved_specimen_scale": 10.0,
    "bias_lab_scale": 6.0,
    "noise_scale": 5.0,
}


def table(materials: int = 12, specimens: int = 40, rows: int = 120, labs: int = 4, seed: int = 3) -> pd.DataFrame:
    """Yield strengths of specimens of materials, by several labs; an impurity is known for a few of them."""
    rng = np.random.default_rng(seed)
    material = rng.integers(0, materials, specimens)
    piece = np.concatenate([np.arange(specimens), rng.integers(0, specimens, rows - specimens)])
    lab = rng.integers(0, labs, rows)
    theory, content = rng.normal(300, 60, materials), rng.lognormal(3, 0.6, specimens)
    unresolved = rng.normal(0, 15, materials)[material] + rng.normal(0, 10, specimens)
    y = 20 + 0.9 * theory[material[piece]] + 12 * (np.log(content)[piece] - 3) + unresolved[piece]
    known = np.where(rng.random(rows) < 0.2, content[piece], np.nan)
    return pd.DataFrame(
        {
            "yield_strength": y + rng.normal(0, 6, labs)[lab] + rng.normal(0, 5, rows),
            "sigma_theory": theory[material[piece]],
            "alloy": [f"alloy {k}" for k in material[piece]],
            "sample": [f"S{k:03d}" for k in piece],
            "laboratory": [f"lab {k}" for k in lab],
            "O_wppm": known,
        }
    )


def model(impurity: bool = True) -> rm.Model:
    """The model that made the table."""
    known = [rm.material.Impurity("O_wppm", u=2.0, log=True)] if impurity else []
    return rm.Model(
        "yield_strength",
        unit="MPa",
        levels={"material": "alloy", "specimen": "sample", "lab": "laboratory"},
        theory=rm.theory.Calibrated("sigma_theory"),
        material=[*known, rm.material.Unresolved(by="material"), rm.material.Unresolved(by="specimen")],
        observation=rm.observation.Normal(bias_by="lab"),
    )


def fit(declared: rm.Model, data: pd.DataFrame, chains: int = 4, draws: int = 100, apart: float = 0.0, seed: int = 1) -> Fit:
    """A fit without an engine; `apart` moves the chains away from each other by so many standard deviations of a draw."""
    rng = np.random.default_rng(seed)
    problem = declared.bind(data)
    spread = 0.1 * (rng.standard_normal((len(problem.params), chains, draws)) + apart * np.arange(chains)[:, None])
    params = {q.name: TRUTH[q.name] * np.exp(own) for q, own in zip(problem.params, spread, strict=True)}
    bare = Posterior(problem, Draws(params, {}))
    b = bare.redraw(tuple(range(chains * draws))).reshape(chains, draws, -1)
    facts = {"engine": "exact", "reason": "exact: made by hand", "seed": seed, "seconds": 0.1}
    return Fit(declared, Posterior(problem, Draws(params, {n: b[..., where] for n, where in bare.system.columns.items()}, facts=facts)))
