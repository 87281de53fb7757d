"""A fit that takes in more rows says what a fit of all rows with the same priors says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.algebra import System
from realmat.engines import choice
from realmat.engines.exact import modes
from realmat.engines.exact.space import Density
from realmat.posterior.draws import Posterior

MODEL = rm.Model(
    "y",
    levels={"material": "mat", "specimen": "piece", "lab": "lab"},
    theory=rm.theory.Calibrated("t"),
    material=[rm.material.Effect("z", u=0.3), rm.material.Unresolved(by="specimen")],
    observation=rm.observation.Normal(bias_by="lab"),
)


def table(seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    piece = np.repeat(np.arange(40), 3)
    mat, lab = piece // 4, np.tile(np.arange(6), 20)
    t, z = rng.normal(0, 1, 10), rng.normal(0, 1, 40)
    y = 0.3 + 1.1 * t[mat] + 0.6 * z[piece] + rng.normal(0, 0.3, 40)[piece] + rng.normal(0, 0.2, 6)[lab] + rng.normal(0, 0.2, 120)
    read = np.where(piece % 2 == 0, z[piece] + rng.normal(0, 0.3, 120), np.nan)
    return pd.DataFrame({"y": y, "t": t[mat], "z": read, "mat": mat, "piece": [f"p{k}" for k in piece], "lab": [f"l{k}" for k in lab]})


@pytest.fixture(scope="module")
def base() -> rm.Fit:
    return MODEL.fit(table().iloc[:110], seed=1, progress=False)


def anew(updated: rm.Fit) -> Posterior:
    """A fit from the start, of the very problem of an updated one."""
    return Posterior(updated.problem, choice.run(updated.problem, "exact", 1000, 4, 7, False))


def distances(a: Posterior, b: Posterior) -> dict[str, float]:
    """Of means, in standard deviations."""
    every = {**{n: (v, b.draws.params[n]) for n, v in a.draws.params.items()}}
    every |= {c.name: (a.draws.coefficients[c.name], b.draws.coefficients[c.name]) for c in a.problem.coefficients}
    return {n: float(np.max(np.abs(x.mean((0, 1)) - y.mean((0, 1))) / y.std((0, 1)))) for n, (x, y) in every.items()}


def test_an_update_is_a_fit_of_all_rows(base: rm.Fit) -> None:
    """Known and new specimens, a new material, a new laboratory, one row after the other."""
    rows = table().iloc[110:].copy()
    rows["lab"] = ["l1", "new"] * 5
    fit = base
    for k in range(len(rows)):
        fit = fit.update(rows.iloc[[k]])
        assert fit.facts["update"] == "reweighted"
    assert fit.facts["updates"] == 10
    assert len(fit.problem.table) == 120
    assert "new" in fit.problem.table.level("lab").values
    worst = distances(fit.posterior, anew(fit))
    assert max(worst.values()) < 0.2, worst  # of 4000 draws, some 60 numbers: 0.03 each, and weights cost a part of them
    assert base.problem.table.digest != fit.problem.table.digest
    assert len(base.problem.table) == 110


def test_priors_stay(base: rm.Fit) -> None:
    """Default priors are scaled by the rows of the first fit, not by those since."""
    fit = base.update(table().iloc[110:])
    assert {q.name: q.prior for q in fit.problem.params} == {q.name: q.prior for q in base.problem.params}
    known = {c.name: (c.mean, c.sd) for c in base.problem.coefficients if not callable(c.sd) and not callable(c.mean)}
    assert known
    assert {c.name: (c.mean, c.sd) for c in fit.problem.coefficients if c.name in known} == known


def test_a_characterisation_alone(base: rm.Fit) -> None:
    """A reading of a state, without any measurement of the response, narrows the state as conjugate algebra says."""
    fit = base.update({"piece": ["p1"], "mat": [0], "lab": ["l0"], "z": [0.5]})
    assert len(fit.problem.table) == 110
    name = next(c.name for c in fit.problem.coefficients if c.level == "specimen" and not c.name.startswith("unresolved"))
    where = list(fit.problem.table.whole.level("specimen").values).index("p1")
    before, after = (f.posterior.draws.coefficients[name][..., where] for f in (base, fit))
    assert after.std() < 0.31  # the reading's own u
    expected = (before.mean() / before.var() + 0.5 / 0.09) / (1 / before.var() + 1 / 0.09)
    assert after.mean() == pytest.approx(expected, abs=0.08)
    assert max(distances(fit.posterior, anew(fit)).values()) < 0.2


def test_saved_and_loaded(base: rm.Fit, tmp_path) -> None:
    fit = base.update(table().iloc[110:115])
    again = rm.load(fit.save(tmp_path / "updated.nc"))
    assert {q.name: q.prior for q in again.problem.params} == {q.name: q.prior for q in fit.problem.params}
    for name in fit.posterior.draws.coefficients:
        assert np.array_equal(again.posterior.draws.coefficients[name], fit.posterior.draws.coefficients[name])
    rest = table().iloc[115:]
    assert max(distances(again.update(rest).posterior, fit.update(rest).posterior).values()) < 0.2


def test_a_row_that_moves_everything_is_fitted_anew(base: rm.Fit) -> None:
    odd = table().iloc[[0]].assign(y=60.0)
    fit = base.update(odd)
    assert fit.facts["update"].startswith("fitted anew: k-hat")
    assert list(fit.problem.table.index[-1:]) == [110]  # its label was taken
    assert max(distances(fit.posterior, anew(fit)).values()) < 0.2


def test_a_new_fit_starts_from_what_was_known(base: rm.Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for the mode begins at the old draws, so that it takes fewer evaluations, and ends where it would without them."""
    odd = base.update(table().iloc[[0]].assign(y=60.0)).problem
    tried: list[int] = []
    climb = modes.climb

    def counted(density: Density, *arguments: np.ndarray) -> modes.Mode:
        before = density.evaluations
        found = climb(density, *arguments)
        tried.append(density.evaluations - before)
        return found

    monkeypatch.setattr(modes, "climb", counted)
    for problem in (base.problem, odd):  # where the old draws are right, and where they are wrong
        density = Density(System(problem))
        known = np.median(density.space.of_draws(base.posterior.draws.params, 500), axis=0)
        cold, warm = modes.typical(density), modes.typical(density, [known])
        width = np.sqrt(np.diag(cold.covariance))
        np.testing.assert_allclose(warm.location / width, cold.location / width, atol=0.2)
        np.testing.assert_allclose(np.sqrt(np.diag(warm.covariance)), width, rtol=0.1)
        assert warm.height == pytest.approx(cold.height, abs=0.05)
    assert tried[1] < tried[0]
    found = [Posterior(odd, choice.run(odd, "exact", 1000, 4, 3, False, start=start)) for start in (None, base.posterior.draws.params)]
    assert max(distances(*found).values()) < 0.2


