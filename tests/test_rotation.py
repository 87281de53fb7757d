"""A dense block seen through one scale, turned once: against the dense definition and against the system as it was declared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import realmat as rm
from realmat.algebra import System, dense, rotation
from realmat.algebra.group_covariances import GroupCovariances
from realmat.algebra.response import Response
from realmat.posterior.prior_draws import draw

GROUPS = [f"g{i}" for i in range(70)]


def table(rows: int, kind: str = "", far: float = 0.0) -> pd.DataFrame:
    """Molecules of 70 groups with a theory, a descriptor and a laboratory."""
    rng = np.random.default_rng(4)
    x = rng.integers(0, 3, (rows, 70)) * (rng.random((rows, 70)) < 0.3) * 1.0
    rest, labs = rng.normal(size=(rows, 2)), rng.integers(0, 3, rows)
    if kind == "columns twice":
        x[:, 35:] = x[:, :35]
    if kind == "columns of all sizes":
        x *= 10 ** np.linspace(-4, 4, 70)
    if kind == "replicates":
        which = rng.integers(0, rows // 2, rows)
        x, rest, labs = x[which], rest[which], labs[which]
    y = far + x @ (0.3 * rng.normal(size=70) / np.abs(x).max(axis=0)) + rest[:, 0] + 0.3 * rng.normal(size=rows)
    return pd.DataFrame(x, columns=GROUPS).assign(y=y, t=rest[:, 0], z=rest[:, 1], lab=np.array(list("abc"))[labs], u=0.2)


def model(**observation) -> rm.Model:
    """Theory, groups, a descriptor; by default one inferred noise."""
    material = [rm.material.Solvation(groups=GROUPS), rm.material.Effect("z")]
    return rm.Model("y", theory=rm.theory.Calibrated("t"), material=material, observation=rm.observation.Normal(**observation))


CASES = {
    "more rows than columns": (model(), table(130)),
    "fewer rows than columns": (model(), table(50)),
    "columns twice": (model(), table(130, "columns twice")),
    "columns of all sizes": (model(), table(130, "columns of all sizes")),
    "replicates": (model(), table(150, "replicates")),
    "far from zero": (model(), table(110, far=1e6)),
    "biases and a stated u": (model(bias_by="lab", u="u"), table(100)),
    "a dozen laboratories": (model(bias_by="lab"), table(150).assign(lab=np.arange(150) % 12)),
    "groups alone": (rm.Model("y", material=rm.material.Solvation(groups=GROUPS, scale=0.3)), table(90)),
}


@pytest.fixture(params=CASES, scope="module")
def case(request):
    """The system turned, the same as declared, and four psi drawn from the prior, by themselves and together."""
    declared, data = CASES[request.param]
    problem = declared.bind(data)
    system, plain = System(problem), System(problem, eliminate=False)
    assert system.rotation is not None
    assert plain.as_declared
    prior = draw(problem, 4, seed=5)
    each = [{q.name: prior.values(i)[q.name] for q in problem.params} for i in range(4)]
    return system, plain, each, {name: np.stack([v[name] for v in each], axis=-1) for name in each[0]}


def test_each_row_has_one_of_the_block(case):
    """A factorisation costs a few multiply-adds for each column."""
    system, plain = case[0], case[1]
    where = system.place[system.columns["solvation"]]
    assert np.bincount(system.row_blocks[0].matrix.tocsc()[:, where].tocoo().row).max() == 1
    assert system.pattern.time < plain.pattern.time / 2


def test_densities_are_those_of_the_definition(case):
    """log p(y | psi) of the covariance of all rows to 1e-9, at one psi and at many; and log p(y, b | psi)."""
    system, plain, each, batch = case
    truth = [dense.log_marginal(system.problem, values) for values in each]
    np.testing.assert_allclose([system.at(values).log_marginal for values in each], truth, rtol=1e-9)
    np.testing.assert_allclose(system.many.log_marginal(batch, 4), truth, rtol=1e-9)
    b = np.random.default_rng(2).normal(size=system.size)
    assert system.log_joint(each[0], b) == pytest.approx(plain.log_joint(each[0], b), rel=1e-9)
    np.testing.assert_allclose(system.natural(system.centre(b)), b, atol=1e-8)


def test_coefficients_are_those_of_the_block_as_declared(case):
    """Means to 1e-6 of a standard deviation, covariances to 1e-6, of single coefficients and of measured cells."""
    system, plain, each, batch = case
    every = sparse.identity(system.size, format="csr")
    solved, other = system.whole.at(batch, 4), plain.whole.at(batch, 4)
    for i, values in enumerate(each):
        one, truth = system.at(values), plain.at(values)
        sd = np.sqrt(truth.variances(every))
        assert np.all(np.abs(one.mean - truth.mean) < 1e-6 * sd)
        assert np.all(np.abs(solved.mean()[i] - truth.mean) < 1e-6 * sd)
        assert np.all(np.abs(one.cov(every) - truth.cov(every)) < 1e-6 * np.outer(sd, sd))
    for members in (np.arange(40).reshape(10, 4), np.arange(40)[None]):
        within = [GroupCovariances(s, Response(s, np.arange(40)).matrix, members).at(at) for s, at in ((system, solved), (plain, other))]
        np.testing.assert_allclose(*within, rtol=1e-6, atol=1e-6 * np.median(np.abs(within[1])))


def test_draws_have_the_moments_of_the_block_as_declared(case):
    """4000 draws of 40 combinations: means within 4.5 standard errors, variances within 4.5 times sqrt(2 / 4000) of theirs."""
    system, plain, each, _ = case
    n = 4000
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, system.size))
    solved = system.many.at({name: np.repeat(v, n) for name, v in each[0].items()}, n)
    truth = plain.at(each[0])
    values, sd = solved.draw(rng) @ x.T, np.sqrt(truth.variances(sparse.csr_matrix(x)))
    assert np.all(np.abs(values.mean(axis=0) - x @ truth.mean) < 4.5 * sd / np.sqrt(n))
    assert np.all(np.abs(values.var(axis=0) / sd**2 - 1) < 4.5 * np.sqrt(2 / n))


def test_answers_after_the_fit_are_the_same(monkeypatch):
    """Of the same draws: rows left out one by one, what to measure next, and an update by new rows, draw by draw."""
    data = table(130)
    fit = model().fit(data[:110], draws=200, chains=2, seed=1, progress=False)
    assert fit.posterior.system.rotation is not None

    def answers() -> list[np.ndarray]:
        later = fit.update(data[110:]).posterior
        marginal = later.system.many.log_marginal(later.batch(np.arange(50)), 50)
        return [np.asarray(fit.loo().elpd_i), fit.advise().table["fall"].to_numpy(), later.param("solvation_scale"), marginal]

    turned = answers()
    monkeypatch.setattr(rotation, "_FEWEST", 1000)
    del fit.posterior.__dict__["system"]
    assert fit.posterior.system.rotation is None
    for one, other in zip(turned, answers(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_fit_agrees_with_one_of_the_block_as_declared(monkeypatch):
    """Posterior means of hyperparameters and coefficients within 4.5 standard errors of 4000 draws each."""
    data = table(130)
    turned = model().fit(data, seed=1, progress=False).posterior.draws
    monkeypatch.setattr(rotation, "_FEWEST", 1000)
    plain = model().fit(data, seed=2, progress=False).posterior.draws
    for name in ("solvation_scale", "noise_scale"):
        one, other = (np.log(fit.params[name]).ravel() for fit in (turned, plain))
        assert abs(one.mean() - other.mean()) < 4.5 * other.std() * np.sqrt(2 / 3000)
    one, other = (fit.coefficients["solvation"].reshape(4000, -1) for fit in (turned, plain))
    assert np.all(np.abs(one.mean(axis=0) - other.mean(axis=0)) < 4.5 * other.std(axis=0) * np.sqrt(2 / 3000))


@pytest.mark.parametrize(
    ("declared", "data"),
    [
        (model(scale_by="lab"), table(130)),
        (model(u="u", scale=True), table(130).assign(u=np.linspace(0.1, 0.5, 130))),
        (rm.Model("y", material=rm.material.Solvation(groups=GROUPS, nu=4.0)), table(130)),
        (rm.Model("y", material=rm.material.Solvation(groups=GROUPS), observation=rm.observation.StudentT()), table(130)),
        (rm.Model("y", material=rm.material.Solvation(groups=GROUPS[:20])), table(130)),
        (model(bias_by="lab"), table(150).assign(lab=np.arange(150) // 2)),
    ],
    ids=["noise by laboratory", "a u of each row", "heavy tails of groups", "heavy tails of rows", "few columns", "more laboratories"],
)
def test_what_one_rotation_does_not_make_diagonal_stays_as_declared(declared, data):
    """Weights that differ from row to row as psi changes, heavy tails; and where it would not pay."""
    assert System(declared.bind(data)).rotation is None
