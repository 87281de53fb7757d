"""The exact engine: known answers, hard shapes, and what it does when importance sampling is not to be trusted."""

import numpy as np
import pandas as pd
import pytest
from arviz_stats.base import array_stats
from posteriors import expect_same_moments

import realmat as rm
from realmat.engines import exact
from realmat.support.progress import Progress
from realmat.table.table import Table

# Davies & Goldsmith, Statistical Methods in Research and Production, 1972, table 6.1: yields of dyestuff from six batches
DYESTUFF = [
    [1545, 1440, 1440, 1520, 1580],
    [1540, 1555, 1490, 1560, 1495],
    [1595, 1550, 1605, 1510, 1560],
    [1445, 1440, 1595, 1465, 1545],
    [1595, 1630, 1515, 1635, 1625],
    [1520, 1455, 1450, 1480, 1445],
]


def dyestuff() -> pd.DataFrame:
    """One row a yield."""
    return pd.DataFrame({"yield": np.ravel(DYESTUFF).astype(float), "batch": np.repeat(list("ABCDEF"), 5)})


@pytest.fixture(scope="module")
def dyestuff_fit():
    """Flat priors on the standard deviations, so that the posterior is the normalised likelihood."""
    flat = rm.Prior("Uniform", lower=0.0, upper=1000.0)
    model = rm.Model(
        "yield",
        theory=rm.theory.Constant(value=rm.Prior("Normal", mu=1500, sigma=1e4)),
        material=rm.material.Unresolved("batch", scale=flat),
        observation=rm.observation.Normal(scale=flat),
    )
    return model.fit(dyestuff(), draws=2000, seed=1, progress=False)


def test_dyestuff_mode_is_reml(dyestuff_fit):
    """The restricted likelihood of the dyestuff yields peaks at a batch variance of 1764 and a residual sd of 49.51 (Bates et al.,
    J. Stat. Softw. 67(1), 2015; closed form of a balanced design: (MSB - MSW) / 5 and MSW). With flat priors on both sds and a wide one
    on the mean, that is the mode of p(psi | y)."""
    system = dyestuff_fit.posterior.system
    sd, residual = np.meshgrid(np.linspace(30, 55, 101), np.linspace(44, 56, 97), indexing="ij")
    grid = [
        system.at({"unresolved_batch_scale": a, "noise_scale": b}).log_marginal for a, b in zip(sd.ravel(), residual.ravel(), strict=True)
    ]
    best = int(np.argmax(grid))
    y = np.array(DYESTUFF, dtype=float)
    within = ((y - y.mean(axis=1, keepdims=True)) ** 2).sum() / 24
    between = 5 * ((y.mean(axis=1) - y.mean()) ** 2).sum() / 5
    assert sd.ravel()[best] == pytest.approx(np.sqrt((between - within) / 5), abs=0.3)
    assert sd.ravel()[best] ** 2 == pytest.approx(1764, rel=0.02)
    assert residual.ravel()[best] == pytest.approx(49.51, abs=0.15)


def test_dyestuff_posterior_against_a_grid(dyestuff_fit):
    """Means and sds of both scales against quadrature of the marginal posterior, within 4.5 Monte Carlo standard errors."""
    system, tree = dyestuff_fit.posterior.system, dyestuff_fit.tree["posterior"]
    a, b = np.linspace(0.05, 400, 300), np.linspace(30, 100, 120)
    log = np.array([[system.at({"unresolved_batch_scale": x, "noise_scale": y}).log_marginal for y in b] for x in a])
    p = np.exp(log - log.max())
    p /= p.sum()
    for name, values, weights in (("unresolved_batch_scale", a, p.sum(axis=1)), ("noise_scale", b, p.sum(axis=0))):
        inside = tree[name].values[tree[name].values < values[-1]]
        truth = weights @ values
        spread = np.sqrt(weights @ (values - truth) ** 2)
        error = spread / np.sqrt(array_stats.ess(tree[name].values))
        assert inside.size > 0.98 * tree[name].size
        assert abs(inside.mean() - truth) < 4.5 * error + 0.01 * spread  # 1 % for the tail beyond the grid
        assert inside.std() == pytest.approx(spread, rel=0.1)


