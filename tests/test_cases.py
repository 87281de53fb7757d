"""Public tables with published answers: what the fit says beside quadrature with the same priors, and quadrature beside the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import realmat as rm

CASES = Path(__file__).parent / "cases"
P = rm.Prior


def test_arsenic_below_detection_limits_written_in_the_column() -> None:
    """R package NADA, `Oahu`: log-normal by maximum likelihood has log mean -0.2528 and log sd 0.6269; 13 of 24 are below a limit."""
    df = pd.read_csv(CASES / "arsenic_nondetects.csv")
    priors = P("Normal", mu=0.0, sigma=2.0), P("HalfNormal", sigma=1.0)
    model = rm.Model("As", link="log", theory=rm.theory.Constant(priors[0]), observation=rm.observation.Normal(scale=priors[1]))
    fit = model.fit(df, seed=1, progress=False)
    text = df["As"].astype(str)
    below, log = text.str.startswith("<").to_numpy(), np.log(text.str.lstrip("<").astype(float).to_numpy())
    mu, sd = np.meshgrid(np.linspace(-2.5, 1.0, 351), np.linspace(0.2, 2.2, 401), indexing="ij")
    z = (log - mu[..., None]) / sd[..., None]
    likelihood = np.where(below, stats.norm.logcdf(z), stats.norm.logpdf(z) - np.log(sd[..., None])).sum(-1)
    best = likelihood.argmax()
    assert mu.flat[best] == pytest.approx(-0.2528, abs=0.006)
    assert sd.flat[best] == pytest.approx(0.6269, abs=0.003)
    w = np.exp(likelihood - likelihood.max() - mu**2 / 8 - sd**2 / 2)
    w /= w.sum()
    post = fit.derive(lambda p: {"log mean": p["constant"], "log sd": p["noise_scale"], "median": np.exp(p["constant"])}).table
    for name, value in (("log mean", mu), ("log sd", sd), ("median", np.exp(mu))):
        mean = float((w * value).sum())
        spread = float(np.sqrt((w * (value - mean) ** 2).sum()))
        assert post.loc[name, "value"] == pytest.approx(mean, abs=0.08 * spread), name
        assert post.loc[name, "u"] == pytest.approx(spread, rel=0.08), name
    assert post.loc["median", "value"] == pytest.approx(0.777, abs=0.05)


def test_a_crossed_gauge_study() -> None:
    """Variance analysis: parts 0.896, repeatability 0.216 with the interaction pooled; operators +0.204, +0.034, -0.239 with u 0.047.

    Of a balanced crossed design the mean squares are independent multiples of chi squared, so quadrature needs no more than them.
    """
    df = pd.read_csv(CASES / "gauge_crossed.csv")
    prior = P("HalfNormal", sigma=1.0)
    model = rm.Model(
        "size_mm",
        unit="mm",
        levels={"specimen": "specimen", "lab": "lab"},
        theory=rm.theory.Constant(P("Normal", mu=3.0, sigma=30.0)),
        material=rm.material.Unresolved(by="specimen", scale=prior),
        observation=rm.observation.Normal(bias_by="lab", bias_scale=prior, scale=prior),
    )
    fit = model.fit(df, seed=1, draws=2000, progress=False)
    y = df["size_mm"]
    by_lab, by_part = (df.groupby(level)["size_mm"].mean() - y.mean() for level in ("lab", "specimen"))
    squares = [15 * float((by_lab**2).sum()), 9 * float((by_part**2).sum())]
    squares.append(float(((y - y.mean()) ** 2).sum()) - sum(squares))
    pooled = squares[2] / 38
    assert np.sqrt(pooled) == pytest.approx(0.216, abs=5e-4)
    assert np.sqrt((squares[1] / 4 - pooled) / 9) == pytest.approx(0.896, abs=4e-3)  # 0.896 where the interaction stands apart
    lab, part, noise = np.meshgrid(np.geomspace(2e-3, 6, 160), np.geomspace(0.1, 6, 80), np.linspace(0.14, 0.36, 40), indexing="ij")
    variances = noise**2 + 15 * lab**2, noise**2 + 9 * part**2, noise**2
    log = sum(-0.5 * (n * np.log(v) + s / v) for n, v, s in zip((2, 4, 38), variances, squares, strict=True))
    w = np.exp(log - log.max() - (lab**2 + part**2 + noise**2) / 2) * lab * part  # priors; steps of the grid
    w /= w.sum()

    def share(p: Any) -> Any:
        gauge = p["bias_lab_scale"] ** 2 + p["noise_scale"] ** 2
        return np.sqrt(gauge / (gauge + p["unresolved_specimen_scale"] ** 2))

    found = fit.derive(share, "GRR").table.iloc[0]
    true = np.sqrt((lab**2 + noise**2) / (lab**2 + noise**2 + part**2))
    centre = float((w * true).sum())
    spread = float(np.sqrt((w * (true - centre) ** 2).sum()))
    assert found["value"] == pytest.approx(centre, abs=0.08 * spread)
    assert found["u"] == pytest.approx(spread, rel=0.08)
    precision = fit.repeatability()
    assert precision.table.loc["s_r", "value"] == pytest.approx(0.216, abs=0.01)
    operators = precision.biases.set_index("lab")
    np.testing.assert_allclose(operators["from_mean"], [0.204, 0.034, -0.239], atol=0.006)
    np.testing.assert_allclose(operators["from_mean_u"], 0.047, atol=0.003)


# mg/dL in serum, three readings of each of eight laboratories: ASTM E691-99, as the R package ILS has them (Flores et al., Chemom. Intell.
# Lab. Syst. 181, 11, 2018). Materials B and C are left out: the package has readings as first reported, which the standard corrects.
GLUCOSE = {
    "A": "41.03 41.45 41.37 41.17 42.00 41.15 41.01 40.68 42.66 39.37 42.37 42.63 41.88 41.19 41.32 43.28 40.50 42.28 "
    "41.08 41.27 39.02 43.36 42.65 41.72",
    "D": "193.71 193.59 193.65 190.88 200.14 194.30 192.71 193.28 190.28 195.85 196.36 199.43 192.59 191.44 195.12 195.34 198.26 198.13 "
    "194.66 191.99 187.13 197.56 195.99 200.82",
    "E": "292.78 294.09 292.89 292.27 309.40 295.08 295.53 290.14 292.34 295.19 295.44 296.83 293.93 292.48 294.28 297.74 296.80 290.33 "
    "287.29 293.76 289.36 298.46 295.28 296.12",
}


def test_the_example_of_e691() -> None:
    """ASTM E691-99, glucose in serum: the standard's statistics of three materials; Mandel's h and k of the first by their definitions."""
    rows = [(material, place // 3 + 1, float(y)) for material, text in GLUCOSE.items() for place, y in enumerate(text.split())]
    df = pd.DataFrame(rows, columns=["material", "lab", "glucose"])
    levels = {"material": "material", "lab": "lab"}
    own = rm.material.Unresolved(by="material")
    noise = rm.observation.Normal(bias_by="lab")
    model = rm.Model("glucose", unit="mg/dL", levels=levels, theory=rm.theory.Constant(), material=own, observation=noise)
    found = model.fit(df, seed=1, draws=50, progress=False).repeatability(by="material")
    published = {  # mean, s_x, s_r, s_R (never below s_r), r, R
        "A": [41.5183, 0.6061, 1.0632, 1.0632, 2.98, 2.98],
        "D": [194.7170, 2.5950, 2.6251, 3.3657, 7.35, 9.42],
        "E": [294.4920, 2.6931, 3.9350, 4.1923, 11.02, 11.74],
    }
    for material, values in published.items():
        row = found.table.loc[material, ["mean", "s_x", "s_r", "s_R", "r", "R"]].to_numpy(dtype=float)
        assert (np.abs(row - values) < [1.1e-4, 1.1e-4, 1.1e-4, 1.1e-4, 0.006, 0.006]).all()
    first = found.consistency[found.consistency["material"] == "A"]
    np.testing.assert_allclose(first["h"], [-0.39, -0.13, -0.11, -0.10, -0.09, 0.83, -1.75, 1.75], atol=0.006)
    np.testing.assert_allclose(first["k"], [0.21, 0.46, 1.00, 1.70, 0.34, 1.32, 1.17, 0.77], atol=0.006)
    np.testing.assert_allclose(first[["h_critical", "k_critical"]].iloc[0], [2.15, 2.06], atol=0.006)
