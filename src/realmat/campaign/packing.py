"""Tables as lines of a record hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from realmat.table.reading import UNITS

if TYPE_CHECKING:
    import pandas as pd


def packed(frame: pd.DataFrame) -> dict[str, Any]:
    """Rows as JSON knows them: columns of numbers, text and nothing, and the units that the frame says."""
    rows = {str(name): [None if v != v or v is None else v for v in column.astype(object)] for name, column in frame.items()}
    return {"rows": rows, "units": dict(frame.attrs.get(UNITS, {}))}


def lines(rows: Mapping[str, Sequence[Any]]) -> list[str]:
    """Each of some packed rows by itself, as text that is the same for the same values."""
    each = [{name: _number(column[k]) for name, column in rows.items()} for k in range(len(next(iter(rows.values()), ())))]
    return [json.dumps({n: v for n, v in row.items() if v is not None}, sort_keys=True, default=plain) for row in each]


def _number(value: Any) -> Any:
    """A whole number is one number, however it is held."""
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def plain(value: Any) -> Any:
    """What JSON does not know: NumPy's numbers and arrays as they are, all else as text."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)


def unpacked(step: Mapping[str, Any]) -> pd.DataFrame:
    """Inverse of `packed`, of a step that holds it."""
    import pandas as pd

    out = pd.DataFrame(step["rows"])
    out.attrs[UNITS] = dict(step.get("units", {}))
    return out
