"""Back from what a model works in to what the user wrote: units of columns, and limits such as "<20"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from realmat.table import units
from realmat.table.table import Column
from realmat.table.validated import merged


def as_given(frame: Mapping[str, np.ndarray], specs: Iterable[Column], given: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Columns in the units that a user gives them in, and the unit of every column that has one: the inverse of validation.

    Parameters
    ----------
    frame : mapping of column name to array of shape (rows,)
        As a `Table` holds them.
    specs : iterable of Column
        What the model needs.
    given : mapping of column name to str
        Units in which the user gives columns; any other is in the unit that the model works in.
    """
    out: dict[str, Any] = dict(frame)
    said: dict[str, str] = {}
    for spec in merged(specs):
        own = given.get(spec.name) or given.get(spec.like) or spec.unit
        if spec.kind != "number" or not own:
            continue
        said[spec.name] = own
        if spec.name in out and spec.unit and own != spec.unit:
            out[spec.name] = units.convert(out[spec.name], spec.unit, own, spec.difference)
    return out, said
