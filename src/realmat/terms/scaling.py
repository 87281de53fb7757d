"""Typical magnitudes of a table, from which default priors are scaled.

They are those of all rows, computed from cells: rows alike in all but the response count as one row of their mean, beside what they
scatter around it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from realmat.errors import DataError
from realmat.table.table import Table
from realmat.terms.component import Component, Scale
from realmat.terms.problem import link_values

_LEAST_RESIDUAL = 1e-3  # of the response's spread: a theory may follow the response to rounding


def scale_of(
    rows: Table,
    cells: Table,
    g: np.ndarray,
    measured: tuple[np.ndarray, np.ndarray, np.ndarray],
    link: str,
    components: Sequence[Component],
) -> Scale:
    """Magnitudes of g(y) for default priors.

    Parameters
    ----------
    rows, cells : Table
        All rows, and one for each group of rows alike in all but the response.
    g : array of shape (rows,)
        The response on the scale of the link.
    measured : tuple of three arrays of shape (cells,)
        Its number, mean and centred sum of squares by cell (`realmat.table.table.statistics`).
    link : str
    components : sequence of Component

    Raises
    ------
    realmat.DataError
        Where a column has no place on the scale on which its component works, with every row.
    """
    each = rows.count, g, np.zeros(len(rows)) if rows.within is None else rows.within
    alike = float(np.ptp(g)) == 0 and not each[2].any()
    if len(cells) < len(rows):
        try:
            return _magnitudes(cells, measured, len(rows), alike, link, components)
        except DataError:  # told of the first row of each cell
            pass
    return _magnitudes(rows, each, len(rows), alike, link, components)


def _magnitudes(
    table: Table, measured: tuple[np.ndarray, ...], rows: int, alike: bool, link: str, components: Sequence[Component]
) -> Scale:
    """The same from one table; where all of the response is `alike`, only its size can say what is much; of a logarithm it says nothing."""
    count, g, within = measured
    named = [getattr(c, "column", None) for c in components if c.layer == "theory"]
    theory = tuple(name for name in named if name and name in table.columns)
    inside = float(np.sum(within) / np.sum(count))  # variance within what each row stands for
    level = float(g[0] + np.average(g - g[0], weights=count))
    centred = g - level

    def sd(values: np.ndarray) -> float:
        return float(np.sqrt(np.average((values - np.average(values, weights=count)) ** 2, weights=count) + inside))

    spread = (link == "identity" and abs(level)) or 1.0 if alike else sd(centred)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = [link_values(link, table.numeric(c)) for c in theory]
    columns = [x - np.mean(x) for x in columns if np.all(np.isfinite(x)) and np.ptp(x) > 0]
    residual = spread
    if columns and rows > len(columns) + 1 and not alike:
        x, root = np.column_stack([x / np.std(x) for x in columns]), np.sqrt(count)
        x = x - np.average(x, axis=0, weights=count)
        residual = sd(centred - x @ np.linalg.lstsq(x * root[:, None], centred * root, rcond=None)[0])
    residual = max(residual, _LEAST_RESIDUAL * spread)
    shift = residual * float(np.sqrt(sum(c.remoteness(table) ** 2 for c in components)))
    stands = {c.label: c.stands_for(table) for c in components if c.layer == "theory"}
    carrier = next((label for label, value in stands.items() if value is None), "")
    centre = level - sum(value for value in stands.values() if value is not None)
    counted = {name: _moments(table.numeric(name), count) for c in components for name in c.counted}
    return Scale(residual, level, spread, shift, theory, carrier, centre, counted)


def _moments(x: np.ndarray, count: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation over all rows for which a row stands; 1 for a column that does not vary."""
    mean = float(x[0] + np.average(x - x[0], weights=count))
    return mean, float(np.sqrt(np.average((x - mean) ** 2, weights=count))) or 1.0
