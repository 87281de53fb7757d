"""Hamiltonian chains: density and gradient against the definition, diagnostics against ArviZ, draws against quadrature."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import densities
import numpy as np
import pandas as pd
import pytest
from arviz_stats.base import array_stats
from scipy import stats
from test_algebra import LEVELS, MODELS, layered

import realmat as rm
from realmat.algebra import System
from realmat.algebra.ratios import Totals
from realmat.algebra.space import Space
from realmat.engines.chains import Sampler, Start, agreement
from realmat.engines.chains.coordinates import Coordinates, Passed
from realmat.engines.chains.derived import Derived
from realmat.engines.chains.hamilton import Chains, halved
from realmat.engines.chains.target import Target
from realmat.engines.exact import sample
from realmat.terms.priors import Prior

EIGHTH = {1: 4 / 5, 2: -1 / 5, 3: 4 / 105, 4: -1 / 280}  # central differences of eighth order


def sigmoid(x, top, rate):
    return top / (1 + np.exp(-rate * x))


def broken(x, top, rate):  # no complex number goes through it
    return top * np.abs(rate * x - 0.3)


CURVES = {"top": Prior("Normal", mu=1, sigma=1), "rate": Prior("LogNormal", mu=0, sigma=0.5)}
MORE = {
    "limits": {
        "theory": rm.theory.Constant(),
        "material": rm.material.Unresolved("specimen"),
        "observation": rm.observation.Normal(below="low"),
    },
    "limits and tails": {
        "theory": rm.theory.Calibrated("z"),
        "material": rm.material.Unresolved("specimen", nu=4.0),
        "observation": rm.observation.StudentT(bias_by="lab", scale_by="lab", below="low"),
    },
    "noise that grows": {"observation": rm.observation.StudentT(scale_by="lab", scale_with="z", below="low")},
    "a curve": {"theory": rm.theory.Function(sigmoid, columns={"x": "z"}, params=CURVES), "material": rm.material.Unresolved("specimen")},
    "a broken curve": {"theory": rm.theory.Function(broken, columns={"x": "z"}, params=CURVES)},
    "bounded and related priors": {
        "theory": rm.theory.Function(
            sigmoid,
            columns={"x": "z"},
            params={"top": Prior("Uniform", lower=-1, upper=3), "rate": Prior("Gamma", alpha=2, beta=2, lower=0.1)},
        ),
        "observation": rm.observation.Normal(scale=Prior("HalfStudentT", nu=3, sigma=1)),
    },
    "a state with limits": {
        "theory": rm.theory.Constant(),
        "material": [rm.material.Impurity("imp", u=0.3, below="limit", by="route"), rm.material.Unresolved("specimen")],
    },
}


def bound(name: str):
    df = layered(1)
    df["low"] = (np.arange(len(df)) % 3 == 0).astype(float)
    df["imp"] = np.where(np.arange(len(df)) % 4, np.nan, 1 + np.arange(len(df)) % 5)
    df["limit"] = np.where(np.arange(len(df)) % 4 == 1, 0.8, np.nan)
    return rm.Model("y", levels=LEVELS, **{**MODELS, **MORE}[name]).bind(df)


def targeted(problem, seed: int = 1, totals: bool = False):
    """A target with a reference in the middle of its prior, and three points; of scales that add up, totals and ratios if wanted."""
    system, space, rng = System(problem, eliminate=False), Space(problem.params), np.random.default_rng(seed)
    start = space.start()
    target = Target(system, space, start + 0.3 * rng.standard_normal((8, space.size)))
    if totals:
        target.totals = Totals.of(problem, space)
    draws = 0.3 / np.sqrt(50) * rng.standard_normal((system.size, 50))
    target.refer(start, target.informed(start, np.zeros((system.size, 1)), lambda sums: sums @ draws))
    return target, start[:, None] + 0.4 * rng.standard_normal((space.size, 3)), 0.3 * rng.standard_normal((system.size, 3))


def adding_up() -> list[str]:
    """Models with scales that add up."""
    problems = {name: bound(name) for name in (*MODELS, *MORE)}
    return [name for name, problem in problems.items() if Totals.of(problem, Space(problem.params)).lines]


@pytest.mark.parametrize(("name", "totals"), [*((name, False) for name in (*MODELS, *MORE)), *((name, True) for name in adding_up())])
def test_density_and_gradient_are_those_of_the_definition(name, totals):
    """Also where scales that add up are moved as their total and their ratios, which keeps volumes."""
    problem = bound(name)
    target, thetas, beta = targeted(problem, totals=totals)
    system, space = target.system, target.space
    log, in_theta, in_beta = target.at(thetas, beta)
    start = space.start()[:, None]
    shift = target.totals.turned(start) - start
    plain, stretched, _ = target.populations.plain(target.totals.logarithms(thetas + shift))
    assert target.plain(thetas) == pytest.approx(plain)
    values = space.many(plain.T)[0]
    b, moments = target.place(values, beta)
    natural = np.array([system.natural(x) for x in b.T])
    truth = []
    for i in range(3):
        p = {key: v[..., i] for key, v in values.items()}
        own = {c.name: natural[i, where] for c, where in zip(problem.coefficients, system.columns.values(), strict=True)}
        prior = sum(densities.log_prior(q.prior, p[q.name], p) for q in problem.params)
        truth.append(densities.log_density(problem, p, own) + space.many(plain.T)[1][i] - prior)
    volume = sum(np.log(m.stretch).sum(axis=0) for m in moments)
    assert np.diff(log) == pytest.approx(np.diff(np.array(truth) + volume + stretched), rel=1e-9, abs=1e-7)
    assert target.unplace(values, b) == pytest.approx(beta, abs=1e-9)
    assert target.coordinates(plain) == pytest.approx(thetas, abs=1e-9)

    step, rng = 0.01, np.random.default_rng(2)
    for k in range(space.size):
        move = np.zeros_like(thetas)
        move[k] = step
        slope = sum(c * (target.at(thetas + m * move, beta)[0] - target.at(thetas - m * move, beta)[0]) for m, c in EIGHTH.items()) / step
        assert in_theta[k] == pytest.approx(slope, rel=1e-8, abs=1e-8 * (1 + np.abs(log).max())), space.params
    for _ in range(4):
        move = 0.1 * step * rng.standard_normal(beta.shape)
        slope = sum(c * (target.at(thetas, beta + m * move)[0] - target.at(thetas, beta - m * move)[0]) for m, c in EIGHTH.items())
        assert np.sum(in_beta * move, axis=0) == pytest.approx(slope, rel=1e-8, abs=1e-8 * (1 + np.abs(log).max()))


def test_the_rest_of_a_specimen_takes_up_what_the_slope_of_its_state_adds():
    """Their sum moves by the share 1 / (1 + n w sd^2) of n readings of weight w: not at all where there are many."""
    target, thetas, beta = targeted(bound("a state with limits"))
    (shear,) = target.shears
    values = target.space.many(thetas.T)[0]
    moved = {**values, "impurity_imp_slope": values["impurity_imp_slope"] + 0.7}
    before, after = target.place(values, beta)[0], target.place(moved, beta)[0]
    rows = target.rows[0]
    group, there = shear.group.T, target.space.many(target.space.start()[None])[0]
    one = np.asarray(group.T @ (rows.weights(there, np.zeros((len(beta), 1))) * (group @ np.ones(group.shape[1]))))
    left = 1 / (1 + one * there["unresolved_specimen_scale"] ** 2)
    added = 0.7 * (before[shear.columns] + shear.shift)
    state = np.asarray([np.flatnonzero(row)[0] if row.any() else -1 for row in (shear.group @ shear.matrix).toarray()])
    taken = (after - before)[shear.where]
    assert (added[state] + taken)[state >= 0] == pytest.approx((left[:, None] * added[state])[state >= 0], abs=1e-9)


def test_what_rows_tell_of_an_intercept_stays_where_its_biases_widen():
    """Normal equations: rows, each by what it tells, and the prior of the fixed coefficients balance whatever the effects do."""
    target, thetas, beta = targeted(bound("limits and tails"))
    values = target.space.many(thetas.T)[0]
    before = target.place(values, beta)[0]
    after = target.place({**values, "bias_lab_scale": 3 * values["bias_lab_scale"]}, beta)[0]
    (balance,) = [x for x in target.balances if x.block == "bias_lab"]
    assert np.abs(after - before)[balance.columns].max() > 0.02
    there = target.space.many(target.space.start()[None])[0]
    moved = balance.matrix @ (after - before)[balance.columns] + balance.fixed @ (after - before)[balance.where]
    told = balance.fixed.T @ (target.rows[0].weights(there, np.zeros((len(beta), 1)))[:, None] * moved)
    assert told == pytest.approx(-balance.precision[:, None] * (after - before)[balance.where], abs=1e-9)


def test_what_rows_tell_of_few_effects_is_a_matrix():
    """A root of the covariance (T + I / sd^2)^-1 gives T back: effects of which rows tell all differences, and nothing of the sum."""
    target, _, _ = targeted(bound("limits and tails"))
    block = target.blocks[-1]
    k, sd = len(block.where), 0.7
    assert k > 1
    told = 50 * (np.eye(k) - np.ones((k, k)) / k)
    block.inform(np.linalg.cholesky(np.linalg.inv(told + np.eye(k) / sd**2)), np.full((1, 1), sd))
    assert block.axes is not None
    assert (block.axes * block.told[:, 0]) @ block.axes.T == pytest.approx(told, abs=1e-8)


@pytest.mark.parametrize("name", ["state", "scales"])
def test_effects_follow_the_hyperparameters_along_their_mode(name):
    """Where rows are normal, the slope of the log density in the effects stays zero as psi moves, up to the second order of the move."""
    target, thetas, _ = targeted(bound(name))
    coordinates = Coordinates(target, thetas[:, 0], np.zeros((target.system.size, 1)))
    _, _, there = target.at(coordinates.centre[:, None], coordinates.mode)
    sizes = {}
    for step in (1e-2, 1e-3):
        moves = step * np.eye(target.space.size)
        q = np.concatenate([np.linalg.solve(coordinates.root, moves), np.zeros((target.system.size, target.space.size))])
        sizes[step] = np.abs(target.at(*coordinates.place(q))[2] - there).max()
    assert sizes[1e-3] < 0.02 * sizes[1e-2]


def test_halves_of_the_chains_are_worth_what_all_are():
    target, thetas, _ = targeted(bound("limits and tails"))
    coordinates = Coordinates(target, thetas[:, 0], np.zeros((target.system.size, 1)))
    q = 0.5 * np.random.default_rng(6).standard_normal((sum(coordinates.size), 7))
    value, slope = coordinates.at(q)
    with ThreadPoolExecutor(2) as pool:
        for found in (halved(coordinates.at, pool)(q), halved(coordinates.at, None)(q)):
            assert found[0] == pytest.approx(value, rel=1e-12)
            assert found[1] == pytest.approx(slope, rel=1e-9, abs=1e-9)


def test_a_standard_normal_is_followed_exactly_and_what_differs_from_it_to_fourth_order():
    def rejected(bend: float, step: float) -> float:
        rng = np.random.default_rng(4)
        chains = Chains(lambda q: (-0.5 * (1 + bend) * np.sum(q * q, axis=0), -(1 + bend) * q), rng.standard_normal((50, 400)), rng, step)
        return 1 - chains.move()

    assert rejected(0.0, 1.5) == pytest.approx(0.0, abs=1e-12)
    assert rejected(0.01, 0.7) / rejected(0.01, 0.35) == pytest.approx(16, rel=0.4)  # one rotation or two, of one length


def test_what_chains_passed_keeps_no_slopes_of_effects():
    """Of every iteration as many numbers as there are hyperparameters: a view would keep those of all effects for as long."""
    problem = bound("limits and tails")
    system, space = System(problem, eliminate=False), Space(problem.params)
    sampler = Sampler(system, space, Start(space.start(), 0.3 * np.eye(space.size)), seed=1, chains=4)
    sampler.running.move()
    sampler._pass(sampler.coordinates.psi(sampler.running.q))
    assert all(x.base is None or x.base.size <= 2 * space.size * sampler.count for x in sampler._passed[0])


@pytest.mark.parametrize("apart", [1.0, 30.0])
def test_a_metric_is_learnt_from_draws_and_slopes(apart):
    """Of a normal the covariance; also where chains are as much too far apart as slopes are too steep."""
    target, thetas, _ = targeted(bound("student"))
    coordinates = Coordinates(target, thetas[:, 0], np.zeros((target.system.size, 1)))
    rng, d = np.random.default_rng(4), target.space.size
    root = np.linalg.cholesky(0.5 * np.eye(d) + 0.5)
    white = rng.standard_normal((d, 40_000))
    plain = target.populations.plain(coordinates.centre[:, None] + 1e-3 * apart * coordinates.root @ root @ white)[0]
    slopes = -1e3 * apart * np.linalg.solve((coordinates.root @ root).T, white)
    before = coordinates.root
    coordinates._learn(Passed(before, plain, slopes, thetas, np.zeros((target.system.size, 3))))
    found = np.linalg.solve(before, coordinates.covered)
    assert coordinates.bend is None
    assert found @ found.T == pytest.approx(1e-6 * root @ root.T, abs=3e-8)


@pytest.mark.parametrize("name", ["student", "state", "scales", "limits and tails"])
def test_coordinates_lead_there_and_back(name):
    target, thetas, beta = targeted(bound(name))
    thetas = target.populations.plain(thetas)[0]
    b = target.place(target.space.many(thetas.T)[0], beta)[0]
    coordinates = Coordinates(target, thetas.mean(axis=1), b.mean(axis=1, keepdims=True), 0.3 * np.eye(target.space.size))
    theta, again = coordinates.effects(coordinates.find(thetas, b))
    assert theta == pytest.approx(thetas, abs=1e-9)
    assert again == pytest.approx(b, abs=1e-8)
    q, step = coordinates.find(thetas, b), 0.01
    log, slope = coordinates.at(q)
    move = step * np.random.default_rng(3).standard_normal(q.shape)
    found = sum(c * (coordinates.at(q + m * move)[0] - coordinates.at(q - m * move)[0]) for m, c in EIGHTH.items())
    assert np.sum(slope * move, axis=0) == pytest.approx(found, rel=1e-7, abs=1e-8 * (1 + np.abs(log).max()))


def test_the_volume_of_populations_is_that_of_their_jacobian():
    """ln |det dtheta / dz| by differences; a vector whose location alone is inferred, and one within another's population."""
    from realmat.engines.chains.populations import Populations
    from realmat.terms.term import Param

    labels = np.array(["A", "B", "C"])
    params = [
        Param("inner", Prior("Normal", mu="middle", sigma="wide"), "lab", labels),
        Param("slope", Prior("LogNormal", mu="middle", sigma=0.3), "lab", labels),
        Param("middle", Prior("Normal", mu="top", sigma=0.5)),
        Param("top", Prior("Normal", mu=2, sigma=3)),
        Param("wide", Prior("HalfNormal", sigma=0.2)),
    ]
    space, rng = Space(params), np.random.default_rng(5)
    populations, z = Populations(space), space.start() + 0.5 * rng.standard_normal(space.size)
    populations.refer(space.start() + 0.2, [rng.random(where.stop - where.start) for where in populations.places])
    assert len(populations.places) == 3
    ends = z[:, None] + 0.01 * np.concatenate([m * np.eye(space.size) for m in EIGHTH] + [-m * np.eye(space.size) for m in EIGHTH], axis=1)
    moved = populations.plain(ends)[0].reshape(space.size, 2, len(EIGHTH), space.size)
    jacobian = np.einsum("imk,m->ik", moved[:, 0] - moved[:, 1], list(EIGHTH.values())) / 0.01
    assert populations.plain(z[:, None])[1] == pytest.approx(np.linalg.slogdet(jacobian)[1], abs=1e-9)


