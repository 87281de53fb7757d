"""Characterisations: what was measured of the real material, as numbers on the scale on which a state is Gaussian.

A reading may carry a standard uncertainty u, be known only to lie below a detection limit, or (the normal case) be missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from realmat.errors import DataError, ModelError
from realmat.table.labels import same
from realmat.table.table import Column, Table, rows_text

LIMIT_PER_U = 3.29
"""Detection limit over the standard uncertainty at it: Currie, Pure Appl. Chem. 67, 1699 (1995), for 5 % errors of both kinds."""


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


@cache  # equal exponents are the same scale, so that several properties can share a state
def power(exponent: float) -> Transform:
    """x -> x^exponent; a state that strays below zero on that scale is reported with its sign, so that nothing is lost."""
    if exponent == 1:
        return IDENTITY

    def inverse(z: np.ndarray) -> np.ndarray:
        size = np.abs(z) ** abs(1 / exponent)  # of whole positive powers NumPy has quick ones
        return np.copysign(1 / size if exponent < 0 else size, z)

    return Transform(
        lambda x: np.sign(x) * np.abs(x) ** exponent, lambda x: exponent * np.abs(x) ** (exponent - 1), inverse, falling=exponent < 0
    )


@dataclass(frozen=True)
class Readings:
    """Readings on the state's scale, by row: `value` (NaN where missing), `u` (0 where not stated), `censored` (-1, 0, 1)."""

    value: np.ndarray
    u: np.ndarray
    censored: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """Rows that hold a reading, be it only a limit."""
        return np.isfinite(self.value)

    @property
    def measured(self) -> np.ndarray:
        """Rows that hold a number."""
        return self.present & (self.censored == 0)


def read(table: Table, column: str, u: str | float | None, below: str | float | None, transform: Transform) -> Readings:
    """Readings of a table, transformed.

    A limit is written "<20" or ">300" in the column itself; or it stands in the column `below`, where `column` is empty or lies under it;
    or `below` is a number, and values under it are censored. A limit without a stated u has u = limit / 3.29.

    Raises
    ------
    realmat.DataError
        Where a value has no image on the state's scale (the logarithm of zero), or a limit of zero has no u.
    """
    raw, limit = table.numeric(column).copy(), table.limit(column).copy()
    bound, given = _given(table, below), _given(table, u)
    if bound is not None:
        with np.errstate(invalid="ignore"):
            under = np.isfinite(bound) & ((raw < bound) | (np.isnan(raw) & isinstance(below, str))) & (limit == 0)
        raw[under] = bound[under]
        limit[under] = -1
    with np.errstate(invalid="ignore", divide="ignore"):
        value = transform.forward(raw)
    seen = np.isfinite(value)
    if not seen.all() and (lost := np.isfinite(raw) & ~seen).any():
        raise DataError(
            f"column {column!r}: {rows_text(table.index[lost])}: a value at the end of its range, where the effect is infinite."
        )
    spread = np.zeros(len(table))
    if given is not None or limit.any():
        spread = np.where(seen, _spread(table, column, raw, limit, given, transform), 0.0)
    return Readings(value, spread, -limit.astype(int) if transform.falling else limit.astype(int))


def _spread(table: Table, column: str, raw: np.ndarray, limit: np.ndarray, given: np.ndarray | None, transform: Transform) -> np.ndarray:
    """Standard uncertainty on the state's scale, shape (rows,); 0 where none is stated, or none follows from a limit."""
    stated = np.zeros(len(table)) if given is None else np.nan_to_num(given, nan=0.0)
    unstated = (limit != 0) & (stated == 0)
    stated[unstated] = np.abs(raw[unstated]) / LIMIT_PER_U
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.where(stated == 0, 0.0, np.abs(transform.derivative(raw)) * stated)
    bare = (limit != 0) & (spread == 0)
    if bare.any():
        raise DataError(f"column {column!r}: {rows_text(table.index[bare])}: a limit of zero needs a stated u.")
    return spread


