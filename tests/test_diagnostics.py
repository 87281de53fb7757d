"""The check of a fit: right fits pass, and each fault that is built in is found and named."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import realmat as rm
from realmat.engines import exact
from realmat.posterior.draws import Draws, Posterior
from realmat.validation.diagnostics import check, warning
from realmat.validation.sensitivity import sensitivity


def table(tails: float | None = None, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    m = np.repeat(np.arange(40), 5)
    noise = rng.normal(size=200) if tails is None else rng.standard_t(tails, 200)
    return pd.DataFrame({"y": 1 + rng.normal(0, 0.5, 40)[m] + 0.3 * noise, "mat": m})


def fitted(df: pd.DataFrame, **parts: object) -> Posterior:
    parts = {"theory": rm.theory.Constant(), "material": rm.material.Unresolved(by="material"), **parts}
    problem = rm.Model("y", levels={"material": "mat"}, **parts).bind(df)  # type: ignore[arg-type]
    return Posterior(problem, exact.sample(problem, 400, 4, 1, progress=False))


@pytest.fixture(scope="module")
def good() -> Posterior:
    return fitted(table())


def verdicts(posterior: Posterior) -> dict[str, str]:
    found = check(posterior).table
    return {part: "bad" if "bad" in set(v) else "look" if "look" in set(v) else "ok" for part, v in found.groupby("part")["verdict"]}


def test_a_right_model_passes(good: Posterior) -> None:
    found = check(good)
    assert found.ok
    assert found.text == "Nothing stands out: the fit can be used."
    assert set(found.table["verdict"]) == {"ok"}
    assert set(found.table["part"]) == {"convergence", "prior", "calibration", "influence", "components"}
    assert warning(good) == ""


def test_chains_that_disagree_make_the_fit_not_ok(good: Posterior) -> None:
    shift = np.array([0.0, 0.0, 0.0, 0.2])[:, None]
    params = {**good.draws.params, "noise_scale": good.draws.params["noise_scale"] + shift}
    found = check(Posterior(good.problem, dataclasses.replace(good.draws, params=params)))
    assert not found.ok
    assert "did not converge (largest R-hat (noise_scale)" in found.text
    assert warning(Posterior(good.problem, dataclasses.replace(good.draws, params=params))).startswith("The fit did not converge")


def test_divergences_are_counted(good: Posterior) -> None:
    diverging = np.zeros(good.shape, dtype=bool)
    diverging[0, :3] = True
    few = Posterior(good.problem, dataclasses.replace(good.draws, stats={"diverging": diverging}))
    assert verdicts(few)["convergence"] == "look"
    diverging[:, :30] = True
    many = Posterior(good.problem, dataclasses.replace(good.draws, stats={"diverging": diverging}))
    assert "divergent transitions 120" in warning(many)


def test_a_prior_that_contradicts_the_data_is_named() -> None:
    posterior = fitted(table(), theory=rm.theory.Constant(rm.Prior("Normal", mu=4, sigma=0.1)))
    found = check(posterior)
    assert found.ok  # converged, but not to be left unsaid
    assert "Prior and data both pull on" in found.text
    assert "constant" in " ".join(found.table.loc[found.table["verdict"] == "look", "item"])


def test_a_scale_the_data_do_not_know_is_named() -> None:
    df = table().assign(lab="a")
    problem = rm.Model("y", theory=rm.theory.Constant(), observation=rm.observation.Normal(bias_by="lab")).bind(df)
    text = check(Posterior(problem, exact.sample(problem, 250, 4, 1, progress=False))).text
    assert "taught little about bias_lab_scale" in text
    assert "constant and bias_lab compensate each other" in text


def test_heavy_tails_and_outliers_are_found() -> None:
    df = table()
    df.loc[17, "y"] += 5.0
    found = check(fitted(df))
    assert "miss row 17 by more than chance allows" in found.text
    heavy = fitted(table(tails=1.5, seed=1))
    assert verdicts(heavy)["calibration"] == "look"


def test_sensitivity_of_a_normal_mean_is_that_of_its_closed_form() -> None:
    """Scaling a normal prior of a mean, or its normal likelihood, by a power moves the posterior in closed form."""
    y = np.random.default_rng(0).normal(1.0, 1.0, 10)
    prior = rm.Prior("Normal", mu=0, sigma=0.5)
    problem = rm.Model("y", theory=rm.theory.Constant(prior), observation=rm.observation.Normal(scale=1.0)).bind(pd.DataFrame({"y": y}))

    def posterior(prior_power: float, data_power: float) -> stats.rv_continuous:
        precision = 10 * data_power + 4 * prior_power
        return stats.norm(data_power * y.sum() / precision, precision**-0.5)

    base = posterior(1, 1)
    draws = base.ppf((np.random.default_rng(0).permutation(4000) + 0.5) / 4000).reshape(4, 1000, 1)
    got = sensitivity(Posterior(problem, Draws({}, {"constant": draws})), 4000)
    x = np.linspace(draws.min(), draws.max(), 100_001)

    def distance(scaled: stats.rv_continuous, sign: int) -> float:
        p, q = (d.cdf(x) if sign > 0 else d.sf(x)[::-1] for d in (base, scaled))
        both = p * np.log2(2 * p / (p + q)) + q * np.log2(2 * q / (p + q))
        return float(np.sqrt(both.sum() / (p + q).sum()))

    for group, moved in {"prior": lambda a: posterior(a, 1), "likelihood": lambda a: posterior(1, a)}.items():
        down, up = (max(distance(moved(a), 1), distance(moved(a), -1)) for a in (0.99, 1.01))
        want = (-down / np.log2(0.99) + up / np.log2(1.01)) / 2
        assert got.loc["constant", group] == pytest.approx(want, rel=0.05)
