"""Errors of a column of a law, one of each row: integrated out, drawn back afterwards.

Where readings tell more of a place than its column does, an error and the parameters of the law hold each other, and as the noise goes to
zero the error follows from them (a funnel). A reading at a place that is not exactly known has a density of its own (`Displaced`). Where
chains start is explored with a law that is straight over a standard deviation of each error, which makes readings normal.
"""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from realmat.algebra import System
from realmat.algebra.batching import Batch, Batched, at_index
from realmat.algebra.space import Space
from realmat.engines.chains.displaced import Displaced, places
from realmat.engines.chains.rows import drawn_back
from realmat.terms.density import Density, Parameter
from realmat.terms.location_scale import of_noise
from realmat.terms.problem import Problem
from realmat.terms.term import Function, Noise, Param, Values

_GRID = np.linspace(-4.5, 4.5, 145)
_GONE = 1e-5  # share of a row's places beyond either end
_STEP = float(_GRID[1] - _GRID[0])
_ROOM = 0.075  # beyond either end
_NEVER, _HALVINGS = 1e3, 40
_NEAR = 13  # places of the grid within which an end of the law is looked for
_COUNTS = (2, 3, 4, 5, 6, 8, 10, 12)
_RIGHT, _USABLE = 0.01, 0.1  # largest error of a polynomial, in standard deviations of the reading


