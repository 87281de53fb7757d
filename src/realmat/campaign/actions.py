"""From an action to the row that it fills."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from realmat.attribution.advise import locate
from realmat.attribution.candidates import Lines, Rows, States
from realmat.table.table import ROW

if TYPE_CHECKING:
    from realmat.fit import Fit

NOTES = ("action", "what", "measure", "cost", "gain")
"""Columns that say what a row is for; a model's columns follow them."""


def fillable(lines: Sequence[Lines]) -> list[Lines]:
    """Actions whose result is a row of the table."""
    return [line for line in lines if isinstance(line, Rows) or (isinstance(line, States) and line.block.level != ROW)]


def row(fit: Fit, lines: Sequence[Lines], k: int, number: int) -> dict[str, Any]:
    """What is known of the row that action `k` fills, with `measure`: the column to fill. A new piece gets the `number`-th new label."""
    which, inside = locate(lines, k)
    line = lines[which]
    if isinstance(line, States):
        return _state(fit, line, inside)
    assert isinstance(line, Rows)
    table, cell = line.stream.table, int(line.cells[inside])
    readings = {c.name for c in fit.model.columns() if c.kind == "number" and (c.missing or c.optional)}
    known = {name: _plain(v[cell]) for name, v in table.columns.items() if name not in readings}
    piece = table.levels.get("specimen")
    if line.kind == "specimen" and piece is not None:
        known[piece] = f"new {piece} {number}"
    return {**known, "measure": fit.problem.response, fit.problem.response: np.nan}


def _state(fit: Fit, line: States, inside: int) -> dict[str, Any]:
    """A reading of the state of a piece: its label, and those of the levels it lies in."""
    table, level = fit.problem.table.whole, str(line.block.level)
    state = next(s for t in fit.problem.all_terms for s in t.states if s.name == line.block.name)
    label = line.what[inside].removeprefix(f"{line.block.name} of {level} ")
    values = table.level(level).values
    code = next(i for i, v in enumerate(values) if str(v) == label)
    first = int(np.flatnonzero(table.level(level).codes == code)[0])
    known = {column: _plain(table.columns[column][first]) for column in table.levels.values()}
    return {**known, "measure": state.of[0], state.of[0]: np.nan}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
