"""Warm-up of chains: those that are lost, and what single ones seem to say of a bend."""

from __future__ import annotations

import arviz as az
import numpy as np
import pytest
from test_together import once

import realmat as rm
from realmat.algebra import System
from realmat.algebra.space import Space
from realmat.engines.chains import Sampler, Start, bends
from realmat.support.progress import Progress


def sampler() -> Sampler:
    """Thirty-two chains of readings with limits of which most have an effect of their own."""
    model, df = once()
    system = System(model.bind(df), eliminate=False)
    space = Space(system.problem.params)
    return Sampler(system, space, Start(np.zeros(space.size), 0.2 * np.eye(space.size)), seed=1, chains=4)


def test_a_chain_that_is_lost_goes_where_others_are():
    """One chain of 32 is put where noise is next to nothing: the next stage of warm-up has it back, the others are where they were."""
    made = sampler()
    before = made.running.q.copy()
    q = before.copy()
    q[made.target.space.size - 1, 5] = -200.0
    made.running = made._chains(q, None)
    assert made.running.value[5] < np.median(made.running.value) - 1000
    made._gather(15)
    others = np.delete(np.arange(32), 5)
    assert np.array_equal(made.running.q[:, others], before[:, others])
    assert (made.running.q[:, [5]] == before[:, others]).all(axis=0).any()
    assert np.ptp(made.running.value) < 1000


def test_a_chain_that_has_not_moved_goes_where_others_are():
    """No step that suits the others leads it out: a stage of fifteen iterations is enough to tell."""
    made = sampler()
    for _ in range(15):
        made.running.move(adapt=True)
    made.running.still[7] = 15
    before = made.running.q.copy()
    made._gather(15)
    others = np.delete(np.arange(32), 7)
    assert np.array_equal(made.running.q[:, others], before[:, others])
    assert (made.running.q[:, [7]] == before[:, others]).all(axis=0).any()
    assert (made.running.still < 15).all()


def test_a_bend_that_misleads_is_given_up():
    """A map learnt of something else makes steps a hundred times as small: the next stage takes the coordinates and the step of before."""
    made = sampler()
    with np.errstate(all="ignore"), Progress(False, "", None) as bar:
        made._stage(30, bar)
        rng = np.random.default_rng(3)
        x = rng.standard_normal((made.target.space.size, 4000))
        x[0] = 5 * x[0]
        x[1:] = 3 * (x[0] ** 2 / 25 - 1) + 0.003 * np.exp(0.6 * x[0]) * x[1:]
        bend = bends.learn(x, 4000)
        assert bend is not None
        straight, step = made.coordinates.root.copy(), made.running.step
        theta, b = made.coordinates.effects(made.running.q)
        made.coordinates.bend, made.coordinates.root = bend, np.eye(made.target.space.size)
        made.running = made._chains(made.coordinates.find(theta, b), step)
        made._stage(50, bar)
    assert made.coordinates.bend is None
    assert made.running.step == step
    assert made.coordinates.root == pytest.approx(straight, rel=1e-6)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_scales_of_which_limits_leave_the_sum_alone(seed: int) -> None:
    """Every compound measured once, a third below a limit: of any seed, chains agree within a thousand iterations."""
    template = rm.templates.get("formation_enthalpy")
    df = template.data()
    real, y = template.model("real"), df["formation_enthalpy"]
    limit = y.quantile(0.33)
    df = df.assign(formation_enthalpy=y.clip(lower=limit), low=y < limit)
    observation = rm.observation.Normal(below="low")
    model = rm.Model(real.response, levels=real.levels, theory=real.theory, material=real.material, observation=observation)
    fit = model.fit(df, seed=seed, progress=False)
    assert fit.facts["iterations"] < 1000
    for name in ("corrections_scale", "corrections_u_scale", "unresolved_material_scale", "noise_scale"):
        draws = fit.tree["posterior"][name].values
        assert float(az.rhat(draws)) < 1.01
        assert float(az.ess(draws)) > 400
