"""The density of hyperparameters near zero scales, where a posterior that cannot exclude zero goes: against dense covariances."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.algebra import System, dense
from realmat.terms.problem import Problem

TINY = (1e-3, 1e-6, 1e-8, 1e-10, 1e-12, 1e-30)


def groups() -> Problem:
    """Two stated u, so that no effect is eliminated in closed form."""
    rng = np.random.default_rng(27)
    piece = np.repeat(np.arange(10), 4)
    y = rng.normal(0, 0.8, 5)[piece // 2] + rng.normal(0, 0.2, 10)[piece] + rng.normal(0, 0.2, 40)
    df = pd.DataFrame({"y": 1000 + y, "u": np.where(piece % 2, 0.3, 0.1), "mat": piece // 2, "piece": piece})
    return rm.Model(
        "y",
        levels={"material": "mat", "specimen": "piece"},
        theory=rm.theory.Constant(),
        material=[rm.material.Unresolved(by="material"), rm.material.Unresolved(by="specimen")],
        observation=rm.observation.Normal(u="u"),
    ).bind(df)


def pieces() -> Problem:
    """Each piece measured once: noise and pieces cannot be told apart, and either may be zero."""
    rng = np.random.default_rng(1)
    mat = np.arange(60) // 4
    y = rng.normal(0, 0.5, 15)[mat] + rng.normal(0, 0.5, 60)
    return rm.Model(
        "y",
        levels={"material": "mat", "specimen": "piece"},
        theory=rm.theory.Constant(),
        material=[rm.material.Unresolved(by="material"), rm.material.Unresolved(by="specimen")],
    ).bind(pd.DataFrame({"y": y, "mat": mat, "piece": np.arange(60)}))


def states() -> Problem:
    """States about the mean of their route, routes about the mean of all."""
    rng = np.random.default_rng(5)
    x = rng.normal(40, 1, 24)
    df = pd.DataFrame({"y": x + rng.normal(0, 1, 24), "x": np.where(np.arange(24) % 3, np.nan, x), "route": np.arange(24) % 4})
    return rm.Model("y", theory=rm.theory.Constant(), material=rm.material.Effect("x", u=0.3, by="route")).bind(df)


@pytest.mark.parametrize(
    ("make", "scale"),
    [
        (groups, "unresolved_specimen_scale"),
        (groups, "unresolved_material_scale"),
        (pieces, "noise_scale"),
        (states, "effect_x_sd"),
        (states, "effect_x_between_sd"),
    ],
)
def test_a_scale_near_zero_leaves_the_density_flat(make: Callable[[], Problem], scale: str) -> None:
    """Below a scale no data can resolve, log p(y | psi) is a constant; within 0.01 of the dense one, far below Monte Carlo error."""
    problem = make()
    system = System(problem)
    for value in TINY:
        values = {**system.example, scale: value}
        assert system.log_marginal(values) == pytest.approx(dense.log_marginal(problem, values), abs=0.01)
