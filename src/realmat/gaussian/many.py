"""The linear-Gaussian system at many psi at once: what `Conditional` computes for one, in compiled loops.

Exploring the hyperparameters needs thousands of evaluations of a small system each; Python's share of one is then larger than the
algebra's. Here functions of psi are evaluated for a whole batch, Gram matrices enter as one matrix product, and factorisation,
solution and draws run without returning to Python. `Conditional` is the reference that tests compare with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from realmat.gaussian import batch_kernels
from realmat.gaussian.lifted import Lifted
from realmat.gaussian.part import Part
from realmat.terms import Coefficients, evaluate

if TYPE_CHECKING:
    from realmat.gaussian.leaf import Leaf
    from realmat.gaussian.system import System

_LOG_2PI = float(np.log(2 * np.pi))
_NUMBERS = 1_000_000  # held at once by a batch
_NEARLY = 0.3  # share of numbers that are not zero from which a matrix is better held as dense
Batch = Mapping[str, np.ndarray]


class Many:
    """Evaluates a system without Student t or censored parts at batches of psi.

    Parameters
    ----------
    system : System

    Raises
    ------
    ValueError
        If parts are Student t or censored.

    Attributes
    ----------
    most : int
        Largest batch whose numbers stay in the cache.
    """

    def __init__(self, system: System) -> None:
        if system.augmented:
            raise ValueError("Student t or censored parts have auxiliary values of their own: evaluate one psi at a time.")
        self.system = system
        priors = [_ManyPriors(system, *prior) for prior in system.moving_priors]
        self._priors, self._other_priors = [p for p in priors if p.stackable], [p for p in priors if not p.stackable]
        parts = [_ManyRows(part) for part in system.moving]
        self._stacked, self._scattered = [p for p in parts if p.stackable], [p for p in parts if not p.stackable]
        self._constant = 0.5 * _LOG_2PI * sum(block.size for block in system.linked)
        if system.leaf is not None:
            self._response, self._leaf_sd = _ManyRows(system.parts[0]), Lifted(system.leaf.sd)
        own = system.fixed_precision[: system.rest]
        self._log = system.fixed_log + 0.5 * float(np.sum(np.log(system.fixed_precision[system.fixed_precision > 0])))
        self._log -= 0.5 * float(own @ system.fixed_mean[: system.rest] ** 2)
        x = system.fixed.copy()
        x[system.pattern.diagonal] += own
        self._stack(x, own * system.fixed_mean[: system.rest] + system.fixed_side)
        largest = max(system.pattern.flat, system.size, *(len(rows.family.y) for rows in self._scattered))
        self.most = int(np.clip(_NUMBERS // largest, 1, 256))

    def _stack(self, x: np.ndarray, side: np.ndarray) -> None:
        """P and the right-hand side as linear functions of a few numbers: 1, precisions by key, and what the leaf takes."""
        flat, sides = [x[None]], [side[None]]
        for prior in self._priors:
            diagonal, pull = prior.unit()
            flat.append(diagonal[None])
            sides.append(pull[None])
        for rows in self._stacked:
            flat.append(np.array([gram for _, gram in rows.part.grams]))
            sides.append(np.array(rows.part.sides))
        leaf = self.system.leaf
        if leaf is not None:
            flat.append(leaf.pair_sums)
            sides.append(leaf.side_sums)
        self._x, self._side = np.concatenate(flat), np.concatenate(sides)
        if leaf is not None:
            leaf.pair_sums = self._x[-len(leaf.nodes) :]  # held once: it may be large
            self.tied = _Tied(leaf, self.system.pattern.lead)

    def at(self, values: Batch, n: int) -> Solved:
        """Factorise at every psi of a batch.

        Parameters
        ----------
        values : mapping of parameter name to array
            The batch, of length `n`, is the last axis.
        """
        system, pattern = self.system, self.system.pattern
        log = np.full(n, self._log)
        with np.errstate(all="ignore"):
            factors = [np.ones((n, 1))]
            for prior in self._priors:
                factors.append(prior.precision(values, n)[:, :1])
                log += prior.log_density(factors[-1])
            for rows in self._stacked:
                factors.append(1.0 / rows.variance(values, n))
                log += rows.log_density(factors[-1])
            leaf = None if system.leaf is None else self._eliminate_leaf(values, n, factors, log)
            stacked = np.concatenate(factors, axis=1)
            x, side = stacked @ self._x, stacked @ self._side
            for prior in self._other_priors:
                log += prior.add(values, n, x, side)
            for rows in self._scattered:
                log += rows.add(values, n, x, side)
            arrays = (pattern.ptr, pattern.rows, pattern.targets, pattern.lead, pattern.full, pattern.dense)
            log_det, square = batch_kernels.solve(x, side, *arrays)
            log += 0.5 * (square - log_det) + self._constant
        return Solved(system, x, side, log, leaf)

    def _eliminate_leaf(self, values: Batch, n: int, factors: list[np.ndarray], log: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `Conditional` does; returns w / D and 1 / sqrt(D) by class, both of shape (n, classes)."""
        leaf = self.system.leaf
        assert leaf is not None
        w = 1.0 / self._response.variance(values, n)[:, 0]
        q = 1.0 / np.broadcast_to(self._leaf_sd(values, n), (n,)) ** 2
        pivots = w[:, None] * leaf.level + q[:, None]
        factor = (w * w)[:, None] / (w[:, None] * leaf.nodes + q[:, None])
        factors.append(-factor)
        log += 0.5 * (factor @ leaf.square_sums - np.log(pivots) @ leaf.members)
        return w[:, None] / pivots, 1.0 / np.sqrt(pivots)


