"""Calculations of one quantity by several theories, most of them missing: what they tell of each material's ideal value.

Given the parameters, the calculations x of a material with ideal value t are ``x = c + bias + slope (t - c) + e``, ``e ~ N(0, lambda
S)``. All that they tell of t is one *reading* z of it with precision h / lambda,

    h = s' W s,    z = c + s' W (x - c - bias) / h,    W = S_oo^-1 over the theories o that were run

(generalised least squares: Aitken, Proc. R. Soc. Edinb. 55, 42, 1935). Materials for which the same theories were run share W. Where a
calculation has a standard uncertainty u of its own, such as that of a Monte Carlo run, its variance is lambda S_kk + u^2, and W is the
inverse of S_oo + diag(u^2) / lambda.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

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
    u : array of shape (M, K), optional
        Standard uncertainties of single calculations.
    scaled : bool
        Whether each material has a lambda of its own: then those whose calculations have a u share W with no other.
    """

    x: np.ndarray
    centre: float
    u: np.ndarray | None = None
    scaled: bool = False
    patterns: tuple[Pattern, ...] = field(init=False)
    count: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        ran = np.isfinite(self.x)
        kinds, which = np.unique(np.column_stack([ran, *self._apart(ran)]), axis=0, return_inverse=True)
        made = tuple(Pattern(np.flatnonzero(kind[: ran.shape[1]]), np.flatnonzero(which == k)) for k, kind in enumerate(kinds))
        object.__setattr__(self, "patterns", tuple(p for p in made if len(p.ran)))
        object.__setattr__(self, "count", ran.sum(axis=1))

    def _apart(self, ran: np.ndarray) -> list[np.ndarray]:
        """What else tells materials apart for which the same theories were run: their u."""
        if self.u is None:
            return []
        u = np.where(ran, self.u, 0.0)
        return [u, np.where(u.any(axis=1), np.arange(len(u)), -1)] if self.scaled else [u]

    @cached_property
    def noisy(self) -> bool:
        """Whether any calculation that was run has a standard uncertainty of its own."""
        return self.u is not None and bool(np.any(self.u[self._ran] > 0))

    @property
    def size(self) -> tuple[int, int]:
        """Materials and theories."""
        return self.x.shape[0], self.x.shape[1]

    @cached_property
    def _ran(self) -> np.ndarray:
        return np.isfinite(self.x)

    @cached_property
    def _zeroed(self) -> np.ndarray:
        return np.nan_to_num(self.x)

    @cached_property
    def which(self) -> np.ndarray:
        """Pattern of each material, -1 where nothing was run."""
        out = np.full(len(self.x), -1)
        for k, pattern in enumerate(self.patterns):
            out[pattern.members] = k
        return out

    @cached_property
    def ran(self) -> np.ndarray:
        """Which theories each pattern has, as ones and zeros of shape (patterns, K)."""
        out = np.zeros((len(self.patterns), self.x.shape[1]))
        for k, pattern in enumerate(self.patterns):
            out[k, pattern.ran] = 1.0
        return out

    def inverses(self, covariance: np.ndarray, hardness: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """W of each pattern, zero for theories that were not run, and the log determinant of its inverse over those that were.

        Shapes (..., patterns, K, K) and (..., patterns) from S of shape (..., K, K). `hardness`, shape (..., M), are the materials'
        lambda: they count where calculations have a u.
        """
        from realmat.theory.consensus_kernels import inverses

        k = self.x.shape[1]
        flat = np.ascontiguousarray(covariance).reshape(-1, k, k)
        more = np.zeros((1, len(self.patterns), k))
        if self.noisy:
            first = np.array([pattern.members[0] for pattern in self.patterns])
            own = self.variance[first] if hardness is None else self.variance[first] / hardness[..., first, None]
            more = np.ascontiguousarray(own).reshape(-1, *own.shape[-2:])
        found, log_det = inverses(flat, self.ran, more)
        shape = covariance.shape[:-2]
        return found.reshape(*shape, -1, k, k), log_det.reshape(*shape, -1)

    def weights(self, covariance: np.ndarray, hardness: np.ndarray | None = None) -> np.ndarray:
        """The first of `inverses`."""
        return self.inverses(covariance, hardness)[0]

    @cached_property
    def variance(self) -> np.ndarray:
        """u^2 of the calculations that were run, 0 for the others: shape (M, K)."""
        return np.zeros(self.x.shape) if self.u is None else np.where(self._ran, self.u, 0.0) ** 2

    @cached_property
    def typical(self) -> np.ndarray:
        """u^2 that a calculation not run yet would have, by theory: that of the others, in the middle; shape (K,)."""
        return np.array([float(np.median(v[ran])) if ran.any() else 0.0 for v, ran in zip(self.variance.T, self._ran.T, strict=True)])

    @cached_property
    def complete(self) -> Calculations:
        """As if every theory had been run for every material, with values of no meaning."""
        u = None if self.u is None else np.sqrt(np.where(self._ran, self.variance, self.typical))
        return Calculations(self._zeroed, self.centre, u, self.scaled)

    def precisions(self, slope: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """h of each material, shape (..., M), from slopes (..., K) and weights (..., patterns, K, K)."""
        solved = (weights @ slope[..., None, :, None])[..., 0]  # W s, (..., patterns, K)
        return self.by_material(np.sum(slope[..., None, :] * solved, axis=-1))

    def beyond(self, log_det: Any, h: Any, rest: Any, hard: Any, xp: Any = np) -> Any:
        """Log density of the calculations beyond that of the readings made of them, each of shape (..., materials with any): summed."""
        spare = self.count[self.count > 0] - 1
        each = log_det + xp.log(h) + spare * (xp.log(hard) + np.log(2 * np.pi)) + rest / hard
        return -0.5 * xp.sum(each, axis=-1)

    def by_material(self, of_pattern: np.ndarray) -> np.ndarray:
        """From the pattern of each material, 0 where nothing was run: shape (..., materials)."""
        if not self.patterns:
            return np.zeros((*of_pattern.shape[:-1], len(self.x)))
        return np.where(self.which >= 0, of_pattern[..., np.maximum(self.which, 0)], 0.0)

    def reading(self, bias: np.ndarray, slope: np.ndarray, weights: np.ndarray) -> Reading:
        """What they tell of the ideal values.

        Parameters
        ----------
        bias, slope : arrays of shape (..., K)
        weights : array of shape (..., patterns, K, K)
        """
        h = self.precisions(slope, weights)
        away = (self._zeroed - bias[..., None, :]) * self._ran
        turned = self.applied(weights, away)
        side = (turned @ slope[..., :, None])[..., 0]
        z = side / np.where(h > 0, h, 1.0)
        rest = np.einsum("...k,...k->...", turned, away) - side * z
        return Reading(self.centre + z, h, np.maximum(rest, 0.0))

    def applied(self, weights: np.ndarray, v: np.ndarray) -> np.ndarray:
        """W v of each material, v of shape (..., M, K) with zeros where a theory was not run."""
        from realmat.theory.consensus_kernels import applied

        flat = np.ascontiguousarray(weights).reshape(-1, *weights.shape[-3:])
        return np.asarray(applied(flat, self.which, np.ascontiguousarray(v).reshape(-1, *v.shape[-2:])).reshape(v.shape))

    def scatter(self, v: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Weighted sums of v v' over the materials of each pattern, v of shape (C, M, n): shape (C, patterns, n, n)."""
        from realmat.theory.consensus_kernels import scatter

        return np.asarray(scatter(np.ascontiguousarray(v), np.ascontiguousarray(weight), self.which, len(self.patterns)))

    def told(self, weights: np.ndarray) -> np.ndarray:
        """W x of each material, shape (C, M, K)."""
        return self.applied(weights, np.repeat(self._zeroed[None], len(weights), axis=0))

    def errors(self, bias: np.ndarray, slope: np.ndarray, ideal: np.ndarray) -> np.ndarray:
        """Errors of the calculations that were run at ideal values of shape (..., M); 0 for the others, shape (..., M, K)."""
        out = (ideal - self.centre)[..., None] * -slope[..., None, :]
        out -= bias[..., None, :]
        out += self._zeroed
        out *= self._ran
        return np.asarray(out)

    def completed(
        self, errors: np.ndarray, covariance: np.ndarray, weights: np.ndarray, hardness: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Errors of theories, those of calculations that were not run or have a u drawn given the others, shape (C, M, K).

        A draw n of all errors is moved by ``S W (e - n)``, which puts it right where they are known (Matheron's rule: Hoffman & Ribak,
        Astrophys. J. 380, L5, 1991; the step: Schafer, Analysis of Incomplete Multivariate Data, 1997, section 5.4).
        """
        noise = rng.standard_normal(errors.shape) @ np.linalg.cholesky(covariance).swapaxes(-1, -2)
        noise *= np.sqrt(hardness)[..., None]
        exact = self._ran
        away = errors - noise
        if self.noisy:
            away -= np.sqrt(self.variance) * rng.standard_normal(errors.shape)
            exact = self._ran & (self.variance == 0)
        noise += self.applied(weights, away * self._ran) @ covariance
        np.copyto(noise, errors, where=exact)
        return noise

    def squares(self, errors: np.ndarray, covariance: np.ndarray) -> np.ndarray:
        """e' S_oo^-1 e of each material from errors of shape (C, M, K), whatever the u of its calculations: shape (C, M)."""
        known = errors * self._ran
        weights = self._exact.weights(covariance)
        return np.asarray(np.einsum("...k,...k->...", self._exact.applied(weights, known), known))

    @cached_property
    def _exact(self) -> Calculations:
        """The same without a u."""
        return Calculations(self.x, self.centre)
