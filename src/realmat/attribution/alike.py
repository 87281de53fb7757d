"""What a design cannot tell apart among coefficients, labels that look nested, and where a closed form sits before it is judged."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import optimize, sparse

from realmat.algebra.space import Space
from realmat.attribution.information import Marginal, typical_values
from realmat.support.checks import listed
from realmat.table.table import ROW, Table
from realmat.terms.problem import Problem
from realmat.terms.term import Known

_SINGULAR = 1e-9  # of the largest singular value
_PART = 0.05  # of a direction, from which a coefficient belongs to it
_MOST = 500  # coefficients
_COUNTERS = (2, 20)  # least and most values of labels that may count within another
_PULL = 0.1  # of the prior, on a closed form's parameters


def collinear(problem: Problem) -> list[tuple[str, ...]]:
    """Coefficients of columns that the response cannot tell apart, because one column is a combination of others."""
    blocks = [b for b in problem.coefficients if b.level is None and b.nu is None]
    pieces = [p for _, p in problem.response_rows.pieces if p.scale is None]
    names: list[str] = []
    columns = []
    for block in blocks:
        own = [p.matrix for p in pieces if p.coefficients == block.name]
        if own:
            columns.append(sum(own[1:], own[0]))
            labels = block.coords if block.coords is not None and len(block.coords) == block.size else range(block.size)
            names += [block.name] if block.size == 1 else [f"{block.name}[{label}]" for label in labels]
    if not 2 <= len(names) <= _MOST:
        return []
    x = sparse.hstack(columns).toarray()
    size = np.sqrt((x**2).sum(axis=0))
    there = size > 0
    _, s, v = np.linalg.svd(x[:, there] / size[there], full_matrices=x.shape[0] < there.sum())
    s = np.append(s, np.zeros(len(v) - len(s)))
    kept = [n for n, t in zip(names, there, strict=True) if t]
    blind = v[s <= _SINGULAR * s[0]]
    # one direction for each relation: reduced to as few coefficients as possible
    return [tuple(n for n, part in zip(kept, row, strict=True) if abs(part) > _PART * np.abs(row).max()) for row in _reduced(blind)]


def _reduced(rows: np.ndarray) -> np.ndarray:
    """Row echelon form with pivots of largest size."""
    rows = rows.copy()
    for k in range(len(rows)):
        pivot = int(np.argmax(np.abs(rows[k])))
        rows[k] /= rows[k, pivot]
        for j in range(len(rows)):
            if j != k:
                rows[j] -= rows[j, pivot] * rows[k]
    return rows


def collinear_words(group: tuple[str, ...]) -> str:
    """A sentence on coefficients that cannot be told apart."""
    first, *rest = group
    more = f" and {len(rest) - 6} more" if len(rest) > 6 else ""
    return (
        f"The columns cannot tell {first} from {listed(rest[:6])}{more}: one of them is a combination of the others, so that only "
        "their joint effect is known and priors divide it. Leave one out, or fix it."
    )


def looks_nested(problem: Problem) -> list[str]:
    """Labels that count from 1 within every value of another grouping, as runs within days do, but are read as the same everywhere."""
    table = problem.table
    grouped = [str(b.level) for b in problem.coefficients if b.level not in (None, ROW)]
    said = []
    for inner in dict.fromkeys(grouped):
        column = table.column_of(inner)
        if column not in table.columns or not _counts(table.level(inner).values):
            continue
        for outer, outer_column in _others(table, inner):
            if outer_column != column and _everywhere(table, inner, outer):
                first = table.level(inner).values.min()
                said.append(
                    f"{inner} counts from {first} within every {outer}: if it starts anew there, its values are "
                    f"others: say {_said(table, inner, outer_column, column)}."
                )
                break
    return said


def _said(table: Table, inner: str, outer: str, column: str) -> str:
    """How a model says that labels of one column count within another."""
    both = f'["{outer}", "{column}"]'
    return f'levels={{"{inner}": {both}}}' if inner in table.levels else f"by={both}"


def _counts(values: np.ndarray) -> bool:
    """Whether labels are whole numbers without a gap that begin with 0 or 1."""
    if not _COUNTERS[0] <= len(values) <= _COUNTERS[1] or not all(str(v).isdecimal() for v in values):
        return False
    numbers = sorted(int(v) for v in values)
    return numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _others(table: Table, inner: str) -> list[tuple[str, str]]:
    labels = [(name, name) for name, v in table.columns.items() if v.dtype == object or v.dtype.kind in "iu"]
    return [*((level, column) for level, column in table.levels.items() if level != inner), *labels]


def _everywhere(table: Table, inner: str, outer: str) -> bool:
    """Whether every value of `outer`, of which there are more than two, holds every value of `inner`."""
    a, b = table.level(inner), table.level(outer)
    pairs = np.unique(np.column_stack([a.codes, b.codes]), axis=0)
    return b.size > max(2, a.size) and len(pairs) == a.size * b.size


def scales_of_one(problem: Problem) -> list[str]:
    """Noise scales of groups that hardly any row shares, such as those of a column of numbers."""
    noise, count = problem.response_rows.noise, problem.response_rows.count
    if all(q.coords is None for q in problem.observation.params):
        return []
    groups = np.bincount(noise.group[noise.group >= 0], weights=count[noise.group >= 0])
    groups = groups[groups > 0]
    if len(groups) < 3 or np.median(groups) > 1:
        return []
    return [
        f"The noise has {len(groups)} scales for {int(count.sum())} rows, most of them of a single row: scale_by= takes groups that rows "
        "share, such as a laboratory; a stated u of each row goes to u=."
    ]


def settled(problem: Problem) -> dict[str, Any]:
    """Typical values, of a closed form those that follow the response, and scales no larger than what it then leaves.

    What a design tells of a curve depends on where on the curve it lies; prior medians may be far from the data.
    """
    values = typical_values(problem)
    pairs = zip(problem.terms, problem.contributions, strict=True)
    curved = [q for t, c in pairs if t.layer == "theory" and c.offset is not None and not isinstance(c.offset, Known) for q in t.params]
    if not curved or any(q.prior.references for q in curved):
        return values
    space, model = Space(curved), Marginal(problem)
    rows = problem.response_rows
    weight = np.sqrt(rows.count) / max(problem.scale.response, 1e-300)
    start = space.theta(values)

    def away(theta: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            left = (rows.y - model.mean({**values, **space.values(theta)})[: len(rows.y)]) * weight
        return np.append(np.nan_to_num(left, nan=1e6, posinf=1e6, neginf=-1e6), _PULL * (theta - start))

    found = optimize.least_squares(away, start, method="trf", max_nfev=200)
    values |= space.values(found.x)
    left = float(np.sqrt(np.mean((rows.y - model.mean(values)[: len(rows.y)]) ** 2)))
    for q in problem.params:
        if q.name.endswith("_scale") and left > 0:
            values[q.name] = np.minimum(values[q.name], left) if q.coords is not None else min(float(values[q.name]), left)
    return values
