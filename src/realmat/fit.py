"""A fitted model: draws, and everything a scientist asks of them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from realmat.engines import choice
from realmat.errors import FileError, RealmatError
from realmat.model import Model
from realmat.posterior.draws import Posterior
from realmat.support.threads import one_blas_thread
from realmat.table.table import Table
from realmat.terms.problem import Problem

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from realmat.attribution.advise import Advice
    from realmat.attribution.budget import Budget
    from realmat.attribution.gap import Gap
    from realmat.validation.diagnostics import Check
    from realmat.validation.loo import LeftOut


_QUICK = 5000  # rows up to which a fit without some of them takes seconds


class Fit:
    """The result of `Model.fit`.

    Attributes
    ----------
    model : Model
    posterior : Posterior
        The problem and its draws; `tree` shows them as a DataTree.
    """

    def __init__(self, model: Model, posterior: Posterior, tree: xr.DataTree | None = None) -> None:
        self.model = model
        self.posterior = posterior
        if tree is not None:
            self.__dict__["tree"] = tree

    @property
    def problem(self) -> Problem:
        """The model bound to its table."""
        return self.posterior.problem

    @property
    def facts(self) -> Mapping[str, Any]:
        """What was done: engine, reason, seed, seconds, k-hat, acceptance."""
        return self.posterior.draws.facts

    @cached_property
    def tree(self) -> xr.DataTree:
        """All groups as an `xarray.DataTree`, made when first asked for."""
        from realmat.posterior import tree

        return tree.build(self.posterior, self.model.to_dict())

    def __repr__(self) -> str:
        facts = self.facts
        chains, draws = self.posterior.shape
        rows = len(self.problem.table)
        name = self.model.name or self.model.response
        made = f"{chains} x {draws} draws by the {facts.get('engine')} engine in {facts.get('seconds', 0):.1f} s"
        return f"<Fit of {name!r}: {rows} rows, {made}>"

    def summary(self, var_names: Sequence[str] | None = None, most: int = 40, **kwargs: Any) -> pd.DataFrame:
        """`az.summary`, ordered by layer.

        Parameters
        ----------
        var_names : list of str, optional
            Which variables; by default every hyperparameter, and every block of coefficients with at most `most` elements.
        """
        import arviz_stats

        if var_names is None:
            terms = self.problem.terms
            var_names = [n for t in terms for n in [*(q.name for q in t.params), *(c.name for c in t.coefficients if c.size <= most)]]
            stored = self.tree["posterior"].data_vars
            var_names = [n for n in var_names if n in stored]
        return arviz_stats.summary(self.tree, var_names=list(var_names), **kwargs)

    @one_blas_thread()
    def budget(self, new: str = "observation", data: pd.DataFrame | None = None, **kwargs: Any) -> Budget:
        """The uncertainty budget (see `realmat.attribution.budget.budget`)."""
        from realmat.attribution.budget import budget
        from realmat.attribution.separability import inseparable_groups

        joined = kwargs.pop("joined", None)
        if joined is None:
            joined = inseparable_groups(self.problem)
        return budget(self.posterior, new=new, table=self._table(data), joined=joined, unit=self.model.unit, **kwargs)

    @one_blas_thread()
    def gap(self) -> Gap:
        """From theory to measurement, specimen by specimen (see `realmat.attribution.gap.gap`)."""
        from realmat.attribution.gap import gap

        return gap(self.posterior, unit=self.model.unit)

    @one_blas_thread()
    def repeatability(self, **kwargs: Any) -> Any:
        """Repeatability s_r and reproducibility s_R, and the bias of each lab (ISO 5725; see `realmat.attribution.laboratory`)."""
        from realmat.attribution.laboratory import repeatability

        return repeatability(self.posterior, unit=self.model.unit, **kwargs)

    @one_blas_thread()
    def predict(
        self, data: pd.DataFrame | None = None, new: str = "observation", draws: int | None = None, seed: int | None = None
    ) -> xr.Dataset:
        """Predictions for rows (see `realmat.attribution.predict.predict`); the rows of the fit by default."""
        from realmat.attribution.predict import predict

        return predict(self.posterior, self._table(data), new=new, draws=draws, seed=self._seed(seed))

    @one_blas_thread()
    def advise(self, actions: Any = None, target: Any = None, costs: Any = None, **kwargs: Any) -> Advice:
        """What to measure next (see `realmat.attribution.advise.advise`)."""
        from realmat.attribution.advise import advise

        return advise(self.posterior, actions=actions, target=target, costs=costs, read=self.model.prediction_table, **kwargs)

    def loo(self, by: Any = "observation", refit: bool | None = None, **kwargs: Any) -> Any:
        """Leave-one-group-out cross-validation with the coefficients integrated out, as `az.ELPDData` (see `realmat.validation.loo.loo`).

        Groups for which importance sampling fails are refitted without (`refit`; by default on the exact engine with up to 5000 rows, where
        that is quick; elsewhere their k-hat stays as it is and `az.ELPDData` warns).
        """
        return self.left_out(by, refit, **kwargs).elpd

    @one_blas_thread()
    def left_out(self, by: Any = "observation", refit: bool | None = None, **kwargs: Any) -> LeftOut:
        """As `loo`, with the left-out prediction of every row (see `realmat.validation.loo.left_out`)."""
        from realmat.validation.loo import left_out

        quick = self.facts.get("engine") == "exact" and len(self.problem.table) <= _QUICK
        again = quick if refit is None else refit
        return left_out(self.posterior, by, self._sampled if again else None, **kwargs)

    def _sampled(self, problem: Problem) -> Posterior:
        """Sample a problem as this fit was."""
        facts = self.facts
        draws = choice.run(problem, str(facts["engine"]), int(facts["draws"]), int(facts["chains"]), int(facts["seed"]), progress=False)
        return Posterior(problem, draws)

    @one_blas_thread()
    def check(self) -> Check:
        """Convergence, calibration, sensitivity: a table, and text that says what to do (see `realmat.validation.diagnostics.check`)."""
        from realmat.validation.diagnostics import check

        return check(self.posterior)

    @one_blas_thread()
    def plot_budget(self, **kwargs: Any) -> Any:
        """Stacked bar of the budget; keywords go to `budget`."""
        return self.budget(**kwargs).plot()

    @one_blas_thread()
    def plot_gap(self, specimen: Any = None, **kwargs: Any) -> Any:
        """Waterfall from theory to the measured value of one specimen."""
        return self.gap().plot(specimen, **kwargs)

    @one_blas_thread()
    def plot_parity(self, **kwargs: Any) -> Any:
        """Measured against predicted, error bars by layer."""
        from realmat.plots.parity import plot_parity

        return plot_parity(self.posterior, unit=self.model.unit, **kwargs)

    @one_blas_thread()
    def plot_calibration(self, **kwargs: Any) -> Any:
        """Nominal against empirical coverage of left-out predictions."""
        from realmat.plots.calibration import plot_calibration

        return plot_calibration(self.posterior, **kwargs)

    def plot_model(self, **kwargs: Any) -> Any:
        """The model as a picture of its layers."""
        from realmat.plots.model import plot_model

        return plot_model(self.model, self.problem, **kwargs)

    @one_blas_thread()
    def report(self, path: str | Path, **kwargs: Any) -> Path:
        """Write a self-contained report (HTML, or Markdown for ``.md``; see `realmat.report`)."""
        from realmat.report import write_report

        return write_report(self, path, **kwargs)

    def save(self, path: str | Path) -> Path:
        """Write the fit to a NetCDF file, whole or not at all; `rm.load` reads it back to the bit.

        Raises
        ------
        realmat.FileError
            If the file cannot be written.
        """
        target = Path(path)
        part = target.with_name(f".{target.name}.part")
        try:
            self.tree.to_netcdf(part, engine="netcdf4")
            os.replace(part, target)
        except (OSError, RuntimeError) as error:  # of the latter kind are those of the NetCDF library
            part.unlink(missing_ok=True)
            raise FileError(f"cannot write {target}: {getattr(error, 'strerror', None) or error}.") from error
        return target

    def _table(self, data: pd.DataFrame | None) -> Table | None:
        return None if data is None else self.model.prediction_table(data)

    def _seed(self, seed: int | None) -> int:
        return int(self.facts.get("seed", 0)) if seed is None else seed


def load(path: str | Path) -> Fit:
    """Read a fit that `Fit.save` wrote.

    Raises
    ------
    realmat.FileError
        If the file is missing, damaged, not a realmat fit, or needs a component that cannot be imported.
    """
    import xarray as xr

    from realmat.posterior import tree as layout

    source = Path(path)
    if not source.exists():
        raise FileError(f"{source} does not exist.")
    try:
        with xr.open_datatree(source, engine="netcdf4") as opened:
            tree = opened.load()
    except Exception as error:  # any reader's complaint means the same to the user
        raise FileError(f"{source} is not a NetCDF file, or is damaged ({type(error).__name__}: {error}).") from error
    if tree.attrs.get("format") != layout.FORMAT:
        raise FileError(f"{source} is not a realmat fit of the format {layout.FORMAT!r} (it says {tree.attrs.get('format')!r}).")
    try:
        model = Model.from_dict(json.loads(tree.attrs["model"]))
        columns, index, limits = layout.read_columns(tree["constant_data"].to_dataset())
        table = Table(columns, model.levels, index, limits, None, model.response, model.link)
        if table.digest != tree.attrs["data_hash"]:
            raise FileError(f"{source}: the data in the file do not match their hash; the file is damaged or was edited.")
        problem = model.bind(table)
        draws = layout.read_draws(tree, problem)
    except FileError:
        raise
    except (RealmatError, KeyError, ValueError, TypeError) as error:
        raise FileError(f"{source} cannot be read back: {error}") from error
    return Fit(model, Posterior(problem, draws), tree)


def fit(
    model: Model,
    data: pd.DataFrame,
    engine: str = "auto",
    draws: int = 1000,
    chains: int = 4,
    seed: int | None = None,
    progress: bool = True,
    **options: Any,
) -> Fit:
    """What `Model.fit` does."""
    problem = model.bind(data)
    number = int(np.random.default_rng().integers(2**31)) if seed is None else int(seed)
    return Fit(model, Posterior(problem, choice.run(problem, engine, draws, chains, number, progress, **options)))
