"""Metropolis proposals that learn during warm-up from the draws of all chains.

Three kinds: a random walk (all directions at once or one at a time: Haario, Saksman & Tamminen, Bernoulli 7, 223, 2001); a draw from a
kernel density of the history, which jumps between modes and along ridges; and swaps, which exchange what two parts of a model explain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import special

from realmat.engines.exact import mixture as mix

KINDS = ("walk", "kernel", "swap")
_TARGET = 0.3  # acceptance of the walk
_BUFFER = 64
_KERNELS = 500
_WIDTH = 0.6  # of a kernel, relative to the part of the history around it


@dataclass
class Proposal:
    """Where to go, the log ratio of proposal densities (back over there), and the kind of move."""

    there: np.ndarray
    log_ratio: float
    kind: int


@dataclass
class Tally:
    """What one chain has tried and taken, by kind, and what it has drawn ahead: chains that share no tally may run side by side."""

    tried: np.ndarray = field(default_factory=lambda: np.zeros(len(KINDS)))
    taken: np.ndarray = field(default_factory=lambda: np.zeros(len(KINDS)))
    ahead: list[np.ndarray] = field(default_factory=list)


class Proposals:
    """Proposals for some places of theta.

    Parameters
    ----------
    index : int array of shape (d,)
    covariance : array of shape (d, d)
        A guess to start from.
    swaps : sequence of int arrays of shape (d,)
        Permutations of the places, each its own inverse.
    jumps : bool
        Whether to draw from a kernel density: no use where the density moved in is much narrower than the history.
    """

    def __init__(self, index: np.ndarray, covariance: np.ndarray, swaps: Sequence[np.ndarray] = (), jumps: bool = True) -> None:
        self.index, self.swaps, self.jumps = index, list(swaps), jumps
        self.factor = np.linalg.cholesky(covariance + 1e-8 * np.eye(len(index)))
        self.log_length = 0.0
        self.kernel: _Kernel | None = None
        self.share = 0.0  # of proposals from the kernel density
        self.hits = 0.0  # of these, accepted in the last round

    def propose(self, theta: np.ndarray, rng: np.random.Generator, tally: Tally) -> Proposal:
        """A new theta; only the places in `index` differ."""
        here, there = theta[self.index], theta.copy()
        share = rng.random()
        kind, ratio = 0, 0.0
        if self.swaps and share < 0.1:
            kind = 2
            there[self.index] = here[self.swaps[rng.integers(len(self.swaps))]]
        elif self.kernel and rng.random() < self.share:
            kind = 1
            tally.ahead = tally.ahead or list(self.kernel.mixture.draw(rng, _BUFFER))
            new = tally.ahead.pop()
            ratio = self.kernel.log_density(here) - self.kernel.log_density(new)
            there[self.index] = new
        else:
            z = rng.standard_normal(len(here))
            if len(here) > 1 and rng.random() < 0.4:  # joint steps alone crawl in many dimensions
                z[np.arange(len(here)) != rng.integers(len(here))] = 0.0
                z *= np.sqrt(len(here))
            there[self.index] = here + 2.4 / np.sqrt(len(here)) * np.exp(self.log_length) * (self.factor @ z)
        tally.tried[kind] += 1
        return Proposal(there, ratio, kind)

    def accept(self, proposal: Proposal, change: float, rng: np.random.Generator, tally: Tally) -> bool:
        """Whether to take it, where the log density changes by `change`."""
        taken = np.log(rng.random()) < change + proposal.log_ratio
        tally.taken[proposal.kind] += taken
        return bool(taken)

    def adapt(self, history: np.ndarray, rng: np.random.Generator, tallies: Sequence[Tally]) -> None:
        """Learn from warm-up draws of theta, shape (n, theta size), and from what chains have taken."""
        tried, taken = (sum((getattr(t, name) for t in tallies), np.zeros(len(KINDS))) for name in ("tried", "taken"))
        x = history[:, self.index]
        d = x.shape[1]
        if len(x) > 10 * d:
            covariance = np.cov(x.T).reshape(d, d)
            self.factor = np.linalg.cholesky(covariance + 1e-6 * np.diag(np.diag(covariance)) + 1e-12 * np.eye(d))
            if self.jumps:
                self.kernel = _Kernel(kernels(x[rng.permutation(len(x))[:_KERNELS]], rng))
        if self.kernel:
            self.hits = taken[1] / max(tried[1], 1)
            self.share = min(0.2 + 2 * self.hits, 0.85)
        if tried[0]:
            self.log_length += taken[0] / tried[0] - _TARGET


def acceptance(tallies: Sequence[Tally]) -> dict[str, float]:
    """Share of proposals accepted, by kind."""
    tried, taken = (sum((getattr(t, name) for t in tallies), np.zeros(len(KINDS))) for name in ("tried", "taken"))
    return {name: round(float(a / n), 3) for name, a, n in zip(KINDS, taken, tried, strict=True) if n}


def kernels(x: np.ndarray, rng: np.random.Generator) -> mix.Mixture:
    """A kernel at each of the draws x, as wide as the component of a fitted mixture it belongs to, beside that mixture, widened."""
    n = len(x)
    fitted = mix.fit(x, np.full(n, 1 / n), rng)
    own = fitted.factors[np.argmax(fitted.parts(x)[0], axis=0)]
    wide = mix.defended(fitted, share=0.5)
    return mix.Mixture(
        np.concatenate([np.full(n, 0.85 / n), 0.15 * wide.weights]),
        np.concatenate([x, wide.locations]),
        np.concatenate([_WIDTH * own, wide.factors]),
        np.concatenate([np.full(n, 8.0), wide.nu]),
    )


class _Kernel:
    """A mixture of many t, quick at one point at a time."""

    def __init__(self, mixture: mix.Mixture) -> None:
        self.mixture = mixture
        self.inverse = np.linalg.inv(mixture.factors)
        self.origin = np.einsum("kij,kj->ki", self.inverse, mixture.locations)
        d = mixture.locations.shape[1]
        self.half, self.nu = 0.5 * (mixture.nu + d), mixture.nu
        log_det = np.log(np.diagonal(mixture.factors, axis1=1, axis2=2)).sum(axis=1)
        constant = special.gammaln(self.half) - special.gammaln(0.5 * self.nu) - 0.5 * d * np.log(self.nu * np.pi)
        self.height = np.log(mixture.weights) + constant - log_det

    def log_density(self, x: np.ndarray) -> float:
        z = self.inverse @ x - self.origin
        logs = self.height - self.half * np.log1p((z * z).sum(axis=1) / self.nu)
        top = logs.max()
        return float(top + np.log(np.exp(logs - top).sum()))
