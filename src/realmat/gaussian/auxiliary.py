"""Auxiliary values that make Student t and censored parts conditionally Gaussian, and the densities with them integrated out.

A Student t is a Gaussian whose variance is multiplied by a local factor, lambda ~ nu / chi^2_nu (Andrews & Mallows, J. R. Stat. Soc. B 36,
99, 1974); a censored value is a latent number beyond its limit (Tanner & Wong, J. Am. Stat. Assoc. 82, 528, 1987). Given psi and b both
are independent from row to row, so they need not be stored: they can be drawn again for any draw of (psi, b).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from realmat.gaussian.family import Family
from realmat.gaussian.system import System
from realmat.terms import Values

_LOG_2PI = float(np.log(2 * np.pi))


def draw(system: System, values: Values, b: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Latent values and local factors given psi and b (natural order), by name, each of shape (rows,)."""
    return draw_centred(system, values, system.centre(b), rng)


def draw_centred(system: System, values: Values, centred: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """As `draw`, with b measured from the reference, in elimination order."""
    out: dict[str, np.ndarray] = {}
    for family in system.families:
        if not family.augmented:
            continue
        mean = family.offset(values) + family.at(values) @ centred
        sd = np.sqrt(family.variance(values)[family.key])
        nu = _nu(family, values)
        z = (family.y - mean) / sd
        if family.latent:
            side = np.asarray(family.noise.censored)
            rows = np.flatnonzero(side)
            z[rows] = _beyond(z[rows], side[rows], nu, rng)
            out[family.latent] = mean + sd * z + family.known + family.centre
        if family.local:
            out[family.local] = (nu + z**2) / rng.chisquare(nu + 1, len(z))
    return out


def _nu(family: Family, values: Values) -> float:
    return float(values[family.noise.nu]) if family.noise.nu else np.inf


def _beyond(limit: np.ndarray, side: np.ndarray, nu: float, rng: np.random.Generator) -> np.ndarray:
    """Standard normal or t draws below (side -1) or above (side +1) a limit."""
    reach = -side * limit  # mirrored so that every draw lies below
    u = rng.random(len(limit))
    if np.isinf(nu):
        return -side * special.ndtri_exp(special.log_ndtr(reach) + np.log(u))
    return -side * special.stdtrit(nu, np.maximum(special.stdtr(nu, reach) * u, 1e-300))


def log_local(system: System, values: Values) -> float:
    """log p(lambda | nu) of all local factors among the values."""
    total = 0.0
    for family in system.families:
        if family.local:
            half, factor = 0.5 * _nu(family, values), values[family.local]
            total += float(np.sum(half * np.log(half) - special.gammaln(half) - (half + 1) * np.log(factor) - half / factor))
    return total


def log_joint(system: System, values: Values, centred: np.ndarray) -> float:
    """log p(y, b | psi) with Student t densities and censored probabilities; b measured from the reference, in elimination order."""
    mean, precision = system.prior_moments(values)
    own = precision > 0
    total = 0.5 * float(np.sum(np.log(precision[own]) - _LOG_2PI - precision[own] * (centred[own] - mean[own]) ** 2))
    for family in system.families:
        residual = family.y - family.offset(values) - family.at(values) @ centred
        total += _log_density(family, residual, family.variance(values)[family.key], _nu(family, values))
    return total


def _log_density(family: Family, residual: np.ndarray, variance: np.ndarray, nu: float) -> float:
    if not family.augmented:
        squares = family.count * residual**2 + family.within
        return float(-0.5 * np.sum(family.count * (np.log(variance) + _LOG_2PI) + squares / variance))
    z = residual / np.sqrt(variance)
    log: Any = -0.5 * np.log(variance) + _log_standard(z, nu)
    if family.latent:
        side = np.asarray(family.noise.censored)
        tail = -side * z
        log = np.where(side == 0, log, special.log_ndtr(tail) if np.isinf(nu) else np.log(special.stdtr(nu, tail)))
    return float(np.sum(family.count * log))


def _log_standard(z: np.ndarray, nu: float) -> np.ndarray:
    if np.isinf(nu):
        return -0.5 * (z**2 + _LOG_2PI)
    constant = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * np.log(nu * np.pi)
    return constant - (nu + 1) / 2 * np.log1p(z**2 / nu)
