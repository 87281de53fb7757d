"""Predictive densities of groups of rows with Student t parts and censored values, by importance sampling of what is drawn anew.

A Student t is a Gaussian whose variance is multiplied by a local scale, inverse gamma (nu/2, nu/2). The scales that belong to a left-out
group alone are integrated over: half of the draws come from their prior, half from their conditional distribution at the group's own
deviations, weighted by the balance heuristic (Veach & Guibas, SIGGRAPH 1995). Given the scales, censored values are integrated over one
after the other (the GHK simulator: Geweke, Proc. 23rd Symp. Interface, 571, 1991; Hajivassiliou, McFadden & Ruud, J. Econom. 72, 85, 1996).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import gammaincinv, gammaln, log_ndtr, ndtr, ndtri

from realmat.posterior.grouping import Groups
from realmat.terms.problem import Problem
from realmat.terms.term import Coefficients, Values, degrees, evaluate

_SCALES, _ONE_SCALE = 64, 16  # draws of the local scales for each group and psi; where a group has a single one
_FEWEST = 4
_NUMBERS = 4_000_000
_LOG_2PI = float(np.log(2 * np.pi))


@dataclass
class Effects:
    """Student t effects that belong to one group alone, padded to equal numbers: arrays of shape (n, q).

    Attributes
    ----------
    design : array of shape (n, q, size)
        What each effect adds to the group's cells; 0 where padded.
    variance, local, deviation : array of shape (n, q)
        Squared scale, the local scale that the covariance was computed with, and the squared standardised effect.
    nu : array of shape (q,)
    """

    design: np.ndarray
    variance: np.ndarray
    local: np.ndarray
    deviation: np.ndarray
    nu: np.ndarray


@dataclass
class Target:
    """Rows of n groups of equal size: predictive mean and covariance of the noiseless values, and the measurements.

    Attributes
    ----------
    mean, variance, y : array of shape (n, size)
        `variance` is that of the noise without local scales.
    covariance : array of shape (n, size, size)
    censored : int array of shape (n, size)
    nu : float, optional
        Degrees of freedom of the noise.
    effects : Effects, optional
    """

    mean: np.ndarray
    covariance: np.ndarray
    variance: np.ndarray
    y: np.ndarray
    censored: np.ndarray
    nu: float | None
    effects: Effects | None = None


def density(target: Target, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Integrate over what is drawn anew.

    Returns
    -------
    log_density : array of shape (n,)
        Log predictive density of each group; censored rows count by their probability.
    variance : array of shape (n, size)
        Of a new measurement of each row, at one draw of the local scales from their prior.
    """
    n, size = target.mean.shape
    alone = size == 1 and (target.nu is None) != (target.effects is None) and not target.censored.any()
    draws = int(np.clip(_NUMBERS // max(size * size, 1), _FEWEST, _ONE_SCALE if alone else _SCALES))
    chunk = max(1, _NUMBERS // (draws * size * size))
    log_density, variance = np.empty(n), np.empty((n, size))
    for start in range(0, n, chunk):
        where = slice(start, start + chunk)
        log_density[where], variance[where] = _density(_cut(target, where), draws, rng)
    return log_density, variance


def _cut(t: Target, where: slice) -> Target:
    e = t.effects
    effects = None if e is None else Effects(e.design[where], e.variance[where], e.local[where], e.deviation[where], e.nu)
    return Target(t.mean[where], t.covariance[where], t.variance[where], t.y[where], t.censored[where], t.nu, effects)


def _density(t: Target, draws: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    n, size = t.mean.shape
    weight = _Weight(n, draws)
    noise = np.broadcast_to(t.variance[:, None, :], (n, draws, size))
    if t.nu is not None:
        away = (t.y - t.mean) ** 2 / (t.variance + np.diagonal(t.covariance, axis1=1, axis2=2))
        noise = noise * weight.draw(np.full(size, t.nu), away, rng)
    covariance = np.broadcast_to(t.covariance[:, None], (n, draws, size, size)).copy()
    if t.effects is not None:
        e = t.effects
        change = e.variance[:, None] * (weight.draw(e.nu, e.deviation, rng, used=e.variance > 0) - e.local[:, None])
        covariance += np.einsum("nmq,nqi,nqj->nmij", change, e.design, e.design)
    np.einsum("nmii->nmi", covariance)[...] += noise
    total = np.logaddexp.reduce(_sequential(t, covariance, rng) + weight.log, axis=1) - np.log(draws)
    return total, np.diagonal(covariance[:, 0], axis1=1, axis2=2)


class _Weight:
    """Local scales, the first half from the prior, and their joint log importance weights `log`, shape (n, draws).

    Each half is a systematic sample, in a random order for each group and scale (Latin hypercube).
    """

    def __init__(self, n: int, draws: int) -> None:
        self.draws, self.half = draws, draws // 2
        self.ratio = np.zeros((n, draws))  # log proposal density minus log prior density

    def draw(self, nu: np.ndarray, deviation: np.ndarray, rng: np.random.Generator, used: np.ndarray | None = None) -> np.ndarray:
        """Local scales of shape (n, draws, q)."""
        strata = [(np.arange(size) + rng.random()) / size for size in (self.half, self.draws - self.half)]
        parts = []
        for quantile, more in zip(strata, (0.0, 1.0), strict=True):
            gamma = gammaincinv((nu + more) / 2, quantile[:, None])
            order = rng.permuted(np.broadcast_to(gamma, (len(deviation), *gamma.shape)), axis=1)
            parts.append((nu + more * deviation[:, None]) / 2 / order)
        scales = np.concatenate(parts, axis=1)
        rate = (nu + deviation) / 2
        constant = (nu + 1) / 2 * np.log(rate) - nu / 2 * np.log(nu / 2) + gammaln(nu / 2) - gammaln((nu + 1) / 2)
        ratio = constant[:, None] - 0.5 * np.log(scales) - deviation[:, None] / 2 / scales
        self.ratio += (ratio if used is None else ratio * used[:, None]).sum(axis=2)
        return scales

    @property
    def log(self) -> np.ndarray:
        share = self.half / self.draws
        return -np.logaddexp(np.log(share), np.log1p(-share) + self.ratio)


def _sequential(t: Target, covariance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Log density of measured rows times the probability of censored ones, row by row given those before: shape (n, draws)."""
    order = np.argsort(t.censored != 0, axis=1, kind="stable")
    y, mean, censored = (np.take_along_axis(a, order, axis=1) for a in (t.y, t.mean, t.censored))
    turned = np.take_along_axis(np.take_along_axis(covariance, order[:, None, :, None], axis=2), order[:, None, None, :], axis=3)
    root = np.linalg.cholesky(turned) if y.shape[1] > 1 else np.sqrt(turned)
    steps = np.zeros(covariance.shape[:3])
    total = np.zeros(covariance.shape[:2])
    for i in range(y.shape[1]):
        pivot = root[:, :, i, i]
        z = (y[:, i, None] - mean[:, i, None] - (root[:, :, i, :i] * steps[:, :, :i]).sum(axis=2)) / pivot
        side = censored[:, i, None]
        if (side == 0).all():
            total += -0.5 * z**2 - np.log(pivot) - 0.5 * _LOG_2PI
            steps[:, :, i] = z
            continue
        reach = np.where(side > 0, -z, z)
        inside = ndtri(np.maximum(rng.random(z.shape) * ndtr(reach), 1e-300))
        total += np.where(side == 0, -0.5 * z**2 - np.log(pivot) - 0.5 * _LOG_2PI, log_ndtr(reach))
        steps[:, :, i] = np.where(side == 0, z, np.where(side > 0, -inside, inside))
    return total


@dataclass
class Owned:
    """Student t effects of one block that only one group informs.

    `buckets` holds, for each bucket of groups, the columns of the block, shape (n, q), -1 where padded, and what they add to the
    group's cells, shape (n, q, size).
    """

    block: Coefficients
    buckets: list[tuple[np.ndarray, np.ndarray]]

    def at(self, k: int, values: Values, mean: np.ndarray, columns: dict[str, slice]) -> Effects | None:
        """The effects of bucket `k`, given the posterior mean of all coefficients."""
        index, design = self.buckets[k]
        block = self.block
        if not index.shape[1]:
            return None
        centre = np.broadcast_to(np.asarray(evaluate(block.mean, values), dtype=float), (block.size,))
        for part in block.mean_parts:
            centre = centre + evaluate(part.scale, values) * (part.matrix @ mean[columns[part.coefficients]])
        variance = np.broadcast_to(np.asarray(evaluate(block.sd, values), dtype=float) ** 2, (block.size,))
        deviation = (mean[columns[block.name]] - centre) ** 2 / variance
        used = index >= 0
        local = np.asarray(values[f"{block.name}_local"])
        assert block.nu is not None
        nu = np.full(index.shape[1], float(degrees(block.nu, values)))
        return Effects(design, np.where(used, variance[index], 0.0), local[index], deviation[index], nu)


def joined(parts: list[Effects | None]) -> Effects | None:
    """The effects of several blocks together."""
    found = [part for part in parts if part is not None]
    if not found:
        return None
    design, variance, local, deviation = (
        np.concatenate([getattr(part, name) for part in found], axis=1) for name in ("design", "variance", "local", "deviation")
    )
    return Effects(design, variance, local, deviation, np.concatenate([part.nu for part in found]))


def owned_effects(problem: Problem, groups: Groups) -> list[Owned]:
    """Student t effects that belong to one group alone."""
    out = []
    for block in problem.coefficients:
        pieces = [piece for _, piece in problem.response_rows.pieces if piece.coefficients == block.name]
        elsewhere = any(piece.coefficients == block.name for rows in problem.rows[1:] for _, piece in rows.pieces)
        child = any(part.coefficients == block.name for other in problem.coefficients for part in other.mean_parts)
        if not block.nu or elsewhere or child or len(pieces) != 1 or pieces[0].scale is not None:
            continue
        matrix = pieces[0].matrix
        by_row = matrix[problem.cell].tocoo()
        pairs = np.unique(np.column_stack([by_row.col, groups.of_row[by_row.row]]), axis=0)
        alone = np.bincount(pairs[:, 0], minlength=block.size) == 1
        owner = np.full(block.size, -1)
        owner[pairs[:, 0]] = pairs[:, 1]
        out.append(Owned(block, [_columns(matrix, np.where(alone, owner, -1), w, groups.cell[p]) for w, p in groups.buckets]))
    return out


def _columns(matrix: sparse.csr_matrix, owner: np.ndarray, which: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(owner, kind="stable")
    start, stop = np.searchsorted(owner[order], which), np.searchsorted(owner[order], which, side="right")
    most = int((stop - start).max())
    place = start[:, None] + np.arange(most)
    index = np.where(place < stop[:, None], order[np.minimum(place, len(order) - 1)], -1)
    design = np.zeros((*index.shape, cells.shape[1]))
    for g, q in zip(*np.nonzero(index >= 0), strict=True):
        design[g, q] = matrix[cells[g], index[g, q]].toarray().ravel()
    return index, design