def test_functions_of_psi_have_sparse_derivatives_where_elements_do_not_share_outputs():
    values = {"s": np.exp(np.random.default_rng(1).normal(size=(6, 8))), "a": np.arange(1.0, 9.0)}
    apart = Derived(lambda p, xp: xp.sqrt(1 + p["s"] ** 2), values)
    assert len(apart.moves) == 1
    together = Derived(lambda p, xp: p["s"] * p["a"] + p["s"][0], values)
    assert len(together.moves) == 3
    value, slopes = together.at(values, 8)
    into = {"s": np.zeros((6, 8)), "a": np.zeros(8)}
    together.pull(slopes, np.ones((6, 8)), into)
    assert into["a"] == pytest.approx(values["s"].sum(axis=0))
    assert into["s"] == pytest.approx(values["a"] + 6.0 * (np.arange(6) == 0)[:, None])
    assert value == pytest.approx(values["s"] * values["a"] + values["s"][0])


def test_diagnostics_are_those_of_arviz():
    rng = np.random.default_rng(1)
    x = 0.02 * np.cumsum(rng.normal(size=(5, 8, 401)), axis=-1) + rng.normal(size=(5, 8, 401))
    x[1] = np.exp(x[1])
    x[2, :4] += 1
    assert agreement.r_hat(x) == pytest.approx([float(array_stats.rhat(one)) for one in x], rel=1e-3)
    assert agreement.bulk_ess(x) == pytest.approx([float(array_stats.ess(one)) for one in x], rel=0.03)


