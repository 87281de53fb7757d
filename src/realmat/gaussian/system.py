"""The linear-Gaussian system of a problem: everything that follows exactly once the hyperparameters are fixed.

With coefficients b ~ N(m, Q^-1) and measured rows y = A b + offset + eps, eps ~ N(0, R), all functions of psi,

    P = Q + A' R^-1 A,    b | psi, y ~ N(P^-1 (Q m + A' R^-1 (y - offset)), P^-1),
    log p(y | psi) = log p(y, b | psi) - log p(b | psi, y)   for any b, here b = E[b | psi, y]

(Lindley & Smith, J. R. Stat. Soc. B 34, 1, 1972; Rue & Held, Gaussian Markov Random Fields, 2005, section 2.3). Inside, coefficients
are measured from a reference b0, the solution at typical psi, so that no digits are lost to the size of the response.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.linalg import lapack, solve_triangular

from realmat.errors import FitError
from realmat.gaussian import kernels
from realmat.gaussian.family import Family, example_values, of_prior, of_rows, variance_error
from realmat.gaussian.ordering import Pattern
from realmat.problem import Problem
from realmat.terms import Contribution, Values, evaluate

_FEW_KEYS = 8
_LOG_2PI = float(np.log(2 * np.pi))


class System:
    """The sparse pattern of a problem, analysed once; `at` puts numbers in.

    Parameters
    ----------
    problem : Problem

    Attributes
    ----------
    size : int
        Number of coefficients, all blocks together.
    columns : dict of str to slice
        Where each block stands, in the order in which it was declared.
    families : list of Family
        Measured rows, response first, then characterisations, then priors that are linked to other coefficients.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.columns: dict[str, slice] = {}
        start = 0
        for block in problem.coefficients:
            self.columns[block.name] = slice(start, start + block.size)
            start += block.size
        self.size = start
        self.example = example_values(problem.params)
        self.linked = [c for c in problem.coefficients if c.parents or c.nu]
        self.plain = [c for c in problem.coefficients if not (c.parents or c.nu)]
        natural = {name: np.arange(s.start, s.stop) for name, s in self.columns.items()}
        self.pattern = Pattern.of([f.matrix for f in self._make(natural)], self.size)
        self.place = self.pattern.place
        self.families = self._make({name: self.place[index] for name, index in natural.items()})
        self.shift = np.zeros(self.size)
        self._fix_moments()
        self._parts = [_Part(family, self.pattern) for family in self.families]
        self._recentre()

    def _recentre(self) -> None:
        """Measure coefficients from their solution at typical psi (only those that no scale multiplies)."""
        values = {**self.example, **self.example_auxiliary()}
        try:
            reference = self.at(values).centred.copy()
        except FitError:  # typical values may be impossible for this design; then the origin is as good
            return
        for family in self.families:
            reference[family.scaled_columns] = 0.0
        self.shift = reference
        self._fix_moments()
        for family in self.families:
            family.recentre(reference)
        for part in self._parts:
            part.recentred()

    def example_auxiliary(self) -> dict[str, np.ndarray]:
        """Auxiliary values to start from: no local factor, censored values at their limits."""
        local = {f.local: np.ones(len(f.y)) for f in self.families if f.local}
        return local | {f.latent: f.y + f.known + f.centre for f in self.families if f.latent}

    def _make(self, places: Mapping[str, np.ndarray]) -> list[Family]:
        rows = [of_rows(r, places, self.size) for r in self.problem.rows]
        return rows + [of_prior(block, places, self.size, self.example) for block in self.linked]

    @property
    def augmented(self) -> bool:
        """Whether Student t or censored parts need auxiliary values."""
        return any(f.augmented for f in self.families)

    def prior_moments(self, p: Values) -> tuple[np.ndarray, np.ndarray]:
        """Mean (from the reference) and precision of the unlinked coefficients, 0 for linked ones, in elimination order."""
        mean, precision = self._fixed_mean.copy(), self._fixed_precision.copy()
        for block, where in self._moving:
            sd = evaluate(block.sd, p)
            mean[where] = evaluate(block.mean, p) - self.shift[where]
            precision[where] = 1.0 / (sd * sd)
        return mean, precision

    def _fix_moments(self) -> None:
        """Prior moments that do not depend on psi are laid down once."""
        self._fixed_mean, self._fixed_precision = np.zeros(self.size), np.zeros(self.size)
        self._moving = []
        for block in self.plain:
            where = self.place[self.columns[block.name]]
            if callable(block.sd) or callable(block.mean):
                self._moving.append((block, where))
            else:
                self._fixed_mean[where] = block.mean - self.shift[where]
                self._fixed_precision[where] = 1.0 / np.square(block.sd)

    def at(self, values: Values) -> Conditional:
        """Factorise at psi.

        Parameters
        ----------
        values : mapping of parameter name to value
            Auxiliary values of Student t or censored parts belong to it.

        Raises
        ------
        realmat.FitError
            If the matrix is not positive definite at these values.
        """
        return Conditional(self, values)

    def log_marginal(self, values: Values) -> float:
        """log p(y | psi), all measured rows; -inf where the numbers break down."""
        try:
            return self.at(values).log_marginal
        except FitError:
            return -np.inf

    def response(self, values: Values) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
        """The response by cell at psi: A (cells x coefficients, natural order), offset and the variance of a single measurement."""
        family = self.families[0]
        matrix = family.at(values)[:, self.place]
        offset = np.broadcast_to(np.asarray(family.known + family.offset(values), dtype=float), (len(family.y),))
        return matrix.tocsr(), offset, family.row_variance(values)

    def design(self, contribution: Contribution, rows: int, values: Values) -> sparse.csr_matrix:
        """The linear part of a contribution as a matrix (rows x coefficients, natural order) at psi."""
        total = sparse.csr_matrix((rows, self.size))
        for piece in contribution.pieces:
            scale = evaluate(piece.scale, values)
            matrix = piece.matrix.multiply(np.asarray(scale)[:, None]).tocsr() if np.ndim(scale) else piece.matrix * float(scale)
            start = self.columns[piece.coefficients].start
            widened = sparse.csr_matrix((matrix.data, matrix.indices + start, matrix.indptr), shape=(rows, self.size))
            total = total + widened
        return total

    def natural(self, centred: np.ndarray) -> np.ndarray:
        """Coefficients in natural order from b - b0 in elimination order."""
        return (centred + self.shift)[self.place]

    def centre(self, b: np.ndarray) -> np.ndarray:
        """Inverse of `natural`."""
        ordered = np.empty(self.size)
        ordered[self.place] = b
        return ordered - self.shift

    def log_joint(self, values: Values, b: np.ndarray) -> float:
        """log p(y, b | psi) at coefficients `b` of shape (coefficients,), natural order."""
        ordered = self.centre(b)
        mean, precision = self.prior_moments(values)
        own = precision > 0
        total = 0.5 * np.sum(np.log(precision[own]) - _LOG_2PI - precision[own] * (ordered[own] - mean[own]) ** 2)
        return float(total + sum(part.log_density(values, ordered) for part in self._parts))


