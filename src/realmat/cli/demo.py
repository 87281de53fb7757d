"""The demonstration: three models of formation enthalpies, compared, taken apart, and tested on compounds they have not seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realmat.cli.show import grid, progress, say

if TYPE_CHECKING:
    import pandas as pd

    from realmat.model import Model

NAME = "formation_enthalpy"
_NOTE = (
    "pbe: the calculation as it is. mp2020: pymatgen's MaterialsProject2020Compatibility, which was fitted to most of these compounds. "
    "ideal, real: predictions of compounds that the fit has not seen."
)
_COLUMNS = {"mae": "MAE", "rmse": "RMSE", "coverage_50": "inside 50 %", "coverage_80": "inside 80 %", "coverage_95": "inside 95 %"}


def run(out: Path, folds: int, seed: int) -> None:
    """Fit, print and write; `out` is a folder."""
    import realmat as rm

    template = rm.templates.get(NAME)
    models = {variant: template.model(variant) for variant in template.variants}
    with progress("fitting", len(models) + 1) as step:
        data = template.data()
        fits = {}
        for variant, model in models.items():
            step(f"fitting: {variant}")
            fits[variant] = model.fit(data, seed=seed, progress=False)
    say(f"Formation enthalpies of {len(data)} compounds, calorimetry against density-functional theory. The models:", "")
    say(*(f"{variant:>8}: {meaning}" for variant, meaning in template.meanings.items()))
    with progress("leaving out each compound", 1):
        comparison = rm.compare(fits, by="material")
    say("", comparison)
    with progress("budget", 1):
        budget = fits["real"].budget(new="material")
    say("", budget)
    say("", *_held_out(data, models, folds, seed))
    with progress("reports", 3) as step:
        files = _write(out, fits, comparison, step)
    say("", "Written, to open in a browser:", *(f"  {path}" for path in files))


def _held_out(data: pd.DataFrame, models: dict[str, Model], folds: int, seed: int) -> list[Any]:
    """Errors of raw theory and of the published corrections, beside cross-validated ones of the models with a layer of noise."""
    import pandas as pd

    import realmat as rm

    tested = ("ideal", "real")
    with progress("published corrections", len(tested) * folds) as step:
        rows: dict[str, dict[str, float]] = {}
        for name, predicted in (("pbe", data["pbe"]), ("mp2020", rm.datasets.mp2020_formation_enthalpy())):
            error = (data["formation_enthalpy"] - predicted.to_numpy()).dropna()
            rows[name] = {"mae": error.abs().mean(), "rmse": (error**2).mean() ** 0.5}
        for variant in tested:
            step(f"{folds}-fold cross-validation: {variant}", advance=0)
            result = rm.cross_validate(models[variant], data, folds, seed=seed, tick=step)
            rows[variant] = result.scores()
    table = pd.DataFrame.from_dict(rows, orient="index")[list(_COLUMNS)].rename(columns=_COLUMNS)
    return [grid(table, f"{result.title}: errors in eV/atom", index="prediction"), _NOTE]


def _write(out: Path, fits: dict[str, Any], comparison: Any, step: Callable[..., None]) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    files = []
    for name, write in (("real.html", fits["real"].report), ("comparison.html", comparison.report), ("real.nc", fits["real"].save)):
        step(name, advance=0)
        files.append(write(out / name))
        step()
    return files
