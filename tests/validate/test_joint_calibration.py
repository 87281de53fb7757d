"""Several properties of one material: calibrated against simulated truths, and sampled by two programs that share no algorithm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_agreement import beyond, compared, diverging, lost, unknowns

import realmat as rm
from realmat.engines import exact, nuts

REPLICATES = 200
LOW, HIGH = 0.85, 0.95  # share of truths that 90 % intervals hold; with 200 replicates the standard error is 2.1 %
P = rm.Prior
SCALE = P("LogNormal", mu=-1.0, sigma=0.5)  # keeps scales from zero, where NUTS does not find its way
pytestmark = pytest.mark.validate


def member(response: str, *effects: Any) -> rm.Model:
    """Priors are stated; the population of the state alone is scaled by the design, the same for every simulated table."""
    return rm.Model(
        response,
        levels={"specimen": "piece"},
        theory=rm.theory.Constant(P("Normal", mu=0.0, sigma=1.0)),
        material=[*effects, rm.material.Unresolved(by="specimen", scale=SCALE)],
        observation=rm.observation.Normal(scale=SCALE),
    )


def grain() -> Any:
    return rm.material.Effect("grain", u=0.2, slope=P("Normal", mu=0.0, sigma=1.0))


def table(pieces: int, seed: int) -> pd.DataFrame:
    """Two readings of each property of every piece, in rows of their own; the grain of a third of the pieces."""
    rng = np.random.default_rng(seed)
    piece = np.repeat(np.arange(pieces), 2)
    state = rng.normal(size=pieces)
    rest = rng.normal(size=(pieces, 3)) @ np.linalg.cholesky(0.16 * np.array([[1, 0.6, 0.3], [0.6, 1, 0.4], [0.3, 0.4, 1]])).T
    y = state[piece, None] * [0.8, -0.5, 0.3] + rest[piece] + 0.3 * rng.normal(size=(2 * pieces, 3))
    seen = np.where(np.arange(2 * pieces) % 6 == 0, state[piece] + 0.2 * rng.normal(size=2 * pieces), np.nan)
    return pd.DataFrame(y, columns=["a", "b", "c"]).assign(piece=piece, grain=seen)


def three() -> tuple[rm.Joint, pd.DataFrame]:
    """Three properties, one state, a 3 x 3 correlation of what is left of each piece."""
    return rm.Joint([member(name, grain()) for name in "abc"], correlate=["unresolved_specimen"]), table(24, 1)


def two() -> tuple[rm.Joint, pd.DataFrame]:
    """Two properties that share nothing but what is left of a piece; half of the readings of one are missing."""
    df = table(24, 2)
    df["b"] = df["b"].where(df["piece"] % 2 == 0)
    return rm.Joint([member("a"), member("b")], correlate=["unresolved_specimen"]), df


def test_truths_rank_uniformly_and_lie_inside_intervals() -> None:
    """Correlations, slopes and scales of three properties."""
    found = rm.testing.sbc(*three(), replicates=REPLICATES, draws=250, chains=2, ranked=50)
    inside = ((found.ranks - 0.5).abs() <= 0.45).mean()
    told = inside[[name for name in inside.index if any(part in name for part in ("scale", "slope", "partial", "sd"))]]
    print(f"\n{found.table.round(3)}\n90 % intervals:\n{inside.round(3)}")
    assert found.passed, found.text
    assert LOW <= told.mean() <= HIGH
    assert told.between(LOW - 0.03, HIGH + 0.03).all(), told[~told.between(LOW - 0.03, HIGH + 0.03)]


@pytest.mark.parametrize("made", [three, two], ids=lambda made: made.__name__)
def test_the_engines_agree(made: Callable[[], tuple[rm.Joint, pd.DataFrame]]) -> None:
    """Means, variances and correlations of unknowns, by the bound of `test_agreement`."""
    joint, df = made()
    problem = joint.bind(df)
    found = exact.sample(problem, draws=1500, chains=4, seed=1, progress=False)
    sampled = nuts.sample(problem, draws=1000, chains=4, seed=2, progress=False)
    z, left_out = compared(problem, found, sampled)
    assert not lost(unknowns(problem, found))
    seconds = sampled.facts.get("compile_seconds")
    print(f"\n{made.__name__}: {len(z)} comparisons, {len(left_out)} left out, {diverging(sampled)} divergences, compiled in {seconds} s")
    assert not beyond(z)
