"""Functions of psi at many psi at once.

Components write functions of one psi: ``f(p, xp)``. Most are arithmetic on scalars, and give the right numbers when every parameter is an
array with the batch as its last axis. Whether one does is tried on the first batch, element by element; one that does not is called psi by
psi from then on.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from realmat.terms import Function

_TRIED = 3


class Lifted:
    """A function of psi, or a constant, that takes a batch.

    Parameters
    ----------
    function : callable or float or array
        ``f(p, xp)``, of any shape.
    """

    def __init__(self, function: Function | float | np.ndarray) -> None:
        self.function = function
        self._together: bool | None = None

    def __call__(self, values: Mapping[str, np.ndarray], n: int) -> np.ndarray:
        """Values with the batch as last axis, which has length 1 where psi does not matter.

        Parameters
        ----------
        values : mapping of parameter name to array
            Batch as last axis, of length `n`.
        """
        function = self.function
        if not callable(function):
            return np.asarray(function, dtype=float)[..., None]
        if self._together is None and n > _TRIED:
            self._together = self._agrees(values, n)
        return self._at_once(values, n) if self._together else self._one_by_one(values, n)

    def _at_once(self, values: Mapping[str, np.ndarray], n: int) -> np.ndarray:
        assert callable(self.function)
        out = np.asarray(self.function(values, np), dtype=float)
        return np.broadcast_to(out, (n,)) if out.ndim == 0 else out

    def _one_by_one(self, values: Mapping[str, np.ndarray], n: int) -> np.ndarray:
        assert callable(self.function)
        return np.stack([np.asarray(self.function(at(values, i), np), dtype=float) for i in range(n)], axis=-1)

    def _agrees(self, values: Mapping[str, np.ndarray], n: int) -> bool:
        few = {name: v[..., :_TRIED] for name, v in values.items()}
        truth = self._one_by_one(few, _TRIED)
        try:
            # also at the batch's own length: a row of numbers could be as long as the trial
            found, shape = self._at_once(few, _TRIED), self._at_once(values, n).shape
        except (ValueError, TypeError, IndexError, AttributeError):
            return False
        return found.shape == truth.shape and shape == (*truth.shape[:-1], n) and np.allclose(found, truth, rtol=1e-12, equal_nan=True)


def at(values: Mapping[str, np.ndarray], i: int) -> dict[str, np.ndarray]:
    """The `i`-th psi of a batch."""
    return {name: v[..., i] for name, v in values.items()}
