"""The population that the states of specimens are drawn from, and the specimens that a fit has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from realmat.errors import DataError
from realmat.table.table import Table, rows_text
from realmat.terms.component import hyper, indicator
from realmat.terms.priors import Prior
from realmat.terms.readings import Readings, Transform
from realmat.terms.term import Coefficients, Function, Noise, Param, Piece, Rows, Values, measured

if TYPE_CHECKING:
    from realmat.terms.state import LatentState
    from realmat.terms.upstream import Given


@dataclass(frozen=True)
class Population:
    """z ~ N(mean, sd^2), or by group ``z ~ N(mean_g, sd^2)``, ``mean_g ~ N(population, between_sd^2)``; plus a line in given columns.

    Default priors come from the readings' own mean and standard deviation s: ``mean ~ N(their mean, (2.5 s)^2)``, ``sd ~ HalfNormal(2 s)``,
    ``between_sd ~ HalfNormal(s)``. The means are coefficients; hyperparameters where the effect of the state is `curved`.

    Attributes
    ----------
    groups : array of shape (groups,)
        Labels of the groups; one without `by`.
    of_state : int array of shape (states,)
        Group of each state.
    line : Line, optional
        What other columns tell of the mean.
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
    line: Line | None
    given: Given

    @classmethod
    def of(cls, spec: LatentState, table: Table, centre: float, spread: float, given: Given) -> Population:
        """Population on a table, with default priors around the readings' `centre` and `spread`."""
        name, by, level, unit, curved = spec.name, spec.by, spec.level, spec.unit, spec.curved
        line = Line.of(spec, given.columns, table, spread) if given.columns else None
        sd_params, sd = hyper(f"{name}_sd", Prior("HalfNormal", sigma=2 * spread), unit=unit)
        top = "population" if by else "mean"
        top_name, wide = f"{name}_{top}", 2.5 * spread
        params: tuple[Param, ...] = sd_params
        coefficients: tuple[Coefficients, ...] = ()
        if curved:
            params += (Param(top_name, Prior("Normal", mu=centre, sigma=wide), unit=unit),)
        else:
            coefficients += (Coefficients(top_name, 1, wide, mean=centre, unit=unit),)
        params += given.params
        if line is not None:
            params, coefficients = (*params, *line.params), (*coefficients, *line.coefficients)
        codes = table.level(level).codes
        if by is None:
            of_state, one = np.zeros(table.level(level).size, dtype=int), np.array(["all"], dtype=object)
            return cls(name, None, one, of_state, params, coefficients, sd, lambda p, xp: 0.0, curved, line, given)
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
        return cls(name, by, group.values, of_state[: codes.max() + 1], params, coefficients, sd, between, curved, line, given)

    def prior_of(self, states: np.ndarray) -> tuple[Function | float, tuple[tuple[str, sparse.csr_matrix], ...], tuple[Piece, ...]]:
        """Prior mean of some states: their own part, their parents, and the states on which they depend."""
        if self.curved:
            return self._psi_mean(states), (), ()
        parents: tuple[tuple[str, sparse.csr_matrix], ...] = ((f"{self.name}_mean", indicator(self.of_state[states], len(self.groups))),)
        if self.line is not None:
            parents += ((self.line.name, sparse.csr_matrix(self.line.of_state[states])),)
        return self.given.offset(states) or 0.0, parents, self.given.pieces(states)

    def _psi_mean(self, states: np.ndarray) -> Function:
        name, group, line = f"{self.name}_mean", self.of_state[states], self.line

        def mean(p: Values, xp: Any) -> Any:
            own = p[name] + np.zeros(len(group)) if self.by is None else p[name][group]
            return own if line is None else own + line.at(p, line.of_state[states])

        return mean

    def measurement(self, name: str, values: np.ndarray, states: np.ndarray, noise: Noise) -> Rows:
        """Exactly known states, as measured rows of the population."""
        own, parents, leans = self.prior_of(states)
        rows = measured(name, values, (*(Piece(block, matrix) for block, matrix in parents), *leans), noise, self.name)
        return replace(rows, offsets=((self.name, own),)) if callable(own) else rows

    def pieces(self, groups: np.ndarray, weight: Function, x: np.ndarray) -> list[Piece]:
        """``weight * mean`` of each row's group: -1 draws nothing; a group never seen, coded len(groups), has the mean of all groups.

        `x`, shape (rows, columns), are the given columns from their middle.
        """
        own = np.where(groups < len(self.groups), groups, -1)
        out = [Piece(f"{self.name}_mean", indicator(own, len(self.groups)), weight)]
        if self.line is not None:
            out.append(Piece(self.line.name, sparse.csr_matrix(np.where(groups[:, None] >= 0, x, 0.0)), weight))
        unseen = np.where(groups == len(self.groups), 0, -1)
        return out + ([Piece(f"{self.name}_population", indicator(unseen, 1), weight)] if (unseen == 0).any() else [])

    def mean_of(self, p: Values, groups: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Mean of each row's state where the means are hyperparameters."""
        means = np.atleast_1d(np.asarray(p[f"{self.name}_mean"], dtype=float))
        own = np.append(means, p[f"{self.name}_population"] if self.by else means[0])[groups]
        return own if self.line is None else own + self.line.at(p, x)

    def variance(self, p: Values, groups: np.ndarray) -> np.ndarray:
        """Variance of a new state of each row's group."""
        return self.sd(p, np) ** 2 + np.where(groups == len(self.groups), self.between(p, np) ** 2, 0.0)


@dataclass(frozen=True)
class Line:
    """What other columns tell of the mean of a population: ``sum_k given_k (x_k - middle_k)``, ``given_k ~ N(0, (2.5 s / sd(x_k))^2)``.

    A column that is another component's state, known exactly everywhere, counts on the scale of that state.

    Attributes
    ----------
    name : str
        ``<state>_given``, along `given`.
    columns : tuple of str
    middle : array of shape (columns,)
    of_state : array of shape (states, columns)
        The columns of each state, from their middle.
    """

    name: str
    columns: Mapping[str, Transform]
    middle: np.ndarray
    of_state: np.ndarray
    params: tuple[Param, ...]
    coefficients: tuple[Coefficients, ...]

    @classmethod
    def of(cls, spec: LatentState, columns: Mapping[str, Transform], table: Table, spread: float) -> Line:
        """The line on a table.

        Raises
        ------
        realmat.DataError
            If a column is not one for each state, or is the same everywhere.
        """
        level = table.level(spec.level)
        first = np.full(level.size, -1)
        first[level.codes[::-1]] = np.arange(len(table))[::-1]
        x = _stacked(table, columns)
        for column, values in zip(columns, x.T, strict=True):
            clash = values != values[first[level.codes]]
            if clash.any():
                where = rows_text(table.index[clash])
                raise DataError(f"column {column!r}, given for {spec.name!r}: the same {spec.level} has different values in {where}.")
            if not np.std(values) > 1e-12 * abs(values[0]):
                raise DataError(f"column {column!r}, given for {spec.name!r}: every value is the same, so it tells nothing; leave it out.")
        of_state, name = x[first], f"{spec.name}_given"
        middle = of_state.mean(axis=0)
        sd = 2.5 * spread / of_state.std(axis=0)
        coords, dim = np.array(list(columns), dtype=object), f"{name}_column"
        if not spec.curved:
            blocks: tuple[Coefficients, ...] = (Coefficients(name, len(columns), sd, dim=dim, coords=coords),)
            return cls(name, columns, middle, of_state - middle, (), blocks)
        params = (Param(name, Prior("Normal", mu=0.0, sigma=float(sd.max())), dim, coords),)
        return cls(name, columns, middle, of_state - middle, params, ())

    def on(self, table: Table) -> np.ndarray:
        """The columns of a table from their middle, shape (rows, columns)."""
        return _stacked(table, self.columns) - self.middle

    def at(self, p: Values, x: np.ndarray) -> Any:
        """The line at columns `x` where its slopes are hyperparameters."""
        return sum(p[self.name][k] * x[:, k] for k in range(x.shape[1]))


def _stacked(table: Table, columns: Mapping[str, Transform]) -> np.ndarray:
    return np.column_stack([transform.forward(table.numeric(column)) for column, transform in columns.items()])


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
    x : array of shape (rows, columns)
        Given columns from their middle.
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
    x: np.ndarray

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
        x = np.zeros((n, 0)) if population.line is None else population.line.on(table)
        if readings is None:
            return cls(population, codes, groups, np.zeros(n), np.zeros(n), np.zeros(n, dtype=bool), unstated, x)
        present = readings.measured & (codes >= 0)
        if spec.once:
            first = np.zeros(n, dtype=bool)
            rows = np.flatnonzero(present)
            first[rows[np.unique(codes[rows], return_index=True)[1]]] = True
            present = first
        u2 = np.where(present, readings.u**2, 1.0) if spec.u is not None else np.full(n, np.finfo(float).tiny)
        return cls(population, codes, groups, np.where(present, readings.value, 0.0), u2, present, unstated, x)

    def combined(self, p: Values) -> tuple[np.ndarray, np.ndarray]:
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
        precision, _ = self.combined(p)
        odds = precision * self.population.variance(p, self.groups)
        return odds / (1 + odds)

    def reading(self, p: Values) -> np.ndarray:
        """Combined reading of each row's specimen; 0 where there is none."""
        return self.combined(p)[1]

    def sd(self, p: Values) -> np.ndarray:
        """Standard deviation of each row's state, given its readings and the population."""
        return np.sqrt(self.population.variance(p, self.groups) * (1 - self.trust(p)))
