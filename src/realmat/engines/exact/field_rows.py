"""All measured rows of a problem with processes: moments given psi, and exact draws of the coefficients."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from scipy import linalg, sparse

from realmat.terms.field import Field, distinct
from realmat.terms.problem import Problem
from realmat.terms.term import Coefficients, Piece, Rows, Values, evaluate, side_by_side

_LOG_2PI = float(np.log(2 * np.pi))


class MeasuredRows:
    """Some response rows, and every characterisation.

    Attributes
    ----------
    y : array of shape (rows,)
    fields : list of Field
        On the points of these rows, each carried by all of them, or where all rows count by its own points.
    columns : dict of str to slice
        Where each block of coefficients stands among all, as the problem declares them.
    """

    def __init__(self, problem: Problem, rows: np.ndarray) -> None:
        self.problem, self.response = problem, rows
        response = problem.response_rows
        cut = tuple((owner, replace(piece, matrix=piece.matrix[rows])) for owner, piece in response.pieces)
        self.offsets = [f for _, f in response.offsets]
        first = Rows(response.name, response.y[rows], cut, (), response.noise.take(rows), response.count[rows], response.within[rows])
        self.sheets = [first, *problem.rows[1:]]
        self.y = np.concatenate([sheet.y for sheet in self.sheets])
        self.whole = len(rows) == len(response.y)
        self.fields = [self._on(c.field) for c in problem.contributions if c.field is not None]
        self.columns, self.size = side_by_side(problem.coefficients)
        mine = {field.name for field in self.fields}
        self.blocks = [block for block in problem.coefficients if block.name not in mine]
        self.places, self.others = side_by_side(self.blocks)

    def _on(self, field: Field) -> Field:
        """A process on the rows that count: there every distinct point carries. Its memory is its own, as chains run side by side."""
        if self.whole:
            return replace(field, _last={})
        at, where = distinct(field.at[field.where[self.response]])
        lines = field.lines[self.response]
        shared = np.linalg.lstsq(lines, np.eye(len(lines)), rcond=None)[0]
        return replace(field, points=at, at=at, where=where, lines=lines, shared=shared, _last={})

    def _design(self, p: Values) -> np.ndarray:
        """Matrix of the other coefficients, shape (rows, others)."""
        parts = []
        for k, sheet in enumerate(self.sheets):
            design = self._constant[k].copy()
            for _, piece in sheet.pieces:
                if piece.scale is not None:
                    self._add(design, piece, float(evaluate(piece.scale, p)))
            parts.append(design)
        return np.vstack(parts)

    @cached_property
    def _constant(self) -> list[np.ndarray]:
        """The part of each sheet's matrix that no scale multiplies."""
        out = [np.zeros((len(sheet.y), self.others)) for sheet in self.sheets]
        for design, sheet in zip(out, self.sheets, strict=True):
            for _, piece in sheet.pieces:
                if piece.scale is None:
                    self._add(design, piece, 1.0)
        return out

    def _add(self, design: np.ndarray, piece: Piece, scale: float) -> None:
        coo, first = piece.matrix.tocoo(), self.places[piece.coefficients].start
        np.add.at(design, (coo.row, first + coo.col), coo.data * scale)

    def _prior(self, p: Values) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``b = mean + K b + sd e`` of the other coefficients: mean, K, sd."""
        k, mean, sd = np.zeros((self.others, self.others)), np.zeros(self.others), np.zeros(self.others)
        for block in self.blocks:
            here = self.places[block.name]
            mean[here], sd[here] = evaluate(block.mean, p), _sd(block, p)
            for part in block.mean_parts:
                k[here, self.places[part.coefficients]] += part.matrix.toarray() * evaluate(part.scale, p)
        return mean, k, sd

    def _offset(self, p: Values) -> np.ndarray:
        n = len(self.problem.response_rows.y)
        own = sum((np.broadcast_to(np.asarray(f(p, np), dtype=float), (n,)) for f in self.offsets), np.zeros(n))[self.response]
        rest = [sum((np.asarray(f(p, np), dtype=float) for _, f in sheet.offsets), np.zeros(len(sheet.y))) for sheet in self.sheets[1:]]
        return np.concatenate([own, *rest])

    def _single(self, p: Values) -> np.ndarray:
        """Variance of single measurements of each row."""
        out = []
        for sheet in self.sheets:
            scales = np.append(np.asarray(sheet.noise.scales(p, np), dtype=float), 0.0) if sheet.noise.scales else np.zeros(1)
            out.append(sheet.noise.u**2 + scales[sheet.noise.group] ** 2)
        return np.concatenate(out)

    def noise(self, p: Values) -> np.ndarray:
        """Variance of the noise of each row."""
        return self._single(p) / self._count

    @cached_property
    def _count(self) -> np.ndarray:
        return np.concatenate([sheet.count for sheet in self.sheets])

    def moments(self, p: Values) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean of the rows without processes, their covariance from the other coefficients, and the variance of their noise."""
        design, (mean, k, sd) = self._design(p), self._prior(p)
        through = design if not k.any() else np.linalg.solve((np.eye(len(k)) - k).T, design.T).T
        scaled = through * sd
        return self._offset(p) + through @ mean, scaled @ scaled.T, self.noise(p)

    def within(self, p: Values) -> tuple[float, np.ndarray]:
        """Log density of the deviations within cells, and the variances of single measurements."""
        variance = self._single(p)
        count, within = (np.concatenate([getattr(sheet, name) for sheet in self.sheets]) for name in ("count", "within"))
        return float(np.sum(-0.5 * (count - 1) * (_LOG_2PI + np.log(variance)) - 0.5 * np.log(count) - 0.5 * within / variance)), variance

    def processes(self, p: Values) -> np.ndarray:
        """Covariance of the rows from the processes."""
        n, m = len(self.y), len(self.response)
        out = np.zeros((n, n))
        for field in self.fields:
            k = field.covariance(p, np)
            k = k if self._alone(field) else k[np.ix_(field.where, field.where)]
            k = k - field.lines @ (field.shared @ k)
            out[:m, :m] += k - (k @ field.shared.T) @ field.lines.T
        return out

    def pulled(self, index: int, weight: np.ndarray) -> np.ndarray:
        """Weights of row pairs, carried back to pairs of points of a process."""
        field, m = self.fields[index], len(self.response)
        w = weight[:m, :m]
        w = w - field.shared.T @ (field.lines.T @ w)
        w = w - (w @ field.lines) @ field.shared
        if self._alone(field):
            return np.asarray(w)
        gather = sparse.csr_matrix((np.ones(m), (field.where, np.arange(m))), shape=(len(field.points), m))
        return np.asarray(gather @ (gather @ w).T).T

    def _alone(self, field: Field) -> bool:
        """Whether every row is a point of its own."""
        return len(field.points) == len(self.response) and bool((field.where == np.arange(len(field.where))).all())

    def draw(self, p: Values, rng: np.random.Generator, times: int) -> np.ndarray:
        """Exact draws of all coefficients given psi, shape (times, size), in the order of the problem."""
        mean, k, sd = self._prior(p)
        left = (np.eye(self.others) - k) / sd[:, None]
        sizes = [len(field.points) for field in self.fields]
        design, start = np.zeros((len(self.y), self.others + sum(sizes))), self.others
        design[:, : self.others] = self._design(p)
        for field, size in zip(self.fields, sizes, strict=True):
            carried = (field.factor(p) if field.exact else field.carried(field.at, p))[field.where]
            design[: len(self.response), start : start + size] = carried - field.lines @ (field.shared @ carried)
            start += size
        count = np.concatenate([sheet.count for sheet in self.sheets])
        root = np.sqrt(count / self._single(p))[:, None]
        precision = (design * root).T @ (design * root)
        precision[: self.others, : self.others] += left.T @ left
        precision[np.arange(self.others, start), np.arange(self.others, start)] += 1.0
        side = design.T @ (root[:, 0] ** 2 * (self.y - self._offset(p)))
        side[: self.others] += left.T @ (mean / sd)
        lower = linalg.cholesky(precision, lower=True, check_finite=False)
        centre = linalg.cho_solve((lower, True), side, check_finite=False)
        noise = linalg.solve_triangular(lower, rng.standard_normal((start, times)), lower=True, trans=1, check_finite=False)
        return self._ordered((centre[:, None] + noise).T)

    def _ordered(self, b: np.ndarray) -> np.ndarray:
        out, start = np.empty((len(b), self.size)), self.others
        for block in self.blocks:
            out[:, self.columns[block.name]] = b[:, self.places[block.name]]
        for field in self.fields:
            out[:, self.columns[field.name]] = b[:, start : start + len(field.points)]
            start += len(field.points)
        return out


def _sd(block: Coefficients, p: Values) -> np.ndarray:
    return np.broadcast_to(np.asarray(evaluate(block.sd, p), dtype=float), (block.size,))
