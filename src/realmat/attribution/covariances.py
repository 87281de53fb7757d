"""Covariances of a target with what could be measured, hyperparameters included, and the greedy choice of a batch by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from realmat.attribution.candidates import Lines
from realmat.posterior.draws import Posterior
from realmat.terms.problem import nonlinear_terms

_DRAWS, _FEW_DRAWS, _BENT_DRAWS = 200, 100, 2000
_MANY = 10_000  # coefficients, from which on fewer draws do: so many effects leave their scales little room
_NONE = 1e-9  # of an even share: a draw that counts less is not looked at


class Sums:
    """Posterior covariances of the target (t rows) and the candidates (c of them), hyperparameters included.

    Attributes
    ----------
    cross : array of shape (t, c)
    variance : array of shape (c,)
        Of a measurement of each candidate, noise included.
    target : array of shape (t,)
    mean : array of shape (t,)
        Of the target rows, on the scale of the link.
    """

    def __init__(self, posterior: Posterior, lines: list[Lines], moments: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]) -> None:
        self.posterior, self.lines = posterior, lines
        self.cross, self.variance, self.target, self.mean = moments

    @classmethod
    def of(cls, posterior: Posterior, goal: Lines, lines: list[Lines]) -> Sums:
        """Of a target and its candidates."""
        return cls(posterior, lines, covariances(posterior, [goal], lines))

    @classmethod
    def alone(cls, posterior: Posterior, goal: Lines) -> Sums:
        """Of a target by itself."""
        _, _, target, mean = covariances(posterior, [goal], [])
        return cls(posterior, [], (np.zeros((len(goal), 0)), np.zeros(0), target, mean))

    def with_one(self, k: int) -> np.ndarray:
        """Covariance of every candidate with another, independent measurement of candidate `k`, shape (c,)."""
        which, inside = locate(self.lines, k)
        return covariances(self.posterior, self.lines, [self.lines[which].some(np.array([inside]))])[0][:, 0]


def locate(lines: Sequence[Lines], k: int) -> tuple[int, int]:
    """Which of the lines holds candidate `k`, and where in it."""
    ends = np.cumsum([len(line) for line in lines])
    which = int(np.searchsorted(ends, k, side="right"))
    return which, int(k - (ends[which] - len(lines[which])))


def covariances(
    posterior: Posterior, left: Sequence[Lines], right: Sequence[Lines]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Covariance of the noiseless left with the noiseless right, variance of measured right, variance and mean of noiseless left."""
    sizes = sum(map(len, left)), sum(map(len, right))
    bent = bool(nonlinear_terms(posterior.problem))
    indices = posterior.thin(_BENT_DRAWS if bent else _DRAWS if posterior.system.size < _MANY else _FEW_DRAWS)
    n = len(indices)
    cross, v_right, v_left = np.zeros(sizes), np.zeros(sizes[1]), np.zeros(sizes[0])
    if bent:
        m_left, m_right = (np.hstack([np.zeros((n, 0)), *(e.draws(posterior, indices) for e in side)]) for side in (left, right))
    else:
        m_left, m_right = np.zeros((n, sizes[0])), np.zeros((n, sizes[1]))
    stacked = _Stacked(), _Stacked()
    weight = np.ones(n) if posterior.weights is None else posterior.weights[indices]
    weight = weight / weight.sum()
    for d in np.flatnonzero(weight > _NONE / n):
        values, share = posterior.values(int(indices[d])), float(weight[d])
        if not bent:
            _conditional(posterior, values, share, (left, right), stacked, (cross, v_left, v_right), (m_left[d], m_right[d]))
        _add_shared(left, right, values, share, cross)
        v_left += share * np.concatenate([_fresh_variance(line, values) for line in left])
        v_right += share * np.concatenate([np.zeros(0), *(_fresh_variance(e, values) + e.noise(posterior, values) for e in right)])
    mean = weight @ m_left
    m_left, m_right = m_left - mean, m_right - weight @ m_right
    v_right, v_left = v_right + weight @ m_right**2, v_left + weight @ m_left**2
    return cross + (weight[:, None] * m_left).T @ m_right, v_right, v_left, mean