class _Part:
    """One family's share of P and of the right-hand side: Gram matrices by key where keys are few, else row by row."""

    def __init__(self, family: Family, pattern: Pattern) -> None:
        self.family = family
        self.pattern = pattern
        self.few = len(family.key_u2) <= _FEW_KEYS and not family.augmented and len(family.scales) == 1 and not family.offsets
        if self.few:
            self._grams()

    @cached_property
    def places(self) -> np.ndarray:
        """Flat position of each pair of entries of each row."""
        return self.pattern.pair_places(self.family.matrix)

    def _grams(self) -> None:
        f = self.family
        self.grams, self.sides = [], []
        for k in range(len(f.key_u2)):
            rows = np.flatnonzero(f.key == k)
            sub = f.matrix[rows]
            weighted = sub.multiply(f.count[rows][:, None]).tocsr()
            where, values = self.pattern.positions(sparse.triu((sub.T @ weighted).tocsr()).tocoo())
            if len(where) > 0.2 * self.pattern.flat:  # adding whole arrays is then faster than scattering
                full = np.zeros(self.pattern.flat)
                full[where] = values
                where, values = slice(None), full
            self.grams.append((where, values))
            self.sides.append(weighted.T @ f.y[rows])
        self._totals()

    def _totals(self) -> None:
        f = self.family
        keys = len(f.key_u2)
        self.totals = np.bincount(f.key, weights=f.count, minlength=keys)
        self.squares = np.bincount(f.key, weights=f.count * f.y**2 + f.within, minlength=keys)

    def recentred(self) -> None:
        """The family's values have moved: refresh what was computed from them."""
        if self.few:
            f = self.family
            self._totals()
            for k in range(len(self.sides)):
                rows = np.flatnonzero(f.key == k)
                self.sides[k] = f.matrix[rows].T @ (f.count[rows] * f.y[rows])

    def add(self, p: Values, x: np.ndarray, side: np.ndarray) -> float:
        """Add A' W A to the flat array `x` and A' W (y - offset) to `side`, both in elimination order.

        Returns log p(rows | b = b0, psi).
        """
        f = self.family
        variance = f.variance(p)
        if not np.all(variance > 0):
            raise FitError(variance_error(f.name))
        if self.few:
            for k, (where, gram) in enumerate(self.grams):
                x[where] += gram / variance[k]
                side += self.sides[k] / variance[k]
            return float(-0.5 * np.sum(self.totals * (np.log(variance) + _LOG_2PI) + self.squares / variance))
        by_row = f.row_variance(p)
        weight = f.count / by_row
        scale = f.scale_values(p)
        m = f.matrix
        kernels.assemble(x, m.indptr, m.indices, m.data, f.scale_of, scale, weight, self.places)
        scaled = m.data * scale[f.scale_of]
        residual = f.values(p) - f.offset(p)
        side += np.bincount(m.indices, weights=scaled * np.repeat(weight * residual, np.diff(m.indptr)), minlength=m.shape[1])
        squares = f.count * residual**2 + f.within
        return float(-0.5 * np.sum(f.count * (np.log(by_row) + _LOG_2PI) + squares / by_row))

    def log_density(self, p: Values, b: np.ndarray) -> float:
        """log p(rows | b, psi), with b in elimination order."""
        f = self.family
        residual = f.values(p) - f.offset(p) - f.at(p) @ b
        squares = f.count * residual**2 + f.within
        if self.few:
            variance = f.variance(p)
            by_key = np.bincount(f.key, weights=squares, minlength=len(variance))
            return float(-0.5 * np.sum(self.totals * (np.log(variance) + _LOG_2PI) + by_key / variance))
        variance = f.row_variance(p)
        return float(-0.5 * np.sum(f.count * (np.log(variance) + _LOG_2PI) + squares / variance))


