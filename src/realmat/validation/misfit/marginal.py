"""Pivots of a model that is normal given its hyperparameters: with the coefficients integrated out, y ~ N(mu, V).

With e = V^-1 (y - mu), the score of adding a number to row i is e_i, and that of moving a coefficient is the row of the design against e
("auxiliary residuals": de Jong & Penzer, J. Am. Stat. Assoc. 93, 796, 1998). Their joint distribution given the hyperparameters is that of
simulated y, sent the same way. What was found is taken out as a coefficient without a prior, of the simulated y too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from realmat.attribution.information import Inverse, Marginal, propagate
from realmat.posterior.contributions import Stream
from realmat.posterior.draws import Posterior
from realmat.terms.problem import nonlinear_terms
from realmat.terms.term import Values
from realmat.validation.misfit.pivots import Layer, Pivots, level_of, rows_of

_NUMBERS = 8_000_000  # of simulated rows held at once
_SIMULATED = (60, 200)  # at each draw of hyperparameters, least and most
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
        b = propagate(self.linked, self.sd[:, None] * rng.standard_normal((len(self.sd), simulated)))
        others = np.sqrt(variance / model.count)[:, None] * rng.standard_normal((model.size, simulated))
        rows = np.sqrt(self.noise)[:, None] * rng.standard_normal((len(self.cell), simulated))
        mean, within = self._by_cell(rows)
        others[:cells] = mean
        measured = np.concatenate([r.y for r in problem.rows]) - model.mean(p)
        means = np.column_stack([self.design @ b + others, measured])
        self.scores = self._solved(means, np.column_stack([within, problem.g - problem.response_rows.y[self.cell]]))
        self.typical = [np.sqrt(np.mean(part[:, :-1] ** 2, axis=1)) for part in self._parts(*self.scores)]

    def _by_cell(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean of each cell, and what is left of each row."""
        each = self.of_row / self.count[self.cell]
        mean = sparse.csr_matrix((each, (self.cell, np.arange(len(self.cell)))), shape=(len(self.count), len(self.cell))) @ rows
        return np.asarray(mean), rows - mean[self.cell]

    def _solved(self, means: np.ndarray, within: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """V^-1 of values given as means of cells (and other measured rows) and as rests of rows: by row, and by cell."""
        e = self.inverse(means)
        shared = (e[: len(self.count)] / self.count[:, None])[self.cell] * self.of_row[:, None]
        return shared + within / self.noise[:, None], e

    def _parts(self, rows: np.ndarray, e: np.ndarray) -> list[np.ndarray]:
        moves = propagate(self.linked.T, self.design.T @ e)
        return [rows, *(moves[where] for where in self.columns)]

    def standardised(self, directions: np.ndarray | None = None) -> list[np.ndarray]:
        """Scores of each layer over their standard deviations, shape (simulated + 1, size); without directions of shape (rows, n)."""
        rows, e = self.scores
        if directions is not None:
            mean, within = self._by_cell(directions)
            padded = np.zeros((self.model.size, directions.shape[1]))
            padded[: len(mean)] = mean
            u, solved = self._solved(padded, within)
            taken = np.linalg.pinv(directions.T @ u) @ (directions.T @ rows)
            rows, e = rows - u @ taken, e - solved @ taken
        out = []
        for part, typical in zip(self._parts(rows, e), self.typical, strict=True):
            sd = np.sqrt(np.mean(part[:, :-1] ** 2, axis=1))
            there = sd > _NOTHING * typical
            out.append((part * np.where(there, 1 / np.where(there, sd, 1.0), 0.0)[:, None]).T)
        return out
