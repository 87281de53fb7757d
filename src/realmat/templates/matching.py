"""Columns of a user's table matched with those of a template: by name, label, unit and known synonyms, always said, never silently."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from realmat.errors import DataError, ModelError
from realmat.table import units
from realmat.table.labels import plain
from realmat.table.notation import limit
from realmat.table.reading import ReadTable

if TYPE_CHECKING:
    from realmat.templates.template import Column

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "lab": ("laboratory", "lab id", "lab no", "lab code", "labor", "laboratoire", "institute", "participant"),
    "specimen": ("sample", "specimen id", "sample id", "sample no", "specimen no", "test piece", "coupon", "probe", "piece", "éprouvette"),
    "replicate": ("repeat", "repetition", "rep", "replicate no", "wiederholung", "test no"),
    "material": ("alloy", "material id", "werkstoff", "matériau"),
    "formula": ("composition", "compound", "chemical formula", "reduced formula"),
    "heat": ("melt", "cast", "heat no", "schmelze"),
    "paper": ("doi", "source", "reference", "ref"),
    "smiles": ("canonical smiles",),
    "yield_strength": ("ys", "yield stress", "rp0.2", "rp0,2", "rp02", "σy", "sigma_y", "proof stress", "proof strength", "streckgrenze"),
    "tensile_strength": ("uts", "rm", "ultimate tensile strength", "ultimate strength", "zugfestigkeit"),
    "fatigue_strength": ("fatigue limit", "endurance limit", "dauerfestigkeit"),
    "hardness": ("vickers hardness", "hv", "vickers", "härte"),
    "grain_size": ("grain diameter", "mean grain size", "average grain size", "korngröße"),
    "temperature": ("test temperature", "temp", "t", "temperatur"),
    "band_gap": ("gap", "eg", "bandgap", "optical gap", "bandlücke"),
    "formation_enthalpy": ("enthalpy of formation", "heat of formation", "formation energy", "δhf", "dhf"),
    "hydration_free_energy": ("free energy of hydration", "δghyd", "dg hyd", "solvation free energy"),
    "dielectric": ("dielectric constant", "relative permittivity", "permittivity", "εr", "epsilon"),
    "processing": ("process", "processing route", "route", "condition"),
}
"""Other names of what templates call their columns."""


def match(table: ReadTable, wanted: Sequence[Column], template: str) -> tuple[ReadTable, list[str]]:
    """The table under the template's names and in its units, and sentences that say which column is which.

    Raises
    ------
    realmat.DataError
        If several columns could be the same one, or a unit does not fit: every such column, with the way out.
    """
    names, said, problems = _names(table, wanted)
    if problems:
        raise DataError(f"columns of {table.source} could be more than one of template {template!r}.", problems)
    found, converted = _converted(table.renamed(names), wanted, template)
    used = {c.name for c in wanted} | {f"{c.name}_u" for c in wanted}
    rest = [name for name in found.frame.columns if name not in used]
    if (said or converted) and rest:
        converted.append(f"Other columns: {', '.join(map(repr, rest))}.")
    return found, said + converted


def _names(table: ReadTable, wanted: Sequence[Column]) -> tuple[dict[str, str], list[str], list[str]]:
    free = [name for name in table.frame.columns if name not in {c.name for c in wanted}]
    open_ = [c for c in wanted if c.name not in table.frame.columns]
    names: dict[str, str] = {}
    said, problems = [], []
    for column in open_:
        known = {_bare(text) for text in _called(column)}
        found = [name for name in free if _bare(name) in known and name not in names]
        if len(found) > 1:
            problems.append(
                f"{column.name!r} could be {' or '.join(map(repr, found))}: rename one, with --rename '{found[0]}={column.name}'."
            )
        elif found:
            names[found[0]] = column.name
            said.append(f"Column {found[0]!r} is taken as {column.name!r} ({column.meaning}).")
    for column in [c for c in open_ if c.required and c.name not in names.values() and c.unit]:
        alike = [name for name in free if name not in names and not name.endswith("_u") and _fits(table.units.get(name, ""), column.unit)]
        rivals = [c for c in open_ if c.required and c.name not in names.values() and c.unit and _fits(c.unit, column.unit)]
        if len(alike) == 1 and len(rivals) == 1:
            names[alike[0]] = column.name
            unit = table.units[alike[0]]
            said.append(f"Column {alike[0]!r} is taken as {column.name!r} ({column.meaning}): the one in {unit}. --rename says otherwise.")
    return names, said, problems


def _called(column: Column) -> Iterable[str]:
    """What a column of a template may be called."""
    yield from (column.name, column.meaning, re.sub(r"^the ", "", column.meaning), *column.synonyms, *SYNONYMS.get(column.name, ()))
    if column.unit and _bare(column.name).endswith(_bare(column.unit)):
        yield _bare(column.name)[: -len(_bare(column.unit))] or column.name


def _bare(text: str) -> str:
    return re.sub(r"[\W_]+", "", plain(text).casefold())


def _fits(unit: str, other: str) -> bool:
    try:
        return bool(unit) and units.parse(unit).dimensionality == units.parse(other).dimensionality
    except ModelError:
        return False


def _converted(table: ReadTable, wanted: Sequence[Column], template: str) -> tuple[ReadTable, list[str]]:
    """Columns in the units of the template."""
    frame, stated = table.frame.copy(), dict(table.units)
    said, problems = [], []
    for column in wanted:
        for name, difference in ((column.name, False), (f"{column.name}_u", True)):
            unit = stated.get(name, "")
            if name not in frame or not unit or not column.unit or unit == column.unit:
                continue
            try:
                frame[name] = _in_unit(frame[name], unit, column.unit, difference)
            except ModelError as error:
                problems.append(f"{name!r} is in {unit!r}; the template needs {column.unit!r} ({error})")
                continue
            stated[name] = column.unit
            if units.parse(unit) != units.parse(column.unit):
                said.append(f"{name!r} is converted from {unit} to {column.unit}.")
    if problems:
        raise DataError(f"units of {table.source} do not fit template {template!r}.", problems)
    return dataclasses.replace(table, frame=frame, units=stated), said


def _in_unit(values: pd.Series, unit: str, other: str, difference: bool) -> pd.Series:
    """Numbers and limits converted; what is neither stays, to be refused with its row."""
    if units.parse(unit) == units.parse(other):
        return values
    if values.dtype != object:
        return pd.Series(units.convert(values.to_numpy(dtype=float), unit, other, difference), index=values.index)
    out = []
    for value in values:
        side, rest = limit(value)
        try:
            number = float(rest)
        except (TypeError, ValueError):
            out.append(value)
            continue
        changed = float(units.convert(np.array([number]), unit, other, difference)[0])
        out.append(f"{'<' if side < 0 else '>'}{changed!r}" if side else changed)
    return pd.Series(out, index=values.index, dtype=object)