class Conditional:
    """b | psi, y at one psi: a factorised precision matrix and what follows from it.

    Attributes
    ----------
    log_marginal : float
        log p(y | psi), with b integrated out.
    """

    def __init__(self, system: System, values: Values) -> None:
        self.system = system
        self.values = values
        pattern = system.pattern
        x = np.zeros(pattern.flat)
        prior_mean, precision = system.prior_moments(values)
        side = precision * prior_mean
        x[pattern.diagonal] = precision
        own = precision > 0
        at_reference = -0.5 * float(side @ prior_mean) + 0.5 * float(np.sum(np.log(precision[own]))) - 0.5 * _LOG_2PI * np.count_nonzero(own)
        for part in system._parts:
            at_reference += part.add(values, x, side)
        log_det = kernels.factor(x, pattern.ptr, pattern.targets, pattern.lead)
        self._x = x
        self._dense = np.zeros((0, 0))
        if pattern.dense:
            block = x[pattern.base :].reshape((pattern.dense, pattern.dense), order="F")
            self._dense, info = lapack.dpotrf(block, lower=1, clean=1, overwrite_a=0)
            log_det = log_det + 2 * np.sum(np.log(np.diag(self._dense))) if info == 0 else np.nan
        if not np.isfinite(log_det):
            raise FitError("the model is not identified at some parameter values: its precision matrix is not positive definite.")
        self.log_det = float(log_det)
        self._half, square = self._forward(side)
        self.log_marginal = at_reference + 0.5 * square + 0.5 * system.size * _LOG_2PI - 0.5 * self.log_det

    def _forward(self, side: np.ndarray) -> tuple[np.ndarray, float]:
        """L^-1 side with unit variances, and its sum of squares side' P^-1 side."""
        pattern, x = self.system.pattern, self._x
        z = side.copy()
        kernels.forward(x, pattern.ptr, pattern.rows, pattern.lead, z)
        z[: pattern.lead] /= np.sqrt(kernels.pivots(x, pattern.ptr, pattern.lead))
        if pattern.dense:
            z[pattern.lead :] = lapack.dtrtrs(self._dense, z[pattern.lead :], lower=1)[0]
        return z, float(z @ z)

    def _backward(self, half: np.ndarray) -> np.ndarray:
        """L^-T half, in elimination order."""
        pattern, x = self.system.pattern, self._x
        b = half.copy()
        b[: pattern.lead] /= np.sqrt(kernels.pivots(x, pattern.ptr, pattern.lead))
        if pattern.dense:
            b[pattern.lead :] = lapack.dtrtrs(self._dense, b[pattern.lead :], lower=1, trans=1)[0]
        kernels.backward(x, pattern.ptr, pattern.rows, pattern.lead, b)
        return b

    @cached_property
    def centred(self) -> np.ndarray:
        """E[b | psi, y] - b0, in elimination order."""
        return self._backward(self._half)

    @property
    def mean(self) -> np.ndarray:
        """E[b | psi, y], shape (coefficients,), natural order."""
        return self.system.natural(self.centred)

    def log_density(self, b: np.ndarray) -> float:
        """log p(b | psi, y) at `b`, natural order; slow, for checks."""
        n = self.system.size
        deviation = (b - self.mean)[None, :]
        precision = np.linalg.inv(self.cov(sparse.identity(n, format="csr")))
        return float(-0.5 * (deviation @ precision @ deviation.T).item() - 0.5 * n * _LOG_2PI + 0.5 * self.log_det)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One exact draw of b, natural order."""
        return self.system.natural(self.draw_centred(rng))

    def draw_centred(self, rng: np.random.Generator) -> np.ndarray:
        """One exact draw of b - b0, in elimination order."""
        return self._backward(self._half + rng.standard_normal(self.system.size))

    def halves(self, matrix: sparse.csr_matrix) -> tuple[sparse.csr_matrix, np.ndarray]:
        """``(Y, D)`` with X P^-1 X' = Y Y' + D D' for X (rows x coefficients, natural order): Y sparse, D dense."""
        pattern = self.system.pattern
        ordered = sparse.csr_matrix((matrix.data, pattern.place[matrix.indices].astype(np.int32), matrix.indptr), shape=matrix.shape)
        arrays = (ordered.indptr.astype(np.int32), ordered.indices.astype(np.int32), ordered.data.astype(float))
        ptr, idx, val, dense = kernels.spread(*arrays, self._x, pattern.ptr, pattern.rows, pattern.lead, self.system.size)
        half = solve_triangular(self._dense, dense.T, lower=True).T if pattern.dense else dense
        return sparse.csr_matrix((val, idx, ptr), shape=(matrix.shape[0], max(pattern.lead, 1))), half

    def cov(self, left: sparse.csr_matrix, right: sparse.csr_matrix | None = None) -> np.ndarray:
        """Covariance of X b and Y b given psi and y: dense, shape (rows of X, rows of Y)."""
        a, d = self.halves(left)
        b, e = (a, d) if right is None else self.halves(right)
        return np.asarray((a @ b.T).toarray() + d @ e.T)

    def variances(self, matrix: sparse.csr_matrix) -> np.ndarray:
        """Variances of X b given psi and y, shape (rows,)."""
        a, d = self.halves(matrix)
        return np.asarray(a.multiply(a).sum(axis=1)).ravel() + np.einsum("ij,ij->i", d, d)

