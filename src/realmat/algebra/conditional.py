"""The coefficients at one psi, exactly."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import lapack, solve_triangular

from realmat.algebra import kernels
from realmat.errors import FitError
from realmat.terms.term import Values

if TYPE_CHECKING:
    from realmat.algebra.system import System

NOT_IDENTIFIED = "the model is not identified at some parameter values: its precision matrix is not positive definite."
_LOG_2PI = float(np.log(2 * np.pi))
_SMALL = 1e6  # multiply-adds below which BLAS is done before sparse matrices have been looked at
_FEW = 200  # coefficients up to which a dense square root of P^-1 is done before sparse matrices have been looked at
_DENSE_GAIN = 40  # multiply-adds that BLAS does in the time of a sparse one


class Halves(NamedTuple):
    """A square root of the covariance of some quantities: it is Y Y' + D D', with Y sparse (or None) and D dense, a row for each."""

    sparse: sparse.csr_matrix | None
    dense: np.ndarray

    def variances(self) -> np.ndarray:
        """Variance of each quantity, shape (rows,)."""
        own = np.einsum("ij,ij->i", self.dense, self.dense)
        if self.sparse is None:
            return own
        y = self.sparse
        row = np.repeat(np.arange(y.shape[0]), np.diff(y.indptr))
        return np.bincount(row, weights=y.data**2, minlength=y.shape[0]) + own

    def paired(self, other: Halves, mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        """Covariances of some of these with some other quantities, pair by pair."""
        out = np.einsum("ij,ij->i", self.dense[mine], other.dense[theirs])
        if self.sparse is not None and other.sparse is not None:
            out += np.asarray(self.sparse[mine].multiply(other.sparse[theirs]).sum(axis=1)).ravel()
        return out

    def scaled(self, factor: float) -> Halves:
        """The same quantities times a number."""
        return Halves(None if self.sparse is None else self.sparse * factor, self.dense * factor)

    def add_covariance(self, other: Halves, out: np.ndarray) -> None:
        """Add the covariance with other quantities to `out`, shape (rows, rows of the other)."""
        if self.sparse is None or other.sparse is None:
            out += self.dense @ other.dense.T
            return
        a, b = self.sparse.tocsc(), other.sparse.tocsc()
        busy = np.diff(a.indptr) * np.diff(b.indptr) > out.size / _DENSE_GAIN
        busy |= out.size * a.shape[1] < _SMALL
        out += np.hstack([a[:, busy].toarray(), self.dense]) @ np.hstack([b[:, busy].toarray(), other.dense]).T
        if not busy.all():
            few = (a[:, ~busy] @ b[:, ~busy].T).tocoo()
            out[few.row, few.col] += few.data


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
        x = system.fixed.copy()
        prior_mean, precision = system.prior_moments(values)
        side = precision[: system.rest] * prior_mean[: system.rest]
        x[pattern.diagonal] += precision[: system.rest]
        own = precision > 0
        at_reference = system.fixed_log - 0.5 * float(side @ prior_mean[: system.rest])
        side += system.fixed_side
        at_reference += 0.5 * float(np.sum(np.log(precision[own]))) - 0.5 * _LOG_2PI * np.count_nonzero(own)
        for part in system.moving:
            at_reference += part.add(values, x, side)
        effect_square, effect_log_det = self._eliminate_effect(x, side)
        log_det = effect_log_det + kernels.factor(x, pattern.ptr, pattern.targets, pattern.lead, pattern.full, pattern.dense)
        self._x = x
        self._dense = np.zeros((0, 0))
        if pattern.dense:
            block = x[pattern.base :].reshape((pattern.dense, pattern.dense), order="F")
            self._dense, info = lapack.dpotrf(block, lower=1, clean=1, overwrite_a=0)
            log_det = log_det + 2 * np.sum(np.log(np.diag(self._dense))) if info == 0 else np.nan
        if not np.isfinite(log_det):
            raise FitError(NOT_IDENTIFIED)
        self.log_det = float(log_det)
        self._half, square = self._forward(side)
        self.log_marginal = at_reference + 0.5 * (square + effect_square) + 0.5 * system.size * _LOG_2PI - 0.5 * self.log_det

    def _eliminate_effect(self, x: np.ndarray, side: np.ndarray) -> tuple[float, float]:
        """Take the eliminated effect out of P and of the right-hand side; returns its share of side' P^-1 side and of log det P."""
        effect = self.system.eliminated
        if effect is None:
            return 0.0, 0.0
        w, pivots, at_nodes = effect.at(self.values)
        factor = w * w / at_nodes
        x -= effect.pair_sums @ factor
        side -= factor @ effect.side_sums
        return float(factor @ effect.square_sums), float(effect.class_sizes @ np.log(pivots))

    def _with_effect(self, rest: np.ndarray, noise: np.ndarray | float = 0.0) -> np.ndarray:
        """All coefficients from those of the rest: the effect given them, at its mean plus `noise` in its own standard deviations."""
        effect = self.system.eliminated
        if effect is None:
            return rest
        w, pivots, _ = effect.at(self.values)
        own = pivots[effect.class_of]
        return np.concatenate([rest, w * (effect.side - effect.coupling @ rest) / own + noise / np.sqrt(own)])

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

    def whitened(self, gradient: np.ndarray) -> np.ndarray:
        """L^-1 G, where P = L L', for many columns: shape (coefficients, n), in elimination order; only where no effect is eliminated."""
        pattern, z = self.system.pattern, np.ascontiguousarray(gradient).copy()
        kernels.forward_many(self._x, pattern.ptr, pattern.rows, pattern.lead, z)
        z[: pattern.lead] /= self._roots
        if pattern.dense:
            z[pattern.lead :] = self._inverse @ z[pattern.lead :]
        return z

    def coloured(self, white: np.ndarray) -> np.ndarray:
        """L'^-1 W, the transposed map: of standard normals it makes draws of b less its mean."""
        pattern, b = self.system.pattern, np.ascontiguousarray(white).copy()
        b[: pattern.lead] /= self._roots
        if pattern.dense:
            b[pattern.lead :] = self._inverse.T @ b[pattern.lead :]
        kernels.backward_many(self._x, pattern.ptr, pattern.rows, pattern.lead, b)
        return b

    @cached_property
    def _inverse(self) -> np.ndarray:
        """Of the trailing block's factor: it is applied thousands of times."""
        return np.asarray(solve_triangular(self._dense, np.eye(len(self._dense)), lower=True))

    @cached_property
    def _roots(self) -> np.ndarray:
        pattern = self.system.pattern
        return np.sqrt(kernels.pivots(self._x, pattern.ptr, pattern.lead))[:, None]

    def raised(self, deviation: np.ndarray) -> np.ndarray:
        """L' D, the inverse of `coloured`."""
        pattern, z = self.system.pattern, np.ascontiguousarray(deviation).copy()
        kernels.raise_many(self._x, pattern.ptr, pattern.rows, pattern.lead, z)
        z[: pattern.lead] *= self._roots
        if pattern.dense:
            z[pattern.lead :] = self._dense.T @ z[pattern.lead :]
        return z

    @cached_property
    def centred(self) -> np.ndarray:
        """E[b | psi, y] - b0, in elimination order."""
        return self._with_effect(self._backward(self._half))

    @property
    def mean(self) -> np.ndarray:
        """E[b | psi, y], shape (coefficients,), natural order."""
        return self.system.natural(self.centred)

    def log_density(self, b: np.ndarray) -> float:
        """log p(b | psi, y) at `b`, natural order; slow, for checks."""
        n = self.system.size
        halves = self.halves(sparse.identity(n, format="csr"))
        root = halves.dense if halves.sparse is None else np.hstack([halves.sparse.toarray(), halves.dense])
        root = np.linalg.qr(root.T, mode="r")  # its square is the covariance
        whitened = np.linalg.solve(root.T, b - self.mean)
        return float(-0.5 * whitened @ whitened - 0.5 * n * _LOG_2PI + 0.5 * self.log_det)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One exact draw of b, natural order."""
        return self.system.natural(self.completed(rng.standard_normal(self.system.size)))

    def completed(self, noise: np.ndarray) -> np.ndarray:
        """A draw of b - b0, in elimination order, from standard normals."""
        rest = self.system.rest
        return self._with_effect(self._backward(self._half + noise[:rest]), noise[rest:])

    def halves(self, matrix: sparse.csr_matrix, inside: bool = False) -> Halves:
        """A square root of X P^-1 X' for X (rows x coefficients, natural order); `inside`: it is of the coefficients inside already."""
        system, pattern = self.system, self.system.pattern
        if system.rotation is not None:  # all columns of a turned block are there
            return Halves(None, self.whitened(system.dense(matrix, inside)).T)
        matrix = matrix if inside else system.frame.moved(matrix)[0]
        if system.size <= _FEW:  # for any X, as two square roots must be of one kind
            return Halves(None, np.asarray(matrix @ self._root))
        ordered = sparse.csr_matrix((matrix.data, system.place[matrix.indices].astype(np.int32), matrix.indptr), shape=matrix.shape)
        ordered, own = self._past_effect(ordered)
        arrays = (ordered.indptr.astype(np.int32), ordered.indices.astype(np.int32), ordered.data.astype(float))
        ptr, idx, val, dense = kernels.spread(*arrays, self._x, pattern.ptr, pattern.rows, pattern.lead, system.rest)
        half = solve_triangular(self._dense, dense.T, lower=True).T if pattern.dense else dense
        lead = sparse.csr_matrix((val, idx, ptr), shape=(matrix.shape[0], max(pattern.lead, 1)))
        return Halves(lead if own is None else sparse.hstack([lead, own], format="csr"), half)

    @cached_property
    def _root(self) -> np.ndarray:
        """A dense square root of P^-1, shape (coefficients, coefficients), rows in the natural order of the frame."""
        system, pattern = self.system, self.system.pattern
        root = np.zeros((system.size, system.size))
        rest = root[: system.rest]
        rest[:, : system.rest] = np.eye(system.rest)
        rest[: pattern.lead] /= self._roots
        if pattern.dense:
            rest[pattern.lead :] = self._inverse.T @ rest[pattern.lead :]
        kernels.backward_many(self._x, pattern.ptr, pattern.rows, pattern.lead, rest)
        if system.eliminated is not None:
            w, pivots, _ = system.eliminated.at(self.values)
            own = pivots[system.eliminated.class_of]
            root[system.rest :] = (-w / own)[:, None] * (system.eliminated.coupling @ rest)
            root[np.arange(system.rest, system.size), np.arange(system.rest, system.size)] = 1 / np.sqrt(own)
        return root[system.place]

    def _past_effect(self, ordered: sparse.csr_matrix) -> tuple[sparse.csr_matrix, sparse.csr_matrix | None]:
        """Rows of coefficients once the effect is eliminated, and its part of their square root."""
        effect, rest = self.system.eliminated, self.system.rest
        if effect is None:
            return ordered, None
        w, pivots, _ = effect.at(self.values)
        touching = ordered[:, rest:].tocsr()
        inverse = sparse.diags(1 / pivots[effect.class_of])
        remaining = (ordered[:, :rest] - w * (touching @ inverse @ effect.coupling)).tocsr()
        return remaining, (touching @ inverse.sqrt()).tocsr()

    def cov(self, left: sparse.csr_matrix, right: sparse.csr_matrix | None = None) -> np.ndarray:
        """Covariance of X b and Y b given psi and y: dense, shape (rows of X, rows of Y)."""
        a = self.halves(left)
        b = a if right is None else self.halves(right)
        out = np.zeros((len(a.dense), len(b.dense)))
        a.add_covariance(b, out)
        return out

    def variances(self, matrix: sparse.csr_matrix) -> np.ndarray:
        """Variances of X b given psi and y, shape (rows,)."""
        return self.halves(matrix).variances()
