"""How nearly draws of positive numbers are those of a normal, as logarithms or as powers of them.

A scale that the data leave free to be zero has an endless tail in its logarithm, but none in its root. One that few groups determine has
a long tail to large values in either, and none in a negative power: the cube root of a precision is nearly normal (Wilson & Hilferty, PNAS
17, 684, 1931). The power is the one that Box & Cox, J. R. Stat. Soc. B 26, 211 (1964), call most likely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POWERS = (0.0, 1 / 4, 1 / 2, 3 / 4, 1.0, -1 / 3, -2 / 3, -1.0)
_NOTHING = 1e-12  # of a weight
_ALIKE = 1e-20  # of a mean square: the variance of draws that are one number


@dataclass(frozen=True)
class Turned:
    """Draws of a logarithm in a power of its exponential, about their mean, and the mean log volume of the map to these.

    Attributes
    ----------
    excess : float
        Entropy of a normal as wide as the draws, less what the map adds to theirs: the less, the more they are like it.
    """

    power: float
    away: np.ndarray
    volume: float
    excess: float

    @classmethod
    def by(cls, power: float, logs: np.ndarray, weights: np.ndarray) -> Turned:
        with np.errstate(all="ignore"):  # a power may be no number that there is
            y = np.exp(power * logs) if power else logs
            away = y - weights @ y
            volume = float(np.log(abs(power)) + power * (weights @ logs)) if power else 0.0
            variance, square = float(weights @ away**2), float(weights @ y**2)
        spread = _ALIKE * square < variance < np.inf
        return cls(power, away, volume, 0.5 * np.log(variance) - volume if spread else np.inf)

    @classmethod
    def best(cls, logs: np.ndarray, weights: np.ndarray, powers: tuple[float, ...] = POWERS) -> Turned:
        """Of some powers; the first of them where draws do not differ."""
        return min((cls.by(power, logs, weights) for power in powers), key=lambda turned: turned.excess)


def powers(thetas: np.ndarray, weights: np.ndarray, some: np.ndarray) -> np.ndarray:
    """The best power of each coordinate, shape (size,), of weighted draws (n, size); 0 of all that are not `some`."""
    out = np.zeros(thetas.shape[1])
    for k in some:
        out[k] = Turned.best(thetas[:, k], weights).power
    return out


def told(thetas: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Those draws that weigh anything, and their weights."""
    seen = (weights > _NOTHING) & np.isfinite(thetas).all(axis=1)
    return thetas[seen], weights[seen] / weights[seen].sum()
