"""Effects that one row each reads, they or the noise Student t: their density, their draws given a reading, and chains without them."""

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

import realmat as rm
from realmat.algebra import System
from realmat.algebra.space import Space
from realmat.engines.chains import private
from realmat.engines.chains.blurred import Blurred
from realmat.engines.chains.partly import Partly
from realmat.engines.exact import chained
from realmat.terms.density import Groups
from realmat.terms.location_scale import limits, student
from realmat.terms.standard import STUDENT

SETTINGS = [(0.0, 0.02, 1.0, 3.0), (1.3, 0.5, 0.4, 2.5), (-6.0, 0.3, 0.8, 4.0), (2.0, 1.5, 0.7, 40.0), (15.0, 0.1, 1.0, 3.0)]


def _own(sd, spread, nu):
    return {"sd": np.array([[sd]]), "spread": np.array([[spread]]), "nu": np.array([[nu]])}


def _log(y, sd, spread, nu):
    """By quadrature of the definition."""
    ends = [0.0, y, *(y + k * sd for k in (-8, 8)), *(k * spread for k in (-30, 30))]
    value, _ = integrate.quad(
        lambda e: stats.norm.pdf(y - e, scale=sd) * stats.t.pdf(e / spread, nu) / spread,
        min(ends) - 40 * (sd + spread),
        max(ends) + 40 * (sd + spread),
        points=sorted(ends),
        limit=2000,
        epsabs=0,
        epsrel=1e-11,
    )
    return np.log(value)


@pytest.mark.parametrize(("y", "sd", "spread", "nu"), SETTINGS)
def test_density_and_derivatives_are_those_of_a_t_effect_with_normal_noise(y, sd, spread, nu):
    density = Blurred(np.ones(1), np.zeros(1))
    found = density.derivatives(np.array([y]), np.zeros((1, 1)), _own(sd, spread, nu))
    assert found.log[0, 0] == pytest.approx(_log(y, sd, spread, nu), abs=2e-4)
    slopes = [found.eta[0, 0], *(found.own[name][0, 0] for name in density.names)]
    for k, slope in enumerate(slopes):
        size = 1e-4 * (1.0, sd, spread, nu)[k]
        step = size * np.eye(4)[k]
        ahead, behind = (_log(y - s * step[0], *(np.array([sd, spread, nu]) + s * step[1:])) for s in (1, -1))
        assert slope == pytest.approx((ahead - behind) / (2 * size), rel=5e-3, abs=5e-4)


def test_derivatives_are_those_of_the_density_itself():
    """So that trajectories keep their energy: to rounding, whatever the quadrature leaves."""
    rng, n = np.random.default_rng(4), np.array([1.0, 3.0, 5.0])
    density, y = Blurred(n, np.array([0.0, 0.7, 1.9])), rng.normal(size=3)
    eta, own = rng.normal(size=(3, 4)), {name: np.exp(0.4 * rng.standard_normal((3, 4))) for name in ("sd", "spread")}
    own["nu"] = np.full((1, 4), 3.5)
    found = density.derivatives(y, eta, own)
    h = 1e-5
    assert found.eta == pytest.approx((density.log(y, eta + h, own) - density.log(y, eta - h, own)) / (2 * h), rel=1e-7, abs=1e-8)
    for name in ("sd", "spread"):
        ahead, behind = (density.log(y, eta, own | {name: own[name] + s}) for s in (h, -h))
        assert found.own[name] == pytest.approx((ahead - behind) / (2 * h), rel=1e-7, abs=1e-8)


def test_a_mean_of_readings_has_the_density_of_its_readings():
    readings, sd, spread, nu = np.array([0.3, 1.1, 0.9]), 0.6, 0.8, 3.0
    density = Blurred(np.array([3.0]), np.array([((readings - readings.mean()) ** 2).sum()]))
    truth, _ = integrate.quad(lambda e: np.prod(stats.norm.pdf(readings - e, scale=sd)) * stats.t.pdf(e / spread, nu) / spread, -30, 30)
    found = density.log(np.array([readings.mean()]), np.zeros((1, 1)), _own(sd, spread, nu))[0, 0]
    assert found == pytest.approx(np.log(truth), abs=1e-4)


@pytest.mark.parametrize(("y", "sd", "spread", "nu"), SETTINGS)
def test_effects_are_drawn_given_their_reading(y, sd, spread, nu):
    n = 4000
    drawn = Blurred(np.ones(1), np.zeros(1)).effects(np.array([y]), np.zeros((1, n)), _own(sd, spread, nu), np.random.default_rng(5))[0]
    grid = np.linspace(min(0, y) - 12 * sd, max(0, y) + 12 * sd, 40_001)
    grid = grid if sd < spread else np.linspace(-60 * spread, 60 * spread, 40_001)
    mass = np.cumsum(stats.norm.pdf(y - grid, scale=sd) * stats.t.pdf(grid / spread, nu))
    assert stats.kstest(np.interp(drawn, grid, mass / mass[-1]), "uniform").pvalue > 1e-3


