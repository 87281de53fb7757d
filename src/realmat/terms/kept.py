"""Readings of which only those in a range were ever reported: truncation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from realmat.errors import ModelError
from realmat.terms.density import Array, Density, Derivatives, Own
from realmat.terms.location_scale import Interval

_TRIES = 10_000


@dataclass(frozen=True)
class Kept(Density):
    """``p(y | eta) / P(low < y < high | eta)``: rows outside never came to the table (Cohen, Truncated and Censored Samples, 1991).

    Parameters
    ----------
    base : Interval
        How the rows that came were read.
    low, high : array of shape (rows,)
        Ends of the range, on the scale of the readings; infinite where open.
    """

    base: Interval
    low: Array
    high: Array
    native: ClassVar[bool] = False

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Own parameters: those of the base."""
        return self.base.names

    @property
    def points(self) -> Array:
        """Where readings are exact."""
        return self.base.points

    def _range(self) -> tuple[Interval, Array]:
        """The range as an interval reading."""
        middle = np.where(np.isfinite(self.low), self.low, self.high)
        return Interval(middle - self.low, self.high - middle, self.base.standard), middle

    def derivatives(self, y: Array, eta: Array, own: Own) -> Derivatives:
        """Log density given that the row was kept, and its derivatives."""
        one = self.base.derivatives(y, eta, own)
        region, middle = self._range()
        kept = region.derivatives(middle, eta, own)
        return Derivatives(one.log - kept.log, one.eta - kept.eta, {name: one.own[name] - kept.own[name] for name in self.names})

    def weight(self, y: Array, eta: Array, own: Own) -> Array:
        """Observed information of the kept rows, never quite zero."""
        step, full = 1e-4 * own["sd"], self.base.weight(y, eta, own)
        up, down = (self.derivatives(y, eta + s * step, own).eta for s in (1, -1))
        return np.clip((down - up) / (2 * step), 1e-3 * full, full)

    def guess(self, y: Array) -> Array:
        """The readings."""
        return self.base.guess(y)

    def cdf(self, y: Array, eta: Array, own: Own) -> tuple[Array, Array]:
        """Probabilities among those that are kept."""
        nu = own.get("nu")
        low, high = (self.base.standard.cdf((end[:, None] - eta) / own["sd"], nu) for end in (self.low, self.high))
        below, above = self.base.cdf(y, eta, own)
        size = np.maximum(high - low, 1e-300)
        return np.clip((below - low) / size, 0, 1), np.clip((above - low) / size, 0, 1)

    def draw(self, eta: Array, own: Own, rng: np.random.Generator) -> Array:
        """A new reading, kept or not."""
        return self.base.draw(eta, own, rng)

    def anew(self, y: Array, eta: Array, own: Own, rng: np.random.Generator) -> tuple[Array, Kept]:
        """Readings that are kept, by drawing until they are."""
        new, base = self.base.anew(y, eta, own, rng)
        left, right = base.left, base.right
        for _ in range(_TRIES):
            out = np.flatnonzero((new < self.low) | (new > self.high))
            if not len(out):
                return new, Kept(base, self.low, self.high)
            again, ends = self.base.take(out).anew(y[out], eta[out], {name: v[out] for name, v in own.items()}, rng)
            new[out], left[out], right[out] = again, ends.left, ends.right
            base = Interval(left, right, self.base.standard)
        raise ModelError(f"{len(out)} simulated rows are never within what kept_above= and kept_below= keep: they lie too far outside.")

    def mean(self, eta: Array, own: Own) -> Array:
        """Mean of a new reading, kept or not."""
        return self.base.mean(eta, own)

    def variance(self, eta: Array, own: Own) -> Array:
        """Variance of a new reading, kept or not."""
        return self.base.variance(eta, own)

    def symbolic(self, pm: Any, y: Array, eta: Any, own: Own) -> Any:
        """Log density given that the row was kept, in PyTensor."""
        region, middle = self._range()
        return self.base.symbolic(pm, y, eta, own) - region.symbolic(pm, middle, eta, own)

    def take(self, rows: Array) -> Kept:
        """Some of the rows."""
        return Kept(self.base.take(rows), self.low[rows], self.high[rows])
