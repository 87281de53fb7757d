"""Tables of a report: cells with a text, a value to sort by, and, on a page, a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from realmat.attribution.budget_text import subject
from realmat.report.words import count, layer_class, number, records, u_text
from realmat.support.numbers import MINUS, plus_minus

if TYPE_CHECKING:
    import pandas as pd
    from markupsafe import Markup

    from realmat.attribution.budget import Budget
    from realmat.attribution.gap import Gap
    from realmat.table.table import Table
    from realmat.terms.priors import Prior
    from realmat.terms.problem import Problem
    from realmat.validation.loo import LeftOut

MOST_ROWS = 250
_ALIKE = 8  # columns of one role that have a row each


@dataclass(frozen=True)
class Cell:
    """One cell; `sort` where the text would not sort as what it means, `picture` is drawn on pages only."""

    text: str
    sort: float | str | None = None
    picture: Markup | None = None
    key: str = ""


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes
    ----------
    caption : str
    heads : sequence of (str, bool)
        Each column's head and whether it holds numbers.
    rows : list of list of Cell
        The first cell of a row names it.
    note : str
        What was left out, or what a column means.
    """

    caption: str
    heads: Sequence[tuple[str, bool]]
    rows: list[list[Cell]] = field(default_factory=list)
    note: str = ""


def cell(value: Any) -> Cell:
    """A cell of anything: numbers to three significant digits."""
    if isinstance(value, (bool, np.bool_)):
        return Cell("yes" if value else "no")
    if isinstance(value, (int, np.integer)):
        return Cell(number(int(value)), float(value))
    if isinstance(value, (float, np.floating)):
        return Cell(number(float(value)), None if np.isnan(value) else float(value))
    return Cell("" if value is None else str(value))


def from_frame(frame: pd.DataFrame, caption: str, note: str = "", index: str = "") -> Grid:
    """A table as it is; at most 250 rows, and the note says how many were left out."""
    import pandas as pd

    named = not isinstance(frame.index, pd.RangeIndex)
    heads = [(str(name), frame[name].dtype.kind in "fiu") for name in frame.columns]
    if named:
        heads = [(index or str(frame.index.name or ""), False), *heads]
    if len(frame) > MOST_ROWS:
        note = f"The first {MOST_ROWS} of {number(len(frame))} rows. {note}".strip()
        frame = frame.iloc[:MOST_ROWS]
    labels = [[Cell(str(label))] if named else [] for label in frame.index]
    rows = [[*label, *map(cell, row)] for label, row in zip(labels, frame.itertuples(index=False), strict=True)]
    return Grid(caption, heads, rows, note)


def budget(b: Budget, unit: str) -> Grid:
    """The budget, a part in a row."""
    from realmat.report.charts import share_bar
    from realmat.support.intervals import words

    rows = [
        [
            Cell(b.said(row.component), key=layer_class(row.layer)),
            Cell(row.layer),
            Cell(row.kind),
            Cell(u_text(b, unit, row.u), float(row.u)),
            Cell(f"{100 * row.share:.1f} %".replace("-", MINUS), float(row.share)),
            Cell(
                f"{100 * row.share_lb:.1f} to {100 * row.share_ub:.1f} %".replace("-", MINUS),
                float(row.share_ub),
                share_bar(row.share, row.share_lb, row.share_ub, row.layer, row.kind),
            ),
        ]
        for row in records(b.table)
    ]
    heads = [("component", False), ("layer", False), ("kind", False), ("u", True), ("share", True), ("interval", True)]
    return Grid(f"Parts of the variance: {subject(b.new)}", heads, rows, f"Intervals of shares: {words()}. {b.text}")