@pytest.mark.parametrize("alike", [False, True])
def test_a_laboratory_with_a_noise_of_its_own(alike: bool) -> None:
    """Its scale is drawn from the prior, and weighted by its rows; where laboratories hardly differ, their spread may be nothing."""
    df, rng = table()[["y", "t", "lab"]], np.random.default_rng(4)
    if not alike:
        labs = df["lab"].astype("category").cat.codes
        df["y"] = 0.3 + 1.2 * df["t"] + np.array([0.02, 0.05, 0.1, 0.2, 0.5, 1.0])[labs % 6] * rng.normal(size=len(df))
    model = rm.Model("y", theory=rm.theory.Calibrated("t"), observation=rm.observation.Normal(scale_by="lab"))
    base = model.fit(df, seed=2, progress=False)
    fit = base.update(df.iloc[:3].assign(lab="new"))
    assert fit.facts["update"] == "reweighted"
    assert fit.posterior.draws.params["noise_scale"].shape[-1] == 7
    assert max(distances(fit.posterior, anew(fit)).values()) < 0.25
    if alike:
        spread = base.posterior.draws.params["noise_scale_log_sd"]
        mean, sd = spread_by_importance(base)
        assert abs(spread.mean() - mean) < 0.3 * sd  # and the share below a hundredth, 9 %, is not explored


def spread_by_importance(fit: rm.Fit) -> tuple[float, float]:
    """Mean and sd of the spread of laboratories' log scales: drawn from a wide proposal, and laboratories given it from their prior."""
    rng, n = np.random.default_rng(1), 60_000
    middle, spread = rng.normal(-0.5, 0.25, n), np.exp(rng.uniform(np.log(1e-3), np.log(0.8), n))
    scales = np.exp(middle + spread * rng.normal(size=(6, n)))
    values = {"noise_scale_log_mean": middle, "noise_scale_log_sd": spread, "noise_scale": scales}
    log = fit.posterior.system.many.log_marginal(values, n) + np.log(spread) + 0.5 * ((middle + 0.5) / 0.25) ** 2
    log += sum(q.prior.logpdf(values[q.name]) for q in fit.problem.params if q.name != "noise_scale")
    weight = np.exp(log - log.max()) / np.exp(log - log.max()).sum()
    mean = float(weight @ spread)
    return mean, float(np.sqrt(weight @ (spread - mean) ** 2))


def test_rows_that_do_not_fit(base: rm.Fit) -> None:
    with pytest.raises(rm.DataError, match="text where numbers are needed"):
        base.update(table().iloc[:1].assign(y="many"))
    with pytest.raises(rm.DataError, match="belongs to another material"):
        base.update(table().iloc[:1].assign(mat=9))
    with pytest.raises(rm.DataError, match="empty"):
        base.update(table().iloc[:1].assign(t=np.nan))


def test_heavy_tails_are_fitted_anew() -> None:
    df = table()[["y", "t"]]
    model = rm.Model("y", theory=rm.theory.Calibrated("t"), observation=rm.observation.StudentT(nu=5))
    fit = model.fit(df.iloc[:40], draws=100, chains=2, seed=2, progress=False).update(df.iloc[40:44])
    assert "heavy tails" in fit.facts["update"]
    assert len(fit.problem.table) == 44
