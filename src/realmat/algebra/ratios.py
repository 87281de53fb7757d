"""Coordinates for scales that add up: where a design tells their sum of squares alone, their ratios are free.

Every specimen measured once: the data know s_u^2 + s_n^2 of the unresolved rest and the noise. In logarithms of both scales that is a
bent ridge, which no few ellipsoids cover; in T = log sqrt(s_u^2 + s_n^2) and d = log(s_u / s_n) it is straight. With a = log s_u and
b = log s_n the map (a, b) -> (T, d) has the determinant -(s_u^2 + s_n^2) / (s_u^2 + s_n^2) = -1, so that densities carry over as they are.
Further scales join one after the other, from the level with the most values to that with the fewest: (T, c) -> (T', c - T).

Scales that the design tells apart stay apart: within a total, what is known well would be a bent sheet as thin as it is known. Once
there are draws, these say which scales are told by their total alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from realmat.algebra import normal
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
        one = Space(space.params).many(np.zeros((1, space.size)))[0]
        log = {start[q.name]: float(np.log(one[q.name][0])) for q in space.params if any(start[q.name] in line for line in lines)}
        return cls(lines, {place: log[place] - log[line[0]] for line in lines for place in line})

    def straighter(self, logs: np.ndarray, weights: np.ndarray | None = None, powers: tuple[float, ...] = (0.0,)) -> Totals:
        """The lines, or parts of them, in which draws of the logarithms, shape (size, n), are more like draws of a normal.

        The map keeps volumes, and with them the entropy of the draws, which that of a normal of their covariance exceeds the less the more
        they are like it. Each scale in turn joins those before it, or a total that is made of some of them, or stays alone; totals, ratios
        and scales may be taken in `powers`.
        """
        weights = np.full(logs.shape[1], 1 / logs.shape[1]) if weights is None else weights
        lines = []
        for line in self.lines:
            groups: list[list[int]] = []
            for place in line:
                alone = [*groups, [place]]
                others = [[*groups[:k], [*group, place], *groups[k + 1 :]] for k, group in enumerate(groups)]
                excess = self._excess(alone, logs, weights, powers) - _STRAIGHTER
                costs = [self._excess(other, logs, weights, powers) for other in others]
                groups = others[int(np.argmin(costs))] if costs and min(costs) < excess else alone
            lines += [group for group in groups if len(group) > 1]
        return Totals(lines, self.unit)

    def _excess(self, groups: list[list[int]], logs: np.ndarray, weights: np.ndarray, powers: tuple[float, ...]) -> float:
        """Twice the entropy of a normal as wide as the draws of scales, those of each group as their total and ratios."""
        turned = Totals([group for group in groups if len(group) > 1], self.unit).turned(logs)
        best = [normal.Turned.best(turned[place], weights, powers) for group in groups for place in group]
        away = np.array([one.away for one in best])
        return float(np.linalg.slogdet((away * weights) @ away.T)[1] - 2 * sum(one.volume for one in best))

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
    """As `Space`, with totals and ratios in place of scales that add up in each measured property.

    Parameters
    ----------
    problem : Problem
    powers : array of shape (size,), optional
        As of `Space`; of scales that add up, powers of their total and of their ratios.
    totals : Totals, optional
        Some of the problem's, not all of them.
    """

    def __init__(self, problem: Problem, powers: np.ndarray | None = None, totals: Totals | None = None) -> None:
        super().__init__(problem.params, powers)
        self._problem = problem
        self.totals = Totals.of(problem, self) if totals is None else totals

    def plain(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray | float]:
        """See `Space.plain`: logarithms of scales in the places of their total and ratios."""
        out, volume = super().plain(thetas)
        with np.errstate(all="ignore"):
            return self.totals.logarithms(out.T).T, volume

    def turned(self, plain: np.ndarray) -> np.ndarray:
        """See `Space.turned`."""
        return super().turned(self.totals.turned(plain.T).T)

    def slope(self, theta: np.ndarray) -> np.ndarray:
        """See `Space.slope`."""
        return self.totals.slope(super().plain(theta[None])[0][0]) @ super().slope(theta)

    def straighter(self, thetas: np.ndarray, weights: np.ndarray, some: np.ndarray) -> Space:
        """See `Space.straighter`: totals too are kept where draws are straighter in them."""
        logs, weights = normal.told(self.plain(thetas)[0], weights)
        totals = self.totals.straighter(logs.T, weights, normal.POWERS)
        powers = normal.powers(totals.turned(logs.T).T, weights, np.intersect1d(some, np.flatnonzero(self.positive)))
        same = totals.lines == self.totals.lines and np.array_equal(powers, self.powers)
        return self if same else Ratios(self._problem, powers, totals)
