"""The expected information against dense matrices, and against the curvature of the log likelihood averaged over simulated responses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.algebra import dense
from realmat.attribution import information as module
from realmat.attribution.information import information, typical_values
from realmat.terms.problem import Problem


def problem(seed: int = 0) -> Problem:
    rng = np.random.default_rng(seed)
    m = np.repeat(np.arange(6), [2, 3, 4, 2, 5, 4])
    piece = np.arange(len(m)) // 2 + 100 * m
    rows = np.repeat(np.arange(len(m)), rng.integers(1, 4, len(m)))
    grain = np.where(rng.random(len(m)) < 0.5, rng.normal(5, 1, len(m)), np.nan)
    df = pd.DataFrame({"y": rng.normal(size=len(rows)), "mat": m[rows], "piece": piece[rows], "z": grain[rows]})
    df["z"] = df.groupby("piece")["z"].transform("first")
    df.loc[df.duplicated("piece"), "z"] = np.nan
    return rm.Model(
        "y",
        levels={"material": "mat", "specimen": "piece"},
        theory=rm.theory.Constant(),
        material=[rm.material.Effect("z", u=0.3), rm.material.Unresolved(by="material"), rm.material.Unresolved(by="specimen")],
    ).bind(df)


def moments(p: Problem, values: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    mean, cov = dense.prior(p, values)
    y, design, variance, _ = dense.measured(p, values)
    offset = np.concatenate([rows.y for rows in p.rows]) - y
    return (design @ mean + offset).astype(float), (design @ cov @ design.T + np.diag(variance)).astype(float)


def test_information_is_that_of_the_definition() -> None:
    p = problem()
    got = information(p)
    values = typical_values(p)
    _, cov = moments(p, values)
    inverse = np.linalg.inv(cov)
    changes, means, spreads = [], [], []
    for q in p.params:
        h = 1e-5
        slope = np.isinf(q.prior.support).all()
        unit = min((q.prior.ppf(0.75) - q.prior.ppf(0.25)) / 1.35 if slope else np.inf, values[q.name])
        up, down = ({**values, q.name: values[q.name] + s * h * unit} for s in (1, -1))
        (m1, v1), (m2, v2) = moments(p, up), moments(p, down)
        changes.append((v1 - v2) / (2 * h))
        means.append((m1 - m2) / (2 * h))
        spreads.append(2.0 if q.name == "noise_scale" else 0.0)  # d log sigma^2 / d log sigma
    count = sum(rows.count.sum() - len(rows.count) for rows in p.rows[:1])
    want = np.array(
        [
            [
                0.5 * np.trace(inverse @ a @ inverse @ b) + m @ inverse @ n + 0.5 * count * s * t
                for b, n, t in zip(changes, means, spreads, strict=True)
            ]
            for a, m, s in zip(changes, means, spreads, strict=True)
        ]
    )
    assert [q.name for q in got.params] == [q.name for q in p.params]
    np.testing.assert_allclose(got.matrix, want, rtol=1e-4, atol=1e-5)


def test_random_signs_estimate_the_traces_and_keep_zeros_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    p = problem()
    want = information(p).matrix
    monkeypatch.setattr(module, "_EXACT_ROWS", 0)
    monkeypatch.setattr(module, "_PROBES", 4000)
    got = information(p).matrix
    scale = np.sqrt(np.outer(np.diag(want), np.diag(want)))
    np.testing.assert_allclose(got / scale, want / scale, atol=0.08)  # 4000 signs: a few hundredths
    df = pd.DataFrame({"y": np.arange(30.0), "piece": np.arange(30)})
    single = rm.Model("y", levels={"specimen": "piece"}, theory=rm.theory.Constant(), material=rm.material.Unresolved(by="specimen")).bind(
        df
    )
    monkeypatch.setattr(module, "_PROBES", 3)
    assert np.linalg.eigvalsh(information(single).matrix)[0] == pytest.approx(0, abs=1e-6)
