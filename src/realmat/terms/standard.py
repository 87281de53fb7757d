"""The standard normal and the standard Student t: densities and distribution functions with their derivatives, exact far into the tails.

All functions are elementwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from realmat.terms import student_kernels

Array = np.ndarray
_LOG_2PI = float(np.log(2 * np.pi))
_ROOT_HALF, _MILLS = float(np.sqrt(0.5)), float(np.sqrt(2 / np.pi))
_MANY = 100.0  # degrees of freedom, from which a few terms of a series are exact, and differences of gamma functions no longer
_FARTHEST = 36.0  # beyond, erfcx overflows and the normal distribution function is 1


class StandardNormal:
    """z ~ N(0, 1); `nu` is not looked at."""

    @staticmethod
    def density(z: Array, nu: Any = None) -> tuple[Array, Array, Array | None]:
        """Log density, and its derivatives in z and in nu."""
        return -0.5 * (z * z + _LOG_2PI), -z, None

    @staticmethod
    def below(z: Array, nu: Any = None) -> tuple[Array, Array, Array | None]:
        """Log distribution function, and its derivatives in z and in nu."""
        cut = np.minimum(z, _FARTHEST)
        scaled = special.erfcx(-_ROOT_HALF * cut)  # 2 F(z) exp(z^2 / 2): keeps its digits far below
        with np.errstate(invalid="ignore"):
            return np.where(z < 0, np.log(0.5 * scaled) - 0.5 * cut * cut, np.log(special.ndtr(z))), _MILLS / scaled, None

    @staticmethod
    def information(nu: Any = None) -> Any:
        """Fisher information on a shift."""
        return 1.0

    @staticmethod
    def draw(size: tuple[int, ...], nu: Any, rng: np.random.Generator) -> Array:
        """Random numbers."""
        return rng.standard_normal(size)

    @staticmethod
    def variance(nu: Any = None) -> Any:
        """Variance."""
        return 1.0

    @staticmethod
    def cdf(z: Array, nu: Any = None) -> Array:
        """Distribution function."""
        return np.asarray(special.ndtr(z))


class StandardT:
    """z ~ t_nu."""

    @staticmethod
    def peak(nu: Any) -> tuple[Array, Array]:
        """Log density at zero, and its derivative in nu; of many degrees of freedom by the series of a ratio of gamma functions."""
        nu = np.asarray(nu, dtype=float)
        few = np.minimum(nu, _MANY)
        own, half = 0.5 * few, 0.5 * (few + 1)
        log = special.gammaln(half) - special.gammaln(own) - 0.5 * np.log(few * np.pi)
        in_nu = 0.5 * (special.digamma(half) - special.digamma(own) - 1 / few)
        if not np.any(nu > _MANY):
            return log, in_nu
        t = 2 / np.maximum(nu, _MANY)
        series = t * (-1 / 8 + t**2 * (1 / 192 + t**2 * (-1 / 640 + t**2 * 17 / 14336)))
        in_series = t**2 * (1 / 16 + t**2 * (-1 / 128 + t**2 * (1 / 256 - t**2 * 17 / 4096)))
        return np.where(nu > _MANY, series - 0.5 * _LOG_2PI, log), np.where(nu > _MANY, in_series, in_nu)

    @staticmethod
    def density(z: Array, nu: Any) -> tuple[Array, Array, Array | None]:
        """Log density, and its derivatives in z and in nu."""
        (peak, in_peak), half, square = StandardT.peak(nu), 0.5 * (nu + 1), z * z / nu
        spread = np.log(1 + square)  # in half the time of log1p; its absolute error is the rounding of 1
        pull = half / (1 + square)
        return peak - half * spread, -2 * pull * z / nu, in_peak - 0.5 * spread + pull * square / nu

    @staticmethod
    def below(z: Array, nu: Any) -> tuple[Array, Array, Array | None]:
        """Log distribution function, and its derivatives in z and in nu."""
        nu = np.asarray(nu, dtype=float)
        every = np.broadcast_arrays(np.asarray(z, dtype=float), nu, *StandardT.peak(nu))
        out = np.empty((3, *every[0].shape))
        student_kernels.below(*(np.ravel(part) for part in every), *out.reshape(3, -1))
        return out[0], out[1], out[2]

    @staticmethod
    def information(nu: Any) -> Any:
        """Fisher information on a shift."""
        return (nu + 1) / (nu + 3)

    @staticmethod
    def draw(size: tuple[int, ...], nu: Any, rng: np.random.Generator) -> Array:
        """Random numbers."""
        return np.asarray(rng.standard_normal(size) / np.sqrt(rng.chisquare(np.broadcast_to(nu, size)) / nu))

    @staticmethod
    def variance(nu: Any) -> Any:
        """Variance; infinite up to two degrees of freedom."""
        nu = np.asarray(nu, dtype=float)
        return np.where(nu > 2, nu / np.where(nu > 2, nu - 2, 1.0), np.inf)

    @staticmethod
    def cdf(z: Array, nu: Any) -> Array:
        """Distribution function."""
        return np.asarray(special.stdtr(nu, z))


NORMAL, STUDENT = StandardNormal(), StandardT()
Standard = StandardNormal | StandardT
