"""The nuts engine: right answers, everything kept under its name, and an interrupt that keeps the draws made so far."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Iterator
from typing import Any

import arviz as az
import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.engines import centring, nuts
from realmat.posterior.draws import Draws
from realmat.terms.problem import Problem

SCHOOLS = pd.DataFrame(
    {"school": list("ABCDEFGH"), "y": [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0], "u": [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]}
)


@pytest.fixture(scope="module")
def schools() -> Problem:
    """Rubin's eight schools with the priors of posteriordb: mu ~ N(0, 5), tau ~ half-Cauchy(5)."""
    return rm.Model(
        "y",
        theory=rm.theory.Constant(rm.Prior("Normal", mu=0, sigma=5)),
        material=rm.material.Unresolved("school", scale=rm.Prior("HalfCauchy", beta=5)),
        observation=rm.observation.Normal(u="u", scale=False),
    ).bind(SCHOOLS)


@pytest.fixture(scope="module")
def compiled(schools: Problem) -> Iterator[Any]:
    """nutpie compiles the model once for all tests here."""
    import nutpie

    compile_model, made = nutpie.compile_pymc_model, []

    def once(*args: Any, **kwargs: Any) -> Any:
        if not made:
            made.append(compile_model(*args, **kwargs))
        return made[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nutpie, "compile_pymc_model", once)
        yield


@pytest.fixture(scope="module")
def drawn(schools: Problem, compiled: None) -> Draws:
    return nuts.sample(schools, draws=2000, chains=4, seed=1, progress=False)


def z(draws: np.ndarray, truth: float, truth_error: float) -> float:
    """Distance of a posterior mean from a published one, in standard errors."""
    return abs(draws.mean() - truth) / np.hypot(float(az.mcse(draws)), truth_error)


def test_eight_schools_agrees_with_the_published_posterior(drawn: Draws) -> None:
    """Means of posteriordb's reference draws, given to two decimals; its 10,000 draws add 3.2 / sqrt(10000). Two comparisons."""
    assert z(drawn.params["unresolved_school_scale"], 3.60, 0.033) < 4
    assert z(drawn.coefficients["constant"][..., 0], 4.36, 0.034) < 4


def test_everything_is_kept_under_its_name(drawn: Draws, schools: Problem) -> None:
    assert drawn.params["unresolved_school_scale"].shape == (4, 2000)
    assert {name: values.shape for name, values in drawn.coefficients.items()} == {
        "constant": (4, 2000, 1),
        "unresolved_school": (4, 2000, 8),
    }
    assert set(drawn.stats) == set(nuts.STATS)
    assert all(values.shape == (4, 2000) for values in drawn.stats.values())
    assert drawn.stats["diverging"].dtype == bool
    assert float(az.rhat(drawn.params["unresolved_school_scale"])) < 1.01
    facts = {"engine": "nuts", "sampler": "nutpie", "seed": 1, "tune": 1000}
    assert facts.items() <= drawn.facts.items()
    assert set(drawn.facts["versions"]) == {"pymc", "pytensor", "nutpie"}
    assert "interrupted" not in drawn.facts


def test_coefficients_are_centred_where_every_likely_psi_finds_them_informed() -> None:
    """Thirty measurements a lab: information 30 s^2 / 0.1^2, which is 5 at s = 0.0408."""
    df = pd.DataFrame({"y": np.arange(180) % 7.0, "lab": np.repeat(np.arange(6), 30)})
    problem = rm.Model("y", theory=rm.theory.Constant(), observation=rm.observation.Normal(bias_by="lab")).bind(df)

    def chosen(*scales: float) -> np.ndarray:
        return centring.centred(problem, [{"bias_lab_scale": s, "noise_scale": 0.1} for s in scales])["bias_lab"]

    assert chosen(0.042, 1.0).all()
    assert not chosen(0.040, 1.0).any()


def test_the_same_seed_gives_the_same_draws(schools: Problem, compiled: None) -> None:
    one, same, other = (nuts.sample(schools, 50, 2, seed, tune=200, progress=False) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one.params["unresolved_school_scale"], same.params["unresolved_school_scale"])
    assert not np.array_equal(one.params["unresolved_school_scale"], other.params["unresolved_school_scale"])


