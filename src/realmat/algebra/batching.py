"""Functions of psi at many psi at once.

Components write functions of one psi: ``f(p, xp)``. Most are arithmetic on scalars, and give the right numbers when every parameter is an
array with the batch as its last axis; others spread scalars over rows, and do when the batch comes first and the rows after. What a
function takes is tried on the first batch, element by element; one that takes neither is called psi by psi from then on. It is tried
again where other names are among the values: a term may find there what it would otherwise make of psi.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from realmat.terms.term import Function

Batch = Mapping[str, np.ndarray]
_TRIED = 3
_ALIKE = 1e-12  # of the largest value


class Batched:
    """A function of psi, or a constant, that takes a batch.

    Parameters
    ----------
    function : callable or float or array
        ``f(p, xp)``, of any shape.
    """

    def __init__(self, function: Function | float | np.ndarray) -> None:
        self.function = function
        self._ways: dict[frozenset[str], Callable[[Function, Batch, int], np.ndarray]] = {}
        self._in_runs = True  # until it is seen not to

    def __call__(self, values: Batch, n: int, run: int = 1) -> np.ndarray:
        """Values with the batch as last axis, which has length 1 where psi does not matter.

        Parameters
        ----------
        values : mapping of parameter name to array
            Batch as last axis, of length `n`.
        run : int
            The batch consists of runs of so many psi, in which few parameters differ: what these do not touch is computed once a run.
        """
        function = self.function
        if not callable(function):
            return np.asarray(function, dtype=float)[..., None]
        way = self.way(values, n) or one_by_one
        if run > 1 and way is batch_first and self._in_runs:
            made = _by_run(function, values, n, run)
            if made is not None:
                return made
            self._in_runs = False
        return way(function, values, n)

    def way(self, values: Batch, n: int) -> Callable[[Function, Batch, int], np.ndarray] | None:
        """How the function takes a batch; None while no batch was long enough to tell."""
        function, names = self.function, frozenset(values)
        found = self._ways.get(names)
        if found is None and n > _TRIED and callable(function):
            found = next((way for way in (batch_last, batch_first) if _agrees(way, function, values, n)), one_by_one)
            self._ways[names] = found
        return found


def at_index(values: Batch, where: slice | np.ndarray | int) -> dict[str, np.ndarray]:
    """Some psi of a batch, or a single one."""
    return {name: v[..., where] for name, v in values.items()}


def slices(n: int, size: int) -> list[slice]:
    """0 to n in steps of `size`."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def batch_last(function: Function, values: Batch, n: int) -> np.ndarray:
    """All psi at once, the batch as last axis."""
    out = _numbers(function(values, np))
    return np.broadcast_to(out, (n,)) if out.ndim == 0 else out


def batch_first(function: Function, values: Batch, n: int) -> np.ndarray:
    """All psi at once, scalars as columns: what a function spreads over rows stands beside them."""
    out = _numbers(function({name: v[:, None] if v.ndim == 1 else v for name, v in values.items()}, np))
    return out.T


def _by_run(function: Function, values: Batch, n: int, run: int) -> np.ndarray | None:
    """as `batch_first`, runs and their members as two axes: parameters alike in a run, or in every run, have length 1 there.

    None where the function does not take that, or makes other numbers of the first and the last run.
    """
    across = {}
    for name, value in values.items():
        if value.ndim != 1:
            return None
        grid = value.reshape(-1, run)
        alike, repeated = (grid == grid[:, :1]).all(), (grid == grid[:1]).all()
        across[name] = (grid[:, :1] if alike else grid[:1] if repeated else grid)[..., None]
    ends = np.r_[:run, n - run : n]
    try:
        made = _numbers(function(across, np))
        truth = batch_first(function, at_index(values, ends), len(ends)).T
        made = np.broadcast_to(made, (n // run, run, truth.shape[-1])).reshape(n, -1)
    except (ValueError, TypeError, IndexError, AttributeError):
        return None
    size = float(np.max(np.abs(truth), where=np.isfinite(truth), initial=0.0))
    return made.T if np.allclose(made[ends], truth, rtol=_ALIKE, atol=_ALIKE * size, equal_nan=True) else None


def one_by_one(function: Function, values: Batch, n: int) -> np.ndarray:
    """Every psi by itself."""
    single = (at_index(values, i) for i in range(n))
    return np.stack([_numbers(function(p, np)) for p in single], axis=-1)


def _numbers(x: Any) -> np.ndarray:
    """As an array of real numbers, or of complex ones where derivatives are asked for."""
    out = np.asarray(x)
    return out if np.iscomplexobj(out) else out.astype(float)


def _agrees(way: Callable[[Function, Batch, int], np.ndarray], function: Function, values: Batch, n: int) -> bool:
    few = at_index(values, slice(_TRIED))
    truth = one_by_one(function, few, _TRIED)
    try:
        # also at the batch's own length: a row of numbers could be as long as the trial
        found, shape = way(function, few, _TRIED), way(function, values, n).shape
    except (ValueError, TypeError, IndexError, AttributeError):
        return False
    if found.shape != truth.shape or shape != (*truth.shape[:-1], n):
        return False
    size = float(np.max(np.abs(truth), where=np.isfinite(truth), initial=0.0))
    return bool(np.allclose(found, truth, rtol=_ALIKE, atol=_ALIKE * size, equal_nan=True))
