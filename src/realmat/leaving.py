"""Leaving groups of response rows out, exactly, at fixed hyperparameters.

Given psi, with m and S the posterior mean and covariance of the noiseless values of a group's cells and R the variances of the means of
its measurements, the predictive distribution of the group given all other rows is (Sundararajan & Keerthi, Neural Comput. 13, 1103,
2001; Vehtari et al., J. Mach. Learn. Res. 17, 103, 2016, section 3.4; here for groups)

    y_g | y_-g, psi ~ N(y_g - [V^-1]_gg^-1 [V^-1 r]_g, [V^-1]_gg^-1),   [V^-1]_gg = R^-1 - R^-1 S R^-1,   [V^-1 r]_g = R^-1 (y_g - m).

Only response rows are left out: characterisations of a left-out specimen stay, so that the question is how well the property of a
characterised, unmeasured specimen is predicted. Student t scales that belong to the group alone are drawn anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy import sparse

from realmat.gaussian import Conditional, System
from realmat.grouping import Groups, of_rows
from realmat.problem import Problem
from realmat.tails import Target, density, joined, owned_effects
from realmat.terms import Values, degrees

DENSE_CELLS = 300  # larger groups are left out by a sparse factorisation of their own
_LOG_2PI = float(np.log(2 * np.pi))


@dataclass
class LeftOutDensities:
    """What leaving each group out gives at one psi, on the scale of the link.

    Attributes
    ----------
    left_out : array of shape (groups,)
        Log density of a group given all other rows.
    mean, variance : array of shape (pairs,)
        Of a single new measurement in each (group, cell) pair, with the group left out.
    """

    left_out: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


class Leaver:
    """Leaves every group out in turn, at any psi.

    Parameters
    ----------
    system : System
    groups : Groups
    """

    def __init__(self, system: System, groups: Groups) -> None:
        self.system, self.groups = system, groups
        problem, noise = system.problem, system.problem.response_rows.noise
        self.resampled = system.augmented and (bool(noise.nu) or noise.censored is not None or any(c.nu for c in problem.coefficients))
        self.owned = owned_effects(problem, groups) if self.resampled else []
        self.small = [k for k, (_, p) in enumerate(groups.buckets) if self.resampled or p.shape[1] <= DENSE_CELLS]
        big = [groups.buckets[k] for k in range(len(groups.buckets)) if k not in self.small]
        self.big = [_Big.of(problem, groups, int(g), p) for which, pairs in big for g, p in zip(which, pairs, strict=True)]
        self.cells, self._at = np.unique(groups.cell, return_inverse=True)  # of all cells, only those of the groups are looked at

    def at(self, values: Values, rng: np.random.Generator) -> LeftOutDensities:
        """Leave each group out at psi `values`; `rng` serves only Student t scales and censored rows.

        Raises
        ------
        realmat.FitError
            If the numbers break down at these values.
        """
        groups = self.groups
        size, pairs = len(groups.labels), len(groups.cell)
        out = LeftOutDensities(np.zeros(size), np.zeros(pairs), np.zeros(pairs))
        conditional = self.system.at(values)
        matrix, offset, variance = self.system.response(values)
        mean = matrix @ conditional.mean + offset
        if self.small:
            half, dense = conditional.halves(matrix[self.cells])
            half.sort_indices()
        for k in self.small:
            which, members = groups.buckets[k]
            cells = groups.cell[members]
            block = _Block(members, mean[cells], _covariance(half, dense, self._at[members]), variance[cells], groups)
            if self.resampled:
                self._resample(out, k, block, cells, values, conditional.mean, rng)
            else:
                block.fill(out, which)
        for big in self.big:
            big.fill(out, conditional, values, mean, matrix, variance)
        return out

    def _resample(
        self, out: LeftOutDensities, k: int, block: _Block, cells: np.ndarray, values: Values, b: np.ndarray, rng: np.random.Generator
    ) -> None:
        """Student t and censored rows: what belongs to the left-out group alone is drawn anew (`realmat.tails`)."""
        rows = self.system.problem.response_rows
        which = self.groups.buckets[k][0]
        nu = None if rows.noise.nu is None else float(degrees(rows.noise.nu, values))
        single = block.variance / values[f"{rows.name}_local"][cells] if nu else block.variance
        censored = np.zeros_like(cells) if rows.noise.censored is None else rows.noise.censored[cells]
        measured, latent = block.y, values.get(f"{rows.name}_latent")
        if latent is not None:
            block.y = latent[cells]
        effects = joined([o.at(k, values, b, self.system.columns) for o in self.owned])
        mean, covariance = block.cavity()
        target = Target(mean, covariance, single / block.count, measured, censored, nu, effects)
        log_density, variance = density(target, rng)
        out.left_out[which] = log_density + block.apart()
        out.mean[block.members], out.variance[block.members] = mean, variance + single * (1 - 1 / block.count)


def _covariance(half: sparse.csr_matrix, dense: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Posterior covariance of the noiseless values of each group's cells: `cells` of shape (n, size) -> (n, size, size)."""
    out = np.matmul(dense[cells], dense[cells].transpose(0, 2, 1))
    _add_overlap(half.indptr, half.indices, half.data, cells, out)
    return out


