"""A fitted model: draws, and everything a scientist asks of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from realmat.engines import choice
from realmat.errors import FileError, FitError
from realmat.fit import files
from realmat.fit.figures import Figures
from realmat.joint import Joint
from realmat.model import Model
from realmat.posterior.draws import Posterior
from realmat.support.attached import attach
from realmat.support.threads import one_blas_thread
from realmat.terms.arguments import fits
from realmat.terms.component import reject_unknown
from realmat.terms.resolution import refuse_exact, refuse_single

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


class Fit(Figures):
    """The result of `Model.fit`.

    Attributes
    ----------
    model : Model
        That of the property which the fit is seen through; `declared` is that of all.
    posterior : Posterior
        The problem and its draws; `tree` shows them as a DataTree.
    """

    def summary(
        self,
        var_names: str | Sequence[str] | None = None,
        most: int = 40,
        kind: str = "all",
        ci_prob: float | None = None,
        ci_kind: str | None = None,
        round_to: int | str = "auto",
        coords: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """`az.summary`, ordered by layer: numbers, shown with the digits that the standard deviation of each row warrants.

        Parameters
        ----------
        var_names : str or list of str, optional
            Which variables; by default every hyperparameter, and every block of coefficients with at most `most` elements.
        most : int
        kind, ci_prob, ci_kind, coords
            As of `arviz.summary`.
        round_to : int, "auto" or "none"
            As of `arviz.summary`: decimals that numbers are rounded to; by default, and with ``"none"``, none is rounded. What is shown
            (and is the text of ``.formatted()``) by default has the digits that the standard deviation of its row warrants, with
            ``"none"`` all.

        Returns
        -------
        DataFrame
            Of floats, one row for each number: columns ``mean``, ``sd``, bounds as ``eti89_lb`` and ``eti89_ub``, ``ess_bulk``,
            ``ess_tail``, ``r_hat``, ``mcse_mean``, ``mcse_sd``. ``ess_bulk`` may be above the number of draws, up to ArviZ's limit of
            n log10(n): they come in pairs on opposite sides, whose mean is worth more than that of two independent draws.

        Raises
        ------
        realmat.ModelError
            For a variable that the fit has not, with the likely intended one.
        """
        from realmat.support.intervals import using
        from realmat.support.summaries import summary

        names = self._variables(most) if var_names is None else [var_names] if isinstance(var_names, str) else list(var_names)
        reject_unknown(names, [str(n) for n in self._drawn["posterior"].data_vars], "variables of the fit")
        with using(ci_prob, ci_kind):
            return summary(self._drawn, names, kind, round_to, coords)

    def _variables(self, most: int) -> list[str]:
        stored = self._drawn["posterior"].data_vars
        terms = self.problem.terms if self.chosen else self.problem.all_terms
        names: list[str] = []
        for t in terms:
            names += [q.name for q in t.params] + [c.name for c in t.coefficients if c.size <= most]
            names += [d.name for d in t.derived if np.prod([len(x) for x in d.coords]) <= most]
        return [n for n in dict.fromkeys(names) if n in stored]

    def _repr_html_(self) -> str:
        """The fit and its hyperparameters, in a notebook; of a law over one column also its picture."""
        from html import escape

        from realmat.plots import curve, style

        law = self.chosen and curve.shows_itself(self.model, self.problem)
        drawn = style.svg(self.plot_curve(), "Measurements, the law with its band, and what is left") if law else ""
        return f"<p>{escape(repr(self))}</p>{self.summary(most=12).to_html(border=0, max_rows=40)}{drawn}"

    @one_blas_thread()
    def report(self, path: str | Path, by: str | None = None) -> Path:
        """Write a self-contained report (see `realmat.report.write_report`).

        Parameters
        ----------
        path : str or Path
            Ending in ``.html``, or in ``.md`` for Markdown with a folder of figures.
        by : str, optional
            What is left out at a time for predictions and calibration.

        Raises
        ------
        realmat.FileError
            If the ending is another, or the file cannot be written.
        """
        from realmat.report import write_report

        return write_report(self, path, by)

    def save(self, path: str | Path) -> Path:
        """Write the fit to a NetCDF file, whole or not at all; `rm.load` reads it back to the bit.

        The file keeps what cannot be made again: draws, table, model. Predictions, log likelihoods and draws from the prior are made
        when `tree` is asked for; ``fit.tree.to_netcdf(path)`` writes them too, and `rm.load` reads such a file as well.

        Raises
        ------
        realmat.FileError
            If the file cannot be written.
        """
        return files.write(self.posterior, self.declared, path)


class SealedFit(Fit):
    """A fit whose file names code of modules that nobody said to trust: its draws, its table, and nothing that runs it.

    Attributes
    ----------
    why : str
        What needs which module, and how to say that it is trusted.
    """

    def __init__(self, tree: xr.DataTree, why: str) -> None:
        self.__dict__["tree"] = self.__dict__["_drawn"] = tree
        self.chosen = True
        self.why = why

    @property
    def model(self) -> Model:  # type: ignore[override]
        """Not without the modules it names."""
        raise FileError(self.why)

    @property
    def posterior(self) -> Posterior:  # type: ignore[override]
        """Not without the modules that the model names; `tree` has the draws."""
        raise FileError(self.why)

    def save(self, path: str | Path) -> Path:
        """A copy of the file it came from, whole or not at all."""
        return files.put(self.tree, path)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What was done."""
        return dict(json.loads(self.tree.attrs["facts"]))

    def __repr__(self) -> str:
        return f"<Fit by the {self.facts.get('engine')} engine, draws and tables only: {self.why}>"

    def _variables(self, most: int) -> list[str]:
        variables = self.tree["posterior"].data_vars
        return [str(n) for n, v in variables.items() if v.size <= most * v.sizes["chain"] * v.sizes["draw"]]


