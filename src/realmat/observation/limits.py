"""Readings that say less than a number: limits, intervals, digits, and what was never reported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from realmat.errors import DataError, ModelError
from realmat.table.table import Column, Table, rows_text
from realmat.terms.density import Density, Parameter
from realmat.terms.kept import Kept
from realmat.terms.location_scale import Interval, of_noise
from realmat.terms.standard import NORMAL, STUDENT
from realmat.terms.term import Noise

_MANY = 1e6  # degrees of freedom of a u that is as good as known


@dataclass(frozen=True)
class Limits:
    """What an observation component says of its readings beside their noise.

    Attributes
    ----------
    between : tuple of two str, optional
        Columns of the lower and the upper bound; empty is open. Where both are empty the response itself counts.
    resolution : str or float, optional
        Step of the scale: the true value lies within half a step of the reading.
    kept_above, kept_below : str or float, optional
        Readings outside were never reported.
    dof : str or float, optional
        Degrees of freedom of the stated u.
    """

    between: tuple[str, str] | None
    resolution: str | float | None
    kept_above: str | float | None
    kept_below: str | float | None
    dof: str | float | None

    @property
    def any(self) -> bool:
        """Whether there is any."""
        return any(value is not None for value in (self.between, self.resolution, self.kept_above, self.kept_below, self.dof))

    def needs(self, positive: bool) -> list[Column]:
        """Columns of numbers."""
        lower: dict[str, Any] = {"lower": 0.0, "open_lower": True} if positive else {}
        out = [Column(name, "bound of the response", missing=True, **lower) for name in self.between or ()]
        for value, role in ((self.resolution, "resolution"), (self.dof, "degrees of freedom of u")):
            out += [Column(value, role, lower=0.0, open_lower=True)] if isinstance(value, str) else []
        for value in (self.kept_above, self.kept_below):
            out += [Column(value, "limit of what was reported")] if isinstance(value, str) else []
        return out

    def check(self, label: str, u: Any, nu: bool) -> None:
        """Raise a ModelError if arguments contradict each other."""
        problems = []
        if self.between is not None and (len(self.between) != 2 or not all(isinstance(name, str) for name in self.between)):
            problems.append(f"between={self.between!r} takes two columns, the lower and the upper bound")
        if self.between is not None and self.resolution is not None:
            problems.append("between= and resolution= both say where the true value lies; give one")
        for name in ("resolution", "dof"):
            value = getattr(self, name)
            if isinstance(value, (int, float)) and not (np.isfinite(value) and value > 0):
                problems.append(f"{name}={value!r} must be positive")
        if self.dof is not None and u is None:
            problems.append("dof= is of a stated u, so it needs u=")
        if self.dof is not None and nu:
            problems.append("dof= makes tails of its own; with Student t noise leave it out")
        if problems:
            raise ModelError(f"{label}: {'; '.join(problems)}.")

    def filled(self, table: Table, response: str, every: bool) -> np.ndarray:
        """The response, with a number from the bounds where rows have some: the middle of a closed interval, the end of an open one.

        `every` says whether each row must have a reading.

        Raises
        ------
        realmat.DataError
            If bounds are the wrong way round, or a row has neither a response nor a bound.
        """
        y = table.columns.get(response, np.full(len(table), np.nan))
        if self.between is None:
            return y
        low, high = (table.numeric(name) for name in self.between)
        wrong = low > high
        if wrong.any():
            raise DataError(
                f"columns {self.between[0]!r} and {self.between[1]!r}: bounds the wrong way round in {rows_text(table.index[wrong])}."
            )
        ends = np.where(np.isnan(low), high, np.where(np.isnan(high), low, 0.5 * (low + high)))
        out = np.where(np.isnan(ends), y, ends)
        if every and np.isnan(out).any():
            raise DataError(f"column {response!r}: neither a value nor a bound in {rows_text(table.index[np.isnan(out)])}.")
        return out

    def _ends(self, table: Table, censored: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """How far the true value may lie below and above the reading, on the scale of the link."""
        y = table.link_values(table.response)
        left, right = np.zeros(len(table)), np.zeros(len(table))
        if self.between is not None:
            low, high = (table.link_values(name) for name in self.between)
            some = ~(np.isnan(low) & np.isnan(high))
            left, right = (np.where(some, np.where(np.isnan(end), np.inf, np.abs(y - end)), 0.0) for end in (low, high))
        if self.resolution is not None:
            half = 0.5 * (table.numeric(self.resolution) if isinstance(self.resolution, str) else self.resolution)
            left = y - table.forward(np.maximum(table.numeric(table.response) - half, table.least))
            right = table.forward(table.numeric(table.response) + half) - y
        if censored is not None:
            left, right = (
                np.where(censored < 0, np.inf, np.where(censored > 0, 0.0, left)),
                np.where(censored > 0, np.inf, np.where(censored < 0, 0.0, right)),
            )
        return left, right

    def _range(self, table: Table) -> tuple[np.ndarray, np.ndarray] | None:
        """Ends of what was reported, on the scale of the link."""
        if self.kept_above is None and self.kept_below is None:
            return None
        ends = []
        for value, far in ((self.kept_above, -np.inf), (self.kept_below, np.inf)):
            given = table.numeric(value) if isinstance(value, str) else np.full(len(table), far if value is None else float(value))
            ends.append(np.full(len(table), far) if value is None else table.forward(np.maximum(given, table.least)))
        y = table.link_values(table.response)
        outside = (y < ends[0]) | (y > ends[1])
        if outside.any():
            where = rows_text(table.index[outside])
            raise DataError(f"column {table.response!r}: {where}: outside what kept_above= and kept_below= say was reported.")
        return ends[0], ends[1]

    def noise(self, table: Table, plain: Noise) -> Noise:
        """The noise of rows, given what it would be if every reading were a number and kept."""
        if not self.any:
            return plain
        _, parameters = of_noise(replace(plain, censored=None), np.ones(len(table)), np.zeros(len(table)))
        standard = NORMAL if plain.nu is None and self.dof is None else STUDENT
        if self.dof is not None:
            parameters = (parameters[0], self._degrees(table, plain))
        if table.response not in table.columns:  # rows to predict: what will be read is a number
            left = right = np.zeros(len(table))
            return replace(plain, density=Interval(left, right, standard), parameters=parameters)
        base = Interval(*self._ends(table, plain.censored), standard)
        kept = self._range(table)
        density: Density = base if kept is None else Kept(base, *kept)
        return replace(plain, density=density, parameters=parameters)

    def _degrees(self, table: Table, plain: Noise) -> Parameter:
        """Effective degrees of freedom of u and an inferred scale together, by Welch and Satterthwaite (JCGM 100:2008, G.4.1)."""
        dof = table.numeric(self.dof) if isinstance(self.dof, str) else np.full(len(table), float(self.dof or _MANY))
        dof = np.where(plain.u > 0, np.minimum(dof, _MANY), _MANY)
        keys, key = np.unique(np.column_stack([plain.u**2, plain.group.astype(float), dof]), axis=0, return_inverse=True)
        u2, group, least = keys[:, 0], keys[:, 1].astype(int), keys[:, 2]
        share = np.where(u2 > 0, u2, 1.0)
        scales = plain.scales

        def nu(p: Any, xp: Any) -> Any:
            if scales is None or not (group >= 0).any():
                return least
            s2 = xp.where(group >= 0, scales(p, xp)[np.maximum(group, 0)], 0.0) ** 2
            return least * (1 + s2 / share) ** 2

        return Parameter("nu", nu, key.ravel())
