"""Members of a population of noise scales, drawn one by one given the population.

Given the population, a laboratory's scale is told by its own rows alone, or nearly so: prior and likelihood are functions of one number.
Where these are drawn exactly, what is left to explore is the population and what else there is, a few hyperparameters whatever the number
of laboratories, and no funnel (Neal, Annals of Statistics 31, 705, 2003). What rows tell of a scale is taken from the density itself as
the scale moves and all else stays, so that any layers may lie beside it; what that leaves out, weights make good.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from realmat.algebra.batching import slices
from realmat.algebra.space import Axis
from realmat.engines.exact import members_kernels
from realmat.engines.exact.space import Density
from realmat.terms.problem import Problem
from realmat.terms.term import Param

_COARSE = np.linspace(-12.0, 8.0, 21)  # logarithms of scales in units of their priors' medians
_FINE = 64
_GRID = np.linspace(-24.0, 6.0, 16)  # logarithms of scales in units of their priors' medians
_BETWEEN = np.array([-1.5, -1.0, -0.5, 0.5, 1.0, 1.5])  # the best of them and the next
_TOGETHER = 500  # thetas that a thread draws members for at a time
_LOW = 40.0  # log likelihood below the highest, from which there is nothing


def populations(problem: Problem) -> list[Param]:
    """Vectors of noise scales whose log-normal population is itself inferred."""
    vectors = [q for part in problem.every for q in part.observation.params if q.coords is not None and q.prior.dist == "LogNormal"]
    return [q for q in vectors if q.prior.scale_reference and q.prior.truncation == (None, None)]


def places(density: Density) -> np.ndarray:
    """Their coordinates."""
    return _places(_axes(density))


def _axes(density: Density) -> list[Axis]:
    names = {q.name for q in populations(density.system.problem)}
    return [axis for axis in density.space.axes if axis.param.name in names]


@dataclass(frozen=True)
class _Population:
    axis: Axis
    mean: str | float
    sd: str
    first: np.ndarray
    step: np.ndarray
    table: np.ndarray


class Members:
    """The members of all populations of a density.

    Parameters
    ----------
    density : Density
    at : array of shape (size,)
        Where what rows tell of each is looked at.

    Attributes
    ----------
    index : int array
        Their coordinates; `spreads` are those of the populations' standard deviations.
    """

    def __init__(self, density: Density, at: np.ndarray) -> None:
        self._space, self._map = density.space, density.map
        self._populations = [self._population(density, axis, at) for axis in _axes(density)]
        spreads = {one.sd for one in self._populations}
        self.index = _places(one.axis for one in self._populations)
        self.spreads = _places(axis for axis in density.space.axes if axis.param.name in spreads)

    @staticmethod
    def _population(density: Density, axis: Axis, at: np.ndarray) -> _Population:
        prior = dict(axis.param.prior.params)
        own = np.arange(axis.where.start, axis.where.stop)
        coarse = _told(density, at, own, np.repeat(_COARSE[None], len(own), axis=0))
        seen = coarse > coarse.max(axis=1, keepdims=True) - _LOW
        low = _COARSE[np.maximum(seen.argmax(axis=1) - 1, 0)]
        high = _COARSE[np.minimum(len(_COARSE) - seen[:, ::-1].argmax(axis=1), len(_COARSE) - 1)]
        step = (high - low) / (_FINE - 1)
        table = _told(density, at, own, low[:, None] + step[:, None] * np.arange(_FINE))
        return _Population(axis, prior["mu"], axis.param.prior.scale_reference, low, step, np.ascontiguousarray(table))

    def _moments(self, population: _Population, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the members' coordinates, shape (n,), from those of the population.

        These coordinates are logarithms in units of the prior's median. Where a proposal has left the space, a standard normal stands.
        """
        values, n = self._space.many(thetas)[0], len(thetas)
        mean, sd = values[population.mean] if isinstance(population.mean, str) else np.full(n, population.mean), values[population.sd]
        inside = np.isfinite(mean) & np.isfinite(sd) & (sd > 0)
        return np.where(inside, mean - float(np.log(population.axis.width[0, 0])), 0.0), np.where(inside, sd, 1.0)

    def fill(self, thetas: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Draw the members, in place, given the other coordinates of thetas, shape (n, size), from uniform numbers, one for each.

        Returns their log density, shape (n,).
        """
        total, used = np.zeros(len(thetas)), 0
        for one in self._populations:
            mean, sd = self._moments(one, thetas)
            own = np.ascontiguousarray(u[:, used : used + one.axis.param.size])
            used += one.axis.param.size

            def work(some: slice, one: _Population = one, mean: np.ndarray = mean, sd: np.ndarray = sd, own: np.ndarray = own) -> None:
                drawn, log = members_kernels.drawn(one.table, one.first, one.step, mean[some], sd[some], own[some])
                thetas[some, one.axis.where] = drawn
                total[some] += log

            for _ in self._map(work, slices(len(thetas), _TOGETHER)):
                pass
        return total

    def logpdf(self, thetas: np.ndarray) -> np.ndarray:
        """Log density of the members given the others, shape (n,)."""
        total = np.zeros(len(thetas))
        for one in self._populations:
            mean, sd = self._moments(one, thetas)
            own = np.ascontiguousarray(thetas[:, one.axis.where])
            total += members_kernels.log_density(one.table, one.first, one.step, mean, sd, own)
        return total


def best(density: Density, theta: np.ndarray, some: np.ndarray) -> np.ndarray:
    """Theta with each of some logarithms of scales at its best while all else stays, to half a unit; they are moved all at once."""
    if not len(some):
        return theta
    for values in (np.repeat(_GRID[None], len(some), axis=0), _BETWEEN):
        values = values if values.ndim > 1 else theta[some][:, None] + values
        trials = np.repeat(theta[None], values.size + 1, axis=0)
        trials[np.arange(values.size), np.repeat(some, values.shape[1])] = values.ravel()
        logs = density.many(trials)
        each, theta = logs[:-1].reshape(values.shape), theta.copy()
        better = each.max(axis=1) > logs[-1]
        theta[some[better]] = values[better, each[better].argmax(axis=1)]
    return theta


def _places(axes: Iterable[Axis]) -> np.ndarray:
    """Coordinates of some parameters, in their order."""
    return np.concatenate([np.zeros(0, dtype=int), *(np.arange(axis.where.start, axis.where.stop) for axis in axes)])


def _told(density: Density, at: np.ndarray, own: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Log likelihood with each of the coordinates `own` at t, shape (own, nodes), and the others where they are in `at`."""
    thetas = np.repeat(at[None], t.size, axis=0)
    thetas[np.arange(t.size), np.repeat(own, t.shape[1])] = t.ravel()
    with np.errstate(invalid="ignore"):
        logs = density.many(thetas) - density.space.many(thetas)[1]
    logs = np.where(np.isfinite(logs), logs, -np.inf).reshape(t.shape)
    return np.maximum(logs - logs.max(axis=1, keepdims=True), -1e6)
