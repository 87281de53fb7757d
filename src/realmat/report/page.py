"""From findings to what the templates of a page show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from realmat.plots import curve
from realmat.plots import model as picture
from realmat.report import bayes, charts, predictions, tables, words
from realmat.report.bayes import Bayes, Drawing
from realmat.report.findings import Findings
from realmat.report.reproduce import facts_table, snippet
from realmat.support import intervals
from realmat.terms.term import LAYERS

if TYPE_CHECKING:
    import pandas as pd

    from realmat.attribution.gap import Gap

MOST_PIECES = 2000  # in the chooser of specimens
_NOSCRIPT = 3  # further waterfalls where scripts are off

SECTIONS = {
    "question": "Question and data",
    "model": "The model in layers",
    "measured": "Measured and missing",
    "budget": "Uncertainty budget",
    "gap": "From theory to measurement",
    "predictions": "Predictions",
    "laboratory": "Repeatability",
    "advice": "What to measure next",
    "trust": "Can it be trusted?",
    "priors": "Priors",
    "reproduce": "How to reproduce it",
}


def context(found: Findings) -> dict[str, Any]:
    """Everything that the template of one fit shows."""
    drawn = Bayes(found.posterior, int(found.fit.facts.get("seed", 0)))
    priors = tables.priors(found.problem, drawn.prior, drawn.posterior)
    left_out = {"laboratory"} if found.laboratory is None else set()
    title = found.model.name or found.problem.said(found.problem.response)
    return {
        "title": f"{title}: realmat report",
        "heading": f"{title}: from theory to the laboratory",
        "sections": [{"id": key, "title": said} for key, said in SECTIONS.items() if key not in left_out],
        "summary": words.summary(found),
        "warning": found.warning,
        "absent": found.absent,
        **_data(found),
        **_budgets(found),
        **_predictions(found),
        "gap": None if found.gap is None else _gap(found.gap, found.unit),
        "laboratory": _laboratory(found),
        "advice": None if found.advice is None else {"text": found.advice.text, "grid": tables.actions(found.advice.table)},
        "check": {"sentences": found.check.sentences, "grid": tables.from_frame(found.check.table, "Diagnostics")},
        "ranks": drawn.ranks(),
        "densities": drawn.prior_posterior(),
        "predictive": drawn.predictive(),
        "curve": _curve(found),
        "priors": priors,
        "narrowed": words.narrowed({row[0].text: float(row[-1].sort or 0.0) for row in priors.rows}),
        "reproduce": facts_table(found.fit),
        "code": snippet(found.fit),
    }


def _curve(found: Findings) -> Drawing | None:
    """The law over its column; None where the theory is no such law."""
    if not curve.shows_itself(found.model, found.problem):
        return None
    return Drawing(
        "curve",
        curve.plot_curve(found.model, found.posterior),
        "Measurements and the law with its interval over its column; below, measurements less the law.",
        f"Measurements, and the law with its {intervals.words()}; below, what the law leaves of them.",
    )


def bands(model: Any, problem: Any) -> list[tuple[str, str, list[picture.Card]]]:
    """Layers with their components in words: (layer, heading, cards)."""
    cards = picture.cards(model, problem)
    every = [(layer, picture.HEADINGS[layer], [c for c in cards if c.layer == layer]) for layer in LAYERS]
    return [band for band in every if band[2]]


def _data(found: Findings) -> dict[str, Any]:
    problem, model = found.problem, found.model
    wanted = model.columns()
    roles: dict[str, str] = {}
    units = {model.response: model.unit}
    for column in wanted:
        roles[column.name] = (
            f"{roles[column.name]}, {column.role}" if column.name in roles and column.role not in roles[column.name] else column.role
        )
        units.setdefault(column.name, column.unit)
    sizes = []
    for level, name in problem.table.levels.items():
        rows = problem.table.per(problem.table.level(level).codes, problem.table.level(level).size)
        sizes.append(
            [
                tables.Cell(level),
                tables.Cell(name),
                *map(tables.cell, (len(rows), int(rows.min()), float(np.median(rows)), int(rows.max()))),
            ]
        )
    heads = [("level", False), ("column", False), *((h, True) for h in ("values", "fewest rows", "median", "most rows"))]
    notes = [(term.component, note) for term in problem.terms for note in (*term.notes, *term.cautions)]
    return {
        "response": words.response(model),
        "question": words.question(found),
        "columns": tables.columns(problem, roles, units),
        "equation": picture.equation(problem),
        "bands": bands(model, problem),
        "notes": notes,
        "missing": words.missing(problem),
        "levels": tables.Grid("Levels: what is measured how often", heads, sizes) if sizes else None,
        "facts": words.facts(found),
    }


def _budgets(found: Findings) -> dict[str, Any]:
    made = [
        {
            "new": new,
            "words": WORDS[new],
            "u": words.u_text(b, found.unit),
            "bar": charts.budget_bar(b, found.unit),
            "grid": tables.budget(b, found.unit),
            "open": b is found.budget,
        }
        for new, b in found.budgets.items()
    ]
    return {"budgets": made, "conclusions": words.conclusions(found.budget, found.unit)}


WORDS = {
    "observation": "a further measurement of a known specimen",
    "specimen": "a measurement of a new specimen",
    "material": "a measurement of a new material",
}


def _predictions(found: Findings) -> dict[str, Any]:
    left = found.left
    if left is None:
        return {"predictions": None}
    places = {} if found.gap is None else {str(found.gap.table.index[i]): k for k, i in enumerate(kept_pieces(found.gap))}
    points, some = predictions.points(left, found.budgets.get(left.by, found.budget), found.problem, places)
    pit = predictions.pit(left)
    clicked = " A click on a point opens its waterfall above." if places else ""
    made = {
        "text": words.left_out_words(left, found.unit, len(found.problem.table)),
        "scores": tables.scores(left, words.baseline(found)),
        "parity": charts.parity(points, found.problem.said(found.problem.response), left.by, found.unit, found.log),
        "parity_caption": f"{predictions.CAPTION}{some}{clicked}",
        "calibration_text": words.calibration(left),
        "coverage": charts.coverage(pit),
        "histogram": charts.histogram(pit),
        "pit": bayes.pit(pit[:: -(-len(pit) // predictions.MOST_POINTS)]),
    }
    return {"predictions": made}


def kept_pieces(gap: Gap) -> list[int]:
    """Rows of the gap table that a page keeps, in their order: all, or those with the largest gaps."""
    if len(gap.table) <= MOST_PIECES:
        return list(range(len(gap.table)))
    return sorted(int(i) for i in largest(gap)[:MOST_PIECES])


def largest(gap: Gap) -> np.ndarray:
    """Rows of the gap table, from the largest gap to the smallest."""
    return np.argsort(-gap.table["gap"].abs().to_numpy(), kind="stable")


def _gap(gap: Gap, unit: str) -> dict[str, Any]:
    log = gap.posterior.problem.link == "log"
    steps = ["theory", *gap.components, "residual", "measured"]
    layer = dict(zip(gap.dataset["step"].values, gap.dataset["layer"].values, strict=True))
    layers = {**{step: layer[step] for step in steps}, "residual": "residual", "measured": "found"}
    kept = kept_pieces(gap)
    table = gap.table.iloc[kept]
    titles = [_title(gap, i) for i in range(len(table))] if len(table) == len(gap.table) else [_title(gap, i) for i in kept]
    first, *others = notable(table).items()

    def fall(i: int) -> dict[str, Any]:
        return {"title": titles[i], "fall": charts.waterfall(dict(zip(table.columns, table.iloc[i], strict=True)), steps, log, gap.said)}

    data = {
        "log": log,
        "steps": steps,
        "first": first[1],
        "titles": titles,
        "value": [[_short(v) for v in row] for row in table[steps].to_numpy()],
        "u": [[_short(v) for v in row] for row in table[[f"u({s})" for s in steps]].to_numpy()],
    }
    left = "" if len(kept) == len(gap.table) else f" The {len(kept)} largest of {len(gap.table)} gaps can be chosen here."
    scale = (
        "Contributions multiply: factors with relative standard uncertainties" if log else f"Standard uncertainties{unit and ', in'}{unit}"
    )
    return {
        "text": gap.text,
        "name": str(gap.table.index.name),
        "labels": [str(label) for label in table.index],
        "layers": layers,
        "first": fall(first[1]),
        "others": [{**fall(i), "why": why} for why, i in others[:_NOSCRIPT]],
        "caption": f"{scale}. Lines through the bars: standard uncertainty of each contribution.{left}",
        "grid": tables.gaps(gap, [int(i) for i in largest(gap)[: tables.MOST_ROWS]]),
        "data": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    }


def _short(value: float) -> float:
    return float(f"{value:.7g}")


def _title(gap: Gap, i: int) -> str:
    row = gap.table.iloc[i]
    return f"{gap.table.index.name} {gap.table.index[i]}: {words.count(int(row['rows']), 'measurement')}"


def notable(table: pd.DataFrame) -> Mapping[str, int]:
    """Places of pieces worth a look: why -> row, each once."""
    gap, residual = table["gap"].to_numpy(), table["residual"].to_numpy()
    found = {
        "The largest gap.": int(np.abs(gap).argmax()),
        "The largest residual: what the model explains least.": int(np.abs(residual).argmax()),
        "The gap nearest to the median: a typical case.": int(np.abs(gap - np.median(gap)).argmin()),
        "The smallest gap.": int(np.abs(gap).argmin()),
    }
    out: dict[str, int] = {}
    for why, i in found.items():
        if i not in out.values():
            out[why] = i
    return out


def _laboratory(found: Findings) -> dict[str, Any] | None:
    lab = found.laboratory
    if lab is None:
        return None
    biases = lab.biases.sort_values("bias", key=np.abs, ascending=False) if len(lab.biases) else None
    return {
        "text": lab.text,
        "grid": tables.from_frame(lab.table, lab.title),
        "biases": None if biases is None else tables.from_frame(biases.reset_index(drop=True), "Bias of each laboratory"),
    }
