"""Hyperparameters as an unconstrained vector theta without units: every coordinate is measured in the width of its prior."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from realmat.algebra import normal
from realmat.algebra.example import example_values
from realmat.terms.term import Param

_FARTHEST = 300.0  # of a logarithm: its exponential is still a number


@dataclass(frozen=True)
class Axis:
    """One parameter's coordinates: where they stand in theta, the ends of its support, and the centre and width of its prior."""

    param: Param
    where: slice
    low: float
    high: float
    centre: Any
    width: Any

    @classmethod
    def of(cls, param: Param, start: int, example: Mapping[str, Any]) -> Axis:
        low, high = param.prior.support
        middle = np.asarray(example[param.name], dtype=float)
        centre, width = middle, np.asarray(1.0)
        if math.isinf(low) and math.isinf(high):
            width = np.asarray(param.prior.width(example), dtype=float)
        elif math.isinf(high):
            centre, width = np.asarray(low), middle - low
        elif math.isinf(low):
            centre, width = np.asarray(high), middle - high
        if param.coords is None:
            return cls(param, slice(start, start + 1), low, high, float(centre), float(width))
        across = (np.broadcast_to(x, (param.size,))[:, None] for x in (centre, width))
        return cls(param, slice(start, start + param.size), low, high, *across)

    @property
    def one_end(self) -> bool:
        """Whether the support has one end: the coordinate is a logarithm, or a power."""
        return math.isinf(self.low) != math.isinf(self.high)

    def value(self, t: np.ndarray) -> np.ndarray:
        """Parameter values at coordinates t of shape (elements, n)."""
        if math.isinf(self.low) and math.isinf(self.high):
            return np.asarray(self.centre + self.width * t)
        if not self.one_end:
            return np.asarray(self.low + (self.high - self.low) / (1 + np.exp(-t)))
        near = np.minimum(np.maximum(t, -_FARTHEST), _FARTHEST)  # in half the time of np.clip
        return np.asarray(self.centre + self.width * np.exp(near))

    def coordinate(self, x: np.ndarray) -> np.ndarray:
        """Inverse of `value`."""
        if math.isinf(self.low) and math.isinf(self.high):
            return np.asarray((x - self.centre) / self.width)
        if not self.one_end:
            return np.log((x - self.low) / (self.high - x))
        return np.log((x - self.centre) / self.width)

    def log_slope(self, t: np.ndarray) -> np.ndarray:
        """Log derivative of the value by its coordinate, element by element."""
        if math.isinf(self.low) and math.isinf(self.high):
            return np.log(self.width) + np.zeros_like(t)
        if not self.one_end:
            return math.log(self.high - self.low) - np.abs(t) - 2 * np.log1p(np.exp(-np.abs(t)))
        return np.asarray(np.log(np.abs(self.width)) + t)


