"""Auxiliary values that make Student t and censored parts conditionally Gaussian, and the densities with them integrated out.

A Student t is a Gaussian whose variance is multiplied by a local factor, lambda ~ nu / chi^2_nu (Andrews & Mallows, J. R. Stat. Soc. B 36,
99, 1974); a censored value is a latent number beyond its limit (Tanner & Wong, J. Am. Stat. Assoc. 82, 528, 1987). Given psi and b both
are independent from row to row, so they need not be stored: they can be drawn again for any draw of (psi, b).
"""

from __future__ import annotations

import numpy as np
from scipy import special

from realmat.algebra.family import Family
from realmat.algebra.lifted import Batch
from realmat.algebra.system import System
from realmat.terms import term as terms
from realmat.terms.term import Values

_LOG_2PI = float(np.log(2 * np.pi))
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


class LocalPrior:
    """log p(lambda | nu) of all local factors, at many nu: of the factors it needs two sums.

    Parameters
    ----------
    system : System
    factors : mapping of name to array of shape (rows, n)
    """

    def __init__(self, system: System, factors: Batch) -> None:
        self._sums = [
            (family, len(own), np.log(own).sum(axis=0), (1 / own).sum(axis=0))
            for family in system.families
            if family.noise.nu
            for own in [factors[family.local]]
        ]

    def log(self, values: Batch, n: int) -> np.ndarray | float:
        """At `n` values of psi, the last axis of `values`: a multiple of the sets of factors, which repeat."""
        total: np.ndarray | float = 0.0
        for family, size, logs, inverses in self._sums:
            assert family.noise.nu is not None
            half = 0.5 * terms.degrees(family.noise.nu, values)
            total = (
                total
                + size * (half * np.log(half) - special.gammaln(half))
                - (half + 1) * np.tile(logs, n // len(logs))
                - half * np.tile(inverses, n // len(inverses))
            )
        return total


def log_density(family: Family, residual: np.ndarray, variance: np.ndarray, nu: float) -> float:
    """log p(rows | b, psi) at ``y - E[y | b, psi]``, local factors and latent values integrated out; `variance` by key."""
    by_row = variance[family.key]
    if not family.augmented:
        squares = family.count * residual**2 + family.within
        return float(-0.5 * np.sum(family.count * (np.log(by_row) + _LOG_2PI) + squares / by_row))
    z = residual / np.sqrt(by_row)
    if not family.censored:
        return log_standard(z, nu) - 0.5 * float(np.log(by_row).sum())
    side = np.asarray(family.noise.censored)
    seen = side == 0
    tails = log_distribution(-side[~seen] * z[~seen], nu)
    return log_standard(z[seen], nu) - 0.5 * float(np.log(by_row[seen]).sum()) + float(tails.sum())


def log_standard(z: np.ndarray, nu: float) -> float:
    """Log density of independent standard normal (infinite nu) or Student t numbers."""
    if np.isinf(nu):
        return -0.5 * (float(z @ z) + len(z) * _LOG_2PI)
    constant = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * np.log(nu * np.pi)
    return float(len(z) * constant - (nu + 1) / 2 * np.log1p(z * z / nu).sum())


def log_distribution(x: np.ndarray, nu: float) -> np.ndarray:
    """Log distribution function of a standard normal or Student t."""
    return np.asarray(special.log_ndtr(x) if np.isinf(nu) else np.log(np.maximum(special.stdtr(nu, x), _SMALLEST)))