def load(path: str | Path, trust: str | Sequence[str] = ()) -> Fit:
    """Read a fit that `Fit.save` wrote. Nothing is imported or called but realmat's own, and modules that `trust` names.

    Parameters
    ----------
    path : str or path
    trust : list of str
        Modules (or packages, with all that is in them) whose functions and components the fit may use: you know what they do.

    Returns
    -------
    Fit
        One that names a module not trusted opens with its draws and tables (`tree`, `summary`, `facts`); whatever needs more says which.

    Raises
    ------
    realmat.FileError
        If the file is missing, damaged, not a realmat fit, or needs a component that cannot be imported.
    """
    try:
        return Fit(*files.read(path, trust))
    except files.UntrustedFileError as error:
        return SealedFit(error.tree, str(error))


@attach("fit", Model, Joint)
def fit(
    model: Model | Joint,
    data: pd.DataFrame,
    engine: str = "auto",
    draws: int = 1000,
    chains: int = 4,
    seed: int | None = None,
    progress: bool = True,
    *,
    latents: str | None = None,
    sampler: str | None = None,
    tune: int | None = None,
) -> Fit:
    """What `Model.fit` does."""
    _whole(draws=draws, chains=chains, seed=seed)
    problem = model.bind(data)
    for part in problem.every:
        refuse_single(part)
        refuse_exact(part)
    number = int(np.random.default_rng().integers(2**31)) if seed is None else int(seed)
    given = {"latents": latents, "sampler": sampler, "tune": tune}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return Fit(model, Posterior(problem, choice.run(problem, engine, draws, chains, number, progress, **options)))


def _whole(**numbers: int | None) -> None:
    wrong = [f"{name}={value!r}" for name, value in numbers.items() if not (fits(value, int) or (value is None and name == "seed"))]
    if wrong or (numbers["seed"] or 0) < 0:
        raise FitError(f"{', '.join(wrong) or 'seed is negative'}: draws, chains and seed are whole numbers, seed not negative.")
