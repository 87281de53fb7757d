"""Mixtures of multivariate Student t: the proposals of adaptive importance sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_TAILS = (5.0, 12.0, 30.0)
_HEAVY = 4.0


@dataclass(frozen=True)
class Mixture:
    """Weights (k,), locations (k, d), lower Cholesky factors (k, d, d) and degrees of freedom (k,) of t components."""

    weights: np.ndarray
    locations: np.ndarray
    factors: np.ndarray
    nu: np.ndarray

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draws of shape (n, d)."""
        k, d = self.locations.shape
        which = rng.choice(k, size=n, p=self.weights)
        nu = self.nu[which]
        z = rng.standard_normal((n, d)) / np.sqrt(rng.chisquare(nu) / nu)[:, None]
        return self.locations[which] + np.einsum("nij,nj->ni", self.factors[which], z)

    def logpdf(self, x: np.ndarray) -> np.ndarray:
        """Log density at x of shape (n, d)."""
        return np.logaddexp.reduce(self.parts(x)[0], axis=0)

    def parts(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log of each component's weighted density, and squared distances, both of shape (k, n)."""
        d = self.locations.shape[1]
        logs, distances = [], []
        for weight, location, factor, nu in zip(self.weights, self.locations, self.factors, self.nu, strict=True):
            constant = math.lgamma((nu + d) / 2) - math.lgamma(nu / 2) - 0.5 * d * math.log(nu * math.pi)
            squares = np.sum(np.linalg.solve(factor, (x - location).T) ** 2, axis=0)
            log_det = np.sum(np.log(np.diag(factor)))
            logs.append(math.log(weight) + constant - log_det - 0.5 * (nu + d) * np.log1p(squares / nu))
            distances.append(squares)
        return np.array(logs), np.array(distances)


def single(location: np.ndarray, covariance: np.ndarray, nu: float = 5.0) -> Mixture:
    """One component with a given covariance."""
    scale = covariance * (nu - 2) / nu  # the scale matrix of a t is smaller than its covariance
    return Mixture(np.ones(1), location[None], np.linalg.cholesky(scale)[None], np.array([nu]))


def defended(mixture: Mixture, share: float = 0.1, widen: float = 2.0) -> Mixture:
    """The mixture with a wide, heavy-tailed share added, so that importance weights stay bounded where it is too narrow."""
    return Mixture(
        np.concatenate([(1 - share) * mixture.weights, share * mixture.weights]),
        np.concatenate([mixture.locations, mixture.locations]),
        np.concatenate([mixture.factors, widen * mixture.factors]),
        np.concatenate([mixture.nu, np.full(len(mixture.nu), _HEAVY)]),
    )


def fit(x: np.ndarray, weights: np.ndarray, rng: np.random.Generator, most: int = 3) -> Mixture:
    """The mixture that describes weighted draws best: components up to `most` and tails chosen by penalised cross-entropy.

    Weighted EM after Cappe, Douc, Guillin, Marin & Robert, Statistics and Computing 18, 447 (2008).

    Parameters
    ----------
    x : array of shape (n, d)
    weights : array of shape (n,)
        Normalised importance weights.
    """
    d = x.shape[1]
    effective = 1 / np.sum(weights**2)
    best, best_score = None, -math.inf
    for k in range(1, most + 1):
        parameters = k * (d + d * (d + 1) / 2 + 1)
        if k > 1 and effective < 4 * parameters:
            break
        for nu in _TAILS:
            candidate = _em(x, weights, k, nu, rng)
            score = float(weights @ candidate.logpdf(x)) - 0.5 * parameters * math.log(max(effective, 2)) / max(effective, 2)
            if score > best_score:
                best, best_score = candidate, score
    assert best is not None
    return best


def _em(x: np.ndarray, weights: np.ndarray, k: int, nu: float, rng: np.random.Generator, steps: int = 20) -> Mixture:
    n, d = x.shape
    mean = weights @ x
    cov = (x - mean).T @ ((x - mean) * weights[:, None])
    ridge = 1e-9 * np.diag(np.diag(cov)) + 1e-14 * np.eye(d)
    start = single(mean, cov + ridge, nu)
    if k == 1:
        return start
    locations = x[rng.choice(n, size=k, p=weights)]
    current = Mixture(np.full(k, 1 / k), locations, np.repeat(start.factors, k, axis=0), np.full(k, nu))
    for _ in range(steps):
        current = _step(current, x, weights, cov, ridge)
    return current


def _step(mixture: Mixture, x: np.ndarray, weights: np.ndarray, cov: np.ndarray, ridge: np.ndarray) -> Mixture:
    d = x.shape[1]
    log, distances = mixture.parts(x)
    responsibility = np.exp(log - np.logaddexp.reduce(log, axis=0)) * weights
    masses, locations, factors = [], [], []
    for r, squares, nu in zip(responsibility, distances, mixture.nu, strict=True):
        mass = r.sum()
        if mass < 0.02:  # an empty component would collapse on a point
            continue
        tail = r * (nu + d) / (nu + squares)
        location = tail @ x / tail.sum()
        spread = (x - location).T @ ((x - location) * tail[:, None]) / mass
        masses.append(mass)
        locations.append(location)
        factors.append(np.linalg.cholesky(spread + 0.01 * cov + ridge))
    if not masses:
        return mixture
    return Mixture(np.array(masses) / sum(masses), np.array(locations), np.array(factors), mixture.nu[: len(masses)])
