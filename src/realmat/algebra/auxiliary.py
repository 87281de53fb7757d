"""Auxiliary values that make Student t and censored parts conditionally Gaussian.

A Student t is a Gaussian whose variance is multiplied by a local factor, lambda ~ nu / chi^2_nu (Andrews & Mallows, J. R. Stat. Soc. B 36,
99, 1974); a censored value is a latent number beyond its limit (Tanner & Wong, J. Am. Stat. Assoc. 82, 528, 1987). Given psi and b both
are independent from row to row, so they need not be stored: they can be drawn again for any draw of (psi, b).
"""

from __future__ import annotations

import numpy as np
from scipy import special

from realmat.algebra.row_block import RowBlock
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
    for row_block in system.row_blocks:
        if not row_block.augmented:
            continue
        mean = row_block.offset(values) + row_block.at(values) @ centred
        sd = np.sqrt(row_block.variance(values))[row_block.key]
        nu = degrees(row_block, values)
        z = (row_block.y - mean) / sd
        if row_block.censored:
            side = np.asarray(row_block.noise.censored)
            rows = np.flatnonzero(side)
            z[rows] = _mean_beyond(z[rows], side[rows], row_block.count[rows], nu, rng)
            out[row_block.latent] = mean + sd * z + row_block.known + row_block.centre
        if row_block.noise.nu:
            out[row_block.local] = (nu + z * z) / (2 * rng.standard_gamma((nu + 1) / 2, len(z)))
    return out


def degrees(row_block: RowBlock, values: Values) -> float:
    """Degrees of freedom; infinite for a normal."""
    return float(terms.degrees(row_block.noise.nu, values)) if row_block.noise.nu else np.inf


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
