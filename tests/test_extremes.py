"""Columns that say too little or numbers that are too large: refused, or answered in finite numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.attribution.predict import _Moments
from realmat.report.bayes import Bayes
from realmat.validation.scores import _moments


@pytest.mark.parametrize("link", ["identity", "log"])
def test_limits_alone_are_refused(link: str) -> None:
    df = pd.DataFrame({"y": ["<5"] * 12, "lab": list("abc") * 4})
    model = rm.Model("y", link=link, levels={"lab": "lab"}, observation=rm.observation.Normal(scale_by="lab"))
    with pytest.raises(rm.DataError, match="every value is only a limit"):
        model.fit(df, progress=False)


def test_numbers_that_no_exponential_holds_are_predicted_on_an_identity_scale() -> None:
    """Responses of 1e13: the moments of a log link are not computed on the way."""
    rng = np.random.default_rng(1)
    y = 1.5e13 * (1 + 0.1 * rng.standard_normal(12))
    out = rm.Model("y", theory=rm.theory.Constant()).fit(pd.DataFrame({"y": y}), draws=100, seed=1, progress=False).predict()
    assert np.isfinite(out["mean"]).all()
    assert float(out["mean"][0]) == pytest.approx(y.mean(), rel=0.02)


@pytest.mark.parametrize("v", [1e-12, 0.3, 300.0])
def test_moments_of_log_normals_do_not_overflow_on_the_way(v: float) -> None:
    """Mean exp(m + v / 2), standard deviation of that times sqrt(exp(v) - 1); here its square is no number. Draws come in parts."""
    m = -40.0
    running = _Moments.start(True, 1, 4)
    for _ in range(2):
        running.add(np.full((1, 2), m), np.full((1, 2), v))
    log_sd = m + v + 0.5 * np.log(-np.expm1(-v))
    for mean, sd in (running.moments(), _moments(np.full((4, 1), m), np.full((4, 1), v), np.full((4, 1), 0.25), True)):
        np.testing.assert_allclose(np.log(mean), m + v / 2, rtol=1e-12)
        np.testing.assert_allclose(np.log(sd), log_sd, rtol=1e-12)
    running = _Moments.start(True, 1, 2)
    for place in (-300.0, 300.0):  # the second part is what counts
        running.add(np.full((1, 1), place), np.full((1, 1), 1.0))
    np.testing.assert_allclose(np.log(running.moments()[0]), 300.5 - np.log(2), rtol=1e-12)


def test_what_no_number_holds_is_infinite_and_said(tmp_path: Path) -> None:
    """Logarithms that scatter by 80 decades: bounds are numbers, mean and deviation are none; nothing ends in a warning."""
    fit = rm.Model("y", link="log", theory=rm.theory.Constant()).fit(pd.DataFrame({"y": [1e-40, 1, 1e40]}), seed=1, progress=False)
    predicted = fit.predict(draws=20)
    assert np.isinf(predicted["sd"]).all()
    assert np.isfinite(predicted[["lower", "upper"]].to_array()).all()
    assert fit.tree["posterior_predictive"]["y"].shape[-1] == 3
    assert fit.check().ok
    with pytest.raises(rm.DataError, match="no prediction of y has a mean"):
        fit.plot_parity()
    assert "3 with a mean or deviation that no number holds" in fit.report(tmp_path / "fit.html").read_text("utf-8")


def test_small_numbers_are_no_flags_to_the_pictures_of_a_report() -> None:
    """ArviZ takes readings near 1e-12 for zeros."""
    df = pd.DataFrame({"y": 1e-12 * np.random.default_rng(1).normal(3, 1, 20)})
    fit = rm.Model("y", theory=rm.theory.Constant()).fit(df, draws=100, seed=1, progress=False)
    assert Bayes(fit.posterior, 1).predictive().figure.axes
