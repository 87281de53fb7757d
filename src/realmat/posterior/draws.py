"""A problem together with draws: what every summary is computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from realmat.algebra import System, auxiliary
from realmat.algebra.batching import Batched, slices
from realmat.terms.parts import Derived
from realmat.terms.problem import Problem, nonlinear_terms
from realmat.terms.term import DRAW


@dataclass(frozen=True)
class Draws:
    """What an engine hands back.

    Attributes
    ----------
    params : mapping of name to array of shape (chain, draw) or (chain, draw, size)
    coefficients : mapping of name to array of shape (chain, draw, size)
        Empty with ``latents="summary"``.
    summary : mapping of name to (mean, sd), each of shape (size,)
        Only with ``latents="summary"``.
    stats : mapping of name to array of shape (chain, draw)
        Sample statistics.
    facts : mapping
        What was done, JSON-ready: engine, why, seed, seconds, k-hat, efficiency.
    """

    params: Mapping[str, np.ndarray]
    coefficients: Mapping[str, np.ndarray]
    summary: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    stats: Mapping[str, np.ndarray] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Posterior:
    """A problem and draws from its posterior.

    Attributes
    ----------
    problem : Problem
    draws : Draws
    weights : array of shape (draws,), optional
        What each draw counts, chains joined; all the same without. Only expectations over hyperparameters may ask for such draws.
    """

    problem: Problem
    draws: Draws
    weights: np.ndarray | None = None

    @classmethod
    def on(cls, system: System, draws: Draws, weights: np.ndarray | None = None) -> Posterior:
        """With the system of its problem, where that stands already."""
        out = cls(system.problem, draws, weights)
        out.__dict__["system"] = system
        return out

    def of(self, response: str) -> Posterior:
        """The same draws, seen through another of the properties.

        Raises
        ------
        realmat.ModelError
            If there is no such property.
        """
        return self if response == self.problem.response else Posterior(self.problem.of(response), self.draws, self.weights)

    @property
    def shape(self) -> tuple[int, int]:
        """Chains and draws per chain."""
        held = self.draws.params or self.draws.coefficients  # coefficients may have to be drawn first
        chains, draws = next(iter(held.values())).shape[:2] if held else (1, 1)
        return int(chains), int(draws)

    @property
    def size(self) -> int:
        """Draws over all chains."""
        return self.shape[0] * self.shape[1]

    @cached_property
    def system(self) -> System:
        """The Gaussian system of the problem."""
        return System(self.problem)

    @cached_property
    def _flat(self) -> dict[str, np.ndarray]:
        return {name: values.reshape((self.size, *values.shape[2:])) for name, values in self.draws.params.items()}

    def param(self, name: str) -> np.ndarray:
        """Draws of a hyperparameter, chains joined: shape (draws,) or (draws, size)."""
        return self._flat[name]

    def values(self, i: int) -> dict[str, Any]:
        """All hyperparameters at flat draw `i`.

        Where parts are Student t or censored, the auxiliary values that make them Gaussian are drawn given psi and b: local variance
        factors ``<rows or block>_local`` and latent values ``<rows>_latent``; the same for the same `i`.
        """
        values: dict[str, Any] = {name: values[i] for name, values in self._flat.items()}
        values[DRAW] = i
        if self._augmented:
            b = np.concatenate([np.zeros(0), *(self.block(c.name, np.array([i]))[0] for c in self.problem.coefficients)])
            values |= auxiliary.draw(self.system, values, b, np.random.default_rng([i, 13]))
        return values

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The same at flat draws `indices`, which become the last axis."""
        if self._augmented:
            each = [self.values(int(i)) for i in indices]
            return {name: np.stack([values[name] for values in each], axis=-1) for name in each[0] if name != DRAW}
        return {name: np.ascontiguousarray(values[indices].T) for name, values in self._flat.items()}

    @cached_property
    def _augmented(self) -> bool:
        return not nonlinear_terms(self.problem) and self.system.augmented

    def block(self, name: str, indices: np.ndarray) -> np.ndarray:
        """Draws of a block of coefficients at flat draws `indices`: shape (len(indices), size)."""
        stored = self.draws.coefficients.get(name)
        if stored is not None:
            return stored.reshape(self.size, stored.shape[-1])[indices]
        every = self.redraw(tuple(int(i) for i in indices))
        return every[:, self.system.columns[name]]

    def derived(self, d: Derived) -> np.ndarray:
        """Draws of what follows from psi, chains joined: shape (draws, ...)."""
        return np.moveaxis(Batched(d.value)({name: v.T for name, v in self._flat.items()}, self.size), -1, 0)

    def redraw(self, indices: tuple[int, ...]) -> np.ndarray:
        """Exact draws of all coefficients given psi at flat draws `indices`, shape (len(indices), coefficients); reproducible by draw."""
        many = self.system.many
        out = np.empty((len(indices), self.system.size))
        for where in slices(len(indices), many.most):
            some = indices[where]
            normals = np.stack([np.random.default_rng(i).standard_normal(self.system.size) for i in some])
            out[where] = many.at(self.batch(np.array(some)), len(some)).completed(normals)
        return out

    def thin(self, most: int) -> np.ndarray:
        """At most `most` flat draw numbers, spread evenly over all chains."""
        return np.unique(np.linspace(0, self.size - 1, min(most, self.size)).astype(int))
