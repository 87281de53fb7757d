"""Pivots of a model that is normal given its hyperparameters: with the coefficients integrated out, y ~ N(mu, V).

With e = V^-1 (y - mu), the score of adding a number to row i is e_i, and that of moving a coefficient is the row of the design against e
("auxiliary residuals": de Jong & Penzer, J. Am. Stat. Assoc. 93, 796, 1998). Their joint distribution given the hyperparameters is that of
simulated y, sent the same way. What was found is taken out as a coefficient without a prior, of the simulated y too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from realmat.attribution.information import Inverse, Marginal, propagate
from realmat.posterior.contributions import Stream
from realmat.posterior.draws import Posterior
from realmat.terms.problem import nonlinear_terms
from realmat.terms.term import Values
from realmat.validation.misfit.pivots import Layer, Pivots, level_of, rows_of

_NUMBERS = 8_000_000  # of simulated rows held at once
_BLOCK = 8  # simulated tables that are sent through the algebra together
_SIMULATED = (40, 200)  # at each draw of hyperparameters, least and most: together enough to tell RATE by
_NOTHING = 1e-6  # of a score's standard deviation: what rounding leaves of one that was taken out


def applies(posterior: Posterior) -> bool:
    """Whether the model is normal given its hyperparameters."""
    return not nonlinear_terms(posterior.problem) and not posterior.system.augmented


@dataclass(frozen=True)
class MarginalPivots(Pivots):
    """Pivots that can be had without what was found."""

    at: tuple[_At, ...]

    def without(self, directions: Sequence[np.ndarray]) -> Pivots:
        """As they are with a free coefficient for each direction of shape (rows, n)."""
        every = [a.standardised(np.column_stack(directions)) for a in self.at]
        layers, null = _sorted(self.layers, every)
        return MarginalPivots(layers, self.fitted, null, self.at)


def pivots(posterior: Posterior, draws: int, rng: np.random.Generator) -> MarginalPivots:
    """Pivots at `draws` draws of the hyperparameters, with simulated ones of a right model."""
    problem = posterior.problem
    model = Marginal(problem)
    simulated = int(np.clip(_NUMBERS // (len(problem.table) + model.size), *_SIMULATED))
    blocks = [(block, codes) for block in problem.coefficients if (codes := level_of(problem, block)) is not None]
    columns = [posterior.system.columns[block.name] for block, _ in blocks]
    at = tuple(_At(model, posterior.values(int(i)), columns, rng, simulated) for i in posterior.thin(draws))
    fitted, stream = np.zeros(len(problem.cells)), Stream(posterior, draws=4 * draws)
    for chunk in stream:
        fitted += chunk.total.sum(axis=1) / len(stream.indices)
    empty = np.zeros((0, 0))
    layers = [rows_of(problem, empty, float(np.sqrt(np.mean([np.mean(a.noise) for a in at]))))]
    for (block, codes), where in zip(blocks, columns, strict=True):
        scale = float(np.sqrt(np.mean([np.mean(a.sd[where] ** 2) for a in at])))
        layers.append(Layer(block.name, str(block.level), np.asarray(block.coords), codes, empty, scale))
    kept, null = _sorted(layers, [a.standardised() for a in at])
    return MarginalPivots(kept, fitted[problem.cell], null, at)


def _sorted(layers: Sequence[Layer], every: list[list[np.ndarray]]) -> tuple[tuple[Layer, ...], tuple[tuple[np.ndarray, ...], ...]]:
    """Layers with the observed pivots, which stand last, and by draw what was simulated."""
    kept = tuple(layer.holding(np.stack([own[k][-1] for own in every])) for k, layer in enumerate(layers))
    return kept, tuple(tuple(z[:-1] for z in own) for own in every)


class _At:
    """Scores at one draw of the hyperparameters: of simulated tables, and last of the measured one."""

    def __init__(self, model: Marginal, p: Values, columns: list[slice], rng: np.random.Generator, simulated: int) -> None:
        problem = model.problem
        self.model, self.columns = model, columns
        self.sd, variance = model.prior_sd(p), model.variance(p)
        self.design, self.inverse, self.linked = model.design(p), Inverse(model, p), model.linked(p)
        self.cell, cells = problem.cell, len(problem.response_rows.y)
        self.of_row, self.count = problem.table.count, problem.response_rows.count  # measurements that a row and a cell stand for
        self.noise = variance[:cells][self.cell] / self.of_row
        self.several = np.flatnonzero(self.of_row < self.count[self.cell])  # rows beside others in their cell
        self.rows, self.e = np.empty((simulated + 1, len(self.cell))), np.empty((simulated + 1, model.size))
        for where in _blocks(simulated):
            self._put(where, *self._simulated(rng, variance, where.stop - where.start))
        measured = np.concatenate([r.y for r in problem.rows]) - model.mean(p)
        self._put(slice(simulated, None), measured[:, None], self._by_cell(problem.g[self.several, None])[1])
        self.variance = self._variances()

    def _simulated(self, rng: np.random.Generator, variance: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Tables of a right model less its mean: means of cells (and other measured rows), and rests of rows beside others."""
        b = propagate(self.linked, self.sd[:, None] * rng.standard_normal((len(self.sd), n)))
        means = self.design @ b + np.sqrt(variance / self.model.count)[:, None] * rng.standard_normal((self.model.size, n))
        within = np.sqrt(self.noise[self.several])[:, None] * rng.standard_normal((len(self.several), n))
        return means, self._by_cell(within)[1]

    def _put(self, where: slice, means: np.ndarray, within: np.ndarray) -> None:
        rows, e = self._solved(means, within)
        self.rows[where], self.e[where] = rows.T, e.T

    @cached_property
    def _averaging(self) -> sparse.csr_matrix:
        """Means of cells of rows beside others, shape (cells, such rows)."""
        cell = self.cell[self.several]
        each = self.of_row[self.several] / self.count[cell]
        return sparse.csr_matrix((each, (cell, np.arange(len(cell)))), shape=(len(self.count), len(cell)))

    def _by_cell(self, several: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean of each cell, of rows beside others, and what is left of each such row."""
        mean = np.asarray(self._averaging @ several)
        return mean, several - mean[self.cell[self.several]]

    def _solved(self, means: np.ndarray, within: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """V^-1 of values given as means of cells (and other measured rows) and as rests of rows beside others: by row, and by cell."""
        e = self.inverse(means)
        rows = (e[: len(self.count)] / self.count[:, None])[self.cell] * self.of_row[:, None]
        rows[self.several] += within / self.noise[self.several, None]
        return rows, e

    def _moves(self, e: np.ndarray) -> np.ndarray:
        """Scores of moving coefficients, shape (n, coefficients), from e of shape (n, size)."""
        return np.concatenate([propagate(self.linked.T, self.design.T @ e[where].T).T for where in _blocks(len(e))])

    def _variances(self) -> list[np.ndarray]:
        """Of the scores of each layer if the model is right: of V^-1, and of B' V^-1 B = S^-2 - S^-2 Var(independent parts | y) S^-2."""
        share = self.of_row / self.count[self.cell]
        rows = share**2 * self.inverse.diagonal[: len(self.count)][self.cell] + (1 - share) / self.noise
        precision = 1 / self.sd**2
        independent = sparse.identity(len(self.sd), format="csr") - self.linked
        moves = np.maximum(precision - precision**2 * self.inverse.factor.variances(independent), 0.0)
        return [rows, *(moves[where] for where in self.columns)]

    def standardised(self, directions: np.ndarray | None = None) -> list[np.ndarray]:
        """Scores of each layer over their standard deviations, shape (simulated + 1, size); without directions of shape (rows, n)."""
        rows, e, variance = self.rows, self.e, self.variance
        if directions is not None:
            padded = np.zeros((self.model.size, directions.shape[1]))
            mean, within = self._by_cell(directions[self.several])
            padded[: len(mean)] = mean
            alone = np.delete(np.arange(len(directions)), self.several)
            padded[self.cell[alone]] = directions[alone]
            u, solved = self._solved(padded, within)
            inner = np.linalg.pinv(directions.T @ u)
            taken, moved = rows @ directions @ inner, self._moves(solved.T)
            rows, e = rows - taken @ u.T, e - taken @ solved.T
            less = [u.T, *(moved[:, where] for where in self.columns)]
            variance = [v - np.einsum("ji,jk,ki->i", part, inner, part) for v, part in zip(variance, less, strict=True)]
        moves = self._moves(e)
        out = []
        for part, v, whole in zip([rows, *(moves[:, where] for where in self.columns)], variance, self.variance, strict=True):
            there = v > _NOTHING**2 * whole
            out.append(part * np.where(there, 1 / np.sqrt(np.where(there, v, 1.0)), 0.0))
        return out


def _blocks(size: int) -> Iterator[slice]:
    """Some tables at a time, which stay in the cache."""
    return (slice(start, min(start + _BLOCK, size)) for start in range(0, size, _BLOCK))
