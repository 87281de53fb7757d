"""What priors and measured rows add to P and to the right-hand side, at many psi at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from realmat.algebra import batch_kernels
from realmat.algebra.family import Family
from realmat.algebra.lanes import blocks
from realmat.algebra.lifted import Batch, Lifted
from realmat.algebra.ordering import Pattern
from realmat.algebra.part import FEW_KEYS, Part, Slot, laid_out
from realmat.terms.term import Coefficients, evaluate

if TYPE_CHECKING:
    from realmat.algebra.system import System

_LOG_2PI = float(np.log(2 * np.pi))
_MOST_SLOTS, _MOST_NUMBERS = 24, 10_000_000


class Sums:
    """Sums of known arrays (slots) with weights that depend on psi: some of all places, others at a few."""

    def __init__(self, flat: int) -> None:
        self._flat = flat
        self._slots: list[Slot] = []

    def add(self, where: np.ndarray | slice, values: np.ndarray) -> None:
        """One more slot: `values` at flat places `where`."""
        self._slots.append((where, values) if isinstance(where, slice) else laid_out(where, values, self._flat))

    def freeze(self) -> None:
        """Lay the slots out for `at`; attribute `whole` then has those of all places, shape (slots, flat)."""
        few = [not isinstance(where, slice) for where, _ in self._slots]
        self._few, self._all = np.flatnonzero(few), np.flatnonzero(np.logical_not(few))
        self.whole = np.array([self._slots[k][1] for k in self._all])
        self._where = np.concatenate([np.zeros(0, np.int64), *(np.asarray(self._slots[k][0], dtype=np.int64) for k in self._few)])
        self._values = np.concatenate([np.zeros(0), *(self._slots[k][1] for k in self._few)])
        self._ptr = np.concatenate([[0], np.cumsum([len(self._slots[k][1]) for k in self._few])]).astype(np.int64)
        self._slots.clear()

    def at(self, weights: np.ndarray) -> np.ndarray:
        """The sums at weights of shape (n, slots): shape (blocks, flat, 8)."""
        xs = np.matmul(self.whole.T, blocks(weights[:, self._all]))
        if len(self._few):
            batch_kernels.scatter(xs, self._where, self._values, self._ptr, blocks(weights[:, self._few]))
        return xs


@dataclass
class At:
    """What a part adds at a batch: weights (n, slots) of its slots and (n, sides) of its sides, and its log density at the reference.

    `side`, shape (n, columns), is added as it is; `more` is what the part itself still has to add.
    """

    slots: np.ndarray
    sides: np.ndarray
    log: np.ndarray | float
    side: np.ndarray | None = None
    more: tuple[np.ndarray, ...] = ()


class ManyPriors:
    """The prior of a block whose moments depend on psi; the leaf's own diagonal is added where it is eliminated.

    It has a slot where one precision and known means describe it, as with every leaf.
    """

    def __init__(self, system: System, block: Coefficients, where: np.ndarray, floor: float) -> None:
        self._where, self._floor, self._shift = where, floor, system.shift[where]
        self._sd, self._mean = Lifted(block.sd), Lifted(block.mean)
        self._diagonal = np.zeros(0, dtype=np.int64)
        self._one = np.ndim(evaluate(block.sd, system.example)) == 0 and not callable(block.mean)
        self.slots: list[Slot] = []
        self.sides = np.zeros((0, system.rest))
        if where[0] >= system.rest:
            self._squares = 0.0
            return
        self._diagonal = system.pattern.diagonal[where]
        if self._one:
            centred = self._centred({}, 1)[0]
            self._squares = float(centred @ centred)
            self.slots = [(self._diagonal, np.ones(len(where)))]
            self.sides = np.zeros((1, system.rest))
            self.sides[0, where] = centred

    def at(self, values: Batch, n: int) -> At:
        """Weights, and log p(b = b0 | psi) without the constant."""
        precision = 1.0 / np.maximum(np.square(self._sd(values, n)), self._floor)
        precision = np.broadcast_to(precision if precision.ndim > 1 else precision[None], (len(self._where), n)).T
        if self._one:
            single = precision[:, :1]
            log = 0.5 * (len(self._where) * np.log(single[:, 0]) - single[:, 0] * self._squares)
            used = single[:, : len(self.slots)]
            return At(used, used, log)
        centred = self._centred(values, n)
        log = 0.5 * np.sum(np.log(precision) - precision * centred**2, axis=1)
        return At(np.zeros((n, 0)), np.zeros((n, 0)), log, more=(precision, precision * centred))

    def add(self, at: At, xs: np.ndarray, sides: np.ndarray) -> None:
        """Add what no slot holds: precisions to `xs` (blocks, flat, 8), precision times mean to `sides` (blocks, columns, 8)."""
        if at.more and len(self._diagonal):
            precision, side = at.more
            xs[:, self._diagonal] += blocks(precision)
            sides[:, self._where] += blocks(side)

    def _centred(self, values: Batch, n: int) -> np.ndarray:
        """Prior mean from the reference, shape (n, coefficients)."""
        mean = self._mean(values, n)
        return np.broadcast_to(mean if mean.ndim > 1 else mean[None], (len(self._where), n)).T - self._shift


class LiftedRows:
    """What a family's rows have from psi, for a batch: scales, offsets (from the reference, or as declared), and variances by key."""

    def __init__(self, family: Family, declared: bool = False) -> None:
        self.family = family
        self._noise = Lifted(family.noise.scales) if family.noise.scales is not None else None
        self._scales = [Lifted(1.0 if scale is None else scale) for scale in family.scales]
        self._offsets = [Lifted(offset) for offset in (family.own_offsets if declared else family.offsets)]

    def variance(self, values: Batch, n: int) -> np.ndarray:
        """Variance of a single measurement by key, shape (n, keys)."""
        f = self.family
        if self._noise is None:
            return np.broadcast_to(f.key_u2, (n, len(f.key_u2)))
        return np.ascontiguousarray(f.of_scales(self._noise(values, n)).T)

    def by_row(self, values: Batch, n: int) -> np.ndarray:
        """Variance of a single measurement by row, shape (n, rows), local factors included where they are among the values."""
        f = self.family
        own = self.variance(values, n)[:, f.key]
        return own * values[f.local].T if f.local in values else own

    def measured(self, values: Batch) -> np.ndarray:
        """y less its known offset and centre, shape (rows, n or 1), latent values in place of censored ones."""
        f = self.family
        known = np.broadcast_to(np.asarray(f.known + f.centre, dtype=float), (len(f.y),))
        return values[f.latent] - known[:, None] if f.latent in values else f.y[:, None]

    def scales(self, values: Batch, n: int) -> np.ndarray:
        """Value of each scale, shape (n, scales)."""
        return np.array([np.broadcast_to(scale(values, n), (n,)) for scale in self._scales]).T

    def offset(self, values: Batch, n: int) -> np.ndarray | float:
        """Part of the mean that depends on psi alone, shape (rows or 1, n)."""
        return sum((offset(values, n) for offset in self._offsets), 0.0)


