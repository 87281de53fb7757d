"""Counts, fractions, strengths, digits, intervals and limits as PyMC models: log densities of both forms against the density itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.engines.pymc_route import build
from realmat.posterior.reading import own_values

OBS = rm.observation
P = rm.Prior
N = 6
TABLE = pd.DataFrame({"x": np.linspace(-1, 1, N), "size": [1.0, 2.0, 3.0, 1.0, 2.0, 3.0], "n": 9.0, "held": [0, 0, 1, 0, 0, 0]})
TABLE = TABLE.assign(low=[0.1, 0.2, np.nan, 0.3, 0.2, 0.1], high=[0.4, 0.9, 0.5, np.nan, 0.7, 0.8], u=0.2, k=[4.0, 5.0, 6.0, 4.0, 9.0, 7.0])
COUNTS, FRACTIONS = np.array([0.0, 3.0, 1.0, 4.0, 9.0, 2.0]), np.array([0.1, 0.5, 0.9, 0.3, 0.62, 0.44])
KINDS: dict[str, tuple[Any, np.ndarray, str]] = {
    "Poisson": (OBS.Poisson(exposure="size"), COUNTS, "identity"),
    "NegativeBinomial": (OBS.NegativeBinomial(exposure="size"), COUNTS, "identity"),
    "Binomial": (OBS.Binomial(trials="n"), COUNTS, "identity"),
    "Beta": (OBS.Beta(), FRACTIONS, "identity"),
    "Gamma": (OBS.Gamma(), FRACTIONS, "identity"),
    "Weibull": (OBS.Weibull(size="size", above="held"), FRACTIONS, "identity"),
    "digits": (OBS.Normal(resolution=0.1), FRACTIONS, "identity"),
    "intervals on a log scale": (OBS.Normal(between=("low", "high")), FRACTIONS, "log"),
    "degrees of freedom": (OBS.Normal(u="u", dof="k", scale=False), FRACTIONS, "identity"),
    "truncated": (OBS.Normal(kept_above=0.05), FRACTIONS, "identity"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_log_densities_differ_as_the_density_says(kind: str) -> None:
    """At two values of slope and constant, for both forms of the model; the readable one draws readings, too."""
    import pymc as pm
    import pytensor

    observation, y, link = KINDS[kind]
    df = TABLE.assign(y=y)
    theory = rm.theory.Constant(P("Normal", mu=0.0, sigma=2.0))
    slope = rm.material.Effect("x", level="row", slope=P("Normal", mu=0.0, sigma=1.0))
    model = rm.Model("y", link=link, theory=theory, material=slope, observation=observation)
    problem = model.bind(df)
    noise = problem.response_rows.noise
    assert noise.density is not None
    psi = {q.name: q.prior.median() for q in problem.params}
    own = own_values(noise, [psi])
    points = [(0.3, -0.5), (-0.4, 0.2)]
    ours = [
        float(noise.density.log(problem.response_rows.y, (a + b * df.x.to_numpy())[:, None], own).sum() - a**2 / 8 - b**2 / 2)
        for a, b in points
    ]
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        for collapsed in (False, True):
            made = build(problem, collapsed=collapsed)
            log, start = made.compile_logp(), made.initial_point()
            at = {**start, **{made.rvs_to_values[made[n]].name: _unbounded(made, n, v) for n, v in psi.items()}}
            theirs = []
            for a, b in points:
                plain = {"constant": a, "effect_x_slope": b, "constant_z": a / 2, "effect_x_slope_z": b}
                theirs.append(
                    float(
                        log({name: np.asarray(plain.get(name, value), dtype=float).reshape(np.shape(value)) for name, value in at.items()})
                    )
                )
            assert theirs[0] - theirs[1] == pytest.approx(ours[0] - ours[1], rel=1e-6, abs=1e-8), collapsed
        drawn = pm.draw(build(problem)["y"], draws=3, random_seed=1)
    assert drawn.shape == (3, N)


def _unbounded(made: Any, name: str, value: float) -> np.ndarray:
    """A hyperparameter where PyMC samples it."""
    variable = made[name]
    transform = made.rvs_to_transforms[variable]
    return np.asarray(value if transform is None else transform.forward(value, *variable.owner.inputs).eval())
