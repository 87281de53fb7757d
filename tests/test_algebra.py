"""The exact algebra against dense matrices straight from the definition, and against its own identity."""

import numpy as np
import pandas as pd
import pytest
from numba import njit
from scipy import sparse, stats

import realmat as rm
from realmat.algebra import System, batching, dense, simd
from realmat.algebra import batch as batch_module
from realmat.algebra import conditional as conditional_module
from realmat.algebra.batching import Batched
from realmat.algebra.group_covariances import GroupCovariances
from realmat.algebra.response import Response
from realmat.posterior.prior_draws import draw

LEVELS = {"material": "mat", "specimen": "piece", "lab": "lab"}


def layered(seed: int, rows: int = 60) -> pd.DataFrame:
    """Rows on specimens of materials in labs, with everything a component may ask for; response far from zero."""
    rng = np.random.default_rng(seed)
    piece = rng.integers(0, 15, rows)
    mat = piece // 3
    known = rng.random(rows) < 0.5
    grain = rng.lognormal(2, 0.4, 15)[piece]
    return pd.DataFrame(
        {
            "y": 100 + rng.normal(size=rows),
            "t": 100 + rng.normal(size=5)[mat],
            "tu": np.full(rows, 0.2),
            "mat": mat,
            "piece": piece,
            "lab": np.array(["a", "b", "c"])[rng.integers(0, 3, rows)],
            "u": np.where(rng.random(rows) < 0.3, np.nan, rng.choice([0.1, 0.2], rows)),
            "own_u": np.random.default_rng([seed, 1]).uniform(0.1, 0.3, rows),
            "z": rng.normal(size=15)[piece],
            "grain": np.where(known, grain * rng.lognormal(0, 0.1, rows), np.nan),
            "grain_u": 0.1 * grain,
            "x_a": rng.random(15)[piece],
            "x_b": rng.random(15)[piece],
            "route": np.array(["cast", "wrought"])[mat % 2],
        }
    )


MODELS = {
    "groups": {"theory": rm.theory.Calibrated("t"), "material": [rm.material.Unresolved("specimen"), rm.material.Unresolved("material")]},
    "replicates": {"theory": rm.theory.Constant(), "material": rm.material.Unresolved("specimen")},
    "labs": {"theory": rm.theory.Calibrated("t"), "observation": rm.observation.Normal(u="u", bias_by="lab")},
    "scales": {"theory": rm.theory.Calibrated("t", slope=1.0), "observation": rm.observation.Normal(scale_by="lab")},
    "errors in variables": {"theory": rm.theory.Calibrated("t", u="tu"), "material": rm.material.Unresolved("specimen")},
    "corrections": {
        "theory": [rm.theory.Calibrated("t"), rm.theory.Corrections(["x_a", "x_b"])],
        "material": rm.material.Unresolved("material"),
    },
    "state": {"theory": rm.theory.Calibrated("t"), "material": rm.material.GrainSize("grain", u="grain_u", by="route")},
    "two states": {
        "theory": rm.theory.Constant(),
        "material": [rm.material.GrainSize("grain", u=0.2), rm.material.Effect("z", u=0.3)],
    },
    "a state and a u of each row": {
        "theory": rm.theory.Constant(),
        "material": rm.material.GrainSize("grain", u="grain_u"),
        "observation": rm.observation.Normal(u="own_u", scale=True),
    },
    "process": {"theory": rm.theory.Calibrated("t"), "material": [rm.material.Process("route"), rm.material.Discrepancy(["z"])]},
    "student": {
        "theory": rm.theory.Calibrated("t"),
        "material": rm.material.Unresolved("specimen", nu=True),
        "observation": rm.observation.StudentT(),
    },
}


@pytest.fixture(params=MODELS, scope="module")
def problem(request):
    """A bound problem of each model."""
    return rm.Model("y", levels=LEVELS, **MODELS[request.param]).bind(layered(1))


@pytest.fixture(scope="module")
def points(problem):
    """The system, and three psi drawn from the prior with coefficients and auxiliary values."""
    prior = draw(problem, 3, seed=5)
    system = prior.system
    names = [block.name for block in problem.coefficients]
    return system, [(prior.values(i), np.concatenate([prior.block(n, np.array([i]))[0] for n in names])) for i in range(3)]