def _table(n=50):
    rng = np.random.default_rng(6)
    t, u = rng.normal(size=n), np.where(np.arange(n) % 2, 0.25, 0.4)
    y = 1 + 0.8 * t + 0.3 * rng.standard_t(3, n) + u * rng.standard_normal(n)
    return pd.DataFrame({"y": y, "t": t, "u": u, "piece": np.arange(n), "kind": np.where(np.arange(n) % 3, "a", "b")})


def _model(**more):
    rest = rm.material.Unresolved(by="specimen", scale_by="kind", nu=4)
    noise = rm.observation.Normal(u="u", scale=False)
    return rm.Model("y", levels={"specimen": "piece"}, theory=rm.theory.Calibrated("t"), material=rest, observation=noise)


def _repeated():
    """Some pieces measured once, others thrice, in two laboratories."""
    rng = np.random.default_rng(8)
    piece = np.concatenate([np.arange(24), np.repeat(np.arange(24, 34), 3)])
    y = 1 + 0.5 * rng.standard_normal(34)[piece] + 0.1 * rng.standard_t(3, len(piece))
    return pd.DataFrame({"y": y, "piece": piece, "lab": np.where(rng.random(len(piece)) < 0.5, "a", "b")})


def _heavy_noise(scale_by=None, below=None):
    rest = rm.material.Unresolved(by="specimen")
    noise = rm.observation.StudentT(nu=3, scale_by=scale_by, below=below)
    return rm.Model("y", levels={"specimen": "piece", "lab": "lab"}, theory=rm.theory.Constant(), material=rest, observation=noise)


def _limited():
    """A tenth of the readings lie below a limit."""
    df = _repeated()
    limit = df["y"].quantile(0.1)
    return df.assign(low=(df["y"] < limit).astype(int), y=df["y"].clip(lower=limit))


CASES = {
    "effects": (_model(), _table()),
    "noise": (_heavy_noise(), _repeated()),
    "noise and limits": (_heavy_noise(below="low"), _limited()),
}


@pytest.mark.parametrize(("model", "df"), CASES.values(), ids=CASES)
def test_what_is_integrated_out_changes_no_answer(model, df, monkeypatch):
    """Means within 4.5 Monte Carlo errors (of some 110 comparisons), spreads within 20 %, of chains that hold the effects."""
    with_them = model.fit(df, seed=1, draws=500, progress=False)
    monkeypatch.setattr(private, "find", lambda problem: None)
    without = model.fit(df, seed=2, draws=500, progress=False)
    a, b = with_them.tree["posterior"], without.tree["posterior"]
    assert set(a.data_vars) == set(b.data_vars)
    for name in a.data_vars:
        x, y = (np.asarray(v[name].values).reshape(2000, -1) for v in (a, b))
        error = np.sqrt((x.var(axis=0) + y.var(axis=0)) / 500)  # a quarter of the draws: chains are not independent draws
        assert np.max(np.abs(x.mean(axis=0) - y.mean(axis=0)) / error) < 4.5, name
        assert x.std(axis=0) == pytest.approx(y.std(axis=0), rel=0.2), name


def test_effects_are_found_where_one_row_each_reads_them():
    df = _table(12)
    (found,) = private.find(_model().bind(df)).found
    assert found.block.name == "unresolved_specimen"
    twice = pd.concat([df, df.iloc[:1].assign(t=9.0)], ignore_index=True)  # one piece has two rows that differ
    assert private.find(_model().bind(twice)) is None


def test_beyond_limits_heavy_noise_keeps_its_effects():
    df = _limited()
    (alone,) = private.find(_heavy_noise(below="low").bind(df)).found
    (every,) = private.find(_heavy_noise().bind(df)).found
    hidden = np.flatnonzero(df["low"])
    assert np.array_equal(alone.row, np.setdiff1d(every.row, hidden))
    assert 0 < len(alone.row) < len(every.row)


def test_of_normal_effects_under_heavy_noise_those_are_found_that_are_read_once():
    df = _repeated()
    problem = _heavy_noise("lab").bind(df)
    found = private.find(problem)
    (alone,) = found.found
    assert alone.block.name == "unresolved_specimen"
    assert len(alone.element) == 24
    assert next(c for c in found.reduced.coefficients if c.name == "unresolved_specimen").size == 10
    assert private.find(_heavy_noise().bind(df[df["piece"] > 8])) is None  # too few to be worth it


EXACT, LIMITS = student(5), limits(np.array([0, 0, -1, 0, 1]), STUDENT)


def _partly(rng, readings):
    """Rows 1 and 3 with an effect, of two spreads; readings far off, too."""
    density, y, eta = Partly(readings, np.array([1, 3])), np.array([0.1, -2.0, 1.5, 0.4, 9.0]), rng.normal(size=(5, 3))
    groups = {"sd": Groups(np.array([0, 0, 0, 1, 0]), 2), "spread": Groups(np.array([0, 1, 1, 0, 0]), 2), "nu": Groups(np.zeros(5), 1)}
    own = {name: np.exp(0.4 * rng.standard_normal((group.count, 3))) for name, group in groups.items()}
    return density, y, eta, own | {"nu": 2 + own["nu"]}, groups


