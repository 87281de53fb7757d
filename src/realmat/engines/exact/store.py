"""Where draws go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realmat.algebra import System
from realmat.algebra.space import Space
from realmat.engines.exact import resample
from realmat.engines.exact.space import Density, Solved
from realmat.posterior.draws import Draws


@dataclass
class Store:
    """Where coefficient draws go: all of them, or only their mean and sd."""

    system: System
    chains: int
    latents: str
    b: np.ndarray = field(init=False)
    mean: np.ndarray | None = None
    square: np.ndarray | None = None

    def keep(self, density: Density, theta: np.ndarray, draws: int) -> resample.Keep:
        """What is made of the coefficients with the proposals of so many draws; `theta` is one that is typical."""
        if self.latents == "draws":
            self.b = np.empty((self.chains, draws, self.system.size))
            return _Draws(self.b)
        self._moments = _Moments(density.solve(theta[None])[1].mean()[0])
        return self._moments

    def choose(self, index: np.ndarray) -> None:
        """Of what was kept with proposals, what belongs to those that are draws, shape (chains, draws); moments weigh all proposals."""
        if self.latents == "draws":
            for own, row in zip(self.b, index, strict=True):
                own[: len(row)] = own[row]  # chain by chain, so that no second copy of them all is held
            if index.shape[1] < self.b.shape[1]:
                self.b = self.b[:, : index.shape[1]].copy()
            return
        self.mean, self.square = self._moments.found

    def put(self, b: np.ndarray) -> None:
        """Draws of shape (chains, draws, size), natural order."""
        if self.latents == "draws":
            self.b = b
        else:
            self.mean, self.square = b.mean(axis=(0, 1)), b.var(axis=(0, 1))

    def fill(self, thetas: np.ndarray, density: Density, seed: int) -> None:
        """Draw b afresh at every theta of shape (chains, draws, size)."""
        flat = thetas.reshape(-1, thetas.shape[-1])
        if self.latents == "draws":
            self.b = np.empty((*thetas.shape[:2], self.system.size))
            for batch in density.batches(len(flat)):
                drawn = density.solve(flat[batch])[1].draw(np.random.default_rng([seed, 2, batch.start]))
                self.b.reshape(len(flat), -1)[batch] = drawn
            return
        keep = self.keep(density, flat[0], thetas.shape[1])

        def work(batch: slice) -> Any:
            logs, solved = density.solve(flat[batch])
            return keep.made(batch.start, solved, np.zeros_like(logs), np.random.default_rng([seed, 2, batch.start]))

        for made in density.map(work, density.batches(len(flat))):
            keep.take(made)
        self.mean, self.square = self._moments.found

    def draws(self, thetas: np.ndarray, space: Space, stats: dict[str, np.ndarray], facts: dict[str, Any]) -> Draws:
        """Named draws."""
        return self.named(space.named(thetas), stats, facts)

    def named(self, params: Mapping[str, np.ndarray], stats: dict[str, np.ndarray], facts: dict[str, Any]) -> Draws:
        """The same from hyperparameters by name."""
        columns = self.system.columns
        if self.latents == "draws":
            return Draws(params, {name: self.b[..., where] for name, where in columns.items()}, stats=stats, facts=facts)
        assert self.mean is not None
        assert self.square is not None
        sd = np.sqrt(np.maximum(self.square, 0.0))
        return Draws(params, {}, {name: (self.mean[where], sd[where]) for name, where in columns.items()}, stats=stats, facts=facts)


@dataclass
class _Draws:
    """An exact draw of b with each proposal."""

    b: np.ndarray

    def made(self, first: int, solved: Solved, log_weight: np.ndarray, rng: np.random.Generator) -> None:
        """See `resample.Keep`."""
        self.b[:, first : first + len(log_weight)] = solved.draw(rng).reshape(*log_weight.shape, -1).swapaxes(0, 1)

    def take(self, made: None) -> None:
        """It is in its place."""


class _Moments:
    """Weighted mean and variance of b about `centre`, by the importance weights of all proposals, which no chain has to choose among."""

    def __init__(self, centre: np.ndarray) -> None:
        self._centre, self._height, self._weight = centre, -np.inf, 0.0
        self._sums = np.zeros((2, len(centre)))

    def made(self, first: int, solved: Solved, log_weight: np.ndarray, rng: np.random.Generator) -> tuple[float, float, np.ndarray]:
        """See `resample.Keep`: the largest log weight, and sums of weights over that."""
        log_weight = log_weight.ravel()
        height = float(log_weight.max())
        weights = np.exp(log_weight - height) if np.isfinite(height) else np.zeros(len(log_weight))
        return height, float(weights.sum()), solved.moments(weights, rng, self._centre)

    def take(self, made: tuple[float, float, np.ndarray]) -> None:
        """Add up, whatever the size of the weights."""
        height, weight, sums = made
        if weight == 0:
            return
        most = max(height, self._height)
        before, now = np.exp(self._height - most), np.exp(height - most)
        self._weight, self._height = before * self._weight + now * weight, most
        self._sums *= before
        self._sums += now * sums

    @property
    def found(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance."""
        away, square = self._sums / self._weight
        return self._centre + away, square - away**2