def columns(problem: Problem, roles: Mapping[str, str], units: Mapping[str, str]) -> Grid:
    """What was measured and what was missing, column by column; many columns of one role share a row."""
    table = problem.table
    alike: dict[str, list[str]] = {}
    for name in table.columns:
        role = roles.get(name, "")
        many = sum(roles.get(other, "") == role for other in table.columns) > _ALIKE
        alike.setdefault(role if many else name, []).append(name)
    rows = []
    for names in alike.values():
        label = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]} ({len(names)} columns)"
        values = [table.columns[name] for name in names]
        present = np.concatenate([np.isfinite(v) if v.dtype.kind == "f" else np.array([x is not None for x in v]) for v in values])
        share, below = float(present.mean()), sum(int(np.count_nonzero(table.limit(name))) for name in names)
        have = Cell(f"{number(int(present.sum()))} of {number(len(present))}", share)
        described = [Cell(label), Cell(roles.get(names[0], "")), Cell(units.get(names[0], "")), have, Cell(f"{100 * share:.0f} %", share)]
        rows.append([*described, cell(below), *_range(table, names, present)])
    heads = [
        *(("column", False), ("role", False), ("unit", False), ("cells with a value", True), ("present", True), ("limits", True)),
        *(("lowest", True), ("median", True), ("highest", True)),
    ]
    if all(row[5].text == "0" for row in rows):
        heads, rows = [*heads[:5], *heads[6:]], [[*row[:5], *row[6:]] for row in rows]
    return Grid("Columns that the model uses", heads, rows)


def _range(table: Table, names: Sequence[str], present: np.ndarray) -> list[Cell]:
    """Lowest, median and highest number, or how many labels there are."""
    if table.columns[names[0]].dtype.kind != "f" or not present.any():
        size = float(table.level(names[0]).size)
        return [Cell(count(int(size), "value"), size), Cell(""), Cell("")]
    values = np.concatenate([table.columns[name] for name in names])[present]
    return [cell(float(v)) for v in np.quantile(values, [0, 0.5, 1])]


def actions(advice: pd.DataFrame, most: int = 12) -> Grid:
    """The best actions; costs where they differ."""
    best = advice.head(most)
    priced = advice["cost"].nunique() > 1
    rows = [
        [
            Cell(str(row.what)),
            Cell(str(row.action)),
            Cell(f"{100 * row.share:.2g} %", float(row.share)),
            *([cell(float(row.cost)), Cell(f"{100 * row.per_cost:.2g} %", float(row.per_cost))] if priced else []),
        ]
        for row in records(best)
    ]
    heads = [("what", False), ("kind", False), ("variance falls by", True)]
    heads += [("cost", True), ("fall for each unit of cost", True)] if priced else []
    note = "" if len(best) == len(advice) else f"The {len(best)} best of {number(len(advice))}; fit.advise().table has all."
    return Grid("What to do next, best first", heads, rows, note)


def gaps(g: Gap, kept: Sequence[int]) -> Grid:
    """The gap of each piece, on the scale of the link."""
    table = g.table.iloc[list(kept)]
    steps = ["theory", *g.components, "residual", "measured", "gap"]
    value, u = table[steps].to_numpy(), table[[f"u({s})" for s in steps]].to_numpy()
    signed = [s not in ("theory", "measured") for s in steps]
    rows = [
        [
            Cell(str(label)),
            cell(int(n)),
            *(Cell(plus_minus(v, own, sign), float(v)) for v, own, sign in zip(value[i], u[i], signed, strict=True)),
        ]
        for i, (label, n) in enumerate(zip(table.index, table["rows"], strict=True))
    ]
    heads = [(str(table.index.name), False), ("rows", True), *((g.said(s), True) for s in steps)]
    note = "" if len(kept) == len(g.table) else f"The {number(len(kept))} largest of {number(len(g.table))} gaps; fit.gap().table has all."
    scale = " (natural logarithms)" if g.posterior.problem.link == "log" else ""
    return Grid(f"From theory to measured{scale}", heads, rows, note)


