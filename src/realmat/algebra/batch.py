"""The linear-Gaussian system at many psi at once: what `Conditional` computes for one, in compiled loops.

Exploring the hyperparameters needs thousands of evaluations of a small system each; Python's share of one is then larger than the
algebra's. Here functions of psi are evaluated for a whole batch, what depends on psi through a few numbers enters as weighted sums, and
factorisation, solution and draws run eight psi side by side without returning to Python. `Conditional` is the reference that tests
compare with.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from realmat.algebra import batch_kernels
from realmat.algebra.batch_effect import Coupling, EffectMoments, drawn_moments
from realmat.algebra.batch_equations import BatchNormalEquations
from realmat.algebra.batch_leaves import BatchLeaves, Eliminated
from realmat.algebra.batch_priors import BatchPriors
from realmat.algebra.batched_rows import BatchedRows
from realmat.algebra.batching import Batch, Batched, at_index, slices
from realmat.algebra.conditional import Conditional
from realmat.algebra.leaves import find
from realmat.algebra.normal_equations import Slot
from realmat.algebra.simd import LANES, pack, unpack
from realmat.algebra.weighted_sum import WeightedSum
from realmat.errors import FitError

if TYPE_CHECKING:
    from realmat.algebra.ordering import Pattern
    from realmat.algebra.system import System

_LOG_2PI = float(np.log(2 * np.pi))
_NUMBERS = 2_000_000  # held at once by a batch
_MOST = 256  # psi of a batch
_FEWEST, _NUMBERS_OF_FEW = 32, 8_000_000  # which share what is done once a batch, though their numbers leave the cache
_LARGE = 2_000_000  # numbers of one psi from which it fills a processor by itself
_LOST = 1e14  # log density at the reference of which doubles keep no digit behind the point: what is left of such numbers is rounding


class BatchSystem:
    """Evaluates a system at batches of psi; very large ones psi by psi.

    Auxiliary values of Student t or censored parts belong to psi.

    Parameters
    ----------
    system : System
    shared : bool
        Whether groups alike may be eliminated by class (`leaves`); then the factor is not that of all columns.

    Attributes
    ----------
    most : int
        Largest batch whose numbers stay in the cache.
    pattern : Pattern
        Of the columns that are eliminated one by one; `order` are these columns, in the elimination order of the system.
    """

    def __init__(self, system: System, shared: bool = True) -> None:
        self.system = system
        rows = [BatchNormalEquations(part, system.pattern) for part in system.moving]
        self._parts: list[BatchPriors | BatchNormalEquations] = [*(BatchPriors(system, *prior) for prior in system.moving_priors), *rows]
        self._constant = 0.5 * _LOG_2PI * sum(block.size for block in system.linked)
        if system.eliminated is not None:
            self._response, self._effect_sd = BatchedRows(system.row_blocks[0]), Batched(system.eliminated.sd)
        own = system.fixed_precision[: system.rest]
        self._log = system.fixed_log + 0.5 * float(np.sum(np.log(system.fixed_precision[system.fixed_precision > 0])))
        self._log -= 0.5 * float(own @ system.fixed_mean[: system.rest] ** 2)
        self._stack(own, shared)
        largest = max(self.pattern.flat, system.size, 1)
        longest = max((len(part.row_block.y) for part in rows if not part.part.few), default=0)
        numbers = max(largest, longest)
        most = max(_NUMBERS // numbers, min(_FEWEST, _NUMBERS_OF_FEW // numbers))
        self.most = 1 if self._singly else int(np.clip(most, LANES, _MOST)) // LANES * LANES

    @cached_property
    def moments(self) -> EffectMoments:
        """Of an eliminated effect."""
        return EffectMoments(self.system)

    @property
    def small(self) -> bool:
        """Whether a batch is bounded by the numbers of psi, not by those of the system."""
        return self.most == _MOST

    def _stack(self, own: np.ndarray, shared: bool) -> None:
        """P and the right-hand side as sums whose weights depend on psi: 1, precisions, scales, and what the effect takes."""
        system, effect = self.system, self.system.eliminated
        self.pattern: Pattern = system.pattern
        self.order: slice | np.ndarray = slice(0, system.rest)
        self.leaves: BatchLeaves | None = None
        self._arranged: np.ndarray | None = None
        x = system.fixed.copy()
        x[system.pattern.diagonal] += own
        slots: list[Slot] = [(slice(None), x), *(slot for part in self._parts for slot in part.slots)]
        sides = [(own * system.fixed_mean[: system.rest] + system.fixed_side)[None], *(part.sides for part in self._parts)]
        if effect is not None:
            slots += effect.slots
            sides.append(effect.side_sums)
        elif shared and not any(part.by_row for part in self._parts):
            found = find(system.pattern, np.argsort(system.place), [f.matrix for f in system.row_blocks], slots)
            if found is not None:
                self.pattern, self.order, self.leaves = found.pattern, found.rest, BatchLeaves(found)
                self._arranged = np.concatenate([*(c.columns.ravel() for c in found.classes), found.rest])
                slots = [*found.slots, *found.taken]
        self._singly: bool = max(self.pattern.flat, system.size) > _LARGE
        if self._singly:
            return
        self._sums = WeightedSum(slots, self.pattern.flat)
        self._sides = np.concatenate(sides)
        if self._arranged is not None:
            self._sides = np.ascontiguousarray(self._sides[:, self._arranged])
        if effect is not None:
            self.coupling = Coupling(effect, system.pattern.lead)

    def at(self, values: Batch, n: int) -> BatchConditional | ConditionalList:
        """Factorise at every psi of a batch.

        Parameters
        ----------
        values : mapping of parameter name to array
            The batch, of length `n`, is the last axis.
        """
        if self._singly:
            return ConditionalList(self.system, values, n)
        pattern = self.pattern
        log = np.full(n, self._log)
        with np.errstate(all="ignore"):
            weights, of_sides = [np.ones((n, 1))], [np.ones((n, 1))]
            given = [(part, part.at(values, n)) for part in self._parts]
            for _, at in given:
                weights.append(at.slots)
                of_sides.append(at.sides)
                log += at.log
            effect = leaves = None
            if self.system.eliminated is not None:
                effect, taken = self._eliminate_effect(values, n, log)
                weights.append(taken)
                of_sides.append(taken)
            side = np.concatenate(of_sides, axis=1) @ self._sides
            for _, at in given:
                if at.side is not None:
                    side += at.side if self._arranged is None else at.side[:, self._arranged]
            log[np.abs(log) > _LOST] = np.nan
            if self.leaves is not None:
                leaves = self.leaves.eliminate(np.concatenate(weights, axis=1), side)
                weights.append(leaves.taken)
                log += leaves.log
                side = side[:, side.shape[1] - len(leaves.side) :] + leaves.side.T
            xs = self._sums.at(np.concatenate(weights, axis=1))
            sides = pack(side)
            for part, at in given:
                part.add(at, xs, sides)
            batch_kernels.solve(xs, sides, pattern.ptr, pattern.rows, pattern.targets, pattern.lead, pattern.full, pattern.dense)
            pivots = xs[:, pattern.diagonal]
            log += 0.5 * unpack(np.sum(sides * sides / pivots - np.log(pivots), axis=1, keepdims=True), n)[:, 0] + self._constant
        return BatchConditional(self, xs, sides, pivots, log, effect, leaves)

    def log_marginal(self, values: Batch, n: int) -> np.ndarray:
        """log p(y | psi) at a batch of any length, shape (n,); -inf where the numbers break down."""
        each = [self.at(at_index(values, part), part.stop - part.start).log_marginal for part in slices(n, self.most)]
        return np.concatenate([np.zeros(0), *each])

    def _eliminate_effect(self, values: Batch, n: int, log: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        """As `Conditional` does: w / D and 1 / sqrt(D) by class, both of shape (n, classes), and weights of the effect's sums."""
        effect = self.system.eliminated
        assert effect is not None
        w = 1.0 / self._response.variance(values, n)[:, 0]
        q = 1.0 / np.broadcast_to(self._effect_sd(values, n), (n,)) ** 2
        pivots = w[:, None] * effect.class_counts + q[:, None]
        factor = (w * w)[:, None] / (w[:, None] * effect.nodes + q[:, None])
        log += 0.5 * (factor @ effect.square_sums - np.log(pivots) @ effect.class_sizes)
        return (w[:, None] / pivots, 1.0 / np.sqrt(pivots)), -factor


