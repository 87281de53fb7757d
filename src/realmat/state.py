"""The latent measured state: what a sample really is, informed by whatever characterisation exists.

z_s ~ N(mean_g, sd^2) for specimen s of group g; characterisations c = z_s + eta with eta ~ N(0, u^2), missing, replicated or
left-censored; the state enters the response as ``slope * z``. The classical (structural) measurement-error model: Carroll, Ruppert,
Stefanski & Crainiceanu, Measurement Error in Nonlinear Models, 2nd ed., 2006, chapters 1 and 8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from realmat.component import hyper, indicator
from realmat.data import ROW, Table, rows_text
from realmat.errors import DataError
from realmat.priors import Prior
from realmat.terms import Coefficients, Contribution, Fresh, Function, Noise, Param, Piece, Rows, Term, measured


@dataclass(frozen=True)
class Transform:
    """From a column's own values to the scale on which the state is Gaussian and its effect linear.

    `derivative` carries a stated u over (first order); `inverse` reports states in the column's unit; `falling` says that a value
    below a limit is above it on the new scale.
    """

    forward: Callable[[Any], Any]
    derivative: Callable[[Any], Any]
    inverse: Callable[[Any], Any]
    falling: bool = False


IDENTITY = Transform(lambda x: x, lambda x: np.ones_like(x), lambda z: z)
LOG = Transform(np.log, lambda x: 1 / x, np.exp)


def power(exponent: float) -> Transform:
    """x -> x^exponent; a state that strays below zero on that scale is reported with its sign, so that nothing is lost."""
    return Transform(
        lambda x: x**exponent,
        lambda x: exponent * x ** (exponent - 1),
        lambda z: np.sign(z) * np.abs(z) ** (1 / exponent),
        falling=exponent < 0,
    )


@dataclass(frozen=True)
class Readings:
    """Characterisations on the state's scale: `value`, `u` (0 where not stated), and whether they are censored (-1, 0, 1)."""

    value: np.ndarray
    u: np.ndarray
    censored: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """Rows that hold a characterisation."""
        return np.isfinite(self.value)


def read(table: Table, column: str, u: str | float | None, below: str | float | None, transform: Transform) -> Readings:
    """Characterisations of a table, transformed. A limit comes from "<20" in the column, or from `below` where the column is empty."""
    raw = table.numeric(column).copy()
    limit = table.limit(column).copy()
    if below is not None:
        bound = table.numeric(below) if isinstance(below, str) else np.full(len(table), float(below))
        under = np.isfinite(bound) & (np.isnan(raw) if isinstance(below, str) else np.isfinite(raw) & (raw < bound))
        raw[under] = bound[under]
        limit |= under
    with np.errstate(invalid="ignore", divide="ignore"):
        value = transform.forward(raw)
        stated = np.zeros(len(table)) if u is None else (table.numeric(u) if isinstance(u, str) else np.full(len(table), float(u)))
        spread = np.abs(transform.derivative(raw)) * np.nan_to_num(stated, nan=0.0)
    spread = np.where(np.isfinite(value), spread, 0.0)
    return Readings(value, spread, np.where(limit, 1 if transform.falling else -1, 0))


