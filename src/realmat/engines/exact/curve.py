"""Theory in closed form is fitted like a curve before it is sampled: least squares from many draws of the prior.

The parameters of a curve may be known a million times better than a priori, and lie anywhere in the prior; a climb from its middle goes
astray. Here the log density given the scales is a sum of squares, with the coefficients at their conditional mean (variable projection:
Golub & Pereyra, SIAM J. Numer. Anal. 10, 413, 1973), so that a trust region with Gauss-Newton steps finds its minima.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import optimize

from realmat.algebra.batched_rows import BatchedRows
from realmat.algebra.batching import Batched
from realmat.engines.exact.modes import spreads, widths
from realmat.engines.exact.space import Density
from realmat.terms.term import evaluate

_MOST = 200  # evaluations of a search
_SMALLEST = 1e-15  # step of a search, in widths of the prior: the posterior may be as narrow
_FALL, _ROUNDINGS = 1e-8, 30.0  # relative, of a sum of squares, that ends a search; and in roundings of a reading
FAR = 1e150  # a residual that has no value
_ROUNDED = 512  # spacings of doubles at the readings' size, below which nothing tells noise from rounding
_FARTHEST = 1e12  # of values, in their own standard deviations


class _Seen(dict[str, Any]):
    """Values that remember who was asked for."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return super().__getitem__(name)