class _Stacked:
    """Matrices one above the other, made once where they stay the same from psi to psi."""

    def __init__(self) -> None:
        self._parts: list[Any] = []
        self._whole: Any = None

    def of(self, parts: list[Any]) -> Any:
        """The whole of some parts."""
        from scipy import sparse

        if [id(part) for part in parts] != [id(part) for part in self._parts]:
            self._parts, self._whole = parts, sparse.vstack(parts, format="csr") if len(parts) > 1 else parts[0]
        return self._whole


def _conditional(
    posterior: Posterior,
    values: Mapping[str, Any],
    share: float,
    sides: tuple[Sequence[Lines], Sequence[Lines]],
    stacked: tuple[_Stacked, _Stacked],
    sums: tuple[np.ndarray, np.ndarray, np.ndarray],
    means: tuple[np.ndarray, np.ndarray],
) -> None:
    """Add the covariances given psi, times `share`, to `sums` (cross, left, right), and write the means given psi into `means`."""
    at = posterior.system.at(values)
    halves = []
    for side, whole, mean, total in zip(sides, stacked, means, sums[1:], strict=True):
        if not side:
            return
        made = [line.at(posterior, values) for line in side]
        x = whole.of([m for m, _ in made])
        mean[:] = x @ at.mean + np.concatenate([offset for _, offset in made])
        halves.append(at.halves(x))
        total += share * halves[-1].variances()
    halves[0].scaled(share).add_covariance(halves[1], sums[0])


def _fresh_variance(line: Lines, values: Mapping[str, Any]) -> np.ndarray:
    return sum((sd**2 for _, sd in line.fresh(values)), np.zeros(len(line)))


def _add_shared(left: Sequence[Lines], right: Sequence[Lines], values: Mapping[str, Any], share: float, cross: np.ndarray) -> None:
    """Add the covariance through what the coefficients do not hold."""
    ends = np.cumsum([len(line) for line in left]), np.cumsum([len(line) for line in right])
    for a, i in zip(left, ends[0], strict=True):
        for b, j in zip(right, ends[1], strict=True):
            own = a.shared(b, values)
            if own is not None:
                cross[i - len(a) : i, j - len(b) : j] += share * own


Gain = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""``(cross, variance, target) -> (c,)``: what measuring each candidate is worth, at covariances as in `Sums`."""


Allowed = Callable[[Sequence[int]], np.ndarray]
"""From the candidates chosen so far to those that may follow, bool array of shape (c,)."""


def greedy(
    sums: Sums, cost: np.ndarray, batch: int, gain: Gain, allowed: Allowed | None = None
) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Choose one after the other by gain per cost, updating all covariances by rank one; what is not done `once` may be chosen again.

    Returns
    -------
    chosen, gains, u : list of int, arrays of shape (batch,)
        The candidates (fewer than `batch` where no more are allowed), what each adds to those before, and the standard uncertainty of its
        measurement.
    """
    cross, variance, target = sums.cross.copy(), sums.variance.copy(), sums.target.copy()
    chosen: list[int] = []
    falls: list[float] = []
    spreads: list[float] = []
    steps: list[np.ndarray] = []
    once = np.repeat([line.once for line in sums.lines], [len(line) for line in sums.lines])
    for left in range(batch, 0, -1):
        open_ = np.ones(len(cost), dtype=bool) if allowed is None else allowed(chosen)
        open_[[k for k in chosen if once[k]]] = False
        if not open_.any():
            break
        fall = gain(cross, variance, target)
        k = int(np.argmax(np.where(open_, fall / cost, -np.inf)))
        chosen.append(k)
        falls.append(fall[k])
        spreads.append(np.sqrt(variance[k]))
        if left == 1:
            break
        own = sums.with_one(k) - sum((step * step[k] for step in steps), np.zeros(len(variance)))
        step = own / np.sqrt(variance[k])
        told = cross[:, k] / np.sqrt(variance[k])
        cross, target = cross - np.outer(told, step), np.maximum(target - told**2, 0.0)
        variance = np.maximum(variance - step**2, 0.0)
        steps.append(step)
    return chosen, np.array(falls), np.array(spreads)
