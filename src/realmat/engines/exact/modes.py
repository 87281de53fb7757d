"""Modes of the density of the hyperparameters, and how wide it is around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from realmat.algebra.space import Space
from realmat.engines.exact import members
from realmat.engines.exact.space import Density
from realmat.errors import FitError
from realmat.table.table import ROW
from realmat.terms.problem import Problem

_STEP = 1e-4  # of central differences, in widths of the posterior
_PROBE = 0.1  # of the first second differences, in widths of the prior
_PROBES = 8  # rounds of them
_CLOSE = 0.05  # to the mode, in widths of the posterior: importance sampling does the rest
_LONGEST = 0.35  # step of curvature in widths of the prior, or in a logarithm
_FLATTEST = 0.05  # curvature in the widths that were expected


@dataclass(frozen=True)
class Mode:
    """A local maximum of the density of theta: where (d,), the inverse of the curvature there (d, d), and the log density."""

    location: np.ndarray
    covariance: np.ndarray
    height: float

    def turned(self, before: Space, after: Space) -> Mode:
        """In other coordinates."""
        location = after.turned(before.plain(self.location[None])[0])[0]
        slopes = np.linalg.solve(after.slope(location), before.slope(self.location))
        return Mode(location, slopes @ self.covariance @ slopes.T, self.height - float(np.linalg.slogdet(slopes)[1]))


def typical(density: Density, known: Sequence[np.ndarray] = ()) -> Mode:
    """The mode that is reached from the priors' medians, or from one of the places `known` where the density is higher.

    Raises
    ------
    realmat.FitError
        If no starting point has a finite density.
    """
    start = density.space.start()
    starts = [start] + [start + shift for shift in (-1.5, 1.0)] + list(known)
    scores = density.many(np.array(starts))
    if not np.isfinite(scores).any():
        raise FitError("the model has no finite density at typical parameter values; check the priors and the stated uncertainties.")
    best = _signed(density, starts[int(np.argmax(scores))], float(np.nanmax(scores)))
    best = members.best(density, best, members.places(density))
    return beside_spreads(density, best, np.diag(widths(density, best)))


def uncertain(problem: Problem) -> bool:
    """Whether hyperparameters stand for the true values of the columns of a law, row by row."""
    return any(q.dim == ROW for q in problem.params)


def spreads(density: Density) -> np.ndarray:
    """Which coordinates are spreads that have a place of endless density and no mass at zero, where a climb ends, shape (size,).

    It is where all members of a population of hyperparameters are alike (Neal's funnel), or where a law passes through every reading as
    true values of its columns may be chosen for that.
    """
    space, problem = density.space, density.system.problem
    names, out = {q.prior.scale_reference for q in space.params}, np.zeros(space.size, dtype=bool)
    if uncertain(problem):
        names |= {q.name for part in problem.every for q in part.observation.params}
    for param, where in zip(space.params, space.slices, strict=True):
        out[where] = param.name in names
    return out


def beside_spreads(density: Density, start: np.ndarray, root: np.ndarray) -> Mode:
    """The mode by `climb` given the `spreads` and members of populations, which stay where they are, as wide as in their priors.

    `root` has a column by coordinate, in which it is the only spread.
    """
    held = spreads(density)
    held[members.places(density)] = True
    found = climb(density, start, root[:, ~held])
    return Mode(found.location, found.covariance + np.diag(held.astype(float)), found.height)


def further(density: Density, found: Mode) -> Mode:
    """The mode that is reached from one of another density much like this; `spreads` stay where they are."""
    held = spreads(density)
    root = np.linalg.cholesky(found.covariance)
    root[held] = 0.0
    again = climb(density, found.location, root[:, ~held])
    return Mode(again.location, again.covariance + np.diag(held.astype(float)), again.height)


def climb(density: Density, start: np.ndarray, root: np.ndarray) -> Mode:
    """The mode that is reached from `start`, searched in coordinates in which the density is expected to be round.

    Parameters
    ----------
    density : Density
    start : array of shape (d,)
    root : array of shape (d, k)
        A root of the covariance that is expected there; only the directions that it spans are searched.
    """
    d = root.shape[1]
    steps = _STEP * root.T

    def negative(z: np.ndarray) -> tuple[float, np.ndarray]:
        here, ahead, behind = density.around(start + root @ z, steps)
        with np.errstate(invalid="ignore"):  # infinite on both sides
            slope = (behind - ahead) / (2 * _STEP)
        return -here if np.isfinite(here) else 1e10, np.where(np.isfinite(slope), slope, 0.0)

    found = optimize.minimize(negative, np.zeros(d), jac=True, method="BFGS", options={"maxiter": 60 + 10 * d, "gtol": _CLOSE})
    at = start + root @ found.x
    covariance, height = _curvature(density, at, root * np.sqrt(np.abs(np.diag(found.hess_inv))))
    return Mode(at, covariance, height)


def widths(density: Density, at: np.ndarray) -> np.ndarray:
    """Roughly how wide the posterior is in each direction by itself, shape (d,): in these units a search makes steps of the right size.

    It may be millions of times narrower than the prior: differences are taken again with the width that was found.
    """
    step = np.full(len(at), _PROBE)
    out = np.ones(len(at))
    for _ in range(_PROBES):
        here, ahead, behind = density.around(at, np.diag(step))
        with np.errstate(all="ignore"):
            bend = (2 * here - ahead - behind) / step**2
            out = np.where(bend > 1.0, 1 / np.sqrt(bend), np.where(np.isfinite(bend), 1.0, _PROBE * step))
        coarse = out < _PROBE * step
        if not coarse.any():
            break
        step = np.where(coarse, out, step)
    return out


def _signed(density: Density, start: np.ndarray, score: float) -> np.ndarray:
    """A starting point with the right signs: the slope of a latent state has a mode on either side of zero, and one is empty."""
    space = density.space
    for param in space.params:
        if not np.isinf(param.prior.support).all():
            continue
        trials = [start]
        example = space.values(start)
        for q in (0.02, 0.15, 0.35, 0.65, 0.85, 0.98):
            trials.append(space.theta({**example, param.name: np.broadcast_to(param.prior.ppf(q, example), np.shape(example[param.name]))}))
        scores = np.append(score, density.many(np.array(trials[1:])))
        start, score = trials[int(np.nanargmax(scores))], float(np.nanmax(scores))
    return start


def _curvature(density: Density, at: np.ndarray, root: np.ndarray) -> tuple[np.ndarray, float]:
    """Inverse negative Hessian by central differences with steps of the posterior's own size, and the log density itself.

    Flat directions are cut short.
    """
    basis = 0.5 * root.T
    d = len(basis)
    basis *= np.minimum(1.0, _LONGEST / np.maximum(np.abs(basis).max(axis=1), 1e-300))[:, None]
    pairs = [(i, j) for i in range(d) for j in range(i)]
    centre, ahead, behind = density.around(at, basis)
    points = [at + a * basis[i] + b * basis[j] for i, j in pairs for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
    values = density.many(np.array(points)) if points else np.zeros(0)
    with np.errstate(invalid="ignore"):
        hessian = np.diag(ahead - 2 * centre + behind)
        for k, (i, j) in enumerate(pairs):
            pp, pm, mp, mm = values[4 * k : 4 * k + 4]
            hessian[i, j] = hessian[j, i] = (pp - pm - mp + mm) / 4
    hessian = np.where(np.isfinite(hessian), hessian, 0.0)
    eigenvalues, vectors = np.linalg.eigh(-hessian)
    turned = basis.T @ (vectors / np.sqrt(np.clip(eigenvalues, 0.25 * _FLATTEST, None)))
    return turned @ turned.T, centre
