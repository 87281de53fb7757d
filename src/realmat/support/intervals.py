"""Credible intervals as ArviZ is set: ``az.rcParams["stats.ci_prob"]`` and ``["stats.ci_kind"]``."""

from __future__ import annotations

import numpy as np


def settings() -> tuple[float, str]:
    """Probability and kind ("eti" or "hdi") of intervals."""
    from arviz_base import rcParams

    return float(rcParams["stats.ci_prob"]), str(rcParams["stats.ci_kind"])


def interval(draws: np.ndarray) -> np.ndarray:
    """Credible interval over the last axis: shape (..., 2), lower and upper.

    Examples
    --------
    >>> interval(np.arange(1001.0)).round(1)
    array([ 55., 945.])
    """
    prob, kind = settings()
    if kind == "hdi":
        from arviz_stats.base import array_stats

        return np.asarray(array_stats.hdi(np.asarray(draws), prob))
    return np.moveaxis(np.quantile(draws, [(1 - prob) / 2, (1 + prob) / 2], axis=-1), 0, -1)


def words() -> str:
    """The kind of interval in words, for captions: ``89 % equal-tailed intervals``."""
    prob, kind = settings()
    return f"{100 * prob:g} % {'highest-density' if kind == 'hdi' else 'equal-tailed'} intervals"
