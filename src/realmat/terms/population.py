"""The population that the states of specimens are drawn from, and the specimens that a fit has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from realmat.errors import DataError
from realmat.table.table import Table, rows_text
from realmat.terms.component import hyper, indicator
from realmat.terms.priors import Prior
from realmat.terms.readings import Readings
from realmat.terms.term import Coefficients, Function, Noise, Param, Piece, Rows, Values, measured

if TYPE_CHECKING:
    from realmat.terms.state import LatentState


@dataclass(frozen=True)
class Population:
    """z ~ N(mean, sd^2), or by group ``z ~ N(mean_g, sd^2)``, ``mean_g ~ N(population, between_sd^2)``.

    Default priors come from the readings' own mean and standard deviation s: ``mean ~ N(their mean, (2.5 s)^2)``, ``sd ~ HalfNormal(2 s)``,
    ``between_sd ~ HalfNormal(s)``. The means are coefficients; hyperparameters where the effect of the state is `curved`.

    Attributes
    ----------
    groups : array of shape (groups,)
        Labels of the groups; one without `by`.
    of_state : int array of shape (states,)
        Group of each state.
    """

    name: str
    by: str | None
    groups: np.ndarray
    of_state: np.ndarray
    params: tuple[Param, ...]
    coefficients: tuple[Coefficients, ...]
    sd: Function
    between: Function
    curved: bool

    @classmethod
    def of(cls, name: str, table: Table, by: str | None, level: str, centre: float, spread: float, unit: str, curved: bool) -> Population:
        """Population on a table, with default priors around the readings' `centre` and `spread`."""
        sd_params, sd = hyper(f"{name}_sd", Prior("HalfNormal", sigma=2 * spread), unit=unit)
        top = "population" if by else "mean"
        top_name, wide = f"{name}_{top}", 2.5 * spread
        params: tuple[Param, ...] = sd_params
        coefficients: tuple[Coefficients, ...] = ()
        if curved:
            params += (Param(top_name, Prior("Normal", mu=centre, sigma=wide), unit=unit),)
        else:
            coefficients += (Coefficients(top_name, 1, wide, mean=centre, unit=unit),)
        codes = table.level(level).codes
        if by is None:
            of_state = np.zeros(table.level(level).size, dtype=int)
            return cls(name, None, np.array(["all"], dtype=object), of_state, params, coefficients, sd, lambda p, xp: 0.0, curved)
        group = table.level(by)
        of_state = group_of(table, level, by)
        between_params, between = hyper(f"{name}_between_sd", Prior("HalfNormal", sigma=spread), unit=unit)
        params += between_params
        mean, dim, coords = f"{name}_mean", group.name, group.values
        if curved:
            params += (Param(mean, Prior("Normal", mu=top_name, sigma=f"{name}_between_sd"), dim, coords, unit),)
        else:
            ones = sparse.csr_matrix(np.ones((group.size, 1)))
            coefficients += (Coefficients(mean, group.size, between, dim=dim, coords=coords, parents=((top_name, ones),), unit=unit),)
        return cls(name, by, group.values, of_state[: codes.max() + 1], params, coefficients, sd, between, curved)

    def prior_of(self, states: np.ndarray) -> tuple[Function | float, tuple[tuple[str, sparse.csr_matrix], ...]]:
        """Prior mean of some states: their own part, and their parents."""
        group = self.of_state[states]
        if not self.curved:
            return 0.0, ((f"{self.name}_mean", indicator(group, len(self.groups))),)
        return self._psi_mean(group), ()

    def _psi_mean(self, group: np.ndarray) -> Function:
        name = f"{self.name}_mean"
        if self.by is None:
            return lambda p, xp: p[name] + np.zeros(len(group))
        return lambda p, xp: p[name][group]

    def measurement(self, name: str, values: np.ndarray, states: np.ndarray, noise: Noise) -> Rows:
        """Exactly known states, as measured rows of the population."""
        if not self.curved:
            piece = Piece(f"{self.name}_mean", indicator(self.of_state[states], len(self.groups)))
            return measured(name, values, (piece,), noise, self.name)
        n = len(values)
        return Rows(name, values, (), ((self.name, self._psi_mean(self.of_state[states])),), noise, np.ones(n), np.zeros(n))

    def pieces(self, groups: np.ndarray, weight: Function) -> list[Piece]:
        """``weight * mean`` of each row's group: -1 draws nothing; a group never seen, coded len(groups), has the mean of all groups."""
        own = np.where(groups < len(self.groups), groups, -1)
        out = [Piece(f"{self.name}_mean", indicator(own, len(self.groups)), weight)]
        unseen = np.where(groups == len(self.groups), 0, -1)
        return out + ([Piece(f"{self.name}_population", indicator(unseen, 1), weight)] if (unseen == 0).any() else [])

    def mean_of(self, p: Values, groups: np.ndarray) -> np.ndarray:
        """Mean of each row's group where the means are hyperparameters."""
        means = np.atleast_1d(np.asarray(p[f"{self.name}_mean"], dtype=float))
        return np.append(means, p[f"{self.name}_population"] if self.by else means[0])[groups]

    def variance(self, p: Values, groups: np.ndarray) -> np.ndarray:
        """Variance of a new state of each row's group."""
        return self.sd(p, np) ** 2 + np.where(groups == len(self.groups), self.between(p, np) ** 2, 0.0)


