"""Readings with normal noise of a law at a place that differs from the stated one by a normal error, which is integrated out.

Of each row the law is a polynomial through a few places that its reading leaves possible. Nodes of Gauss and Hermite around the likeliest
one (Liu & Pierce, Biometrika 81, 624, 1994) are as good for a noise of nothing, where the law has the place, as for one that tells nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realmat.terms.density import Array, Derivatives, Evaluated, Own

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_LIFTED = _WEIGHTS * np.exp(0.5 * _NODES**2)


def places(count: int) -> Array:
    """Where a polynomial has its values, between -1 and 1."""
    return np.cos(np.pi * (np.arange(count) + 0.5) / count)[::-1] / np.cos(0.5 * np.pi / count)


@dataclass(frozen=True)
class Displaced(Evaluated):
    """Own parameters `sd` of the noise, and `law`: its values at all rows for the first place, for the second, and so on.

    Parameters
    ----------
    middle, half : arrays of shape (rows,)
        Places are ``middle + half * x``, in standard deviations of the error.
    turning : bool array of shape (rows,)
        Whether the law may have one value at two places, or ends at one.
    ends : array of shape (rows, 2)
        Least and greatest x of a law that ends there.
    count : int
        Number of places.
    """

    middle: Array
    half: Array
    turning: Array
    ends: Array
    count: int
    names = ("sd", "law")

    def derivatives(self, y: Array, eta: Array, own: Own) -> Derivatives:
        """Log density and its first derivatives."""
        log, in_eta, in_sd, in_law, _ = self._integrated(y, eta, own)
        return Derivatives(log, in_eta, {"sd": in_sd, "law": in_law})

    def weight(self, y: Array, eta: Array, own: Own) -> Array:
        """Information on `eta`: that of a normal as wide."""
        return np.asarray(1 / (np.square(own["sd"]) + np.square(self._integrated(y, eta, own)[4])))

    def guess(self, y: Array) -> Array:
        """The readings."""
        return y

    def effects(self, y: Array, eta: Array, own: Own, rng: np.random.Generator) -> Array:
        """Draws of the errors given the readings, in their standard deviations, shape (rows, n)."""
        from realmat.engines.chains.displaced_kernels import placed

        arrays = self._arrays(y, eta, own)
        return np.asarray(placed(*arrays, rng.random(eta.shape)))

    def _integrated(self, y: Array, eta: Array, own: Own) -> tuple[Array, ...]:
        from realmat.engines.chains.displaced_kernels import integrated

        found: tuple[Array, ...] = integrated(*self._arrays(y, eta, own), _NODES, _LIFTED)
        return found

    def _arrays(self, y: Array, eta: Array, own: Own) -> tuple[Array, ...]:
        at = places(self.count)
        polynomial = np.linalg.inv(np.vander(at, increasing=True))
        law = np.broadcast_to(own["law"], (self.count * len(y), eta.shape[1]))
        filled = (y[:, None] - eta, np.broadcast_to(own["sd"], eta.shape), law, polynomial, self.middle, self.half)
        arrays = (np.array(x, dtype=float, order="C") for x in filled)
        return (*arrays, np.ascontiguousarray(self.turning), np.ascontiguousarray(self.ends))
