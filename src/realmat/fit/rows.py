"""New rows, and what they hold of other properties than the one to predict.

A piece that the fit has not seen is known by all that was measured of it: its rows join the table of the fit, and its coefficients are
conditioned on them exactly. A piece that the fit has seen keeps its posterior, in which its measurements are already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from realmat.joint import Joint
from realmat.posterior.conditioned import conditioned
from realmat.posterior.draws import Posterior
from realmat.table.table import ROW, Table
from realmat.terms.readings import rows_in

if TYPE_CHECKING:
    import pandas as pd

_RENAMED = {"observation": (), "specimen": ("specimen",), "material": ("specimen", "material")}


def seen_with(joint: Joint, posterior: Posterior, data: pd.DataFrame, new: str, seed: int) -> tuple[Posterior, Table, str]:
    """What to predict rows from: the posterior, told what the rows hold of other properties, the validated rows, and what is new then.

    Parameters
    ----------
    joint : Joint
    posterior : Posterior
        Seen through the property to predict.
    data : DataFrame
    new : {"observation", "specimen", "material"}
        What counts as new even where the fit has seen it.
    seed : int
    """
    response = posterior.problem.response
    table = joint.prediction_table(data, response, posterior.problem.table.whole.units)
    others = [r for r in joint.responses if r != response and r in table.columns]
    whole = posterior.problem.table.whole
    fresh = np.ones(len(table), dtype=bool) if new in _RENAMED and new != "observation" else ~_known(table, whole)
    told = np.any([np.isfinite(table.numeric(r)) for r in others], axis=0) if others else np.zeros(len(table), dtype=bool)
    piece = np.arange(len(table)) if table.piece == ROW else table.level(table.piece).codes
    use = np.isin(piece, piece[fresh & told])
    if not use.any():
        return posterior, table, new
    rows = _unlike(table, _RENAMED[new])
    longer = joint.extended(posterior.problem, _measured(joint, rows.take(np.flatnonzero(use)), response))
    return conditioned(posterior, longer, seed), rows, "observation"


def _known(table: Table, whole: Table) -> np.ndarray:
    """Whether the fit has seen the piece of each row."""
    if table.piece == ROW:
        return rows_in(table, whole) >= 0
    return np.asarray(table.codes_in(table.piece, whole.level(table.piece).values) >= 0)


def _unlike(table: Table, levels: tuple[str, ...]) -> Table:
    """The same rows under labels that no row of the fit has, and values of levels that are new whatever the fit has seen."""
    out = table.take(np.arange(len(table)))
    for level in levels:
        column = table.levels.get(level)
        if column is not None:
            out.columns[column] = np.array([f"{label} (new)" for label in table.labels(column)], dtype=object)
    out.index = np.array([f"{label} (new row)" for label in table.index], dtype=object)
    return out


def _measured(joint: Joint, rows: Table, response: str) -> Table:
    """What the rows tell: without the property to predict, and without readings that are only limits."""
    rows.columns.pop(response, None)
    below = {b for m in joint.members for c in m.components if isinstance(b := getattr(c, "below", None), str)}
    for name, values in list(rows.columns.items()):
        if name in below:
            rows.columns[name] = np.full(len(rows), np.nan)
        elif name in rows.limits:
            rows.columns[name] = np.where(rows.limit(name), np.nan, values)
    rows.limits = {}
    return rows
