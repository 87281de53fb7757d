"""What a design can tell about the hyperparameters: the expected (Fisher) information, before any response is looked at.

With all measured rows y ~ N(mu(psi), V(psi)) after the coefficients are integrated out (Mardia & Marshall, Biometrika 71, 135, 1984),

    I_ij = 1/2 tr(V^-1 dV/dpsi_i V^-1 dV/dpsi_j) + dmu/dpsi_i' V^-1 dmu/dpsi_j.

Coordinates are logarithms of positive parameters; others are counted in their own size, or in prior standard deviations where those are
smaller. One unit is then a factor e, or as much as there is. V is applied, never formed: prior covariances are sparse, and V^-1 is
Woodbury's identity with a sparse factorisation. Traces are exact for small designs and estimated from random signs for large ones
(Hutchinson, Commun. Stat. Simul. Comput. 18, 1059, 1989), which leaves directions that the design cannot see at exactly zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse.linalg import splu

from realmat.algebra.example import example_values
from realmat.algebra.frame import Frame
from realmat.algebra.space import Space
from realmat.algebra.system import design
from realmat.posterior.reading import link_variance
from realmat.terms.problem import Problem
from realmat.terms.term import Contribution, Param, Values, evaluate, side_by_side

_EXACT_ROWS = 400
_DENSE, _FULL = 500, 0.3  # coefficients, and share of numbers from which a matrix is better held as dense
_PROBES = 128
_STEP = 1e-4
_SYMMETRIC: dict[str, Any] = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
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
    probes, norm = _probes(model.size)
    whitened = Inverse(model, centre)
    seen = whitened(probes)
    right, left, mean, spread = [], [], [], []
    for _, _, k, unit in kept:
        step = np.zeros(len(theta))
        step[k] = _STEP * unit
        up, down = space.values(theta + step), space.values(theta - step)
        right.append(whitened((model.times(up, probes) - model.times(down, probes)) / (2 * _STEP)))
        left.append((model.times(up, seen) - model.times(down, seen)) / (2 * _STEP))
        with np.errstate(all="ignore"):  # where a law has no value, or one that is no number, it tells nothing
            moved = (model.mean(up) - model.mean(down)) / (2 * _STEP)
        mean.append(np.where(np.abs(moved) < _FAR, moved, 0.0))
        spread.append((np.log(model.variance(up)) - np.log(model.variance(down))) / (2 * _STEP))
    size = len(kept)
    matrix = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            matrix[i, j] = 0.5 * np.sum(left[i] * right[j]) * norm + 0.5 * np.sum((model.count - 1) * spread[i] * spread[j])
    if size:
        matrix += np.stack(mean) @ whitened(np.stack(mean, axis=1))
    return Information(tuple(q for q, *_ in kept), tuple(j for _, j, *_ in kept), (matrix + matrix.T) / 2)


def _unit(param: Param, values: Values, example: Values) -> float:
    """A step of one in the coordinate: a factor e for positive parameters; for the others their size, or a prior sd where that is less."""
    prior = param.prior
    if not np.isinf(prior.support).all():
        return 1.0
    size = float(np.max(np.abs(values[param.name]))) / prior.width(example)
    return min(1.0, size) if size > 0 else 1.0


def _probes(size: int) -> tuple[np.ndarray, float]:
    if size <= _EXACT_ROWS:
        return np.eye(size), 1.0
    return np.random.default_rng(0).choice([-1.0, 1.0], (size, _PROBES)), 1.0 / _PROBES


class Marginal:
    """Mean and covariance of all measured rows (a cell is one row), as functions of psi, with the coefficients integrated out."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.columns, self.coefficients = side_by_side(problem.coefficients)
        self._frame = Frame.of([part.response_rows for part in problem.every], problem.coefficients, self.columns)
        self.count = np.concatenate([rows.count for rows in problem.rows])
        self.size = len(self.count)
        self._pieces = [Contribution(tuple(piece for _, piece in rows.pieces)) for rows in problem.rows]

    def linked(self, p: Values) -> sparse.csr_matrix:
        """Linear parts of prior means, ``b = mean + linked b + sd * normal``, for the coefficients b of centred columns."""
        columns, total = self.columns, sparse.csr_matrix((self.coefficients, self.coefficients))
        for block in self.problem.coefficients:
            for part in block.mean_parts:
                coo = part.matrix.tocoo()
                where = (coo.row + columns[block.name].start, coo.col + columns[part.coefficients].start)
                total = total + sparse.csr_matrix((coo.data * float(evaluate(part.scale, p)), where), shape=total.shape)
        one = sparse.identity(self.coefficients, format="csr")
        return total if self._frame.plain else one - self._frame.moved(one - total)[0]

    def design(self, p: Values) -> sparse.csr_matrix:
        """A(psi) with centred columns, shape (rows, coefficients)."""
        sizes = self.columns, self.coefficients
        parts = [design(c, len(r.y), p, *sizes) for c, r in zip(self._pieces, self.problem.rows, strict=True)]
        return self._frame.moved(sparse.vstack(parts, format="csr"))[0]

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

    def times(self, p: Values, z: np.ndarray) -> np.ndarray:
        """V(psi) z, for z of shape (rows, n)."""
        a, linked = self.design(p), self.linked(p)
        inner = (self.prior_sd(p) ** 2)[:, None] * propagate(linked.T, a.T @ z)
        return np.asarray(a @ propagate(linked, inner) + (self.variance(p) / self.count)[:, None] * z)


def propagate(links: sparse.csr_matrix, x: np.ndarray) -> np.ndarray:
    """(I - links)^-1 x, links being nilpotent."""
    total, step = x, links @ x
    while np.any(step):
        total = total + step
        step = links @ step
    return total


class Inverse:
    """V(psi)^-1 by Woodbury's identity."""

    def __init__(self, model: Marginal, p: Values) -> None:
        self.weight = model.count / model.variance(p)
        self.a = model.design(p)
        centred = sparse.identity(model.coefficients) - model.linked(p)
        prior = centred.T @ sparse.diags(1 / model.prior_sd(p) ** 2) @ centred
        self.solve = _solver((prior + self.a.T @ self.a.multiply(self.weight[:, None])).tocsc()) if model.coefficients else None

    def __call__(self, z: np.ndarray) -> np.ndarray:
        scaled = self.weight[:, None] * z
        if self.solve is None:
            return scaled
        return np.asarray(scaled - self.weight[:, None] * (self.a @ self.solve(self.a.T @ scaled)))


def _solver(matrix: sparse.csc_matrix) -> Any:
    """Solves with a symmetric positive definite matrix, by a dense factor where that is small, or full."""
    if matrix.shape[0] > _DENSE and matrix.nnz < _FULL * matrix.shape[0] ** 2:
        return splu(matrix, **_SYMMETRIC).solve
    factor = cho_factor(matrix.toarray())
    return lambda right: cho_solve(factor, right)
