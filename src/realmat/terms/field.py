"""Gaussian processes over many descriptors: a length scale each, values at distinct points under a dense prior covariance.

``f = L z``, ``z ~ N(0, I)``, ``L L' = scale^2 k(x, x'; lengthscales)``, k with a length scale for each descriptor (automatic relevance
determination: Neal, Bayesian Learning for Neural Networks, 1996; Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006,
section 5.1). With more distinct points than are affordable the process is carried by inducing points among them (Quinonero-Candela &
Rasmussen, J. Mach. Learn. Res. 6, 1939, 2005, "deterministic training conditional").
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realmat.terms.term import Function, Values, evaluate

MOST_EXACT, INDUCING = 1500, 400
_JITTER = 1e-8  # of the variance: keeps a factor of nearly equal points positive
_FACTORS = {"matern32": math.sqrt(3.0), "matern52": math.sqrt(5.0), "expquad": 1.0}


def shape_of(kernel: str, squared: Any, xp: Any) -> tuple[Any, Any]:
    """Correlation at a squared scaled distance, and its derivative in that (Rasmussen & Williams 2006, eq. 4.9, 4.17)."""
    if kernel == "expquad":
        value = xp.exp(-0.5 * squared)
        return value, -0.5 * value
    factor = _FACTORS[kernel]
    r = factor * xp.sqrt(squared + 1e-300)
    decay = xp.exp(-r)
    if kernel == "matern32":
        return (1 + r) * decay, -0.5 * factor**2 * decay
    return (1 + r + r * r / 3) * decay, -(factor**2) / 6 * (1 + r) * decay


@dataclass(frozen=True)
class Field:
    """A process on the points of a table.

    Attributes
    ----------
    name : str
        The block of its coefficients z, one for each carrying point.
    kernel : str
    points : array of shape (size, D)
        Carrying points, in standard deviations of the descriptors.
    at : array of shape (distinct, D)
        Distinct points of the table; the carrying points themselves where it is exact.
    where : int array of shape (rows,)
        Distinct point of each row.
    lines, shared : arrays of shape (rows, lines) and (lines, rows)
        What the process must not hold: its projection ``lines (shared f)`` is taken out.
    lengthscale, scale : Function
        Of psi: shape (D,) or a number, and a number.
    """

    name: str
    kernel: str
    points: np.ndarray
    at: np.ndarray
    where: np.ndarray
    lines: np.ndarray
    shared: np.ndarray
    lengthscale: Function
    scale: Function
    _last: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def exact(self) -> bool:
        """Whether every distinct point carries."""
        return self.at is self.points

    def covariance(self, p: Values, xp: Any) -> Any:
        """Of the carrying points, with a little on the diagonal."""
        if xp is np:
            out = float(self.scale(p, np)) ** 2 * self._shapes(p)[0]
            out[np.diag_indices_from(out)] *= 1 + _JITTER
            return np.asarray(out)
        return self._symbolic(self.points, p, xp) + self.scale(p, xp) ** 2 * _JITTER * np.eye(len(self.points))

    def _shapes(self, p: Values) -> tuple[np.ndarray, np.ndarray]:
        """Correlation of the carrying points and its derivative in the squared distance; that of the last lengthscales is kept."""
        length = np.asarray(self.lengthscale(p, np), dtype=float)
        if self._last.get("length") != (key := length.tobytes()):
            x = self.points / length
            squares = (x * x).sum(1)
            squared = np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0.0)
            squared[np.diag_indices_from(squared)] = 0.0
            self._last.update(length=key, shapes=shape_of(self.kernel, squared, np))
        return self._last["shapes"]

    def cross(self, x: np.ndarray, p: Values) -> np.ndarray:
        """Covariance of points x (rows, D) with the carrying ones, shape (rows, size)."""
        length = np.asarray(self.lengthscale(p, np), dtype=float)
        a, b = x / length, self.points / length
        squared = np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T, 0.0)
        return np.asarray(float(self.scale(p, np)) ** 2 * shape_of(self.kernel, squared, np)[0])

    def factor(self, p: Values) -> np.ndarray:
        """L at psi; that of the last psi is kept, since draws that share one follow each other."""
        key = np.append(np.asarray(self.lengthscale(p, np), dtype=float), float(self.scale(p, np))).tobytes()
        if self._last.get("key") != key:
            self._last.pop("x", None)
            self._last.update(key=key, factor=np.linalg.cholesky(self.covariance(p, np)))
        return np.asarray(self._last["factor"])

    def carried(self, x: np.ndarray, p: Values) -> np.ndarray:
        """``C L'^-1``: what turns z into values at points x, shape (rows, size); that of the last psi and points is kept."""
        from scipy.linalg import solve_triangular

        factor = self.factor(p)
        if self._last.get("x") is not x:
            self._last.update(x=x, carried=solve_triangular(factor, self.cross(x, p).T, lower=True, check_finite=False).T)
        return np.asarray(self._last["carried"])

    def values(self, z: Any, p: Values, xp: Any) -> Any:
        """The process at the distinct points."""
        factor = xp.linalg.cholesky(self.covariance(p, xp)) if xp is not np else self.factor(p)
        if self.exact:
            return factor @ z
        if xp is np:
            return self.carried(self.at, p) @ z
        inverse = xp.linalg.inv(factor)
        return self._symbolic(self.at, p, xp) @ (inverse.T @ z)

    def _symbolic(self, x: np.ndarray, p: Values, xp: Any) -> Any:
        """`cross` in PyTensor."""
        length = self.lengthscale(p, xp)
        squared = sum(
            ((x[:, d, None] - self.points[None, :, d]) / (length[d] if np.ndim(length) else length)) ** 2 for d in range(x.shape[1])
        )
        return self.scale(p, xp) ** 2 * shape_of(self.kernel, squared, xp)[0]

    def on_rows(self, p: Values, b: Values, xp: Any) -> Any:
        """What the process adds to the rows of the fit."""
        f = self.values(b[self.name], p, xp)[self.where]
        return f - self.lines @ (self.shared @ f)

    def elsewhere(self, x: np.ndarray, lines: np.ndarray, p: Values, b: Values) -> np.ndarray:
        """What its mean given z adds at points x with their own lines."""
        z = b[self.name]
        inside = self.values(z, p, np)[self.where]
        return np.asarray(self.carried(x, p) @ z - lines @ (self.shared @ inside))

    def slopes(self, p: Values, weight: np.ndarray) -> tuple[np.ndarray, float]:
        """``sum_ij weight_ij dK_ij`` by the logarithms of the lengthscales (D,) and of the scale, for symmetric weights; exact only."""
        x = self.points / np.asarray(self.lengthscale(p, np), dtype=float)
        value, slope = self._shapes(p)
        variance = float(self.scale(p, np)) ** 2
        moved = weight * slope
        each = 2 * ((x * x) * moved.sum(1)[:, None] - x * (moved @ x)).sum(0)  # sum_ij moved_ij (x_i - x_j)^2
        return -2 * variance * each, 2 * variance * float(np.vdot(weight, value))

    def left(self, x: np.ndarray, p: Values) -> np.ndarray:
        """Standard deviation that z leaves open at points x, shape (rows,)."""
        scale = float(evaluate(self.scale, p))
        return np.sqrt(np.maximum(scale**2 - np.sum(self.carried(x, p) ** 2, axis=1), 0.0))


def carrying(at: np.ndarray) -> np.ndarray:
    """Points that carry the process: all distinct ones, or centres of clusters of them where they are too many."""
    if len(at) <= MOST_EXACT:
        return at
    from scipy.cluster.vq import kmeans2

    centres, _ = kmeans2(at, at[np.linspace(0, len(at) - 1, INDUCING).astype(int)], iter=10, minit="matrix", missing="warn", seed=1)
    return np.unique(centres, axis=0)


def distinct(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct points in the order of their first rows, and the point of each row."""
    _, first, where = np.unique(x, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(order), dtype=int)
    place[order] = np.arange(len(order))
    return x[np.sort(first)], place[where.ravel()]
