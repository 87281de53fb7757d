"""Coordinates for scales that add up: where a design tells their sum of squares alone, their ratios are free.

Every specimen measured once: the data know s_u^2 + s_n^2 of the unresolved rest and the noise. In logarithms of both scales that is a
bent ridge, which no few ellipsoids cover; in T = log sqrt(s_u^2 + s_n^2) and d = log(s_u / s_n) it is straight. With a = log s_u and
b = log s_n the map (a, b) -> (T, d) has the determinant -(s_u^2 + s_n^2) / (s_u^2 + s_n^2) = -1, so that densities carry over as they are.
Further scales join one after the other, from the level with the most values to that with the fewest: (T, c) -> (T', c - T).

Scales that many degrees of freedom tell apart stay apart: within a total, what is known well would be a bent sheet as thin as it is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from realmat.algebra.additive import additive
from realmat.algebra.space import Space
from realmat.terms.problem import Problem

_STRAIGHTER = 0.1  # of twice an entropy


@dataclass(frozen=True)
class Totals:
    """A total and ratios in place of the logarithms of scales that add up; all other coordinates stay.

    Attributes
    ----------
    lines : list of lists of int
        Coordinates of the scales that add up.
    unit : dict of int to float
        Logarithm of each scale where its coordinate is zero, less that of the first of its line.
    """

    lines: list[list[int]]
    unit: dict[int, float]

    @classmethod
    def of(cls, problem: Problem, space: Space) -> Totals:
        """All of a problem, in a space of its parameters, or of those and others, positive ones by their logarithms."""
        start = {q.name: where.start for q, where in zip(space.params, space.slices, strict=True)}
        every = [[start[name] for name in names if name in start] for part in problem.every for names in additive(part)]
        seen = Counter(place for line in every for place in line)  # a scale that properties share has no total of its own
        lines = [line for line in ([place for place in line if seen[place] == 1] for line in every) if len(line) > 1]
        one = Space.many(space, np.zeros((1, space.size)))[0]
        log = {start[q.name]: float(np.log(one[q.name][0])) for q in space.params if any(start[q.name] in line for line in lines)}
        return cls(lines, {place: log[place] - log[line[0]] for line in lines for place in line})

    def straighter(self, logs: np.ndarray) -> Totals:
        """The lines in which draws of the logarithms, shape (size, n), are more like draws of a normal.

        The map keeps volumes, and with them the entropy of the draws, which that of a normal of their covariance exceeds the less the more
        they are like it.
        """
        turned = self.turned(logs)
        before, after = ([np.linalg.slogdet(np.cov(x[line]))[1] for line in self.lines] for x in (logs, turned))
        return Totals([line for line, a, b in zip(self.lines, before, after, strict=True) if b < a - _STRAIGHTER], self.unit)

    def logarithms(self, x: np.ndarray) -> np.ndarray:
        """Of scales, from their total and ratios, shape (size, ...)."""
        out = x.copy()
        for first, *others in self.lines:
            total = out[first].copy()
            for place in reversed(others):
                ratio = out[place].copy()
                out[place] = total - 0.5 * np.logaddexp(0.0, -2 * ratio) - self.unit[place]
                total = total - 0.5 * np.logaddexp(0.0, 2 * ratio)
            out[first] = total - self.unit[first]
        return out

    def turned(self, logs: np.ndarray) -> np.ndarray:
        """The inverse of `logarithms`."""
        out = np.array(logs, dtype=float)
        for first, *others in self.lines:
            total = out[first] + self.unit[first]
            for place in others:
                scale = out[place] + self.unit[place]
                out[place], total = scale - total, 0.5 * np.logaddexp(2 * scale, 2 * total)
            out[first] = total
        return out

    def pull(self, x: np.ndarray, gradient: np.ndarray) -> None:
        """Turn a gradient in logarithms into that in totals and ratios x, in place, both of shape (size, n)."""
        for first, *others in self.lines:
            total = gradient[first].copy()
            for place in others:
                share = 1 / (1 + np.exp(2 * x[place]))
                own = gradient[place].copy()
                gradient[place] = own * share - total * (1 - share)
                total += own
            gradient[first] = total

    def push(self, x: np.ndarray, gradient: np.ndarray) -> None:
        """The inverse of `pull`."""
        for first, *others in self.lines:
            total = gradient[first].copy()
            for place in reversed(others):
                gradient[place] += total / (1 + np.exp(-2 * x[place]))
                total -= gradient[place]
            gradient[first] = total

    def slope(self, x: np.ndarray) -> np.ndarray:
        """Derivatives of the logarithms in totals and ratios, shape (size, size), at x of shape (size,)."""
        out = np.eye(len(x))
        self.pull(np.repeat(x[:, None], len(x), axis=1), out)
        return out.T


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
        self._totals = Totals.of(problem, self)
        self._chained = np.unique(np.concatenate([np.zeros(0, dtype=int), *self._totals.lines]))
        self._own = np.zeros(len(self._chained))
        if powers is not None:
            self._own, self.powers = powers[self._chained], powers.copy()
            self.powers[self._chained] = 0.0

    def _plain(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray | float]:
        """Logarithms of the scales in the places of their total and ratios, and the log volume of powers of these."""
        out, volume = np.array(thetas, dtype=float), 0.0
        if self._own.any():
            some, power = self._chained[self._own != 0], self._own[self._own != 0]
            seen = np.where(out[..., some] > 0, out[..., some], np.nan)
            out[..., some] = np.log(seen) / power
            volume = -np.log(np.abs(power) * seen).sum(axis=-1)
        return np.moveaxis(self._totals.logarithms(np.moveaxis(out, -1, 0)), 0, -1), volume

    def _turned(self, theta: np.ndarray) -> np.ndarray:
        """Inverse of `_plain`."""
        out = np.moveaxis(self._totals.turned(np.moveaxis(theta, -1, 0)), 0, -1)
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