@dataclass(frozen=True)
class Errors:
    """The errors `param` of the rows of a problem's response, of which row i reads element `element[i]`."""

    problem: Problem
    param: Param
    element: np.ndarray
    owner: str

    def law(self, errors: np.ndarray, p: Values, xp: Any) -> Any:
        """The law on every row with these errors, shape (rows,), in their standard deviations."""
        by_element = np.empty(self.param.size)
        by_element[self.element] = errors
        offset = next(f for owner, f in self.problem.response_rows.offsets if owner == self.owner)
        return offset(ChainMap({self.param.name: by_element}, p), xp)  # type: ignore[arg-type]  # p is asked for what the law reads

    @property
    def straight(self) -> Problem:
        """The problem with a law that is straight over a standard deviation of each error: readings are normal."""
        rows, every = self.problem.response_rows, np.ones(len(self.element))
        sd, scalars = of_noise(rows.noise, rows.count, rows.within)[1][0], {q.name for q in self.problem.params if q.coords is None}

        def ends(p: Values, xp: Any) -> tuple[Any, Any]:
            """One standard deviation behind and ahead; at the stated place where the law has no value there."""
            behind, here, ahead = (self.law(k * every, p, xp) for k in (-1.0, 0.0, 1.0))
            return xp.where(xp.isfinite(behind), behind, here), xp.where(xp.isfinite(ahead), ahead, here)

        def mean(p: Values, xp: Any) -> Any:
            behind, ahead = ends(p, xp)
            return 0.5 * (behind + ahead)

        def spread(p: Values, xp: Any) -> Any:
            behind, ahead = ends(p, xp)
            slope, values = 0.5 * (ahead - behind), p
            if np.ndim(slope) > 1:  # many psi, each scalar a column beside the rows
                values = {name: v[:, 0] if name in scalars else v for name, v in p.items()}
            return xp.sqrt(np.broadcast_to(sd.value(values, xp).T, (*slope.shape[:-1], len(sd_keys)))[..., sd.group] ** 2 + slope**2)

        sd_keys = np.unique(sd.group)
        noise = Noise(np.zeros(len(every)), np.arange(len(every)), spread)
        return self._without((self.owner, mean), noise)

    def _without(self, offset: tuple[str, Any] | None, noise: Noise) -> Problem:
        rows = self.problem.response_rows
        others = tuple(pair for pair in rows.offsets if pair[0] != self.owner)
        terms = tuple(replace(term, params=tuple(q for q in term.params if q.name != self.param.name)) for term in self.problem.terms)
        return replace(self.problem, terms=terms, response_rows=replace(rows, offsets=others + ((offset,) if offset else ()), noise=noise))

    def reduced(self, system: System, values: Batch, b: np.ndarray) -> Problem | None:
        """The problem without the errors; None where the law has no value, or is no polynomial, at places that readings leave possible.

        Parameters
        ----------
        system : System
            Of the `straight` problem.
        values : mapping of name to array, the batch as last axis
            Draws of its hyperparameters.
        b : array of shape (draws, coefficients)
            Of its coefficients, natural order.
        """
        rows, (n, draws) = self.problem.response_rows, (len(self.element), len(b))
        parameter = of_noise(rows.noise, rows.count, rows.within)[1][0]
        law = self._tabled(np.repeat(_GRID[:, None], n, axis=1), values, draws)
        sd = np.broadcast_to(Batched(parameter.value)(values, draws), (parameter.group.max() + 1, draws))[parameter.group]
        found = _possible(law, self._left(system, values, b), sd)
        if found is None:
            return None
        low, high, stops = found
        ends = self._ends(low, high, stops, at_index(values, 0))
        inside = ((_GRID[:, None] >= low) & (_GRID[:, None] <= high))[..., None]
        room = np.where(stops, 0.0, _ROOM * (high - low))
        low, high = low - room[0], high + room[1]
        middle, half = 0.5 * (low + high), 0.5 * (high - low)

        def wrong(count: int) -> float:
            """Largest error of a polynomial, in standard deviations of a reading at a place known to a tenth of what its column says."""
            at = places(count)
            a = np.tensordot(np.linalg.inv(np.vander(at, increasing=True)), self._tabled(middle + half * at[:, None], values, draws), 1)
            powers = ((_GRID[:, None] - middle) / half)[..., None] ** np.arange(count)
            off = np.abs(np.einsum("gnk,knd->gnd", powers, a) - law)
            return float(np.max(np.where(inside, off / np.hypot(sd, 0.1 * np.gradient(law, _GRID, axis=0)), 0.0)))

        count = next((k for k in _COUNTS if wrong(k) < _RIGHT), _COUNTS[-1])
        if not wrong(count) < _USABLE:
            return None
        own = Parameter("law", self._at(middle + half * places(count)[:, None]), np.arange(count * n))
        turning = _turns(law, inside) | stops.any(axis=0)
        density = Displaced(middle, half, turning, ((ends - middle) / half).T, count)
        return self._without(None, replace(rows.noise, density=cast(Density, density), parameters=(parameter, own)))

    def _ends(self, low: np.ndarray, high: np.ndarray, stops: np.ndarray, p: Values) -> np.ndarray:
        """Where the law ends below and above, shape (2, rows), found by halving; far away where it does not."""
        out = np.repeat([[-_NEVER], [_NEVER]], len(low), axis=1)
        for k, (inner, step) in enumerate(((low, -_STEP), (high, _STEP))):
            there, beyond = inner.copy(), inner + _NEAR * step
            for _ in range(_HALVINGS if stops[k].any() else 0):
                between = 0.5 * (there + beyond)
                finite = np.isfinite(np.broadcast_to(self.law(between, p, np), between.shape))
                there, beyond = np.where(finite, between, there), np.where(finite, beyond, between)
            out[k, stops[k]] = there[stops[k]]
        return out

    def _at(self, errors: np.ndarray) -> Function:
        """The law on every row for the first of `errors`, shape (places, rows), then for the second, and so on."""
        return lambda p, xp: xp.concatenate([self.law(one, p, xp) + np.zeros(len(one)) for one in errors], axis=-1)

    def _tabled(self, errors: np.ndarray, values: Batch, draws: int) -> np.ndarray:
        """The same at many psi, shape (places, rows, draws)."""
        return Batched(self._at(errors))(values, draws).reshape(*errors.shape, draws)

    def _left(self, system: System, values: Batch, b: np.ndarray) -> np.ndarray:
        """What readings leave for the law, shape (rows, draws)."""
        rows = self.problem.response_rows
        own = sum((Batched(f)(values, len(b)) for owner, f in rows.offsets if owner != self.owner), np.zeros((1, 1)))
        linear = [system.response(at_index(values, k))[0] @ b[k] for k in range(len(b))]
        return np.asarray(rows.y[:, None] - np.stack(linear, axis=1) - own)

    def restored(self, inner: System, space: Space, thetas: np.ndarray, b: np.ndarray, seed: int) -> dict[str, np.ndarray]:
        """All hyperparameters by name, arrays of shape (chains, draws, ...), from theta and b of the reduced problem: errors are drawn."""
        out = np.empty((*b.shape[:2], self.param.size))
        out[..., self.element] = drawn_back(inner, space, thetas, b, np.random.default_rng([seed, 12]))
        return {**space.named(thetas), self.param.name: out}


