"""Errors of known size that go together from row to row: a known correlation or covariance matrix of readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from realmat.errors import DataError, ModelError
from realmat.table.table import ROW, Table, rows_text
from realmat.terms.readings import rows_in
from realmat.terms.term import Coefficients

_ROUNDING = 1e-8  # of the largest element or eigenvalue
Rows = tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Known:
    """A correlation or covariance matrix of rows, as it was given.

    Attributes
    ----------
    rows : tuple
        Rows of the matrix, each a tuple of numbers; of a labelled one pairs of a label and its row.
    """

    rows: Rows

    @classmethod
    def of(cls, given: Any, what: str) -> Known | None:
        """Read an array, a DataFrame with labels of rows, or what `rows` was.

        Raises
        ------
        realmat.ModelError
            If it is no covariance matrix.
        """
        if given is None:
            return None
        labels: Sequence[Any] | None = None
        if hasattr(given, "columns") and hasattr(given, "index"):
            labels = [str(label) for label in given.index]
            if len(set(labels)) < len(labels) or labels != [str(label) for label in given.columns]:
                raise ModelError(f"{what}: correlation= is a DataFrame whose index and columns must be the same labels, each once.")
            given = given.to_numpy()
        elif isinstance(given, (tuple, list)) and given and _labelled(given[0]):
            labels, given = [str(label) for label, _ in given], [row for _, row in given]
        try:
            matrix = np.array(given, dtype=float)
        except (TypeError, ValueError):
            matrix = np.zeros(0)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
            raise ModelError(f"{what}: correlation= must be a square matrix of numbers, a row and a column for each row of the table.")
        problems = _wrong(matrix)
        if problems:
            raise ModelError(f"{what}: correlation= {'; '.join(problems)}.")
        rows: Rows = tuple(tuple(row) for row in ((matrix + matrix.T) / 2).tolist())
        return cls(rows if labels is None else tuple(zip(labels, rows, strict=True)))

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Labels of rows, where they were given."""
        return tuple(label for label, _ in self.rows) if _labelled(self.rows[0]) else None

    @cached_property
    def matrix(self) -> np.ndarray:
        """As it was given, shape (n, n)."""
        return np.array([row for _, row in self.rows] if self.labels else self.rows, dtype=float)

    @property
    def covariance(self) -> bool:
        """Whether it states the size of the errors too."""
        return not np.array_equal(np.diag(self.matrix), np.ones(len(self.matrix)))

    @cached_property
    def u(self) -> np.ndarray:
        """Standard uncertainties of a covariance matrix, shape (n,), in response units."""
        return np.sqrt(np.diag(self.matrix))

    @cached_property
    def _parts(self) -> tuple[sparse.csr_matrix, np.ndarray]:
        """Loadings of unit errors on independent normal ones, shape (n, k), and what of each is the row's own, a standard deviation.

        Rows that go together, directly or through others, are split as ``R = V (D - d) V' + d``, d the smallest eigenvalue.
        """
        sd = np.sqrt(np.diag(self.matrix))
        r = self.matrix / np.outer(sd, sd)
        count, group = connected_components(sparse.csr_matrix(np.abs(r) > 0), directed=False)
        own, blocks, order = np.ones(len(r)), [], []
        for g in range(count):
            rows = np.flatnonzero(group == g)
            order.append(rows)
            values, vectors = np.linalg.eigh(r[np.ix_(rows, rows)])
            least = max(values[0], 0.0) if values[0] > _ROUNDING * values[-1] else 0.0
            more = values - least > _ROUNDING * values[-1]
            own[rows] = np.sqrt(least)
            blocks.append(vectors[:, more] * np.sqrt(values[more] - least))
        loading = sparse.block_diag([sparse.csr_matrix(b) for b in blocks], format="csr")
        return loading[np.argsort(np.concatenate(order))], own

    @property
    def singular(self) -> bool:
        """Whether the errors of some rows follow from those of others."""
        return bool((self._parts[1] == 0).any())

    def bound(self, table: Table, name: str) -> Errors:
        """The errors of the rows of a table.

        Raises
        ------
        realmat.DataError
            If the matrix is not that of its rows.
        """
        table.level(ROW)  # every row its own: rows alike in all else have errors that are not
        index, n = table.whole.index, len(self.matrix)
        if self.labels is None:
            if n != len(index):
                raise DataError(
                    f"correlation= is {n} x {n}, but the table has {len(index)} rows. Give a row and a column for each, in the table's "
                    "order; or a DataFrame whose index and columns are labels of rows, which may leave out rows that go with no other."
                )
            return Errors(self, table, np.arange(n), f"{name}_correlated")
        known = {label: place for place, label in enumerate(self.labels)}
        place = np.array([known.get(str(label), -1) for label in index])
        found, times = np.unique(place[place >= 0], return_counts=True)
        if not len(found):
            raise DataError(f"correlation= names none of the table's rows: it has {rows_text(self.labels)}, the table {rows_text(index)}.")
        if (times > 1).any():
            raise DataError(f"correlation=: the table has several {rows_text(np.array(self.labels)[found[times > 1]])}; name rows apart.")
        return Errors(self, table, place, f"{name}_correlated")


