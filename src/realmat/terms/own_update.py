"""Terms that draw parameters of their own: too many for the engine to explore, and with a sampler that knows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from realmat.terms.priors import Prior


class OwnUpdate(Protocol):
    """Draws parameters of a term given its coefficients, many chains side by side: arrays have the chains as first axis.

    Attributes
    ----------
    names : tuple of str
        The parameters it draws; others of the problem it neither reads nor changes.
    hands_on : tuple of str
        Names of what `derived` gives.
    block : str
        The coefficients they are drawn given.
    learning : float
        How fast its steps adapt; 0 once the chains are warm.
    size : int
        How many numbers it handles in a sweep of one chain.
    """

    names: tuple[str, ...]
    block: str
    learning: float

    @property
    def size(self) -> int: ...

    @property
    def hands_on(self) -> tuple[str, ...]: ...

    def renamed(self, name: Callable[[str], str], priors: Mapping[str, Prior]) -> OwnUpdate:
        """The same under other names of its variables: `name` gives the new one of each, `priors` are under the new ones."""

    def apart(self) -> OwnUpdate:
        """The same for other chains, with steps that adapt to these."""

    def begin(self, medians: Mapping[str, Any], chains: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Starting values."""

    def derived(self, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Functions of them that the term's pieces, offsets and scales take from among the values where they stand there."""

    def beyond(self, state: dict[str, np.ndarray]) -> np.ndarray:
        """Log density of the term's data beyond that of its rows, shape (chains,)."""

    def along(self, state: dict[str, np.ndarray]) -> np.ndarray:
        """Coordinates, shape (chains, n), that would move slowly given the coefficients: they also move with these integrated out."""

    def moved(self, state: dict[str, np.ndarray], along: np.ndarray) -> dict[str, np.ndarray]:
        """The parameters with those coordinates elsewhere."""

    def log_density(self, state: dict[str, np.ndarray]) -> np.ndarray:
        """Log density of the coordinates, shape (chains,), but for the marginal likelihood and what does not change along them."""

    def settled(self, state: dict[str, np.ndarray], before: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A state where the chains stay after they moved there from another: all its parameters, where `moved` does what is needed."""

    def draw(self, state: dict[str, np.ndarray], b: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """New values given coefficients of shape (chains, size)."""
