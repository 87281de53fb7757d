"""Cross-validation by refitting: the plain check that needs no theory, over groups of rows that are left out together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from realmat.errors import ModelError
from realmat.support.jobs import run
from realmat.support.numbers import percent, significant
from realmat.support.progress import Progress
from realmat.support.shown import Shown
from realmat.table.labels import one_spelling
from realmat.table.table import Table
from realmat.table.validated import as_frame
from realmat.validation.scores import COVERAGES, summary

if TYPE_CHECKING:
    import pandas as pd

    from realmat.model import Model

_PREDICTIVE_DRAWS = 2000


@dataclass(frozen=True, repr=False)
class CrossValidation(Shown):
    """Held-out predictions.

    Attributes
    ----------
    rows : DataFrame
        Indexed as the data, in response units: `fold`, `group`, `y`, `mean` and `sd` of the predictive distribution of a measurement,
        `pit` (its distribution function at y) and `crps`, both from draws of it.
    table : DataFrame
        One row: `rmse mae crps coverage_50 coverage_80 coverage_95 sharpness`.
    """

    rows: pd.DataFrame
    response: str
    unit: str
    by: str
    seed: int

    @cached_property
    def table(self) -> pd.DataFrame:  # type: ignore[override]
        """Scores over all rows."""
        import pandas as pd

        return pd.DataFrame([self.scores()])

    def scores(self) -> dict[str, float]:
        """RMSE, MAE, CRPS, coverage of central 50, 80 and 95 % intervals, and sharpness (mean predictive sd)."""
        return summary(self.rows)

    @property
    def title(self) -> str:
        """What it is."""
        folds, groups = self.rows["fold"].nunique(), self.rows["group"].nunique()
        return f"{folds}-fold cross-validation of {self.response} over {groups} values of {self.by} (seed {self.seed})"

    @property
    def text(self) -> str:
        """The scores in words."""
        scores, unit = self.scores(), f" {self.unit}" if self.unit else ""
        covered = ", ".join(f"{percent(scores[f'coverage_{100 * p:.0f}'])} of the {100 * p:.0f} % intervals" for p in COVERAGES)
        return (
            f"Held-out error: mean absolute {significant(scores['mae'])}{unit}, root mean square {significant(scores['rmse'])}{unit}. "
            f"The measurement lies in {covered}."
        )


def cross_validate(
    model: Model,
    data: Any,
    folds: int = 10,
    by: str = "material",
    seed: int = 1,
    draws: int = 500,
    chains: int = 2,
    tick: Callable[[], Any] | None = None,
    engine: str = "auto",
    progress: bool = False,
    executor: Executor | None = None,
    *,
    latents: str | None = None,
    sampler: str | None = None,
    tune: int | None = None,
) -> CrossValidation:
    """Fit without each fold in turn, and predict it.

    Parameters
    ----------
    model : Model
    data : DataFrame
    folds : int
        Number of folds; at most the number of groups, which leaves out each group alone.
    by : str
        A level that the model declares, or a column: rows of one value are left out together. ``"row"``: every row alone.
    seed : int
        Of the folds and of the fits.
    draws, chains : int
        Of each fit.
    tick : callable, optional
        Called after each fold.
    engine, latents, sampler, tune
        Of each fit, as of `Model.fit`.
    progress : bool
        Whether to show a bar.
    executor : concurrent.futures.Executor, optional
        Runs the folds, as of `fit_many`; the numbers are the same.

    Returns
    -------
    CrossValidation

    Raises
    ------
    realmat.ModelError
        If there is no such grouping, or fewer than two folds.
    realmat.FitError
        If folds fail, once all have ended: every one that failed is named.

    Examples
    --------
    >>> import realmat as rm
    >>> table = rm.datasets.load("formation_enthalpy")
    >>> model = rm.templates.get("formation_enthalpy").model("ideal")
    >>> rm.cross_validate(model, table, folds=3, seed=1, progress=False).rows.columns.tolist()
    ['fold', 'group', 'y', 'mean', 'sd', 'pit', 'crps']
    """
    import pandas as pd

    table = model.table(data)
    group = _groups(model, table, data, by)
    codes, values = pd.factorize(group)
    if not 2 <= folds <= len(values):
        raise ModelError(f"folds={folds}: there are {len(values)} values of {by!r}, so between 2 and {len(values)} folds are possible.")
    fold = np.random.default_rng(seed).permutation(np.arange(len(values)) % folds)[codes]
    own = {"latents": latents, "sampler": sampler, "tune": tune}
    options = {"engine": engine, "draws": draws, "chains": chains, "seed": seed, "progress": False, **own}
    tasks = {f"fold {k}": (model, table, fold == k, options) for k in range(folds)}
    with Progress(progress, f"{folds} folds", folds) as bar:

        def done() -> None:
            bar.advance()
            if tick is not None:
                tick()

        parts = run(_scores, tasks, executor, done, "folds")
    rows = pd.concat([scores.assign(fold=k, group=group[fold == k]) for k, scores in enumerate(parts.values())])
    rows = rows[["fold", "group", "y", "mean", "sd", "pit", "crps"]]
    return CrossValidation(rows.loc[table.index], model.response, model.unit, by, seed)


def _scores(model: Model, table: Table, held_out: np.ndarray, options: Mapping[str, Any]) -> pd.DataFrame:
    """Predictions of some rows by a fit to the others; those of a row with a limit are not scored."""
    import pandas as pd

    shown, rows = (cast(Any, table.take(np.flatnonzero(which))) for which in (~held_out, held_out))
    fit = model.fit(shown, **options)
    predicted = fit.predict(rows, draws=_PREDICTIVE_DRAWS, seed=options["seed"])
    y = rows.numeric(model.response)
    drawn = predicted["draws"].transpose("draw", "row").to_numpy()
    noise = fit.problem.observation.noise
    censored = None if noise is None else noise(rows).censored
    known = np.ones(len(y), dtype=bool) if censored is None else censored == 0
    scores = {"pit": np.where(known, (drawn < y).mean(axis=0), np.nan), "crps": np.where(known, _crps(drawn, y), np.nan)}
    mean, sd, value = (predicted[name].to_numpy() for name in ("mean", "sd", "mean_sd"))
    sd = np.sqrt(value**2 + (sd**2 - value**2) / rows.count)  # a row that stands for several holds their mean
    return pd.DataFrame({"y": y, "mean": mean, "sd": sd, **scores}, index=rows.index)


def _groups(model: Model, table: Table, data: Any, by: str) -> np.ndarray:
    if by == "row":
        return np.arange(len(table))
    column = model.levels.get(by, by)
    if table.within is not None:
        if column not in table.columns:
            known = ", ".join(table.columns)
            raise ModelError(f"by={by!r}: a table that is reduced where it lives keeps the columns of the model only ({known}).")
        return table.columns[column]
    frame = as_frame(data)
    if column not in frame.columns:
        raise ModelError(f"by={by!r} is neither a column nor one of the model's levels ({', '.join(model.levels) or 'none'}).")
    return one_spelling(frame[column].to_numpy())[0]


def _crps(drawn: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``E|X - y| - E|X - X'| / 2`` from draws of shape (draws, rows), fair (Ferro, Q. J. R. Meteorol. Soc. 140, 1917, 2014)."""
    count = len(drawn)
    rank = 2 * np.arange(1, count + 1) - count - 1
    spread = rank @ np.sort(drawn, axis=0) / (count * (count - 1))
    return np.asarray(np.abs(drawn - y).mean(axis=0) - spread)
