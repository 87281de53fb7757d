"""The canonical problem of the benchmarks: measurements on specimens of materials in labs, with covariates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Size:
    """How large a simulated table is."""

    rows: int = 5000
    specimens: int = 1000
    materials: int = 200
    labs: int = 10
    covariates: int = 5


SCALES = {"unresolved_material_scale": 0.4, "unresolved_specimen_scale": 0.2, "bias_lab_scale": 0.15, "noise_scale": 0.1}


def table(size: Size, seed: int = 1) -> pd.DataFrame:
    """A simulated table with known scales; columns y, t, mat, piece, lab and z0, z1, ..."""
    rng = np.random.default_rng(seed)
    material = rng.integers(0, size.materials, size.specimens)
    specimen = rng.integers(0, size.specimens, size.rows)
    lab = rng.integers(0, size.labs, size.rows)
    t, z = rng.normal(2, 1, size.materials), rng.normal(size=(size.specimens, size.covariates))
    u = SCALES["unresolved_material_scale"] * rng.normal(size=size.materials)
    v = SCALES["unresolved_specimen_scale"] * rng.normal(size=size.specimens)
    b = SCALES["bias_lab_scale"] * rng.normal(size=size.labs)
    of_specimen = 0.3 + 1.1 * t[material] + z @ rng.normal(0, 0.3, size.covariates) + u[material] + v
    y = of_specimen[specimen] + b[lab] + SCALES["noise_scale"] * rng.normal(size=size.rows)
    columns = {f"z{k}": z[specimen, k] for k in range(size.covariates)}
    return pd.DataFrame({"y": y, "t": t[material[specimen]], "mat": material[specimen], "piece": specimen, "lab": lab, **columns})


def model(size: Size, noise_by: str | None = None):
    """The layered model of the table; `noise_by` gives every group of rows a noise scale of its own."""
    import realmat as rm

    return rm.Model(
        "y",
        levels={"material": "mat", "specimen": "piece", "lab": "lab"},
        theory=rm.theory.Calibrated("t"),
        material=[
            *(rm.material.Effect(f"z{k}") for k in range(size.covariates)),
            rm.material.Unresolved("material"),
            rm.material.Unresolved("specimen"),
        ],
        observation=rm.observation.Normal(scale=True, bias_by="lab", scale_by=noise_by),
    )


def by_hand(df: pd.DataFrame):
    """The same model written directly in PyMC, as its users would."""
    import pymc as pm

    piece, first = np.unique(df["piece"].to_numpy()), df.groupby("piece").first()
    codes = np.searchsorted(piece, df["piece"].to_numpy())
    materials, material = np.unique(first["mat"].to_numpy(), return_inverse=True)
    z = first[[c for c in df if c.startswith("z")]].to_numpy()
    with pm.Model() as hand:
        theta, slopes = pm.Normal("theta", 0, [5, 2], shape=2), pm.Normal("slopes", 0, 1, shape=z.shape[1])
        names = ("unresolved_material_scale", "unresolved_specimen_scale", "bias_lab_scale", "noise_scale")
        sm, ss, sb, se = (pm.HalfNormal(name, 1) for name in names)
        um, us = pm.Normal("um", 0, sm, shape=len(materials)), pm.Normal("us", 0, ss, shape=len(piece))
        bias = pm.Normal("bias", 0, sb, shape=int(df["lab"].max()) + 1)
        mu = theta[0] + theta[1] * first["t"].to_numpy() + pm.math.dot(z, slopes) + um[material] + us
        pm.Normal("y", mu[codes] + bias[df["lab"].to_numpy()], se, observed=df["y"].to_numpy())
    return hand
