"""Calculations of one quantity by several theories, most of them missing: what they tell of each material's ideal value.

Given the parameters, the calculations x of a material with ideal value t are ``x = c + bias + slope (t - c) + e``, ``e ~ N(0, lambda
S)``. All that they tell of t is one *reading* z of it with precision h / lambda,

    h = s' W s,    z = c + s' W (x - c - bias) / h,    W = S_oo^-1 over the theories o that were run

(generalised least squares: Aitken, Proc. R. Soc. Edinb. 55, 42, 1935). Materials for which the same theories were run share W.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Pattern:
    """Materials for which the same theories were run: `ran` (theories) and `members` (materials), int arrays."""

    ran: np.ndarray
    members: np.ndarray


@dataclass(frozen=True)
class Reading:
    """What the calculations of each material tell of its ideal value, at parameters of shape (...).

    Attributes
    ----------
    z : array of shape (..., materials)
        Generalised least-squares estimate; `centre` where nothing was run.
    h : array of shape (..., materials)
        Its precision at lambda = 1; 0 where nothing was run.
    rest : array of shape (..., materials)
        Squared distance of the calculations from their fit at z, in units of S.
    """

    z: np.ndarray
    h: np.ndarray
    rest: np.ndarray


@dataclass(frozen=True)
class Calculations:
    """Values of K theories for M materials, NaN where a theory was not run.

    Attributes
    ----------
    x : array of shape (M, K)
        Measured from `centre`.
    centre : float
        A typical ideal value, from which biases and slopes count.
    """

    x: np.ndarray
    centre: float
    patterns: tuple[Pattern, ...] = field(init=False)
    count: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        ran = np.isfinite(self.x)
        kinds, which = np.unique(ran, axis=0, return_inverse=True)
        made = tuple(Pattern(np.flatnonzero(kind), np.flatnonzero(which == k)) for k, kind in enumerate(kinds))
        object.__setattr__(self, "patterns", tuple(p for p in made if len(p.ran)))
        object.__setattr__(self, "count", ran.sum(axis=1))

    @property
    def size(self) -> tuple[int, int]:
        """Materials and theories."""
        return self.x.shape[0], self.x.shape[1]

    @cached_property
    def ran(self) -> np.ndarray:
        """Which theories each pattern has, as ones and zeros of shape (patterns, K)."""
        out = np.zeros((len(self.patterns), self.x.shape[1]))
        for k, pattern in enumerate(self.patterns):
            out[k, pattern.ran] = 1.0
        return out

    def weights(self, covariance: np.ndarray) -> np.ndarray:
        """W of each pattern, zero for theories that were not run: shape (..., patterns, K, K) from S of shape (..., K, K)."""
        both = self.ran[:, :, None] * self.ran[:, None, :]
        alone = (1 - self.ran)[:, :, None] * np.eye(self.x.shape[1])
        return np.asarray(np.linalg.inv(covariance[..., None, :, :] * both + alone) * both)

    def log_det(self, covariance: np.ndarray) -> np.ndarray:
        """Log determinant of S over the theories that were run of each pattern: shape (..., patterns)."""
        both = self.ran[:, :, None] * self.ran[:, None, :]
        alone = (1 - self.ran)[:, :, None] * np.eye(self.x.shape[1])
        return np.asarray(np.linalg.slogdet(covariance[..., None, :, :] * both + alone)[1])

    def by_material(self, of_pattern: np.ndarray) -> np.ndarray:
        """From the pattern of each material, 0 where nothing was run: shape (..., materials)."""
        out = np.zeros((*of_pattern.shape[:-1], len(self.x)))
        for k, pattern in enumerate(self.patterns):
            out[..., pattern.members] = of_pattern[..., k, None]
        return out

    def reading(self, bias: np.ndarray, slope: np.ndarray, weights: np.ndarray) -> Reading:
        """What they tell of the ideal values.

        Parameters
        ----------
        bias, slope : arrays of shape (..., K)
        weights : array of shape (..., patterns, K, K)
        """
        z = np.zeros((*bias.shape[:-1], len(self.x)))
        h, rest = np.zeros_like(z), np.zeros_like(z)
        solved = (weights @ slope[..., None, :, None])[..., 0]  # W s, (..., patterns, K)
        precision = np.sum(slope[..., None, :] * solved, axis=-1)
        away = np.nan_to_num(self.x) - bias[..., None, :]
        for k, pattern in enumerate(self.patterns):
            m = pattern.members
            here = away[..., m, :]
            side = here @ solved[..., k, :, None]
            h[..., m] = precision[..., k, None]
            z[..., m] = side[..., 0] / precision[..., k, None]
            rest[..., m] = np.sum((here @ weights[..., k, :, :]) * here, axis=-1) - side[..., 0] * z[..., m]
        return Reading(self.centre + z, h, np.maximum(rest, 0.0))

    def squares(self, errors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """e' W e of each material from errors of shape (..., M, K): shape (..., M)."""
        out = np.zeros(errors.shape[:-1])
        known = np.nan_to_num(errors)
        for k, pattern in enumerate(self.patterns):
            here = known[..., pattern.members, :]
            out[..., pattern.members] = np.sum((here @ weights[..., k, :, :]) * here, axis=-1)
        return out

    def errors(self, bias: np.ndarray, slope: np.ndarray, ideal: np.ndarray) -> np.ndarray:
        """Errors of the calculations that were run at ideal values of shape (..., M); NaN for the others, shape (..., M, K)."""
        return np.asarray(self.x - bias[..., None, :] - slope[..., None, :] * (ideal - self.centre)[..., None])

    def completed(
        self, errors: np.ndarray, covariance: np.ndarray, weights: np.ndarray, hardness: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Errors with those of calculations that were not run drawn given the others, shape (C, M, K).

        Schafer, Analysis of Incomplete Multivariate Data (1997), section 5.4: materials with the same calculations share the regression.
        """
        out = errors.copy()
        theories = np.arange(self.x.shape[1])
        sd = np.sqrt(hardness)[..., None]
        for k, pattern in enumerate(self.patterns):
            o, m = pattern.ran, pattern.members
            absent = np.setdiff1d(theories, o)
            if not len(absent):
                continue
            gain = covariance[..., absent[:, None], o] @ weights[..., k, o[:, None], o]
            left = covariance[..., absent[:, None], absent] - gain @ covariance[..., o[:, None], absent]
            factor = np.linalg.cholesky(0.5 * (left + left.swapaxes(-1, -2)))
            noise = rng.standard_normal((*errors.shape[:-2], len(m), len(absent))) @ factor.swapaxes(-1, -2)
            out[..., m[:, None], absent] = errors[..., m[:, None], o] @ gain.swapaxes(-1, -2) + sd[..., m, :] * noise
        return out
