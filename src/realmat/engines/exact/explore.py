"""Finding where the hyperparameters live: mode, curvature, then adaptive multiple importance sampling.

Cornuet, Marin, Mira & Robert, Scandinavian Journal of Statistics 39, 798 (2012): every round's draws are kept and weighted by the
mixture of all rounds' proposals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from realmat.engines.exact import mixture as mix
from realmat.engines.exact.space import Density
from realmat.errors import FitError

_GOOD = 0.75
_ROUNDS = 8


@dataclass
class Explored:
    """A proposal that covers the posterior of theta, and what its last round showed."""

    proposal: mix.Mixture
    thetas: np.ndarray
    weights: np.ndarray
    efficiency: float


def mode(density: Density) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mode of theta and the inverse of the curvature there (a covariance guess), shapes (d,) and (d, d).

    Raises
    ------
    realmat.FitError
        If no starting point has a finite density.
    """
    start = density.space.start()
    d = len(start)
    starts = [start] + [start + shift for shift in (-1.5, 1.0)]
    scores = density.many(np.array(starts))
    if not np.isfinite(scores).any():
        raise FitError("the model has no finite density at typical parameter values; check the priors and the stated uncertainties.")
    best = starts[int(np.argmax(scores))]

    def negative(theta: np.ndarray) -> float:
        value = density.one(theta)
        return -value if np.isfinite(value) else 1e10

    def gradient(theta: np.ndarray) -> np.ndarray:
        steps = 1e-4 * np.eye(d)
        both = density.many(np.concatenate([theta + steps, theta - steps]))
        slope = -(both[:d] - both[d:]) / 2e-4
        return np.where(np.isfinite(slope), slope, 0.0)

    found = optimize.minimize(negative, best, jac=gradient, method="BFGS", options={"maxiter": 60 + 10 * d, "gtol": 1e-2})
    return found.x, _curvature(density, found.x, np.asarray(found.hess_inv))


def _curvature(density: Density, at: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Inverse negative Hessian by central differences with steps of the posterior's own size; flat directions are cut at a prior-like width."""
    d = len(at)
    step = np.clip(np.sqrt(np.abs(np.diag(guess))), 1e-3, 0.7) * 0.5
    centre = density.one(at)
    basis = np.diag(step)
    pairs = [(i, j) for i in range(d) for j in range(i)]
    points = [at + basis[i] for i in range(d)] + [at - basis[i] for i in range(d)]
    points += [at + a * basis[i] + b * basis[j] for i, j in pairs for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
    values = density.many(np.array(points))
    hessian = np.zeros((d, d))
    for i in range(d):
        hessian[i, i] = (values[i] - 2 * centre + values[d + i]) / step[i] ** 2
    for k, (i, j) in enumerate(pairs):
        pp, pm, mp, mm = values[2 * d + 4 * k : 2 * d + 4 * k + 4]
        hessian[i, j] = hessian[j, i] = (pp - pm - mp + mm) / (4 * step[i] * step[j])
    hessian = np.where(np.isfinite(hessian), hessian, 0.0)
    eigenvalues, vectors = np.linalg.eigh(-hessian)
    return (vectors / np.clip(eigenvalues, 0.2, None)) @ vectors.T


def explore(density: Density, rng: np.random.Generator) -> Explored:
    """Adapt a mixture of t until its importance weights are even, or stop improving."""
    d = density.space.size
    location, covariance = mode(density)
    proposals = [mix.defended(mix.single(location, covariance))]
    batch = 100 + 60 * d
    thetas, logs = np.empty((0, d)), np.empty(0)
    sizes: list[int] = []
    best = 0.0
    weights = np.empty(0)
    for turn in range(_ROUNDS):
        fresh = proposals[-1].draw(rng, batch)
        thetas, logs = np.concatenate([thetas, fresh]), np.concatenate([logs, density.many(fresh)])
        sizes.append(batch)
        share = np.log(np.array(sizes) / sum(sizes))
        mixed = np.logaddexp.reduce([s + q.logpdf(thetas) for s, q in zip(share, proposals, strict=True)], axis=0)
        weights = normalised(logs - mixed)
        last = normalised(logs[-batch:] - proposals[-1].logpdf(fresh))
        efficiency = 1 / np.sum(last**2) / batch
        components = 1 if turn < 2 else min(2 + turn // 2, 5)
        candidate = mix.fit(thetas, weights, components, rng)
        if efficiency > _GOOD or (turn >= 4 and efficiency < 1.02 * best and efficiency > 0.5):
            break
        best = max(best, efficiency)
        proposals.append(mix.defended(candidate))
        batch = int(batch * 1.25)
    return Explored(mix.defended(candidate, share=0.05), thetas, weights, float(efficiency))


def normalised(log_weights: np.ndarray) -> np.ndarray:
    """Weights that sum to 1 from their logarithms."""
    finite = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    top = finite.max()
    if not np.isfinite(top):
        return np.full(len(finite), 1 / len(finite))
    w = np.exp(finite - top)
    return w / w.sum()