@njit(cache=True, nogil=True)
def _add_overlap(ptr, idx, val, cells, out):  # type: ignore[no-untyped-def]
    """Add the dot products of sparse rows (csr, sorted) within each group."""
    for g in range(cells.shape[0]):
        for a in range(cells.shape[1]):
            for b in range(a, cells.shape[1]):
                i, j = ptr[cells[g, a]], ptr[cells[g, b]]
                i_end, j_end = ptr[cells[g, a] + 1], ptr[cells[g, b] + 1]
                total = 0.0
                while i < i_end and j < j_end:
                    if idx[i] == idx[j]:
                        total += val[i] * val[j]
                        i += 1
                        j += 1
                    elif idx[i] < idx[j]:
                        i += 1
                    else:
                        j += 1
                out[g, a, b] += total
                if a != b:
                    out[g, b, a] += total


class _Block:
    """Groups with equally many cells, at one psi: arrays of shape (n, size), covariance (n, size, size)."""

    def __init__(self, members: np.ndarray, mean: np.ndarray, covariance: np.ndarray, variance: np.ndarray, groups: Groups) -> None:
        self.members = members
        self.mean, self.covariance, self.variance = mean, covariance, variance
        self.count, self.y, self.within = groups.count[members], groups.mean[members], groups.within[members]
        self.root = np.sqrt(variance / self.count)

    @property
    def ratio(self) -> np.ndarray:
        """R^-1/2 S R^-1/2, shape (n, size, size)."""
        return self.covariance / (self.root[:, :, None] * self.root[:, None, :])

    def apart(self) -> np.ndarray:
        """Log density of the deviations within cells, which depend on the noise alone, shape (n,)."""
        rest = (self.count - 1) * (np.log(self.variance) + _LOG_2PI) + np.log(self.count) + self.within / self.variance
        return -0.5 * rest.sum(axis=1)

    def cavity(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of the noiseless values given all other rows."""
        scaled = np.linalg.inv(np.eye(self.mean.shape[1]) - self.ratio)
        away = ((self.y - self.mean) / self.root)[:, :, None]
        mean = self.y - self.root * (scaled @ away)[:, :, 0]
        covariance = (scaled - np.eye(self.mean.shape[1])) * (self.root[:, :, None] * self.root[:, None, :])
        return mean, covariance

    def fill(self, out: LeftOutDensities, which: np.ndarray) -> None:
        """Gaussian rows: everything in closed form."""
        eye, ratio = np.eye(self.mean.shape[1]), self.ratio
        away = ((self.y - self.mean) / self.root)[:, :, None]
        scaled = np.linalg.inv(eye - ratio)
        rest = self.apart() - np.log(self.root).sum(axis=1) - 0.5 * _LOG_2PI * self.mean.shape[1]
        outer = (away * (scaled @ away)).sum(axis=(1, 2))
        out.left_out[which] = 0.5 * np.linalg.slogdet(eye - ratio)[1] - 0.5 * outer + rest
        out.mean[self.members] = self.y - self.root * (scaled @ away)[:, :, 0]
        out.variance[self.members] = self.root**2 * (np.diagonal(scaled, axis1=1, axis2=2) - 1) + self.variance


@dataclass
class _Big:
    """One large group: a system without its rows gives its density as a ratio of marginal likelihoods."""

    group: int
    members: np.ndarray
    cells: np.ndarray
    without: System

    @classmethod
    def of(cls, problem: Problem, groups: Groups, group: int, members: np.ndarray) -> _Big:
        rest = np.flatnonzero(groups.of_row != group)
        return cls(group, members, groups.cell[members], System(of_rows(problem, rest)))

    def fill(
        self, out: LeftOutDensities, full: Conditional, values: Values, mean: np.ndarray, matrix: sparse.csr_matrix, variance: np.ndarray
    ) -> None:
        without = self.without.at(values)
        out.left_out[self.group] = full.log_marginal - without.log_marginal
        own = matrix[self.cells]
        out.mean[self.members] = mean[self.cells] + own @ (without.mean - full.mean)
        out.variance[self.members] = without.variances(own) + variance[self.cells]