@dataclass(frozen=True)
class LatentState:
    """One state of one component on one table. `bind` makes the term."""

    component: str
    layer: str
    column: str
    u: str | float | None
    below: str | float | None
    by: str | None
    transform: Transform
    level: str
    unit: str
    once: bool = False  # a value repeated on rows is one value (a computed one), not repeated measurements

    def bind(
        self,
        table: Table,
        slope_name: str,
        slope: Prior | float,
        slope_unit: str = "",
        extra: Callable[[Table], tuple[tuple[Piece, ...], Function | None]] | None = None,
        extra_params: tuple[Param, ...] = (),
        extra_coefficients: tuple[Coefficients, ...] = (),
    ) -> Term:
        """The term ``slope * state`` (plus `extra`, such as an intercept)."""
        readings = read(table, self.column, self.u, self.below, self.transform)
        level = table.level(self.level)
        codes = level.codes
        known = self._known(table, readings, codes, level.size)
        params, coefficients, mean_of_group, sd, groups = self._population(table, readings, level.size, codes)
        slope_params, slope_of = hyper(slope_name, slope, unit=slope_unit)
        latent = np.flatnonzero(np.isnan(known))
        place = np.full(level.size, -1)
        place[latent] = np.arange(len(latent))
        mean_name = coefficients[-1].name
        group_of_level = mean_of_group
        states = Coefficients(
            self.component,
            len(latent),
            sd,
            dim=level.name if len(latent) == level.size else f"{self.component}_unmeasured",
            coords=level.values[latent],
            parents=((mean_name, indicator(group_of_level[latent], len(groups))),),
            level=self.level,
            unit=self.unit,
            report=None if self.transform is IDENTITY else (self.transform.inverse, self.transform.forward),
        )
        rows, noise_params = self._rows(readings, codes, place, known, group_of_level, mean_name, len(groups), sd, table.count)
        blocks = (*extra_coefficients, *coefficients, *((states,) if len(latent) else ()))

        def contribute(other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
            return self._contribute(other, fresh_levels, level.values, place, known, groups, mean_name, slope_of, sd, extra)

        every = (*extra_params, *slope_params, *params, *noise_params)
        return Term(self.component, self.layer, every, blocks, contribute, rows, notes=(self._note(readings, codes, level.size),))

    def _known(self, table: Table, readings: Readings, codes: np.ndarray, size: int) -> np.ndarray:
        """State of each specimen that is known exactly (no u was declared); NaN elsewhere."""
        known = np.full(size, np.nan)
        if self.u is not None:
            return known
        exact = readings.present & (readings.censored == 0)
        known[codes[exact]] = readings.value[exact]
        clash = exact & (known[codes] != readings.value)
        if clash.any():
            labels = rows_text(table.index[clash])
            raise DataError(
                f"column {self.column!r}: the same {self.level} has different values in {labels}; "
                f"state their standard uncertainty with u= so that they count as repeated measurements."
            )
        return known

    def _population(
        self, table: Table, readings: Readings, size: int, codes: np.ndarray
    ) -> tuple[tuple[Param, ...], tuple[Coefficients, ...], np.ndarray, Function, np.ndarray]:
        seen = readings.value[readings.present]
        if len(seen) == 0:
            raise DataError(f"column {self.column!r}: no value anywhere, so the state of {self.component!r} cannot be learnt; leave it out.")
        centre = float(np.mean(seen))
        spread = float(np.std(seen)) or max(abs(centre), 1e-6) * 0.1
        sd_params, sd = hyper(f"{self.component}_sd", Prior("HalfNormal", sigma=2 * spread), unit=self.unit)
        if self.by is None:
            mean = Coefficients(f"{self.component}_mean", 1, 2.5 * spread, mean=centre, unit=self.unit)
            return sd_params, (mean,), np.zeros(size, dtype=int), sd, np.array(["all"], dtype=object)
        group = table.level(self.by)
        of_level = np.full(size, -1)
        of_level[codes] = group.codes
        between, between_sd = hyper(f"{self.component}_between_sd", Prior("HalfNormal", sigma=spread), unit=self.unit)
        top = Coefficients(f"{self.component}_population", 1, 2.5 * spread, mean=centre, unit=self.unit)
        ones = sparse.csr_matrix(np.ones((group.size, 1)))
        mean = Coefficients(
            f"{self.component}_mean", group.size, between_sd, dim=group.name, coords=group.values, parents=((top.name, ones),), unit=self.unit
        )
        return (*sd_params, *between), (top, mean), of_level, sd, group.values

    def _rows(
        self,
        readings: Readings,
        codes: np.ndarray,
        place: np.ndarray,
        known: np.ndarray,
        group: np.ndarray,
        mean_name: str,
        groups: int,
        sd: Function,
        count: np.ndarray,
    ) -> tuple[tuple[Rows, ...], tuple[Param, ...]]:
        out: list[Rows] = []
        params: tuple[Param, ...] = ()
        fixed = np.flatnonzero(np.isfinite(known))
        if len(fixed):  # an exactly known state is itself a measurement of the population
            noise = Noise(np.zeros(len(fixed)), np.zeros(len(fixed), dtype=int), lambda p, xp: xp.stack([sd(p, xp)]))
            pieces = (Piece(mean_name, indicator(group[fixed], groups)),)
            out.append(measured(f"{self.component}_known", known[fixed], pieces, noise, self.component))
        noisy = np.flatnonzero(readings.present & (place[codes] >= 0))
        if self.once:
            noisy = noisy[np.unique(codes[noisy], return_index=True)[1]]
            count = np.ones_like(count)
        if len(noisy):
            u, scales = readings.u[noisy], None
            unstated = (u == 0) & (readings.censored[noisy] == 0)
            if unstated.any():
                typical = float(np.median(u[u > 0])) if (u > 0).any() else float(np.std(readings.value[noisy])) or 1.0
                params, unstated_sd = hyper(f"{self.component}_unstated_scale", Prior("HalfNormal", sigma=typical), unit=self.unit)
                scales = lambda p, xp: xp.stack([unstated_sd(p, xp)])  # noqa: E731
            noise = Noise(u, np.where(unstated, 0, -1), scales, censored=readings.censored[noisy])
            pieces = (Piece(self.component, indicator(place[codes[noisy]], int((place >= 0).sum()))),)
            block = measured(f"{self.component}_measured", readings.value[noisy], pieces, noise, self.component)
            out.append(Rows(block.name, block.y, block.pieces, (), noise, count[noisy], np.zeros(len(noisy))))
        return tuple(out), params

    def _contribute(
        self,
        table: Table,
        fresh_levels: tuple[str, ...],
        values: np.ndarray,
        place: np.ndarray,
        known: np.ndarray,
        groups: np.ndarray,
        mean_name: str,
        slope: Function,
        sd: Function,
        extra: Callable[[Table], tuple[tuple[Piece, ...], Function | None]] | None,
    ) -> Contribution:
        here = table.level(self.level).codes if self._is_own(table, values) else table.codes_in(self.level, values)
        seen = here >= 0 if self.level not in fresh_levels else np.zeros(len(table), dtype=bool)
        exact = np.where(seen, known[here], np.nan)
        latent = np.where(seen, place[here], -1)
        pieces: list[Piece] = [Piece(self.component, indicator(latent, int((place >= 0).sum())), slope)] if (place >= 0).any() else []
        add = np.nan_to_num(exact)
        new = ~seen
        fresh: tuple[Fresh, ...] = ()
        predict: Function | None = None
        if new.any():
            mean, fresh, predict = self._new(table, new, groups, mean_name, slope, sd)
            pieces.append(mean)
        known_offset: Function | None = (lambda p, xp: slope(p, xp) * add) if np.any(add != 0) else None
        offsets = [f for f in (known_offset, predict) if f is not None]
        if extra is not None:
            more, offset = extra(table)
            pieces.extend(more)
            offsets.extend([offset] if offset is not None else [])
        total: Function | None = (lambda p, xp: sum(f(p, xp) for f in offsets)) if offsets else None
        return Contribution(tuple(pieces), total, fresh)

    def _is_own(self, table: Table, values: np.ndarray) -> bool:
        """Single rows have no label to look up: only the table of the fit itself has the states of its rows."""
        return self.level == ROW and len(table) == len(values) and bool(np.all(table.index == values))

    def _new(
        self, table: Table, new: np.ndarray, groups: np.ndarray, mean_name: str, slope: Function, sd: Function
    ) -> tuple[Piece, tuple[Fresh, ...], Function]:
        """A specimen the fit has not seen: population and, where the row has one, its own characterisation, by precision."""
        readings = read(table, self.column, self.u, self.below, self.transform) if self.column in table.columns else None
        value = np.full(len(table), np.nan) if readings is None else np.where(readings.censored == 0, readings.value, np.nan)
        u = np.zeros(len(table)) if readings is None else readings.u
        has = np.isfinite(value) & new
        value = np.where(has, value, 0.0)
        by = np.zeros(len(table), dtype=int) if self.by is None else table.codes_in(self.by, groups)
        matrix = indicator(np.where(new, by, -1), len(groups))

        def trust(p: Any, xp: Any) -> Any:  # weight of the characterisation against the population
            tau2 = sd(p, xp) ** 2
            return np.where(has, tau2 / (tau2 + u**2), 0.0)

        codes = np.where(new, table.level(self.level).codes, -1)
        fresh = Fresh(codes, lambda p, xp: abs(slope(p, xp)) * sd(p, xp) * np.sqrt(1 - trust(p, xp)))
        piece = Piece(mean_name, matrix, lambda p, xp: slope(p, xp) * (1 - trust(p, xp)))
        return piece, (fresh,), lambda p, xp: slope(p, xp) * trust(p, xp) * value

    def _note(self, readings: Readings, codes: np.ndarray, size: int) -> str:
        measured_levels = len(np.unique(codes[readings.present & (readings.censored == 0)]))
        limited = len(np.unique(codes[readings.present & (readings.censored != 0)]))
        below = f", {limited} known only to lie beyond a detection limit" if limited else ""
        return f"{self.column}: measured for {measured_levels} of {size} ({self.level}){below}; the rest is inferred."


def needs_latent(table: Table, column: str, u: str | float | None, below: str | float | None) -> bool:
    """Whether a column is more than a list of exactly known numbers."""
    return u is not None or below is not None or bool(np.isnan(table.numeric(column)).any()) or bool(table.limit(column).any())


def constant_within(table: Table, by: str, *columns: str) -> bool:
    """Whether columns take one value within each group."""
    codes = table.level(by).codes
    first = np.full(codes.max() + 1, -1)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return all(np.array_equal(table.numeric(c), table.numeric(c)[first[codes]], equal_nan=True) for c in columns)


def fixed_u(u: str | float | None, what: str) -> None:
    """Check a u given as a number.

    Raises
    ------
    realmat.ModelError
        If it is not positive and finite.
    """
    from realmat.errors import ModelError

    if isinstance(u, (int, float)) and not (np.isfinite(u) and u > 0):
        raise ModelError(f"{what}: u={u!r} must be a positive standard uncertainty; leave u out for values known exactly.")
