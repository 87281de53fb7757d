"""Left-out predictions as points of a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from realmat.report.charts import BARS
from realmat.report.words import number
from realmat.terms.term import LAYERS

if TYPE_CHECKING:
    from realmat.attribution.budget import Budget
    from realmat.terms.problem import Problem
    from realmat.validation.loo import LeftOut

MOST_POINTS = 3000
CAPTION = "Strokes from thick to thin: 2 u of theory, of theory and the real material, and of a whole measurement."


def points(left: LeftOut, budget: Budget, problem: Problem, places: Mapping[str, int]) -> tuple[pd.DataFrame, str]:
    """What `charts.parity` draws, and a sentence on what it leaves out.

    Parameters
    ----------
    left : LeftOut
    budget : Budget
        Of what was left out: it divides each row's predictive variance among the layers.
    problem : Problem
    places : mapping of piece to int
        Where each piece stands in the chooser of specimens.
    """
    rows, table = budget.rows, problem.table
    layer, share = rows["layer"].values, rows["share"].sum("kind").transpose("row", "component").values
    by_layer = pd.DataFrame({name: share[:, layer == name].sum(axis=1) for name in LAYERS}, index=rows["row"].values).reindex(
        left.table.index
    )
    expanded = (by_layer.cumsum(axis=1).clip(0, 1) ** 0.5).mul(2 * left.table["sd"], axis=0)
    expanded["observation"] = 2 * left.table["sd"]
    made = pd.concat([left.table[["y", "mean"]], expanded], axis=1)
    piece = table.level(table.piece)
    made["label"] = pd.Series([str(v) for v in piece.values[piece.codes]], index=table.index).reindex(made.index)
    made["piece"] = [places.get(label, -1) for label in made["label"]]
    finite = np.isfinite(made[["mean", "observation"]]).all(axis=1)
    endless = "" if finite.all() else f" {number(int((~finite).sum()))} with a mean or deviation that no number holds are left out."
    made = made[finite]
    shown = made.iloc[:: max(-(-len(made) // MOST_POINTS), 1)]
    said = "" if len(shown) == len(made) else f" {number(len(shown))} of {number(len(made))} measurements, evenly chosen, are shown."
    if len(shown) > BARS:
        said = f" Those at the left are of median size.{said}"
    return shown, said + endless


def pit(left: LeftOut) -> np.ndarray:
    """Left-out probability integral transforms of the measurements that are not censored."""
    return left.table["pit"].dropna().to_numpy(dtype=float)
