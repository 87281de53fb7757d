"""Pivots: numbers that are independent and standard normal at a posterior draw, if the model is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special, stats

from realmat.posterior.contributions import Stream
from realmat.posterior.draws import Posterior
from realmat.table.table import ROW
from realmat.terms.problem import Problem
from realmat.terms.term import Coefficients, degrees, evaluate

_FEWEST = 4  # values of a level whose effects are looked at
_EDGE = 1e-15  # of probabilities
_SIMULATED, _NUMBERS = 1000, 20_000_000  # pivots of a right model, and how many are held at once


@dataclass(frozen=True)
class Layer:
    """Pivots of one kind.

    Attributes
    ----------
    name : str
        The component; ``"row"`` for residuals of rows.
    level : str
        Whose values they belong to.
    labels : array of shape (size,)
    codes : int array of shape (rows,)
        The value that each row of the table belongs to.
    z : array of shape (draws, size)
    scale : float
        Typical standard deviation of what they stand for, on the scale of the link.
    """

    name: str
    level: str
    labels: np.ndarray
    codes: np.ndarray
    z: np.ndarray
    scale: float

    @property
    def size(self) -> int:
        """Number of pivots."""
        return int(self.z.shape[1])

    @property
    def of_rows(self) -> bool:
        """Whether they are residuals of rows."""
        return self.level == ROW and self.name == ROW

    def holding(self, z: np.ndarray) -> Layer:
        """The same with other numbers."""
        return replace(self, z=z)


@dataclass(frozen=True)
class Pivots:
    """The layers of a fit at some posterior draws.

    Attributes
    ----------
    layers : tuple of Layer
        Residuals of rows first.
    fitted : array of shape (rows,)
        Posterior mean of the noiseless value.
    null : tuple of tuple of array of shape (simulated, size)
        For each draw, of each layer: what a right model would give.
    """

    layers: tuple[Layer, ...]
    fitted: np.ndarray
    null: tuple[tuple[np.ndarray, ...], ...]

    def without(self, directions: Sequence[np.ndarray]) -> Pivots | None:
        """As they are with a free coefficient for each direction of shape (rows, n); None where there is no such algebra."""
        return None


def pivots(posterior: Posterior, draws: int, rng: np.random.Generator) -> Pivots:
    """Pivots at `draws` posterior draws; `rng` is for censored rows, whose place beyond the limit is drawn."""
    problem = posterior.problem
    stream = Stream(posterior, draws=draws)
    mean, z, scale = [], [], []
    censored = problem.response_rows.noise.censored
    for chunk in stream:
        eta = chunk.total[problem.cell]
        noise = chunk.sources[-1]
        sd = np.sqrt(np.broadcast_to(noise.variance, (len(stream), eta.shape[1])))[problem.cell]
        sd = sd / np.sqrt(problem.table.count)[:, None]  # of a row that stands for several g is the mean
        own = (problem.g[:, None] - eta) / sd
        side = None if censored is None else censored[problem.cell]
        z.append(_normal(own, noise.nu, side, rng).T)
        mean.append(eta.sum(axis=1))
        scale.append(float(np.sqrt(np.mean(sd**2))))
    rows = rows_of(problem, np.concatenate(z), float(np.mean(scale)))
    blocks = [(block, codes) for block in problem.coefficients if (codes := level_of(problem, block)) is not None]
    layers = (rows, *(_effects(posterior, block, codes, stream.indices) for block, codes in blocks))
    size = int(np.clip(_NUMBERS // sum(layer.size for layer in layers), 100, _SIMULATED))
    null = tuple(rng.standard_normal((size, layer.size)) for layer in layers)
    return Pivots(layers, np.sum(mean, axis=0) / len(stream.indices), (null,) * len(stream.indices))


def rows_of(problem: Problem, z: np.ndarray, scale: float) -> Layer:
    """The layer of the rows."""
    return Layer(ROW, ROW, np.asarray(problem.table.index), np.arange(len(problem.table)), z, scale)


def level_of(problem: Problem, block: Coefficients) -> np.ndarray | None:
    """Which coefficient of a block each row has; None for a block that does not belong to a level, or has few coefficients."""
    if block.level is None or not callable(block.sd) or block.size < _FEWEST or block.coords is None or len(block.coords) != block.size:
        return None
    if block.level == ROW:
        return np.asarray(problem.cell) if block.size == len(problem.cells) else None
    if problem.table.column_of(block.level) not in problem.table.columns:
        return None
    codes = problem.table.codes_in(block.level, np.asarray(block.coords))
    return codes if (codes >= 0).all() else None


def _normal(z: np.ndarray, nu: np.ndarray | None, side: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """Standard normal numbers from standardised residuals of shape (rows, draws): by the distribution's own quantiles, at limits beyond."""
    below = None if side is None else side != 0
    if nu is None and (below is None or not below.any()):
        return z
    p = special.ndtr(z) if nu is None else special.stdtr(nu, z)
    if below is not None and side is not None and below.any():
        u = rng.random((int(below.sum()), z.shape[1]))
        p[below] = np.where(side[below, None] < 0, u * p[below], 1 - u * (1 - p[below]))
    mapped = special.ndtri(np.clip(p, _EDGE, 1 - _EDGE))
    return mapped if nu is None else np.where(z < 0, mapped, -special.ndtri(np.clip(_upper(p, nu, z, below), _EDGE, 1 - _EDGE)))


def _upper(p: np.ndarray, nu: np.ndarray, z: np.ndarray, below: np.ndarray | None) -> np.ndarray:
    """Upper tail probabilities, which keep their digits far out."""
    upper = special.stdtr(nu, -z)
    return upper if below is None else np.where(below[:, None], 1 - p, upper)


def _effects(posterior: Posterior, block: Coefficients, codes: np.ndarray, indices: np.ndarray) -> Layer:
    """Standardised coefficients of a block."""
    b = posterior.block(block.name, indices)
    parts = [(part, posterior.block(part.coefficients, indices) @ part.matrix.T.toarray()) for part in block.mean_parts]
    z, scale = np.empty_like(b), []
    for k, i in enumerate(indices):
        p = posterior.values(int(i))
        sd = np.broadcast_to(np.asarray(evaluate(block.sd, p), dtype=float), (block.size,))
        mean = evaluate(block.mean, p) + sum(evaluate(part.scale, p) * of_draws[k] for part, of_draws in parts)
        z[k] = (b[k] - mean) / np.maximum(sd, 1e-300)
        if block.nu is not None:
            z[k] = stats.norm.isf(np.clip(stats.t.sf(z[k], float(degrees(block.nu, p))), _EDGE, 1 - _EDGE))
        scale.append(float(np.sqrt(np.mean(sd**2))))
    return Layer(block.name, str(block.level), np.asarray(block.coords), codes, z, float(np.mean(scale)))
