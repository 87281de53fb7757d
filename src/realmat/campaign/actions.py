"""From actions to the rows that they fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from realmat.attribution.calculations import Runs
from realmat.attribution.candidates import Lines, Rows, States, latent_labels, new_pieces
from realmat.attribution.covariances import locate
from realmat.campaign.packing import lines, packed
from realmat.errors import DataError, ModelError
from realmat.table.given import as_given
from realmat.table.reading import UNITS
from realmat.table.table import ROW, Table

if TYPE_CHECKING:
    from realmat.fit import Fit
    from realmat.joint import Joint
    from realmat.model import Model

NOTES = ("action", "what", "measure", "unit", "cost", "gain")
"""Columns that say what a row is for; a model's columns follow them."""


def check_names(model: Model | Joint) -> None:
    """Refuse a model that reads columns of names that a campaign uses itself.

    Raises
    ------
    realmat.ModelError
        With these columns.
    """
    taken = [name for name in NOTES if name in {c.name for c in model.columns()}]
    if taken:
        raise ModelError(f"the model reads {', '.join(map(repr, taken))}, a column that a campaign uses itself; call it something else.")


def fillable(fit: Fit, lines: Sequence[Lines]) -> list[Lines]:
    """Actions whose result is a row of the table. Where a row is a piece of its own, another row is another piece: it repeats nothing."""
    alone = fit.problem.table.piece == ROW and bool(new_pieces(fit.posterior))
    return [line for line in lines if not (_level(fit, line) == ROW or (alone and line.kind == "repeat"))]


def _level(fit: Fit, line: Lines) -> str:
    """Whose state or calculation is measured; empty for a response."""
    if isinstance(line, Runs):
        return line.level
    return str(line.block.level) if isinstance(line, States) else ""


