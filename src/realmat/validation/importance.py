"""Importance sampling of hyperparameters: Pareto smoothing, and a better proposal where the posterior is too far from the target.

Vehtari, Simpson, Gelman, Yao & Gabry, J. Mach. Learn. Res. 25(72) (2024); adaptation by moments: Cappe, Douc, Guillin, Marin & Robert,
Stat. Comput. 18, 447 (2008).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.special import ndtri

from realmat.algebra.space import Space
from realmat.posterior.draws import Posterior
from realmat.support import pareto

_ROUNDS = (256, 256)
_INFLATE = 1.3
_NU = 6.0


def good_k(draws: int) -> float:
    """Largest k-hat at which the estimate is trusted: ``min(1 - 1 / log10(draws), 0.7)``."""
    return min(1 - 1 / np.log10(draws), 0.7) if draws > 1 else 0.7


def relative_efficiency(posterior: Posterior, used: int) -> float:
    """Smallest effective sample size of a hyperparameter, relative to the `used` draws; at most 1."""
    if not posterior.draws.params or posterior.shape[1] < 4:
        return 1.0
    from arviz_stats.base import array_stats

    sizes = []
    for values in posterior.draws.params.values():
        flat = values.reshape((*posterior.shape, -1))
        sizes += [float(array_stats.ess(flat[..., j], chain_axis=0, draw_axis=1, method="mean")) for j in range(flat.shape[-1])]
    smallest = np.nanmin(sizes) if np.isfinite(sizes).any() else used
    return float(np.clip(smallest / used, 1.0 / used, 1.0))


def psis(log_likelihood: np.ndarray, r_eff: float) -> tuple[np.ndarray, np.ndarray]:
    """Pareto-smoothed log weights (draws, groups), normalised over draws, for leaving out what has `log_likelihood`; and k-hat.

    Where k-hat cannot be estimated (fewer than 25 draws, or too many equal ones among the largest weights) it counts as infinite.
    """
    draws, groups = log_likelihood.shape
    log_weight, k_hat = np.full((draws, groups), -np.log(draws)), np.zeros(groups)
    uneven = np.flatnonzero(np.ptp(log_likelihood, axis=0) > 1e-10)
    if len(uneven):
        log_weight[:, uneven], k_hat[uneven] = pareto.smoothed(-log_likelihood[:, uneven], r_eff)
    return log_weight, np.where(np.isnan(k_hat), np.inf, k_hat)


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
        """Scrambled Sobol points, whose error falls faster than that of independent draws."""
        from scipy.stats import chi2, qmc

        u = qmc.Sobol(len(self.mean) + 1, rng=rng).random(2 ** int(np.ceil(np.log2(size))))[:size]
        u = np.clip(u, 1e-12, 1 - 1e-12)
        return self.mean + (ndtri(u[:, 1:]) @ self.root.T) / np.sqrt(chi2.ppf(u[:, 0], _NU) / _NU)[:, None]

    def logpdf(self, thetas: np.ndarray) -> np.ndarray:
        """Up to a constant."""
        z = np.linalg.solve(self.root, (thetas - self.mean).T)
        return np.asarray(-0.5 * (_NU + len(self.mean)) * np.log1p((z**2).sum(axis=0) / _NU))
