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


_TINY = float(np.finfo(float).tiny)
LINKS: Mapping[str, Link] = {
    "identity": Link(lambda y: np.asarray(y, dtype=float), lambda g: g, lambda y: np.ones_like(np.asarray(y, dtype=float))),
    "log": Link(np.log, np.exp, lambda y: 1 / y, _TINY),
    "logit": Link(special.logit, special.expit, lambda y: 1 / (y * (1 - y)), _TINY),
}