def test_identity(points):
    """log p(y | psi) = log p(y, b | psi) - log p(b | psi, y) for any b, to 1e-8 relative."""
    system, draws = points
    for values, b in draws:
        conditional = system.at(values)
        joint, density = system.log_joint(values, b), conditional.log_density(b)
        size = max(abs(joint), abs(density), abs(conditional.log_marginal), 1.0)
        assert abs(conditional.log_marginal - (joint - density)) < 1e-8 * size


def test_marginal_against_dense_covariance(problem, points):
    """The marginal density of all measured rows is that of the multivariate normal."""
    system, draws = points
    for values, _ in draws:
        assert system.at(values).log_marginal == pytest.approx(dense.log_marginal(problem, values), rel=1e-8)


@pytest.mark.parametrize("few", [0, 10_000])
def test_moments_against_dense_algebra(problem, points, few, monkeypatch):
    """Conditional mean and covariance of the coefficients, by sparse square roots and by dense ones."""
    monkeypatch.setattr(conditional_module, "_FEW", few)
    system, draws = points
    values = draws[0][0]
    conditional = system.at(values)
    mean, cov = dense.posterior(problem, values)
    every = sparse.identity(system.size, format="csr")
    sd = np.sqrt(np.diag(cov))
    assert np.all(np.abs(conditional.mean - mean) < 1e-5 * sd)
    assert np.all(np.abs(conditional.cov(every) - cov) < 1e-5 * np.outer(sd, sd))
    assert conditional.variances(every) == pytest.approx(sd**2, rel=1e-5)


def test_draws_have_the_conditional_moments(points):
    """4000 draws: means within 4.5 standard errors, variances within 4.5 times their relative error sqrt(2 / 4000)."""
    system, draws = points
    conditional = system.at(draws[0][0])
    rng = np.random.default_rng(3)
    b = np.array([conditional.draw(rng) for _ in range(4000)])
    sd = np.sqrt(conditional.variances(sparse.identity(system.size, format="csr")))
    assert np.all(np.abs(b.mean(axis=0) - conditional.mean) < 4.5 * sd / np.sqrt(4000))
    assert np.all(np.abs(b.var(axis=0) / sd**2 - 1) < 4.5 * np.sqrt(2 / 4000))


def test_many_psi_at_once_as_one_at_a_time(points):
    """A batch gives what single evaluations give: densities, means, and from the same random numbers the same draw."""
    system, draws = points
    singles = [system.at(values) for values, _ in draws]
    few = together([values for values, _ in draws])
    # longer than the batch on which functions of psi are tried
    batch, n = {name: np.concatenate([v, v], axis=-1) for name, v in few.items()}, 2 * len(draws)
    for _ in range(2):
        solved = system.many.at(batch, n)
        means = solved.mean()
        for i in range(n):
            single = singles[i % len(draws)]
            sd = np.sqrt(single.variances(sparse.identity(system.size, format="csr")))
            assert solved.log_marginal[i] == pytest.approx(single.log_marginal, rel=1e-9)
            assert np.all(np.abs(means[i] - single.mean) < 1e-6 * sd)
    alone = system.many.at({name: v[..., :1] for name, v in few.items()}, 1)
    sd = np.sqrt(singles[0].variances(sparse.identity(system.size, format="csr")))
    difference = alone.draw(np.random.default_rng(4))[0] - singles[0].draw(np.random.default_rng(4))
    assert np.all(np.abs(difference) < 1e-6 * sd)

    # a psi at which the numbers break down has density zero and does not touch its neighbours
    values = draws[0][0]
    broken = {name: v * np.nan for name, v in values.items()}
    solved = system.many.at(together([broken, values, broken]), 3)
    assert solved.log_marginal[0] == solved.log_marginal[2] == -np.inf
    assert solved.log_marginal[1] == pytest.approx(singles[0].log_marginal, rel=1e-9)