class _ManyPriors:
    """The prior of a block whose moments depend on psi; the leaf's own diagonal is added where it is eliminated.

    It is `stackable` where one precision and known means describe it, as with every leaf.
    """

    def __init__(self, system: System, block: Coefficients, where: np.ndarray, floor: float) -> None:
        self._system, self._where, self._floor = system, where, floor
        self._sd, self._mean = Lifted(block.sd), Lifted(block.mean)
        self._is_leaf = where[0] >= system.rest
        self.stackable = np.ndim(evaluate(block.sd, system.example)) == 0 and not callable(block.mean)

    def precision(self, values: Batch, n: int) -> np.ndarray:
        """Prior precision, shape (n, coefficients)."""
        precision = 1.0 / np.maximum(np.square(self._sd(values, n)), self._floor)
        return np.broadcast_to(precision if precision.ndim > 1 else precision[None], (len(self._where), n)).T

    def unit(self) -> tuple[np.ndarray, np.ndarray]:
        """What a precision of 1 adds to P, flat, and to the right-hand side, where the mean is known."""
        x, side = np.zeros(self._system.pattern.flat), np.zeros(self._system.rest)
        if not self._is_leaf:
            x[self._system.pattern.diagonal[self._where]] = 1.0
            side[self._where] = self._centred({}, 1)[0]
        return x, side

    def add(self, values: Batch, n: int, x: np.ndarray, side: np.ndarray) -> np.ndarray:
        """Add the precision to `x` (n, flat) and precision times mean to `side`; returns log p(b = b0 | psi), shape (n,)."""
        precision, where = self.precision(values, n), self._where
        centred = self._centred(values, n)
        x[:, self._system.pattern.diagonal[where]] += precision
        side[:, where] += precision * centred
        return 0.5 * np.sum(np.log(precision) - precision * centred**2, axis=1)

    def log_density(self, precision: np.ndarray) -> np.ndarray:
        """log p(b = b0 | psi) without the constant, of a block with one precision, shape (n, 1 or more), and a known mean."""
        squares = 0.0 if self._is_leaf else float(np.sum(self._centred({}, 1) ** 2))
        return 0.5 * (len(self._where) * np.log(precision[:, 0]) - precision[:, 0] * squares)

    def _centred(self, values: Batch, n: int) -> np.ndarray:
        """Prior mean from the reference, shape (n, coefficients)."""
        mean = self._mean(values, n)
        return np.broadcast_to(mean if mean.ndim > 1 else mean[None], (len(self._where), n)).T - self._system.shift[self._where]


