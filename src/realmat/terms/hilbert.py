"""Gaussian processes as a basis: sines on a box, weighted by the kernel's spectral density.

``k(x, x') ~ sum_j S(omega_j) phi_j(x) phi_j(x')`` with the eigenfunctions ``phi_j(x) = prod_d L_d^-1/2 sin(omega_jd (x_d + L_d))``,
``omega_jd = pi j_d / (2 L_d)``, of the Laplacian on [-L, L]^D that vanish on its border (Solin & Saerkkae, Stat. Comput. 30, 419, 2020).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from realmat.errors import ModelError
from realmat.terms.component import Component
from realmat.terms.priors import Prior
from realmat.terms.term import Function

KERNELS = {"matern32": (1.5, 3.42), "matern52": (2.5, 2.65), "expquad": (math.inf, 1.75)}
"""Smoothness nu, and the factor of `Basis.shortest`: Riutort-Mayol et al., Stat. Comput. 33, 17 (2023), section 4.2."""

# Covariances of scale 1 are then right to 0.04, 0.07 and 0.17 in one, two and three dimensions, for lengthscales from the shortest to
# half the range of the data; longer ones lose some of the variance of their mean, which an intercept takes up anyway.
_BOX = 2.5
_FUNCTIONS = {1: 40, 2: 16, 3: 8}
MOST_BASIS = max(_FUNCTIONS)


@dataclass(frozen=True)
class Basis:
    """Basis functions around a cloud of points, in units of its standard deviations.

    Attributes
    ----------
    centre, unit, half : arrays of shape (D,)
        Middle of the range, standard deviation, and half the range in standard deviations. The box is 2.5 times as wide as the data.
    index : int array of shape (size, D)
        j of each function; with several dimensions those within the ellipsoid ``sum_d (j_d / m)^2 <= 1``.
    """

    kernel: str
    centre: np.ndarray
    unit: np.ndarray
    half: np.ndarray
    index: np.ndarray

    @classmethod
    def around(cls, x: np.ndarray, kernel: str) -> Basis:
        """Basis for points `x` of shape (rows, D), 1 <= D <= 3."""
        low, high, unit = x.min(axis=0), x.max(axis=0), x.std(axis=0)
        d = x.shape[1]
        m = _FUNCTIONS[d]
        index = np.stack(np.meshgrid(*[np.arange(1, m + 1)] * d, indexing="ij"), axis=-1).reshape(-1, d)
        index = index[(index**2).sum(axis=1) <= m**2 + d - 1]
        return cls(kernel, (low + high) / 2, unit, (high - low) / (2 * unit), index)

    @property
    def size(self) -> int:
        """Number of functions."""
        return len(self.index)

    @property
    def edge(self) -> np.ndarray:
        """Half the width L of the box, shape (D,)."""
        return _BOX * self.half

    @property
    def omega(self) -> np.ndarray:
        """Frequencies, shape (size, D)."""
        return np.pi * self.index / (2 * self.edge)

    @property
    def shortest(self) -> float:
        """The shortest lengthscale that the basis resolves: ``factor * L / m``."""
        return float(KERNELS[self.kernel][1] * self.edge.max() / _FUNCTIONS[len(self.centre)])

    def at(self, x: np.ndarray) -> np.ndarray:
        """Functions at points of shape (rows, D): shape (rows, size); zero outside the box."""
        z = (x - self.centre) / self.unit
        inside = np.all(np.abs(z) < self.edge, axis=1)
        waves = np.sin(self.omega[None] * (z[:, None, :] + self.edge)) / np.sqrt(self.edge)
        return waves.prod(axis=2) * inside[:, None]

    def outside(self, x: np.ndarray) -> np.ndarray:
        """Whether points lie beyond the range of the data, shape (rows,)."""
        return np.any(np.abs(x - self.centre) > self.half * self.unit * (1 + 1e-9), axis=1)

    def spectral_sd(self, lengthscale: Any, xp: Any) -> Any:
        """``sqrt(S(omega_j))`` for scale 1, shape (size,); `lengthscale` is one number, or one for each dimension."""
        nu, _ = KERNELS[self.kernel]
        d = len(self.centre)
        each = [lengthscale[i] for i in range(d)] if np.ndim(lengthscale) == 1 else [lengthscale] * d
        log_volume = sum(xp.log(length) for length in each)
        squares = sum((length * self.omega[:, i]) ** 2 for i, length in enumerate(each))
        if math.isinf(nu):
            return xp.exp(0.5 * (0.5 * d * math.log(2 * math.pi) + log_volume - 0.5 * squares))
        constant = d * math.log(2) + 0.5 * d * math.log(math.pi) + math.lgamma(nu + d / 2) + nu * math.log(2 * nu) - math.lgamma(nu)
        return xp.exp(0.5 * (constant + log_volume - (nu + d / 2) * xp.log(2 * nu + squares)))


def check_process(component: Component, kernel: str) -> None:
    """Check the kernel, the lengthscale and the scale of a component that is a Gaussian process.

    Raises
    ------
    realmat.ModelError
        For an unknown kernel, or a scale or lengthscale that is not positive.
    """
    if kernel not in KERNELS:
        raise ModelError(f"{component.label}: kernel={kernel!r} must be one of {', '.join(KERNELS)}.")
    for argument in ("lengthscale", "scale"):
        given = component.prior(argument, 1.0)
        if (given.support[0] < 0) if isinstance(given, Prior) else (given <= 0):
            raise ModelError(f"{component.label}: {argument}={given!r} must be positive.")


def resolved(basis: Basis, given: Prior | float, label: str) -> Prior | float:
    """The prior of the lengthscales: a default one where `given` is 0.

    Raises
    ------
    realmat.ModelError
        If it expects what the basis cannot resolve.
    """
    shortest = basis.shortest
    if given == 0.0:
        given = Prior("LogNormal", mu=math.log(max(1.0, 1.5 * shortest)), sigma=0.5, lower=shortest)
    low = float(given.ppf(0.05)) if isinstance(given, Prior) else given
    if low < shortest * (1 - 1e-9):
        raise ModelError(
            f"{label}: lengthscale={given!r} goes below {shortest:.2g} standard deviations, the shortest that {basis.size} basis "
            f"functions resolve over this range; cut the prior with lower={shortest:.2g}, use fewer descriptors, or leave outliers out."
        )
    return given


def lost(phi: np.ndarray, sd: Function, weight: Function) -> Function:
    """Standard deviation that the basis lacks at each row: ``sqrt(scale^2 - sum_j S_j phi_j^2)``."""
    squares = phi**2
    return lambda p, xp: np.sqrt(np.maximum(sd(p, xp) ** 2 - squares @ np.broadcast_to(weight(p, xp) ** 2, squares.shape[1]), 0.0))
