"""Coefficients with censored rows, drawn one by one with the latent values of those rows integrated out.

Latent values of a state's censored characterisations hold the state, and the state holds them: where several rows are censored, drawing one
given the other crawls (van Dyk & Meng, J. Comput. Graph. Stat. 10, 1, 2001). Given everything else, one coefficient has the density of a
normal times the probabilities of its censored rows; it is moved by Metropolis steps, all coefficients of a block side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from realmat.algebra.family import Family
from realmat.algebra.local_effects import LocalEffects
from realmat.algebra.system import System
from realmat.terms.term import Values

_ROUNDS = 2  # of one draw from the normal and one step nearby
_STEPS = (0.1, 2.0)  # their length, in standard deviations of the normal


@dataclass(frozen=True)
class _Touch:
    """Entries of a family's matrix that belong to a block: places in its data, rows, and coefficients by number in the block."""

    family: Family
    entries: np.ndarray
    rows: np.ndarray
    number: np.ndarray


@dataclass(frozen=True)
class _Tails:
    """Censored rows: coefficients by number, what rows leave for them, factors, noise sds, sides."""

    number: np.ndarray
    left: np.ndarray
    factor: np.ndarray
    sd: np.ndarray
    side: np.ndarray

    def log_probability(self, x: np.ndarray) -> np.ndarray:
        """Of all censored rows of each coefficient, at x."""
        z = (self.left - self.factor * x[self.number]) / self.sd
        return np.bincount(self.number, weights=special.log_ndtr(-self.side * z), minlength=len(x))


class Singles:
    """Moves of single coefficients.

    Parameters
    ----------
    system : System
    local : LocalEffects, optional
        Effects that are drawn elsewhere.
    """

    def __init__(self, system: System, local: LocalEffects | None = None) -> None:
        self.system = system
        elsewhere = np.zeros(system.size, dtype=bool)
        if local is not None:
            elsewhere[local.columns[local.chosen]] = True
        blocks = [system.place[where] for where in system.columns.values() if where.stop - where.start > 1]
        many = [columns[~elsewhere[columns]] for columns in blocks]
        found = [(columns, _touches(system, columns)) for columns in many]
        self.blocks = [(columns, touches) for columns, touches in found if touches is not None]

    def move(self, values: Values, b: np.ndarray, rng: np.random.Generator) -> None:
        """Move coefficients in place; b is measured from the reference, in elimination order.

        `values` holds psi and local factors. Latent values among them do not belong to the new b: draw them again.
        """
        for columns, touches in self.blocks:
            mean, sd, tails = self._given_others(columns, touches, values, b)
            x = b[columns]
            log_tail = tails.log_probability(x)
            for _ in range(_ROUNDS):
                for near in (False, True):
                    step = sd * (np.exp(rng.uniform(*np.log(_STEPS))) if near else 1.0)
                    there = (x if near else mean) + step * rng.standard_normal(len(x))
                    change = tails.log_probability(there) - log_tail
                    gain = change + 0.5 * (((x - mean) / sd) ** 2 - ((there - mean) / sd) ** 2) if near else change
                    taken = np.log(rng.random(len(x))) < gain
                    x, log_tail = np.where(taken, there, x), np.where(taken, log_tail + change, log_tail)
            b[columns] = x

    def _given_others(
        self, columns: np.ndarray, touches: list[_Touch], values: Values, b: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, _Tails]:
        """Mean and sd of each coefficient given all others and the rows that are not censored; and the censored rows."""
        n = len(columns)
        prior_mean, precision = (each[columns] for each in self.system.prior_moments(values))
        side = precision * prior_mean
        tails = []
        for touch in touches:
            family, rows, number = touch.family, touch.rows, touch.number
            matrix = family.at(values)
            factor = matrix.data[touch.entries]
            left = (family.y - family.offset(values) - matrix @ b)[rows] + factor * b[columns][number]
            variance = family.row_variance(values)[rows]
            beyond = np.asarray(family.noise.censored)[rows] if family.censored else np.zeros(len(rows))
            weight = np.where(beyond == 0, family.count[rows] / variance, 0.0) * factor
            precision = precision + np.bincount(number, weights=weight * factor, minlength=n)
            side = side + np.bincount(number, weights=weight * left, minlength=n)
            hidden = beyond != 0
            tails.append((number[hidden], left[hidden], factor[hidden], np.sqrt(variance[hidden]), beyond[hidden]))
        return side / precision, 1 / np.sqrt(precision), _Tails(*(np.concatenate(parts) for parts in zip(*tails, strict=True)))


def _touches(system: System, columns: np.ndarray) -> list[_Touch] | None:
    """Where a block's coefficients stand; None where no row of theirs is censored or a row has two of them."""
    number = np.full(system.size, -1)
    number[columns] = np.arange(len(columns))
    out, hidden = [], False
    for family in system.families:
        entries, rows = family.entries(number >= 0)
        if len(np.unique(rows)) < len(rows):
            return None
        out.append(_Touch(family, entries, rows, number[family.matrix.indices[entries]]))
        hidden |= family.censored and bool(np.any(np.asarray(family.noise.censored)[rows] != 0))
    return out if hidden else None
