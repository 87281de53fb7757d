"""log p(theta, b | y) and its gradient, for many chains at once: the plain joint density, in coordinates that suit Hamiltonian moves.

Coordinates of the effects are beta, with b = beta at a reference psi. Elsewhere an effect keeps its distance from its prior mean in units
of what its own standard deviation would be with its prior and its rows, ``v(psi) = sd / sqrt(1 + told sd^2)``, `told` being what all rows
tell of it at the reference, other effects unknown too: non-centred where that is little, centred where it is much, and non-centred again
as sd goes to zero (Papaspiliopoulos, Roberts & Skoeld, Statistical Science 22, 59, 2007, whose power of sd is the tangent of this).
Coordinates of psi are treated alike where a hyperparameter has a population (`Populations`): z, with theta = z at the reference. `shears`
says what takes up what hyperparameters add.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from realmat.algebra import System
from realmat.algebra.batching import Batch
from realmat.algebra.slopes import Slopes
from realmat.algebra.space import Space
from realmat.engines.chains import shears
from realmat.engines.chains.derived import Derived
from realmat.engines.chains.populations import Populations
from realmat.engines.chains.rows import RowsTarget
from realmat.terms.term import Coefficients

STEP = 1e-4  # of differences of the gradient


@dataclass
class _Block:
    """A block whose prior depends on psi or on other coefficients; places in elimination order."""

    where: np.ndarray
    sd: Derived
    mean: Derived
    parents: list[tuple[np.ndarray, sparse.csr_matrix, sparse.csr_matrix]]
    constant: np.ndarray
    plain: bool
    told: np.ndarray
    width_there: np.ndarray
    mean_there: np.ndarray
    axes: np.ndarray | None = None

    def inform(self, away: np.ndarray | None, sd: np.ndarray) -> None:
        """Take what rows tell from draws of distances, shape (size, n), at prior standard deviations sd; nothing where there are none."""
        self.told, self.axes = np.zeros((len(self.where), 1)), None
        if away is None:
            return
        if self.sd.scalar and 1 < len(self.where) <= shears.FEW:
            variance, self.axes = np.linalg.eigh(away @ away.T / away.shape[1])
            self.told = np.maximum(1 / variance - 1 / np.square(sd[0]), 0.0)[:, None]
        else:
            self.told = np.maximum(1 / np.square(away).mean(axis=1) - 1 / np.square(sd[:, 0]), 0.0)[:, None]

    def along(self, x: np.ndarray) -> np.ndarray:
        """From effects to the axes along which rows tell."""
        return x if self.axes is None else self.axes.T @ x

    def back(self, x: np.ndarray) -> np.ndarray:
        """The inverse of `along`."""
        return x if self.axes is None else self.axes @ x

    def width(self, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """v for prior standard deviations, and d log v / d log sd."""
        free = 1 / (1 + self.told * sd * sd)
        return sd * np.sqrt(free), free

    def away(self, beta: np.ndarray) -> np.ndarray:
        """Distances from the prior mean at the reference psi."""
        out = beta[self.where] + self.constant - self.mean_there
        for place, matrix, _ in self.parents:
            out -= matrix @ beta[place]
        return np.asarray(out)


@dataclass
class _Moments:
    """Of one block at n psi: prior mean and sd, how distances are stretched and how that goes with sd, and the derivatives of both."""

    mean: np.ndarray
    sd: np.ndarray
    stretch: np.ndarray
    free: np.ndarray
    mean_slopes: list[np.ndarray]
    sd_slopes: list[np.ndarray]


@dataclass(frozen=True)
class Centring:
    """At a reference psi.

    Attributes
    ----------
    effects : list of arrays of shape (size, n)
        Draws of the distances of each block from its prior mean, given psi.
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
    """

    def __init__(self, system: System, space: Space, around: np.ndarray) -> None:
        self.system, self.space = system, space
        self.slopes, self.populations = Slopes(space), Populations(space)
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
        parents = []
        for name, matrix in self._parents(block):
            place = system.place[system.columns[name]]
            constant -= matrix @ system.shift[place][:, None]
            parents.append((place, matrix.tocsr(), matrix.T.tocsr()))
        empty = np.zeros((block.size, 1))
        plain = not system.is_linked(block)
        sd, mean = Derived(block.sd, self.typical), Derived(block.mean, self.typical)
        return _Block(where, sd, mean, parents, constant, plain, empty, empty + 1.0, empty)

    def refer(self, theta: np.ndarray, centring: Centring | None = None) -> None:
        """Take psi at theta as the reference; effects are non-centred and hyperparameters centred where no centring is given."""
        values = self.space.many(theta[None])[0]
        self.populations.refer(theta, centring.populations if centring else None)
        for k, block in enumerate(self.blocks):
            size = len(block.where)
            sd = block.sd.at(values, 1)[0]
            block.inform(centring.effects[k] if centring else None, sd)
            block.width_there = block.width(sd)[0]
            block.mean_there = np.broadcast_to(block.mean.at(values, 1)[0], (size, 1))
        for k, shear in enumerate(self.shears):
            shear.refer(values, centring.shears[k] if centring else None)
        for k, balance in enumerate(self.balances):
            balance.share = centring.balances[k] if centring else None

    def place(self, values: Batch, beta: np.ndarray) -> tuple[np.ndarray, list[_Moments]]:
        """b from beta at n psi, both of shape (coefficients, n), elimination order, from the system's reference."""
        n, b, moments = beta.shape[1], beta.copy(), []
        for block in self.blocks:
            sd, sd_slopes = block.sd.at(values, n)
            mean, mean_slopes = block.mean.at(values, n)
            width, free = block.width(sd)
            stretch = width / block.width_there
            here = mean - block.constant + block.back(stretch * block.along(block.away(beta)))
            for place, matrix, _ in block.parents:
                here += matrix @ b[place]
            b[block.where] = here
            moments.append(_Moments(mean, sd, stretch, free, mean_slopes, sd_slopes))
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
            back = block.mean_there - block.constant
            for place, matrix, _ in block.parents:
                away -= matrix @ b[place]
                back = back + matrix @ beta[place]
            beta[block.where] = back + block.back(block.along(away) * (block.width_there / block.width(sd)[0]))

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
        thetas, volume, leaning = self.populations.plain(z)
        here = self.slopes.at(thetas.T)
        b, moments = self.place(here.values, beta)
        into = {name: np.zeros(value.shape) for name, value in here.values.items()}
        away = b - self._mean
        down = -self._precision * away
        log = here.log_prior + volume + 0.5 * np.einsum("ij,ij->j", down, away)
        for rows in self.rows:
            log = log + rows.at(here.values, b, down, into)
        for block, m in zip(self.blocks, moments, strict=True):
            log = log + self._prior(block, m, b, down, into) + np.log(m.stretch).sum(axis=0)
        direct = np.zeros(down.shape)
        for shear in self.shears:
            shear.pull(here.values, b, down, direct, into)
        for balance in self.balances:
            balance.pull(down, direct)
        in_beta = self._back(beta, moments, down, direct, into)
        gradient = here.gradient
        for param, where in zip(self.space.params, self.space.slices, strict=True):
            gradient[where] += np.atleast_2d(into[param.name] * here.slopes[param.name])
        self.populations.pull(z, leaning, gradient)
        return log, gradient, in_beta

    def _prior(self, block: _Block, m: _Moments, b: np.ndarray, down: np.ndarray, into: dict[str, np.ndarray]) -> np.ndarray | float:
        """The block's own normal prior, unless it stands among the rows."""
        if not block.plain:
            return 0.0
        away = b[block.where] + block.constant - m.mean
        pull = away / (m.sd * m.sd)
        down[block.where] -= pull
        block.mean.pull(m.mean_slopes, _like(pull, block.mean), into)
        block.sd.pull(m.sd_slopes, _like((away * pull - 1) / m.sd, block.sd), into)
        logs = np.log(m.sd).sum(axis=0) * (len(away) // len(m.sd))  # one sd for all, or one each
        return -0.5 * np.einsum("ij,ij->j", away, pull) - logs

    def _back(
        self, beta: np.ndarray, moments: list[_Moments], down: np.ndarray, direct: np.ndarray, into: dict[str, np.ndarray]
    ) -> np.ndarray:
        """The gradient in beta from that in b, and `direct`; what moves b with psi, and the volume, adds to the gradient in psi."""
        for block, m in zip(reversed(self.blocks), reversed(moments), strict=True):
            own = down[block.where].copy()
            along = m.stretch * block.along(own)
            stretched = block.back(along)
            if m.sd_slopes:
                gain = along * block.along(block.away(beta))
                block.sd.pull(m.sd_slopes, _like(m.free * (gain + 1) / m.sd, block.sd), into)
            block.mean.pull(m.mean_slopes, _like(own, block.mean), into)
            for place, _, transposed in block.parents:
                down[place] += transposed @ own
                direct[place] -= transposed @ stretched
            down[block.where] = stretched
        return down + direct

    def learn(self, draws: tuple[Batch, np.ndarray] | None) -> None:
        """Take the mean curvature of the rows at draws of (psi, b) for what they tell; without, their information where one looks."""
        for rows in self.rows:
            rows.learn(draws)

    def gaussian(self, values: Batch, b: np.ndarray, guessed: bool = False) -> dict[str, np.ndarray]:
        """Local factors and latent values of the normal rows that stand for all rows near one (psi, b)."""
        return {name: x for rows in self.rows for name, x in rows.gaussian(values, b, guessed).items()}

    def informed(self, theta: np.ndarray, b: np.ndarray, draws: np.ndarray) -> Centring:
        """What rows tell of the effects, the share that they have in each hyperparameter with a population, and what takes up what.

        At plain coordinates theta and at b of shape (coefficients, 1), with theta as reference and no centring chosen; `draws`, shape
        (coefficients, n), are deviations of the coefficients given theta, from which it is seen how well each is known.
        """
        values = self.space.many(theta[None])[0]
        sds = {name: block.sd.at(values, 1)[0] for block, name in zip(self.blocks, self._names, strict=True)}
        moved = [shear.shares(values, b, sds[shear.block]) for shear in self.shears]
        draws = draws.copy()
        for shear, share in zip(self.shears, moved, strict=True):
            draws[shear.where] = shear.whole(draws, share)
        effects = [draws[x.where] - sum(matrix @ draws[place] for place, matrix, _ in x.parents) for x in self.blocks]
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


def _like(weight: np.ndarray, derived: Derived) -> np.ndarray:
    """Weights of the outputs of a function: one for all coefficients, or one each."""
    return weight.sum(axis=0, keepdims=True) if derived.scalar else weight
