"""From a comparison to what its page shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realmat.report import bayes, charts, predictions, tables, words
from realmat.report.page import bands
from realmat.report.reproduce import facts_table, snippet
from realmat.validation.diagnostics import warning

if TYPE_CHECKING:
    from realmat.fit import Fit
    from realmat.validation.comparison import Comparison
    from realmat.validation.loo import LeftOut

SECTIONS = {
    "comparison": "Which model predicts best",
    "calibration": "Predictions of each model",
    "models": "The models",
    "reproduce": "How to reproduce it",
}
RANKING = {"rank": "rank", "elpd": "elpd", "elpd_diff": "difference", "dse": "its standard error", "weight": "weight"}
SCORES = {
    "rmse": "RMSE",
    "mae": "MAE",
    "crps": "CRPS",
    **{f"coverage_{p}": f"{p} % holds" for p in (50, 80, 95)},
    "sharpness": "mean sd",
}


def context(comparison: Comparison) -> dict[str, Any]:
    """Everything that the template of a comparison shows."""
    fits = {name: comparison.fits[name] for name in comparison.table.index}
    one = next(iter(fits.values()))
    warnings = {name: said for name, fit in fits.items() if (said := warning(fit.posterior))}
    return {
        "title": f"{comparison.title}: realmat report",
        "heading": comparison.title,
        "sections": [{"id": key, "title": said} for key, said in SECTIONS.items()],
        "summary": f"{words.what_was_measured(one.problem, one.model.unit)} {comparison.text}",
        "warning": " ".join(f"{name}: {said}" for name, said in warnings.items()),
        "comparison": _tables(comparison),
        "elpd": bayes.comparison(comparison.table),
        "calibration": [_predictions(name, fit, comparison.left_out[name], warnings.get(name, "")) for name, fit in fits.items()],
        "models": [
            {
                "name": name,
                "response": words.response(fit.model),
                "bands": bands(fit.model, fit.problem),
                "reproduce": facts_table(fit),
                "code": snippet(fit),
            }
            for name, fit in fits.items()
        ],
    }


def _tables(comparison: Comparison) -> list[tables.Grid]:
    note = "elpd: expected log predictive density of what was left out; larger is better."
    if "weight" in comparison.table:
        note += " Weights are those with which the models together predict best."
    return [
        tables.Grid(comparison.title, *_columns(comparison, RANKING), note),
        tables.Grid("Scores of the same predictions", *_columns(comparison, SCORES)),
    ]


def _columns(comparison: Comparison, names: dict[str, str]) -> tuple[list[tuple[str, bool]], list[list[tables.Cell]]]:
    kept = [name for name in names if name in comparison.table]
    rows = [
        [tables.Cell(str(model)), *(_cell(name, float(row[name])) for name in kept)] for model, row in comparison.table[kept].iterrows()
    ]
    return [("model", False), *((names[name], True) for name in kept)], rows


def _cell(name: str, value: float) -> tables.Cell:
    if name.startswith("coverage"):
        return tables.Cell(f"{100 * value:.1f} %", value)
    return tables.Cell(f"{value:.2f}", value) if name == "weight" else tables.cell(int(value) if name == "rank" else value)


def _predictions(name: str, fit: Fit, left: LeftOut, unsure: str) -> dict[str, Any]:
    new = left.by if left.by in ("specimen", "material") else "observation"
    unit = f" {fit.model.unit}" if fit.model.unit else ""
    points, some = predictions.points(left, fit.budget(new=new), fit.problem, {})
    return {
        "name": name,
        "warning": unsure,
        "text": f"{words.left_out_words(left, unit, len(fit.problem.table))} {words.calibration(left)}",
        "coverage": charts.coverage(predictions.pit(left)),
        "parity": charts.parity(points, fit.problem.said(fit.problem.response), left.by, unit, fit.problem.link == "log"),
        "parity_caption": f"{name}: {predictions.CAPTION}{some}",
    }
