"""How the errors of theories go together: the covariance S of their errors from its parameters, and the densities of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realmat.terms.term import Values

STRENGTH = 4.0
"""Degrees of freedom of the inverse Wishart prior beyond the number of theories: it is proper, has a variance, and says little."""


@dataclass(frozen=True)
class Errors:
    """S of K theories: own variances and family parts, ``S0 = diag(own^2) + sum_F family_F^2 1_F 1_F'``, or anything around that.

    With ``full`` S is inverse Wishart with mean S0. In Bartlett's decomposition its inverse is (L T)(L T)' with L L' = (scale S0)^-1 and
    T lower triangular, T_ij standard normal below the diagonal and T_ii^2 chi square with `degrees` - i degrees of freedom.

    Attributes
    ----------
    name : str
        The component's; parameters are `<name>_own`, `<name>_family`, `<name>_factor`, `<name>_pivot_<i>`.
    size : int
        K.
    membership : array of shape (K, families)
        1 where a theory belongs to a family.
    full : bool

    Notes
    -----
    Bartlett, Proc. R. Soc. Edinb. 53, 260 (1933); the conjugate prior: Gelman et al., Bayesian Data Analysis, 3rd ed. (2013), section 3.6.
    """

    name: str
    size: int
    membership: np.ndarray
    full: bool
    _spread: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        k = self.size
        below = np.tril_indices(k, -1)
        spread = np.zeros((k * k, len(below[0])))
        spread[below[0] * k + below[1], np.arange(len(below[0]))] = 1.0
        object.__setattr__(self, "_spread", spread)

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the inverse Wishart."""
        return self.size + STRENGTH

    @property
    def scale(self) -> float:
        """What makes S0 the mean."""
        return STRENGTH - 1.0

    @property
    def pivots(self) -> list[str]:
        """Names of the squared diagonal of T."""
        return [f"{self.name}_pivot_{i}" for i in range(self.size)]

    def centre(self, own: Any, family: Any) -> np.ndarray:
        """S0 at arrays of shape (..., K) and (..., families)."""
        parts = (self.membership * np.square(family)[..., None, :]) @ self.membership.T
        return np.asarray(parts + np.square(own)[..., None] * np.eye(self.size))

    def covariance(self, p: Values, xp: Any = np) -> Any:
        """S at one psi, shape (K, K)."""
        own, family = p[f"{self.name}_own"], p.get(f"{self.name}_family", np.zeros(0))
        spread = xp.diag(own**2)
        if self.membership.shape[1]:
            spread = spread + xp.dot(self.membership * family**2, self.membership.T)
        if not self.full:
            return spread
        root = xp.linalg.cholesky(xp.linalg.inv(self.scale * spread))
        below = xp.dot(self._spread, p[f"{self.name}_factor"]).reshape((self.size, self.size))
        triangle = below + xp.diag(xp.sqrt(xp.stack([p[name] for name in self.pivots])))
        factor = xp.dot(root, triangle)
        return xp.linalg.inv(xp.dot(factor, factor.T))

    def covariances(self, p: Mapping[str, np.ndarray]) -> np.ndarray:
        """S at C psi, parameters of shape (C, ...): shape (C, K, K)."""
        own = p[f"{self.name}_own"]
        centre = self.centre(own, p.get(f"{self.name}_family", np.zeros((len(own), 0))))
        if not self.full:
            return centre
        triangle = np.zeros_like(centre)
        below = np.tril_indices(self.size, -1)
        triangle[:, below[0], below[1]] = p[f"{self.name}_factor"]
        triangle[:, np.arange(self.size), np.arange(self.size)] = np.sqrt(np.stack([p[name] for name in self.pivots], axis=1))
        inverse = np.linalg.inv(np.linalg.cholesky(np.linalg.inv(self.scale * centre)) @ triangle)
        return np.asarray(inverse.swapaxes(1, 2) @ inverse)

    def factored(self, covariance: np.ndarray, own: np.ndarray, family: np.ndarray) -> dict[str, np.ndarray]:
        """T of covariances of shape (C, K, K): parameters by name with the chains first."""
        root = np.linalg.cholesky(np.linalg.inv(self.scale * self.centre(own, family)))
        triangle = np.linalg.solve(root, np.linalg.cholesky(np.linalg.inv(covariance)))
        below = np.tril_indices(self.size, -1)
        pivots = np.diagonal(triangle, axis1=1, axis2=2) ** 2
        return {f"{self.name}_factor": triangle[:, below[0], below[1]], **{n: pivots[:, i] for i, n in enumerate(self.pivots)}}

    def draw(self, scatter: np.ndarray, count: int, own: np.ndarray, family: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """S given errors with a scatter matrix of shape (C, K, K) from `count` materials: inverse Wishart."""
        root = np.linalg.cholesky(np.linalg.inv(self.scale * self.centre(own, family) + scatter))
        chains, k = scatter.shape[0], self.size
        triangle = np.zeros((chains, k, k))
        below = np.tril_indices(k, -1)
        triangle[:, below[0], below[1]] = rng.standard_normal((chains, len(below[0])))
        triangle[:, np.arange(k), np.arange(k)] = np.sqrt(rng.chisquare(self.degrees + count - np.arange(k), (chains, k)))
        inverse = np.linalg.inv(root @ triangle)
        return np.asarray(inverse.swapaxes(1, 2) @ inverse)
