"""log p(theta, b | y) and its gradient, for many chains at once: the plain joint density, in coordinates that suit Hamiltonian moves.

Coordinates of the effects are beta, with b = beta at a reference psi. Elsewhere an effect keeps its distance from its prior mean in units
of what its own standard deviation would be with its prior and its rows, ``v(psi) = sd / sqrt(1 + told sd^2)``, `told` being what all rows
tell of it at the reference, other effects unknown too: non-centred where that is little, centred where it is much, and non-centred again
as sd goes to zero (Papaspiliopoulos, Roberts & Skoeld, Statistical Science 22, 59, 2007, whose power of sd is the tangent of this).
Coordinates of psi are treated alike where a hyperparameter has a population (`Populations`): z, with theta = z at the reference. `shears`
says what takes up what hyperparameters add.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from realmat.algebra import System
from realmat.algebra.batching import Batch, at_index, slices
from realmat.algebra.conditional import Conditional
from realmat.algebra.ratios import Totals
from realmat.algebra.slopes import Slopes
from realmat.algebra.space import Space
from realmat.engines.chains import block_kernels as loops
from realmat.engines.chains import shears
from realmat.engines.chains.derived import Derived
from realmat.engines.chains.populations import Populations
from realmat.engines.chains.rows import RowsTarget
from realmat.terms.density import filled, plain
from realmat.terms.term import Coefficients

STEP = 1e-4  # of differences of the gradient
_ROUNDED = 1e-6  # of a precision


@dataclass
class _Block:
    """A block whose prior depends on psi or on other coefficients; places in elimination order."""

    where: np.ndarray
    sd: Derived
    mean: Derived
    parents: list[tuple[np.ndarray, sparse.csr_matrix]]
    constant: np.ndarray
    read: tuple[np.ndarray, ...]
    plain: bool
    told: np.ndarray
    width_there: np.ndarray
    mean_there: np.ndarray
    axes: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def inform(self, away: np.ndarray | None, sd: np.ndarray) -> None:
        """Take what rows tell from a root of the covariance of distances, shape (size, n), at prior standard deviations sd, or nothing."""
        self.told, self.axes = np.zeros((len(self.where), 1)), np.zeros((0, 0))
        if away is None:
            return
        if self.sd.scalar and 1 < len(self.where) <= shears.FEW:
            variance, axes = np.linalg.eigh(away @ away.T)
            self.axes, least = np.ascontiguousarray(axes), _ROUNDED
        else:
            variance, least = np.square(away).sum(axis=1), _ROUNDED if len(self.where) <= shears.FEW else 2 * np.sqrt(2 / away.shape[1])
        # what is no more than the error of the variance is nothing: far from here it would count for much
        told, prior = 1 / variance, 1 / np.square(sd[:, 0])
        self.told = np.where(told > (1 + least) * prior, told - prior, 0.0)[:, None]

    def along(self, x: np.ndarray) -> np.ndarray:
        """From effects to the axes along which rows tell."""
        return self.axes.T @ x if len(self.axes) else x

    def back(self, x: np.ndarray) -> np.ndarray:
        """The inverse of `along`."""
        return self.axes @ x if len(self.axes) else x

    def width(self, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """v for prior standard deviations, and d log v / d log sd."""
        free = 1 / (1 + self.told * sd * sd)
        return sd * np.sqrt(free), free


@dataclass
class _Moments:
    """Of one block at n psi: prior mean and sd, distances, how they are stretched and how that goes with sd; the derivatives of moments."""

    mean: np.ndarray
    sd: np.ndarray
    away: np.ndarray
    stretch: np.ndarray
    free: np.ndarray
    volume: np.ndarray
    mean_slopes: list[np.ndarray]
    sd_slopes: list[np.ndarray]


@dataclass(frozen=True)
class Centring:
    """At a reference psi.

    Attributes
    ----------
    effects : list of arrays of shape (size, n)
        A root of the covariance of the distances of each block from its prior mean, given psi.
    populations : list of arrays of shape (size,), optional
        c of hyperparameters with a population.
    shears, balances
        What takes up what.
    """

    effects: list[np.ndarray]
    populations: list[np.ndarray] | None
    shears: list[sparse.csr_matrix]
    balances: list[np.ndarray]


class Target:
    """The joint density of a system.

    Parameters
    ----------
    system : System
        Where no effect is eliminated in closed form.
    space : Space
    around : array of shape (n, theta size)
        A few typical points, on which functions of psi are tried.
    totals : Totals, optional
        Of scales that add up: z has their totals and ratios, from those at the reference, once draws are seen to be straighter in these.
    """

    def __init__(self, system: System, space: Space, around: np.ndarray, totals: Totals | None = None) -> None:
        self.system, self.space = system, space
        self.slopes, self.populations = Slopes(space), Populations(space)
        self._every, self.totals = totals, Totals([], {})
        self._shift = np.zeros((space.size, 1))  # from z to totals and ratios
        self.typical = space.many(around)[0]
        self.rows = [RowsTarget(row_block, self.typical) for row_block in system.row_blocks]
        hierarchical = [c for c in system.problem.coefficients if callable(c.sd) or callable(c.mean) or self._parents(c)]
        self.blocks, self._names = [self._block(c) for c in hierarchical], [c.name for c in hierarchical]
        self.shears, self.balances = shears.find(system, self.rows, self._names), shears.balances(system, self.rows, self._names)
        fixed = system.fixed_precision > 0
        self._precision, self._mean = (np.where(fixed, x, 0.0)[:, None] for x in (system.fixed_precision, system.fixed_mean))

    def _parents(self, block: Coefficients) -> tuple[tuple[str, sparse.csr_matrix], ...]:
        """Parents of a block; an intercept has none where columns are centred."""
        return () if self.system.columns[block.name].start in self.system.frame.intercepts else block.parents

    def _block(self, block: Coefficients) -> _Block:
        system, where = self.system, self.system.place[self.system.columns[block.name]]
        constant = system.shift[where][:, None].copy()
        parents, read = [], sparse.csr_matrix((block.size, system.size))
        for name, matrix in self._parents(block):
            place = system.place[system.columns[name]]
            constant -= matrix @ system.shift[place][:, None]
            parents.append((place, matrix.tocsr()))
            entries = matrix.tocoo()
            read += sparse.csr_matrix((entries.data, (entries.row, place[entries.col])), shape=read.shape)
        empty = np.zeros((block.size, 1))
        plain = not system.is_linked(block)
        sd, mean = Derived(block.sd, self.typical), Derived(block.mean, self.typical)
        rows = (where.astype(np.int64), read.indptr.astype(np.int32), read.indices.astype(np.int32), read.data.astype(float))
        return _Block(where, sd, mean, parents, constant, rows, plain, empty, empty + 1.0, empty)

    def refer(self, theta: np.ndarray, centring: Centring | None = None) -> None:
        """Take psi at theta as the reference; effects are non-centred and hyperparameters centred where no centring is given."""
        values = self.space.many(theta[None])[0]
        self.populations.refer(theta, centring.populations if centring else None)
        self._shift = (self.totals.turned(theta) - theta)[:, None]
        for k, block in enumerate(self.blocks):
            size = len(block.where)
            sd = block.sd.at(values, 1)[0]
            block.inform(centring.effects[k] if centring else None, sd)
            block.width_there = block.width(sd)[0]
            block.mean_there = np.array(np.broadcast_to(block.mean.at(values, 1)[0], (size, 1)))
        for k, shear in enumerate(self.shears):
            shear.refer(values, centring.shears[k] if centring else None)
        for k, balance in enumerate(self.balances):
            balance.share = centring.balances[k] if centring else None

    def plain(self, z: np.ndarray) -> np.ndarray:
        """theta from z, both of shape (theta size, n): the same at the reference."""
        return self.populations.plain(self._logarithms(z))[0]

    def coordinates(self, theta: np.ndarray) -> np.ndarray:
        """The inverse of `plain`."""
        z = self.populations.coordinates(theta)
        return self.totals.turned(z) - self._shift if self.totals.lines else z

    def _logarithms(self, z: np.ndarray) -> np.ndarray:
        """z with logarithms of scales in place of totals and ratios."""
        return self.totals.logarithms(z + self._shift) if self.totals.lines else z

    def straighten(self, thetas: np.ndarray) -> None:
        """Choose the totals in which draws of theta, shape (size, n), are straighter, before a new reference."""
        if self._every is not None and thetas.shape[1] > 1:
            self.totals = self._every.straighter(thetas)

    def pull(self, z: np.ndarray, gradient: np.ndarray) -> None:
        """Turn a gradient in logarithms of scales into that in z, in place, both of shape (size, n)."""
        self.totals.pull(z + self._shift, gradient)

    def push(self, z: np.ndarray, gradient: np.ndarray) -> None:
        """The inverse of `pull`."""
        self.totals.push(z + self._shift, gradient)

    def slope(self, theta: np.ndarray) -> np.ndarray:
        """Derivatives of logarithms of scales in z, shape (size, size), at the reference theta."""
        return self.totals.slope(self.totals.turned(theta))

    def place(self, values: Batch, beta: np.ndarray) -> tuple[np.ndarray, list[_Moments]]:
        """b from beta at n psi, both of shape (coefficients, n), elimination order, from the system's reference."""
        n, b, moments = beta.shape[1], beta.copy(), []
        beta = plain(beta)
        for block in self.blocks:
            sd, sd_slopes = block.sd.at(values, n)
            mean, mean_slopes = block.mean.at(values, n)
            sd, mean = filled(sd, n), filled(mean, n)
            there = (block.constant, block.mean_there, block.width_there, block.told, block.axes)
            volume, away, stretch, free = loops.place(*block.read, *there, mean, sd, beta, b)
            moments.append(_Moments(mean, sd, away, stretch, free, volume, mean_slopes, sd_slopes))
        for balance in self.balances:
            balance.move(b, beta, -1.0)
        for shear in self.shears:
            shear.move(values, b, beta, -1.0)
        return b, moments

    def unplace(self, values: Batch, b: np.ndarray) -> np.ndarray:
        """The inverse of `place`."""
        b, beta = b.copy(), b.copy()
        balancing = {int(k) for balance in self.balances for k in balance.where}
        sheared = {shear.block for shear in self.shears}
        late = [block.where[0] in balancing for block in self.blocks]
        taking = [name in sheared for name in self._names]
        self._unstretch([not x and not y for x, y in zip(late, taking, strict=True)], values, b, beta)
        for shear in self.shears:
            shear.move(values, b, beta, 1.0)
        self._unstretch(taking, values, b, beta)
        for balance in self.balances:
            balance.move(b, beta, 1.0)
        for balance in self.balances:
            beta[balance.where] = b[balance.where]
        self._unstretch(late, values, b, beta)
        return beta

    def _unstretch(self, some: list[bool], values: Batch, b: np.ndarray, beta: np.ndarray) -> None:
        """Fill in the coordinates of some blocks."""
        for block in (block for block, wanted in zip(self.blocks, some, strict=True) if wanted):
            sd, mean = (x.at(values, b.shape[1])[0] for x in (block.sd, block.mean))
            away = b[block.where] + block.constant - mean
            there = block.mean_there - block.constant
            for at, matrix in block.parents:
                away -= matrix @ b[at]
                there = there + matrix @ beta[at]
            beta[block.where] = there + block.back(block.along(away) * (block.width_there / block.width(sd)[0]))

    def at(self, z: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log density of (z, beta) and its derivatives.

        Parameters
        ----------
        z : array of shape (theta size, n)
        beta : array of shape (coefficients, n)

        Returns
        -------
        log, in_z, in_beta : arrays of shape (n,), (theta size, n), (coefficients, n)
        """
        logarithms = self._logarithms(z)
        thetas, volume, leaning = self.populations.plain(logarithms)
        here = self.slopes.at(thetas.T)
        b, moments = self.place(here.values, beta)
        in_values, into = self.slopes.empty(z.shape[1])
        away = b - self._mean
        down = -self._precision * away
        log = here.log_prior + volume + 0.5 * np.einsum("ij,ij->j", down, away)
        for rows in self.rows:
            log = log + rows.at(here.values, b, down, into)
        pulls = [(np.zeros(m.mean.shape), np.zeros(m.sd.shape)) for m in moments]
        for block, m, pull in zip(self.blocks, moments, pulls, strict=True):
            log = log + m.volume
            if block.plain:  # else its prior stands among the rows
                log = log + loops.prior(block.read[0], block.constant, m.mean, m.sd, b, down, *pull)
        direct = np.zeros(down.shape)
        for shear in self.shears:
            shear.pull(here.values, b, down, direct, into)
        for balance in self.balances:
            balance.pull(down, direct)
        for block, m, pull in zip(reversed(self.blocks), reversed(moments), reversed(pulls), strict=True):
            loops.back(*block.read, block.axes, m.sd, m.away, m.stretch, m.free, down, direct, *pull)
            block.mean.pull(m.mean_slopes, pull[0], into)
            block.sd.pull(m.sd_slopes, pull[1], into)
        gradient = here.gradient + in_values * here.slopes
        self.populations.pull(logarithms, leaning, gradient)
        self.pull(z, gradient)
        return log, gradient, down + direct

    def learn(self, draws: tuple[Batch, np.ndarray] | None) -> None:
        """Take the mean curvature of the rows at draws of (psi, b) for what they tell; without, their information where one looks."""
        for rows in self.rows:
            rows.learn(draws)

    def gaussian(self, values: Batch, b: np.ndarray, guessed: bool = False, secant: bool = False) -> dict[str, np.ndarray]:
        """Local factors and latent values, each of shape (rows, n), of the normal rows that stand for all rows near n (psi, b)."""
        return {name: x for rows in self.rows for name, x in rows.gaussian(values, b, guessed, secant).items()}

    def conditional(self, values: Mapping[str, np.ndarray], rows: Mapping[str, np.ndarray]) -> Conditional:
        """The effects given one psi, and the normal rows that stand for rows that are not normal; all arrays have a last axis of one."""
        return self.system.at(at_index({**values, **rows}, 0))

    def modes(self, values: Batch, rows: Batch, n: int) -> np.ndarray:
        """Modes of the effects at n psi, normal rows standing for others, shape (coefficients, n): where psi has none, not a number."""
        b = np.zeros((n, self.system.size))
        for some in slices(n, self.system.many.most):
            self.system.many.at(at_index({**values, **rows}, some), some.stop - some.start).centred(b[some])
        return np.ascontiguousarray(b.T)

    def beyond(self, values: Batch, rows: Batch, b: np.ndarray) -> np.ndarray:
        """What rows that are not normal say at n (psi, b) beyond the normal rows that stand for them, shape (n,)."""
        return np.asarray(sum((own.beyond(values, rows, b) for own in self.rows if own.row_block.augmented), np.zeros(b.shape[1])))

    def informed(self, theta: np.ndarray, b: np.ndarray, root: Callable[[sparse.csr_matrix], np.ndarray]) -> Centring:
        """What rows tell of the effects, the share that they have in each hyperparameter with a population, and what takes up what.

        At plain coordinates theta and at b of shape (coefficients, 1), with theta as reference and no centring chosen; of sums of
        coefficients, the rows of a matrix, `root` gives a root of the covariance given theta.
        """
        values = self.space.many(theta[None])[0]
        sds = {name: block.sd.at(values, 1)[0] for block, name in zip(self.blocks, self._names, strict=True)}
        moved = [shear.shares(values, b, sds[shear.block]) for shear in self.shears]
        every = sparse.identity(len(b), format="csr")
        for shear, share in zip(self.shears, moved, strict=True):
            every = every + shear.whole(share, len(b))
        effects = [root(every[x.where] - sum(matrix @ every[at] for at, matrix in x.parents)) for x in self.blocks]
        balanced = [balance.shares(values, b) for balance in self.balances]
        return Centring(effects, self.populations.shares(theta, self._bend(theta, b)), moved, balanced)

    def _bend(self, theta: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Second derivatives of the log density in each hyperparameter with a population; the elements of one are moved together."""
        out = np.zeros(len(theta))
        for where in self.populations.places:
            step = np.zeros((len(theta), 1))
            step[where] = STEP
            ends = theta[:, None] + np.concatenate([step, -step], axis=1)
            slope = self.at(ends, np.repeat(b, 2, axis=1))[1][where]
            out[where] = (slope[:, 0] - slope[:, 1]) / (2 * STEP)
        return out
