"""Importance sampling of hyperparameters: Pareto smoothing, and how far it is to be trusted.

Vehtari, Simpson, Gelman, Yao & Gabry, J. Mach. Learn. Res. 25(72) (2024).
"""

from __future__ import annotations

import numpy as np

from realmat.posterior.draws import Posterior
from realmat.support import pareto


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
