"""The picture of a law: what is drawn is what was measured and what the fit says."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
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


def line(x: np.ndarray, warm: np.ndarray, rate: float) -> np.ndarray:
    """A line through the origin; its second column says nothing."""
    return rate * x + 0.0 * warm


def test_each_piece_has_its_curve_and_that_of_a_new_one() -> None:
    """A slope by piece, at a known noise: the band of a new curve is as wide as the spread of the pieces."""
    rng = np.random.default_rng(2)
    piece, x = np.repeat(np.arange(14), 5), np.tile(np.linspace(0.0, 4.0, 5), 14)
    slopes = rng.normal(3.0, 0.5, 14)
    df = pd.DataFrame({"y": slopes[piece] * x + rng.normal(0, 0.1, 70), "t": x, "piece": [f"p{i}" for i in piece], "warm": 1.0 + piece % 2})
    rate = rm.Varies("Normal", by="specimen", mu=rm.Prior("Normal", mu=3.0, sigma=2.0), sigma=rm.Prior("HalfNormal", sigma=1.0))
    theory = rm.theory.Function(line, columns={"x": "t", "warm": "warm"}, params={"rate": rate})
    fit = rm.Model("y", unit="mm", levels={"specimen": "piece"}, theory=theory).fit(df, draws=200, seed=1, progress=False)
    drawn = fit.plot_curve()
    assert "12 of 14 shown" in drawn._suptitle.get_text()
    first = drawn.axes[0]
    shown = next(line.get_xydata() for line in first.lines if len(line.get_xydata()) == 5)
    assert np.allclose(shown, df.loc[df["piece"] == "p0", ["t", "y"]])
    law = next(line.get_xydata() for line in first.lines if len(line.get_xydata()) == 40)
    assert law[-1, 1] == pytest.approx(4 * slopes[0], abs=0.3)
    new, own = (np.ptp(band.get_paths()[0].vertices[:, 1][band.get_paths()[0].vertices[:, 0] == 4.0]) for band in first.collections)
    spread = float(fit.tree["posterior"]["function_rate_sigma"].median())
    assert new == pytest.approx(2 * 1.6 * 4 * spread, rel=0.3)  # 89 %
    assert own < 0.3 * new
    assert "<svg" in fit._repr_html_()


def test_an_uncertain_column_has_bars_and_residuals_from_the_law_where_it_stands() -> None:
    rng = np.random.default_rng(4)
    x, u = np.linspace(0.0, 4.0, 12), np.where(np.arange(12) % 2, 0.1, 0.3)
    df = pd.DataFrame({"t": x + u * rng.normal(size=12), "u": u, "y": 2.0 * x + 0.05 * rng.normal(size=12)})
    theory = rm.theory.Function(straight, columns={"x": "t"}, params={"rate": rm.Prior("Normal", mu=2.0, sigma=1.0)}, u={"x": "u"})
    top, bottom = rm.Model("y", theory=theory).fit(df, draws=50, seed=1, progress=False).plot_curve().axes
    for axes in (top, bottom):
        bars = next(c for c in axes.collections if len(c.get_paths()) == 12)
        ends = np.array([path.vertices[:, 0] for path in bars.get_paths()])
        assert np.allclose(ends, np.column_stack([df["t"] - u, df["t"] + u]))
    law = max((line.get_xydata() for line in top.lines), key=len)
    rate = law[-1, 1] / law[-1, 0]
    left = next(line.get_xydata() for line in bottom.lines if len(line.get_xydata()) == 12)
    assert np.allclose(left[:, 1], df["y"] - rate * df["t"], atol=0.03)


def straight(x: np.ndarray, rate: float) -> np.ndarray:
    """A line through the origin."""
    return rate * x
