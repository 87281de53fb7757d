"""Posteriors made by hand for the tests of attribution: known psi, coefficients with exact moments."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from realmat.posterior.draws import Draws, Posterior
from realmat.terms.problem import Problem


def exact_moments(rng: np.random.Generator, mean: np.ndarray, cov: np.ndarray, draws: int) -> np.ndarray:
    """Draws (draws, size) whose sample mean and covariance (divisor draws - 1) are exactly those given."""
    z = rng.standard_normal((draws, len(mean)))
    z -= z.mean(axis=0)
    z = z @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T).reshape(len(mean), -1))).T
    values, vectors = np.linalg.eigh(cov)
    return mean + z @ (vectors * np.sqrt(np.maximum(values, 0.0))).T


def by_hand(problem: Problem, params: Mapping[str, np.ndarray], coefficients: Mapping[str, np.ndarray], chains: int = 4) -> Posterior:
    """A posterior from flat draws: (draws,) for parameters, (draws, size) for blocks."""

    def chained(x: np.ndarray) -> np.ndarray:
        return x.reshape((chains, -1, *x.shape[1:]))

    return Posterior(problem, Draws({k: chained(v) for k, v in params.items()}, {k: chained(v) for k, v in coefficients.items()}))
