"""The discrepancy: its covariance against the exact kernel and PyMC's, and what it may not absorb."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.terms.hilbert import KERNELS, Basis
from realmat.terms.problem import Problem
from realmat.terms.term import Contribution, evaluate


def bind(df: pd.DataFrame, component: Any) -> tuple[rm.Model, Problem, Contribution]:
    """A model with the component beside a calibrated theory; its contribution on the rows of the fit."""
    model = rm.Model("y", theory=rm.theory.Calibrated("t"), material=component)
    problem = model.bind(df)
    return model, problem, problem.term(component.label).contribute(problem.cells)


def exact_kernel(kernel: str, r: np.ndarray) -> np.ndarray:
    """Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, eq. 4.9, 4.17."""
    if kernel == "expquad":
        return np.exp(-0.5 * r**2)
    s = r * np.sqrt(2 * KERNELS[kernel][0])
    return (1 + s) * np.exp(-s) if kernel == "matern32" else (1 + s + s**2 / 3) * np.exp(-s)


@pytest.mark.parametrize(("dimensions", "tolerance"), [(1, 0.04), (2, 0.07), (3, 0.17)])
@pytest.mark.parametrize("kernel", list(KERNELS))
def test_the_basis_has_the_covariance_of_the_kernel(kernel: str, dimensions: int, tolerance: float) -> None:
    x = np.random.default_rng(1).uniform(-1, 1, (100, dimensions))
    basis = Basis.around(x, kernel)
    half = max(basis.half.max(), basis.shortest)
    phi = basis.at(x)
    distance = np.sqrt((((x[:, None] - x[None]) / basis.unit) ** 2).sum(-1))
    for lengthscale in (basis.shortest, 0.5 * (basis.shortest + half), half):
        approximate = (phi * basis.spectral_sd(lengthscale, np) ** 2) @ phi.T
        assert np.abs(approximate - exact_kernel(kernel, distance / lengthscale)).max() < tolerance, lengthscale


@pytest.mark.parametrize("kernel", list(KERNELS))
def test_the_basis_is_that_of_pymc(kernel: str) -> None:
    import pymc as pm
    import pytensor.tensor as pt

    x = np.random.default_rng(1).uniform(-1, 1, (7, 2))
    basis = Basis.around(x, kernel)
    lengthscale = np.array([0.8, 1.3])
    family = {"matern32": pm.gp.cov.Matern32, "matern52": pm.gp.cov.Matern52, "expquad": pm.gp.cov.ExpQuad}[kernel]
    m = int(basis.index.max())
    process = pm.gp.HSGP(m=[m, m], L=list(basis.edge), cov_func=family(2, ls=lengthscale))
    phi, root = process.prior_linearized(pt.as_tensor((x - basis.centre) / basis.unit))
    phi, root = phi.eval(mode="FAST_COMPILE"), root.eval(mode="FAST_COMPILE")
    grid = np.stack(np.meshgrid(np.arange(1, m + 1), np.arange(1, m + 1)), axis=-1).reshape(-1, 2)
    place = {tuple(j): k for k, j in enumerate(grid)}
    order = [place[tuple(j)] for j in basis.index]
    theirs, ours = phi[:, order] * root[order], basis.at(x) * basis.spectral_sd(lengthscale, np)
    np.testing.assert_allclose(theirs @ theirs.T, ours @ ours.T, rtol=1e-6)


def make_smooth(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    x, t = rng.uniform(0, 4, n), rng.normal(10, 2, n)
    df = pd.DataFrame({"x": x, "t": t, "y": 1 + 0.9 * t + np.sin(2 * x) + rng.normal(0, 0.1, n)})
    return pd.concat([df, df.head(9).assign(y=df["y"].head(9) + 0.05)], ignore_index=True)


def test_a_discrepancy_cannot_absorb_the_theory_line() -> None:
    df = make_smooth()
    _, problem, contribution = bind(df, rm.material.Discrepancy("x"))
    phi = contribution.pieces[0].matrix.toarray()[problem.cell]  # row by row, replicates among them
    np.testing.assert_allclose(np.column_stack([np.ones(len(df)), df["t"]]).T @ phi, 0.0, atol=1e-9)


def test_theory_parameters_beside_a_discrepancy_are_those_of_the_best_line() -> None:
    df = make_smooth()
    model, _, _ = bind(df, rm.material.Discrepancy("x"))
    fit = model.fit(df, draws=300, chains=2, seed=1, progress=False)
    line = np.polyfit(df["t"], df["y"], 1)
    assert float(fit.tree["posterior"]["calibrated_slope"].mean()) == pytest.approx(line[0], abs=0.02)
    assert float(fit.tree["posterior"]["noise_scale"].mean()) == pytest.approx(0.1, abs=0.03)  # the sine is resolved


def test_an_extrapolated_discrepancy_is_as_uncertain_as_its_prior() -> None:
    model, problem, _ = bind(make_smooth(), rm.material.Discrepancy("x"))
    term = problem.term("discrepancy_x")
    rows = model.prediction_table(pd.DataFrame({"x": [2.0, 4.5, 6.0, 50.0], "t": 10.0}))
    made = term.contribute(rows)
    p = {"discrepancy_x_lengthscale": 0.7, "discrepancy_x_scale": 2.0}
    (fresh,) = made.fresh
    assert fresh.groups.tolist() == [-1, 1, 2, 3]
    lost = np.broadcast_to(evaluate(fresh.sd, p), 4)
    basis = Basis.around(make_smooth()[["x"]].to_numpy(), "matern52")
    kept = (basis.at(rows.numeric("x")[:, None]) ** 2) @ (2.0 * basis.spectral_sd(0.7, np)) ** 2
    np.testing.assert_allclose((kept + lost**2)[1:], 4.0, rtol=0.01)
    assert lost[3] == pytest.approx(2.0)


def test_a_lengthscale_beyond_the_basis_is_refused() -> None:
    with pytest.raises(rm.ModelError, match=r"the shortest that 40 basis functions resolve.*lower=0\."):
        bind(make_smooth(), rm.material.Discrepancy("x", lengthscale=0.01))
    with pytest.raises(rm.DataError, match="'x' has one value only"):
        bind(make_smooth().assign(x=1.0), rm.material.Discrepancy("x"))
