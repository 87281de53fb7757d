"""Bent and fanning ridges of hyperparameters made straight: each coordinate is a quadratic of those before it, and as wide as they say.

A spread that two scales share, or two parameters of a curve, tells chains of one narrow ridge that turns and opens, for which no one step
is right. In coordinates v with ``z_k = m_k(z_<k) + exp(s_k(z_<k)) h_k(v_k)``, m quadratic, s linear and ``h = v + a (sqrt(1 + v^2) - c)``
of mean zero, all learnt from where chains have been, it is round. The map is triangular, and its volume goes into the density
(transport maps: Parno & Marzouk, SIAM/ASA Journal on Uncertainty Quantification 6, 645, 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_REACH = 8.0  # standard deviations at which quadratics and widths level off: those that go on overshoot in tails, where little is learnt
_MOST = 16  # coordinates: the regressions grow with their fifth power
_EACH = 3.0  # independent draws for each number that is learnt
_EVIDENT = 4.0  # of a log likelihood, from which something is skewed
_SKEWS = np.setdiff1d(np.arange(-8, 9), 0) / 10
_NORMAL, _WEIGHTS = np.polynomial.hermite_e.hermegauss(41)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_MIDDLE = float(_WEIGHTS @ np.sqrt(1 + _NORMAL**2))
_NOISE = 4.93  # variance of the logarithm of a squared standard normal
_STIFF = 6.0  # times as much is asked of widths that differ: few draws see more of it than there is


@dataclass(frozen=True)
class Passage:
    """What a map met on its way: soft coordinates with their slopes, widths, h of v, and its slope with the slope of its logarithm."""

    soft: np.ndarray
    slope: np.ndarray
    width: np.ndarray
    away: np.ndarray
    rise: np.ndarray
    turn: np.ndarray


@dataclass(frozen=True)
class Bend:
    """A map learnt from draws.

    Attributes
    ----------
    mean, sd : arrays of shape (size,)
    order : tuple of int
        Coordinates, each a function of those before it and its own v.
    level, log_width, skew : arrays of shape (size,)
    linear, fan : arrays of shape (size, size)
        Of each coordinate: weights of those before it in its mean, and of the soft ones in its log width.
    square : array of shape (size, size, size)
        Of each coordinate: weights of products of soft ones in its mean, symmetric.
    """

    mean: np.ndarray
    sd: np.ndarray
    order: tuple[int, ...]
    level: np.ndarray
    log_width: np.ndarray
    skew: np.ndarray
    linear: np.ndarray
    fan: np.ndarray
    square: np.ndarray

    def bent(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, Passage]:
        """Coordinates from v, both of shape (size, n), the log volume, and what `pull` needs."""
        (z, soft, slope, width), (away, rise, turn) = (np.zeros_like(v) for _ in range(4)), _skewed(v, self.skew[:, None])
        for k in self.order:
            width[k] = np.exp(self.log_width[k] + self.fan[k] @ soft)
            z[k] = self._middle(k, z, soft) + width[k] * away[k]
            soft[k], slope[k] = softened(z[k])
        passage = Passage(soft, slope, width, away, rise, turn)
        return self.mean[:, None] + self.sd[:, None] * z, self.volume(passage), passage

    def volume(self, passage: Passage) -> np.ndarray:
        """Log determinant of the map from v, shape (n,)."""
        return np.asarray(np.log(passage.width * passage.rise).sum(axis=0) + np.log(self.sd).sum())

    def straight(self, x: np.ndarray) -> tuple[np.ndarray, Passage]:
        """The inverse of `bent`."""
        z = (x - self.mean[:, None]) / self.sd[:, None]
        soft, slope = softened(z)
        width = np.exp(self.log_width[:, None] + self.fan @ soft)
        away = np.array([(z[k] - self._middle(k, z, soft)) / width[k] for k in range(len(z))])
        v = _even(away, self.skew[:, None])
        return v, Passage(soft, slope, width, *_skewed(v, self.skew[:, None]))

    def pull(self, passage: Passage, gradient: np.ndarray) -> np.ndarray:
        """The gradient in v from that in the coordinates, the log volume included."""
        whole, out = self.sd[:, None] * gradient, np.empty(gradient.shape)
        for k in reversed(self.order):
            out[k] = whole[k] * passage.width[k] * passage.rise[k] + passage.turn[k]
            whole += self._before(k, passage, whole[k])
        return out

    def push(self, passage: Passage, gradient: np.ndarray) -> np.ndarray:
        """The inverse of `pull`."""
        whole, before = (gradient - passage.turn) / (passage.width * passage.rise), np.zeros(gradient.shape)
        for k in reversed(self.order):
            before += self._before(k, passage, whole[k])
        return (whole - before) / self.sd[:, None]

    def _middle(self, k: int, z: np.ndarray, soft: np.ndarray) -> np.ndarray:
        return np.asarray(self.level[k] + self.linear[k] @ z + np.einsum("in,ij,jn->n", soft, self.square[k], soft))

    def _before(self, k: int, passage: Passage, whole: np.ndarray) -> np.ndarray:
        """What the gradient in coordinate k, and its width in the volume, mean for those before it."""
        of_mean = self.linear[k][:, None] + 2 * (self.square[k] @ passage.soft) * passage.slope
        of_width = self.fan[k][:, None] * passage.slope
        return np.asarray(whole * of_mean + (whole * passage.width[k] * passage.away[k] + 1) * of_width)


def softened(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """z, levelling off at its reach, and its slope."""
    inverse = 1 / np.sqrt(1 + (z / _REACH) ** 2)
    return z * inverse, inverse**3


def quadratic(z: np.ndarray, soft: np.ndarray) -> np.ndarray:
    """1, coordinates z of shape (size, n), and products of two soft ones: shape (terms, n)."""
    first, second = np.triu_indices(len(z))
    return np.concatenate([np.ones((1, z.shape[1])), z, soft[first] * soft[second]])


def _skewed(v: np.ndarray, skew: np.ndarray | float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """h of v, its slope, and the slope of the logarithm of that."""
    root = np.sqrt(1 + v * v)
    rise = 1 + skew * v / root
    return v + skew * (root - _MIDDLE), rise, skew / (root**3 * rise)


def _even(away: np.ndarray, skew: np.ndarray | float) -> np.ndarray:
    """v from its h."""
    there = away + skew * _MIDDLE
    return (there - skew * np.sqrt(there * there + (1 - skew) * (1 + skew))) / ((1 - skew) * (1 + skew))


def _asymmetry(z: np.ndarray, effective: float) -> tuple[float, float]:
    """The skewness that suits numbers of mean zero and variance one best, and the log width that goes with it."""
    best, found = float(np.mean(-0.5 * z * z)) + _EVIDENT / effective, (0.0, 0.0)
    for skew in _SKEWS:
        width = 1 / np.sqrt(_WEIGHTS @ _skewed(_NORMAL, skew)[0] ** 2)
        v = _even(z / width, skew)
        score = float(np.mean(-0.5 * v * v - np.log(width * _skewed(v, skew)[1])))
        if score > best:
            best, found = score, (float(skew), float(np.log(width)))
    return found


def least(size: int) -> float:
    """Effective draws from which a map of so many coordinates can be learnt."""
    return _EACH * (1 + size + size * (size + 1) / 2)


def learn(x: np.ndarray, effective: float) -> Bend | None:
    """The map that suits draws x of shape (size, n), worth `effective` independent ones; None where it is not worth it, or they are few."""
    size = len(x)
    first, second = np.triu_indices(size)
    terms = 1 + size + len(first)
    if not 2 <= size <= _MOST or effective < 0.99 * least(size):
        return None
    mean, sd = x.mean(axis=1), x.std(axis=1)
    if not np.all(sd > 0):
        return None
    z = (x - mean[:, None]) / sd[:, None]
    soft = softened(z)[0]
    features = quadratic(z, soft)
    uses = np.array([0] + [1 << k for k in range(size)] + [(1 << i) | (1 << j) for i, j in zip(first, second, strict=True)], dtype=object)
    parts = [_Regression(features, soft, z[k], effective) for k in range(size)]
    order = greedy(size, lambda k, before: parts[k].left(_inside(uses, before)))
    (level, log_width, skew), (linear, fan), square = np.zeros((3, size)), np.zeros((2, size, size)), np.zeros((size, size, size))
    found = Bend(mean, sd, tuple(order), level, log_width, skew, linear, fan, square)
    for place, k in enumerate(order):
        before = sorted(order[:place])
        weights, fan[k, before], log_width[k] = parts[k].fitted(_inside(uses, before), before)
        level[k], linear[k] = weights[0], weights[1 : 1 + size]
        square[k, first, second] = weights[1 + size :]
        square[k] = 0.5 * (square[k] + square[k].T)
    away = found.straight(x)[0]
    for k in order:
        skew[k], wider = _asymmetry(away[k], effective)
        log_width[k] += wider
    v, passage = found.straight(x)
    score = float(np.mean(np.sum(-0.5 * v * v - np.log(passage.width * passage.rise), axis=0)))
    gain = score + 0.5 * size + 0.5 * float(np.linalg.slogdet(np.corrcoef(z).reshape(size, size))[1])
    chance = 0.5 * size * terms / 3 / effective  # what as many numbers gain of a normal
    return found if gain > chance else None


def _inside(uses: np.ndarray, before: list[int]) -> np.ndarray:
    """Which features are made of these coordinates alone."""
    outside = ~sum(1 << k for k in before)
    return np.array([not (use & outside) for use in uses])


def greedy(size: int, left: Callable[[int, list[int]], float]) -> list[int]:
    """The coordinate that tells most of the others first, and so on; `left(k, before)` is the log of what is left of a variance."""
    order: list[int] = []
    while len(order) < size:
        rest = [k for k in range(size) if k not in order]

        def after(k: int, rest: list[int] = rest) -> float:
            return sum(left(j, [*order, k]) for j in rest if j != k) + left(k, order)

        order.append(min(rest, key=after))
    return order


class _Regression:
    """Of one coordinate on features, shape (features, n): their mean products, with a little of a prior."""

    def __init__(self, features: np.ndarray, soft: np.ndarray, z: np.ndarray, effective: float) -> None:
        self.features, self.soft, self.z, self.effective = features, soft, z, effective
        self.between, self.with_each, self.square = self._products(np.ones(len(z)))

    def _products(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        weighted = self.features * (weight / weight.mean())
        n = len(self.z)
        between = weighted @ self.features.T / n + np.eye(len(weighted)) / self.effective
        return between, weighted @ self.z / n, float(np.mean(self.z**2))

    def left(self, own: np.ndarray) -> float:
        """Logarithm of what some features leave of the variance."""
        found = np.linalg.solve(self.between[np.ix_(own, own)], self.with_each[own])
        return float(np.log(max(self.square - found @ self.with_each[own], 1e-12)))

    def fitted(self, own: np.ndarray, before: list[int]) -> tuple[np.ndarray, np.ndarray, float]:
        """Weights of all features, of the soft coordinates `before` in the log width, and its constant."""
        weights, fan, log_width = np.zeros(len(own)), np.zeros(len(before)), np.zeros(len(self.z))
        between, with_each = self.between, self.with_each
        soft = self.soft[before]
        for again in (True, False):
            weights[own] = np.linalg.solve(between[np.ix_(own, own)], with_each[own])
            away = self.z - weights @ self.features
            if not (again and before):
                break
            seen = np.log(np.maximum(away**2, 1e-12))
            apart = soft - soft.mean(axis=1, keepdims=True)
            penalty = _STIFF * np.eye(len(before)) * _NOISE / self.effective
            fan = 0.5 * np.linalg.solve(apart @ apart.T / len(seen) + penalty, apart @ (seen - seen.mean()) / len(seen))
            log_width = fan @ soft
            between, with_each, _ = self._products(np.exp(-2 * log_width))
        return weights, fan, 0.5 * float(np.log(np.mean(away**2 * np.exp(-2 * log_width))))
