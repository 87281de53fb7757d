"""The gap and the laboratory's precision against closed forms, and the figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from attribution import by_hand, exact_moments

import realmat as rm
from realmat.attribution.budget import budget
from realmat.attribution.gap import Gap, explained, gap
from realmat.attribution.laboratory import repeatability
from realmat.plots.calibration import calibration, coverage
from realmat.plots.parity import parity
from realmat.plots.style import svg
from realmat.posterior.draws import Posterior
from realmat.support.intervals import using

DRAWS = 1000


def two_labs(link: str = "identity") -> tuple[pd.DataFrame, Posterior, np.ndarray]:
    """Four materials with two specimens each, measured twice, once in each of two labs; coefficients with exact moments."""
    rng = np.random.default_rng(8)
    piece, lab = np.repeat(np.arange(8), 2), np.tile(["A", "B"], 8)
    df = pd.DataFrame({"y": np.exp(rng.normal(1, 0.2, 16)), "t": np.exp(rng.normal(1, 0.2, 8))[piece], "piece": piece, "lab": lab})
    df["mat"] = piece // 2
    model = rm.Model(
        "y",
        link=link,
        levels={"material": "mat", "specimen": "piece", "lab": "lab"},
        theory=rm.theory.Calibrated("t", intercept=0.0),
        material=rm.material.Unresolved(by="specimen"),
        observation=rm.observation.Normal(bias_by="lab"),
    )
    cov = np.diag([0.02, *np.full(8, 0.05), 0.01, 0.03]) - 0.002
    b = exact_moments(rng, np.array([1.1, *np.linspace(-0.3, 0.3, 8), 0.1, -0.2]), cov, DRAWS)
    params = {
        "unresolved_specimen_scale": np.full(DRAWS, 0.2),
        "noise_scale": rng.uniform(0.1, 0.3, DRAWS),
        "bias_lab_scale": rng.uniform(0.1, 0.2, DRAWS),
    }
    problem = model.bind(df)
    return df, by_hand(problem, params, {"calibrated_slope": b[:, :1], "unresolved_specimen": b[:, 1:9], "bias_lab": b[:, 9:]}), cov


def test_gap_adds_up_and_has_the_posterior_u() -> None:
    df, posterior, cov = two_labs()
    g = gap(posterior)
    t = g.table
    assert t.index.name == "specimen"
    assert list(t["rows"]) == [2] * 8
    assert t["measured"].to_numpy() == pytest.approx(df.groupby("piece")["y"].mean().to_numpy())
    theory = df.groupby("piece")["t"].first().to_numpy()
    assert t["theory"].to_numpy() == pytest.approx(1.1 * theory)
    assert t["unresolved_specimen"].to_numpy() == pytest.approx(np.linspace(-0.3, 0.3, 8))
    assert t["bias_lab"].to_numpy() == pytest.approx(np.full(8, -0.05))
    assert (t["theory"] + t[g.components].sum(axis=1) + t["residual"]).to_numpy() == pytest.approx(t["measured"].to_numpy())
    assert (t["measured"] - t["theory"]).to_numpy() == pytest.approx(t["gap"].to_numpy())
    biased = DRAWS / (DRAWS - 1)  # exact moments have divisor draws - 1, posterior sd has divisor draws
    row = np.array([theory[0], 1, *np.zeros(7), 0.5, 0.5])
    assert t["u(theory)"][0] ** 2 * biased == pytest.approx(theory[0] ** 2 * cov[0, 0])
    assert t["u(bias_lab)"][0] ** 2 * biased == pytest.approx(row[9:] @ cov[9:, 9:] @ row[9:])
    assert t["u(residual)"][0] ** 2 * biased == pytest.approx(row @ cov @ row)
    assert t["u(measured)"].to_numpy() ** 2 == pytest.approx(np.full(8, np.mean(posterior.param("noise_scale") ** 2) / 2))


def test_bounds_of_the_gap_hold_the_draws_that_they_should() -> None:
    """95 % bounds of a contribution against the quantiles of its normal draws: within 30 % of u, 3.5 standard errors of a quantile."""
    _, posterior, _ = two_labs()
    with using(0.95):
        data = gap(posterior).dataset.sel(step="unresolved_specimen")
    low, high = np.quantile(posterior.block("unresolved_specimen", np.arange(DRAWS)), (0.025, 0.975), axis=0)
    assert data.attrs["ci_prob"] == 0.95
    np.testing.assert_allclose(data["lower"], low, atol=0.3 * float(data["u"].max()))
    np.testing.assert_allclose(data["upper"], high, atol=0.3 * float(data["u"].max()))


@pytest.mark.parametrize("by", ["material", "mat", None])
def test_average_by_group(by: str | None) -> None:
    """By a level, by its column, or by labels: the same averages, with u from the covariance of what is averaged."""
    df, posterior, cov = two_labs()
    g = gap(posterior).by(df["mat"].tolist() if by is None else by)
    each = gap(posterior).table
    assert g.table["gap"].to_numpy() == pytest.approx(each["gap"].to_numpy().reshape(4, 2).mean(axis=1))
    row = np.array([0, 0.5, 0.5, *np.zeros(8)])
    assert g.table["u(unresolved_specimen)"].iloc[0] ** 2 * DRAWS / (DRAWS - 1) == pytest.approx(row @ cov @ row)
    assert sum((explained(g) or {}).values()) == pytest.approx(1)


def test_gap_text_and_errors() -> None:
    _, posterior, _ = two_labs()
    g = gap(posterior, unit="MPa")
    assert "over 8 specimens" in g.text
    assert "mean square gap" in g.text
    assert "±" in str(g)
    assert "specimen" in g._repr_html_()
    with pytest.raises(rm.DataError, match="neither a level nor a column"):
        g.by("colour")
    with pytest.raises(rm.DataError, match="one label for each of the 16 rows"):
        g.by(["a", "b"])
    with pytest.raises(rm.DataError, match="no specimen 99 in the fit"):
        g.plot(99)


def test_repeatability_and_reproducibility() -> None:
    """s_r^2 is the noise variance, s_R^2 = s_r^2 + s_L^2, limits are 2.8 times these (ISO 5725-6)."""
    _, posterior, _ = two_labs()
    found = repeatability(posterior, "MPa")
    s_r, s_l = posterior.param("noise_scale"), posterior.param("bias_lab_scale")
    value = found.table["value"]
    assert value["s_r"] == pytest.approx(np.median(s_r))
    assert value["s_L"] == pytest.approx(np.median(s_l))
    assert value["s_R"] == pytest.approx(np.median(np.hypot(s_r, s_l)))
    assert value["r"] == pytest.approx(np.median(2.8 * s_r))
    assert (found.table.loc["s_R", "lb"], found.table.loc["s_R", "ub"]) == pytest.approx(np.quantile(np.hypot(s_r, s_l), [0.055, 0.945]))
    biases = found.biases.set_index("lab")
    assert biases["bias"].to_numpy() == pytest.approx([0.1, -0.2])
    assert biases["u"].to_numpy() ** 2 * DRAWS / (DRAWS - 1) == pytest.approx([0.008, 0.028])
    assert list(biases["rows"]) == [8, 8]
    assert "s_R" in found.text


def test_repeatability_of_interlaboratory_data() -> None:
    """The arithmetic of ISO 5725-2 on a balanced table: the posterior of the exact engine lies around the classical estimates."""
    rng = np.random.default_rng(4)
    labs, repeats = 30, 6
    lab = np.repeat(np.arange(labs), repeats)
    y = 10 + rng.normal(0, 0.5, labs)[lab] + rng.normal(0, 0.3, labs * repeats)
    model = rm.Model("y", levels={"lab": "lab"}, theory=rm.theory.Constant(), observation=rm.observation.Normal(bias_by="lab"))
    fit = model.fit(pd.DataFrame({"y": y, "lab": lab}), seed=1, progress=False)
    table = repeatability(fit.posterior).table
    cells = y.reshape(labs, repeats)
    s_r2 = cells.var(axis=1, ddof=1).mean()
    s_l2 = cells.mean(axis=1).var(ddof=1) - s_r2 / repeats
    # standard errors of the estimates: 0.3/sqrt(2*150) and about 0.5/sqrt(2*29); the weak prior moves the mean by a fraction of them
    assert table.loc["s_r", "value"] == pytest.approx(np.sqrt(s_r2), abs=0.5 * 0.3 / np.sqrt(300))
    assert table.loc["s_R", "value"] == pytest.approx(np.sqrt(s_r2 + s_l2), abs=0.6 * 0.5 / np.sqrt(58))


@pytest.mark.parametrize("link", ["identity", "log"])
def test_figures_draw_in_both_themes(link: str) -> None:
    _, posterior, _ = two_labs(link)
    g: Gap = gap(posterior, unit="MPa")
    b = budget(posterior, "specimen", unit="MPa", joined=[("unresolved_specimen", "noise")])
    for dark in (False, True):
        for drawing in (g.plot(3, dark=dark), b.plot(dark=dark)):
            page = svg(drawing, "a figure")
            assert page.startswith("<svg")
            assert 'aria-label="a figure"' in page
            assert "currentColor" in page
            assert "#1c1e21" not in page
    assert b.plot()._repr_png_()[:4] == b"\x89PNG"  # type: ignore[attr-defined]


def test_parity_and_calibration_figures() -> None:
    rng = np.random.default_rng(0)
    for n, log in ((20, True), (500, False)):
        y = np.exp(rng.normal(size=n))
        table = pd.DataFrame({"y": y, "mean": y * 1.1, "sd": 0.1 * y})
        shares = pd.DataFrame({"theory": np.full(n, 0.2), "material": 0.5, "observation": 0.3})
        axes = parity(table, shares, "strength", "material", log, "MPa").axes[0]
        assert axes.get_xlim() == axes.get_ylim()
        assert "RMSE" in axes.get_title(loc="left")
    pit = rng.random(4000)
    nominal = np.array([0.5, 0.8, 0.95])
    assert coverage(pit, nominal) == pytest.approx(nominal, abs=5 * 0.5 / np.sqrt(4000))
    assert len(calibration({"a": pit, "b": rng.beta(2, 2, 100)}).axes) == 2


def test_biases_are_drawn() -> None:
    found = repeatability(two_labs()[1], "MPa")
    axes = found.plot().axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["B  (n = 8)", "A  (n = 8)"]
    assert "MPa" in axes.get_xlabel()
