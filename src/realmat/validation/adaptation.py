"""A better proposal for hyperparameters where their posterior is too far from a target: adaptation by moments.

Cappe, Douc, Guillin, Marin & Robert, Stat. Comput. 18, 447 (2008).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from realmat.algebra.space import Space
from realmat.support import points
from realmat.validation.importance import psis

_ROUNDS = (256, 256)
_INFLATE = 1.3
_NU = 6.0


def adapt(
    space: Space,
    thetas: np.ndarray,
    log_weight: np.ndarray,
    log_target: Callable[[Mapping[str, np.ndarray], int], np.ndarray],
    draws: int,
    rng: np.random.Generator,
) -> tuple[dict[str, np.ndarray], np.ndarray, float]:
    """Draws from a multivariate t whose moments approach those of a target.

    Parameters
    ----------
    space : Space
    thetas : array of shape (n, size)
        Draws that, with `log_weight` of shape (n,), tell a first mean and covariance.
    log_target : callable
        Log density of the data at a batch of named values, whose last axis is the batch, and its length; the prior is added here.
    draws : int
    rng : numpy Generator

    Returns
    -------
    values : mapping of name to array
        `draws` of them, along the last axis.
    log_weight : array of shape (draws,)
        Pareto-smoothed and normalised.
    k_hat : float
    """
    values: dict[str, np.ndarray] = {}
    k_hat = np.inf
    for size in (*_ROUNDS, draws):
        proposal = _T.of(thetas, np.exp(log_weight))
        thetas = proposal.draw(size, rng)
        with np.errstate(all="ignore"):
            values, prior = space.many(thetas)
            log_ratio = prior + log_target(values, size)
        log_ratio = np.where(np.isfinite(log_ratio), log_ratio, -1e300) - proposal.logpdf(thetas)
        smoothed, k = psis(-log_ratio[:, None], 1.0)
        log_weight, k_hat = smoothed[:, 0], float(k[0])
    return values, log_weight, k_hat


class _T:
    """Multivariate t with the mean and an inflated covariance of weighted draws."""

    def __init__(self, mean: np.ndarray, root: np.ndarray) -> None:
        self.mean, self.root = mean, root

    @classmethod
    def of(cls, thetas: np.ndarray, weight: np.ndarray) -> _T:
        mean = weight @ thetas
        away = thetas - mean
        cov = (away * weight[:, None]).T @ away
        cov = cov + 1e-3 * np.diag(np.var(thetas, axis=0)) + 1e-12 * np.eye(len(mean))
        return cls(mean, _INFLATE * np.linalg.cholesky(cov))

    def draw(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """Draws of shape (size, d), made of even points."""
        return self.mean + points.student(points.even(rng, size, len(self.mean) + 1), _NU) @ self.root.T

    def logpdf(self, thetas: np.ndarray) -> np.ndarray:
        """Up to a constant."""
        z = np.linalg.solve(self.root, (thetas - self.mean).T)
        return np.asarray(-0.5 * (_NU + len(self.mean)) * np.log1p((z**2).sum(axis=0) / _NU))
