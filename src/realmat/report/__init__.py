"""The report: one self-contained HTML page, or Markdown with a folder of figures, for one fit or for a comparison.

Uses everything below; of a fit it knows the answers, not how they are made.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from realmat.errors import FileError
from realmat.support.attached import attach
from realmat.support.places import writable
from realmat.validation.comparison import Comparison

if TYPE_CHECKING:
    from realmat.fit import Fit

SUFFIXES = (".html", ".htm", ".md")


def write_report(fit: Fit, path: str | Path, by: str | None = None) -> Path:
    """Write the report of a fit, whole or not at all.

    Parameters
    ----------
    fit : Fit
    path : str or Path
        Ending in ``.html``: one file that needs nothing else. Ending in ``.md``: Markdown, with figures in a folder beside it.
    by : str, optional
        What is left out at a time for predictions and calibration: by default the material where materials are declared, else the
        single observation.

    Returns
    -------
    Path

    Raises
    ------
    realmat.FileError
        If the ending is another, or the file cannot be written.
    """
    target = _checked(path)
    from realmat.report.findings import findings

    found = findings(fit, by)
    if target.suffix == ".md":
        from realmat.report.markdown import write

        return write(found, target)
    from realmat.report.page import context
    from realmat.report.render import render, write_text

    return write_text(target, render("report.html.j2", context(found)))


@attach("report", Comparison)
def write_comparison(comparison: Comparison, path: str | Path) -> Path:
    """Write the report of a comparison, whole or not at all; arguments, result and errors as of `write_report`."""
    target = _checked(path)
    if target.suffix == ".md":
        from realmat.report.markdown import write_models

        return write_models(comparison, target)
    from realmat.report.models import context
    from realmat.report.render import render, write_text

    return write_text(target, render("comparison.html.j2", context(comparison)))


def _checked(path: str | Path) -> Path:
    target = writable(path)
    if target.suffix not in SUFFIXES:
        raise FileError(f"a report ends in {', '.join(SUFFIXES)}, not {target.suffix!r}: {target}.")
    if not target.parent.is_dir():
        raise FileError(f"cannot write {target}: there is no folder {target.parent}.")
    return target