class _ManyRows:
    """One family's share of P and of the right-hand side, as `Part` has it, for a batch."""

    def __init__(self, part: Part) -> None:
        family = self.family = part.family
        self.part = part
        self._noise = Lifted(family.noise.scales) if family.noise.scales is not None else None
        self._scales = [Lifted(1.0 if f is None else f) for f in family.scales]
        self._offsets = [Lifted(f) for f in family.offsets]
        self._within = np.bincount(family.key, weights=family.within, minlength=len(family.key_u2))

    @property
    def stackable(self) -> bool:
        """Whether the rows enter P as whole arrays, one for each key."""
        return self.part.few and all(isinstance(where, slice) for where, _ in self.part.grams)

    def variance(self, values: Batch, n: int) -> np.ndarray:
        """Variance of a single measurement by key, shape (n, keys)."""
        f = self.family
        if self._noise is None:
            return np.broadcast_to(f.key_u2, (n, len(f.key_u2)))
        return np.ascontiguousarray(f.of_scales(self._noise(values, n)).T)

    def add(self, values: Batch, n: int, x: np.ndarray, side: np.ndarray) -> np.ndarray:
        """Add A' W A to `x` (n, flat) and A' W (y - offset) to `side`; returns log p(rows | b = b0, psi), shape (n,)."""
        variance = self.variance(values, n)
        if not self.part.few:
            return self._add_by_row(values, n, variance, x, side)
        weights = 1.0 / variance
        for (where, gram), w in zip(self.part.grams, weights.T, strict=True):
            x[:, where] += w[:, None] * gram
        side += weights @ np.array(self.part.sides)
        return self.log_density(weights)

    def log_density(self, weights: np.ndarray) -> np.ndarray:
        """log p(rows | b = b0, psi) of few keys, from their precisions of shape (n, keys)."""
        part = self.part
        log: np.ndarray = -0.5 * ((_LOG_2PI - np.log(weights)) @ part.totals + weights @ part.squares)
        return log

    def _add_by_row(self, values: Batch, n: int, variance: np.ndarray, x: np.ndarray, side: np.ndarray) -> np.ndarray:
        f, m = self.family, self.family.matrix
        scales = np.array([np.broadcast_to(scale(values, n), (n,)) for scale in self._scales]).T.copy()
        residual = f.y[:, None]
        for offset in self._offsets:
            residual = residual - offset(values, n)
        rows = (m.indptr, m.indices, m.data, f.scale_of, scales, f.count, f.key, variance)
        log = batch_kernels.assemble_many(x, side, *rows, np.ascontiguousarray(residual.T), self.part.places)
        log -= 0.5 * ((1.0 / variance) @ self._within + _LOG_2PI * f.count.sum())
        return np.asarray(log)


class Solved:
    """A factorised batch.

    Attributes
    ----------
    log_marginal : array of shape (n,)
        log p(y | psi); -inf where the numbers break down.
    """

    def __init__(
        self, system: System, x: np.ndarray, half: np.ndarray, log: np.ndarray, leaf: tuple[np.ndarray, np.ndarray] | None
    ) -> None:
        self._system, self._x, self._half, self._leaf = system, x, half, leaf
        self.log_marginal = np.where(np.isfinite(log), log, -np.inf)

    def mean(self) -> np.ndarray:
        """E[b | psi, y] at each psi, shape (n, coefficients), natural order."""
        return self._completed(np.zeros((len(self._x), self._system.size)))

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """An exact draw of b at each psi, shape (n, coefficients), natural order; nonsense where the numbers break down."""
        return self._completed(rng.standard_normal((len(self._x), self._system.size)))

    def _completed(self, b: np.ndarray) -> np.ndarray:
        system, pattern = self._system, self._system.pattern
        batch_kernels.complete(self._x, self._half, b, pattern.ptr, pattern.rows, pattern.lead, pattern.dense)
        if self._leaf is not None:
            system.many.tied.complete(b, *self._leaf)
        return b[:, system.place] + system.shift[system.place]


class _Tied:
    """What ties the leaf to the other coefficients: sparse to those eliminated one by one, dense to the trailing block where it is full."""

    def __init__(self, leaf: Leaf, lead: int) -> None:
        self._lead, self._side, self._kind = lead, leaf.side, leaf.kind
        trailing = leaf.gram[:, lead:]
        self._dense = trailing.toarray().T if trailing.nnz > _NEARLY * np.prod(trailing.shape) else None
        self._sparse = leaf.gram if self._dense is None else leaf.gram[:, :lead].tocsr()
        self._rest = leaf.gram.shape[1]

    def complete(self, b: np.ndarray, gain: np.ndarray, sd: np.ndarray) -> None:
        """Turn the leaf's standard normals behind the other columns of `b` into draws given these, in place."""
        gram, side = self._sparse, self._side[None]
        if self._dense is not None:
            side = side - b[:, self._lead : self._rest] @ self._dense
        batch_kernels.complete_leaf(b, self._rest, gram.indptr, gram.indices, gram.data, side, self._kind, gain, sd)
