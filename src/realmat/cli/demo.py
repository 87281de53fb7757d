"""The demonstration: three models of formation enthalpies, compared, taken apart, and tested on compounds they have not seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from realmat.cli.show import grid, heading, progress, say

if TYPE_CHECKING:
    import pandas as pd

NAME = "formation_enthalpy"
_COLUMNS = {"mae": "MAE", "rmse": "RMSE", "coverage_50": "inside 50 %", "coverage_80": "inside 80 %", "coverage_95": "inside 95 %"}


def run(out: Path, folds: int, seed: int) -> None:
    """Fit, print and write; `out` is a folder."""
    import realmat as rm

    template = rm.templates.get(NAME)
    models = {variant: template.model(variant) for variant in template.variants}
    with progress("reading", 3 * len(models) + (len(models) - 1) * folds) as step:
        data = template.data()
        fits = {}
        for variant, model in models.items():
            step(f"fitting: {variant}")
            fits[variant] = model.fit(data, seed=seed, progress=False)
        step("leaving out each compound")
        comparison = rm.compare(fits, by="material")
        budget = fits["real"].budget(new="material")
        held_out = {}
        for variant in ("ideal", "real"):
            step(f"{folds}-fold cross-validation: {variant}")
            held_out[variant] = rm.cross_validate(models[variant], data, folds, seed=seed, tick=step)
        step("published corrections")
        table = _held_out(data, held_out)
        step("writing the report")
        files = _write(out, fits, comparison)
    heading(f"{len(data)} compounds: {rm.datasets.list().set_index('name').loc[NAME, 'about']}")
    say(*(f"{variant:>8}: {meaning}" for variant, meaning in template.meanings.items()))
    heading("Which model predicts a compound it has not seen")
    say(comparison)
    heading("Where the uncertainty of a new compound comes from")
    say(budget)
    heading("Held-out errors")
    say(grid(table, f"{held_out['real'].title}, eV/atom", index="prediction"))
    say("pbe: the calculation as it is. mp2020: pymatgen's MaterialsProject2020Compatibility, fitted to most of these compounds.")
    say("", "Reports:", *(f"  {path}" for path in files))


def _held_out(data: pd.DataFrame, held_out: dict[str, Any]) -> pd.DataFrame:
    """Scores of raw theory, of the published corrections, and of the models."""
    import pandas as pd

    import realmat as rm

    rows: dict[str, dict[str, float]] = {}
    for name, predicted in (("pbe", data["pbe"]), ("mp2020", rm.datasets.mp2020_formation_enthalpy())):
        error = (data["formation_enthalpy"] - predicted.to_numpy()).dropna()
        rows[name] = {"mae": error.abs().mean(), "rmse": (error**2).mean() ** 0.5}
    rows |= {name: result.scores() for name, result in held_out.items()}
    return pd.DataFrame.from_dict(rows, orient="index")[list(_COLUMNS)].rename(columns=_COLUMNS)


def _write(out: Path, fits: dict[str, Any], comparison: Any) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    return [fits["real"].report(out / "real.html"), comparison.report(out / "comparison.html"), fits["real"].save(out / "real.nc")]
