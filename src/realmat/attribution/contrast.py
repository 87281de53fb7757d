"""Differences and functions of unknowns, with their uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from realmat.errors import ModelError
from realmat.support.intervals import interval, words
from realmat.support.numbers import significant
from realmat.support.shown import Shown
from realmat.terms.component import reject_unknown


@dataclass(frozen=True)
class Derived(Shown):
    """Quantities that follow from the posterior.

    Attributes
    ----------
    table : DataFrame
        Index `quantity`, columns `value` (posterior mean), `u` (its standard uncertainty), `lb`, `ub`, and `above`, the probability of
        being positive.
    draws : DataFrame
        One column for each quantity, one row for each posterior draw.
    about : str
        What they are, in a few words.
    """

    table: pd.DataFrame
    draws: pd.DataFrame
    about: str

    @property
    def title(self) -> str:
        """What they are."""
        return self.about

    @cached_property
    def text(self) -> str:
        """What the numbers say, in a few sentences."""
        t = self.table
        said = [
            f"{name} is {significant(float(row['value']))} with u = {significant(float(row['u']))}." for name, row in t.head(6).iterrows()
        ]
        clear = [str(name) for name, row in t.iterrows() if row["lb"] > 0 or row["ub"] < 0]
        if len(t) > 6:
            said.append(f"{len(clear)} of {len(t)} are clearly different from zero.")
        return " ".join(said) + f" Bounds are {words()}."


def contrast(posterior: xr.Dataset, variable: str, values: Sequence[Any] | None = None) -> Derived:
    """Differences between values of one variable: laboratories, specimens, slopes.

    Parameters
    ----------
    posterior : Dataset
        With dims chain and draw.
    variable : str
        A variable with one more dimension.
    values : sequence, optional
        Labels; with two, the first minus the second; with more, every pair. By default each label against the mean of all.

    Raises
    ------
    realmat.ModelError
        For an unknown variable or label, or a variable that is one number.
    """
    reject_unknown([variable], [str(name) for name in posterior.data_vars], "variable")
    array = posterior[variable]
    dims = [str(dim) for dim in array.dims if dim not in ("chain", "draw")]
    if len(dims) != 1:
        raise ModelError(f"{variable!r} has {'no' if not dims else 'more than one'} dimension to take differences along.")
    dim = dims[0]
    flat = array.transpose("chain", "draw", dim).values.reshape(-1, array.sizes[dim])
    labels = [str(label) for label in array[dim].values]
    if values is None:
        made = {f"{label} - mean": flat[:, k] - flat.mean(axis=1) for k, label in enumerate(labels)}
        return summarised(made, f"{variable}: departures from the mean")
    wanted = [str(value) for value in values]
    reject_unknown(wanted, labels, f"labels of {variable}")
    if len(set(wanted)) < 2:
        raise ModelError(f"a difference needs two different labels of {variable!r}, not {', '.join(wanted) or 'none'}.")
    made = {f"{a} - {b}": flat[:, labels.index(a)] - flat[:, labels.index(b)] for a, b in combinations(wanted, 2)}
    return summarised(made, f"{variable}: differences")


def derive(posterior: xr.Dataset, function: Callable[[xr.Dataset], Any], name: str = "derived") -> Derived:
    """A function of unknowns, draw by draw.

    Parameters
    ----------
    posterior : Dataset
        With dims chain and draw.
    function : callable
        Takes the posterior as a Dataset; gives an array with dims chain and draw and at most one more, or a mapping of names to such.
    name : str
        Of the quantity, where the function gives one.

    Raises
    ------
    realmat.ModelError
        If the function fails, or gives something else.
    """
    try:
        found = function(posterior)
    except Exception as error:  # whatever a user's function does
        raise ModelError(f"the function to derive fails: {type(error).__name__}: {error}.") from error
    pairs = found.items() if isinstance(found, (Mapping, xr.Dataset)) else [(name, found)]
    made: dict[str, np.ndarray] = {}
    for key, value in pairs:
        if not isinstance(value, xr.DataArray) or not {"chain", "draw"} <= set(value.dims) or value.ndim > 3:
            raise ModelError(f"{key!r}: a derived quantity has the dims chain and draw, and at most one more; this is {_shape(value)}.")
        rest = [dim for dim in value.dims if dim not in ("chain", "draw")]
        flat = value.transpose("chain", "draw", *rest).values.reshape(value.sizes["chain"] * value.sizes["draw"], -1)
        labels = [f"{key}[{label}]" for label in value[rest[0]].values] if rest else [str(key)]
        made |= dict(zip(labels, flat.T, strict=True))
    return summarised(made, "derived quantities")


def summarised(draws: Mapping[str, np.ndarray], title: str) -> Derived:
    """Mean, u, bounds and the probability of being positive of named draws."""
    values = np.array(list(draws.values()), dtype=float)
    bounds = interval(values)
    table = pd.DataFrame(
        {
            "value": values.mean(axis=1),
            "u": values.std(axis=1),
            "lb": bounds[:, 0],
            "ub": bounds[:, 1],
            "above": (values > 0).mean(axis=1),
        },
        index=pd.Index(list(draws), name="quantity"),
    )
    return Derived(table, pd.DataFrame(values.T, columns=list(draws)), title)


def _shape(value: Any) -> str:
    return f"an array with dims {tuple(value.dims)}" if isinstance(value, xr.DataArray) else type(value).__name__
