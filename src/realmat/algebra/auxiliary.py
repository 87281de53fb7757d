"""Auxiliary values that make Student t and censored parts conditionally Gaussian.

A Student t is a Gaussian whose variance is multiplied by a local factor, lambda ~ nu / chi^2_nu (Andrews & Mallows, J. R. Stat. Soc. B 36,
99, 1974); a censored value is a latent number beyond its limit (Tanner & Wong, J. Am. Stat. Assoc. 82, 528, 1987). Given psi and b both
are independent from row to row, so they need not be stored: they can be drawn again for any draw of (psi, b).
"""

from __future__ import annotations

import numpy as np
from scipy import special

from realmat.algebra.family import Family
from realmat.algebra.system import System
from realmat.terms import term as terms
from realmat.terms.term import Values

_SMALLEST = 1e-300


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
        sd = np.sqrt(family.variance(values))[family.key]
        nu = degrees(family, values)
        z = (family.y - mean) / sd
        if family.censored:
            side = np.asarray(family.noise.censored)
            rows = np.flatnonzero(side)
            z[rows] = _mean_beyond(z[rows], side[rows], family.count[rows], nu, rng)
            out[family.latent] = mean + sd * z + family.known + family.centre
        if family.noise.nu:
            out[family.local] = (nu + z * z) / (2 * rng.standard_gamma((nu + 1) / 2, len(z)))
    return out


def degrees(family: Family, values: Values) -> float:
    """Degrees of freedom; infinite for a normal."""
    return float(terms.degrees(family.noise.nu, values)) if family.noise.nu else np.inf


def _mean_beyond(limit: np.ndarray, side: np.ndarray, count: np.ndarray, nu: float, rng: np.random.Generator) -> np.ndarray:
    """Means of so many draws as a row stands for."""
    total = _beyond(limit, side, nu, rng)
    for k in range(1, int(count.max(initial=1))):
        more = count > k
        total[more] += _beyond(limit[more], side[more], nu, rng)
    return total / count


def _beyond(limit: np.ndarray, side: np.ndarray, nu: float, rng: np.random.Generator) -> np.ndarray:
    """Standard normal or t draws below (side -1) or above (side +1) a limit."""
    reach = -side * limit  # mirrored so that every draw lies below
    u = rng.random(len(limit))
    if np.isinf(nu):
        return -side * special.ndtri_exp(special.log_ndtr(reach) + np.log(u))
    return -side * special.stdtrit(nu, np.maximum(special.stdtr(nu, reach) * u, _SMALLEST))
