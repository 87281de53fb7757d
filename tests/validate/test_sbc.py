"""Simulation-based calibration of the exact engine: truths drawn from the prior rank uniformly among draws from the posterior."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.terms.problem import Problem
from realmat.testing.sbc import rank, replicate, uniformity

REPLICATES = 500
P = rm.Prior


def laboratories() -> Problem:
    """Materials, specimens and labs; replicates that collapse to cells; a stated u on half of the rows beside an inferred scale."""
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({"piece": np.repeat(np.arange(10), 4), "lab": np.tile(np.repeat(["a", "b", "c", "d", "a"], 2), 4)})
    df = rows.assign(mat=rows["piece"] // 2, theory=rng.normal(0, 1, 5)[rows["piece"] // 2], u=np.where(rows["piece"] % 2, 0.3, 0.1))
    return rm.Model(
        "y",
        levels={"material": "mat", "specimen": "piece", "lab": "lab"},
        theory=rm.theory.Calibrated("theory", intercept=P("Normal", mu=0, sigma=1), slope=P("Normal", mu=1, sigma=0.5)),
        material=[
            rm.material.Unresolved(by="material", scale=P("HalfNormal", sigma=0.6)),
            rm.material.Unresolved(by="specimen", scale=P("HalfNormal", sigma=0.4)),
        ],
        observation=rm.observation.Normal(u="u", scale=P("Gamma", alpha=4, beta=20), bias_by="lab", bias_scale=P("HalfNormal", sigma=0.3)),
    ).bind(df.assign(y=rng.normal(0, 1, 40)))


def states() -> Problem:
    """A latent state of 24 specimens, characterised with u for a third of them, in two processing routes."""
    rng = np.random.default_rng(2)
    x = np.where(np.arange(24) % 3 == 0, rng.normal(2, 0.7, 24), np.nan)
    df = pd.DataFrame({"y": rng.normal(0, 1, 24), "piece": np.arange(24), "x": x, "route": np.where(np.arange(24) % 2, "cast", "forged")})
    return rm.Model(
        "y",
        levels={"specimen": "piece"},
        theory=rm.theory.Constant(P("Normal", mu=0, sigma=2)),
        material=rm.material.Effect("x", u=0.2, by="route", slope=P("Normal", mu=1, sigma=0.5)),
        observation=rm.observation.Normal(scale=P("Gamma", alpha=4, beta=10)),
    ).bind(df)


def limits() -> Problem:
    """Student t noise, detection limits on half of the responses, and on half of the readings of a latent state."""
    rng = np.random.default_rng(3)
    n = np.arange(24)
    reading = np.where(n % 3 == 0, rng.normal(2, 0.5, 24), np.nan)
    df = pd.DataFrame({"y": rng.normal(3, 1, 24), "piece": n, "low": n % 2, "x": np.where(n % 6, reading, np.nan)})
    df = df.assign(lod=np.where(n % 6 == 0, 2.0, np.nan), y=np.where(df["low"] > 0, 3.0, df["y"]))
    return rm.Model(
        "y",
        levels={"specimen": "piece"},
        theory=rm.theory.Constant(P("Normal", mu=1, sigma=1)),
        material=rm.material.Effect("x", u=0.2, below="lod", slope=P("Normal", mu=1, sigma=0.3)),
        observation=rm.observation.StudentT(scale=P("Gamma", alpha=4, beta=10), nu=P("Gamma", alpha=4, beta=0.5, lower=2), below="low"),
    ).bind(df)


def censored() -> Problem:
    """Specimens in three laboratories, half of the responses known only to lie below a limit."""
    rng = np.random.default_rng(4)
    n = np.arange(36)
    df = pd.DataFrame({"y": rng.normal(3, 1, 36), "piece": n // 3, "lab": np.array(["a", "b", "c"])[n % 3], "low": n % 2})
    return rm.Model(
        "y",
        levels={"specimen": "piece", "lab": "lab"},
        theory=rm.theory.Constant(P("Normal", mu=3, sigma=1)),
        material=rm.material.Unresolved(by="specimen", scale=P("HalfNormal", sigma=0.6)),
        observation=rm.observation.Normal(
            scale=P("Gamma", alpha=4, beta=10), bias_by="lab", bias_scale=P("HalfNormal", sigma=0.3), below="low"
        ),
    ).bind(df.assign(y=np.where(df["low"] > 0, 3.0, df["y"])))


def scales() -> Problem:
    """Twenty hyperparameters: sixteen laboratories with a bias and a noise scale each, specimens that half of them share."""
    rng = np.random.default_rng(5)
    lab = np.repeat(np.arange(16), 5)
    df = pd.DataFrame({"y": rng.normal(0, 1, 80), "lab": [f"L{k}" for k in lab], "piece": rng.integers(0, 12, 80)})
    return rm.Model(
        "y",
        levels={"specimen": "piece", "lab": "lab"},
        theory=rm.theory.Constant(P("Normal", mu=0, sigma=1)),
        material=rm.material.Unresolved(by="specimen", scale=P("HalfNormal", sigma=0.5)),
        observation=rm.observation.Normal(bias_by="lab", bias_scale=P("HalfNormal", sigma=0.3), scale_by="lab"),
    ).bind(df)


def once() -> Problem:
    """Student t noise; most pieces measured once, so that their effects are integrated out, a few four times."""
    rng = np.random.default_rng(6)
    piece = np.concatenate([np.arange(22), np.repeat(np.arange(22, 26), 4)])
    return rm.Model(
        "y",
        levels={"specimen": "piece"},
        theory=rm.theory.Constant(P("Normal", mu=0, sigma=1)),
        material=rm.material.Unresolved(by="specimen", scale=P("HalfNormal", sigma=0.6)),
        observation=rm.observation.StudentT(nu=3, scale=P("Gamma", alpha=4, beta=20)),
    ).bind(pd.DataFrame({"y": rng.normal(0, 1, len(piece)), "piece": piece}))


# problem, draws of each of two chains, and how many of them all are close to independent
MODELS: dict[str, tuple[Callable[[], Problem], int, int]] = {
    "laboratories": (laboratories, 150, 100),
    "states": (states, 150, 100),
    "limits": (limits, 500, 24),
    "censored": (censored, 500, 24),
    "once": (once, 500, 24),
    "scales": (scales, 300, 60),
}


@pytest.mark.validate
@pytest.mark.parametrize("name", MODELS)
def test_truths_rank_uniformly_among_posterior_draws(name: str) -> None:
    """p > 0.001 for the least likely quantity (Bonferroni); draws made a quarter too wide, or too narrow, are found out."""
    make, draws, most = MODELS[name]
    problem, rng = make(), np.random.default_rng(0)
    pits: dict[str, list[pd.Series]] = {"right": [], "wide": [], "narrow": []}
    for seed in range(REPLICATES):
        truth, found = replicate(problem, "exact", draws, 2, most, seed)
        for kind, factor in (("right", 1.0), ("wide", 1.25), ("narrow", 0.8)):
            pits[kind].append(rank(truth, found.mean() + factor * (found - found.mean()), rng))
    p = pd.DataFrame({kind: uniformity(pd.DataFrame(rows)) for kind, rows in pits.items()})
    print(f"\n{name}\n{p}")
    assert p["right"].min() > 0.001 / len(p)
    unknowns = p.drop(index="log p(y|psi)", errors="ignore")
    assert (unknowns[["wide", "narrow"]].min() < 0.001 / len(p)).all()
