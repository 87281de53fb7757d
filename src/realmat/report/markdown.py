"""The report as Markdown, with a folder of figures beside it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realmat.errors import FileError
from realmat.plots import calibration, parity
from realmat.plots.model import plot_model
from realmat.report import models
from realmat.report.findings import Findings
from realmat.report.page import context, notable
from realmat.report.render import render, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from realmat.validation.comparison import Comparison

Figures = dict[str, Callable[[], "Figure"]]
_DPI = 150


def write(found: Findings, target: Path) -> Path:
    """Write the report of one fit and its figures."""
    made = context(found)
    figures, made["falls"] = _figures(found, made)
    return publish("report.md.j2", made, figures, target)


def _figures(found: Findings, made: Mapping[str, Any]) -> tuple[Figures, list[tuple[str, str, str]]]:
    """Every figure by name, and the waterfalls with their words."""
    figures: Figures = {"model": partial(plot_model, found.model, found.problem)}
    for new, budget in found.budgets.items():
        figures[f"budget_{new}"] = budget.plot
    falls = []
    gap, left = found.gap, found.left
    if gap is not None:
        for why, i in notable(gap.table).items():
            label = gap.table.index[i]
            name = f"gap_{i}"
            figures[name] = partial(gap.plot, label)
            falls.append((name, f"{gap.table.index.name} {label}", why))
    if left is not None:
        figures["parity"] = partial(parity.plot_parity, found.posterior, left_out=left, unit=found.model.unit)
        figures["calibration"] = partial(calibration.plot_calibration, found.posterior, left_out=left)
    drawings = [made["ranks"], made["densities"], made["predictive"], made["curve"], (made["predictions"] or {}).get("pit")]
    for drawing in drawings:
        if drawing is not None:
            figures[drawing.name] = partial(getattr, drawing, "figure")
    return figures, falls


def publish(template: str, made: Mapping[str, Any], figures: Figures, target: Path) -> Path:
    """Write the text and the folder of its figures; on a failure neither is changed.

    Raises
    ------
    realmat.FileError
        If something cannot be written.
    """
    folder = target.with_name(f"{target.stem}_figures")
    part, old = (folder.with_name(f".{folder.name}.{what}") for what in ("part", "old"))
    text = re.sub(r"\n{3,}", "\n\n", render(template, {**made, "folder": folder.name}))
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for name, draw in figures.items():
            draw().savefig(part / f"{name}.png", dpi=_DPI)
        if folder.exists():
            os.replace(folder, old)
        os.replace(part, folder)
    except OSError as error:
        raise FileError(f"cannot write {folder}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return write_text(target, text)


def write_models(comparison: Comparison, target: Path) -> Path:
    """Write the report of a comparison and its figures."""
    made = models.context(comparison)
    figures: Figures = {"elpd": partial(getattr, made["elpd"], "figure")}
    pits = {name: left.table["pit"].to_numpy(dtype=float) for name, left in comparison.left_out.items()}
    figures["calibration"] = partial(calibration.calibration, pits)
    for k, (name, fit) in enumerate(comparison.fits.items(), start=1):
        left = comparison.left_out[name]
        figures[f"parity_{k}"] = partial(parity.plot_parity, fit.posterior, left_out=left, unit=fit.model.unit)
    made["names"] = list(comparison.fits)
    return publish("comparison.md.j2", made, figures, target)
