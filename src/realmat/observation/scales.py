"""Scales of the noise: one for all rows, or one for each group of rows, drawn from a population of groups; and how they grow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from realmat.table.labels import find
from realmat.table.table import Table
from realmat.terms.component import PriorLike, hyper
from realmat.terms.priors import Prior, as_prior
from realmat.terms.term import DRAW, Function, Param

_GOLDEN = (5**0.5 - 1) / 2


def joint_labels(table: Table, by: tuple[str, ...]) -> np.ndarray:
    """One label for each row from one or several columns."""
    columns = [table.labels(table.column_of(name) or name) for name in by]
    if len(columns) == 1:
        return columns[0]
    return np.array([" / ".join(map(str, row)) for row in zip(*columns, strict=True)], dtype=object)


@dataclass(frozen=True)
class Scales:
    """Inferred scales of the noise: none, one, or one for each group of rows.

    Scales of groups are log-normal around a median, both inferred: ``log s_g ~ N(log_mean, log_sd^2)`` with `<name>_log_mean` ~
    N(log(sd of what theory leaves) - 0.7, 1.5^2) and `<name>_log_sd` ~ HalfNormal(1), a hierarchical model of variances (Gelman & Hill,
    Data Analysis Using Regression and Multilevel/Hierarchical Models, 2007, section 18.7). A prior that the user gives is the population
    instead. A group that the fit has not seen draws its scale from the population.

    Attributes
    ----------
    params : tuple of Param
    value : Function
        The vector of scales, shape (size,).
    size : int
    by : tuple of str
    values : array, optional
        Labels of the groups.
    fresh : callable, optional
        From psi and probabilities u of shape (n,) to scales of groups not seen.
    """

    params: tuple[Param, ...]
    value: Function
    size: int
    by: tuple[str, ...] = ()
    values: np.ndarray | None = None
    fresh: Any = None

    @classmethod
    def of(cls, name: str, scale: PriorLike | bool, size: float, table: Table, by: tuple[str, ...]) -> Scales:
        """Scales on a table; `size` is that of what theory leaves, for default priors."""
        if scale is False:
            return cls((), lambda p, xp: xp.zeros(0), 0)
        given = None if scale is True else as_prior(scale, name)
        if not by:
            params, value = hyper(name, Prior("HalfNormal", sigma=size) if given is None else given)
            return cls(params, lambda p, xp: xp.stack([value(p, xp)]) if xp is not np else np.array([value(p, xp)]), 1)
        values = np.asarray(pd.factorize(joint_labels(table, by))[1])
        dim = by[0] if len(by) == 1 else f"{name}_group"
        if isinstance(given, float):
            return cls((), lambda p, xp: np.full(len(values), given), len(values), by, values, lambda p, u: np.full(len(u), given))
        if given is not None:
            params, value = hyper(name, given, dim=dim, coords=values)
            return cls(params, value, len(values), by, values, lambda p, u: given.ppf(u))
        mean, sd = f"{name}_log_mean", f"{name}_log_sd"
        top = (Param(mean, Prior("Normal", mu=float(np.log(size)) - 0.7, sigma=1.5)), Param(sd, Prior("HalfNormal", sigma=1.0)))
        params, value = hyper(name, Prior("LogNormal", mu=mean, sigma=sd), dim=dim, coords=values)
        return cls((*top, *params), value, len(values), by, values, lambda p, u: np.exp(p[mean] + p[sd] * ndtri(u)))

    def group(self, table: Table) -> tuple[np.ndarray, int]:
        """The scale of each row (-1 for none; from `size` on those of groups not seen), and how many groups were not seen."""
        if self.size == 0:
            return np.full(len(table), -1), 0
        if self.values is None:
            return np.zeros(len(table), dtype=int), 0
        labels = joint_labels(table, self.by)
        codes = find(self.values, labels).copy()
        unseen = codes < 0
        codes[unseen], new = pd.factorize(labels[unseen])
        codes[unseen] += self.size
        return codes, len(new)

    def unseen(self, p: Any, count: int) -> np.ndarray:
        """Scales of groups not seen, at one posterior draw: over all draws, evenly from the population."""
        start = (int(p.get(DRAW, 0)) + 0.5) * _GOLDEN + np.arange(count) * 2**0.5
        return np.asarray(self.fresh(p, np.clip(start % 1.0, 1e-6, 1 - 1e-6)))
