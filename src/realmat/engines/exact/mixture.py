"""Mixtures of multivariate Student t: the proposals of adaptive importance sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from realmat.engines.exact import mixture_kernels as kernels
from realmat.support import points

_TAILS = (5.0, 12.0, 50.0)
_HEAVY = 4.0
_SEEN = 0.999  # share of the weight that a mixture is fitted to: most draws of early rounds are the rest
_RIDGE, _FINE_RIDGE = 1e-9, 1e-13  # of variances in units of the points' own, and of their correlations
_NARROWER = 0.01  # times as wide as a component was when EM began, which it stays at least
_LEAST = 0.02  # weight of a mode: as a normal its mass may be far too small
_NARROWEST = 1e-14  # variance of the narrowest direction, in those of coordinates
_PLENTY = 75  # points by dimension, and for ten more, from which a mixture is found
_FINER = 8  # times as many polish it
_POLISHED = 3  # steps of that
_PATIENCE = 2  # further components that do not pay for themselves, after which no more are tried
_EMPTY = 0.02  # mass of a component that is dropped: it would collapse on a point
_SETTLED = 5e-3  # gain in mean log density below which EM has settled


@dataclass(frozen=True)
class Mixture:
    """Weights (k,), locations (k, d), lower Cholesky factors (k, d, d) and degrees of freedom (k,) of t components."""

    weights: np.ndarray
    locations: np.ndarray
    factors: np.ndarray
    nu: np.ndarray

    chosen: ClassVar[int] = 2  # uniform numbers for the component and how wide it is; those for its coordinates follow

    def draw(self, u: np.ndarray) -> np.ndarray:
        """Draws of shape (n, d) from uniform numbers of shape (n, `chosen` + d)."""
        which = np.minimum(np.searchsorted(np.cumsum(self.weights), u[:, 0], side="right"), len(self.weights) - 1)
        z = points.student(u[:, 1:], self.nu[which])
        return np.asarray(kernels.placed(which, z, self.locations, self.factors))

    def logpdf(self, x: np.ndarray) -> np.ndarray:
        """Log density at x of shape (n, d)."""
        return np.asarray(kernels.log_density(np.ascontiguousarray(x.T), *self.arrays))

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Locations, factors, weights and degrees of freedom, as compiled loops take them."""
        return self.locations, self.factors, self.weights, self.nu


def single(location: np.ndarray, covariance: np.ndarray, nu: float = 5.0) -> Mixture:
    """One component with a given covariance."""
    scale = covariance * (nu - 2) / nu  # the scale matrix of a t is smaller than its covariance
    return Mixture(np.ones(1), location[None], lower(scale)[None], np.array([nu]))


def lower(scale: np.ndarray) -> np.ndarray:
    """The Cholesky factor; of a ridge that is narrower than rounding, that of one which is not."""
    width = np.sqrt(np.diag(scale))
    try:
        return np.asarray(width[:, None] * np.linalg.cholesky(scale / np.outer(width, width)))
    except np.linalg.LinAlgError:
        level, direction = np.linalg.eigh(scale / np.outer(width, width))
        triangle = np.linalg.qr((direction * np.sqrt(np.maximum(level, _NARROWEST))).T, mode="r").T
        return np.asarray(width[:, None] * triangle * np.sign(np.diag(triangle)))


def of_modes(locations: np.ndarray, covariances: np.ndarray, heights: np.ndarray, nu: float = 5.0) -> Mixture:
    """A component for each mode, weighed by its mass as a normal has it.

    Parameters
    ----------
    locations : array of shape (k, d)
    covariances : array of shape (k, d, d)
    heights : array of shape (k,)
        Log densities at the modes.
    """
    parts = [single(x, c, nu) for x, c in zip(locations, covariances, strict=True)]
    factors = np.concatenate([part.factors for part in parts])
    mass = heights + np.sum(np.log(np.diagonal(factors, axis1=1, axis2=2)), axis=1)
    weights = np.maximum(np.exp(mass - mass.max()), _LEAST)
    return Mixture(weights / weights.sum(), locations, factors, np.full(len(parts), nu))


def defended(mixture: Mixture, share: float = 0.1, widen: float = 2.0) -> Mixture:
    """The mixture with a wide, heavy-tailed share added, so that importance weights stay bounded where it is too narrow."""
    wide = widened(mixture, widen)
    return Mixture(
        np.concatenate([(1 - share) * mixture.weights, share * wide.weights]),
        np.concatenate([mixture.locations, wide.locations]),
        np.concatenate([mixture.factors, wide.factors]),
        np.concatenate([mixture.nu, wide.nu]),
    )


def widened(mixture: Mixture, widen: float = 2.0) -> Mixture:
    """The wide, heavy-tailed share alone."""
    return Mixture(mixture.weights, mixture.locations, widen * mixture.factors, np.full(len(mixture.nu), _HEAVY))