@dataclass(frozen=True)
class Errors:
    """Errors that go together, bound to the table of a fit; `place` is where each of its rows stands in the matrix, or -1."""

    known: Known
    table: Table
    place: np.ndarray
    name: str

    @property
    def block(self) -> Coefficients:
        """The independent normal errors that they are made of."""
        size = self.known._parts[0].shape[1]
        return Coefficients(self.name, size, 1.0, dim=f"{self.name}_row", coords=np.arange(size), inner=True)

    def at(self, other: Table) -> np.ndarray:
        """Place of each row of another table in the matrix; -1 for readings that the fit has not seen."""
        here = rows_in(other, self.table)
        return np.where(here >= 0, self.place[np.maximum(here, 0)], -1)

    def stated(self, other: Table) -> np.ndarray:
        """Standard uncertainty by row that a covariance matrix states, in response units; 0 for none."""
        place = self.at(other)
        return np.where(place >= 0, self.known.u[np.maximum(place, 0)], 0.0)

    def split(self, other: Table, u: np.ndarray) -> tuple[sparse.csr_matrix, np.ndarray]:
        """Of rows of stated uncertainty u, on the scale of the link: loadings of their errors on `block`, and the u that is each row's own.

        Raises
        ------
        realmat.DataError
            If one that goes with others states none.
        """
        place, (loading, own) = self.at(other), self.known._parts
        there = np.maximum(place, 0)
        bare = (place >= 0) & (own[there] < 1) & (u == 0)
        if bare.any():
            raise DataError(f"correlation=: {rows_text(other.index[bare])}: a reading whose error goes with others needs a stated u.")
        weight = np.where(place >= 0, u, 0.0)
        return sparse.csr_matrix(sparse.diags(weight) @ loading[there]), u * np.where(place >= 0, own[there], 1.0)


def _labelled(row: Any) -> bool:
    return isinstance(row, (tuple, list)) and len(row) == 2 and isinstance(row[0], str)


def _wrong(matrix: np.ndarray) -> list[str]:
    """What a matrix has that no covariance matrix has."""
    if not np.isfinite(matrix).all():
        return ["holds numbers that are not finite"]
    size, out = float(np.abs(matrix).max()), []
    if not np.allclose(matrix, matrix.T, atol=_ROUNDING * size):
        out.append("is not symmetric")
    diagonal = np.diag(matrix)
    if not (diagonal > 0).all():
        return [*out, "needs a positive diagonal: ones of a correlation matrix, variances of a covariance matrix"]
    unit = matrix / np.sqrt(np.outer(diagonal, diagonal))
    values = np.linalg.eigvalsh((unit + unit.T) / 2)
    if values[0] < -_ROUNDING * max(values[-1], 1.0):
        out.append(f"has a negative eigenvalue ({values[0]:.2g} as a correlation matrix), so it is no covariance of anything")
    return out


def refused(known: Known, told: Mapping[str, Any]) -> list[str]:
    """Why a known matrix cannot stand beside other arguments of a noise; `told` holds these by name."""
    out = []
    if known.covariance and told["u"] is not None:
        out.append("correlation= has no ones on its diagonal, so it is a covariance and states u itself; leave u= out or scale it to ones")
    if not known.covariance and told["u"] is None:
        out.append("correlation= is that of stated uncertainties, which u= must give")
    if told["scale"] is False and known.singular:
        out.append(
            "correlation= is singular: errors of some rows follow from those of others, and without an inferred scale no noise is left. "
            "Take scale=True, or common= for an error that rows share"
        )
    both = [name for name in ("nu", "kept_above", "kept_below", "dof", "count") if told[name] is not None and told[name] is not False]
    if both:
        out.append(f"correlation= is of normal errors of single readings and does not go with {', '.join(f'{name}=' for name in both)}")
    return out