def _given(table: Table, what: str | float | None) -> np.ndarray | None:
    """A column or a number by row; None where there is neither (a table for prediction may lack the column)."""
    if isinstance(what, str):
        return table.numeric(what).copy() if what in table.columns else None
    return None if what is None else np.full(len(table), float(what))


def reading_columns(
    column: str,
    role: str,
    u: str | float | None = None,
    below: str | float | None = None,
    by: str | None = None,
    unit: str = "",
    lower: float | None = None,
    upper: float | None = None,
    open_lower: bool = False,
    given: tuple[str, ...] = (),
) -> list[Column]:
    """What a component with readings asks of a table: the column itself, its u, its detection limit, and what its population depends on."""
    open_lower = open_lower and below is None  # a zero under a detection limit is a limit
    shared: dict[str, Any] = {"missing": True, "unit": unit, "optional": True}
    out = [Column(column, role, lower=lower, upper=upper, open_lower=open_lower, censored=True, **shared)]
    if isinstance(u, str):
        out.append(Column(u, f"u of {role}", lower=0.0, like=column, difference=True, **shared))
    if isinstance(below, str):
        out.append(Column(below, f"detection limit of {role}", lower=lower, open_lower=lower == 0, like=column, **shared))
    if by is not None:
        out.append(Column(by, f"population of {role}", kind="label"))
    return out + [Column(name, f"value given for {role}", given=True) for name in given]


def check_numbers(what: str, u: str | float | None, below: str | float | None = None, lower: float | None = None) -> None:
    """Check a u and a detection limit that were given as numbers.

    Raises
    ------
    realmat.ModelError
        If u is not positive and finite, or the limit is not above `lower`.
    """
    if isinstance(u, (int, float)) and not (np.isfinite(u) and u > 0):
        raise ModelError(f"{what}: u={u!r} must be a positive standard uncertainty; leave u out for values known exactly.")
    if isinstance(below, (int, float)) and not (np.isfinite(below) and (lower is None or below > lower)):
        raise ModelError(f"{what}: below={below!r} must be a detection limit{'' if lower is None else f' above {lower:g}'}.")


def rows_in(other: Table, fitted: Table) -> np.ndarray:
    """Which row of the fitted (whole) table each row is, shape (rows,): one with its label and its values in every column but the response.

    -1 for any other row: the same label in another table does not make it the same measurement.
    """
    if other.whole is fitted.whole:
        return other.place
    fitted = fitted.whole
    codes = pd.Index(fitted.index).get_indexer(pd.Index(other.index))
    found = codes >= 0
    for name in set(other.columns) & set(fitted.columns) - {fitted.response, other.response}:
        here, there = other.columns[name], fitted.columns[name][codes]
        numbers = "f" in (here.dtype.kind, there.dtype.kind)
        found &= np.asarray((here == there) | (np.isnan(here) & np.isnan(there)) if numbers else same(here, there), dtype=bool)
    return np.where(found, codes, -1)


def first_within(table: Table, by: str, column: str) -> np.ndarray:
    """The first value of a column in each group, shape (groups,); NaN where a group has none."""
    codes, values = table.level(by).codes, table.numeric(column)
    there = np.flatnonzero(np.isfinite(values) & (codes >= 0))
    out = np.full(table.level(by).size, np.nan)
    out[codes[there[::-1]]] = values[there[::-1]]
    return out


def constant_within(table: Table, by: str, *columns: str) -> bool:
    """Whether columns take one value within each group, in the rows that hold one."""
    codes = table.level(by).codes
    for column in columns:
        values = table.numeric(column)
        there = np.isfinite(values) & (codes >= 0)
        if not np.array_equal(values[there], first_within(table, by, column)[codes[there]]):
            return False
    return True


def listed(names: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """One or several column names as a tuple."""
    return (names,) if isinstance(names, str) else tuple(names)
