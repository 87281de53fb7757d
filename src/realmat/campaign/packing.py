"""Tables as lines of a record hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from realmat.table.reading import UNITS

if TYPE_CHECKING:
    import pandas as pd


def packed(frame: pd.DataFrame) -> dict[str, Any]:
    """Rows as JSON knows them: columns of numbers, text and nothing, and the units that the frame says."""
    rows = {str(name): [None if v != v or v is None else v for v in column.astype(object)] for name, column in frame.items()}
    return {"rows": rows, "units": dict(frame.attrs.get(UNITS, {}))}


def unpacked(step: Mapping[str, Any]) -> pd.DataFrame:
    """Inverse of `packed`, of a step that holds it."""
    import pandas as pd

    out = pd.DataFrame(step["rows"])
    out.attrs[UNITS] = dict(step.get("units", {}))
    return out
