"""Leave-one-group-out against brute force: the marginal likelihood with and without each group, on a grid of the hyperparameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import arviz as az
import numpy as np
import pandas as pd
import pytest
from arviz_stats.base import array_stats
from scipy import integrate, sparse, stats
from scipy.special import logsumexp

import realmat as rm
from realmat.engines import exact
from realmat.posterior.draws import Draws, Posterior
from realmat.posterior.grouping import some_groups
from realmat.support import pareto
from realmat.table.table import Table
from realmat.terms.component import Component, Scale
from realmat.terms.problem import Problem
from realmat.terms.term import Coefficients, Contribution, Piece, Term
from realmat.validation import loo as loo_module
from realmat.validation.loo import left_out, loo, psis
from realmat.validation.scores import crps


def fitted(problem: Problem, draws: int = 1000, seed: int = 1) -> Posterior:
    return Posterior(problem, exact.sample(problem, draws, 4, seed, progress=False))


def materials_table(seed: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    m = np.repeat(np.arange(8), [1, 2, 2, 3, 4, 5, 6, 7])
    theory = rng.normal(size=8)[m]
    y = 0.2 + theory + rng.normal(0, 0.5, 8)[m] + rng.normal(0, 0.3, len(m))
    return pd.DataFrame({"y": y, "theory": theory, "mat": m})


def materials_problem(df: pd.DataFrame) -> Problem:
    return rm.Model(
        "y", levels={"material": "mat"}, theory=rm.theory.Calibrated("theory"), material=rm.material.Unresolved(by="material")
    ).bind(df)


def specimens_problem() -> tuple[Problem, pd.DataFrame]:
    rng = np.random.default_rng(2)
    s = np.repeat(np.arange(9), [1, 1, 2, 2, 3, 3, 4, 5, 8])
    y = np.exp(3 + rng.normal(0, 0.3, 9)[s] + rng.normal(0, 0.15, len(s)))
    df = pd.DataFrame({"y": y, "u": y * rng.choice([0.05, 0.1], len(s)), "piece": s})
    model = rm.Model(
        "y", link="log", levels={"specimen": "piece"}, theory=rm.theory.Constant(), material=rm.material.Unresolved(by="specimen"),
        observation=rm.observation.Normal(u="u"),
    )  # fmt: skip
    return model.bind(df), df


LogDensity = Callable[[np.ndarray, float, float], float]


def brute(problem: Problem, own: list[np.ndarray], log_density: LogDensity, names: tuple[str, str]) -> np.ndarray:
    """log p(y_g | y_-g) = log p(y) - log p(y_-g), both integrated over two scales on a grid in their logarithms."""
    first, second = ({q.name: q.prior for q in problem.params}[name] for name in names)
    everything = np.arange(len(problem.g))
    rows = [everything, *(np.setdiff1d(everything, o) for o in own)]
    total = []
    for a in np.exp(np.linspace(-6, 1.5, 41)):
        for b in np.exp(np.linspace(-4.5, 0.5, 41)):
            prior = first.logpdf(a) + second.logpdf(b) + np.log(a * b)
            total.append([prior + log_density(r, a, b) for r in rows])
    evidence = logsumexp(total, axis=0)
    return evidence[0] - evidence[1:]


def normal(y: np.ndarray, mean: np.ndarray, cov: np.ndarray) -> float:
    root = np.linalg.cholesky(cov)
    z = np.linalg.solve(root, y - mean)
    return float(-0.5 * z @ z - np.log(np.diag(root)).sum() - 0.5 * len(y) * np.log(2 * np.pi))


def fixed_effects(problem: Problem, x: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    blocks = {c.name: c for c in problem.coefficients}
    mean = sum(blocks[name].mean * column for name, column in x.items())
    cov = sum(blocks[name].sd ** 2 * np.outer(column, column) for name, column in x.items())
    return np.asarray(mean), np.asarray(cov)


def materials_oracle(df: pd.DataFrame, problem: Problem) -> np.ndarray:
    m, y = df["mat"].to_numpy(), df["y"].to_numpy()
    mean, fixed = fixed_effects(problem, {"calibrated_intercept": np.ones(len(m)), "calibrated_slope": df["theory"].to_numpy()})
    same = (m[:, None] == m).astype(float)

    def log_density(r: np.ndarray, tau: float, sigma: float) -> float:
        cov = (fixed + tau**2 * same)[np.ix_(r, r)] + sigma**2 * np.eye(len(r))
        return normal(y[r], mean[r], cov)

    return brute(problem, [np.flatnonzero(m == g) for g in range(8)], log_density, ("unresolved_material_scale", "noise_scale"))


@pytest.fixture(scope="module")
def materials() -> tuple[pd.DataFrame, Posterior]:
    df = materials_table()
    return df, fitted(materials_problem(df))


def test_leaving_out_materials_is_refitting_without_each(materials: tuple[pd.DataFrame, Posterior]) -> None:
    df, posterior = materials
    got = loo(posterior, by="material", draws=2000)
    assert isinstance(got, az.ELPDData)
    assert got.elpd_i.dims == ("material",)
    assert float(got.pareto_k.max()) < 0.7
    np.testing.assert_allclose(got.elpd_i, materials_oracle(df, posterior.problem), atol=0.02)
    assert got.elpd == pytest.approx(float(got.elpd_i.sum()))
    assert 0 < got.p < 4  # of two hyperparameters


def test_leaving_out_specimens_with_a_log_link_scores_the_response_in_its_own_unit() -> None:
    problem, df = specimens_problem()
    g, s, u = np.log(df["y"].to_numpy()), df["piece"].to_numpy(), (df["u"] / df["y"]).to_numpy()
    mean, fixed = fixed_effects(problem, {"constant": np.ones(len(g))})
    same = (s[:, None] == s).astype(float)

    def log_density(r: np.ndarray, tau: float, sigma: float) -> float:
        cov = (fixed + tau**2 * same)[np.ix_(r, r)] + np.diag(sigma**2 + u[r] ** 2)
        return normal(g[r], mean[r], cov) - g[r].sum()

    want = brute(problem, [np.flatnonzero(s == k) for k in range(9)], log_density, ("unresolved_specimen_scale", "noise_scale"))
    np.testing.assert_allclose(loo(fitted(problem), by="specimen", draws=1000).elpd_i, want, atol=0.02)


def refitted(problem: Problem, kept: dict[str, np.ndarray]) -> dict[str, Draws]:
    """Draws of a problem on some of its rows."""
    return {name: fitted(loo_module.of_rows(problem, rows)).draws for name, rows in kept.items()}


def test_groups_that_importance_sampling_does_not_reach_are_refitted(
    materials: tuple[pd.DataFrame, Posterior], monkeypatch: pytest.MonkeyPatch
) -> None:
    df, posterior = materials
    monkeypatch.setattr(loo_module, "_MOST_ADAPTED", 0)
    monkeypatch.setattr(loo_module, "good_k", lambda draws: 0.5)
    got = left_out(posterior, "material", refit=refitted, draws=4000)
    assert "7" in got.refitted
    again = [int(g) for g in got.refitted]
    # 4.5 standard errors: that of 2000 draws is 0.039 for group 7 (12 seeds, whose mean is off by 0.002 +- 0.011)
    expected = materials_oracle(df, posterior.problem)[again]
    np.testing.assert_allclose(got.elpd.elpd_i[again], expected, atol=4.5 * 0.039 / np.sqrt(2))
    assert float(got.elpd.pareto_k[7]) == 0


def test_left_out_rows_are_predicted_by_a_fit_without_their_group(materials: tuple[pd.DataFrame, Posterior]) -> None:
    df, posterior = materials
    table = left_out(posterior, "material").table
    rest = df[df["mat"] != 6]
    without = fitted(materials_problem(rest.reset_index(drop=True)))
    p = {n: without.param(n) for n in ("unresolved_material_scale", "noise_scale")}
    b = {n: without.block(n, np.arange(without.size))[:, 0] for n in ("calibrated_intercept", "calibrated_slope")}
    centre = b["calibrated_intercept"] + b["calibrated_slope"] * df.loc[df["mat"] == 6, "theory"].iloc[0]
    sd = np.sqrt(np.var(centre) + np.mean(p["unresolved_material_scale"] ** 2 + p["noise_scale"] ** 2))
    own = table[table["group"] == 6]
    assert list(own.index) == list(df.index[df["mat"] == 6])
    np.testing.assert_allclose(own["mean"], centre.mean(), atol=0.03)
    np.testing.assert_allclose(own["sd"], sd, rtol=0.05)
    pit = np.array([stats.norm.cdf(y, centre, np.hypot(p["unresolved_material_scale"], p["noise_scale"])).mean() for y in own["y"]])
    np.testing.assert_allclose(own["pit"], pit, atol=0.02)


def test_a_right_model_is_calibrated_and_its_coverage_is_nominal() -> None:
    rng = np.random.default_rng(0)
    m = np.repeat(np.arange(150), 3)
    df = pd.DataFrame({"y": rng.normal(0, 0.5, 150)[m] + rng.normal(0, 0.3, 450), "mat": m})
    problem = rm.Model("y", levels={"material": "mat"}, theory=rm.theory.Constant(), material=rm.material.Unresolved(by="material")).bind(
        df
    )
    scores = left_out(fitted(problem, 250), "material", draws=200).scores()
    for p in (50, 80, 95):  # 150 independent groups: three standard errors
        assert abs(scores[f"coverage_{p}"] - p / 100) < 3 * np.sqrt(p / 100 * (1 - p / 100) / 150)
    total = np.hypot(0.5, 0.3)
    assert scores["rmse"] == pytest.approx(total, rel=0.1)
    assert scores["sharpness"] == pytest.approx(total, rel=0.1)
    assert scores["crps"] == pytest.approx(total / np.sqrt(np.pi), rel=0.1)  # the expected CRPS of a normal


@pytest.mark.parametrize("log", [False, True])
def test_crps_of_a_mixture_is_the_integral_of_its_definition(log: bool) -> None:
    mean, sd = np.array([0.1, 0.8, -0.3]), np.array([0.2, 0.5, 0.3])
    for g in (-0.7, 0.2, 1.9):
        scale, y = (np.log, np.exp(g)) if log else ((lambda x: x), g)

        def square(x: float, y: float = y, scale: Callable[[float], float] = scale) -> float:
            return (stats.norm.cdf(scale(x), mean, sd).mean() - (x >= y)) ** 2

        low, high = (1e-9, 60.0) if log else (-6.0, 6.0)
        want = integrate.quad(square, low, y, limit=200)[0] + integrate.quad(square, y, high, limit=200)[0]
        assert crps(mean[:, None], sd[:, None], np.array([g]), log)[0] == pytest.approx(want, abs=1e-5)


def test_chunks_do_not_change_the_result(materials: tuple[pd.DataFrame, Posterior], monkeypatch: pytest.MonkeyPatch) -> None:
    _, posterior = materials
    whole = left_out(posterior, "observation", draws=300)
    monkeypatch.setattr(loo_module, "_NUMBERS", 2000)
    parts = left_out(posterior, "observation", draws=300)
    np.testing.assert_allclose(parts.elpd.elpd_i, whole.elpd.elpd_i, atol=1e-9)
    pd.testing.assert_frame_equal(parts.table, whole.table)
    mat = posterior.problem.table.labels("mat")
    every = loo(posterior, "material", draws=300).elpd_i
    for rows in (
        np.flatnonzero(mat >= 6),
        np.array([int(np.argmax(mat == m)) for m in range(6, mat.max() + 1)]),
    ):  # a group is left out whole
        some = left_out(posterior, "material", draws=300, rows=rows)
        np.testing.assert_allclose(some.elpd.elpd_i, every[6:], atol=1e-9)
    chosen = some_groups(posterior.problem.table, "material", 20)
    assert chosen is not None
    assert len(chosen) >= 20
    assert not set(mat[chosen]) & set(np.delete(mat, chosen))
    assert some_groups(posterior.problem.table, "material", len(mat)) is None


@pytest.mark.parametrize("k", [0.1, 0.4, 0.8, 1.5])
@pytest.mark.parametrize(("n", "r_eff"), [(100, 1.0), (300, 0.2), (300, 1.0), (4000, 0.5)])
def test_weights_are_smoothed_as_by_arviz(k: float, n: int, r_eff: float) -> None:
    """Several sets at once; one of equal weights among them has no k-hat and stays as it is."""
    log_weight = -k * np.log1p(-np.random.default_rng(int(10 * k)).random((n, 3)))  # Pareto
    log_weight[:, 1] = 0.0
    got, k_hat = pareto.smoothed(log_weight, r_eff)
    assert np.isnan(k_hat[1])
    np.testing.assert_allclose(got[:, 1], -np.log(n))
    for g in (0, 2):
        want, wanted = array_stats.psislw(-log_weight[:, g], r_eff=r_eff)
        assert k_hat[g] == pytest.approx(float(wanted), abs=1e-6)
        np.testing.assert_allclose(got[:, g], want, atol=1e-6)
        if r_eff == 1:
            assert pareto.shape(np.exp(log_weight[:, g])) == pytest.approx(float(wanted), abs=1e-6)


def test_a_density_that_does_not_depend_on_psi_needs_no_weights() -> None:
    log_weight, k_hat = psis(np.column_stack([np.full(100, -3.0), np.random.default_rng(0).normal(size=100)]), 1.0)
    np.testing.assert_allclose(np.exp(log_weight[:, 0]), 0.01)
    assert k_hat[0] == 0
    assert np.isfinite(k_hat[1])


@dataclass(frozen=True)
class Shift(Component):
    """A straight-line effect of the row's place, declared as what it is or as an arbitrary function."""

    layer: ClassVar[str] = "material"
    bent: bool = False

    def bind(self, table: Table, scale: Scale) -> Term:
        def contribute(other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
            x = np.linspace(-1, 1, len(other))
            if self.bent:
                return Contribution(nonlinear=lambda p, b, xp: b["shift"][0] * x)
            return Contribution((Piece("shift", sparse.csr_matrix(x[:, None])),))

        return Term("shift", "material", (), (Coefficients("shift", 1, 1.0),), contribute)


def test_an_effect_that_is_not_linear_is_left_out_by_its_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    y = 1 + 0.5 * np.linspace(-1, 1, 40) + np.random.default_rng(0).normal(0, 0.4, 40)
    linear, bent = (rm.Model("y", theory=rm.theory.Constant(), material=Shift(b)).bind(pd.DataFrame({"y": y})) for b in (False, True))
    posterior = fitted(linear, 500)
    want = left_out(posterior)
    got = left_out(Posterior(bent, posterior.draws))
    np.testing.assert_allclose(got.elpd.elpd_i, want.elpd.elpd_i, atol=0.06)  # a thousand draws of (psi, b) instead of psi alone
    np.testing.assert_allclose(got.table[["mean", "sd"]], want.table[["mean", "sd"]], atol=0.02)
    worst = int(np.argmax(got.elpd.pareto_k.values))
    monkeypatch.setattr(loo_module, "good_k", lambda draws: float(got.elpd.pareto_k.values[worst]) - 1e-9)

    def refit(problem: Problem, kept: dict[str, np.ndarray]) -> dict[str, Draws]:
        """Draws of the linear twin of the problem, on the same rows."""
        assert [list(rows) for rows in kept.values()] == [list(np.setdiff1d(np.arange(40), [worst]))]
        return {name: fitted(loo_module.of_rows(linear, rows), 500).draws for name, rows in kept.items()}

    again = left_out(Posterior(bent, posterior.draws), refit=refit)
    assert again.refitted == (str(worst),)
    assert float(again.elpd.elpd_i[worst]) == pytest.approx(float(want.elpd.elpd_i[worst]), abs=0.06)
