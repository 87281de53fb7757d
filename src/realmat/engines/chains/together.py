"""Normal readings, some known only to lie beyond limits, of which some have a normal effect of their own beside the noise.

Effect and noise of such a reading add up to one normal number; which of the two it is, nothing tells. Chains that hold the effects follow
them into ever smaller noise. The sum is integrated as it stands, and the effect drawn given the reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import log_ndtr, ndtri_exp

from realmat.terms.density import Array, Density, Derivatives, Evaluated, Own


@dataclass(frozen=True)
class Together(Evaluated):
    """Own parameters `sd` of the noise and `spread` of the effects.

    Parameters
    ----------
    readings : Density
        Of the readings without effects, own parameter `sd`.
    side : array of shape (rows,)
        0 where a reading is exact, -1 where the true value lies below, +1 above.
    single : int array
        Rows with an effect; the others have none.
    """

    readings: Density
    side: Array
    single: Array
    names = ("sd", "spread")

    @cached_property
    def _has(self) -> Array:
        """1 where there is an effect, shape (rows, 1)."""
        out = np.zeros((len(self.side), 1))
        out[self.single] = 1.0
        return out

    def _sum(self, own: Own) -> tuple[Array, Array]:
        """Standard deviations of the effects, zero where there are none, and of noise and effect together, both of shape (rows, n)."""
        spread = self._has * own["spread"]
        return spread, np.sqrt(np.square(own["sd"]) + np.square(spread))

    def derivatives(self, y: Array, eta: Array, own: Own) -> Derivatives:
        """Log density and its first derivatives."""
        spread, both = self._sum(own)
        one = self.readings.derivatives(y, eta, {"sd": both})
        pull = one.own["sd"] / both
        return Derivatives(one.log, one.eta, {"sd": pull * own["sd"], "spread": pull * spread})

    def weight(self, y: Array, eta: Array, own: Own) -> Array:
        """Information on `eta`."""
        return self.readings.weight(y, eta, {"sd": self._sum(own)[1]})

    def guess(self, y: Array) -> Array:
        """The readings."""
        return y

    def effects(self, y: Array, eta: Array, own: Own, rng: np.random.Generator) -> Array:
        """Draws of the effects given the readings, shape (rows, n); zero where there are none."""
        spread, both = self._sum(own)
        away = (y[:, None] - eta) / both
        for sign in (-1, 1):  # a normal number below a limit, or above it by mirroring
            rows = np.flatnonzero(self.side == sign)
            chance = np.log(rng.random((len(rows), eta.shape[1])))
            away[rows] = -sign * ndtri_exp(chance + log_ndtr(-sign * away[rows]))
        share = spread / both
        left = np.broadcast_to(own["sd"], eta.shape) / both * rng.standard_normal(eta.shape)
        return np.asarray(spread * (share * away + left))
