"""How the mode of the effects follows hyperparameters that bend: a quadratic of the coordinates in which these are straight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realmat.engines.chains.bends import quadratic, softened

_EACH = 3  # places of either kind for each number that is fitted to each effect


@dataclass(frozen=True)
class Following:
    """``weights @ (1, s, s s')`` with s the coordinates u, which level off; `weights` has shape (coefficients, terms)."""

    weights: np.ndarray

    def at(self, u: np.ndarray) -> np.ndarray:
        """Shape (coefficients, n), at u of shape (size, n)."""
        return np.asarray(self.weights @ _features(u))

    def pull(self, u: np.ndarray, in_effects: np.ndarray) -> np.ndarray:
        """The gradient in u from that in the effects, shape (coefficients, n)."""
        s, rise = softened(u)
        weight = self.weights.T @ in_effects
        first, second = np.triu_indices(len(u))
        out, pairs = weight[1 : 1 + len(u)].copy(), weight[1 + len(u) :]
        np.add.at(out, first, pairs * s[second])
        np.add.at(out, second, pairs * s[first])
        return out * rise


def places(u: np.ndarray) -> np.ndarray:
    """Where modes are looked at: some of the coordinates u, shape (size, n), that were seen, and as many of a standard normal."""
    rng, count = np.random.default_rng(0), _EACH * len(_features(u[:, :1]))
    seen = u[:, rng.choice(u.shape[1], size=count, replace=u.shape[1] < count)]
    return np.concatenate([seen, rng.standard_normal(seen.shape)], axis=1)


def fitted(u: np.ndarray, left: np.ndarray) -> Following:
    """What is left of modes, shape (coefficients, n), at places u, by least squares."""
    return Following(np.linalg.lstsq(_features(u).T, left.T, rcond=None)[0].T)


def _features(u: np.ndarray) -> np.ndarray:
    soft = softened(u)[0]
    return quadratic(soft, soft)
