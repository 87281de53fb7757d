"""Simulated truth, few specimens characterised: latent states against dropping rows and against filling in means."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import states_truth as truth

import realmat as rm


@pytest.mark.validate  # limits among 800 latent states: minutes of chains
def test_latent_states_recover_what_dropping_and_filling_lose() -> None:
    df = truth.laboratory(seed=2)
    model = truth.model()
    notes = [note for term in model.bind(df).terms for note in term.notes]
    assert notes == [
        f"d: measured for {df['d'].notna().sum()} of 400 specimens; the rest is inferred.",
        f"O: measured for {df['O'].notna().sum()} of 400 specimens, known only to lie beyond a detection limit for "
        f"{df['O_lod'].notna().sum()}; the rest is inferred.",
    ]
    fit = model.fit(df, draws=300, chains=2, seed=1, progress=False)
    latent = truth.intervals(fit)
    z = (latent["mean"] - latent["truth"]) / latent["sd"]
    assert len(z) == len(truth.TRUTH)
    assert z.abs().max() < 3.5  # 8 quantities: 4 in 1000 by chance
    assert fit.tree["posterior"]["grain_size_d"].sizes["specimen"] == truth.SPECIMENS
    exact = truth.model(latent=False)
    dropped = truth.intervals(exact.fit(truth.complete_cases(df), draws=300, chains=2, seed=1, progress=False))
    filled = truth.intervals(exact.fit(truth.mean_filled(df), draws=300, chains=2, seed=1, progress=False))
    slopes = ["grain_size_d_slope", "impurity_O_slope"]
    width = {name: (t["high"] - t["low"])[slopes] for name, t in (("latent", latent), ("dropped", dropped), ("filled", filled))}
    assert (width["dropped"] > 1.5 * width["latent"]).all()  # about 10 specimens are left
    assert (filled["mean"] - filled["truth"])[slopes[0]] < -2 * filled.loc[slopes[0], "sd"]  # error in d^-1/2 attenuates by 0.8 at best


def test_error_in_a_column_attenuates_by_the_textbook_factor_and_a_stated_u_undoes_it() -> None:
    """Least squares tends to lambda b with lambda = var(x) / (var(x) + u^2) (Carroll et al., 2006, eq. 3.1); here lambda = 0.64."""
    rng = np.random.default_rng(9)
    n, b, u = 1500, 2.0, 0.75
    x = rng.normal(0, 1, n)
    df = pd.DataFrame({"y": 3 + b * x + rng.normal(0, 0.5, n), "x": x + rng.normal(0, u, n)})
    naive = np.polyfit(df["x"], df["y"], 1)[0]
    attenuation = 1 / (1 + u**2)
    residual = np.sqrt(0.5**2 + b**2 * u**2 * attenuation)  # of y about its regression on the reading
    error = residual / np.sqrt(n * (1 + u**2))
    assert abs(naive - attenuation * b) < 4 * error
    fit = rm.Model("y", theory=rm.theory.Constant(), material=rm.material.Effect("x", u=u)).fit(
        df, draws=300, chains=2, seed=1, progress=False
    )
    slope = fit.tree["posterior"]["effect_x_slope"].values
    assert abs(slope.mean() - b) < 4 * slope.std()
    assert slope.mean() - naive > 10 * error
