"""Functions of psi with their derivatives, at many psi at once.

A component declares ``f(p, xp)`` and no derivative. Complex steps give it to all digits where f takes complex numbers as it does real
ones, which is tried once; central differences of fourth order elsewhere. Elements of psi that no output shares, such as the noise scales
of laboratories, are moved together.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from realmat.algebra.batching import Batch, Batched, one_by_one
from realmat.algebra.slopes import STEP
from realmat.terms.term import Function

_DIFFERENCE = 1e-3  # relative
_AGREE = 1e-5
_ONE = np.ones((1, 1))


class _Reads(dict[str, Any]):
    """Values that note which of them are read."""

    def __init__(self, values: Batch) -> None:
        super().__init__(values)
        self.names: dict[str, None] = {}

    def __getitem__(self, name: str) -> Any:
        self.names[name] = None
        return super().__getitem__(name)


class _Move:
    """Elements of psi that are moved together: element `element` of each output (or -1) of parameter `name`."""

    def __init__(self, name: str, moved: np.ndarray | None, element: np.ndarray) -> None:
        self.name, self.moved, self.element = name, moved, element
        self._one_each = moved is not None and np.array_equal(element, np.arange(len(moved)))
        order = np.argsort(element, kind="stable")
        self._order = order[np.searchsorted(element[order], 0) :]  # outputs that some element moves, element by element
        self._moving, self._starts = np.unique(element[self._order], return_index=True)

    def add(self, product: np.ndarray, target: np.ndarray) -> None:
        """Add what each output gives, shape (outputs, n), to the elements, shape (n,) or (elements, n)."""
        if self.moved is None:
            target += product.sum(axis=0)
        elif self._one_each:
            target += product
        elif len(self._moving):
            target[self._moving] += np.add.reduceat(product[self._order], self._starts, axis=0)


class Derived:
    """A function of psi, or a constant, with its derivatives.

    Parameters
    ----------
    function : callable or float or array
        ``f(p, xp)``: a number or a vector.
    values : mapping of name to array, the batch as last axis
        Typical psi, at least four, on which it is tried.
    """

    def __init__(self, function: Function | float | np.ndarray, values: Batch) -> None:
        self.tried = n = next(iter(values.values())).shape[-1] if values else 1
        self._function, self.moves = function, []
        self.constant: np.ndarray | None = None
        reads = _Reads({name: v[..., 0] for name, v in values.items()})
        first = np.asarray(function(reads, np) if callable(function) else function, dtype=float)
        self.scalar = first.ndim == 0
        if not callable(function) or not reads.names:
            self.constant = first.reshape(-1, 1)
            return
        self._way = Batched(function).way(values, n) or one_by_one
        self._same = self._identity(values, n, list(reads.names))
        self._complex = True
        if self._same:
            one = np.ndim(values[self._same]) == 1
            self.moves.append(_Move(self._same, None if one else np.ones(first.size, dtype=bool), np.arange(first.size)))
            return
        self._complex = self._takes_complex(values, n, list(reads.names))
        self._patterns(values, n, list(reads.names))

    def at(self, values: Batch, n: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Values of shape (outputs, n), and the derivatives of each move, for `pull`."""
        if self.constant is not None:
            return self.constant, []
        if self._same:
            value = values[self._same]
            return value if value.ndim > 1 else value[None], [_ONE]
        found = [self._along(values, n, move.name, move.moved) for move in self.moves]
        value = found[0][0] if found else self._evaluate(values, n)
        return value, [slope for _, slope in found]

    def pull(self, slopes: list[np.ndarray], weight: np.ndarray, into: dict[str, np.ndarray]) -> None:
        """Add ``sum over outputs: weight * derivative`` to the arrays of the parameters; `weight` has shape (outputs, n)."""
        for move, slope in zip(self.moves, slopes, strict=True):
            move.add(weight if slope is _ONE else weight * slope, into[move.name])

    def _evaluate(self, values: Batch, n: int) -> np.ndarray:
        assert callable(self._function)
        out = np.asarray(self._way(self._function, values, n))
        return np.atleast_2d(out)

    def _along(self, values: Batch, n: int, name: str, moved: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Values, and their derivatives where elements of a parameter move: all of it, or those that are flagged."""
        flags = 1.0 if moved is None else moved[:, None].astype(float)
        x = values[name]
        if self._complex:
            out = self._evaluate({**values, name: x + 1j * STEP * flags}, n)
            return np.ascontiguousarray(out.real), np.imag(out) / STEP
        return self._evaluate(values, n), self._difference(values, n, name, flags)

    def _difference(self, values: Batch, n: int, name: str, flags: Any) -> np.ndarray:
        x = values[name]
        size = _DIFFERENCE * np.maximum(np.abs(x), 1e-3 * np.max(np.abs(x), initial=1e-300))
        step = size if np.ndim(x) == 1 else np.max(size, axis=0)
        ends = [self._evaluate({**values, name: x + k * step * flags}, n) for k in (-2, -1, 1, 2)]
        return np.asarray((ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * step))

    def _identity(self, values: Batch, n: int, names: list[str]) -> str:
        """The parameter that the function hands on as it is, the usual case; empty where it does more."""
        if len(names) > 1:
            return ""
        value = np.atleast_2d(values[names[0]])
        found = self._evaluate(values, n)
        return names[0] if found.shape == value.shape and np.array_equal(found, value) else ""

    def _takes_complex(self, values: Batch, n: int, names: list[str]) -> bool:
        """Whether complex steps give what differences give."""
        self._complex = True
        for name in names:
            flags = 1.0 if np.ndim(values[name]) == 1 else np.ones((len(values[name]), 1))
            truth = self._difference(values, n, name, flags)
            try:
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("error", np.exceptions.ComplexWarning)
                    out = self._evaluate({**values, name: values[name] + 1j * STEP * flags}, n)
            except (TypeError, ValueError, AttributeError, np.exceptions.ComplexWarning):
                return False
            found, size = np.imag(out) / STEP, np.max(np.abs(truth[np.isfinite(truth)]), initial=0.0)
            seen = np.isfinite(truth)
            if found.shape != truth.shape or not np.allclose(found[seen], truth[seen], rtol=_AGREE, atol=_AGREE * size):
                return False
        return True

    def _patterns(self, values: Batch, n: int, names: list[str]) -> None:
        """Which elements move together: greedily, those that no output shares."""
        for name in names:
            x = values[name]
            if np.ndim(x) == 1:
                self.moves.append(_Move(name, None, np.zeros(0, dtype=int)))
                continue
            size = len(x)
            each = [self._along(values, n, name, np.arange(size) == k)[1] for k in range(size)]
            touched = np.array([np.any(np.nan_to_num(one, nan=1.0) != 0, axis=1) for one in each])  # (elements, outputs)
            waiting = [k for k in range(size) if touched[k].any()]
            while waiting:
                taken = np.zeros(touched.shape[1], dtype=bool)
                moved, element = np.zeros(size, dtype=bool), np.full(touched.shape[1], -1)
                for k in list(waiting):
                    if not np.any(taken & touched[k]):
                        taken |= touched[k]
                        moved[k], element[touched[k]] = True, k
                        waiting.remove(k)
                self.moves.append(_Move(name, moved, element))