@pytest.mark.parametrize("readings", [EXACT, LIMITS])
def test_rows_with_an_effect_and_without_are_each_what_they_are(readings):
    density, y, eta, own, groups = _partly(np.random.default_rng(9), readings)
    each = {name: groups[name].by_row(value) for name, value in own.items()}
    found = density.derivatives(y, eta, each)
    bare, single = np.array([0, 2, 4]), np.array([1, 3])
    alone = readings.take(bare).derivatives(y[bare], eta[bare], {"sd": each["spread"][bare], "nu": own["nu"]})
    assert found.log[bare] == pytest.approx(alone.log, rel=1e-14)
    assert found.eta[bare] == pytest.approx(alone.eta, rel=1e-14)
    for i in single:
        for c in range(3):
            truth = _log(y[i] - eta[i, c], each["sd"][i, c], each["spread"][i, c], own["nu"][0, c])
            assert found.log[i, c] == pytest.approx(truth, abs=2e-4)


@pytest.mark.parametrize("readings", [EXACT, LIMITS])
def test_derivatives_of_rows_of_which_some_have_an_effect(readings):
    density, y, eta, own, groups = _partly(np.random.default_rng(10), readings)
    summed, h = density.summed(y, eta, own, groups), 1e-5
    each = {name: groups[name].by_row(value) for name, value in own.items()}
    alone = density.derivatives(y, eta, each)
    assert summed.log == pytest.approx(alone.log.sum(axis=0), rel=1e-13)
    assert summed.eta == pytest.approx(alone.eta, rel=1e-12)
    assert alone.eta == pytest.approx((density.log(y, eta + h, each) - density.log(y, eta - h, each)) / (2 * h), rel=1e-7, abs=1e-8)
    for name, value in own.items():
        for k in range(len(value)):
            step = np.zeros(value.shape)
            step[k] = h
            ahead, behind = (density.summed(y, eta, own | {name: value + s * step}, groups).log for s in (1, -1))
            assert summed.own[name][k] == pytest.approx((ahead - behind) / (2 * h), rel=1e-6, abs=1e-8), name


def test_normal_effects_are_drawn_given_their_reading():
    """Against the density of effect and reading on a grid."""
    n, (y, sd, spread, nu) = 4000, (1.2, 0.5, 0.2, 3.0)
    drawn = Partly(student(2), np.array([1])).effects(np.array([0.0, y]), np.zeros((2, n)), _own(sd, spread, nu), np.random.default_rng(5))
    grid = np.linspace(-8 * sd, 8 * sd, 40_001)
    mass = np.cumsum(stats.norm.pdf(grid, scale=sd) * stats.t.pdf((y - grid) / spread, nu))
    assert stats.kstest(np.interp(drawn[1], grid, mass / mass[-1]), "uniform").pvalue > 1e-3
    assert not drawn[0].any()


def test_the_start_of_chains_is_no_place_of_endless_density():
    """Where two noise scales have a population, its spread at zero: no covariance was found there."""
    system = System(_heavy_noise("lab").bind(_repeated()))
    space = Space(system.problem.params)
    start = chained._mode(system, System(system.problem, eliminate=False), space)
    assert np.isfinite(start.root).all()
    assert np.abs(start.centre).max() < 5


def test_a_table_of_the_density_is_worth_the_density():
    """Of many rows alike, from the core to far tails, beside a few of another size: sums to 1e-6 a row, slopes to 1e-5 of the largest."""
    rng, n = np.random.default_rng(11), 420
    y = np.concatenate([0.3 * rng.standard_normal(n), 20 * rng.standard_normal(20), rng.standard_normal(30)])
    eta, one = 0.1 * rng.standard_normal((len(y), 10)), np.ones(len(y))
    of_row = np.r_[np.zeros(n + 20, dtype=int), np.ones(30, dtype=int)]
    groups = {"sd": Groups(of_row, 2), "spread": Groups(np.zeros(len(y)), 1), "nu": Groups(np.zeros(len(y)), 1)}
    sd, spread = np.exp(0.2 * rng.standard_normal((2, 10))) * np.array([[0.3], [0.5]]), np.geomspace(0.01, 1, 10)[None]
    own, density = {"sd": sd, "spread": spread, "nu": np.full((1, 1), 3.5)}, Blurred(one, 0 * one)
    found, truth = (way(y, eta, own, groups) for way in (density.summed, super(Blurred, density).summed))
    assert density._kinds(groups).many
    assert found.log == pytest.approx(truth.log, abs=1e-6 * len(y))
    assert found.eta == pytest.approx(truth.eta, abs=1e-5 * np.abs(truth.eta).max())
    for name in own:
        assert found.own[name] == pytest.approx(truth.own[name], rel=1e-5, abs=1e-5 * np.abs(truth.own[name]).max())
