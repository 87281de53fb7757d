"""Mixtures of multivariate Student t: the proposals of adaptive importance sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_NU = 6.0


@dataclass(frozen=True)
class Mixture:
    """Weights (k,), locations (k, d) and lower Cholesky factors (k, d, d) of t components with `nu` degrees of freedom."""

    weights: np.ndarray
    locations: np.ndarray
    factors: np.ndarray
    nu: float = _NU

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draws of shape (n, d)."""
        k, d = self.locations.shape
        which = rng.choice(k, size=n, p=self.weights)
        z = rng.standard_normal((n, d)) / np.sqrt(rng.chisquare(self.nu, n) / self.nu)[:, None]
        return self.locations[which] + np.einsum("nij,nj->ni", self.factors[which], z)

    def logpdf(self, x: np.ndarray) -> np.ndarray:
        """Log density at x of shape (n, d)."""
        d = self.locations.shape[1]
        constant = math.lgamma((self.nu + d) / 2) - math.lgamma(self.nu / 2) - 0.5 * d * math.log(self.nu * math.pi)
        parts = []
        for weight, location, factor in zip(self.weights, self.locations, self.factors, strict=True):
            z = np.linalg.solve(factor, (x - location).T)
            log_det = np.sum(np.log(np.diag(factor)))
            parts.append(math.log(weight) + constant - log_det - 0.5 * (self.nu + d) * np.log1p(np.sum(z**2, axis=0) / self.nu))
        return np.logaddexp.reduce(parts, axis=0)


def single(location: np.ndarray, covariance: np.ndarray, nu: float = _NU) -> Mixture:
    """One component."""
    return Mixture(np.ones(1), location[None], np.linalg.cholesky(covariance)[None], nu)


def defended(mixture: Mixture, share: float = 0.1, widen: float = 2.0) -> Mixture:
    """The mixture with a wide share added, so that importance weights stay bounded where it is too narrow."""
    return Mixture(
        np.concatenate([(1 - share) * mixture.weights, share * mixture.weights]),
        np.concatenate([mixture.locations, mixture.locations]),
        np.concatenate([mixture.factors, widen * mixture.factors]),
        mixture.nu,
    )


def fit(x: np.ndarray, weights: np.ndarray, k: int, rng: np.random.Generator, steps: int = 30) -> Mixture:
    """Weighted EM for k components (Cappe, Douc, Guillin, Marin & Robert, Statistics and Computing 18, 447, 2008).

    Parameters
    ----------
    x : array of shape (n, d)
    weights : array of shape (n,)
        Normalised importance weights.
    """
    n, d = x.shape
    mean = weights @ x
    cov = (x - mean).T @ ((x - mean) * weights[:, None])
    ridge = 1e-9 * np.diag(np.diag(cov)) + 1e-14 * np.eye(d)
    # the scale matrix of a t is smaller than its covariance
    shrink = (_NU - 2) / _NU
    if k == 1:
        return single(mean, shrink * cov + ridge)
    locations = x[rng.choice(n, size=k, p=weights)]
    current = Mixture(np.full(k, 1 / k), locations, np.repeat(np.linalg.cholesky(shrink * cov + ridge)[None], k, axis=0))
    for _ in range(steps):
        current = _step(current, x, weights, cov, ridge)
    return current


def _step(mixture: Mixture, x: np.ndarray, weights: np.ndarray, cov: np.ndarray, ridge: np.ndarray) -> Mixture:
    nu, d = mixture.nu, x.shape[1]
    parts = [Mixture(np.ones(1), mixture.locations[j : j + 1], mixture.factors[j : j + 1], nu) for j in range(len(mixture.weights))]
    log = np.array([math.log(w) + part.logpdf(x) for w, part in zip(mixture.weights, parts, strict=True)])
    responsibility = np.exp(log - np.logaddexp.reduce(log, axis=0)) * weights
    masses, locations, factors = [], [], []
    for r, part in zip(responsibility, parts, strict=True):
        mass = r.sum()
        if mass < 0.02:  # an empty component would collapse on a point
            continue
        z = np.linalg.solve(part.factors[0], (x - part.locations[0]).T)
        tail = r * (nu + d) / (nu + np.sum(z**2, axis=0))
        location = tail @ x / tail.sum()
        spread = (x - location).T @ ((x - location) * tail[:, None]) / mass
        masses.append(mass)
        locations.append(location)
        factors.append(np.linalg.cholesky(spread + 0.01 * cov + ridge))
    if not masses:
        return mixture
    return Mixture(np.array(masses) / sum(masses), np.array(locations), np.array(factors), nu)