class ManyRows:
    """One family's share of P and of the right-hand side, as `Part` has it, for a batch.

    Rows of few keys and scales enter P as sums, a slot for each key and pair of scales; others are added row by row.
    """

    def __init__(self, part: Part, pattern: Pattern) -> None:
        f = self.family = part.family
        self.part = part
        self.given = LiftedRows(f)
        keys = len(f.key_u2)
        # with auxiliary values every row has a variance of its own
        self._key = np.arange(len(f.y)) if f.augmented else f.key
        self._within = f.within if f.augmented else np.bincount(f.key, weights=f.within, minlength=keys)
        self._totals = f.count if f.augmented else np.bincount(f.key, weights=f.count, minlength=keys)
        slots = keys * len(f.scales) * (len(f.scales) + 1) // 2
        many = keys > FEW_KEYS or slots > _MOST_SLOTS or slots * pattern.flat > _MOST_NUMBERS
        self.by_row = not part.few and (f.augmented or many)
        self.slots: list[Slot] = []
        self.sides = np.zeros((0, pattern.size))
        if part.few:
            self.slots, self.sides = list(part.grams), np.array(part.sides)
        elif not self.by_row:
            self._pair_slots(pattern, slots)
            self._columns = [self._transposed(k, pattern.size) for k in range(len(f.scales))]

    def _pair_slots(self, pattern: Pattern, slots: int) -> None:
        f, m = self.family, self.family.matrix
        rows = (m.indptr, m.indices, m.data, f.scale_of, f.count, f.key, self.part.places)
        where, value = batch_kernels.pairs(*rows, len(f.scales), pattern.flat)
        sums = np.bincount(where, weights=value, minlength=slots * pattern.flat).reshape(slots, pattern.flat)
        self.slots = [(places, own[places]) for own in sums for places in [np.flatnonzero(own)]]

    def _transposed(self, scale: int, size: int) -> sparse.csr_matrix:
        """(columns x rows): the entries of a scale times the rows' counts."""
        f, m = self.family, self.family.matrix
        data = np.where(f.scale_of == scale, m.data * np.repeat(f.count, np.diff(m.indptr)), 0.0)
        out = sparse.csr_matrix((data, m.indices, m.indptr), shape=m.shape)[:, :size].T.tocsr()
        out.eliminate_zeros()
        return out

    def at(self, values: Batch, n: int) -> At:
        """Weights, and log p(rows | b = b0, psi)."""
        precision = 1.0 / (self.given.by_row(values, n) if self.family.augmented else self.given.variance(values, n))
        log = -0.5 * ((_LOG_2PI - np.log(precision)) @ self._totals)
        if self.part.few:
            return At(precision, precision, log - 0.5 * precision @ self.part.squares)
        f = self.family
        scales = self.given.scales(values, n)
        residual = np.broadcast_to(self.given.measured(values) - self.given.offset(values, n), (len(f.y), n))
        single = precision.T[self._key]
        log = log - 0.5 * (precision @ self._within + f.count @ (single * residual**2))
        if self.by_row:
            return At(np.zeros((n, 0)), np.zeros((n, 0)), log, more=(scales, precision, residual.T))
        weighted = single * residual
        side = sum((transposed @ weighted) * scale for transposed, scale in zip(self._columns, scales.T, strict=True)).T
        both = np.array([scales[:, low] * scales[:, high] for high in range(len(f.scales)) for low in range(high + 1)]).T
        slots = (precision[:, :, None] * both[:, None]).reshape(n, -1)
        return At(slots, np.zeros((n, 0)), log, side)

    def add(self, at: At, xs: np.ndarray, sides: np.ndarray) -> None:
        """Add what no slot holds: A' W A to `xs` (blocks, flat, 8), A' W (y - offset) to `sides` (blocks, columns, 8)."""
        if at.more:
            scales, precision, residual = (blocks(x) for x in at.more)
            f, m = self.family, self.family.matrix
            rows = (m.indptr, m.indices, m.data, f.scale_of, scales, f.count, self._key, precision, residual)
            batch_kernels.assemble(xs, sides, *rows, self.part.places)