class Curve:
    """The part of theta that bends the mean of the response.

    Parameters
    ----------
    density : Density

    Attributes
    ----------
    index : int array
        Its coordinates; empty where the mean is linear given the scales. `rest` are the others, `scales` those that are logarithms.
    """

    def __init__(self, density: Density) -> None:
        self.density = density
        row_block = density.system.row_blocks[0]
        values, linear = _Seen(density.system.example), _Seen(density.system.example)
        with np.errstate(all="ignore"):
            for offset in density.system.declared[0].offsets:
                offset(values, np)
            for scale in row_block.scales:  # the slope of a state counts from the middle of its column, too
                evaluate(scale, linear)
        where = {q.name: s for q, s in zip(density.space.params, density.space.slices, strict=True)}
        bent = [np.arange(where[name].start, where[name].stop) for name in sorted(values.asked - linear.asked) if name in where]
        self.index = np.sort(np.concatenate(bent)) if bent and (density.aux or not density.system.augmented) else np.zeros(0, dtype=int)
        self.rest = np.setdiff1d(np.arange(density.space.size), self.index)
        self.scales = np.setdiff1d(np.flatnonzero(density.space.logarithmic & ~spreads(density)), self.index)
        rounding = np.finfo(float).eps * _far(row_block.y + row_block.known + row_block.centre)
        self._step, self._fall = float(np.sqrt(rounding)), max(_FALL, _ROUNDINGS * rounding)
        self._rows = [BatchedRows(f) for f in density.system.row_blocks]
        self._priors = [(where, floor, Batched(c.sd), Batched(c.mean)) for c, where, floor in density.system.moving_priors]

    def residuals(self, thetas: np.ndarray, run: int = 1) -> np.ndarray:
        """What is squared and summed, shape (n, numbers), at thetas of shape (n, size): the priors of the curve, coefficients, rows.

        Thetas that come in runs of a few that differ in few coordinates are faster when that is said.
        """
        n, system = len(thetas), self.density.system
        with np.errstate(all="ignore"):
            values = {**self.density.space.many(thetas)[0], **self.density.standing(n)}
            parts, b = [thetas[:, self.index]], np.zeros((n, system.size))
            if system.size:
                system.many.at(values, n).centred(b)
                parts.append(self._away(values, b))
            for given in self._rows:
                f = given.row_block
                left = np.broadcast_to(given.measured(values) - given.offset(values, n, run), (len(f.y), n)).T
                left = left - self._fitted(given, values, b) if f.matrix.nnz else left
                precise = 1 / np.sqrt(given.by_row(values, n) if f.augmented or len(f.key_u2) > 1 else given.variance(values, n))
                parts.append(left * precise * np.sqrt(f.count))
        out = np.concatenate(parts, axis=1)
        out[~(np.abs(out) < FAR)] = FAR  # and where there is no number
        return out

    def _away(self, values: Mapping[str, np.ndarray], b: np.ndarray) -> np.ndarray:
        """Coefficients (n, coefficients), from the reference and in elimination order, less their prior means in prior sds."""
        system, n = self.density.system, len(b)
        out = (b - system.fixed_mean) * np.sqrt(system.fixed_precision)
        for where, floor, sd, mean in self._priors:
            size = (len(where), n)
            middle = np.broadcast_to(np.atleast_2d(mean(values, n)), size).T - system.shift[where]
            out[:, where] = (b[:, where] - middle) / np.sqrt(np.maximum(np.broadcast_to(np.atleast_2d(sd(values, n)), size).T ** 2, floor))
        return out

    def _fitted(self, given: BatchedRows, values: Mapping[str, np.ndarray], b: np.ndarray) -> np.ndarray:
        """What these coefficients add to a block of rows, shape (n, rows)."""
        row_block, scales = given.row_block, given.scales(values, len(b))
        total = np.zeros((len(b), len(row_block.y)))
        for k in range(len(row_block.scales)):
            own = row_block.matrix.copy()
            own.data = np.where(row_block.scale_of == k, row_block.matrix.data, 0.0)
            total += (own @ b.T).T * scales[:, [k]]
        return total

    def passes_through(self, theta: np.ndarray) -> bool:
        """Whether the noise at theta is no more than rounding: the curve is as near to every reading as doubles are."""
        values, _ = self.density.space.many(theta[None])
        noise = max(float(np.sqrt(given.variance(values, 1)).max()) for given in self._rows)
        readings = max(float(np.max(np.abs(g.row_block.y + g.row_block.known + g.row_block.centre), initial=0.0)) for g in self._rows)
        return noise < _ROUNDED * np.spacing(readings)

    def least_squares(self, theta: np.ndarray, linear: np.ndarray, nearest: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """The nearest minimum of the sum of squares, the coordinates beside the curve held.

        Coordinates in which the curve is linear are at their best for any others, so that only these are searched, with the slopes that
        remain beside the linear ones (Kaufman, BIT 15, 49, 1975): along a bent ridge there is then hardly a bend.

        Parameters
        ----------
        theta : array of shape (size,)
        linear : int array
            Coordinates in which the curve is linear.
        nearest : callable
            Thetas, shape (n, size), with these at their best given the others.
        """
        straight = np.isin(self.index, linear)
        bent = self.index[~straight]

        last: list[np.ndarray] = []  # a step that is taken is asked for its slopes next

        def full(t: np.ndarray) -> np.ndarray:
            if not last or not np.array_equal(last[0], t):
                out = theta.copy()
                out[bent] = t
                last[:] = t.copy(), nearest(out[None])[0]
            return last[1]

        def slopes(t: np.ndarray) -> np.ndarray:
            every = self._jacobian(full(t))
            basis = np.linalg.qr(every[:, straight])[0]
            beside: np.ndarray = every[:, ~straight] - basis @ (basis.T @ every[:, ~straight])
            return beside

        if not len(bent):
            return full(theta[bent])
        with np.errstate(all="ignore"):  # where the law has no value the trust region may shrink to nothing
            found = optimize.least_squares(
                lambda t: self.residuals(full(t)[None])[0],
                theta[bent],
                slopes,
                method="trf",
                x_scale="jac",
                xtol=_SMALLEST,
                ftol=self._fall,
                max_nfev=_MOST,
            )
        return full(found.x)

    def _jacobian(self, theta: np.ndarray) -> np.ndarray:
        """Of the residuals in the coordinates of the curve by forward differences, shape (numbers, coordinates of the curve)."""
        around = np.repeat(theta[None], len(self.index) + 1, axis=0)
        own = np.arange(len(self.index))
        around[own, self.index] += self._step * np.maximum(np.abs(theta[self.index]), 1.0)
        values, steps = self.residuals(around), around[own, self.index] - theta[self.index]  # as they came out in floating point
        slopes = (values[:-1] - values[-1]) / steps[:, None]
        return np.where(np.isfinite(slopes) & (np.abs(slopes) < FAR), slopes, 0.0).T

    def root(self, theta: np.ndarray) -> np.ndarray:
        """A root of the covariance of theta: Gauss-Newton along the curve, second differences elsewhere."""
        d = len(theta)
        out = np.zeros((d, d))
        triangle = np.linalg.qr(self._jacobian(theta), mode="r")
        out[np.ix_(self.index, self.index)] = np.linalg.inv(triangle)  # the prior's own rows keep it regular
        out[self.rest, self.rest] = widths(self.density, theta)[self.rest]
        return out


def _far(y: np.ndarray) -> float:
    """How far readings are from zero, in their standard deviations: a law there has fewer digits left where it moves."""
    away = float(np.std(y)) if len(y) else 0.0
    return float(np.clip(float(np.max(np.abs(y))) / away if away > 0 else 1.0, 1.0, _FARTHEST))
