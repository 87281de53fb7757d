"""Coordinates for scales that add up: where a design tells their sum of squares alone, their ratios are free.

Every specimen measured once: the data know s_u^2 + s_n^2 of the unresolved rest and the noise. In logarithms of both scales that is a
bent ridge, which no few ellipsoids cover; in T = log sqrt(s_u^2 + s_n^2) and d = log(s_u / s_n) it is straight. With a = log s_u and
b = log s_n the map (a, b) -> (T, d) has the determinant -(s_u^2 + s_n^2) / (s_u^2 + s_n^2) = -1, so that densities carry over as they are.
Further scales join one after the other, from the level with the most values to that with the fewest: (T, c) -> (T', c - T).

Scales that many degrees of freedom tell apart stay apart: within a total, what is known well would be a bent sheet as thin as it is known.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from realmat.algebra.additive import additive
from realmat.algebra.space import Space
from realmat.terms.problem import Problem


class Ratios(Space):
    """As `Space`, with a total and ratios in place of the scales that add up in each measured property.

    Parameters
    ----------
    problem : Problem
    powers : array of shape (size,), optional
        As of `Space`; of scales that add up, powers of their total and of their ratios.
    """

    def __init__(self, problem: Problem, powers: np.ndarray | None = None) -> None:
        super().__init__(problem.params)
        start = {q.name: where.start for q, where in zip(self.params, self.slices, strict=True)}
        lines = [names for part in problem.every for names in additive(part) if len(names) > 1]
        self._chains = [[start[name] for name in names] for names in lines]
        self._chained = np.unique(np.concatenate([np.zeros(0, dtype=int), *self._chains]))
        self._unit = self._units()  # of each scale, in that of the first of its chain
        self._own = np.zeros(len(self._chained))
        if powers is not None:
            self._own, self.powers = powers[self._chained], powers.copy()
            self.powers[self._chained] = 0.0

    def _units(self) -> dict[int, float]:
        """Logarithm of the value at which a scale's own logarithm is zero, less that of the first scale it adds up with."""
        one = super().many(np.zeros((1, self.size)))[0]
        log = {
            where.start: float(np.log(one[q.name][0]))
            for q, where in zip(self.params, self.slices, strict=True)
            if q.coords is None and any(where.start in chain for chain in self._chains)
        }
        return {place: log[place] - log[chain[0]] for chain in self._chains for place in chain}

    def _plain(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray | float]:
        """Logarithms of the scales in the places of their total and ratios, and the log volume of powers of these."""
        out, volume = np.array(thetas, dtype=float), 0.0
        if self._own.any():
            some, power = self._chained[self._own != 0], self._own[self._own != 0]
            seen = np.where(out[..., some] > 0, out[..., some], np.nan)
            out[..., some] = np.log(seen) / power
            volume = -np.log(np.abs(power) * seen).sum(axis=-1)
        for first, *others in self._chains:
            total = out[..., first].copy()
            for place in reversed(others):
                ratio = out[..., place].copy()
                out[..., place] = total - 0.5 * np.logaddexp(0.0, -2 * ratio) - self._unit[place]
                total = total - 0.5 * np.logaddexp(0.0, 2 * ratio)
            out[..., first] = total - self._unit[first]
        return out, volume

    def _turned(self, theta: np.ndarray) -> np.ndarray:
        """Inverse of `_plain`."""
        out = np.array(theta, dtype=float)
        for first, *others in self._chains:
            total = out[..., first] + self._unit[first]
            for place in others:
                scale = out[..., place] + self._unit[place]
                out[..., place], total = scale - total, 0.5 * np.logaddexp(2 * scale, 2 * total)
            out[..., first] = total
        out[..., self._chained] = np.where(self._own != 0, np.exp(self._own * out[..., self._chained]), out[..., self._chained])
        return out

    def many(self, thetas: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Parameters by name and log prior densities at thetas of shape (n, size); values have the batch as last axis."""
        with np.errstate(all="ignore"):
            plain, volume = self._plain(thetas)
        values, log = super().many(plain)
        return values, log + volume

    def thetas(self, values: Mapping[str, np.ndarray], n: int) -> np.ndarray:
        """Inverse of `named`: theta, shape (n, size), from values of shape (n,), or (n, size of a vector)."""
        return self._turned(super().thetas(values, n))

    @property
    def logarithmic(self) -> np.ndarray:
        """Which coordinates are logarithms of scales, of their sums or of their ratios, shape (size,)."""
        out = super().logarithmic
        out[self._chained] = self._own == 0
        return out
