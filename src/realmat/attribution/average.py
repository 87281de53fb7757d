"""Means of several readings: as a stream of contributions, each row of which stands for the mean of a plan's readings.

A plan says how often everything is repeated: ``{"observation": 3, "lab": 2}`` is the mean of three readings in each of two laboratories.
What the readings share, such as the specimen and what is not known of its material, does not average away. Levels are crossed, unless one
lies inside another in the table of the fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from realmat.errors import ModelError
from realmat.posterior.contributions import Chunk, Source, Stream
from realmat.posterior.draws import Posterior
from realmat.support.checks import listed
from realmat.table.table import ROW, Table, cells

READING = "observation"
_MOST = 1_000_000  # rows that a plan may make of a table


@dataclass(frozen=True)
class Plan:
    """How many of everything a mean is of.

    Attributes
    ----------
    readings : int
        In each combination of the others.
    levels : dict of str to int
        Values of levels or columns, each drawn anew.
    """

    readings: int
    levels: dict[str, int]

    @property
    def size(self) -> int:
        """Number of readings in all."""
        return self.readings * self.combinations

    @property
    def combinations(self) -> int:
        """Number of combinations of the levels."""
        return int(np.prod(list(self.levels.values()), dtype=int))

    @property
    def words(self) -> str:
        """What the mean is of."""
        one = {1: "a reading"}.get(self.readings, f"{self.readings} readings")
        place = {"lab": "in", "specimen": "on", ROW: "on"}
        where = [f"{place.get(level, 'with')} each of {several(level, n)}" for level, n in self.levels.items() if n > 1]
        return " ".join([one, *where])


def several(level: str, n: int) -> str:
    """How many values of a level, in words."""
    known = {"specimen": "new specimens", ROW: "new specimens", "lab": "laboratories"}
    return f"{n} {known[level]}" if level in known else f"{n} values of {level}"


def nested(table: Table, levels: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Which levels of a plan lie inside which others, as sections lie in the pieces that they were cut from.

    A level is inside another if each of its values stands with one value of that in the table of a fit, and some value of that with
    several; laboratories are inside nothing, whatever went to them.
    """
    known = {level: table.level(level).codes for level in levels if level not in (READING, ROW) and _labelled(table, level)}
    return {
        inner: tuple(outer for outer, theirs in known.items() if outer != inner and inner != "lab" and _inside(own, theirs))
        for inner, own in known.items()
    }


def _labelled(table: Table, level: str) -> bool:
    values = table.columns.get(table.column_of(level) or "")
    return values is not None and values.dtype.kind != "f"


def _inside(inner: np.ndarray, outer: np.ndarray) -> bool:
    pairs = np.unique(np.column_stack([inner, outer]), axis=0)
    alone = len(pairs) == len(np.unique(pairs[:, 0]))
    return bool(alone and len(np.unique(pairs[:, 1])) < len(pairs))


def planned(average: Mapping[str, int], table: Table, new: str, fresh: str) -> Plan:
    """Read a plan.

    Parameters
    ----------
    average : mapping of str to int
        ``"observation"`` and levels or columns of the model: how many of each.
    table : Table
        The rows that the mean is of.
    new, fresh : {"observation", "specimen", "material"}
        What was asked for as new, and what the stream draws anew: a piece of which other properties were measured is known.

    Raises
    ------
    realmat.ModelError
        Naming everything that is wrong.
    """
    piece = table.piece
    labels = [c for c, v in table.columns.items() if v.dtype.kind != "f" and c not in table.levels.values()]
    known = [READING, *dict.fromkeys([*table.levels, *labels])]
    problems, levels, readings = [], {}, 1
    for name, n in average.items():
        whole = isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 1
        level = piece if name in ("specimen", ROW) else name
        if not whole:
            problems.append(f"{name}={n!r} must be a whole number from 1 on")
        elif name == READING:
            readings = int(n)
        elif name == "material" or table.column_of(str(name)) == table.levels.get("material", ""):
            problems.append("a mean over several materials is no property of one")
        elif level != ROW and table.columns.get(table.column_of(level) or "", np.zeros(0)).dtype.kind == "f":
            problems.append(f"{name!r} is neither {READING!r} nor a level or column of labels: {listed(known)}")
        elif level == piece and fresh == "observation":
            clash = " that were not measured for other properties" if new != fresh else ""
            problems.append(f'a mean over specimens is of new ones{clash}: new="specimen" or new="material"')
        else:
            levels[level] = int(n)
    if fresh == "observation" and piece == ROW and levels:
        problems.append('without a level "specimen" a piece that the fit has seen cannot be told from a new one elsewhere: new="specimen"')
    if problems:
        raise ModelError(f"average={dict(average)!r}: {'; '.join(problems)}.")
    return Plan(readings, levels)