def test_eight_schools():
    """Rubin's eight schools: the reference posterior (posteriordb, eight_schools-eight_schools_centered) has mu 4.36 +- 3.3 and
    tau 3.60 +- 3.2, under mu ~ N(0, 5) and tau ~ HalfCauchy(5)."""
    df = pd.DataFrame({"y": [28.0, 8, -3, 7, -1, 1, 18, 12], "u": [15.0, 10, 16, 11, 9, 11, 10, 18], "school": list("ABCDEFGH")})
    model = rm.Model(
        "y",
        theory=rm.theory.Constant(value=rm.Prior("Normal", mu=0, sigma=5)),
        material=rm.material.Unresolved("school", scale=rm.Prior("HalfCauchy", beta=5)),
        observation=rm.observation.Normal(u="u", scale=False),
    )
    posterior = model.fit(df, draws=2000, seed=3, progress=False).tree["posterior"]
    for name, mean, sd in (("constant", 4.36, 3.3), ("unresolved_school_scale", 3.60, 3.2)):
        values = posterior[name].values
        error = sd / np.sqrt(array_stats.ess(values))
        assert abs(values.mean() - mean) < 4.5 * error + 0.03, name  # 0.03: error of the reference itself
        assert array_stats.rhat(values) < 1.01


def grouped(n_groups: int, rows: int, sd: float, seed: int) -> pd.DataFrame:
    """Rows in groups with a group effect of spread `sd` under unit noise."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, n_groups, rows)
    return pd.DataFrame({"y": sd * rng.normal(size=n_groups)[group] + rng.normal(size=rows), "group": group})


def test_scale_near_zero():
    """A group effect that is not there: the scale piles up at zero and the chains still mix."""
    model = rm.Model("y", theory=rm.theory.Constant(), material=rm.material.Unresolved("group"))
    fit = model.fit(grouped(30, 600, 0.0, 1), seed=2, progress=False)
    scale = fit.tree["posterior"]["unresolved_group_scale"].values
    assert np.quantile(scale, 0.95) < 0.25
    assert array_stats.rhat(scale) < 1.02
    assert array_stats.ess(scale) > 400


def test_many_hyperparameters():
    """Fourteen noise scales and a group scale, fifteen hyperparameters: truth inside 4.5 posterior sds, chains that agree."""
    rng = np.random.default_rng(5)
    lab = np.repeat(np.arange(14), 40)
    truth = np.exp(rng.normal(0, 0.5, 14))
    group = rng.integers(0, 40, len(lab))
    y = 0.8 * rng.normal(size=40)[group] + truth[lab] * rng.normal(size=len(lab))
    df = pd.DataFrame({"y": y, "group": group, "lab": lab})
    model = rm.Model(
        "y", theory=rm.theory.Constant(), material=rm.material.Unresolved("group"), observation=rm.observation.Normal(scale_by="lab")
    )
    posterior = model.fit(df, draws=500, seed=1, progress=False).tree["posterior"]
    scales = posterior["noise_scale"].values
    assert np.all(np.abs(scales.mean(axis=(0, 1)) - truth) < 4.5 * scales.std(axis=(0, 1)))
    assert max(float(array_stats.rhat(scales[..., k])) for k in range(14)) < 1.03


def test_seed_decides(dyestuff_fit):
    """The same seed gives the same numbers, another seed others."""
    model = dyestuff_fit.model
    first, again, other = (
        model.fit(dyestuff(), draws=50, seed=s, progress=False).tree["posterior"]["noise_scale"].values for s in (7, 7, 8)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_summary_of_latents_agrees_with_their_draws():
    """latents="summary" keeps mean and sd; they agree with the draws within Monte Carlo error, and draws can be made again."""
    df = grouped(40, 300, 1.0, 4)
    model = rm.Model("y", theory=rm.theory.Constant(), material=rm.material.Unresolved("group"))
    full = model.fit(df, seed=1, progress=False)
    brief = model.fit(df, seed=1, progress=False, latents="summary")
    draws = full.posterior.draws.coefficients["unresolved_group"].reshape(-1, 40)
    mean, sd = brief.posterior.draws.summary["unresolved_group"]
    assert np.all(np.abs(mean - draws.mean(axis=0)) < 4.5 * sd / np.sqrt(1000))
    assert sd == pytest.approx(draws.std(axis=0), rel=0.1)
    assert "unresolved_group" not in brief.tree["posterior"]
    again = brief.posterior.block("unresolved_group", np.arange(0, 4000, 10))
    assert np.all(np.abs(again.mean(axis=0) - mean) < 4.5 * sd / np.sqrt(300))


def curved() -> tuple[rm.Model, pd.DataFrame]:
    """A rise that levels off, thirty readings."""
    x = np.linspace(0.2, 6, 30)
    df = pd.DataFrame({"x": x, "y": 2 * (1 - np.exp(-0.8 * x)) + 0.05 * np.random.default_rng(6).normal(size=30)})
    priors = {"top": rm.Prior("LogNormal", mu=0.5, sigma=1), "rate": rm.Prior("LogNormal", mu=0, sigma=1)}
    law = rm.theory.Function(lambda x, top, rate: top * (1 - np.exp(-rate * x)), columns=["x"], params=priors)
    return rm.Model("y", theory=law), df


def layered() -> tuple[rm.Model, pd.DataFrame]:
    """Twelve groups of ten."""
    return rm.Model("y", theory=rm.theory.Constant(), material=rm.material.Unresolved("group")), grouped(12, 120, 1.0, 6)


@pytest.mark.parametrize(
    ("made", "method"),
    [
        (curved, "walkers on hyperparameters, coefficients drawn exactly"),
        (layered, "Hamiltonian chains on hyperparameters and coefficients"),
    ],
)
def test_others_take_over_when_weights_are_not_trusted(made, method, monkeypatch):
    """With k-hat called bad, walkers of a curve, or chains of all else, give the same posterior and say so.

    Means and variances of hyperparameters and coefficients, within 4.5 standard errors.
    """
    model, df = made()
    usual = model.fit(df, seed=1, progress=False)
    monkeypatch.setattr(exact, "judge", lambda weights: (0.9, 0.05))
    forced = model.fit(df, draws=400, seed=1, progress=False)
    assert forced.facts["method"] == method
    assert "0.90" in forced.facts["why"]
    for name in (q.name for q in (*usual.problem.params, *usual.problem.coefficients)):
        expect_same_moments(*(fit.tree["posterior"][name].values for fit in (usual, forced)), name)


@pytest.mark.parametrize("wanting", [4, 6])
def test_even_weights_of_too_few_proposals_get_more(dyestuff_fit, monkeypatch, wanting):
    """Four looks at the draws find them wanting, or two more at later ones; those of four times as many proposals tell the same."""
    looks: list[int] = []

    def apart(run, density):
        looks.append(run.thetas.shape[1])
        return "R-hat 1.02" if len(looks) <= wanting else ""

    monkeypatch.setattr(exact, "_apart", apart)
    fit = dyestuff_fit.model.fit(dyestuff(), draws=1000, seed=2, progress=False)
    assert fit.facts["proposals_per_draw"] == 4
    assert fit.facts["method"] == dyestuff_fit.facts["method"]
    assert looks == [1000] * (wanting + 1)
    for name in ("unresolved_batch_scale", "noise_scale", "unresolved_batch"):
        ours, before = (f.tree["posterior"][name].values.reshape(4, f.facts["draws"], -1) for f in (fit, dyestuff_fit))
        for k in range(ours.shape[-1]):
            error = np.hypot(*(array_stats.mcse(x[..., k], method="mean") for x in (ours, before)))
            assert abs(ours[..., k].mean() - before[..., k].mean()) < 4.5 * error, name


def test_interrupt_keeps_draws(monkeypatch):
    """Ctrl-C while drawing: what is complete in every chain is kept, and the fit says so."""
    original, calls = Progress.advance, []

    def interrupted(self, steps=1):
        calls.append(steps)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(self, steps)

    monkeypatch.setattr(Progress, "advance", interrupted)
    model = rm.Model("y", theory=rm.theory.Constant(), material=rm.material.Unresolved("group"))
    fit = model.fit(grouped(12, 120, 1.0, 6), seed=1, progress=False)
    done = sum(calls) // 4  # draws of each of four chains that were told
    assert fit.posterior.shape == (4, done)
    assert 0 < done < 1000
    assert fit.tree["posterior"].sizes["draw"] == done
    assert f"interrupted after {done} of 1000" in fit.facts["interrupted"]


def test_engine_choice_says_why():
    """`auto` names the component that is not linear; asking for `exact` then is an error that names it too."""
    df = pd.DataFrame({"y": [1.0, 2.0, 3.0, 2.5], "d": [1.0, np.nan, 4.0, 9.0]})
    model = rm.Model(
        "y", theory=rm.theory.Constant(), material=rm.material.GrainSize("d", u=0.1, exponent=rm.Prior("Normal", mu=-0.5, sigma=0.1))
    )
    from realmat.engines.choice import choose

    assert choose(model.bind(df)) == ("nuts", "nuts: the effect of grain_size_d is not linear given its parameters")
    with pytest.raises(rm.FitError, match="grain_size_d"):
        model.fit(df, engine="exact", progress=False)
    with pytest.raises(rm.ModelError, match="engine must be one of"):
        model.fit(df, engine="stan", progress=False)


def two_sites(p, q1, b1, q2, b2):
    return q1 * b1 * p / (1 + b1 * p) + q2 * b2 * p / (1 + b2 * p)


def test_two_sites_that_may_change_places_are_both_found():
    """A dual-site Langmuir isotherm under one prior for both sites: by symmetry half of the draws lie in each mode."""
    rng = np.random.default_rng(2)
    p = np.exp(np.linspace(-5, 4, 28))
    df = pd.DataFrame({"p": p, "y": two_sites(p, 2.0, 5.0, 3.0, 0.1) + 0.03 * rng.normal(size=28)})
    site = {"q": rm.Prior("LogNormal", mu=1, sigma=1), "b": rm.Prior("LogNormal", mu=0, sigma=2)}
    law = {f"{name}{k}": prior for k in (1, 2) for name, prior in site.items()}
    model = rm.Model("y", theory=rm.theory.Function(two_sites, columns=["p"], params=law))
    fit = model.fit(df, seed=1, progress=False)
    posterior = fit.tree["posterior"]
    first = posterior["function_b1"].values > posterior["function_b2"].values
    assert abs(first.mean() - 0.5) < 4.5 * 0.5 / np.sqrt(float(array_stats.ess(first.astype(float))))


def test_scales_that_a_large_design_tells_apart_are_explored_by_themselves():
    """Two hundred million readings of 1300 pieces of 100 materials by six laboratories, as cells: the noise is known to 5e-5 of itself.

    Importance sampling covers it at once, and holds the truth.
    """
    rng = np.random.default_rng(3)
    piece, lab = (x.ravel() for x in np.meshgrid(np.arange(1300), np.arange(6), indexing="ij"))
    material, count = piece % 100, np.full(len(piece), 25_000.0)
    truth = {"unresolved_material_scale": 0.4, "unresolved_specimen_scale": 0.2, "bias_lab_scale": 0.15, "noise_scale": 0.1}
    effects = [
        truth[name] * rng.normal(size=size)[code] for name, size, code in zip(truth, (100, 1300, 6), (material, piece, lab), strict=False)
    ]
    y = 3.0 + sum(effects) + 0.1 * rng.normal(size=len(piece)) / np.sqrt(count)
    model = rm.Model(
        "y",
        levels={"material": "mat", "specimen": "piece", "lab": "lab"},
        theory=rm.theory.Constant(),
        material=[rm.material.Unresolved(by="material"), rm.material.Unresolved(by="specimen")],
        observation=rm.observation.Normal(bias_by="lab"),
    )
    columns = {"y": y, "mat": material, "piece": piece, "lab": lab}
    within = 0.1**2 * rng.chisquare(count - 1)
    table = Table(columns, model.levels, np.arange(len(y)), count=count, response="y", within=within)
    drawn = exact.sample(model.bind(table), 250, 4, 1, progress=False)
    assert drawn.facts["method"].startswith("importance resampling")
    assert drawn.facts["efficiency"] > 0.8
    for name, value in truth.items():
        found = drawn.params[name]
        assert abs(found.mean() - value) < 4 * found.std(), name
