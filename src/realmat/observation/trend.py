"""Noise that grows or falls with columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from realmat.errors import DataError
from realmat.table.table import Table
from realmat.terms.component import Scale, hyper
from realmat.terms.priors import Prior
from realmat.terms.term import Function, Param, stored_name


@dataclass(frozen=True)
class Trend:
    """Noise that grows with columns: ``scale_i = scale * exp(sum over k: slope_k (x_ik - mean of x_k))``.

    A log-linear model of the dispersion (Harvey, Econometrica 44, 461, 1976; Smyth, J. R. Stat. Soc. B 51, 47, 1989). Means are those over
    the rows of the fit, where `scale` is what it would be without a trend.

    Attributes
    ----------
    columns : tuple of str
    means : array of shape (columns,)
    params : tuple of Param
        ``<name>_slope_<column>``, by default N(0, 1 / sd of the column).
    slopes : tuple of Function
    """

    columns: tuple[str, ...]
    means: np.ndarray
    params: tuple[Param, ...]
    slopes: tuple[Function, ...]

    @classmethod
    def of(cls, name: str, columns: tuple[str, ...], slope: Any, scale: Scale, table: Table) -> Trend:
        """A trend in columns; `slope` gives a prior from a default one.

        Raises
        ------
        realmat.DataError
            If a column is the same everywhere.
        """
        alike = [c for c in columns if len(table) and np.ptp(table.numeric(c)) == 0]
        if alike:
            what = ", ".join(map(repr, alike))
            raise DataError(f"column {what}: every value is the same, so that no noise is seen to grow with it; leave it out.")
        made = [hyper(f"{name}_slope_{stored_name(c)}", slope(Prior("Normal", mu=0.0, sigma=1 / scale.columns[c][1]))) for c in columns]
        means = np.array([scale.columns[c][0] for c in columns])
        return cls(columns, means, tuple(q for params, _ in made for q in params), tuple(value for _, value in made))

    def on(self, table: Table, group: np.ndarray, scales: Function) -> tuple[np.ndarray, Function]:
        """Groups of rows that share a scale and the columns, and the scales of these groups; rows without a scale stay without."""
        if not self.columns:
            return group, scales
        away = np.column_stack([table.numeric(c) for c in self.columns]) - self.means
        cases, own = np.unique(np.column_stack([group, away]), axis=0, return_inverse=True)
        base, x = np.maximum(cases[:, 0].astype(int), 0), cases[:, 1:]

        def grown(p: Any, xp: Any) -> Any:
            slopes = [value(p, xp) for value in self.slopes]
            return scales(p, xp)[base] * xp.exp(xp.tensordot(x, xp.stack(slopes), 1))

        return np.where(group < 0, -1, own.reshape(-1)), grown
