"""Local effects: coefficients each of which shifts a few response rows and nothing else, such as the unresolved part of every specimen.

Given psi and all other coefficients they are independent, so each can be drawn from a fine grid, with the local factors and latent values
of its rows integrated out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from realmat.algebra import grid_kernels
from realmat.algebra.auxiliary import log_distribution
from realmat.algebra.family import Family
from realmat.algebra.system import System
from realmat.terms.term import Coefficients

MOST_ROWS = 4
"""Effects of more rows than this are known well enough to be held fixed while psi moves."""

_FAINTEST = 1e-6  # nodes reach to where a density falls to this part of its greatest value
_FARTHEST = 40.0
_LOG_2PI = float(np.log(2 * np.pi))
_TAIL = np.linspace(-np.arcsinh(1e3), np.arcsinh(30.0), 240)


@dataclass(frozen=True)
class LocalEffects:
    """Effects that can be drawn one by one.

    Attributes
    ----------
    block : Coefficients
    columns : int array of shape (block size,)
        Where the block's coefficients stand, in elimination order.
    chosen : int array of shape (effects,)
        Which coefficients of the block are drawn: those of 1 to `MOST_ROWS` rows.
    rows : int array
        Their response rows, effect by effect; `ptr` says where each effect's rows start, `owner` whose rows they are.
    """

    block: Coefficients
    columns: np.ndarray
    chosen: np.ndarray
    rows: np.ndarray
    ptr: np.ndarray
    owner: np.ndarray

    @cached_property
    def _even(self) -> tuple[np.ndarray, np.ndarray]:
        """Even nodes around a row and around the prior centre: errors of all effects together stay alike, whatever their number."""
        finer = (max(len(self.chosen), 100) / 600) ** 0.25
        return np.linspace(-1, 1, int(18 * finer) * grid_kernels.PHASES + 1), np.linspace(-1, 1, int(20 * finer))

    def grid(
        self,
        left: np.ndarray,
        side: np.ndarray,
        sd: np.ndarray,
        nu: float,
        centre: np.ndarray,
        tau: np.ndarray,
        nu_effects: float,
        effects: np.ndarray,
        uniform: np.ndarray | None = None,
    ) -> float:
        """Log density of `effects` under their grids; with `uniform` numbers they are drawn first, in place.

        Parameters
        ----------
        left, side, sd : arrays like `rows`
            What each row leaves for its effect, its censoring (0, -1, +1), and the noise with `nu` degrees of freedom.
        centre, tau : arrays like `chosen`
            Prior location and scale, with `nu_effects` degrees of freedom.
        """
        given = _Given(self.ptr, self.owner, left, side, sd, nu, centre, tau, nu_effects)
        if not (np.isinf(nu) and np.isinf(nu_effects)):
            return self._grid(given, effects, uniform)
        given = given.of_censored_rows()
        free, log_q = given.ptr[1:] == given.ptr[:-1], 0.0
        if free.any():  # these are normal
            mean, spread = given.centre[free], given.tau[free]
            if uniform is not None:
                effects[free] = mean + spread * special.ndtri(uniform[free])
            z = (effects[free] - mean) / spread
            log_q = -0.5 * float(z @ z) - float(np.log(spread).sum()) - 0.5 * len(z) * _LOG_2PI
        if not free.all():
            some = effects[~free]
            log_q += self._grid(given.of_effects(~free), some, None if uniform is None else uniform[~free])
            effects[~free] = some
        return log_q

    def _grid(self, given: _Given, effects: np.ndarray, uniform: np.ndarray | None) -> float:
        around_row, around_prior = self._even
        near_row, near_prior = np.sinh(_reach(given.nu) * around_row), np.sinh(_reach(given.nu_effects) * around_prior)
        table = log_distribution(np.sinh(_TAIL), given.nu) if given.side.any() else _TAIL
        drawn = np.empty(0) if uniform is None else uniform
        degrees, degrees_effects = (0.0 if np.isinf(n) else float(n) for n in (given.nu, given.nu_effects))
        tail = (table, float(_TAIL[0]), float(_TAIL[1] - _TAIL[0]))
        rows = (given.ptr, given.left, given.side, given.sd, degrees)
        return float(grid_kernels.grid(rows, (given.centre, given.tau, degrees_effects), (near_row, near_prior), tail, drawn, effects))


@dataclass(frozen=True)
class _Given:
    """What the densities of effects depend on; see `LocalEffects.grid`."""

    ptr: np.ndarray
    owner: np.ndarray
    left: np.ndarray
    side: np.ndarray
    sd: np.ndarray
    nu: float
    centre: np.ndarray
    tau: np.ndarray
    nu_effects: float

    def of_censored_rows(self) -> _Given:
        """The same where all is normal: rows that are not censored are taken into the prior."""
        n, seen = len(self.centre), self.side == 0
        weight = 1 / self.sd[seen] ** 2
        precision = 1 / self.tau**2 + np.bincount(self.owner[seen], weights=weight, minlength=n)
        towards = self.centre / self.tau**2 + np.bincount(self.owner[seen], weights=weight * self.left[seen], minlength=n)
        owner = self.owner[~seen]
        return _Given(
            np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n))]),
            owner,
            self.left[~seen],
            self.side[~seen],
            self.sd[~seen],
            self.nu,
            towards / precision,
            1 / np.sqrt(precision),
            self.nu_effects,
        )

    def of_effects(self, kept: np.ndarray) -> _Given:
        """Some effects and their rows."""
        rows = kept[self.owner]
        count = np.diff(self.ptr)[kept]
        owner = np.repeat(np.arange(len(count)), count)
        ptr = np.concatenate([[0], np.cumsum(count)])
        centre, tau = self.centre[kept], self.tau[kept]
        return _Given(ptr, owner, self.left[rows], self.side[rows], self.sd[rows], self.nu, centre, tau, self.nu_effects)


def _reach(nu: float) -> float:
    """Up to where nodes stand, in asinh of the standardised distance: even within the width of a density, geometric in its tails."""
    fall = -2 * np.log(_FAINTEST)
    reach = np.sqrt(fall) if np.isinf(nu) else np.sqrt(nu * np.expm1(min(fall / (nu + 1), 50.0)))
    return float(np.arcsinh(min(reach, _FARTHEST)))


def find(system: System) -> LocalEffects | None:
    """The block with most local effects, if the response or the block itself is Student t or censored; None where there is no such."""
    response = system.families[0]
    found = [_local(system, block) for block in system.problem.coefficients if response.augmented or block.nu]
    return max((one for one in found if one is not None), key=lambda one: len(one.chosen), default=None)


def _local(system: System, block: Coefficients) -> LocalEffects | None:
    columns = system.place[system.columns[block.name]]
    number = np.full(system.size, -1)
    number[columns] = np.arange(block.size)
    if any(np.any(number[f.matrix.indices] >= 0) for f in system.families[1:] if f.name != f"{block.name}_prior"):
        return None
    owner = _owners(system.families[0], number)
    if owner is None:
        return None
    count = np.bincount(owner[owner >= 0], minlength=block.size)
    chosen = np.flatnonzero((count > 0) & (count <= MOST_ROWS))
    if not len(chosen):
        return None
    place = np.full(block.size + 1, -1)
    place[chosen] = np.arange(len(chosen))
    of_row = place[owner]  # the last place stands for rows without an effect
    rows = np.flatnonzero(of_row >= 0)
    rows = rows[np.argsort(of_row[rows], kind="stable")]
    ptr = np.concatenate([[0], np.cumsum(count[chosen])])
    return LocalEffects(block, columns, chosen, rows, ptr, of_row[rows])


def _owners(response: Family, number: np.ndarray) -> np.ndarray | None:
    """Which coefficient of a block shifts each row (-1: none); None where a row has several, or its own factor."""
    inside, row = response.entries(number >= 0)
    if np.any(response.matrix.data[inside] != 1.0) or np.any(response.scale_of[inside] != 0):
        return None
    if len(np.unique(row)) < len(row):
        return None
    owner = np.full(len(response.y), -1)
    owner[row] = number[response.matrix.indices[inside]]
    return owner
