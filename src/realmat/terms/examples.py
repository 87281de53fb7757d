"""Example tables made from nothing but what a component says it needs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from realmat.table.table import Column
from realmat.terms.component import Component

LEVELS = ("material", "specimen", "lab")


def example_table(component: Component, rows: int = 120, seed: int = 1) -> pd.DataFrame:
    """A table with every column that a component needs, columns for the three levels, and a response `y`.

    Two rows a specimen, three specimens a material, four labs. Numbers stay within the component's bounds; columns that may have gaps
    are empty for 40 % of the specimens; a column of u is a tenth of what it belongs to; a detection limit stands in a few empty rows.

    Parameters
    ----------
    component : Component
    rows : int
    seed : int
    """
    rng = np.random.default_rng(seed)
    specimen = np.arange(rows) // 2
    table = {"material": specimen // 3, "specimen": specimen, "lab": rng.integers(0, 4, rows)}
    table = {name: np.array([f"{name[0]}{code}" for code in codes], dtype=object) for name, codes in table.items()}
    wanted = {column.name: column for column in component.needs() if column.name not in LEVELS}
    for name, column in wanted.items():
        if column.kind == "label":
            table[name] = rng.choice(list("ABCDE"), rows)[specimen]
        elif column.like not in wanted:
            table[name] = _numbers(column, specimen, rng)
    for name, column in wanted.items():
        if column.kind == "number" and column.like in wanted:
            table[name] = _belonging(column, wanted[column.like], table, rng)
    return pd.DataFrame({**table, "y": np.exp(rng.normal(1.0, 0.3, rows))})


def _numbers(column: Column, specimen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    low, high = column.lower, column.upper
    if low is not None and high is not None:
        values = low + (high - low) * rng.uniform(0.05, 0.6, len(specimen))
    elif low is not None:
        values = low + np.exp(rng.normal(1.0, 0.6, len(specimen)))
    else:
        values = rng.normal(1.0, 1.0, len(specimen))
    if not column.missing:
        return values
    values = values[specimen]
    values[rng.random(len(specimen))[specimen] < 0.4] = np.nan
    values[1::2] = np.nan  # each state is measured once
    return values


def _belonging(column: Column, owner: Column, table: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    values = np.asarray(table[owner.name], dtype=float)
    if column.difference:
        return 0.1 * np.abs(values)
    limit = np.full(len(values), np.nan)
    empty = np.flatnonzero(np.isnan(values))[::7]
    limit[empty] = np.nanquantile(values, 0.3)
    return limit