def test_weighted_moments_at_many_psi(points):
    """Sums over psi of E[b] to rounding, those of E[b^2] within 4.5 Monte Carlo errors of a draw each; a psi of no weight adds nothing."""
    system, draws = points
    n, rng = 300, np.random.default_rng(7)
    which, weights = np.arange(n) % len(draws), rng.random(n) * (np.arange(n) % 5 > 0)
    one = [system.at(values) for values, _ in draws]
    mean = np.array([at.mean for at in one])
    variance = np.array([at.variances(sparse.identity(system.size, format="csr")) for at in one])
    sd = np.sqrt(variance.max(axis=0))
    centre = mean[0] + sd
    first, second = system.many.at(together([draws[k][0] for k in which]), n).moments(weights, rng, centre)
    away = mean[which] - centre
    assert np.all(np.abs(first - weights @ away) < 1e-5 * weights.sum() * np.maximum(sd, np.abs(away).max(axis=0)))
    error = np.sqrt(2 * (weights**2 @ variance[which] ** 2))
    assert np.all(np.abs(second - weights @ (away**2 + variance[which])) < 4.5 * error + 1e-5 * weights @ away**2)


def test_the_response_and_covariances_at_many_psi(points):
    """As `System.response` and `Conditional.cov` have them at one: cells in any order, pairs of them, and coefficients under scales."""
    system, draws = points
    cells = np.random.default_rng(5).permutation(len(system.row_blocks[0].y))[:12]
    batch = together([values for values, _ in draws])
    solved, response = system.whole.at(batch, len(draws)), Response(system, cells)
    pairs, every = np.arange(12).reshape(6, 2), sparse.identity(system.size, format="csr")
    at = response.at(batch, len(draws))
    mean = response.mean(at, solved.mean())
    of_pairs = GroupCovariances(system, response.matrix, pairs, response.scale_of).at(solved, at.scales)
    of_all = GroupCovariances(system, every, np.arange(system.size)[None]).at(solved)
    for i, (values, _) in enumerate(draws):
        single = system.at(values)
        matrix, offset, variance = (x[cells] for x in system.response(values))
        sd = np.sqrt(single.variances(every))
        assert np.all(np.abs(of_all[i, 0] - single.cov(every)) < 1e-7 * np.outer(sd, sd))
        own = np.sqrt(single.variances(matrix))
        assert np.all(np.abs(mean[i] - matrix @ single.mean - offset) < 1e-6 * own)
        assert at.variance[i] == pytest.approx(variance, rel=1e-12)
        cov = single.cov(matrix)
        for k, pair in enumerate(pairs):
            assert np.all(np.abs(of_pairs[i, k] - cov[np.ix_(pair, pair)]) < 1e-7 * np.outer(own[pair], own[pair]))


def together(values: list[dict]) -> dict[str, np.ndarray]:
    """Several psi as a batch, its axis last."""
    return {name: np.stack([np.asarray(v[name], dtype=float) for v in values], axis=-1) for name in values[0]}


@pytest.mark.parametrize(
    ("function", "way"),
    [
        (lambda p, xp: 2 * p["a"] + p["b"].sum(), batching.one_by_one),  # sums over the batch too
        (lambda p, xp: xp.exp(p["a"]) * p["b"], batching.batch_last),
        (lambda p, xp: p["b"][np.array([0, 0, 1])], batching.batch_last),
        (lambda p, xp: p["a"] * np.arange(7.0), batching.batch_first),  # as many numbers as the batch has psi
        (lambda p, xp: p["a"] * np.arange(3.0), batching.batch_first),  # as many as are tried
        (lambda p, xp: xp.exp(p["a"] * np.arange(5.0)) - p["a"], batching.batch_first),
        (lambda p, xp: p["b"][0] * np.arange(5.0), batching.one_by_one),
        (lambda p, xp: 1.0 if p["a"] > 0 else 2.0, batching.one_by_one),
        (lambda p, xp: 3.0, batching.batch_last),
        (3.0, None),
    ],
)
def test_functions_of_psi_in_batches(function, way):
    """Whether a function takes batches as it stands or not, the numbers are those of one psi at a time."""
    rng = np.random.default_rng(1)
    lift, batch = Batched(function), {"a": rng.normal(size=7), "b": rng.normal(size=(2, 7))}
    found = lift(batch, 7)
    one = [np.asarray(function({name: v[..., i] for name, v in batch.items()}, np) if callable(function) else function) for i in range(7)]
    assert np.allclose(np.broadcast_to(found, (*one[0].shape, 7)), np.stack(one, axis=-1), rtol=1e-14)
    assert lift.way(batch, 7) is way