def find(problem: Problem) -> Errors | None:
    """Errors of a column that can be integrated out; None where there are none, or rows are not normal, or read several."""
    rows = problem.response_rows
    noise, declared = rows.noise, [(t.component, c) for t, c in zip(problem.terms, problem.contributions, strict=True) if c.errors]
    if len(declared) != 1 or len(declared[0][1].errors) != 1 or any(c.errors for part in problem.beside for c in part.contributions):
        return None
    if noise.density is not None or noise.nu or (noise.censored is not None and np.any(noise.censored)) or np.any(rows.count != 1):
        return None
    owner, contribution = declared[0]
    (name, element), param = contribution.errors[0], {q.name: q for q in problem.params}
    if len(np.unique(element)) != param[name].size or len(element) != param[name].size or len(param) == 1:
        return None
    return Errors(problem, param[name], element, owner)


def _possible(law: np.ndarray, left: np.ndarray, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Between which places of the grid errors lie, each of shape (rows,), from the law (places, rows, draws) and readings (rows, draws).

    And whether the law ends there, shape (2, rows). None where it has no value at one of them, or ends elsewhere for every draw.
    """
    finite = np.isfinite(law)
    if not finite.any(axis=0).all():
        return None
    with np.errstate(all="ignore"):
        wide = np.hypot(sd, 0.4 * np.nan_to_num(np.gradient(law, axis=0), posinf=0.0, neginf=0.0))  # as the grid is no finer
        log = np.where(finite, -0.5 * (_GRID[:, None, None] ** 2 + ((left - law) / wide) ** 2), -np.inf)
    share = np.exp(log - log.max(axis=0))
    below = np.cumsum(share, axis=0) / share.sum(axis=0)
    first, last = np.argmax(below > _GONE, axis=0).min(axis=1), np.argmax(below > 1 - _GONE, axis=0).max(axis=1)
    always, rows = finite.all(axis=-1), np.arange(law.shape[1])
    size = len(_GRID)
    near = [np.clip(first - k, 0, size - 1) for k in range(1, _NEAR)], [np.clip(last + k, 0, size - 1) for k in range(1, _NEAR)]
    stops = np.array([~np.all([always[k, rows] for k in side], axis=0) for side in near])
    first, last = (np.where(always[side[0], rows], side[0], own) for side, own in zip(near, (first, last), strict=True))
    places = np.arange(len(_GRID))[:, None]
    around = (places >= first - _NEAR) & (places <= last + _NEAR)
    moving = (finite.any(axis=-1) & ~always & around).any()
    if moving or not always[(places >= first) & (places <= last)].all():
        return None
    return _GRID[first], _GRID[last], stops


def _turns(law: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Whether a law (places, rows, draws) goes up and down within the places `inside` for any draw, shape (rows,)."""
    steps = np.where(inside[1:] & inside[:-1], np.diff(law, axis=0), 0.0)
    least = 1e-9 * np.abs(steps).max(axis=0)
    return np.asarray(np.any(np.any(steps > least, axis=0) & np.any(steps < -least, axis=0), axis=-1))
