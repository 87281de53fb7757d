"""Derivatives of hyperparameters, and of their log prior density, in their unconstrained coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from realmat.algebra.space import Space
from realmat.terms.prior_slopes import in_reference, in_value

STEP = 1e-30  # of complex steps, which no rounding limits (Squire & Trapp, SIAM Review 40, 110, 1998)


@dataclass(frozen=True)
class AtTheta:
    """Hyperparameters at n points: values and their derivatives by name, the points as last axis; the log prior and its gradient.

    Attributes
    ----------
    values, slopes : dict of name to array of shape (n,) or (size, n)
        An element depends on its own coordinate alone.
    log_prior : array of shape (n,)
    gradient : array of shape (size of theta, n)
    """

    values: dict[str, np.ndarray]
    slopes: dict[str, np.ndarray]
    log_prior: np.ndarray
    gradient: np.ndarray


class Slopes:
    """Evaluates a space with derivatives.

    Parameters
    ----------
    space : Space
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self._place = {q.name: where for q, where in zip(space.params, space.slices, strict=True)}
        with np.errstate(all="ignore"):
            both = space.many(np.array([[0.0], [1.0]]) * np.ones(space.size))[0]
        self._width = {name: np.diff(x, axis=-1) for name, x in both.items()}  # of those that have no ends

    def at(self, thetas: np.ndarray) -> AtTheta:
        """At thetas of shape (n, size)."""
        space = self.space
        values, log_prior = space.many(thetas)
        slopes: dict[str, np.ndarray] = {}
        gradient = np.empty((space.size, len(thetas)))
        for param, where in zip(space.params, space.slices, strict=True):
            t, x, powers = thetas[:, where].T, values[param.name], space.powers[where][:, None]
            slope, bend = self._coordinate(t, np.atleast_2d(x), powers, param.prior.support, self._width[param.name])
            slopes[param.name] = slope if param.coords is not None else slope[0]
            gradient[where] = bend
        for param in space.params:
            self._density(param, values, slopes, gradient)
        return AtTheta(values, slopes, log_prior, gradient)

    @staticmethod
    def _coordinate(
        t: np.ndarray, x: np.ndarray, powers: np.ndarray, support: tuple[float, float], width: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Derivative of the values, and of the logarithm of its size, shape (elements, n)."""
        low, high = support
        if math.isinf(low) and math.isinf(high):
            return np.broadcast_to(width.reshape(-1, 1), x.shape), np.zeros(x.shape)
        if math.isfinite(low) and math.isfinite(high):
            share = (x - low) / (high - low)
            return (x - low) * (1 - share), 1 - 2 * share
        away = x - (low if math.isfinite(low) else high)
        if not powers.any():
            return away, np.ones(x.shape)
        inverse = 1 / np.where(powers != 0, powers, 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(powers != 0, inverse * away / t, away), np.where(powers != 0, (inverse - 1) / t, 1.0)

    def _density(self, param: Any, values: dict[str, np.ndarray], slopes: dict[str, np.ndarray], gradient: np.ndarray) -> None:
        """Add the gradient of one parameter's prior, in itself and in those that it refers to."""
        place = self._place
        x = values[param.name]
        gradient[place[param.name]] += np.atleast_2d(in_value(param.prior, x, values) * slopes[param.name])
        for name in set(param.prior.references):
            each = in_reference(param.prior, x, values, name)
            each = each.sum(axis=0) if np.ndim(each) > np.ndim(values[name]) else each
            gradient[place[name]] += np.atleast_2d(each * slopes[name])
