"""Compare models by what they predict of groups they have not seen."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from realmat.errors import DataError, ModelError
from realmat.support.attached import attached
from realmat.support.checks import listed
from realmat.support.numbers import plus_minus, significant
from realmat.support.shown import Shown
from realmat.table.table import ROW, Table, rows_text, statistics
from realmat.terms.problem import Problem
from realmat.validation.diagnostics import coverage_words, warning
from realmat.validation.loo import LeftOut
from realmat.validation.scores import COVERAGES

if TYPE_CHECKING:
    import arviz as az
    from arviz_plots import PlotCollection

    from realmat.fit import Fit

THINGS = {ROW: "measurements", "specimen": "specimens", "material": "materials", "lab": "laboratories"}


@dataclass(frozen=True)
class Comparison(Shown):
    """Models of the same measurements, best first.

    Attributes
    ----------
    table : DataFrame
        Indexed by model: the columns of `az.compare` (not rounded), and of the same left-out predictions `rmse`, `mae`, `crps`,
        `coverage_50`, `coverage_80`, `coverage_95` and `sharpness` (mean predictive sd), in response units.
    left_out : dict of str to LeftOut
    fits : dict of str to Fit
    by : str
        What was left out at a time.
    notes : tuple of str
        What the reader must know.
    """

    table: pd.DataFrame
    left_out: Mapping[str, LeftOut]
    fits: Mapping[str, Fit]
    by: str
    notes: tuple[str, ...]

    @property
    def _label(self) -> str:
        return "model"

    @property
    def title(self) -> str:
        """What was compared."""
        return f"Comparison of {len(self.fits)} models by leaving out {things(self.by)}"

    @cached_property
    def text(self) -> str:
        """What the numbers say."""
        return " ".join([*_verdict(self), *self.notes])

    def plot(
        self, relative_scale: bool = True, rotated: bool = False, hide_top_model: bool = False, backend: str | None = None
    ) -> PlotCollection:
        """Differences in expected log predictive density, with standard errors; arguments are those of `arviz_plots.plot_compare`."""
        import arviz_plots

        return arviz_plots.plot_compare(
            self.table, relative_scale=relative_scale, rotated=rotated, hide_top_model=hide_top_model, backend=backend
        )

    def report(self, path: str | Path) -> Path:
        """Write a self-contained report (HTML, or Markdown for ``.md``).

        Raises
        ------
        realmat.FileError
            If the file cannot be written.
        """
        return attached("report", self)(path)


def things(by: str) -> str:
    """What is left out, in the plural."""
    return THINGS.get(by, f"values of {by}")


def compare(
    fits: Mapping[str, Fit],
    by: str | Sequence[Any] | pd.Series = "observation",
    method: str = "stacking",
    draws: int | None = None,
    refit: bool | None = None,
    executor: Executor | None = None,
) -> Comparison:
    """Compare fits of the same measurements by leave-one-group-out cross-validation.

    Parameters
    ----------
    fits : mapping of name to Fit
        At least two, of the same response on the same rows. Links may differ: densities are of the response in its own unit.
    by : str or sequence
        As of `Fit.loo`. A level that some models do not declare is taken from one that does.
    method : {"stacking", "BB-pseudo-BMA", "pseudo-BMA"}
        How `az.compare` weighs the models.
    draws, refit, executor
        As of `Fit.loo`.

    Raises
    ------
    realmat.ModelError
        If there are not two fits, or no such grouping.
    realmat.DataError
        If the fits are not of the same data; every difference is named.

    Examples
    --------
    >>> import pandas as pd
    >>> import realmat as rm
    >>> df = pd.DataFrame({"gap": [1.1, 1.4, 2.0, 2.6, 3.1, 3.3], "pbe": [0.6, 0.9, 1.3, 1.9, 2.4, 2.4]})
    >>> flat = rm.Model("gap", theory=rm.theory.Constant()).fit(df, draws=100, seed=1, progress=False)
    >>> line = rm.Model("gap", theory=rm.theory.Calibrated("pbe")).fit(df, draws=100, seed=1, progress=False)
    >>> rm.compare({"flat": flat, "line": line}).table.index.tolist()
    ['line', 'flat']
    """
    if not isinstance(fits, Mapping) or len(fits) < 2:
        raise ModelError("compare takes a mapping of at least two names to fits, as in rm.compare({'ideal': a, 'real': b}).")
    _same_data(fits)
    labels = _labels(fits, by)
    left = {name: fit.left_out(labels[name], refit, draws, executor=executor) for name, fit in fits.items()}
    table, notes = _table(left, method)
    return Comparison(table, left, dict(fits), str(next(iter(labels.values())).name), (*_notes(fits, left), *notes))


def _same_data(fits: Mapping[str, Fit]) -> None:
    (first, one), *others = fits.items()
    a, problems = one.problem, []
    for name, fit in others:
        b = fit.problem
        if (b.response, fit.model.unit) != (a.response, one.model.unit):
            told = [f"{p.response} in {f.model.unit or 'no unit'}" for p, f in ((a, one), (b, fit))]
            problems.append(f"{first!r} is of {told[0]}, {name!r} of {told[1]}.")
            continue
        if a.table.within is not None and b.table.within is not None:
            problems += _same_cells(first, a, name, b)
            continue
        left, right = (pd.Series(p.table.numeric(p.response), index=p.table.index) for p in (a, b))
        if len(left) != len(right) or not left.index.sort_values().equals(right.index.sort_values()):
            apart = left.index.symmetric_difference(right.index)
            problems.append(f"{first!r} has {len(left)} rows, {name!r} {len(right)}; {rows_text(apart)} are not in both.")
            continue
        differ = left.index[~np.isclose(left, right.loc[left.index], rtol=1e-12, atol=0)]
        if len(differ):
            problems.append(f"{first!r} and {name!r} hold other values of {a.response} in {rows_text(differ)}.")
    if problems:
        raise DataError("models can only be compared on the same measurements; fit them to one table.", problems)


def _same_cells(first: str, a: Problem, name: str, b: Problem) -> list[str]:
    """Whether two tables were reduced from the same measurements: their number, mean and scatter."""
    told = [statistics(p.table, p.g, np.zeros(len(p.table), dtype=int), 1) for p in (a, b)]
    if a.table.readings != b.table.readings:
        return [f"{first!r} has {a.table.readings} measurements, {name!r} {b.table.readings}."]
    if a.link == b.link and not np.allclose(told[0], told[1], rtol=1e-9, atol=0):
        return [f"{first!r} and {name!r} hold other values of {a.response}: their mean and scatter differ."]
    return []


def _labels(fits: Mapping[str, Fit], by: Any) -> dict[str, pd.Series]:
    """The group of every row of each fit."""
    tables = {name: fit.problem.table for name, fit in fits.items()}
    first, *others = tables.values()
    if all(len(t) == len(first) and set(t.index) == set(first.index) for t in others):
        labels = _of_rows(list(tables.values()), by)
        return {name: labels.loc[t.index] for name, t in tables.items()}
    # reduced where they live by models of different columns: the cells differ, and only what they have in common can be left out
    column = next((t.column_of(by) for t in tables.values() if by in t.levels), by) if isinstance(by, str) else None
    if not all(column in t.columns for t in tables.values()):
        common = [c for c in first.columns if c != first.response and all(c in t.columns for t in others)]
        raise ModelError(f"the models reduced the table to different cells; leave out by what all of them know: {', '.join(common)}.")
    return {name: pd.Series(t.columns[str(column)], index=t.index, name=by) for name, t in tables.items()}


def _of_rows(tables: Sequence[Table], by: Any) -> pd.Series:
    """The group of every row, indexed as the tables are."""
    if not isinstance(by, str):
        return by if isinstance(by, pd.Series) else pd.Series(np.asarray(by), index=tables[0].index, name="group")
    if by in ("observation", ROW):
        return pd.Series(tables[0].index, index=tables[0].index, name=ROW)
    found = next((t for t in tables if t.column_of(by) in t.columns), None)
    if found is None:
        known = sorted({name for t in tables for name in (*t.levels, *t.columns)})
        raise ModelError(f"cannot leave out by {by!r}: the models know observation, {', '.join(known)}.")
    return pd.Series(found.columns[str(found.column_of(by))], index=found.index, name=by)


def _table(left: Mapping[str, LeftOut], method: str) -> tuple[pd.DataFrame, list[str]]:
    """`az.compare`, and the scores.

    Densities of large groups are far from 1 and would vanish in the exponentials of the weights, so each group is compared relative to
    its best model.
    """
    from arviz_stats import compare as arviz_compare

    order = next(iter(left.values())).elpd.elpd_i.indexes[next(iter(left.values())).by]
    every = {name: _ordered(found.elpd, found.by, order) for name, found in left.items()}
    best = np.max([e.elpd_i.values for e in every.values()], axis=0)
    shifted = {name: dataclasses.replace(e, elpd=e.elpd - best.sum(), elpd_i=e.elpd_i - best) for name, e in every.items()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = arviz_compare(shifted, method=method, round_to="none")
    table["elpd"] = [every[name].elpd for name in table.index]
    table["se"] = [every[name].se for name in table.index]
    scores = pd.DataFrame({name: left[name].scores() for name in table.index}).T
    return table.join(scores), [f"ArviZ: {w.message}" for w in caught if issubclass(w.category, UserWarning)]


def _ordered(elpd: az.ELPDData, by: str, order: pd.Index) -> az.ELPDData:
    return dataclasses.replace(elpd, elpd_i=elpd.elpd_i.sel({by: order}), pareto_k=elpd.pareto_k.sel({by: order}))


def _notes(fits: Mapping[str, Fit], left: Mapping[str, LeftOut]) -> list[str]:
    notes = []
    links = {fit.problem.link for fit in fits.values()}
    if len(links) > 1:
        notes.append("The links differ; densities are of the response in its own unit (Jacobian included), so they compare.")
    for name, found in left.items():
        bad = int((found.elpd.pareto_k.values > found.elpd.good_k).sum())
        if bad:
            notes.append(f"{name}: importance sampling is not to be trusted for {bad} groups (k-hat above {found.elpd.good_k:.2g}).")
    for name, fit in fits.items():
        why = warning(fit.posterior)
        if why:
            notes.append(f"{name}: {why}")
    return notes


def _verdict(c: Comparison) -> list[str]:
    table, best = c.table, str(c.table.index[0])
    one = next(iter(c.fits.values()))
    response, unit = one.problem.said(one.problem.response), one.model.unit
    said = []
    for name, r in table.iloc[1:].iterrows():
        d, e = -float(r["elpd_diff"]), float(r["dse"])
        clear = d > 2 * e and d >= 4
        how = f"its expected log predictive density is higher by {plus_minus(d, e)}"
        said.append(
            f"{best} predicts left-out {things(c.by)} better than {name}: {how}."
            if clear
            else f"{best} and {name} cannot be told apart ({plus_minus(d, e)})."
        )
    top = table.iloc[0]
    scores = {str(k): float(top[k]) for k in top.index if str(k).startswith(("coverage", "mae", "rmse"))}
    unit = f" {unit}" if unit else ""
    said.append(
        f"Left-out predictions of {response} by {best} have a mean absolute error of {significant(scores['mae'])}{unit} "
        f"(root mean square {significant(scores['rmse'])}{unit}); {coverage_words(scores)}."
    )
    low = [
        p
        for p in COVERAGES
        if scores[f"coverage_{100 * p:.0f}"] < p - 3 * np.sqrt(p * (1 - p) / len(next(iter(c.left_out.values())).table))
    ]
    if low:
        said.append(f"That is too little at {listed([f'{100 * p:.0f} %' for p in low])}: {best} is too sure of itself.")
    shared = [f"{name} {float(w):.2f}" for name, w in table["weight"].items() if w >= 0.005]
    if len(shared) > 1:
        said.append(f"For prediction, weigh the models: {', '.join(shared)}.")
    return said
