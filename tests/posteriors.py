"""What draws of one posterior made in two ways have in common."""

from __future__ import annotations

from collections.abc import Iterable

import arviz as az
import numpy as np
from arviz_stats.base import array_stats


def expect_same_moments(ours: np.ndarray, theirs: np.ndarray, what: str = "") -> None:
    """Means and variances of every element agree within 4.5 standard errors; both have shape (chain, draw, ...), and our chains agree."""
    for one, two in zip(_elements(ours), _elements(theirs), strict=True):
        assert float(az.rhat(one)) < 1.02, what
        middle = two.mean()
        for a, b in ((one, two), ((one - middle) ** 2, (two - middle) ** 2)):
            error = np.hypot(*(array_stats.mcse(x, method="mean") for x in (a, b)))
            assert abs(a.mean() - b.mean()) < 4.5 * error, what


def _elements(x: np.ndarray) -> Iterable[np.ndarray]:
    """Each of shape (chain, draw)."""
    return np.moveaxis(x.reshape(*x.shape[:2], -1), 2, 0)
