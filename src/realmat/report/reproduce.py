"""What someone else needs to get the same numbers."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from realmat.report.code import declaration
from realmat.report.tables import Cell, Grid
from realmat.report.words import number

if TYPE_CHECKING:
    from realmat.fit import Fit

_PACKAGES = ("realmat", "numpy", "scipy", "pandas", "xarray", "arviz", "pymc", "nutpie")


def versions() -> dict[str, str]:
    """Versions of Python and of what the numbers depend on."""
    found = {"Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def facts_table(fit: Fit) -> Grid:
    """Data hash, seed, engine and versions."""
    facts, (chains, draws) = fit.facts, fit.posterior.shape
    told = {
        "data": f"{fit.problem.table.readings} rows, SHA-256 {fit.problem.table.digest}",
        "seed": str(facts.get("seed", "")),
        "engine": "; ".join(str(facts[key]) for key in ("reason", "method", "why", "interrupted") if key in facts)
        or str(facts.get("engine", "")),
        "draws": f"{chains} chains of {number(draws)}",
        "time": f"{float(facts.get('seconds', 0)):.1f} s",
        "versions": ", ".join(f"{name} {text}" for name, text in versions().items()),
    }
    return Grid(
        "What the numbers depend on", [("what", False), ("value", False)], [[Cell(name), Cell(text)] for name, text in told.items()]
    )


def snippet(fit: Fit) -> str:
    """Code that makes the fit again from the same table."""
    (chains, draws), facts = fit.posterior.shape, fit.facts
    arguments = {"engine": f'"{facts.get("engine", "auto")}"', "draws": draws, "chains": chains, "seed": facts.get("seed")}
    said = ", ".join(f"{k}={v}" for k, v in arguments.items())
    return (
        f"import pandas as pd\nimport realmat as rm\n\nmodel = {declaration(fit.model)}\n"
        f'data = pd.read_csv("data.csv")  # the table of this report\n'
        f"fit = model.fit(data, {said})\n"
        "# the same data:\n"
        f'assert fit.problem.table.digest == "{fit.problem.table.digest}"\n'
        'fit.report("report.html")\n'
    )
