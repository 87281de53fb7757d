"""Where draws go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realmat.algebra import System
from realmat.algebra.space import Space
from realmat.engines.exact import chain
from realmat.engines.exact.space import Density
from realmat.posterior.draws import Draws


@dataclass
class Store:
    """Where coefficient draws go: all of them, or only their mean and sd."""

    system: System
    chains: int
    size: int
    latents: str
    b: np.ndarray = field(init=False)
    mean: np.ndarray | None = None
    square: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.latents == "draws":
            self.b = np.empty((self.chains, self.size, self.system.size))

    @property
    def keep(self) -> chain.Keep | None:
        """What the chain calls with draws of b."""
        if self.latents != "draws":
            return None

        def put(first: int, b: np.ndarray) -> None:
            self.b[:, first : first + len(b)] = b.swapaxes(0, 1)

        return put

    def choose(self, index: np.ndarray, thetas: np.ndarray, density: Density, seed: int) -> None:
        """Keep the draws that were accepted, repeated as often as the chain stayed."""
        if self.latents == "draws":
            for c, row in enumerate(index):
                stayed = np.flatnonzero(row != np.arange(len(row)))  # what they repeat is in its place already
                self.b[c, stayed] = self.b[c, row[stayed]]
            self.b = self.b[:, : index.shape[1]]
            return
        pairs, times = np.unique(np.stack([np.repeat(np.arange(len(index)), index.shape[1]), index.ravel()]), axis=1, return_counts=True)
        self._summarise(thetas[*pairs], times, density, seed)

    def put(self, b: np.ndarray) -> None:
        """Draws of shape (chains, draws, size), natural order."""
        if self.latents == "draws":
            self.b = b
        else:
            self.mean, self.square = b.mean(axis=(0, 1)), b.var(axis=(0, 1))

    def fill(self, thetas: np.ndarray, density: Density, seed: int) -> None:
        """Draw b afresh at every theta of shape (chains, draws, size)."""
        flat = thetas.reshape(-1, thetas.shape[-1])
        if self.latents != "draws":
            self._summarise(flat, np.ones(len(flat)), density, seed)
            return
        drawn = [density.solve(flat[batch])[1].draw(np.random.default_rng([seed, 2, batch.start])) for batch in density.batches(len(flat))]
        self.b = np.concatenate(drawn).reshape(*thetas.shape[:2], -1)

    def _summarise(self, thetas: np.ndarray, times: np.ndarray, density: Density, seed: int) -> None:
        share = times / times.sum()
        mean, square = np.zeros(self.system.size), np.zeros(self.system.size)
        centre: np.ndarray | None = None

        def work(batch: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            solved = density.solve(thetas[batch])[1]
            return share[batch], solved.mean(), solved.draw(np.random.default_rng([seed, 2, batch.start]))

        for weight, m, b in density.map(work, density.batches(len(thetas))):
            centre = m[0] if centre is None else centre
            mean += weight @ m
            square += weight @ (b - centre) ** 2
        assert centre is not None
        self.mean = mean
        self.square = square - (mean - centre) ** 2

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
