"""FreeSolv with Student t noise and a Student t rest of each molecule: the exact engine against NUTS on the integrated model.

With 510 of 642 uncertainties unstated, noise and rest share what remains of each molecule, and NUTS on all 720 unknowns hardly moves
(R-hat 1.5 after 2000 draws). Here every rest is integrated out by quadrature, so that NUTS has 79 unknowns and none that is tied to a
scale. It shares the declared priors with the engine, and no algorithm.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import integrate, stats

import realmat as rm
from realmat.engines import exact
from realmat.terms.problem import Problem

BOUND = 4.5  # standard errors; 7e-6 two-sided for each of 34 comparisons
_STEP, _REACH, _SHARP = 0.18, 5.4, 2
_GRID = np.arange(-_REACH, _REACH + _STEP / 2, _STEP)
_NODE, _WIDTH = np.sinh(_GRID), _STEP * np.cosh(_GRID)


def log_t(z: Any, nu: Any) -> Any:
    constant = pt.gammaln((nu + 1) / 2) - pt.gammaln(nu / 2) - 0.5 * pt.log(nu * np.pi)
    return constant - (nu + 1) / 2 * pt.log1p(z**2 / nu)


def log_convolution(e: Any, s: Any, nu: Any, tau: Any, nu_rest: Any) -> Any:
    """Log density of e = U + noise, both Student t with scales tau and s: e and s have shape (n,).

    The integral over U is cut smoothly in two, one part around 0 and one around e, each by the trapezoidal rule in asinh of the distance
    from its centre, in the units of its own scale.
    """
    e, s = e[:, None], s[:, None]
    total = 0.0
    for centre, scale in ((0.0, tau), (e, s)):
        effect = centre + scale * _NODE
        near_zero = (tau**2 + effect**2) ** -_SHARP
        near_e = (s**2 + (e - effect) ** 2) ** -_SHARP
        share = (near_zero if scale is tau else near_e) / (near_zero + near_e)
        density = pt.exp(log_t(effect / tau, nu_rest) + log_t((e - effect) / s, nu)) / (tau * s)
        total = total + pt.sum(share * density * scale * _WIDTH, axis=1)
    return pt.log(total)


@pytest.mark.parametrize(("s", "tau"), [(0.02, 1.0), (0.3, 0.7), (1.0, 0.05), (2.0, 2.0)])
def test_the_quadrature(s: float, tau: float) -> None:
    e = np.array([0.0, 0.1, 1.0, 5.0])
    found = log_convolution(pt.as_tensor(e), pt.as_tensor(np.full(4, s)), 2.5, pt.as_tensor(tau), 3.5).eval()
    for value, at in zip(found, e, strict=True):
        product = lambda u, at=at: stats.t.pdf(u / tau, 3.5) / tau * stats.t.pdf((at - u) / s, 2.5) / s  # noqa: E731
        edges = sorted({-1e3, -20 * tau, *(c + k * w for c, w in ((0.0, tau), (at, s)) for k in (-5, 0, 5)), 20 * tau + at, 1e3})
        truth = sum(integrate.quad(product, a, b, epsabs=1e-14, limit=200)[0] for a, b in itertools.pairwise(edges))
        assert value == pytest.approx(np.log(truth), abs=3e-5)


@pytest.mark.validate
def test_the_engine_agrees_with_nuts(data_dir: Path) -> None:
    df = rm.datasets.load("hydration")
    groups = [c for c in df.columns if c.startswith("group_")]
    problem = rm.Model(
        "hydration_free_energy",
        levels={"material": "molecule"},
        theory=rm.theory.Calibrated("gaff"),
        material=[rm.material.Solvation(groups), rm.material.Unresolved("material", nu=True)],
        observation=rm.observation.StudentT(u="u_stated", scale=False),
    ).bind(df)
    ours = exact.sample(problem, draws=1500, chains=4, seed=1, progress=False)
    theirs = _nuts(problem, df, groups)
    names = ["solvation_scale", "unresolved_material_scale", "unresolved_material_nu", "noise_unstated_scale", "noise_nu"]
    one = {name: np.log(ours.params[name]) for name in names}
    two = {name: np.log(theirs[name].values) for name in names}
    one |= {name: ours.coefficients[name][..., 0] for name in ("calibrated_intercept", "calibrated_slope")}
    two |= {name: theirs[name].values for name in ("calibrated_intercept", "calibrated_slope")}
    one |= {f"solvation[{k}]": ours.coefficients["solvation"][..., k] for k in range(10)}
    two |= {f"solvation[{k}]": theirs["solvation"].values[..., k] for k in range(10)}
    far = []
    for name, b in two.items():
        a = one[name]
        assert max(float(az.rhat(a)), float(az.rhat(b))) < 1.02, name
        middle, width = np.mean(b), np.std(b)
        for what, power in (("mean", 1), ("variance", 2)):
            x, y = (((draws - middle) / width) ** power for draws in (a, b))
            z = (x.mean() - y.mean()) / np.hypot(float(az.mcse(x)), float(az.mcse(y)))
            print(f"{what} of {name}: {z:+.2f}")
            if abs(z) > BOUND:
                far.append(f"{what} of {name}: {z:+.1f}")
    assert not far


def _nuts(problem: Problem, df: Any, groups: list[str]) -> Any:
    """The same model by hand, every molecule's rest integrated out."""
    prior = {q.name: q.prior for q in problem.params}
    plain = {c.name: (float(np.asarray(c.mean)), float(np.asarray(c.sd))) for c in problem.coefficients if not callable(c.sd)}
    stated = df["u_stated"].notna().to_numpy()
    with pm.Model():
        scale = {q: pm.HalfNormal(q, dict(prior[q].params)["sigma"]) for q in prior if q.endswith("scale")}
        nu = {q: pm.Truncated(q, pm.Gamma.dist(2, 0.1), lower=2) for q in prior if q.endswith("nu")}
        intercept, slope = (pm.Normal(name, *plain[name]) for name in ("calibrated_intercept", "calibrated_slope"))
        raw = pm.Normal("raw", 0, 1, shape=len(groups))
        solvation = pm.Deterministic("solvation", raw * scale["solvation_scale"])
        mean = intercept + slope * df["gaff"].to_numpy() + pt.dot(df[groups].to_numpy(dtype=float), solvation)
        s = pt.switch(stated, df["u_stated"].fillna(1.0).to_numpy(), scale["noise_unstated_scale"])
        residual = df["hydration_free_energy"].to_numpy() - mean
        rest = scale["unresolved_material_scale"], nu["unresolved_material_nu"]
        pm.Potential("y", pt.sum(log_convolution(residual, s, nu["noise_nu"], *rest)))
        return pm.sample(2500, tune=700, chains=4, cores=2, random_seed=2, target_accept=0.9, progressbar=False)["posterior"]