class Averaged:
    """As a `realmat.posterior.contributions.Stream`, of the means of a plan's readings.

    Parameters
    ----------
    posterior : Posterior
    table : Table
        What the mean is of: its labels of specimen and material hold, those of the plan's levels do not.
    new : {"observation", "specimen", "material"}
        What is drawn anew beside the levels of the plan.
    plan : Plan
    draws : int, optional
        As of `Stream`.

    Attributes
    ----------
    cell, weight, index, components, layers, indices
        As of `Stream`.
    """

    def __init__(self, posterior: Posterior, table: Table, new: str, plan: Plan, draws: int | None = None) -> None:
        self.posterior, self.plan, self.index = posterior, plan, table.shown
        single = posterior.problem.cells.rows_matter  # something acts on single rows
        if single:
            first, self.cell = np.arange(len(table)), np.arange(len(table))
        else:
            first, self.cell = cells(table, () if posterior.problem.link == "log" else (posterior.problem.response,))
        self.weight = table.per(self.cell, len(first))
        apart = single and table.piece != ROW  # single rows are readings: each draws its own
        if len(first) * plan.combinations * (plan.readings if apart else 1) > _MOST:
            raise ModelError(f"the mean of {plan.words} for each of {len(first)} rows is too much: give data= with the rows that matter.")
        inside = nested(posterior.problem.table, plan.levels)
        rows, origin = _expanded(table.take(first), plan, plan.readings if apart else 1, inside)
        _read_once(posterior, rows, origin)
        self.stream = Stream(posterior, rows, new, draws)
        self.components, self.layers, self.indices = self.stream.components, self.stream.layers, self.stream.indices
        self._each = 1 if apart else plan.readings
        share = np.bincount(origin, minlength=len(first)).astype(float)
        self._mean = sparse.csr_matrix((1 / share[origin], (origin, self.stream.cell)), shape=(len(first), len(self.stream)))

    def __len__(self) -> int:
        return len(self.weight)

    def __iter__(self) -> Iterator[Chunk]:
        for chunk in self.stream:
            shape = (len(self.stream), chunk.where.stop - chunk.where.start)
            mean = {name: self._mean @ np.ascontiguousarray(np.broadcast_to(part, shape)) for name, part in chunk.mean.items()}
            yield Chunk(chunk.where, mean, tuple(self._of_mean(source) for source in chunk.sources))

    def _of_mean(self, source: Source) -> Source:
        """What is drawn afresh of the mean: readings are independent, what several of them share is one draw."""
        variance, n = source.full_variance, len(self.stream)
        if source.groups is None:
            alone = self._mean.multiply(1 / (self.plan.combinations * self._each))
            if len(variance) == 1:
                return Source(source.component, variance * alone[:1].sum())
            return Source(source.component, np.asarray(alone @ variance))
        sd = np.broadcast_to(np.sqrt(variance) * (1.0 if source.sign is None else source.sign), (n, variance.shape[1]))
        entries = self._mean.tocoo()
        pair = entries.row.astype(np.int64) * (int(source.groups.max()) + 2) + source.groups[entries.col] + 1
        pairs, code = np.unique(pair, return_inverse=True)
        within = sparse.csr_matrix((entries.data, (code, entries.col)), shape=(len(pairs), n))
        row = np.zeros(len(pairs), dtype=int)
        row[code] = entries.row
        drawn = pairs % (int(source.groups.max()) + 2) > 0
        whole = sparse.csr_matrix((drawn.astype(float), (row, np.arange(len(pairs)))), shape=(len(self), len(pairs)))
        return Source(source.component, np.asarray(whole @ np.square(within @ sd)))


def averaged(
    posterior: Posterior, table: Table | None, new: str, average: Mapping[str, int], draws: int | None = None, asked: str = ""
) -> Averaged:
    """The stream of the mean that `average` says (see `planned`); of the rows of the fit where there is no table."""
    rows = posterior.problem.table if table is None else table
    return Averaged(posterior, rows, new, planned(average, rows, asked or new, new), draws)


def _expanded(table: Table, plan: Plan, readings: int, inside: Mapping[str, tuple[str, ...]]) -> tuple[Table, np.ndarray]:
    """Every row once for each of a plan's combinations, and the row that each comes from; a level `inside` others is another in each."""
    counts = {**plan.levels, READING: readings}
    size = int(np.prod(list(counts.values()), dtype=int))
    origin = np.repeat(np.arange(len(table)), size)
    which = dict(zip(counts, np.unravel_index(np.tile(np.arange(size), len(table)), list(counts.values())), strict=True))
    out = table.take(origin, np.ones(len(origin)))
    for level in plan.levels:
        column = table.column_of(level)
        if column is not None:
            before = table.labels(column)[origin] if level == table.piece else np.full(len(origin), level, dtype=object)
            labels = [f"{label} ({k + 1} of a plan)" for label, k in zip(before, which[level], strict=True)]
            for outer in inside.get(level, ()):
                whose = table.labels(table.column_of(outer) or "")[origin] if outer == table.piece else np.full(len(origin), outer)
                labels = [f"{label} in {w} ({k + 1})" for label, w, k in zip(labels, whose, which[outer], strict=True)]
            out.columns[column] = np.array(labels, dtype=object)
    piece = which.get(ROW, np.zeros(len(origin), dtype=int))
    out.single = np.arange(len(origin)) if table.piece != ROW else origin * plan.levels.get(ROW, 1) + piece
    return out, origin


def _read_once(posterior: Posterior, rows: Table, origin: np.ndarray) -> None:
    """A characterisation of a piece stays one: it is left on the first of the readings that a row has become."""
    for state in (state for term in posterior.problem.terms for state in term.states):
        column, level = state.of[:2]
        if column in rows.columns:
            codes = rows.level(level).codes
            first = np.zeros(len(rows), dtype=bool)
            first[np.unique(np.column_stack([origin, codes]), axis=0, return_index=True)[1]] = True
            rows.columns[column] = np.where(first, rows.columns[column], np.nan)