def test_a_function_that_finds_among_the_values_what_it_would_make():
    """How it takes a batch is another matter with these values than without."""
    batch = {"b": np.random.default_rng(1).normal(size=(2, 7))}
    made = np.arange(5.0)[:, None] * batch["b"][0]
    lift = Batched(lambda p, xp: p["made"] if "made" in p else p["b"][0] * np.arange(5.0))
    for _ in range(2):
        np.testing.assert_array_equal(lift({**batch, "made": made}, 7), made)
        np.testing.assert_allclose(lift(batch, 7), made)


@pytest.mark.parametrize(
    ("function", "runs"),
    [
        (lambda p, xp: xp.exp(-p["a"] * np.arange(5.0)) * p["c"] + p["b"], True),
        (lambda p, xp: (p["c"] + p["b"]) * np.arange(12.0), True),  # as many rows as psi
        (lambda p, xp: np.hstack([p["a"] * np.arange(3.0), p["c"] * np.arange(2.0)]), False),  # no arithmetic: does not broadcast
    ],
)
def test_runs_of_psi_that_differ_in_few_parameters(function, runs):
    """What such a run shares is computed once, where the function allows it: the same numbers either way."""
    rng = np.random.default_rng(2)
    batch = {"a": np.repeat(rng.normal(size=4), 3), "b": np.tile([0.0, 1.0, 2.0], 4), "c": rng.normal(size=12)}
    lift = Batched(function)
    assert lift(batch, 12, run=3) == pytest.approx(lift(batch, 12), rel=1e-13)
    assert lift._in_runs is runs
    assert lift(batch, 12, run=3) == pytest.approx(lift(batch, 12), rel=1e-13)


def test_columns_that_reach_everything():
    """More covariates than loops are used for, and materials that touch all of them: still dense algebra, alone and in a batch."""
    rng = np.random.default_rng(2)
    mat = np.repeat(np.arange(60), 4)
    z = {f"z{k}": rng.normal(size=240) for k in range(55)}
    df = pd.DataFrame({"y": rng.normal(size=240), "mat": mat, "lab": rng.integers(0, 3, 240), **z})
    problem = rm.Model(
        "y",
        levels={"material": "mat", "lab": "lab"},
        theory=rm.theory.Constant(),
        material=[rm.material.Unresolved("material"), rm.material.Unresolved("row"), *(rm.material.Effect(name) for name in z)],
        observation=rm.observation.Normal(scale=0.1, bias_by="lab"),
    ).bind(df)
    system = System(problem)
    assert system.pattern.full.sum() >= 60
    assert system.pattern.dense > 48
    values = {"unresolved_material_scale": 0.5, "bias_lab_scale": 0.3, "unresolved_row_scale": 0.8}
    truth = dense.log_marginal(problem, values)
    assert system.at(values).log_marginal == pytest.approx(truth, rel=1e-9)
    solved = system.many.at(together([values] * 2), 2)
    assert solved.log_marginal == pytest.approx([truth, truth], rel=1e-9)
    assert solved.mean() == pytest.approx(np.array([system.at(values).mean] * 2), abs=1e-8)
    some = sparse.identity(system.size, format="csr")[::7]
    covariance = GroupCovariances(system, some, np.arange(some.shape[0])[None]).at(solved)[1, 0]
    assert covariance == pytest.approx(system.at(values).cov(some), abs=1e-10)

    broken = {name: v * np.nan for name, v in values.items()}
    solved = system.many.at(together([broken, values]), 2)
    assert solved.log_marginal == pytest.approx([-np.inf, truth], rel=1e-9)


def test_a_system_too_large_for_batches_gives_the_same(points, monkeypatch):
    """Psi one by one, behind the same door."""
    system, draws = points
    if system.augmented:
        return
    monkeypatch.setattr(batch_module, "_LARGE", 0)
    one_by_one = batch_module.BatchSystem(system)
    assert one_by_one.most == 1
    batch = together([values for values, _ in draws])
    few, truth = one_by_one.at(batch, 3), system.many.at(batch, 3)
    assert few.log_marginal == pytest.approx(truth.log_marginal, rel=1e-9)
    assert few.mean() == pytest.approx(truth.mean(), rel=1e-6, abs=1e-6)
    assert few.draw(np.random.default_rng(1)).shape == (3, system.size)


