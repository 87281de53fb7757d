"""The eliminated effect at many psi at once, given the other coefficients: its draws, and its moments without any."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from realmat.algebra import batch_kernels
from realmat.algebra.simd import pack, unpack

if TYPE_CHECKING:
    from realmat.algebra.batch import BatchConditional, ConditionalList
    from realmat.algebra.schur import EliminatedEffect
    from realmat.algebra.system import System

_NEARLY = 0.3  # share of numbers that are not zero from which a matrix is better held as dense


class Coupling:
    """Coupling of the eliminated effect: sparse to columns eliminated one by one, dense to a trailing block that is full."""

    def __init__(self, effect: EliminatedEffect, lead: int) -> None:
        self._lead, self._side, self._kind = lead, effect.side, effect.class_of
        trailing = effect.coupling[:, lead:]
        self._dense = trailing.toarray().T if trailing.nnz > _NEARLY * np.prod(trailing.shape) else None
        self._sparse = effect.coupling if self._dense is None else effect.coupling[:, :lead].tocsr()
        self._rest = effect.coupling.shape[1]

    def complete(self, b: np.ndarray, gain: np.ndarray, sd: np.ndarray) -> None:
        """Turn the effect's standard normals behind the other columns of `b` into draws given these, in place."""
        gram, side = self._sparse, self._side[None]
        if self._dense is not None:
            side = side - b[:, self._lead : self._rest] @ self._dense
        batch_kernels.complete_effect(b, self._rest, gram.indptr, gram.indices, gram.data, side, self._kind, gain, sd)


class EffectMoments:
    """Moments of all coefficients of a system with an eliminated effect: only the others are drawn."""

    def __init__(self, system: System) -> None:
        effect = system.eliminated
        assert effect is not None
        self._size, self._rest = system.size, system.rest
        mine = system.place >= system.rest
        own, self._others = np.flatnonzero(mine), np.flatnonzero(~mine)
        first = np.append(effect.coupling.indices, 0)[effect.coupling.indptr[:-1]]
        groups = np.argsort(first, kind="stable")  # one after the other they read what lies side by side
        self._own = own[np.argsort(system.place[own])][groups]
        self._coupling, self._side, self._kind = effect.coupling[groups], effect.side[groups], effect.class_of[groups]
        self._place, self._shift = system.place[self._others], system.shift[system.place[self._others]]
        among = np.cumsum(~mine) - 1  # the others alone
        self._frame = replace(system.frame, intercepts=among[system.frame.intercepts], columns=among[system.frame.columns])

    def at(self, solved: BatchConditional, weights: np.ndarray, rng: np.random.Generator, centre: np.ndarray) -> np.ndarray:
        """As `BatchConditional.moments`."""
        assert solved.effect is not None
        n, lost = len(weights), weights == 0
        means, noises = solved.apart(rng.standard_normal((n, self._rest)))
        gain, sd = solved.effect
        if lost.any():
            means, noises = (pack(np.where(lost[:, None], 0.0, unpack(x, n))) for x in (means, noises))
            gain, sd = (np.where(lost[:, None], 0.0, x) for x in (gain, sd))
        out = np.zeros((2, self._size))
        mean = self._frame.back(unpack(means, n)[:, self._place] + self._shift) - centre[self._others]
        scatter = self._frame.back(unpack(noises, n)[:, self._place])
        out[:, self._others] = weights @ mean, weights @ (mean**2 + scatter**2)
        lanes = np.zeros((len(means), 1, means.shape[-1]))
        lanes.reshape(-1)[:n] = weights  # what stands in for missing psi weighs nothing
        first, second = np.zeros(len(self._own)), (weights @ sd**2)[self._kind]
        gram, about = self._coupling, centre[self._own]
        given = (gram.indptr, gram.indices, gram.data, self._side, self._kind, pack(gain), lanes, about)
        batch_kernels.effect_moments(means, noises, *given, first, second)
        out[:, self._own] = first, second
        return out


def drawn_moments(
    solved: BatchConditional | ConditionalList, weights: np.ndarray, rng: np.random.Generator, centre: np.ndarray
) -> np.ndarray:
    """As `BatchConditional.moments`, from a draw of all coefficients at each psi."""
    used = weights > 0
    mean, drawn = solved.mean()[used], solved.draw(rng)[used]
    drawn -= mean
    mean -= centre
    return np.stack([weights[used] @ mean, weights[used] @ (mean**2 + drawn**2)])
