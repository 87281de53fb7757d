"""A simulated laboratory with known truth: grain size and an impurity of every specimen act, and few were characterised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

import realmat as rm

SPECIMENS = 400
TRUTH = {
    "calibrated_slope": 1.0,
    "grain_size_d_slope": 600.0,  # MPa um^0.5
    "grain_size_d_mean": 0.2,  # um^-0.5: grains around 25 um
    "grain_size_d_sd": 0.04,
    "impurity_O_slope": 0.8,  # MPa / wppm
    "impurity_O_mean": 50.0,  # wppm
    "impurity_O_sd": 15.0,
    "noise_scale": 8.0,
}
GRAIN_U = 0.1 * TRUTH["grain_size_d_mean"]  # 20 % of d; a u in proportion to each d would itself tell something of the state
O_U = 3.0
LIMIT = TRUTH["impurity_O_mean"] + TRUTH["impurity_O_sd"] * -0.43  # censors a third: Phi(-0.43) = 0.334


def laboratory(seed: int) -> pd.DataFrame:
    """Strength of 400 specimens; grain size of 15 % of them with 20 % error, oxygen of 25 %, a third of that below the detection limit."""
    rng = np.random.default_rng([seed, 17])
    n, t = SPECIMENS, TRUTH
    grain = rng.normal(t["grain_size_d_mean"], t["grain_size_d_sd"], n)
    oxygen = rng.normal(t["impurity_O_mean"], t["impurity_O_sd"], n)
    theory = rng.normal(200, 20, n)
    effect = t["grain_size_d_slope"] * grain + t["impurity_O_slope"] * oxygen
    df = pd.DataFrame({"piece": np.arange(n), "theory": theory, "y": theory + effect + rng.normal(0, t["noise_scale"], n)})
    read = grain + rng.normal(0, GRAIN_U, n)
    df["d"] = np.where((rng.random(n) < 0.15) & (read > GRAIN_U), np.abs(read) ** -2.0, np.nan)
    df["d_u"] = 2 * GRAIN_U * df["d"] ** 1.5
    measured = oxygen + rng.normal(0, O_U, n)
    analysed = rng.random(n) < 0.25
    df["O"] = np.where(analysed & (measured >= LIMIT), measured, np.nan)
    df["O_lod"] = np.where(analysed & (measured < LIMIT), LIMIT, np.nan)
    return df


def model(latent: bool = True) -> rm.Model:
    """With latent states, or with the columns taken for exact."""
    grain = rm.material.GrainSize("d", u="d_u") if latent else rm.material.GrainSize("d")
    oxygen = rm.material.Impurity("O", u=O_U, below="O_lod") if latent else rm.material.Impurity("O")
    return rm.Model("y", unit="MPa", levels={"specimen": "piece"}, theory=rm.theory.Calibrated("theory"), material=[grain, oxygen])


def complete_cases(df: pd.DataFrame) -> pd.DataFrame:
    """Drop every specimen that lacks a number."""
    return df.dropna(subset=["d", "O"])


def mean_filled(df: pd.DataFrame) -> pd.DataFrame:
    """Half the limit where below it, the mean of the numbers where nothing was measured."""
    filled = df["O"].fillna(df["O_lod"] / 2)
    return df.assign(d=df["d"].fillna(df["d"].mean()), O=filled.fillna(filled.mean()))


def intervals(fit: Any, prob: float = 0.9) -> pd.DataFrame:
    """Equal-tailed interval, mean and sd of every quantity of TRUTH that the fit has."""
    posterior = fit.tree["posterior"]
    rows = {}
    for name in TRUTH:
        if name in posterior:
            draws = posterior[name].values.ravel()
            low, high = np.quantile(draws, [(1 - prob) / 2, (1 + prob) / 2])
            rows[name] = {"truth": TRUTH[name], "mean": draws.mean(), "sd": draws.std(), "low": low, "high": high}
    out = pd.DataFrame(rows).T
    return out.assign(inside=(out["low"] < out["truth"]) & (out["truth"] < out["high"]))
