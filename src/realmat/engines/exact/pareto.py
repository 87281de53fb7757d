"""Pareto k-hat of importance weights, as `arviz_stats.psislw` finds it, without the seconds that loading ArviZ takes.

Vehtari, Simpson, Gelman, Yao & Gabry, J. Mach. Learn. Res. 25(72) (2024); the fit: Zhang & Stephens, Technometrics 51, 316 (2009).
"""

from __future__ import annotations

import math

import numpy as np

_PRIOR_K, _PRIOR_WEIGHT = 0.5, 10.0  # weakly informative: the former, appendix G


def shape(weights: np.ndarray) -> float:
    """k-hat of positive weights, shape (n,); nan where the largest of them are too few or all alike."""
    n = len(weights)
    tail = math.floor(3 * math.sqrt(n)) if n > 225 else n // 5
    ordered = np.sort(weights)
    beyond = ordered[-tail:] - ordered[-tail - 1]
    if tail < 5 or beyond[int(tail / 4 - 0.5)] <= beyond[0]:
        return math.nan
    return _generalised_pareto(beyond)


def _generalised_pareto(x: np.ndarray) -> float:
    """Shape of a generalised Pareto distribution that starts at zero; x sorted."""
    n = len(x)
    points = 30 + int(math.sqrt(n))
    b = 1 - np.sqrt(points / (np.arange(1, points + 1) - 0.5))
    b = b / (3 * x[int(n / 4 - 0.5)]) + 1 / x[-1]
    k = np.log1p(-b[:, None] * x).mean(axis=1)
    profile = n * (np.log(-b / k) - k - 1)
    weight = 1 / np.exp(profile - profile[:, None]).sum(axis=1)
    kept = weight >= 10 * np.finfo(float).eps
    mean = float(np.sum(b[kept] * weight[kept] / weight[kept].sum()))
    found = float(np.log1p(-mean * x).mean())
    return (n * found + _PRIOR_WEIGHT * _PRIOR_K) / (n + _PRIOR_WEIGHT)
