"""The picture of a law: what is drawn is what was measured and what the fit says."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from metamorphic import AS_IT_STANDS, decay, log_link
from metamorphic import curve as declared

import realmat as rm


@cache
def fitted() -> rm.Fit:
    """A decay that six laboratories measured."""
    model, df = declared(AS_IT_STANDS)
    return model.fit(df, draws=200, seed=1, progress=False)


def test_data_law_and_residuals_are_those_of_the_fit() -> None:
    fit = fitted()
    _, df = declared(AS_IT_STANDS)
    top, bottom = fit.plot_curve().axes
    shown = {line.get_label(): line.get_xydata() for line in top.lines if len(line.get_xydata())}
    for lab, rows in df.groupby("lab"):
        assert np.allclose(shown[lab], rows[["x", "y"]])
    law = next(line.get_xydata() for line in top.lines if len(line.get_xydata()) == 80)
    post = fit.tree["posterior"]
    draws = [post[f"function_{name}"].values.ravel() for name in ("floor", "size", "rate")]
    expected = np.median(decay(law[:, [0]], *draws), axis=1)
    assert np.allclose(law[:, 1], expected, atol=0.02)  # from as many draws, thinned
    residuals = np.concatenate([line.get_xydata() for line in bottom.lines if 0 < len(line.get_xydata()) < 80])
    at = decay(df["x"].to_numpy()[:, None], *draws)
    assert np.allclose(np.sort(residuals[:, 1]), np.sort(df["y"] - np.median(at, axis=1)), atol=0.02)


def test_reports_and_notebooks_show_it(tmp_path: Path) -> None:
    fit = fitted()
    assert "<svg" in fit._repr_html_()
    page = fit.report(tmp_path / "law.md")
    assert "curve.png" in page.read_text()
    assert (tmp_path / "law_figures" / "curve.png").exists()


def test_what_has_no_curve_is_refused_in_words() -> None:
    model, df = log_link(AS_IT_STANDS)
    fit = model.fit(df, draws=100, seed=1, progress=False)
    assert "<svg" not in fit._repr_html_()
    _, below = fit.plot_curve(by="piece").axes  # a line over the theory, though it shows itself nowhere
    assert below.get_ylabel() == "Ratio to the law"
    with pytest.raises(rm.RealmatError, match="neither a level nor a column"):
        fit.plot_curve(by="laboratory")
    constant = rm.Model("y", theory=rm.theory.Constant()).fit(df, draws=50, seed=1, progress=False)
    with pytest.raises(rm.RealmatError, match="one number column"):
        constant.plot_curve()