def fit(x: np.ndarray, weights: np.ndarray, rng: np.random.Generator, most: int = 3, known: Mixture | None = None) -> Mixture:
    """The mixture that describes weighted draws best: components up to `most` and tails chosen by penalised cross-entropy.

    Weighted EM after Cappe, Douc, Guillin, Marin & Robert, Statistics and Computing 18, 447 (2008).

    Parameters
    ----------
    x : array of shape (n, d)
    weights : array of shape (n,)
        Normalised importance weights.
    known : Mixture, optional
        Several modes that were found: EM also starts from them, as chance would rarely.
    """
    d = x.shape[1]
    effective = 1 / np.sum(weights**2)
    kept = heaviest(weights)
    x, weights = x[kept], weights[kept] / weights[kept].sum()
    centre, root = _frame(x, weights)
    every, all_weights = np.linalg.solve(root, (x - centre).T).T, weights
    x, weights = _thinned(every, weights, _PLENTY * (d + 10), rng)
    best, best_score = None, -math.inf
    tails: tuple[float, ...] = _TAILS
    worse = 0
    for k in range(1, most + 1):
        parameters = k * (d + d * (d + 1) / 2 + 1)
        if k > 1 and effective < 4 * parameters:
            break
        scored = []
        for nu in tails:
            candidate = _em(x, weights, k, nu, rng)
            score = float(weights @ candidate.logpdf(x)) - 0.5 * parameters * math.log(max(effective, 2)) / max(effective, 2)
            scored.append(score)
            if score > best_score:
                best, best_score = candidate, score
        worse = worse + 1 if max(scored) < best_score else 0
        if worse == _PATIENCE:
            break
        tails = tails[int(np.argmax(scored)) :][:2]  # several components need no heavier tails than one
    if known is not None and len(known.weights) > 1:
        locations = np.ascontiguousarray(np.linalg.solve(root, (known.locations - centre).T).T)
        candidate = _climb(x, weights, Mixture(known.weights, locations, np.linalg.solve(root, known.factors), known.nu))
        if best is None or float(weights @ candidate.logpdf(x)) > float(weights @ best.logpdf(x)):
            best = candidate
    assert best is not None
    if len(every) > len(x):
        best = _climb(*_thinned(every, all_weights, _FINER * _PLENTY * (d + 10), rng), best, _POLISHED)
    return Mixture(best.weights, centre + best.locations @ root.T, root @ best.factors, best.nu)


def heaviest(weights: np.ndarray) -> np.ndarray:
    """The draws that carry nearly all of the weight, int array: what lies far out has hardly any, but moves a mean."""
    falling = np.argsort(weights)[::-1]
    return np.asarray(falling[: int(np.searchsorted(np.cumsum(weights[falling]), _SEEN)) + 1])


def _thinned(x: np.ndarray, weights: np.ndarray, most: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """At most `most` of weighted points, systematically resampled: a mixture is known well enough from so many."""
    if len(x) <= most:
        return x, weights
    count = np.bincount(np.searchsorted(np.cumsum(weights), (np.arange(most) + rng.random()) / most), minlength=len(x))[: len(x)]
    kept = count > 0
    return x[kept], count[kept] / count[kept].sum()


def _frame(x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of weighted points and a lower root of their covariance, in which a fit sees neither widths nor correlations."""
    mean = weights @ x
    cov = (x - mean).T @ ((x - mean) * weights[:, None])
    width = np.sqrt(np.diag(cov))
    alone = ~(width > 0)  # a coordinate in which the weighted points do not differ: all points then say how wide it may be
    if alone.any():
        own = np.std(x[:, alone], axis=0)
        width[alone] = np.where(own > 0, own, 1.0)  # of a single point: as wide as priors are
    correlation = cov / width[:, None] / width + _FINE_RIDGE * np.eye(len(mean))
    correlation[alone, alone] += 1.0
    return mean, width[:, None] * np.linalg.cholesky(correlation)


def _em(x: np.ndarray, weights: np.ndarray, k: int, nu: float, rng: np.random.Generator, steps: int = 20) -> Mixture:
    n, d = x.shape
    mean = weights @ x
    cov = (x - mean).T @ ((x - mean) * weights[:, None])
    ridge = _RIDGE * np.eye(d)
    start = single(mean, cov + ridge, nu)
    if k == 1:
        return start
    locations = x[rng.choice(n, size=k, p=weights)]
    return _climb(x, weights, Mixture(np.full(k, 1 / k), locations, np.repeat(start.factors, k, axis=0), np.full(k, nu)), steps)


def _climb(x: np.ndarray, weights: np.ndarray, current: Mixture, steps: int = 20) -> Mixture:
    """EM from a mixture; none of its components becomes much narrower than it was, as one that collapses on a point would."""
    own = (current.nu / (current.nu - 2))[:, None, None] * (current.factors @ current.factors.swapaxes(1, 2))
    floors = _NARROWER**2 * own + _RIDGE * own * np.eye(x.shape[1])
    points, before = np.ascontiguousarray(x.T), -math.inf
    for _ in range(steps):
        score, masses, tails, first, second = kernels.moments(points, weights, *current.arrays)
        if score < before + _SETTLED:
            break
        before = score
        kept = masses >= _EMPTY
        if not kept.any():
            break
        masses, tails, floors = masses[kept], tails[kept], floors[kept]
        moved = first[kept] / tails[:, None]
        spread = (second[kept] - tails[:, None, None] * moved[:, :, None] * moved[:, None]) / masses[:, None, None]
        factors = np.linalg.cholesky(spread + floors)
        current = Mixture(masses / masses.sum(), current.locations[kept] + moved, factors, current.nu[kept])
    return current
