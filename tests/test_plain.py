"""Readings with heavy tails and limits taken as normal ones, and chains of a curve that start from these."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.engines.chains import following
from realmat.engines.exact import plain
from realmat.engines.exact.explore import explore
from realmat.engines.exact.space import Density


def decay(x, a, b):
    """Two parameters on a ridge."""
    return a * (1 - np.exp(-b * x))


def curve(**observation: object) -> tuple[rm.Model, pd.DataFrame]:
    """Twenty readings of a decay by two laboratories, the lowest of them below a limit."""
    rng = np.random.default_rng(4)
    x = np.linspace(0.1, 1.0, 20)
    y = decay(x, 3.0, 0.6) + 0.05 * rng.standard_normal(20)
    df = pd.DataFrame({"x": x, "y": np.maximum(y, 0.4), "low": (y < 0.4).astype(int), "lab": np.arange(20) % 2})
    params = {"a": rm.Prior("LogNormal", mu=1, sigma=1), "b": rm.Prior("LogNormal", mu=0, sigma=1)}
    theory = rm.theory.Function(decay, columns=["x"], params=params)
    kind = rm.observation.Normal(below="low", bias_by="lab") if not observation else rm.observation.StudentT(bias_by="lab", **observation)
    return rm.Model("y", levels={"lab": "lab"}, theory=theory, observation=kind), df


def test_what_lies_beyond_a_limit_is_left_out_and_the_rest_is_what_the_model_of_the_rest_explores():
    """Means of the same posterior explored twice, within 4.5 standard errors."""
    model, df = curve()
    normal = plain.system(model.bind(df))
    assert normal is not None
    found = explore(Density(normal), np.random.default_rng(1))
    measured = df[df["low"] == 0]
    assert 0 < len(measured) < len(df)
    theory = model.theory
    same = rm.Model("y", levels={"lab": "lab"}, theory=theory, observation=rm.observation.Normal(bias_by="lab"))
    fit = same.fit(measured, seed=3, draws=1000, progress=False)
    seen = found.weights > 0
    params, w = found.density.space.named(found.thetas[seen]), found.weights[seen]
    for name in ("function_a", "function_b", "noise_scale"):
        x = params[name]
        other = np.asarray(fit.tree["posterior"][name].values).ravel()
        mean = w @ x
        error = np.hypot(np.sqrt(w @ (x - mean) ** 2 * np.sum(w**2)), other.std() / np.sqrt(400))
        assert abs(mean - other.mean()) < 4.5 * error, name


def test_nothing_is_explored_where_no_theory_bends_or_hardly_a_reading_is_left():
    _, df = curve()
    straight = rm.Model("y", theory=rm.theory.Calibrated("x"), observation=rm.observation.Normal(below="low"))
    assert plain.system(straight.bind(df)) is None
    model, _ = curve()
    for left in (2, 0):
        assert plain.system(model.bind(df.assign(low=(np.arange(20) >= left).astype(int)))) is None


def test_effects_that_follow_a_quadratic_are_followed_exactly():
    """Least squares find the quadratic that made the modes; its gradient is that of differences."""
    rng = np.random.default_rng(2)
    u = rng.standard_normal((3, 60))
    made = following.Following(rng.standard_normal((5, 10)))
    found = following.fitted(u, made.at(u))
    assert found.weights == pytest.approx(made.weights, abs=1e-9)
    direction, pulled, step = rng.standard_normal((3, 60)), rng.standard_normal((5, 60)), 1e-6
    slope = np.sum(pulled * (found.at(u + step * direction) - found.at(u - step * direction)), axis=0) / (2 * step)
    assert np.sum(found.pull(u, pulled) * direction, axis=0) == pytest.approx(slope, rel=1e-6, abs=1e-6)