def test_an_interrupt_keeps_the_draws_made_so_far(schools: Problem, compiled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import nutpie

    asked, begin = 5_000_000, nutpie.sample

    def interrupted(*args: Any, draws: int, **kwargs: Any) -> Any:
        if draws == asked:
            threading.Timer(0.4, _thread.interrupt_main).start()  # as Ctrl-C does
        return begin(*args, draws=draws, **kwargs)

    monkeypatch.setattr(nutpie, "sample", interrupted)
    drawn = nuts.sample(schools, asked, chains=2, seed=1, tune=100, progress=False)
    chains, draws = drawn.params["unresolved_school_scale"].shape
    assert 100 < draws < asked
    assert drawn.facts["interrupted"] == f"interrupted: {chains} of 2 chains, {draws} of {asked} draws each, were kept"
    assert all(np.isfinite(values).all() for values in (*drawn.params.values(), *drawn.coefficients.values(), *drawn.stats.values()))


def test_an_interrupt_before_any_draw_is_an_interrupt(schools: Problem, compiled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the pilot run too."""
    import nutpie

    with pytest.raises(KeyboardInterrupt):
        nuts.keep([0, 0])
    begin = nutpie.sample

    def interrupted(*args: Any, tune: int, **kwargs: Any) -> Any:
        threading.Timer(0.2, _thread.interrupt_main).start()
        return begin(*args, tune=5_000_000, **kwargs)

    monkeypatch.setattr(nutpie, "sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        nuts.sample(schools, 10, chains=2, seed=1, progress=False)


def test_pymc_samples_by_name_and_keeps_its_draws_after_an_interrupt(schools: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    import pymc as pm

    begin = pm.sample

    def interrupted(*args: Any, callback: Any, **kwargs: Any) -> Any:
        def watch(trace: Any, draw: Any) -> None:
            if (draw.chain, draw.draw_idx) == (0, 449):
                _thread.interrupt_main()
            callback(trace, draw)

        return begin(*args, callback=watch, **kwargs)

    monkeypatch.setattr(pm, "sample", interrupted)
    drawn = nuts.sample(schools, 100_000, chains=3, seed=1, tune=400, sampler="pymc", progress=False)
    chains, draws = drawn.params["unresolved_school_scale"].shape
    assert chains == 1
    assert 49 <= draws <= 60  # the signal arrives within a few steps
    assert set(drawn.stats) == set(nuts.STATS)
    assert drawn.facts["interrupted"].startswith("interrupted: 1 of 3 chains")


def test_numpyro_samples_by_name(schools: Problem) -> None:
    pytest.importorskip("numpyro", reason="NumPyro is optional: pip install realmat[numpyro]")
    drawn = nuts.sample(schools, 1000, chains=2, seed=1, tune=500, sampler="numpyro", progress=False)
    assert drawn.coefficients["unresolved_school"].shape == (2, 1000, 8)
    assert z(drawn.params["unresolved_school_scale"], 3.60, 0.033) < 4
    kinetic = drawn.stats["energy"] + drawn.stats["lp"]  # half a chi-squared variable with 10 degrees of freedom
    assert z(kinetic, 5.0, 0.0) < 4


def test_a_sampler_that_is_unknown_or_absent_is_named(schools: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(rm.FitError, match="unknown sampler 'stan'; choose one of nutpie, pymc, numpyro"):
        nuts.sample(schools, 10, 1, 1, sampler="stan")
    monkeypatch.setattr(nuts, "find_spec", lambda name: None)
    with pytest.raises(rm.FitError, match=r'pip install "realmat\[numpyro\]"'):
        nuts.sample(schools, 10, 1, 1, sampler="numpyro")


def test_a_model_without_unknowns_is_named() -> None:
    fixed = rm.Model("y", theory=rm.theory.Constant(1.0), observation=rm.observation.Normal(u="u", scale=False)).bind(SCHOOLS)
    with pytest.raises(rm.FitError, match="no unknown"):
        nuts.sample(fixed, 10, 1, 1)
