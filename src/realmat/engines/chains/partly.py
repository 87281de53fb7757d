"""Student t readings, with limits or without, of which some have a normal effect of their own, which is integrated out.

Whether such a reading is off by its effect or by its noise is a question with two answers, one for each reading: chains that hold the
effects go through the answers one by one, and all of them wait for the scales of both. The sum of the two has a density of its own
(`Blurred`, with effect and noise exchanged).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from realmat.engines.chains.blurred import Blurred
from realmat.terms.density import Array, Derivatives, Evaluated, Groups, Own, Summed
from realmat.terms.location_scale import Interval


@dataclass(frozen=True)
class Partly(Evaluated):
    """Own parameters `sd` of the effects, and `spread` and `nu` of the noise.

    Parameters
    ----------
    readings : Interval
        All rows as they would be without effects.
    single : int array
        Exact rows with an effect; the others have none.
    """

    readings: Interval
    single: Array
    names = ("sd", "spread", "nu")

    @cached_property
    def _parts(self) -> tuple[tuple[Array, Blurred], tuple[Array, Interval]]:
        one, others = np.ones(len(self.single)), np.setdiff1d(np.arange(len(self.readings.left)), self.single)
        return (self.single, Blurred(one, 0 * one)), (others, self.readings.take(others))

    def derivatives(self, y: Array, eta: Array, own: Own) -> Derivatives:
        """Log density and its first derivatives."""
        out = Derivatives(np.empty(eta.shape), np.empty(eta.shape), {name: np.zeros(eta.shape) for name in self.names})
        for rows, density in self._parts:
            one = density.derivatives(y[rows], eta[rows], _named(density, {name: _some(x, rows) for name, x in own.items()}))
            out.log[rows], out.eta[rows] = one.log, one.eta
            for name, x in _back(density, one.own).items():
                out.own[name][rows] = x
        return out

    def summed(self, y: Array, eta: Array, own: Own, groups: Mapping[str, Groups]) -> Summed:
        """What each part says of its rows."""
        n = eta.shape[1]
        log, in_eta, in_own = np.zeros(n), np.empty(eta.shape), {name: np.zeros((groups[name].count, n)) for name in self.names}
        for rows, density in self._parts:
            some = _named(density, {name: g.take(rows) for name, g in groups.items()})
            one = density.summed(y[rows], eta[rows], _named(density, own), some)
            log += one.log
            in_eta[rows] = one.eta
            for name, x in _back(density, one.own).items():
                in_own[name] += x
        return Summed(log, in_eta, in_own)

    def weight(self, y: Array, eta: Array, own: Own) -> Array:
        """Information on `eta`."""
        out = np.empty(eta.shape)
        for rows, density in self._parts:
            out[rows] = density.weight(y[rows], eta[rows], _named(density, {name: _some(x, rows) for name, x in own.items()}))
        return out

    def guess(self, y: Array) -> Array:
        """The readings."""
        return y

    def effects(self, y: Array, eta: Array, own: Own, rng: np.random.Generator) -> Array:
        """Draws of the effects given the readings, shape (rows, n); zero where there are none."""
        (rows, density), _ = self._parts
        out = np.zeros(eta.shape)
        noise = density.effects(y[rows], eta[rows], {name: _some(x, rows) for name, x in own.items()}, rng)
        out[rows] = y[rows, None] - eta[rows] - noise
        return out


def _some(x: Array, rows: Array) -> Array:
    """An own parameter of some rows."""
    return x[rows] if np.ndim(x) == 2 and len(x) > 1 else x


def _named[T](density: Blurred | Interval, own: Mapping[str, T]) -> Mapping[str, T]:
    """As the density calls them."""
    return own if isinstance(density, Blurred) else {"sd": own["spread"], "nu": own["nu"]}


def _back[T](density: Blurred | Interval, own: Mapping[str, T]) -> Mapping[str, T]:
    return own if isinstance(density, Blurred) else {"spread": own["sd"], "nu": own["nu"]}
