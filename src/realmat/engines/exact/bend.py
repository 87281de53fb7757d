"""Bent ridges made straight: coordinates less a quadratic of those before them.

Two parameters of a curve often share what the data tell along a parabola, which takes a mixture many components to cover. What one
coordinate is on average given others is a regression; less that, the ridge is straight. The map is triangular and keeps volumes, so that
densities carry over as they are (Haario, Saksman & Tamminen, Comput. Stat. 14, 375, 1999, bent normals the same way to test samplers).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from realmat.engines.chains.bends import greedy

_REACH = 3.0  # standard deviations beyond which squares go on along their tangents, and other products stay as they are
_LEAST = 3  # effective draws for each number that is learnt
_MOST = 3000  # draws to learn from


def _products(size: int) -> list[tuple[int, ...]]:
    return [k for degree in range(3) for k in combinations_with_replacement(range(size), degree)]


def _features(z: np.ndarray, products: list[tuple[int, ...]]) -> np.ndarray:
    """1, coordinates and products of two, shape (n, products)."""
    seen = np.clip(z, -_REACH, _REACH)

    def term(factors: tuple[int, ...]) -> np.ndarray:
        if len(factors) < 2:
            return np.prod(z[:, list(factors)], axis=1)
        one, two = factors
        return seen[:, one] * (2 * z[:, one] - seen[:, one] if one == two else seen[:, two])

    return np.stack([term(factors) for factors in products], axis=1)


@dataclass(frozen=True)
class Bend:
    """A map learnt from weighted draws.

    Attributes
    ----------
    mean, sd : arrays of shape (size,)
    order : tuple of int
        Coordinates, each a quadratic of those before it and what is left.
    products : list of tuples of int
        Of which coordinates each term is a product.
    weights : array of shape (terms, size)
        Of these terms in each coordinate; 0 for those of coordinates that come after it.
    """

    mean: np.ndarray
    sd: np.ndarray
    order: tuple[int, ...]
    products: list[tuple[int, ...]]
    weights: np.ndarray

    @property
    def log_volume(self) -> float:
        """Log determinant of `straight`."""
        return -float(np.log(self.sd).sum())

    def straight(self, x: np.ndarray) -> np.ndarray:
        """Straight coordinates of x, shape (n, size), in standard deviations."""
        z = (x - self.mean) / self.sd
        return np.asarray(z - _features(z, self.products) @ self.weights)

    def bent(self, y: np.ndarray) -> np.ndarray:
        """The inverse of `straight`."""
        z = y.copy()
        for k in self.order:
            own = np.flatnonzero(self.weights[:, k])
            z[:, k] += _features(z, [self.products[p] for p in own]) @ self.weights[own, k]
        return np.asarray(self.mean + self.sd * z)


def least(size: int) -> int:
    """Effective draws from which a map of so many coordinates can be learnt."""
    return _LEAST * len(_products(size))


def learn(x: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> Bend | None:
    """The map that suits weighted draws x, shape (n, size), best; None where these are too few.

    The coordinate that tells most of the others comes first, and so on.
    """
    size = x.shape[1]
    products = _products(size)
    effective = 1 / np.sum(weights**2)
    if size < 2 or effective < 0.99 * least(size):
        return None
    mean = weights @ x
    sd = np.sqrt(weights @ (x - mean) ** 2)
    if not np.all(sd > 0):
        return None
    some = rng.choice(len(x), size=_MOST, p=weights)
    z = (x[some] - mean) / sd
    features = _features(z, products)
    between = features.T @ features / _MOST + np.eye(len(products)) / effective
    with_each = features.T @ z / _MOST
    squares = np.mean(z * z, axis=0)

    def left(k: int, before: list[int]) -> tuple[float, list[int], np.ndarray]:
        """What is left of the variance of a coordinate; the terms, and their weights."""
        own = [p for p, factors in enumerate(products) if set(factors) <= set(before)]
        found = np.linalg.solve(between[np.ix_(own, own)], with_each[own, k])
        return max(float(squares[k] - found @ with_each[own, k]), 1e-12), own, found

    order = greedy(size, lambda k, before: np.log(left(k, before)[0]))
    told = np.zeros((len(products), size))
    for place, k in enumerate(order):
        _, own, found = left(k, order[:place])
        told[own, k] = found
    return Bend(mean, sd, tuple(order), products, told)
