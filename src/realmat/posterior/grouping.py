"""Which rows are taken together, and the same problem on other rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from realmat.errors import DataError, ModelError
from realmat.table.table import ROW, Table, rows_text, statistics
from realmat.terms.problem import Problem
from realmat.terms.term import Contribution, Function, Known, Noise, Piece, Rows, Scaled

if TYPE_CHECKING:
    import pandas as pd

type By = str | Sequence[Any] | np.ndarray | pd.Series
"""What is left out or averaged together: a level, a column, ``"observation"``, or one label for each row."""


@dataclass(frozen=True)
class Groups:
    """Which rows are left out together.

    Attributes
    ----------
    by : str
        Name of the grouping.
    labels : array of shape (groups,)
    of_row : int array of shape (rows,)
        Group of each row of the table.
    pair : int array of shape (rows,)
        Which (group, cell) pair each row belongs to; `group` and `cell` describe the pairs, and `count`, `mean` and `within` are the
        sufficient statistics of their measurements.
    """

    by: str
    labels: np.ndarray
    of_row: np.ndarray
    pair: np.ndarray
    group: np.ndarray
    cell: np.ndarray
    count: np.ndarray
    mean: np.ndarray
    within: np.ndarray

    @cached_property
    def buckets(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Groups of equal size together: (groups of shape (n,), pairs of shape (n, size))."""
        order = np.argsort(self.group, kind="stable")
        sizes = np.bincount(self.group, minlength=len(self.labels))
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        out = []
        for size in np.unique(sizes[sizes > 0]):
            which = np.flatnonzero(sizes == size)
            out.append((which, order[starts[which][:, None] + np.arange(size)]))
        return out


def groups_of(problem: Problem, by: By, rows: np.ndarray | None = None) -> Groups:
    """Group the rows of a problem by a level, by a column that the model uses, by ``"observation"``, or by one label for each row.

    With `rows` only the groups that hold some of them, each as a whole.

    Raises
    ------
    realmat.ModelError
        If there is no such grouping.
    realmat.DataError
        If rows have no label, or the labels are not one for each row.
    """
    table = problem.table
    name, codes, labels = _codes(table, by)
    kept = np.arange(len(table)) if rows is None else np.flatnonzero(np.isin(codes, codes[rows]))
    used, group_of_row = np.unique(codes[kept], return_inverse=True)
    key = group_of_row * len(problem.response_rows.y) + problem.cell[kept]
    pairs, pair = np.unique(key, return_inverse=True)
    of_row, pair_of_row = np.full(len(table), -1), np.full(len(table), -1)
    of_row[kept], pair_of_row[kept] = group_of_row, pair
    count, mean, within = statistics(table.take(kept), problem.g[kept], pair, len(pairs))
    cells = len(problem.response_rows.y)
    return Groups(name, labels[used], of_row, pair_of_row, pairs // cells, pairs % cells, count, mean, within)


def _codes(table: Table, by: By) -> tuple[str, np.ndarray, np.ndarray]:
    """What a grouping is called, the group of each row, and their labels."""
    if not isinstance(by, str):
        name, (codes, labels) = str(getattr(by, "name", None) or "group"), _factorize(np.asarray(by), len(table))
    elif by in ("observation", ROW):
        name, codes, labels = ROW, np.arange(len(table)), np.asarray(table.index)
    elif table.column_of(by) in table.columns:
        level = table.level(by)
        name, codes, labels = by, level.codes, level.values
    else:
        known = ["observation", *dict.fromkeys([*table.levels, *table.columns])]
        raise ModelError(
            f"cannot leave out by {by!r}: the model knows {', '.join(known)}. For another grouping, give one label for each row."
        )
    if (codes < 0).any():
        raise DataError(f"cannot leave out by {name!r}: no label in {rows_text(table.index[codes < 0])}.")
    return name, codes, labels


def some_groups(table: Table, by: By, most: int) -> np.ndarray | None:
    """Rows of groups chosen at random, each as a whole, until there are `most`; None where all together are no more.

    Raises
    ------
    realmat.ModelError, realmat.DataError
        As `groups_of`.
    """
    if len(table) <= most:
        return None
    _, codes, _ = _codes(table, by)
    order = np.random.default_rng(0).permutation(int(codes.max()) + 1)
    chosen = order[: int(np.searchsorted(np.cumsum(np.bincount(codes)[order]), most)) + 1]
    return np.flatnonzero(np.isin(codes, chosen))


def _factorize(labels: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    import pandas as pd

    if labels.shape != (size,):
        raise DataError(f"leaving out by labels needs one for each of the {size} rows of the fit, not an array of shape {labels.shape}.")
    codes, values = pd.factorize(labels)
    return codes, np.asarray(values)


def of_rows(problem: Problem, rows: np.ndarray) -> Problem:
    """The same problem with other response rows: `rows` of the table, some left out, some repeated. Priors and coefficients stay."""
    cells, cell = np.unique(problem.cell[rows], return_inverse=True)
    old = problem.response_rows
    count, mean, within = statistics(problem.table.take(rows), problem.g[rows], cell, len(cells))
    pieces = tuple((owner, _cut_piece(piece, cells)) for owner, piece in old.pieces)
    offsets = tuple((owner, _cut(f, cells)) for owner, f in old.offsets)
    noise = cut_noise(old.noise, cells)
    return dataclasses.replace(
        problem,
        table=problem.table.part(rows, None, problem.response, problem.link),
        cells=problem.cells.part(cells, count, problem.response, problem.link),
        cell=cell,
        response_rows=Rows(old.name, mean, pieces, offsets, noise, count, within),
        contributions=tuple(cut(c, cells) for c in problem.contributions),
        noise=cut_noise(problem.noise, cells),
    )


def _cut(function: Function, cells: np.ndarray) -> Function:
    def take(value: Any) -> Any:
        return value[cells] if getattr(value, "ndim", 0) == 1 and getattr(value, "shape", (0,))[0] != 1 else value

    if isinstance(function, Known):
        return Known(take(function.values))
    if isinstance(function, Scaled):
        return Scaled(function.scale, take(function.values))
    return lambda p, xp: take(function(p, xp))


def _cut_piece(piece: Piece, cells: np.ndarray) -> Piece:
    return Piece(piece.coefficients, piece.matrix[cells], None if piece.scale is None else _cut(piece.scale, cells))


def cut(contribution: Contribution, cells: np.ndarray) -> Contribution:
    """A contribution on some rows of its table."""
    nonlinear = contribution.nonlinear
    return Contribution(
        tuple(_cut_piece(piece, cells) for piece in contribution.pieces),
        None if contribution.offset is None else _cut(contribution.offset, cells),
        tuple(dataclasses.replace(fresh, groups=fresh.groups[cells], sd=_cut(fresh.sd, cells)) for fresh in contribution.fresh),
        None if nonlinear is None else lambda p, b, xp: nonlinear(p, b, xp)[cells],
        contribution.raw,
    )


def cut_noise(noise: Noise, cells: np.ndarray) -> Noise:
    """The noise of some rows."""
    return noise.take(cells)
