"""Leaving groups of response rows out, exactly, at fixed hyperparameters.

Given psi, with m and S the posterior mean and covariance of the noiseless values of a group's cells and R the variances of the means of
its measurements, the predictive distribution of the group given all other rows is (Sundararajan & Keerthi, Neural Comput. 13, 1103,
2001; Vehtari et al., J. Mach. Learn. Res. 17, 103, 2016, section 3.4; here for groups)

    y_g | y_-g, psi ~ N(y_g - [V^-1]_gg^-1 [V^-1 r]_g, [V^-1]_gg^-1),   [V^-1]_gg = R^-1 - R^-1 S R^-1,   [V^-1 r]_g = R^-1 (y_g - m).

Only response rows are left out: characterisations of a left-out specimen stay, so that the question is how well the property of a
characterised, unmeasured specimen is predicted. Student t scales that belong to the group alone are drawn anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from realmat.algebra import System
from realmat.algebra.batch import BatchConditional, ConditionalList
from realmat.algebra.batching import Batch, at_index
from realmat.algebra.conditional import NOT_IDENTIFIED
from realmat.algebra.group_covariances import GroupCovariances
from realmat.algebra.response import Response
from realmat.errors import FitError
from realmat.posterior.grouping import Groups, of_rows
from realmat.terms.term import degrees
from realmat.validation.tails import Target, density, joined, owned_effects

DENSE_CELLS = 300  # larger groups are left out by a sparse factorisation of their own
_NUMBERS = 4_000_000  # covariances held at once
_LOG_2PI = float(np.log(2 * np.pi))


@dataclass
class LeftOutDensities:
    """What leaving each group out gives at n psi, on the scale of the link.

    Attributes
    ----------
    left_out : array of shape (n, groups)
        Log density of a group given all other rows.
    mean, variance : array of shape (n, pairs)
        Of the value behind each (group, cell) pair, with the group left out.
    noise : array of shape (n, pairs)
        Variance that a single measurement adds. Where a row's own is drawn, as with Student t noise, it stands in `variance`.
    """

    left_out: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    noise: np.ndarray


class Leaver:
    """Leaves every group out in turn, at any psi.

    Parameters
    ----------
    system : System
    groups : Groups

    Attributes
    ----------
    most : int
        Largest batch of psi whose numbers fit in memory comfortably.
    """

    def __init__(self, system: System, groups: Groups) -> None:
        self.system, self.groups = system, groups
        problem, noise = system.problem, system.problem.response_rows.noise
        self.resampled = system.augmented and (bool(noise.nu) or noise.censored is not None or any(c.nu for c in problem.coefficients))
        self.owned = owned_effects(problem, groups) if self.resampled else []
        # of all cells, only those of the groups are looked at
        cells, self._cell = np.unique(groups.cell, return_inverse=True)
        self.response = Response(system, cells)
        small = [k for k, (_, p) in enumerate(groups.buckets) if self.resampled or p.shape[1] <= DENSE_CELLS]
        self.small = [(k, self._spread(groups.buckets[k][1])) for k in small]
        big = [bucket for k, bucket in enumerate(groups.buckets) if k not in small]
        self.big = [_Big.of(self, int(g), p) for which, pairs in big for g, p in zip(which, pairs, strict=True)]
        numbers = sum(groups.buckets[k][1].size * groups.buckets[k][1].shape[1] for k in small) + len(groups.cell)
        self.most = int(np.clip(_NUMBERS // numbers, 1, system.whole.most))

    def _spread(self, pairs: np.ndarray) -> GroupCovariances:
        return GroupCovariances(self.system, self.response.matrix, self._cell[pairs], self.response.scale_of)

    def at(self, values: Batch, n: int, rngs: Sequence[np.random.Generator] = ()) -> LeftOutDensities:
        """Leave each group out at every psi of a batch.

        Parameters
        ----------
        values : mapping of parameter name to array
            The batch, of length `n`, is the last axis.
        rngs : sequence of numpy Generator
            One for each psi; needed for Student t scales and censored rows only.

        Raises
        ------
        realmat.FitError
            If the numbers break down at these values.
        """
        groups = self.groups
        size, pairs = len(groups.labels), len(groups.cell)
        out = LeftOutDensities(np.zeros((n, size)), *(np.zeros((n, pairs)) for _ in range(3)))
        solved = self.system.whole.at(values, n)
        if not np.isfinite(solved.log_marginal).all():
            raise FitError(NOT_IDENTIFIED)
        at, b = self.response.at(values, n), solved.mean()
        mean = self.response.mean(at, b)[:, self._cell]
        variance = at.variance[:, self._cell]
        for k, spread in self.small:
            which, members = groups.buckets[k]
            block = _Block(members, mean[:, members], spread.at(solved, at.scales), variance[:, members], groups)
            if self.resampled:
                self._resample(out, k, block, values, b, rngs)
            else:
                block.fill(out, which)
        for big in self.big:
            big.fill(out, solved, values)
        return out

    def _resample(
        self, out: LeftOutDensities, k: int, block: _Block, values: Batch, b: np.ndarray, rngs: Sequence[np.random.Generator]
    ) -> None:
        """Student t and censored rows: what belongs to the left-out group alone is drawn anew (`realmat.validation.tails`)."""
        rows = self.system.problem.response_rows
        which, members = self.groups.buckets[k]
        cells = self.groups.cell[members]
        censored = np.zeros_like(cells) if rows.noise.censored is None else rows.noise.censored[cells]
        measured, latent = block.y, values.get(f"{rows.name}_latent")
        if latent is not None:
            block.y = latent.T[:, cells]
        means, covariances = block.cavity()
        apart = block.apart()
        for i, rng in enumerate(rngs):
            psi = at_index(values, i)
            nu = None if rows.noise.nu is None else float(degrees(rows.noise.nu, psi))
            single = block.variance[i] / psi[f"{rows.name}_local"][cells] if nu else block.variance[i]
            effects = joined([o.at(k, psi, b[i], self.system.columns) for o in self.owned])
            target = Target(means[i], covariances[i], single / block.count, measured, censored, nu, effects)
            log_density, variance = density(target, rng)
            out.left_out[i, which] = log_density + apart[i]
            out.mean[i, members], out.variance[i, members] = means[i], variance + single * (1 - 1 / block.count)


class _Block:
    """Groups with equally many cells, at n psi: arrays of shape (n, groups, size), covariance (n, groups, size, size)."""

    def __init__(self, members: np.ndarray, mean: np.ndarray, covariance: np.ndarray, variance: np.ndarray, groups: Groups) -> None:
        self.members = members
        self.mean, self.covariance, self.variance = mean, covariance, variance
        self.count, self.y, self.within = groups.count[members], groups.mean[members], groups.within[members]
        self.root = np.sqrt(variance / self.count)

    def _scaled(self) -> tuple[np.ndarray, np.ndarray]:
        """Inverse of I - R^-1/2 S R^-1/2, and log determinant of the latter."""
        if self.mean.shape[-1] == 1:
            left = 1 - self.covariance / np.square(self.root)[..., None]
            return 1 / left, np.log(left[..., 0, 0])
        left = np.eye(self.mean.shape[-1]) - self.covariance / (self.root[..., :, None] * self.root[..., None, :])
        return np.linalg.inv(left), np.linalg.slogdet(left)[1]

    def apart(self) -> np.ndarray:
        """Log density of the deviations within cells, which depend on the noise alone, shape (n, groups)."""
        rest = (self.count - 1) * (np.log(self.variance) + _LOG_2PI) + np.log(self.count) + self.within / self.variance
        return -0.5 * rest.sum(axis=-1)

    def cavity(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of the noiseless values given all other rows."""
        scaled, _ = self._scaled()
        away = (self.y - self.mean) / self.root
        mean = self.y - self.root * (scaled @ away[..., None])[..., 0]
        covariance = (scaled - np.eye(self.mean.shape[-1])) * (self.root[..., :, None] * self.root[..., None, :])
        return mean, covariance

    def fill(self, out: LeftOutDensities, which: np.ndarray) -> None:
        """Gaussian rows: everything in closed form."""
        scaled, log_det = self._scaled()
        away = (self.y - self.mean) / self.root
        gone = (scaled @ away[..., None])[..., 0]
        rest = self.apart() - np.log(self.root).sum(axis=-1) - 0.5 * _LOG_2PI * self.mean.shape[-1]
        out.left_out[:, which] = 0.5 * log_det - 0.5 * (away * gone).sum(axis=-1) + rest
        out.mean[:, self.members] = self.y - self.root * gone
        out.variance[:, self.members] = self.root**2 * (np.diagonal(scaled, axis1=-2, axis2=-1) - 1)
        out.noise[:, self.members] = self.variance


@dataclass
class _Big:
    """One large group: a system without its rows gives its density as a ratio of marginal likelihoods."""

    group: int
    members: np.ndarray
    response: Response
    without: System
    spread: GroupCovariances

    @classmethod
    def of(cls, leaver: Leaver, group: int, members: np.ndarray) -> _Big:
        problem, groups = leaver.system.problem, leaver.groups
        without = System(of_rows(problem, np.flatnonzero(groups.of_row != group)))
        own = Response(leaver.system, groups.cell[members])
        alone = np.arange(len(members))[:, None]
        return cls(group, members, own, without, GroupCovariances(without, own.matrix, alone, own.scale_of))

    def fill(self, out: LeftOutDensities, full: BatchConditional | ConditionalList, values: Batch) -> None:
        n = len(full.log_marginal)
        without, at = self.without.whole.at(values, n), self.response.at(values, n)
        out.left_out[:, self.group] = full.log_marginal - without.log_marginal
        out.mean[:, self.members] = self.response.mean(at, without.mean())
        out.variance[:, self.members] = self.spread.at(without, at.scales)[:, :, 0, 0]
        out.noise[:, self.members] = at.variance
