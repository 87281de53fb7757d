"""How often to repeat what: the cheapest mean whose uncertainty is as small as wanted.

The variance of a mean is linear in the inverse of each number of repetitions, so that it is known everywhere from its values at one and
two of each (a design of nested or crossed levels: Searle, Casella & McCulloch, Variance Components, 1992, section 4.6).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from realmat.attribution.average import READING, Plan, planned
from realmat.attribution.budget import Budget
from realmat.attribution.budget_text import LAYER
from realmat.errors import ModelError
from realmat.support.attached import attached
from realmat.support.checks import listed
from realmat.support.numbers import percent, significant
from realmat.support.shown import Shown
from realmat.table.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEVELS = 4
_PLANS = 3_000_000
_BETTER = 3  # plans beyond the one that reaches the target
_WORTH = 0.01  # by which a dearer plan must be better
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Plans(Shown):
    """Plans of measurement that no other plan beats, from the cheapest on.

    Attributes
    ----------
    table : DataFrame
        One row for each plan: a column with the number of each level (``observation``: readings in each combination of the others), all
        `readings`, `cost`, `u` of the mean, and whether it `reaches` the target. Each plan costs more than the one before, and its u is
        smaller by a hundredth at least.
    target_u, floor : float
        Standard uncertainty that was wanted; and that of endless repetition.
    remains : dict of str to float
        Share of the floor's variance by layer.
    levels : tuple of str
    response, unit : str
    relative : bool
        Whether uncertainties are on a log scale.
    """

    table: pd.DataFrame
    target_u: float
    floor: float
    remains: dict[str, float]
    levels: tuple[str, ...]
    response: str
    unit: str
    relative: bool

    @property
    def title(self) -> str:
        """What was looked for."""
        return f"Plans for {self.response} with a standard uncertainty of {self._size(self.target_u)}"

    @property
    def best(self) -> dict[str, int]:
        """The cheapest plan that reaches the target, as `average=` of a budget takes it."""
        return {level: int(self._chosen[level]) for level in self.levels}

    @property
    def _chosen(self) -> pd.Series:
        return self.table[self.table["reaches"]].iloc[0]

    def _size(self, u: float) -> str:
        return f"{significant(u)} of the value" if self.relative else f"{significant(u)} {self.unit}".rstrip()

    @cached_property
    def text(self) -> str:
        """What the numbers say, in a few sentences."""
        best, first = self._chosen, self.table.iloc[0]
        counts = self.best
        plan = Plan(counts.pop(READING, 1), counts).words
        said = [
            f"The cheapest plan that reaches u = {self._size(self.target_u)} is the mean of {plan}, "
            f"at a cost of {best['cost']:g}, with u = {self._size(float(best['u']))}."
        ]
        if float(best["cost"]) > float(first["cost"]):
            said.append(f"The cheapest of all costs {first['cost']:g} and has u = {self._size(float(first['u']))}.")
        return " ".join([*said, f"Without end repeated, {self._size(self.floor)} would remain, {_shares(self.remains)}."])

    def plot(self, dark: bool = False) -> Figure:
        """u over cost, with the target and the floor; see `realmat.plots.plans.plot_plans`."""
        return attached("plot", self)(dark=dark)


def plans(
    made: Callable[[Mapping[str, int]], Budget],
    target_u: float,
    costs: Mapping[str, float],
    table: Table,
    new: str,
    fresh: str,
    most: int = 50,
    inside: Mapping[str, tuple[str, ...]] | None = None,
) -> Plans:
    """The plans worth their cost, and the cheapest that reaches a target.

    Parameters
    ----------
    made : callable
        The budget of a mean, given ``average=``.
    target_u : float
        Standard uncertainty, in the unit of the response (relative with a log link).
    costs : mapping of str to float
        What one more of each costs: ``"observation"`` for each reading, a level or column for each of its values. A level that is not
        named is not repeated.
    table : Table
    new, fresh : str
        As of `realmat.attribution.average.planned`.
    most : int
        Largest number of each.
    inside : mapping of str to tuple of str, optional
        Levels that lie inside others (`realmat.attribution.average.nested`): so many of them in each of those.

    Raises
    ------
    realmat.ModelError
        If an argument is wrong, or no plan reaches the target: then it says what remains, and of which layer.
    """
    levels = _checked(target_u, costs, table, new, fresh, most)
    corners = {n: made(dict(zip(levels, n, strict=True))) for n in product((1, 2), repeat=len(levels))}
    one = corners[(1,) * len(levels)]
    few = int(_PLANS ** (1 / len(levels)))
    every = np.arange(1, most + 1) if most <= few else np.unique(np.round(np.geomspace(1, most, few)).astype(int))
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*[every] * len(levels), indexing="ij")], axis=1)
    variance = _multilinear({n: float(b.u) ** 2 for n, b in corners.items()}, 1 / grid)
    nothing = np.zeros((1, len(levels)))
    floors = {
        layer: max(float(_multilinear({n: _of_layer(b, layer) for n, b in corners.items()}, nothing)[0]), 0.0)
        for layer in dict.fromkeys(one.table["layer"])
    }
    floor = float(sum(floors.values()))
    remains = {layer: v / floor for layer, v in sorted(floors.items(), key=lambda item: -item[1]) if floor > 0 and v > 0.005 * floor}
    relative, unit = one.dataset.attrs["scale"] == "log", str(one.dataset.attrs["unit"])
    front = _front(grid, levels, costs, np.sqrt(np.maximum(variance, 0.0)), target_u, inside or {})
    said = str(one.said(one.dataset.attrs["response"]))
    found = Plans(front, float(target_u), float(np.sqrt(floor)), remains, levels, said, unit, relative)
    if not front["reaches"].any():
        raise ModelError(_none(found, most))
    return found


def _checked(target_u: float, costs: Mapping[str, float], table: Table, new: str, fresh: str, most: int) -> tuple[str, ...]:
    """The levels to repeat."""
    problems = []
    if not (isinstance(target_u, (int, float)) and np.isfinite(target_u) and target_u > 0):
        problems.append(f"target_u={target_u!r} must be a positive standard uncertainty")
    if not (isinstance(most, int) and 1 < most <= 10_000):
        problems.append(f"most={most!r} must be a whole number from 2 to 10000")
    if not 1 <= len(costs) <= _LEVELS:
        problems.append(f'costs= names from one to {_LEVELS} of what is repeated, such as {{"observation": 1, "lab": 20}}')
    wrong = {name: c for name, c in costs.items() if not (isinstance(c, (int, float)) and np.isfinite(c) and c >= 0)}
    if wrong or (costs and not any(c for c in costs.values())):
        problems.append(f"costs must be numbers, none negative and not all zero, not {wrong or dict(costs)}")
    if problems:
        raise ModelError(f"no plans can be made: {'; '.join(problems)}.")
    planned(dict.fromkeys(costs, 1), table, new, fresh)
    return tuple(costs)


def _of_layer(budget: Budget, layer: str) -> float:
    part = budget.table[budget.table["layer"] == layer]
    return float((np.sign(part["u"]) * part["u"] ** 2).sum())


def _multilinear(corners: Mapping[tuple[int, ...], float], x: np.ndarray) -> np.ndarray:
    """Values at inverse numbers x, shape (plans, levels), of what is linear in each, from those at numbers one and two."""
    out = np.zeros(len(x))
    for n, value in corners.items():
        weight = np.ones(len(x))
        for level, number in enumerate(n):
            weight = weight * (2 * x[:, level] - 1 if number == 1 else 2 - 2 * x[:, level])
        out += weight * value
    return out


def _front(
    grid: np.ndarray,
    levels: tuple[str, ...],
    costs: Mapping[str, float],
    u: np.ndarray,
    target_u: float,
    inside: Mapping[str, tuple[str, ...]],
) -> pd.DataFrame:
    """Plans by cost, without those that cost no less than one as good to a hundredth; up to a few beyond the target."""
    readings = grid.prod(axis=1)
    cost = np.zeros(len(grid))
    for k, level in enumerate(levels):
        others = [levels.index(outer) for outer in inside.get(level, ())]
        cost += costs[level] * (readings if level == READING else grid[:, [k, *others]].prod(axis=1))
    order = np.lexsort((readings, u, cost))
    best = np.minimum.accumulate(u[order])
    front = order[np.concatenate([[True], u[order][1:] < best[:-1]])]
    reaches = u[front] <= target_u * (1 + _ROUNDING)
    first, beyond = int(reaches.argmax()) if reaches.any() else -1, 0
    kept: list[int] = []
    for k, plan in enumerate(front):
        if not kept or k == first or u[plan] < (1 - _WORTH) * u[kept[-1]]:
            kept.append(plan)
            beyond += k > first >= 0
        if beyond == _BETTER:
            break
    table = pd.DataFrame(grid[kept], columns=list(levels))
    return table.assign(readings=readings[kept], cost=cost[kept], u=u[kept], reaches=u[kept] <= target_u * (1 + _ROUNDING))


def _shares(remains: Mapping[str, float]) -> str:
    parts = [f"{percent(share)} of it from {' and '.join(LAYER[part] for part in layer.split(' + '))}" for layer, share in remains.items()]
    return listed(parts) if parts else "nothing"


def _none(found: Plans, most: int) -> str:
    """Why no plan reaches the target, and the way out."""
    names = listed([name if name != READING else "readings" for name in found.levels])
    start = f"no plan reaches u = {found._size(found.target_u)}: "
    if found.floor >= found.target_u:
        more = f"learn more of {'that layer' if len(found.remains) == 1 else 'these layers'}."
        missing = [level for level in (READING, "specimen", "lab") if level not in found.levels]
        out = f"Repeat something else ({' or '.join(missing)}), or {more}" if missing else f"{more[0].upper()}{more[1:]}"
        remains = f"u = {found._size(found.floor)} remains, {_shares(found.remains)}"
        return f"{start}with endless repetition of {names} {remains}. {out}"
    last = found.table.iloc[-1]
    return f"{start}with at most {most} of {names} it is {found._size(float(last['u']))}; allow more with most=."