def scores(left: LeftOut, baseline: Mapping[str, float] | None) -> Grid:
    """Scores of left-out predictions, beside those of the theory as it is."""
    heads = [("prediction", False), *((n, True) for n in ("RMSE", "MAE", "CRPS", "50 % holds", "80 % holds", "95 % holds", "mean sd"))]
    keys = ("rmse", "mae", "crps", "coverage_50", "coverage_80", "coverage_95", "sharpness")
    rows = []
    for name, found in (("this model, left out", left.scores()), ("theory as it is", baseline)):
        if found is not None:
            made = [
                Cell(f"{100 * found[k]:.1f} %", found[k])
                if k.startswith("coverage")
                else cell(float(found[k]))
                if k in found
                else Cell("–")
                for k in keys
                if k in found or not k.startswith("coverage")
            ]
            made += [Cell("–")] * (len(keys) - len(made))
            rows.append([Cell(name), *made])
    return Grid("Scores of predictions", heads, rows)


def priors(problem: Problem, prior: Any, posterior: Any, most: int = 60) -> Grid:
    """Prior and posterior of every hyperparameter and single coefficient, and how far the data narrowed it.

    Parameters
    ----------
    problem : Problem
    prior, posterior : xarray.Dataset
        Draws by name.
    """
    from realmat.support.intervals import interval, words

    rows = []
    for name, layer, described, size in declared(problem):
        if name not in posterior:  # a fit that keeps no draws of coefficients
            continue
        before, after = (group[name].values.reshape(-1, size).T for group in (prior, posterior))
        labels = [name] if size == 1 else [f"{name}[{c}]" for c in posterior[name].coords[posterior[name].dims[-1]].values]
        for j, label in enumerate(labels):
            (low, high), (lower, upper) = interval(before[j]), interval(after[j])
            narrowed = 1 - (upper - lower) / (high - low)
            rows.append(
                [
                    Cell(label, key=layer),
                    Cell(described),
                    Cell(f"{number(low)} to {number(high)}", float(low)),
                    Cell(plus_minus(float(after[j].mean()), float(after[j].std())), float(after[j].mean())),
                    Cell(f"{number(lower)} to {number(upper)}", float(lower)),
                    Cell(f"{100 * narrowed:.0f} %".replace("-", MINUS), float(narrowed)),
                ]
            )
    heads = [
        ("parameter", False),
        ("prior", False),
        *((n, True) for n in ("prior interval", "posterior", "posterior interval", "narrowed")),
    ]
    note = (
        f"{words().capitalize()}; posterior: mean ± standard deviation. Narrowed: by how much the data shortened the interval; "
        "near 0 % they say nothing of the parameter, and the prior decides."
    )
    if len(rows) > most:
        note = f"The first {most} of {number(len(rows))} parameters. {note}"
    return Grid("Priors, and what the data made of them", heads, rows[:most], note)


def short(prior: Prior) -> str:
    """A prior for a table.

    Examples
    --------
    >>> from realmat.terms.priors import Prior
    >>> short(Prior("HalfNormal", sigma=14.4492)), short(Prior("Normal", mu=0, sigma="scale", lower=0))
    ('HalfNormal(14.4)', 'Normal(0, scale) above 0')
    """
    described = prior.to_dict()
    cut = [
        f"{word} {number(described[end])}"
        for end, word in (("lower", "above"), ("upper", "below"))
        if end in described and prior.dist != "Uniform"
    ]
    values = [v if isinstance(v, str) else number(v) for _, v in prior.params]
    return " ".join([f"{prior.dist}({', '.join(values)})", *cut])


def declared(problem: Problem) -> list[tuple[str, str, str, int]]:
    """Hyperparameters and single coefficients: (name, layer, prior in words, size)."""
    out = []
    for term in problem.terms:
        out += [(q.name, term.layer, short(q.prior), q.size) for q in term.params]
        for c in term.coefficients:
            if c.size == 1 and not c.report and not any(map(callable, (c.sd, c.mean))):
                mu, sigma = (float(np.ravel(np.asarray(v))[0]) for v in (c.mean, c.sd))
                out.append((c.name, term.layer, f"Normal({number(mu)}, {number(sigma)})", 1))
    return out
