"""Normal readings with limits of which most have an effect of their own: the density of the sum, and the posterior with it and without."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from posteriors import expect_same_moments
from scipy import stats

import realmat as rm
from realmat.engines.chains import private
from realmat.engines.chains.together import Together
from realmat.terms.location_scale import limits

SIDE = np.array([0, -1, 1, 0, -1, 1])
SINGLE = np.array([0, 1, 2])
Y = np.array([0.3, -0.2, 0.9, 0.1, 0.4, -1.0])


def made() -> tuple[Together, np.ndarray, dict[str, np.ndarray]]:
    """Three readings with an effect and three without; five chains."""
    rng = np.random.default_rng(1)
    own = {"sd": np.exp(rng.normal(-1, 0.3, (6, 5))), "spread": np.exp(rng.normal(-0.5, 0.3, (6, 5)))}
    return Together(limits(SIDE), SIDE, SINGLE), rng.normal(0, 0.5, (6, 5)), own


def test_the_density_is_that_of_the_sum():
    density, eta, own = made()
    both = np.hypot(own["sd"], np.where(np.isin(np.arange(6), SINGLE)[:, None], own["spread"], 0.0))
    z = (Y[:, None] - eta) / both
    side = SIDE[:, None]
    truth = np.where(side == 0, stats.norm.logpdf(z) - np.log(both), stats.norm.logcdf(-side * z))
    np.testing.assert_allclose(density.derivatives(Y, eta, own).log, truth, rtol=1e-12)


def test_derivatives_by_differences():
    """Of eighth order, in small steps."""
    density, eta, own = made()
    found = density.derivatives(Y, eta, own)
    weights = {1: 4 / 5, 2: -1 / 5, 3: 4 / 105, 4: -1 / 280}
    h = 0.003

    def slope(f):
        return sum(w * (f(k * h) - f(-k * h)) for k, w in weights.items()) / h

    np.testing.assert_allclose(found.eta, slope(lambda s: density.derivatives(Y, eta + s, own).log), rtol=1e-8, atol=1e-9)
    for name in density.names:
        by_hand = slope(lambda s, name=name: density.derivatives(Y, eta, {**own, name: own[name] + s}).log)
        np.testing.assert_allclose(found.own[name], by_hand, rtol=1e-8, atol=1e-9)


def test_effects_are_drawn_from_what_a_reading_leaves():
    """Mean and standard deviation of each, by a grid over the effect, within 4.5 Monte Carlo errors of 20,000 draws."""
    density, eta, own = made()
    many = {name: np.repeat(x[:, :1], 20_000, axis=1) for name, x in own.items()}
    drawn = density.effects(Y, np.repeat(eta[:, :1], 20_000, axis=1), many, np.random.default_rng(2))
    assert not drawn[3:].any()
    for row in SINGLE:
        sd, spread = own["sd"][row, 0], own["spread"][row, 0]
        e = np.linspace(-8, 8, 20_001) * spread
        z = (Y[row] - eta[row, 0] - e) / sd
        weight = stats.norm.pdf(e / spread) * (stats.norm.pdf(z) if SIDE[row] == 0 else stats.norm.cdf(-SIDE[row] * z))
        weight /= weight.sum()
        mean = weight @ e
        width = np.sqrt(weight @ (e - mean) ** 2)
        assert abs(drawn[row].mean() - mean) < 4.5 * width / np.sqrt(20_000)
        assert drawn[row].std() == pytest.approx(width, rel=0.03)


def once() -> tuple[rm.Model, pd.DataFrame]:
    """Sixty specimens, of which twelve were read four times and the others once, a quarter of the readings below a limit."""
    rng = np.random.default_rng(3)
    piece = np.concatenate([np.repeat(np.arange(12), 4), np.arange(12, 60)])
    y = 2 + 0.6 * rng.standard_normal(60)[piece] + 0.3 * rng.standard_normal(len(piece))
    limit = np.quantile(y, 0.25)
    df = pd.DataFrame({"y": np.maximum(y, limit), "piece": piece, "low": (y < limit).astype(int)})
    material = rm.material.Unresolved(by="specimen")
    observation = rm.observation.Normal(below="low")
    return rm.Model("y", levels={"specimen": "piece"}, theory=rm.theory.Constant(), material=material, observation=observation), df


def test_the_posterior_is_the_same_with_the_effects_and_without(monkeypatch):
    """Means and variances of all unknowns within 4.5 standard errors."""
    model, df = once()
    found = private.find(model.bind(df))
    assert found is not None
    assert len(found.found[0].row) == 48
    ours = model.fit(df, seed=1, progress=False)
    monkeypatch.setattr(private, "_FEWEST", 10_000)
    assert private.find(model.bind(df)) is None
    whole = model.fit(df, seed=1, progress=False)
    for name in ("constant", "unresolved_specimen_scale", "noise_scale", "unresolved_specimen"):
        expect_same_moments(*(f.tree["posterior"][name].values for f in (ours, whole)), name)


def test_effects_of_every_property_are_integrated_out():
    """Two properties that share nothing, each piece read once, a third below limits: each has the posterior of a fit of it alone.

    Means and variances within 4.5 standard errors; the effects of one property say nothing of those of the other, as a piece's two readings
    share nothing.
    """
    rng = np.random.default_rng(6)
    y = 0.5 * rng.standard_normal((60, 2)) + 0.4 * rng.standard_normal((60, 2))
    df = pd.DataFrame({"piece": np.arange(60)})
    for name, values in zip("ab", y.T, strict=True):
        df = df.assign(**{name: np.maximum(values, -0.3), f"{name}_low": values < -0.3})
    members = [
        rm.Model(
            name,
            levels={"specimen": "piece"},
            theory=rm.theory.Constant(),
            material=rm.material.Unresolved(by="specimen"),
            observation=rm.observation.Normal(below=f"{name}_low"),
        )
        for name in "ab"
    ]
    joint = rm.Joint(members).fit(df, seed=1, progress=False)
    assert joint.facts["iterations"] < 1000
    both = joint.tree["posterior"]
    for name, member in zip("ab", members, strict=True):
        alone = member.fit(df, seed=2, progress=False).tree["posterior"]
        for part in ("constant", "unresolved_specimen_scale", "noise_scale", "unresolved_specimen"):
            expect_same_moments(both[f"{name}_{part}"].values, alone[part].values, part)
    a, b = (both[f"{name}_unresolved_specimen"].values.reshape(4000, 60) for name in "ab")
    together = [np.corrcoef(a[:, k], b[:, k])[0, 1] for k in range(60)]
    assert np.mean(together) == pytest.approx(0, abs=4.5 / np.sqrt(1000 * 60))