def group_of(table: Table, level: str, by: str) -> np.ndarray:
    """Group of each value of a level, int array of shape (values of the level,).

    Raises
    ------
    realmat.DataError
        If one value of the level stands under two groups.
    """
    codes, group = table.level(level).codes, table.level(by).codes
    of_state = np.full(table.level(level).size, -1)
    of_state[codes[::-1]] = group[::-1]
    clash = of_state[codes] != group
    if clash.any():
        where = rows_text(table.index[clash])
        raise DataError(f"column {table.column_of(by)!r}: {where}: the same {level} stands in another group elsewhere.")
    return of_state


@dataclass(frozen=True)
class Newcomers:
    """Rows of specimens that the fit has not seen: the population, and the rows' own readings, weighted by their precisions.

    A reading that is only a detection limit is not used here.

    Attributes
    ----------
    codes : int array of shape (rows,)
        Specimen of each row; -1 for a row whose specimen is not new.
    groups : int array of shape (rows,)
        Group of the population; -1 as above, len(groups) for a group never seen.
    value, u2 : arrays of shape (rows,)
        Readings and their stated variances (0: not stated; the smallest positive number: exact); `present` says where there are any.
    """

    population: Population
    codes: np.ndarray
    groups: np.ndarray
    value: np.ndarray
    u2: np.ndarray
    present: np.ndarray
    unstated: Function

    @classmethod
    def of(
        cls, population: Population, table: Table, codes: np.ndarray, readings: Readings | None, spec: LatentState, unstated: Function
    ) -> Newcomers:
        """Newcomers of a table; `codes` as above."""
        n = len(table)
        if population.by is None:
            groups = np.zeros(n, dtype=int)
        else:
            groups = table.codes_in(population.by, population.groups)
            groups = np.where(groups < 0, len(population.groups), groups)
        groups = np.where(codes < 0, -1, groups)
        if readings is None:
            return cls(population, codes, groups, np.zeros(n), np.zeros(n), np.zeros(n, dtype=bool), unstated)
        present = readings.measured & (codes >= 0)
        if spec.once:
            first = np.zeros(n, dtype=bool)
            rows = np.flatnonzero(present)
            first[rows[np.unique(codes[rows], return_index=True)[1]]] = True
            present = first
        u2 = readings.u**2 if spec.u is not None else np.full(n, np.finfo(float).tiny)
        return cls(population, codes, groups, np.where(present, readings.value, 0.0), u2, present, unstated)

    def _combined(self, p: Values) -> tuple[np.ndarray, np.ndarray]:
        """Precision and precision-weighted mean of all readings of each row's specimen."""
        return self._weighted(self.unstated(p, np) ** 2) if np.any(self.u2 == 0) else self._stated

    @cached_property
    def _stated(self) -> tuple[np.ndarray, np.ndarray]:
        """The same where every reading states its u: for every psi."""
        return self._weighted(0.0)

    def _weighted(self, unstated: float) -> tuple[np.ndarray, np.ndarray]:
        size = int(self.codes.max(initial=-1)) + 2  # the last one belongs to code -1
        u2 = np.where(self.u2 == 0, unstated, self.u2)
        weight = np.where(self.present, np.minimum(1 / u2, 1e150), 0.0)
        total = np.bincount(self.codes % size, weights=weight, minlength=size)
        mean = np.bincount(self.codes % size, weights=weight * self.value, minlength=size) / np.maximum(total, 1e-300)
        return total[self.codes % size], mean[self.codes % size]

    def trust(self, p: Values) -> np.ndarray:
        """Weight of the readings against the population, shape (rows,); 0 for a row whose specimen is not new."""
        precision, _ = self._combined(p)
        odds = precision * self.population.variance(p, self.groups)
        return odds / (1 + odds)

    def reading(self, p: Values) -> np.ndarray:
        """Combined reading of each row's specimen; 0 where there is none."""
        return self._combined(p)[1]

    def sd(self, p: Values) -> np.ndarray:
        """Standard deviation of each row's state, given its readings and the population."""
        return np.sqrt(self.population.variance(p, self.groups) * (1 - self.trust(p)))
