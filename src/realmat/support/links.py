"""Links: the scales on which layers add up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special


@dataclass(frozen=True)
class Link:
    """One scale.

    Attributes
    ----------
    forward, inverse : callable
        From response units to the scale, and back.
    slope : callable
        Derivative of `forward`, at a value in response units.
    least : float
        Smallest value that has an image, for bounds that would lie outside.
    """

    forward: Callable[[Any], Any]
    inverse: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    least: float = -np.inf


def exp(g: Any) -> Any:
    """What no number holds is infinite, which is an answer and no reason for a warning."""
    with np.errstate(over="ignore"):
        return np.exp(g)


def unscaled(reference: Any, mean: Any, sd: Any) -> tuple[Any, Any]:
    """``exp(reference)`` times a mean and a standard deviation: infinite where no number holds it, or the mean beside the deviation."""
    with np.errstate(divide="ignore"):
        return np.where(mean > 0, exp(reference + np.log(mean)), np.inf), exp(reference + np.log(sd))


_TINY = float(np.finfo(float).tiny)
LINKS: Mapping[str, Link] = {
    "identity": Link(lambda y: np.asarray(y, dtype=float), lambda g: g, lambda y: np.ones_like(np.asarray(y, dtype=float))),
    "log": Link(np.log, exp, lambda y: 1 / y, _TINY),
    "logit": Link(special.logit, special.expit, lambda y: 1 / (y * (1 - y)), _TINY),
}
