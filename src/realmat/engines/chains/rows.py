"""Measured rows at many (psi, b) at once: log density, and its derivatives in both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from realmat.algebra import System
from realmat.algebra.batched_rows import BatchedRows
from realmat.algebra.batching import Batch, slices
from realmat.algebra.row_block import RowBlock
from realmat.algebra.space import Space
from realmat.engines.chains.blurred import Blurred
from realmat.engines.chains.derived import Derived
from realmat.engines.chains.displaced import Displaced
from realmat.engines.chains.partly import Partly
from realmat.engines.chains.row_kernels import predict, pull
from realmat.engines.chains.together import Together
from realmat.terms.density import Groups, plain
from realmat.terms.location_scale import of_noise
from realmat.terms.term import Scaled

_CHUNK = 64  # draws whose effects are drawn together
_STEP = 1e-3  # of differences of a density's slope, in standard deviations
_NEARLY = 1e-6  # nothing, of the information that is expected
_LEAST = 1e-2  # of the information that is expected of a row, whatever its curvature was


@dataclass
class _Piece:
    """``scale(psi) * X b``; no scale stands for 1."""

    matrix: sparse.csr_matrix
    scale: Derived | None


class RowsTarget:
    """One block of rows, its density and its linear predictor.

    Parameters
    ----------
    row_block : RowBlock
        Its `y` and columns are measured from the system's reference.
    typical : mapping of name to array, the batch as last axis
    """

    def __init__(self, row_block: RowBlock, typical: Batch) -> None:
        self.row_block = row_block
        n = len(row_block.y)
        self.known = np.broadcast_to(np.asarray(row_block.known + row_block.centre, dtype=float), (n,))
        self.y = row_block.y + self.known
        matrix = row_block.matrix
        self._scales = [None if scale is None else Derived(scale, typical) for scale in row_block.scales]
        self._entries = (
            *(x.astype(np.int32) for x in (matrix.indptr, matrix.indices)),
            matrix.data.astype(float),
            row_block.scale_of.astype(np.int64),
        )
        self.pieces = []
        for k, derived in enumerate(self._scales):
            data = np.where(row_block.scale_of == k, matrix.data, 0.0)
            part = sparse.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape, copy=True)
            part.eliminate_zeros()
            if part.nnz:
                self.pieces.append(_Piece(part, derived))
        self._scaled = [(Derived(x.scale, typical), np.broadcast_to(x.values, (n,))) for x in row_block.offsets if isinstance(x, Scaled)]
        self.offsets = [Derived(x, typical) for x in row_block.offsets if not isinstance(x, Scaled)]
        self.density, parameters = of_noise(row_block.declared, row_block.count, row_block.within)
        self.own = {q.name: Derived(q.value, typical) for q in parameters}
        self.groups = {q.name: Groups(q.group, len(self.own[q.name].at(typical, self.own[q.name].tried)[0])) for q in parameters}
        self._given = BatchedRows(row_block)
        self._learnt: np.ndarray | None = None

    def at(self, values: Batch, b: np.ndarray, gradient: np.ndarray, into: dict[str, np.ndarray]) -> np.ndarray:
        """Log density at each chain, shape (n,); adds its derivatives in b to `gradient` and in psi to `into`."""
        n = b.shape[1]
        eta, scales, (scale_slopes, scaled_slopes, offset_slopes) = self._predict(values, b)
        own = {name: derived.at(values, n) for name, derived in self.own.items()}
        found = self.density.summed(self.y, eta, {name: value for name, (value, _) in own.items()}, self.groups)
        in_scales = np.zeros(scales.shape)
        pull(*self._entries, scales, b, plain(found.eta), gradient, in_scales)
        for k, scale in enumerate(self._scales):
            if scale is not None:
                scale.pull(scale_slopes[k], in_scales[k : k + 1], into)
        for (scale, column), slopes in zip(self._scaled, scaled_slopes, strict=True):
            scale.pull(slopes, column[None] @ found.eta, into)
        for offset, slopes in zip(self.offsets, offset_slopes, strict=True):
            offset.pull(slopes, found.eta if not offset.scalar else found.eta.sum(axis=0, keepdims=True), into)
        for name, (_, slopes) in own.items():
            if slopes:
                self.own[name].pull(slopes, found.own[name], into)
        return found.log

    def _predict(self, values: Batch, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[list[list[np.ndarray]], ...]]:
        """The linear predictor, shape (rows, n), the scales of its entries, and the slopes of these and of both kinds of offsets."""
        n = b.shape[1]
        eta, scales = np.empty((len(self.y), n)), np.ones((len(self._scales), n))
        eta[:] = self.known[:, None]
        found: tuple[list[list[np.ndarray]], ...] = ([], [], [])
        for k, scale in enumerate(self._scales):
            value, slopes = (1.0, []) if scale is None else scale.at(values, n)
            scales[k] = value
            found[0].append(slopes)
        predict(*self._entries, scales, plain(b), eta)
        for scale, column in self._scaled:
            value, slopes = scale.at(values, n)
            eta += column[:, None] * value
            found[1].append(slopes)
        for offset in self.offsets:
            value, slopes = offset.at(values, n)
            eta += value
            found[2].append(slopes)
        return eta, scales, found

    def _by_row(self, values: Batch, n: int) -> dict[str, np.ndarray]:
        """Own parameters of each row."""
        return {name: self.groups[name].by_row(derived.at(values, n)[0]) for name, derived in self.own.items()}

    def effects(self, values: Batch, b: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draws of effects that were integrated out of these rows, at each (psi, b): shape (rows, n)."""
        assert isinstance(self.density, Blurred | Displaced | Partly | Together)
        return self.density.effects(self.y, self._predict(values, b)[0], self._by_row(values, b.shape[1]), rng)

    def learn(self, draws: tuple[Batch, np.ndarray] | None) -> None:
        """Take the mean curvature at draws of (psi, b) for what rows that are not normal tell; without, that of where one looks."""
        self._learnt = None
        if draws is None or not self.row_block.augmented:
            return
        values, b = draws
        eta, own = self._predict(values, b)[0], self._by_row(values, b.shape[1])
        expected = self.density.weight(self.y, eta, own)
        step = _STEP / np.sqrt(expected)
        ahead, behind = (self.density.derivatives(self.y, eta + sign * step, own).eta for sign in (1, -1))
        curvature = ((behind - ahead) / (2 * step)).mean(axis=1)
        self._learnt = np.maximum(np.nan_to_num(curvature), _LEAST * expected.mean(axis=1))

    def weights(self, values: Batch, b: np.ndarray) -> np.ndarray:
        """Information of each row on its linear predictor at one (psi, b), or what was learnt of it, shape (rows,)."""
        if self._learnt is not None:
            return self._learnt
        return np.asarray(self.density.weight(self.y, self._predict(values, b)[0], self._by_row(values, 1))[:, 0])

    def gaussian(self, values: Batch, b: np.ndarray, guessed: bool = False, secant: bool = False) -> dict[str, np.ndarray]:
        """The normal rows that stand for these near n (psi, b): `local` factors of the variance and `latent` values, shape (rows, n).

        Their precision is the density's weight, and the slope at b that of the density. If `guessed`, rows that read the response itself
        stand where the density guesses from their readings. If `secant`, the precision is that of a normal about the guess with this
        slope, where there is one: of heavy tails the weight in iterated least squares, with which a group that is far from all of its
        readings goes to them at once (Lange, Little & Taylor, J. Am. Stat. Assoc. 84, 881, 1989).
        """
        row_block, n = self.row_block, b.shape[1]
        if not row_block.augmented:
            return {}
        at_guess = guessed and self.density.native
        eta = np.repeat(self.density.guess(self.y)[:, None], n, axis=1) if at_guess else self._predict(values, b)[0]
        own = self._by_row(values, n)
        weight = self.density.weight(self.y, eta, own) if self._learnt is None else self._learnt[:, None]
        if secant:
            with np.errstate(all="ignore"):
                pulled = self.density.derivatives(self.y, eta, own).eta / (self.density.guess(self.y)[:, None] - eta)
            weight = np.where(pulled > _NEARLY * weight, np.minimum(pulled, weight / _NEARLY), weight)
        # a guess knows of no own parameter, and no Newton step is to be trusted far from where the density is quadratic
        latent = eta if at_guess else eta + self.density.derivatives(self.y, eta, own).eta / weight
        return {row_block.local: 1 / (weight * self._given.by_row(values, n).T), row_block.latent: latent}

    def beyond(self, values: Batch, rows: Batch, b: np.ndarray) -> np.ndarray:
        """Sum of the log densities at n (psi, b) less those of the normal rows that stand for these, shape (n,)."""
        n = b.shape[1]
        eta, own = self._predict(values, b)[0], {name: derived.at(values, n)[0] for name, derived in self.own.items()}
        variance = self._given.by_row({**values, **rows}, n).T
        stand_in = -0.5 * (np.log(2 * np.pi * variance) + np.square(rows[self.row_block.latent] - eta) / variance).sum(axis=0)
        return np.asarray(self.density.summed(self.y, eta, own, self.groups).log - stand_in)


def drawn_back(system: System, space: Space, thetas: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Effects that were integrated out of the response, given draws of all else: shape (chains, draws, rows).

    Parameters
    ----------
    system : System
        Without these effects; `space` is that of its hyperparameters.
    thetas, b : arrays of shape (chains, draws, ...)
        Draws of hyperparameters, and of coefficients in natural order.
    """
    chains, draws, size = b.shape
    flat, theta = b.reshape(chains * draws, size), thetas.reshape(chains * draws, -1)
    rows, out = RowsTarget(system.row_blocks[0], space.many(theta[:_CHUNK])[0]), []
    for some in slices(len(flat), _CHUNK):
        inside = np.stack([system.centre(one) for one in flat[some]], axis=1)
        out.append(rows.effects(space.many(theta[some])[0], inside, rng).T)
    return np.concatenate(out).reshape(chains, draws, -1)
