"""Derivatives of hyperparameters, and of their log prior density, in their unconstrained coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from realmat.algebra.space import Axis, Space
from realmat.terms.prior_slopes import in_reference, in_value
from realmat.terms.priors import ARRAYS, Prior, log_density
from realmat.terms.term import Param

STEP = 1e-30  # of complex steps, which no rounding limits (Squire & Trapp, SIAM Review 40, 110, 1998)


@dataclass(frozen=True)
class AtTheta:
    """Hyperparameters at n points; the log prior and its gradient.

    Attributes
    ----------
    values : dict of name to array of shape (n,) or (size, n)
    slopes : array of shape (size of theta, n)
        Of each element in its own coordinate, on which alone it depends.
    log_prior : array of shape (n,)
    gradient : array of shape (size of theta, n)
    """

    values: dict[str, np.ndarray]
    slopes: np.ndarray
    log_prior: np.ndarray
    gradient: np.ndarray


@dataclass(frozen=True)
class _Alike:
    """Elements whose priors are one family: numbers of the prior, by element where they differ, or the names of others."""

    where: slice | np.ndarray
    prior: Prior
    numbers: dict[str, Any]
    log_mass: float


class Slopes:
    """Evaluates a space with derivatives, elements of one kind together.

    Parameters
    ----------
    space : Space
        Positive parameters by their logarithms.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self._place = {q.name: where for q, where in zip(space.params, space.slices, strict=True)}
        self._named_places = {
            q.name: where if q.coords is not None else where.start for q, where in zip(space.params, space.slices, strict=True)
        }
        kinds: dict[tuple[float, float], list[Axis]] = {}
        for axis in space.axes:
            whole = math.isinf(axis.low) and math.isinf(axis.high)
            kinds.setdefault((axis.low, axis.high) if not whole else (-math.inf, math.inf), []).append(axis)
        self._axes = [(_places(one.where for one in axes), _stacked(axes)) for axes in kinds.values()]
        self._constant = sum(float(np.sum(np.log(np.abs(axis.width)))) for _, axis in self._axes if math.isinf(axis.high - axis.low))
        families: dict[Any, list[Param]] = {}
        for param in space.params:
            prior = param.prior
            alone = prior.references or (prior.dist not in ARRAYS and prior.params)
            families.setdefault((prior.dist, param.name if prior.references else alone), []).append(param)
        self._priors = [self._alike(params) for params in families.values()]
        self._referring = [param for param in space.params if param.prior.references]

    def _alike(self, params: list[Param]) -> _Alike:
        first = params[0].prior
        numbers: dict[str, Any] = dict(first.params)
        for key in numbers:
            each = [dict(param.prior.params)[key] for param in params]
            if len(set(each)) > 1:
                numbers[key] = np.concatenate([np.full((param.size, 1), x) for param, x in zip(params, each, strict=True)])
        mass = sum(param.size * param.prior.log_mass for param in params)
        return _Alike(_places(self._place[param.name] for param in params), first, numbers, mass)

    def values(self, thetas: np.ndarray) -> dict[str, np.ndarray]:
        """Values alone, at thetas of shape (n, size)."""
        x = np.empty(thetas.shape[::-1])
        with np.errstate(all="ignore"):
            for where, axis in self._axes:
                x[where] = axis.value(thetas.T[where])
        return self._named(x)

    def at(self, thetas: np.ndarray) -> AtTheta:
        """At thetas of shape (n, size)."""
        t = thetas.T
        x, slopes, gradient = np.empty(t.shape), np.empty(t.shape), np.empty(t.shape)
        log_prior = np.zeros(len(thetas))
        with np.errstate(all="ignore"):  # far out a parameter may have no value, or no density
            for where, axis in self._axes:
                own = t[where]
                value = x[where] = axis.value(own)
                slopes[where], gradient[where], logs = _coordinate(axis, own, value)
                log_prior += logs
            log_prior += self._constant
            values = self._named(x)
            for one in self._priors:
                own, numbers = x[one.where], {key: values[y] if isinstance(y, str) else y for key, y in one.numbers.items()}
                log_prior += log_density(one.prior.dist, own, numbers).sum(axis=0) - one.log_mass
                gradient[one.where] += in_value(one.prior.dist, own, numbers) * slopes[one.where]
            for param in self._referring:
                for name in set(param.prior.references):
                    each = in_reference(param.prior, values[param.name], values, name)
                    each = each.sum(axis=0) if np.ndim(each) > np.ndim(values[name]) else each
                    gradient[self._place[name]] += each * slopes[self._place[name]]
        return AtTheta(values, slopes, log_prior, gradient)

    def empty(self, n: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Zeros for the derivatives in all elements, shape (size of theta, n), and by name."""
        out = np.zeros((self.space.size, n))
        return out, self._named(out)

    def _named(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """By name what stands in an array of the shape of theta."""
        return {name: x[where] for name, where in self._named_places.items()}


def _places(where: Iterable[slice]) -> slice | np.ndarray:
    """Several slices as one, or as places where they are apart."""
    places = np.concatenate([np.arange(one.start, one.stop) for one in where])
    whole = slice(int(places[0]), int(places[-1]) + 1)
    return whole if np.array_equal(places, np.arange(whole.start, whole.stop)) else places


def _stacked(axes: list[Axis]) -> Axis:
    """Axes with the same ends as one."""
    centre, width = (
        np.concatenate([np.broadcast_to(getattr(one, name), (one.param.size, 1)) for one in axes]) for name in ("centre", "width")
    )
    return replace(axes[0], centre=centre, width=width)


def _coordinate(axis: Axis, t: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray | float, np.ndarray | float]:
    """Derivative of the values x in their coordinates t, that of the logarithm of its size, and the sum of this up to a constant."""
    if axis.one_end:
        return x - axis.centre, 1.0, t.sum(axis=0)
    if math.isinf(axis.low):
        return np.broadcast_to(axis.width, x.shape), 0.0, 0.0
    share = (x - axis.low) / (axis.high - axis.low)
    return (x - axis.low) * (1 - share), 1 - 2 * share, axis.log_slope(t).sum(axis=0)
