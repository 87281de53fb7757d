"""What a design can tell about the hyperparameters: the expected (Fisher) information, before any response is looked at.

With all measured rows y ~ N(mu(psi), V(psi)) after the coefficients are integrated out (Mardia & Marshall, Biometrika 71, 135, 1984),

    I_ij = 1/2 tr(V^-1 dV/dpsi_i V^-1 dV/dpsi_j) + dmu/dpsi_i' V^-1 dmu/dpsi_j.

Coordinates are logarithms of positive parameters; others are counted in their own size, or in prior standard deviations where those are
smaller. One unit is then a factor e, or as much as there is. V is applied, never formed: prior covariances are sparse, and V^-1 is
Woodbury's identity with the sparse factor of the exact engine. Traces are exact for small designs and estimated from random signs for
large ones (Hutchinson, Commun. Stat. Simul. Comput. 18, 1059, 1989), which leaves directions that the design cannot see at exactly zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import cho_solve, lapack, solve_triangular

from realmat.algebra import System, kernels
from realmat.algebra.conditional import NOT_IDENTIFIED
from realmat.algebra.example import example_values
from realmat.algebra.ordering import Pattern
from realmat.algebra.space import Space
from realmat.errors import FitError
from realmat.posterior.reading import link_variance
from realmat.terms.problem import Problem
from realmat.terms.term import Contribution, Param, Values, evaluate

_EXACT_ROWS = 400
_PROBES = 128
_NUMBERS = 4_000_000  # of random signs held at once
_STEP = 1e-4
_FAR = 1e100  # its square is still a number
_ZERO = 1e-6  # of the width of a prior
_OFF_CENTRE = 0.6  # quantile of a prior around zero that stands for "an effect is there"


@dataclass(frozen=True)
class Information:
    """Expected information about each element of each hyperparameter.

    Attributes
    ----------
    params : tuple of Param
        One for each coordinate; a vector parameter appears once for each element.
    element : tuple of int or None
        Which element of a vector.
    matrix : array of shape (coordinates, coordinates)
    """

    params: tuple[Param, ...]
    element: tuple[int | None, ...]
    matrix: np.ndarray


def typical_values(problem: Problem) -> dict[str, Any]:
    """Prior medians, which default priors scale by the data; an effect that is zero there is moved to a small one."""
    values = example_values(problem.params)
    for param in problem.params:
        prior = param.prior
        if not np.isinf(prior.support).all() or prior.references:
            continue
        if np.all(np.abs(values[param.name]) < _ZERO * prior.width()):
            moved = float(prior.ppf(_OFF_CENTRE))
            values[param.name] = moved if param.coords is None else np.full(param.size, moved)
    return values


def information(problem: Problem, values: Values | None = None) -> Information:
    """Expected information at hyperparameters `values` (`typical_values` by default).

    Student t parts count as normal with the same scale, censored values as measured, and effects that are not linear given their
    parameters not at all. Hyperparameters that a term draws itself count as known.
    """
    tails = {rows.noise.nu for rows in problem.rows} | {block.nu for block in problem.coefficients} | problem.swept
    space = Space(problem.params)
    centre = dict(typical_values(problem) if values is None else values)
    theta = space.theta(centre)
    every = [
        (q, None if q.coords is None else j, s.start + j) for q, s in zip(problem.params, space.slices, strict=True) for j in range(q.size)
    ]
    example = example_values(problem.params)
    kept = [(q, j, k, _unit(q, centre, example)) for q, j, k in every if q.name not in tails]
    model = Marginal(problem)
    whitened = Inverse(model, centre)
    changes, mean, spread = [], [], []
    for _, _, k, unit in kept:
        step = np.zeros(len(theta))
        step[k] = _STEP * unit
        up, down = space.values(theta + step), space.values(theta - step)
        changes.append(Change(model, up, down))
        with np.errstate(all="ignore"):  # where a law has no value, or one that is no number, it tells nothing
            moved = (model.mean(up) - model.mean(down)) / (2 * _STEP)
        mean.append(np.where(np.abs(moved) < _FAR, moved, 0.0))
        spread.append((np.log(model.variance(up)) - np.log(model.variance(down))) / (2 * _STEP))
    size = len(kept)
    matrix = np.zeros((size, size))
    for probes, norm in _probes(model.size):
        seen = whitened(probes)
        left, right = [change(seen) for change in changes], [whitened(change(probes)) for change in changes]
        matrix += np.array([[0.5 * norm * np.vdot(a, b) for b in right] for a in left]).reshape(size, size)
    if size:
        weighted = np.stack(spread) * (model.count - 1)
        matrix += 0.5 * weighted @ np.stack(spread).T + np.stack(mean) @ whitened(np.stack(mean, axis=1))
    return Information(tuple(q for q, *_ in kept), tuple(j for _, j, *_ in kept), (matrix + matrix.T) / 2)


def _unit(param: Param, values: Values, example: Values) -> float:
    """A step of one in the coordinate: a factor e for positive parameters; for the others their size, or a prior sd where that is less."""
    prior = param.prior
    if not np.isinf(prior.support).all():
        return 1.0
    size = float(np.max(np.abs(values[param.name]))) / prior.width(example)
    return min(1.0, size) if size > 0 else 1.0


def _probes(size: int) -> Iterator[tuple[np.ndarray, float]]:
    """Columns whose outer products average to the identity, some at a time, and the weight of each."""
    if size <= _EXACT_ROWS:
        yield np.eye(size), 1.0
        return
    rng, most = np.random.default_rng(0), max(1, _NUMBERS // size)
    for start in range(0, _PROBES, most):
        yield rng.choice([-1.0, 1.0], (size, min(most, _PROBES - start))), 1.0 / _PROBES


class Marginal:
    """Mean and covariance of all measured rows (a cell is one row), as functions of psi, with the coefficients integrated out."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.system = System(problem, eliminate=False)
        self.count = np.concatenate([rows.count for rows in problem.rows])
        self.size = len(self.count)
        self._pieces = [Contribution(tuple(piece for _, piece in rows.pieces)) for rows in problem.rows]

    @cached_property
    def _fixed(self) -> tuple[sparse.csr_matrix, sparse.csr_matrix] | None:
        """Links and design where neither depends on psi."""
        scales = [part.scale for block in self.problem.coefficients for part in block.mean_parts]
        scales += [piece.scale for contribution in self._pieces for piece in contribution.pieces]
        return None if any(map(callable, scales)) else (self._linked({}), self._design({}))

    def linked(self, p: Values) -> sparse.csr_matrix:
        """Linear parts of prior means, ``b = mean + linked b + sd * normal``, for the coefficients b of centred columns."""
        return self._linked(p) if self._fixed is None else self._fixed[0]

    def design(self, p: Values) -> sparse.csr_matrix:
        """A(psi) with centred columns, shape (rows, coefficients)."""
        return self._design(p) if self._fixed is None else self._fixed[1]

    def spread(self, p: Values) -> sparse.csc_matrix:
        """A (I - linked)^-1: what independent parts of the coefficients, of standard deviation `prior_sd`, add to each row."""
        if self._fixed is not None:
            return self._fixed_spread
        return _propagated(self.design(p), self.linked(p))

    @cached_property
    def _fixed_spread(self) -> sparse.csc_matrix:
        return _propagated(self.design({}), self.linked({}))

    def _linked(self, p: Values) -> sparse.csr_matrix:
        columns, total = self.system.columns, sparse.csr_matrix((self.system.size, self.system.size))
        for block in self.problem.coefficients:
            for part in block.mean_parts:
                coo = part.matrix.tocoo()
                where = (coo.row + columns[block.name].start, coo.col + columns[part.coefficients].start)
                total = total + sparse.csr_matrix((coo.data * float(evaluate(part.scale, p)), where), shape=total.shape)
        one = sparse.identity(self.system.size, format="csr")
        return total if self.system.frame.plain else one - self.system.frame.moved(one - total)[0]

    def _design(self, p: Values) -> sparse.csr_matrix:
        parts = [self.system.design(c, len(r.y), p) for c, r in zip(self._pieces, self.problem.rows, strict=True)]
        return self.system.frame.moved(sparse.vstack(parts, format="csr"))[0]

    def prior_sd(self, p: Values) -> np.ndarray:
        """Standard deviation of each coefficient around its prior mean."""
        return self._blocks([evaluate(block.sd, p) for block in self.problem.coefficients])

    def _blocks(self, values: Sequence[Any]) -> np.ndarray:
        sizes = [block.size for block in self.problem.coefficients]
        parts = [np.broadcast_to(np.asarray(v, dtype=float), (n,)) for v, n in zip(values, sizes, strict=True)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def variance(self, p: Values) -> np.ndarray:
        """Noise variance of a single measurement of each row."""
        out = []
        for rows in self.problem.rows:
            noise = rows.noise
            if noise.density is not None and noise.density.native:
                out.append(link_variance(noise, noise.density.guess(rows.y)[:, None], [p])[:, 0])
                continue
            scales = np.append(np.asarray(noise.scales(p, np), dtype=float), 0.0) if noise.scales else np.zeros(1)
            out.append(noise.u**2 + scales[noise.group] ** 2)
        return np.concatenate(out)

    def mean(self, p: Values) -> np.ndarray:
        """mu(psi)."""
        offsets = [sum((np.asarray(f(p, np), dtype=float) for _, f in r.offsets), np.zeros(len(r.y))) for r in self.problem.rows]
        own = self._blocks([evaluate(block.mean, p) for block in self.problem.coefficients])
        return np.asarray(self.design(p) @ propagate(self.linked(p), own) + np.concatenate(offsets))


def propagate(links: sparse.csr_matrix, x: np.ndarray) -> np.ndarray:
    """(I - links)^-1 x, links being nilpotent."""
    if not links.nnz:
        return x
    total, step = x, links @ x
    while np.any(step):
        total = total + step
        step = links @ step
    return total


def _propagated(design: sparse.csr_matrix, links: sparse.csr_matrix) -> sparse.csc_matrix:
    """A (I - links)^-1, links being nilpotent."""
    total, step = design, design @ links
    while step.count_nonzero():
        total, step = total + step, step @ links
    return total.tocsc()


class Change:
    """The derivative of V(psi) = B S^2 B' + R in one coordinate, applied to columns; only what changes is multiplied."""

    def __init__(self, model: Marginal, up: Values, down: Values) -> None:
        above, below = model.spread(up), model.spread(down)
        high, low = model.prior_sd(up) ** 2 / (2 * _STEP), model.prior_sd(down) ** 2 / (2 * _STEP)
        terms = [(above, high - low)] if above is below else [(above, high), (below, -low)]
        self._parts = [(matrix[:, some], weight[some]) for matrix, weight in terms if len(some := np.flatnonzero(weight))]
        self._noise = (model.variance(up) - model.variance(down)) / (2 * _STEP * model.count)

    def __call__(self, z: np.ndarray) -> np.ndarray:
        out = self._noise[:, None] * z
        for matrix, weight in self._parts:
            out += matrix @ (weight[:, None] * (matrix.T @ z))
        return out


class Inverse:
    """V(psi)^-1 by Woodbury's identity."""

    def __init__(self, model: Marginal, p: Values) -> None:
        self.weight = model.count / model.variance(p)
        self.a = model.design(p)
        centred = sparse.identity(model.system.size) - model.linked(p)
        prior = centred.T @ sparse.diags(1 / model.prior_sd(p) ** 2) @ centred
        self.weighted = sparse.csr_matrix(self.a.multiply(self.weight[:, None]))
        self.factor = _Factor(model.system.pattern, prior + self.a.T @ self.weighted)

    @property
    def diagonal(self) -> np.ndarray:
        """Of V^-1, shape (rows,)."""
        return np.maximum(self.weight - self.weight**2 * self.factor.variances(self.a), 0.0)

    def __call__(self, z: np.ndarray) -> np.ndarray:
        out = self.weight[:, None] * z
        out -= self.weighted @ self.factor.solve(self.weighted.T @ z)
        return out


class _Factor:
    """A positive definite matrix of a known pattern, factorised."""

    def __init__(self, pattern: Pattern, matrix: sparse.csr_matrix) -> None:
        coo = sparse.csr_matrix(matrix).tocoo()
        ordered = sparse.coo_matrix((coo.data, (pattern.place[coo.row], pattern.place[coo.col])), shape=coo.shape)
        upper = sparse.triu(ordered).tocoo()
        where, values = pattern.positions(upper.row, upper.col), upper.data
        self._pattern, self._x, self._trailing, info = pattern, np.zeros(pattern.flat), np.zeros((0, 0)), 0
        self._x[where] = values
        log_det = kernels.factor(self._x, pattern.ptr, pattern.targets, pattern.lead, pattern.full, pattern.dense)
        if pattern.dense:
            block = self._x[pattern.base :].reshape((pattern.dense, pattern.dense), order="F")
            self._trailing, info = lapack.dpotrf(block, lower=1)
        if info or not np.isfinite(log_det):
            raise FitError(NOT_IDENTIFIED)
        self._pivots = kernels.pivots(self._x, pattern.ptr, pattern.lead)[:, None]

    def solve(self, right: np.ndarray) -> np.ndarray:
        """The solution for right-hand sides of shape (size, n)."""
        pattern = self._pattern
        z = np.empty(right.shape)
        z[pattern.place] = right
        kernels.forward_many(self._x, pattern.ptr, pattern.rows, pattern.lead, z)
        z[: pattern.lead] /= self._pivots
        if pattern.dense:
            z[pattern.lead :] = cho_solve((self._trailing, True), z[pattern.lead :])
        kernels.backward_many(self._x, pattern.ptr, pattern.rows, pattern.lead, z)
        return z[pattern.place]

    def variances(self, matrix: sparse.csr_matrix) -> np.ndarray:
        """The diagonal of X M^-1 X', M being the matrix, shape (rows of X,)."""
        pattern, out = self._pattern, np.zeros(matrix.shape[0])
        step = max(1, _NUMBERS // max(pattern.dense, 1))
        for start in range(0, len(out), step):
            some = matrix[start : start + step]
            arrays = (some.indptr.astype(np.int32), pattern.place[some.indices].astype(np.int32), some.data.astype(float))
            ptr, _, half, trailing = kernels.spread(*arrays, self._x, pattern.ptr, pattern.rows, pattern.lead, pattern.size)
            row = np.repeat(np.arange(some.shape[0]), np.diff(ptr))
            out[start : start + step] = np.bincount(row, weights=half**2, minlength=some.shape[0])
            if pattern.dense:
                half = solve_triangular(self._trailing, trailing.T, lower=True)
                out[start : start + step] += np.einsum("ij,ij->j", half, half)
        return out