class BatchConditional:
    """A factorised batch.

    Attributes
    ----------
    log_marginal : array of shape (n,)
        log p(y | psi); -inf where the numbers break down.
    xs : array of shape (blocks, flat, 8)
        The factors.
    effect : tuple of arrays of shape (n, classes), optional
        w / D and 1 / sqrt(D).
    """

    def __init__(
        self,
        many: BatchSystem,
        xs: np.ndarray,
        half: np.ndarray,
        pivots: np.ndarray,
        log: np.ndarray,
        effect: tuple[np.ndarray, np.ndarray] | None,
        leaves: Eliminated | None,
    ) -> None:
        self._many, self._system = many, many.system
        self.xs, self._half, self._pivots, self.effect, self._leaves = xs, half, pivots, effect, leaves
        self.log_marginal = np.where(np.isfinite(log), log, -np.inf)

    def mean(self) -> np.ndarray:
        """E[b | psi, y] at each psi, shape (n, coefficients), natural order."""
        return self.completed(np.zeros((len(self.log_marginal), self._system.size)))

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """An exact draw of b at each psi, shape (n, coefficients), natural order; nonsense where the numbers break down."""
        return self.completed(rng.standard_normal((len(self.log_marginal), self._system.size)))

    def moments(self, weights: np.ndarray, rng: np.random.Generator, centre: np.ndarray) -> np.ndarray:
        """Sums over psi of E[b] and of E[b^2], both from `centre`, weighted: shape (2, coefficients), natural order.

        What b scatters around its mean at one psi is told by a draw, that of an eliminated effect given the others in closed form. A psi of
        weight zero may be one where the numbers break down.
        """
        if self.effect is None:
            return drawn_moments(self, weights, rng, centre)
        return self._many.moments.at(self, weights, rng, centre)

    def completed(self, b: np.ndarray) -> np.ndarray:
        """A draw at each psi from standard normals `b` of shape (n, coefficients), which it overwrites."""
        self.centred(b)
        return self._system.back(np.asarray(batch_kernels.natural(b, self._system.place, self._system.shift)))

    def apart(self, noise: np.ndarray) -> np.ndarray:
        """Of the columns that are not eliminated by class, their mean from b0, and standard normals as scatter about it, both packed.

        Shape (2, blocks, columns, 8), from normals of shape (n, columns).
        """
        with np.errstate(all="ignore"):
            return self._solved(np.stack([self._half / self._pivots, pack(noise) / np.sqrt(self._pivots)]))

    def _solved(self, bs: np.ndarray) -> np.ndarray:
        pattern = self._many.pattern
        batch_kernels.backward(self.xs, bs, pattern.ptr, pattern.rows, pattern.lead, pattern.dense)
        return bs

    def centred(self, b: np.ndarray) -> None:
        """Turn standard normals (n, coefficients) into draws of b - b0, in elimination order, in place."""
        many = self._many
        with np.errstate(all="ignore"):
            bs = pack(b[:, many.order])
            bs /= np.sqrt(self._pivots)
            bs += self._half / self._pivots
        rest = unpack(self._solved(bs[None])[0], len(b))
        b[:, many.order] = rest
        if many.leaves is not None and self._leaves is not None:
            many.leaves.complete(b, np.ascontiguousarray(rest.T), self._leaves)
        if self.effect is not None:
            many.coupling.complete(b, *self.effect)