def frame(fit: Fit, lines: Sequence[Lines], chosen: Sequence[int], notes: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """What is known of the rows that actions fill, in the user's units, behind what is noted of each; `chosen` among all the `lines`."""
    taken = len(fit.problem.table.whole)
    made = [_row(fit, *_at(lines, k), taken + n + 1) for n, k in enumerate(chosen)]
    table = pd.DataFrame([row for _, row in made])
    given = {**fit.declared.units, **fit.problem.table.whole.units}
    columns, said = as_given({str(name): table[name].to_numpy() for name in table.columns}, fit.declared.columns(), given)
    noted = pd.DataFrame([{**note, "measure": m, "unit": said.get(m, "")} for (m, _), note in zip(made, notes, strict=True)])
    out = pd.concat([noted[list(NOTES)], pd.DataFrame(columns)], axis=1)
    for name in dict.fromkeys(m for m, _ in made):
        out[name] = np.nan if name not in out.columns else out[name]
    for n, k in enumerate(chosen):
        for name, mark in _limits(*_at(lines, k)).items():
            written = list(out[name])
            written[n] = f"{mark}{float(written[n]):.12g}"
            out[name] = pd.Series(written, dtype=object)
    out.attrs[UNITS] = {name: unit for name, unit in said.items() if name in out.columns}
    return out


def _at(lines: Sequence[Lines], k: int) -> tuple[Lines, int]:
    which, inside = locate(lines, k)
    return lines[which], inside


def _row(fit: Fit, line: Lines, inside: int, number: int) -> tuple[str, dict[str, Any]]:
    """The column that an action fills, and what is known of the row; a new piece gets the `number`-th new label."""
    if isinstance(line, Rows):
        table, row = line.stream.table, int(line.cells[inside])
        measure = line.measures or fit.problem.response
        known = _known(fit, table, row, measure, line.kind == "measure")
        piece = table.levels.get("specimen")
        if line.kind == "specimen" and piece is not None:
            known[piece] = f"new {piece} {number}"
        return measure, known | _expected(fit, measure, table, row)
    label, measure = _label(line, inside)
    table = fit.problem.table.whole
    level = table.level(_level(fit, line))
    row = int(np.flatnonzero(level.codes == next(i for i, v in enumerate(level.values) if v == label))[0])
    return measure, _known(fit, table, row, measure, False) | _expected(fit, measure)


def _label(line: Lines, inside: int) -> tuple[Any, str]:
    """Whose state is read or whose value is calculated, and the column that holds it."""
    if isinstance(line, States):
        return latent_labels(line.block)[1][line.places[inside]], line.measures
    assert isinstance(line, Runs)
    return line.labels[line.materials[inside]], line.kind


def _known(fit: Fit, table: Table, row: int, measure: str, every: bool) -> dict[str, Any]:
    """What the row has beside the column to be filled; unless `every`, no readings, which were told already."""
    models = [m for m in fit.declared.members if m.response == measure] or fit.declared.members
    wanted = {c.name for m in models for c in m.columns(response=False)}
    theory = {c.name for m in models for part in m.components if part.layer == "theory" for c in part.needs()}
    told = {c.name for m in models for c in m.columns(response=False) if c.kind == "number" and (c.missing or c.optional)} - theory
    left_out = {measure, *fit.declared.responses, *(() if every else told)}
    return {name: _plain(table, name, row) for name in table.columns if name in wanted and name not in left_out}


def _expected(fit: Fit, measure: str, like: Table | None = None, row: int = 0) -> dict[str, float]:
    """Standard uncertainties that the measurement is expected to have, where the model reads them: those of a row, else typical ones."""
    every = fit.problem.table.whole
    out = {}
    for spec in fit.declared.columns():
        if spec.like != measure or not spec.difference or spec.name not in every.columns:
            continue
        stated = np.nan if like is None or spec.name not in like.columns else float(like.numeric(spec.name)[row])
        typical = every.numeric(spec.name)
        out[spec.name] = stated if np.isfinite(stated) else float(np.median(typical[np.isfinite(typical)]))
    return out


def _limits(line: Lines, inside: int) -> dict[str, str]:
    """Columns of a candidate that hold a limit, and how that is written."""
    if not isinstance(line, Rows) or line.kind != "measure":
        return {}
    table, row = line.stream.table, int(line.cells[inside])
    return {name: "<" if side[row] < 0 else ">" for name, side in table.limits.items() if side[row]}


@dataclass(frozen=True)
class Told:
    """Rows that hold what was measured, and what each was for.

    Attributes
    ----------
    rows : DataFrame
        Without the columns that a campaign adds.
    what, actions : list of str
        "" and ``"measure"`` for a row that nobody asked for.
    costs : list of float
    """

    rows: pd.DataFrame
    what: list[str]
    actions: list[str]
    costs: list[float]

    @classmethod
    def of(cls, frame: pd.DataFrame, responses: Sequence[str]) -> Told:
        """Those rows of a table of `ask` that were filled, and rows of the user's own; what is still empty is left out.

        Raises
        ------
        realmat.DataError
            If a row has no column to fill, or a cost that is none; or if nothing was filled in.
        """
        notes = {n: frame[n] if n in frame.columns else pd.Series([None] * len(frame), frame.index) for n in NOTES}
        asked = [None if _empty(m) else str(m) for m in notes["measure"]]
        costs = pd.to_numeric(notes["cost"].where(~notes["cost"].map(_empty), 1.0), errors="coerce").astype(float)
        wrong = [f"row {k}: there is no column {m!r} to fill" for k, m in zip(frame.index, asked, strict=True) if m not in (None, *frame)]
        bad = ~(np.isfinite(costs) & (costs >= 0))
        wrong += [f"row {k}: a cost of {notes['cost'][k]!r} is none" for k in frame.index[bad]]
        if wrong:
            raise DataError("; ".join(wrong[:6]) + (f"; and {len(wrong) - 6} more." if len(wrong) > 6 else "."))
        readings = [c for c in dict.fromkeys([*responses, *(m for m in asked if m)]) if c in frame.columns]
        known = ~frame[readings].map(_empty)
        filled = [m is None or bool(known.loc[k].any()) for k, m in zip(frame.index, asked, strict=True)]
        if not any(filled):
            empty = ", ".join(str(w) for w in notes["what"][:6]) if len(frame) else "any row"
            raise DataError(f"nothing was filled in for {empty}; fill in the column that `measure` names, as far as it was measured.")

        def words(name: str, none: str) -> list[str]:
            return [none if _empty(v) else str(v) for v in notes[name][filled]]

        rows = frame[filled].drop(columns=[c for c in NOTES if c in frame.columns]).reset_index(drop=True)
        return cls(rows, words("what", ""), words("action", "measure"), list(costs[filled]))

    def without(self, told: set[tuple[str, str]]) -> Told:
        """Without rows that were told already, given by what they are for and their `lines`.

        Raises
        ------
        realmat.DataError
            If no row is left.
        """
        new = [pair not in told for pair in zip(self.what, lines(packed(self.rows)["rows"]), strict=True)]
        if not any(new):
            raise DataError(f"told already: {', '.join(dict.fromkeys(self.what))}; measured again, they need another ask().")
        left = np.flatnonzero(new)
        what, actions, costs = [self.what[k] for k in left], [self.actions[k] for k in left], [self.costs[k] for k in left]
        return Told(self.rows.iloc[left].reset_index(drop=True), what, actions, costs)


def _empty(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _plain(table: Table, name: str, row: int) -> Any:
    value = table.columns[name][row]
    return value.item() if isinstance(value, np.generic) else value
