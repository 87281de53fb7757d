"""The density of the hyperparameters, coefficients integrated out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from realmat.gaussian import System
from realmat.space import Space

_HEAVY = 150_000  # multiply-adds of a factorisation beyond which two threads pay: below, the interpreter lock eats the gain
_MANY = 5000  # rows of the response, each with auxiliary values of its own, for which the same holds


class Density:
    """log p(theta | y) up to a constant, with the coefficients integrated out; `powers` choose the coordinates (see `Space`)."""

    def __init__(self, system: System, powers: np.ndarray | None = None) -> None:
        self.system = system
        self.space = Space(system.problem.params, powers)
        self.evaluations = 0
        heavy = len(system.pattern.targets) > _HEAVY or (system.augmented and len(system.families[0].y) > _MANY)
        self._pool = ThreadPoolExecutor(2) if heavy else None

    def one(self, theta: np.ndarray) -> float:
        """At one theta of shape (size,); -inf where it cannot be evaluated."""
        self.evaluations += 1
        with np.errstate(all="ignore"):
            values = self.space.values(theta)
            prior = self.space.log_prior(theta, values)
            if not math.isfinite(prior):
                return -math.inf
            value = prior + self.system.log_marginal(values)
        return value if math.isfinite(value) else -math.inf

    def many(self, thetas: np.ndarray) -> np.ndarray:
        """At thetas of shape (n, size); large problems use both cores."""
        return np.fromiter(self.map(self.one, thetas), dtype=float, count=len(thetas))

    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
        """`map`, over two threads where the work is large enough for that to pay."""
        return map(function, items) if self._pool is None else self._pool.map(function, items)