class Space:
    """Maps theta (shape (size,)) to named values and back.

    A parameter on the whole line is ``centre + width * theta``, with the median and the width of its prior; a positive one is its prior's
    median times ``exp(theta)``, a bounded one goes through the logit. So exploration never meets a wall, and sees no unit.

    Parameters
    ----------
    params : sequence of Param
    powers : array of shape (size,), optional
        A number other than 0 makes the coordinate of a positive parameter that power of it instead of its logarithm: a scale that may
        be zero has a long tail in its logarithm, but none in its root. Such a coordinate must stay positive.
    """

    def __init__(self, params: Sequence[Param], powers: np.ndarray | None = None) -> None:
        self.params = list(params)
        example = example_values(self.params)
        self.axes: list[Axis] = []
        self.size = 0
        for param in self.params:
            self.axes.append(Axis.of(param, self.size, example))
            self.size += param.size
        self.slices = [axis.where for axis in self.axes]
        self.powers = np.zeros(self.size) if powers is None else powers

    def plain(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray | float]:
        """Coordinates without powers, shape (n, size), nan where a power is not positive, and the log volume of the map to them."""
        some = np.flatnonzero(self.powers)
        if not len(some):
            return thetas, 0.0
        out, power = np.array(thetas, dtype=float), self.powers[some]
        with np.errstate(all="ignore"):
            out[:, some] = np.log(np.where(out[:, some] > 0, out[:, some], np.nan))
            volume = -(np.log(np.abs(power)) + out[:, some]).sum(axis=1)
        out[:, some] /= power
        return out, volume

    def turned(self, plain: np.ndarray) -> np.ndarray:
        """Inverse of `plain`."""
        return np.where(self.powers != 0, np.exp(self.powers * plain), plain) if self.powers.any() else plain

    def slope(self, theta: np.ndarray) -> np.ndarray:
        """Derivatives of the coordinates without powers in those of theta, shape (size, size), at theta of shape (size,)."""
        return np.diag(1 / np.where(self.powers != 0, self.powers * theta, 1.0))

    def straighter(self, thetas: np.ndarray, weights: np.ndarray, some: np.ndarray) -> Space:
        """The same parameters in coordinates in which weighted draws, shape (n, size), are more like those of a normal.

        Of positive parameters, coordinates `some` become powers, all others logarithms. It is this space where that changes nothing.
        """
        logs, weights = normal.told(self.plain(thetas)[0], weights)
        powers = normal.powers(logs, weights, np.intersect1d(some, np.flatnonzero(self.positive)))
        return self if np.array_equal(powers, self.powers) else Space(self.params, powers)

    def values(self, theta: np.ndarray) -> dict[str, Any]:
        """Parameters by name at theta."""
        many = self.many(theta[None])[0]
        return {q.name: many[q.name][..., 0] if q.coords is not None else float(many[q.name][0]) for q in self.params}

    def many(self, thetas: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Parameters by name and log prior densities at thetas of shape (n, size); values have the batch as last axis.

        The densities are those of theta: the Jacobian of the transformation is included.
        """
        out: dict[str, np.ndarray] = {}
        with np.errstate(all="ignore"):  # far out a parameter may have no value, or no density
            plain, volume = self.plain(thetas)
            total = np.zeros(len(thetas)) + volume
            for axis in self.axes:
                t = plain[:, axis.where].T
                x = axis.value(t)
                out[axis.param.name] = x if axis.param.coords is not None else x[0]
                total += np.sum(axis.log_slope(t), axis=0)
            for axis in self.axes:  # a prior may refer to a parameter that stands behind it
                density = axis.param.prior.logpdf(out[axis.param.name], out)
                total += density if axis.param.coords is None else np.sum(density, axis=0)
        return out, total

    def log_prior(self, theta: np.ndarray) -> float:
        """Log prior density of theta, the Jacobian of the transformation included."""
        return float(self.many(theta[None])[1][0])

    def named(self, thetas: np.ndarray) -> dict[str, np.ndarray]:
        """Parameters by name at thetas of shape (..., size): shape (...), or (..., size of a vector)."""
        values = self.many(thetas.reshape(math.prod(thetas.shape[:-1]), thetas.shape[-1]))[0]
        shape = thetas.shape[:-1]
        return {q.name: values[q.name].T.reshape(shape if q.coords is None else (*shape, q.size)) for q in self.params}

    def theta(self, values: Mapping[str, Any]) -> np.ndarray:
        """Inverse of `values`."""
        return self.thetas({q.name: np.asarray(values[q.name], dtype=float)[None] for q in self.params}, 1)[0]

    def thetas(self, values: Mapping[str, np.ndarray], n: int) -> np.ndarray:
        """Inverse of `named`: theta, shape (n, size), from values of shape (n,), or (n, size of a vector)."""
        parts = [axis.coordinate(values[axis.param.name].reshape(n, -1).T).T for axis in self.axes]
        return self.turned(np.concatenate(parts, axis=1) if parts else np.zeros((n, 0)))

    def of_draws(self, draws: Mapping[str, np.ndarray], most: int) -> np.ndarray:
        """theta, shape (n, size), of at most `most` draws, evenly chosen from arrays of shape (chain, draw, ...)."""
        flat = {q.name: draws[q.name].reshape(-1, q.size) for q in self.params}
        n = min((len(value) for value in flat.values()), default=0)
        at = np.unique(np.linspace(0, n - 1, min(most, n)).astype(int))
        return self.thetas({name: value[at] for name, value in flat.items()}, len(at))

    @property
    def positive(self) -> np.ndarray:
        """Which coordinates belong to parameters with a lower end and no upper one, shape (size,)."""
        out = np.zeros(self.size, dtype=bool)
        for axis in self.axes:
            out[axis.where] = axis.low > -math.inf and axis.high == math.inf
        return out

    @property
    def logarithmic(self) -> np.ndarray:
        """Which coordinates are logarithms, shape (size,)."""
        return self.positive & (self.powers == 0)

    def start(self) -> np.ndarray:
        """The median of every prior."""
        return self.theta(example_values(self.params))