class ConditionalList:
    """The same psi by psi.

    Attributes
    ----------
    each : list of Conditional
        None where the numbers break down.
    """

    def __init__(self, system: System, values: Batch, n: int) -> None:
        self._system = system
        self.each: list[Conditional | None] = []
        for i in range(n):
            try:
                self.each.append(system.at(at_index(values, i)))
            except FitError:
                self.each.append(None)
        self.log_marginal = np.array([-np.inf if one is None else one.log_marginal for one in self.each])

    def mean(self) -> np.ndarray:
        """As `BatchConditional.mean`."""
        return np.array([np.full(self._system.size, np.nan) if one is None else one.mean for one in self.each])

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """As `BatchConditional.draw`."""
        return np.array([np.full(self._system.size, np.nan) if one is None else one.draw(rng) for one in self.each])

    def moments(self, weights: np.ndarray, rng: np.random.Generator, centre: np.ndarray) -> np.ndarray:
        """As `BatchConditional.moments`."""
        return drawn_moments(self, weights, rng, centre)

    def completed(self, b: np.ndarray) -> np.ndarray:
        """As `BatchConditional.completed`."""
        self.centred(b)
        return np.array([self._system.natural(row) for row in b])

    def centred(self, b: np.ndarray) -> None:
        """As `BatchConditional.centred`."""
        for row, one in zip(b, self.each, strict=True):
            row[:] = np.nan if one is None else one.completed(row)
