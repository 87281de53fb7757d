"""Hyperparameters as an unconstrained vector theta."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from realmat.algebra.family import example_values
from realmat.terms.term import Param


class Space:
    """Maps theta (shape (size,)) to named values and back.

    Positive parameters go through the logarithm, bounded ones through the logit, so that exploration never meets a wall.

    Parameters
    ----------
    params : sequence of Param
    powers : array of shape (size,), optional
        A number other than 0 makes the coordinate of a positive parameter that power of it instead of its logarithm: a scale that may
        be zero has a long tail in its logarithm, but none in its root. Such a coordinate must stay positive.
    """

    def __init__(self, params: Sequence[Param], powers: np.ndarray | None = None) -> None:
        self.params = list(params)
        self.slices: list[slice] = []
        start = 0
        for param in self.params:
            self.slices.append(slice(start, start + param.size))
            start += param.size
        self.size = start
        self.powers = np.zeros(start) if powers is None else powers
        self._plan = [(q, where, *q.prior.support) for q, where in zip(self.params, self.slices, strict=True)]
        # the usual case, one scale, is done without array overhead; 0 stands for the logarithm
        self._scale_power = {
            q.name: float(self.powers[where.start])
            for q, where, low, high in self._plan
            if q.coords is None and low > -math.inf and high == math.inf
        }

    def values(self, theta: np.ndarray) -> dict[str, Any]:
        """Parameters by name at theta."""
        out: dict[str, Any] = {}
        for param, where, low, high in self._plan:
            if param.name in self._scale_power:
                out[param.name] = low + _scale(float(theta[where.start]), self._scale_power[param.name])
                continue
            powers = self.powers[where]
            if powers.any():
                out[param.name] = low + np.where(powers != 0, _root(theta[where], powers), np.exp(np.clip(theta[where], -300, 300)))
            else:
                x = _constrain(theta[where], low, high)
                out[param.name] = x if param.coords is not None else float(x[0])
        return out

    def log_prior(self, theta: np.ndarray, values: Mapping[str, Any]) -> float:
        """Log prior density of theta, the Jacobian of the transformation included."""
        total = 0.0
        for param, where, low, high in self._plan:
            density = param.prior.logpdf(values[param.name], values)
            total += float(density) if param.coords is None else float(np.sum(density))
            power = self._scale_power.get(param.name)
            if power is None:
                total += float(np.sum(_log_slopes(theta[where], low, high, self.powers[where])))
            else:
                total += _log_slope(float(theta[where.start]), power)
        return total

    def many(self, thetas: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Parameters by name and log prior densities at thetas of shape (n, size); values have the batch as last axis."""
        out: dict[str, np.ndarray] = {}
        total = np.zeros(len(thetas))
        for param, where, low, high in self._plan:
            t, powers = thetas[:, where].T, self.powers[where][:, None]
            if powers.any():
                x = low + np.where(powers != 0, _root(t, powers), np.exp(np.clip(t, -300, 300)))
            else:
                x = _constrain(t, low, high)
            out[param.name] = x if param.coords is not None else x[0]
            total += np.sum(param.prior.logpdf(x, out) + _log_slopes(t, low, high, powers), axis=0)
        return out, total

    def named(self, thetas: np.ndarray) -> dict[str, np.ndarray]:
        """Parameters by name at thetas of shape (..., size): shape (...), or (..., size of a vector)."""
        values = self.many(thetas.reshape(math.prod(thetas.shape[:-1]), thetas.shape[-1]))[0]
        shape = thetas.shape[:-1]
        return {q.name: values[q.name].T.reshape(shape if q.coords is None else (*shape, q.size)) for q in self.params}

    def theta(self, values: Mapping[str, Any]) -> np.ndarray:
        """Inverse of `values`."""
        parts = [_free(np.atleast_1d(values[q.name]).astype(float), low, high, self.powers[where]) for q, where, low, high in self._plan]
        return np.concatenate(parts or [np.zeros(0)])

    @property
    def positive(self) -> np.ndarray:
        """Which coordinates belong to parameters with a lower end and no upper one, shape (size,)."""
        out = np.zeros(self.size, dtype=bool)
        for _, where, low, high in self._plan:
            out[where] = low > -math.inf and high == math.inf
        return out

    def start(self) -> np.ndarray:
        """The median of every prior."""
        return self.theta(example_values(self.params))


def _scale(t: float, power: float) -> float:
    """A scale from its coordinate; nan where a power is not positive, which no scale has."""
    if not power:
        return math.exp(min(max(t, -300.0), 300.0))
    return math.exp(min(math.log(t) / power, 300.0)) if t > 0 else math.nan


def _log_slope(t: float, power: float) -> float:
    """Log derivative of `_scale`."""
    if not power:
        return t
    return (1 / power - 1) * math.log(t) - math.log(abs(power)) if t > 0 else math.nan


def _constrain(t: np.ndarray, low: float, high: float) -> np.ndarray:
    if math.isinf(low) and math.isinf(high):
        return t
    if math.isinf(high):
        return low + np.exp(np.clip(t, -300, 300))
    if math.isinf(low):
        return high - np.exp(np.clip(t, -300, 300))
    return low + (high - low) / (1 + np.exp(-t))


def _root(t: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """Inverse of a power; nan where the coordinate is not positive, which no parameter value has."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(t > 0, np.abs(t) ** (1 / np.where(powers != 0, powers, 1.0)), np.nan)


def _free(x: np.ndarray, low: float, high: float, powers: np.ndarray) -> np.ndarray:
    if powers.any():
        return np.where(powers != 0, (x - low) ** powers, np.log(x - low))
    if math.isinf(low) and math.isinf(high):
        return x
    if math.isinf(high):
        return np.log(x - low)
    if math.isinf(low):
        return np.log(high - x)
    return np.log((x - low) / (high - x))


def _log_slopes(t: np.ndarray, low: float, high: float, powers: np.ndarray) -> np.ndarray:
    """Log derivative of a parameter by its coordinate, element by element."""
    if powers.any():
        inverse = 1 / np.where(powers != 0, powers, 1.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(powers != 0, np.log(np.abs(inverse)) + (inverse - 1) * np.log(t), t)
    if math.isinf(low) and math.isinf(high):
        return np.zeros_like(t)
    if math.isinf(high) or math.isinf(low):
        return t
    return math.log(high - low) - np.abs(t) - 2 * np.log1p(np.exp(-np.abs(t)))