def test_a_mean_and_a_scale_from_limits_and_heavy_tails_by_quadrature():
    """Two unknowns on a grid; bounds are five Monte Carlo standard errors."""
    rng = np.random.default_rng(4)
    y = 0.4 + 0.7 * rng.standard_t(3, 25)
    df = pd.DataFrame({"y": np.maximum(y, -0.2), "low": (y < -0.2).astype(float)})
    model = rm.Model(
        "y",
        theory=rm.theory.Constant(Prior("Normal", mu=0, sigma=2)),
        observation=rm.observation.StudentT(nu=3.0, below="low", scale=Prior("HalfNormal", sigma=1)),
    )
    run = sample(model.bind(df), 1000, 4, 1, progress=False)
    mean, scale = np.meshgrid(np.linspace(-1.5, 2.5, 400), np.linspace(0.01, 3, 400), indexing="ij")
    z = (df["y"].to_numpy() - mean[..., None]) / scale[..., None]
    each = np.where(df["low"] > 0, stats.t.logcdf(z, 3), stats.t.logpdf(z, 3) - np.log(scale[..., None]))
    post = each.sum(axis=-1) - 0.5 * (mean / 2) ** 2 - 0.5 * scale**2
    post = np.exp(post - post.max())
    post /= post.sum()
    for name, truth in (("constant", mean), ("noise_scale", scale)):
        drawn = {**run.params, **run.coefficients}[name].reshape(4, -1)
        centre = float((post * truth).sum())
        sd = float(np.sqrt((post * (truth - centre) ** 2).sum()))
        error = 5 / np.sqrt(float(array_stats.ess(drawn)))
        assert abs(drawn.mean() - centre) < error * sd
        assert abs(drawn.std() / sd - 1) < error
    assert run.facts["ess"] >= 400
    assert run.facts["r_hat"] < 1.03


def test_a_chain_that_is_stopped_keeps_what_is_done(monkeypatch):
    from realmat.engines.chains import hamilton

    moves, plain = [0], hamilton.Chains.move

    def until(self, adapt=False):
        moves[0] += not adapt
        if moves[0] > 30:
            raise KeyboardInterrupt
        return plain(self, adapt)

    monkeypatch.setattr(hamilton.Chains, "move", until)
    run = sample(bound("limits"), 1000, 4, 1, progress=False)
    assert run.params["noise_scale"].shape == (4, 240)
    assert run.facts["interrupted"] == "interrupted after 240 of 1000 draws"


def test_strengths_of_pieces_of_many_sizes_are_found_from_where_their_readings_lie() -> None:
    """Weibull: a search that took readings for their logarithms, or their own modulus for known, began where no chain comes back from."""
    template = rm.templates.get("fracture_strength")
    fit = template.model("real").fit(template.data(), draws=300, seed=1, progress=False)
    assert fit.facts["r_hat"] < 1.03
    modulus = fit.tree["posterior"]["noise_modulus"]
    assert abs(float(modulus.mean()) - 10) < 3 * float(modulus.std())
    assert float(modulus.std()) < 1.2
