"""Proposals of which some coordinates are drawn exactly given the others.

So are the parameters in which a curve is linear: given the others and the scales these are normal.
``a + b exp(-c x)`` is a straight line in a and b once c is given; what is left to explore is c and the noise, without the ridges that
a and b trace as c moves (Golub & Pereyra, SIAM J. Numer. Anal. 10, 413, 1973; as a proposal, whatever the weights make of it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import special

from realmat.algebra.batching import slices
from realmat.engines.chains import bends
from realmat.engines.exact import mixture as mix
from realmat.engines.exact.curve import FAR, Curve
from realmat.engines.exact.members import Members
from realmat.support import points

_LOG_2PI = float(np.log(2 * np.pi))
_AFFINE = 1e-7  # of the largest residual
_MOST_NUMBERS = 4_000_000
_LEARNT = 3000  # draws from which it is learnt how ridges bend
_FEW = 2  # components of the mixture of draws that know of no bend


class Linear:
    """The coordinates in which a curve is linear, and their normal given the others.

    Parameters
    ----------
    curve : Curve
    points : array of shape (n, size)
        Places at which the law has values.
    """

    def __init__(self, curve: Curve, points: np.ndarray) -> None:
        self._curve = curve
        space = curve.density.space
        normal = {s.start for q, s in zip(space.params, space.slices, strict=True) if q.coords is None and q.prior.is_normal}
        chosen: list[int] = []
        for k in curve.index:
            if k in normal and len(points) and self._affine([*chosen, int(k)], points):
                chosen.append(int(k))
        self.index = np.array(chosen, dtype=int)

    def _affine(self, index: list[int], points: np.ndarray) -> bool:
        """Whether r(u) + r(v) = r(u + v) + r(0) in these coordinates, and the last of them does something to the rows.

        A rate so large that its exponential is gone is not linear, though nothing changes with it there.
        """
        rng = np.random.default_rng(0)
        u, v = rng.normal(size=(2, len(points), len(index)))
        at = []
        for shift in (u, v, u + v, 0.0 * u):
            there = points.copy()
            there[:, index] = shift
            at.append(self._curve.residuals(there))
        size = np.abs(np.array(at)).max(axis=(0, 2))
        off = np.abs(at[0] + at[1] - at[2] - at[3]).max(axis=1)
        there[:, index[-1]] = 1.0
        moved = np.delete(self._curve.residuals(there) - at[3], np.flatnonzero(self._curve.index == index[-1]), axis=1)
        acts = np.abs(moved).max(axis=1) > _AFFINE * size
        return bool(np.all(size < FAR) and np.all(off <= _AFFINE * size) and np.all(acts))  # FAR stands where the law has no value

    def _given(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean (n, k), and R (n, k, k), upper, with R'R the precision."""
        n, k = len(thetas), len(self.index)
        around = np.repeat(thetas[:, None], k + 1, axis=1)
        around[:, :, self.index] = np.concatenate([np.eye(k), np.zeros((1, k))])
        values = self._curve.residuals(around.reshape(n * (k + 1), -1), run=k + 1).reshape(n, k + 1, -1)
        values[:, :k] -= values[:, k:]
        triangle = np.linalg.qr(values.swapaxes(1, 2), mode="r")
        root = triangle[:, :k, :k]
        singular = ~np.all(np.abs(np.diagonal(root, axis1=1, axis2=2)) > 0, axis=1)
        root[singular] = np.eye(k)  # where the law has no value
        return -np.linalg.solve(root, triangle[:, :k, k, None])[..., 0], root

    def given(self, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same at any number of thetas."""
        many = max(_MOST_NUMBERS // max(len(self._curve.residuals(thetas[:1])[0]) * (len(self.index) + 1), 1), 1)
        parts = [self._given(thetas[part]) for part in slices(len(thetas), many)]
        mean, root = (np.concatenate(part) for part in zip(*parts, strict=True))
        return mean, root

    def nearest(self, thetas: np.ndarray) -> np.ndarray:
        """Thetas with the linear coordinates at their mean given the others: least squares in them."""
        out = thetas.copy()
        if len(self.index):
            out[:, self.index] = self.given(thetas)[0]
        return out

    def fill(self, thetas: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Draw these coordinates, in place, given the others of thetas, shape (n, size), from uniform numbers, one for each.

        Returns their log density, shape (n,).
        """
        mean, root = self.given(thetas)
        z = special.ndtri(u)
        thetas[:, self.index] = mean + np.linalg.solve(root, z[..., None])[..., 0]
        return _log_normal(z, root)

    def logpdf(self, thetas: np.ndarray) -> np.ndarray:
        """Log density of the linear coordinates given the others, shape (n,)."""
        mean, root = self.given(thetas)
        return _log_normal(np.einsum("nij,nj->ni", root, thetas[:, self.index] - mean), root)


def _log_normal(z: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Log density at standardised numbers, given the root of the precision."""
    diagonal = np.abs(np.diagonal(root, axis1=1, axis2=2))
    with np.errstate(all="ignore"):
        return np.asarray(np.log(diagonal).sum(axis=1) - 0.5 * (z**2).sum(axis=1) - 0.5 * z.shape[1] * _LOG_2PI)


class Given:
    """Coordinates that are drawn exactly, part after part, each given those before and the rest.

    Parameters
    ----------
    parts : sequence of Members or Linear
    size : int
        Of theta.

    Attributes
    ----------
    rest : int array
        The other coordinates.
    linear : bool
        Whether parameters of a curve are among them.
    spreads : int array
        Standard deviations of populations whose members are.
    """

    def __init__(self, parts: Sequence[Members | Linear], size: int) -> None:
        self.parts = [part for part in parts if len(part.index)]
        self.linear = any(isinstance(part, Linear) for part in self.parts)
        spreads = (part.spreads for part in self.parts if isinstance(part, Members))
        self.spreads = np.concatenate([np.zeros(0, dtype=int), *spreads])
        self.size = size
        self.rest = np.setdiff1d(np.arange(size), np.concatenate([np.zeros(0, dtype=int), *(part.index for part in self.parts)]))

    def draw(self, rest: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Thetas, shape (n, size), with these other coordinates, and the log density of what is drawn given these, shape (n,).

        Uniform numbers `u` have shape (n, size - rest).
        """
        out, log, used = np.zeros((len(rest), self.size)), np.zeros(len(rest)), 0
        out[:, self.rest] = rest
        for part in self.parts:
            log += part.fill(out, u[:, used : used + len(part.index)])
            used += len(part.index)
        return out, log

    def logpdf(self, thetas: np.ndarray) -> np.ndarray:
        """Log density of these coordinates given the others, shape (n,)."""
        return np.asarray(sum((part.logpdf(thetas) for part in self.parts), np.zeros(len(thetas))))


@dataclass(frozen=True)
class Bent:
    """A mixture of straight coordinates, and for a share of the draws a wide one of the coordinates themselves.

    Where a tail leaves the parabola that was learnt, straight coordinates know nothing of it.
    """

    straight: mix.Mixture
    bend: bends.Bend
    wide: mix.Mixture
    share: float

    chosen: ClassVar[int] = 1 + mix.Mixture.chosen  # uniform numbers for which of both it is, and what they take for that themselves

    def draw(self, u: np.ndarray) -> np.ndarray:
        """Draws of shape (n, size) from uniform numbers of shape (n, `chosen` + size)."""
        wide, rest = u[:, 0] < self.share, u[:, 1:]
        out = np.empty((len(u), len(self.straight.locations[0])))
        out[wide] = self.wide.draw(rest[wide])
        out[~wide] = self.bend.bent(self.straight.draw(rest[~wide]).T)[0].T
        return out

    def logpdf(self, x: np.ndarray) -> np.ndarray:
        """Log density at x of shape (n, size)."""
        v, passage = self.bend.straight(x.T)
        straight = np.log(1 - self.share) + self.straight.logpdf(v.T) - self.bend.volume(passage)
        return np.logaddexp(straight, np.log(self.share) + self.wide.logpdf(x))


Cover = mix.Mixture | Bent


@dataclass(frozen=True)
class Proposal:
    """A cover of the coordinates `rest`, and what is drawn given these."""

    cover: Cover
    given: Given

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws of shape (n, size), evenly spread, and the log density of what is drawn exactly given the rest, shape (n,)."""
        return self._at(points.even(rng, n, self.cover.chosen + self.given.size))

    def draw_pairs(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The same, the two of each pair on opposite sides of a component: means of draws are better, what is learnt from them is not."""
        return self._at(points.mirrored(rng, n, self.cover.chosen + self.given.size, self.cover.chosen))

    def _at(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        split = self.cover.chosen + len(self.given.rest)
        return self.given.draw(self.cover.draw(u[:, :split]), u[:, split:])

    def logpdf(self, x: np.ndarray) -> np.ndarray:
        """Log density at x of shape (n, size)."""
        return self.of_rest(x) + self.given.logpdf(x)

    def of_rest(self, x: np.ndarray) -> np.ndarray:
        """Log density of the coordinates that are not drawn exactly alone, at x of shape (n, size)."""
        return self.cover.logpdf(x[:, self.given.rest])


def covering(
    x: np.ndarray, weights: np.ndarray, rng: np.random.Generator, most: int, share: float, wide: float, known: mix.Mixture
) -> Cover:
    """What describes weighted points x, shape (n, size), best, with a wide share.

    Ridges are made straight for it where `wide` is not 0, the share of draws that know of no bend then.

    Several modes, `known` ones, may stand on one ridge or apart, where no map makes them one: what describes them better is taken.
    """
    effective = float(1 / np.sum(weights**2))
    bend = bends.learn(x[rng.choice(len(x), size=_LEARNT, p=weights)].T, effective) if wide else None
    several = len(known.weights) > 1
    plain = mix.fit(x, weights, rng, most=most if bend is None or several else _FEW, known=known)
    if bend is None:
        return mix.defended(plain, share=share)
    v, passage = bend.straight(x.T)
    made = mix.fit(v.T, weights, rng, most=most)
    if several and weights @ plain.logpdf(x) > weights @ (made.logpdf(v.T) - bend.volume(passage)):
        return mix.defended(plain, share=share)
    return Bent(mix.defended(made, share=share), bend, mix.widened(plain), wide)
