"""States that nobody measured, integrated out with the rest beside them: against the problem that holds both."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.algebra import System
from realmat.algebra.space import Space
from realmat.engines.chains import unmeasured
from realmat.terms.problem import Problem


def table() -> pd.DataFrame:
    """Forty solvents of one to four rows each, the polarity of a third of them known."""
    rng = np.random.default_rng(1)
    solvent = np.repeat(np.arange(40), 1 + np.arange(40) % 4)
    polarity = rng.normal(2.0, 0.5, 40)
    y = 1 + 0.8 * polarity + 0.3 * rng.normal(size=40)
    known = np.where(np.arange(40) % 3 == 0, polarity, np.nan)
    return pd.DataFrame(
        {"y": y[solvent] + 0.1 * rng.standard_t(4, len(solvent)), "solvent": [f"S{k}" for k in solvent], "polarity": known[solvent]}
    )


def model(**more: object) -> rm.Model:
    return rm.Model("y", theory=rm.theory.Constant(), material=rm.material.Solvent("solvent", explained_by="polarity", **more))


def joint(one: rm.Model) -> tuple[rm.Joint, pd.DataFrame]:
    """Beside another property, declared before it, that the same solvents have."""
    df = table()
    other = rm.Model("z", theory=rm.theory.Constant(), material=rm.material.Unresolved("solvent"), observation=rm.observation.Normal())
    return rm.Joint([other, one]), df.assign(z=df["y"] + np.random.default_rng(4).normal(size=len(df)))


def bound(u: float | None, several: bool) -> Problem:
    """The problem with an error of polarities; the joint one seen through the property that has them."""
    if not several:
        return model(u=u).bind(table())
    models, df = joint(model(u=u))
    problem = models.bind(df)
    assert unmeasured.find(problem) is None
    return problem.of("y")


# polarities of a third of the solvents are known exactly, or read with an error: what is not known of the others is integrated out alike
@pytest.mark.parametrize(("u", "several"), [(None, False), (0.1, False), (0.1, True)])
def test_the_marginal_density_is_that_of_the_whole_problem(u, several):
    problem = bound(u, several)
    found = unmeasured.find(problem)
    assert found is not None
    whole, reduced, space = System(problem), System(found.reduced), Space(problem.params)
    assert whole.size - reduced.size == len(found.element) == 26
    assert unmeasured.find(found.reduced) is None
    thetas = space.start() + 0.5 * np.random.default_rng(2).standard_normal((6, space.size))
    values = [{name: v[..., k] for name, v in space.many(thetas)[0].items()} for k in range(6)]
    assert [reduced.log_marginal(p) for p in values] == pytest.approx([whole.log_marginal(p) for p in values], rel=1e-10, abs=1e-8)


@pytest.mark.parametrize(("u", "several"), [(None, False), (0.1, False), (0.1, True)])
def test_states_and_rests_are_drawn_back_as_the_whole_problem_draws_them(u, several):
    """Means, variances and covariances of 20,000 draws at one psi, within 4.5 standard errors."""
    problem = bound(u, several)
    found = unmeasured.find(problem)
    assert found is not None
    whole, reduced, space = System(problem, eliminate=False), System(found.reduced, eliminate=False), Space(problem.params)
    theta, rng, n = space.start() + 0.2, np.random.default_rng(3), 20_000
    p = {name: v[..., 0] for name, v in space.many(theta[None])[0].items()}
    conditional = reduced.at(p)
    b = np.array([conditional.draw(rng) for _ in range(n)])[None]
    out = found.restored(whole, reduced, space, np.broadcast_to(theta, (1, n, space.size)), b, 1)[0]
    exact = whole.at(p)
    truth = np.array([exact.draw(rng) for _ in range(n)])
    error = np.sqrt((out.var(axis=0) + truth.var(axis=0)) / n)
    assert np.abs((out.mean(axis=0) - truth.mean(axis=0)) / error).max() < 4.5
    assert out.var(axis=0) == pytest.approx(truth.var(axis=0), rel=4.5 * 2 / np.sqrt(n))
    state, rest = (whole.columns[c.name].start + at for c, at in ((found.state, found.element), (found.rest, found.effect)))
    both = [np.mean((x[:, state] - x[:, state].mean(axis=0)) * (x[:, rest] - x[:, rest].mean(axis=0)), axis=0) for x in (out, truth)]
    sd = np.sqrt(truth.var(axis=0))
    width = sd[state] * sd[rest]
    assert np.abs((both[0] - both[1]) / width).max() < 4.5 * 2 / np.sqrt(n)


@pytest.mark.parametrize("several", [False, True])
def test_heavy_tails_have_the_same_posterior_with_the_states_and_without(monkeypatch, several):
    """Means within 4.5 Monte Carlo errors (of some 75 comparisons), spreads within 25 %, of chains that hold the states."""
    one = model(u=0.1).with_observation(rm.observation.StudentT(nu=4.0))
    heavy, df = joint(one) if several else (one, table())
    without = heavy.fit(df, seed=1, draws=400, progress=False)
    monkeypatch.setattr(unmeasured, "find", lambda problem: None)
    with_them = heavy.fit(df, seed=2, draws=400, progress=False)
    a, b = without.tree["posterior"], with_them.tree["posterior"]
    assert set(a.data_vars) == set(b.data_vars)
    for name in a.data_vars:
        x, y = (np.asarray(v[name].values).reshape(1600, -1) for v in (a, b))
        error = np.sqrt((x.var(axis=0) + y.var(axis=0)) / 400)  # a quarter of the draws: chains are not independent draws
        spread = x.std(axis=0) > 0  # polarities that are known exactly have none
        assert np.max(np.abs(x.mean(axis=0) - y.mean(axis=0)) / np.where(spread, error, np.inf)) < 4.5, name
        assert x.std(axis=0) == pytest.approx(y.std(axis=0), rel=0.25), name


def test_states_that_stand_elsewhere_too_are_left_alone():
    df = table()
    assert unmeasured.find(model(nu=4.0).bind(df)) is None  # rests with heavy tails
    apart = rm.Model(
        "y",
        levels={"specimen": "piece"},
        theory=rm.theory.Constant(),
        material=[rm.material.Effect("polarity"), rm.material.Unresolved(by="solvent")],
    )
    assert unmeasured.find(apart.bind(df.assign(piece=np.arange(len(df))))) is None  # a state of each row beside an effect of several