def test_a_model_without_coefficients():
    """A theory that is exact, and noise: the density is that of independent normals, and there is nothing to draw."""
    df = layered(1)
    system = System(rm.Model("y", theory=rm.theory.Calibrated("t", intercept=0.0, slope=1.0)).bind(df))
    scales = np.array([0.5, 1.0, 3.0])
    solved = system.many.at({"noise_scale": scales}, 3)
    truth = [stats.norm.logpdf(df["y"], df["t"], scale).sum() for scale in scales]
    assert solved.log_marginal == pytest.approx(truth, rel=1e-10)
    assert solved.draw(np.random.default_rng(0)).shape == solved.mean().shape == (3, 0)


def test_eight_numbers_at_once():
    """Vector instructions against NumPy, and rows side by side and back."""
    rng = np.random.default_rng(0)
    a, b, out = rng.normal(size=(3, 5, simd.LANES))

    @njit
    def run(a, b, out):
        simd.add_product(out, 3, a, 1, b, 4, -2.0)
        simd.set_product(out, 0, a, 2, b, 2, 0.5)

    truth = out.copy()
    truth[3] -= 2 * a[1] * b[4]
    truth[0] = 0.5 * a[2] * b[2]
    run(a, b, out)
    assert out == pytest.approx(truth, rel=1e-15)
    for n in (1, 8, 11):
        x = rng.normal(size=(n, 3))
        side_by_side = simd.pack(x)
        assert side_by_side.shape == (-(-n // 8), 3, 8)
        assert np.array_equal(simd.unpack(side_by_side, n), x)


def test_replicates_are_sufficient_in_cells():
    """Collapsing replicates changes nothing: the same data with every row kept apart have the same marginal density."""
    df = layered(2, rows=200)
    model = rm.Model("y", levels={"specimen": "piece"}, theory=rm.theory.Constant(), material=rm.material.Unresolved("specimen"))
    collapsed = model.bind(df)
    apart = model.bind(df.assign(tag=np.arange(200.0))).table
    assert len(collapsed.cells) == df["piece"].nunique() < len(apart)
    with_tag = rm.Model(
        "y",
        levels={"specimen": "piece"},
        theory=[rm.theory.Constant(), rm.theory.Calibrated("tag", intercept=0.0, slope=0.0)],
        material=rm.material.Unresolved("specimen"),
    ).bind(df.assign(tag=np.arange(200.0)))
    assert len(with_tag.cells) == 200
    values = {"unresolved_specimen_scale": 0.7, "noise_scale": 0.9}
    first, second = System(collapsed).at(values).log_marginal, System(with_tag).at(values).log_marginal
    # default priors of the constant are scaled by the data, which are the same
    assert first == pytest.approx(second, rel=1e-10)


def test_crossed_groups_of_many_levels():
    """Two crossed groupings of hundreds of levels each: nothing nests, and the answers are still those of dense algebra."""
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"y": rng.normal(size=700), "a": rng.integers(0, 150, 700), "b": rng.integers(0, 120, 700)})
    problem = rm.Model("y", theory=rm.theory.Constant(), material=[rm.material.Unresolved("a"), rm.material.Unresolved("b")]).bind(df)
    values = {"unresolved_a_scale": 0.5, "unresolved_b_scale": 0.8, "noise_scale": 0.4}
    assert System(problem).at(values).log_marginal == pytest.approx(dense.log_marginal(problem, values), rel=1e-9)


def test_pieces_measured_in_many_different_numbers():
    """More classes of pieces than are summed one by one: 1 / D is interpolated, and the answers are still those of dense algebra."""
    rng = np.random.default_rng(1)
    piece = np.repeat(np.arange(40), np.arange(60, 100))
    df = pd.DataFrame(
        {"y": rng.normal(size=len(piece)), "t": rng.normal(size=40)[piece], "s": piece, "lab": rng.integers(0, 3, len(piece))}
    )
    problem = rm.Model(
        "y",
        levels={"specimen": "s", "lab": "lab"},
        theory=rm.theory.Calibrated("t"),
        material=rm.material.Unresolved("specimen"),
        observation=rm.observation.Normal(bias_by="lab"),
    ).bind(df)
    system = System(problem)
    assert system.eliminated is not None
    assert len(system.eliminated.nodes) < len(system.eliminated.class_counts) == 40
    for scale, noise in ((0.5, 0.4), (1e-3, 2.0), (30.0, 0.01)):
        values = {"unresolved_specimen_scale": scale, "bias_lab_scale": 0.3, "noise_scale": noise}
        assert system.at(values).log_marginal == pytest.approx(dense.log_marginal(problem, values), rel=1e-8)
