"""What a density says of a new reading, at many draws of (psi, b)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from realmat.terms.density import Density
from realmat.terms.term import Noise, Values

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def own_values(noise: Noise, values: Sequence[Values]) -> dict[str, np.ndarray]:
    """The density's own parameters of each row at some psi, each of shape (rows, psi)."""
    found = {}
    for q in noise.parameters:
        by_group = np.stack([np.asarray(q.value(p, np), dtype=float) for p in values], axis=-1)
        found[q.name] = by_group[q.group]
    return found


def link_variance(noise: Noise, eta: np.ndarray, values: Sequence[Values]) -> np.ndarray:
    """What measuring adds on the scale of the link, the inverse of the information of one reading, shape of `eta` (rows, psi)."""
    density = noise.density
    assert density is not None
    own = own_values(noise, values)
    return np.asarray(1 / density.weight(density.mean(eta, own)[:, 0], eta, own))


def moments(density: Density, eta: np.ndarray, variance: np.ndarray, own: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a new reading whose linear predictor is normal: mean, mean square of its expectation, and mean variance about it.

    By Gauss and Hermite; each of shape (rows, draws), as `eta` and `variance`.
    """
    sd = np.sqrt(np.broadcast_to(variance, eta.shape))
    nodes = list(zip(_NODES, _WEIGHTS, strict=True)) if np.any(variance > 0) else [(0.0, 1.0)]
    first, second, within = np.zeros(eta.shape), np.zeros(eta.shape), np.zeros(eta.shape)
    for node, weight in nodes:
        at = eta + node * sd
        mean = density.mean(at, own)
        first += weight * mean
        second += weight * mean**2
        within += weight * density.variance(at, own)
    return first, second, within
