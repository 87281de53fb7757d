"""A fitted model: draws, and everything a scientist asks of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from realmat.engines import choice
from realmat.fit import files
from realmat.fit.figures import Figures
from realmat.model import Model
from realmat.posterior.draws import Posterior
from realmat.support.attached import attach
from realmat.support.threads import one_blas_thread

if TYPE_CHECKING:
    import pandas as pd


class Fit(Figures):
    """The result of `Model.fit`.

    Attributes
    ----------
    model : Model
    posterior : Posterior
        The problem and its draws; `tree` shows them as a DataTree.
    """

    def summary(
        self,
        var_names: Sequence[str] | None = None,
        most: int = 40,
        kind: str = "all",
        ci_prob: float | None = None,
        ci_kind: str | None = None,
        round_to: int | str = "auto",
        coords: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """`az.summary`, ordered by layer.

        Parameters
        ----------
        var_names : list of str, optional
            Which variables; by default every hyperparameter, and every block of coefficients with at most `most` elements.
        most : int
        kind, ci_prob, ci_kind, round_to, coords
            As of `arviz.summary`.
        """
        import arviz_stats

        if var_names is None:
            terms = self.problem.terms
            var_names = [n for t in terms for n in [*(q.name for q in t.params), *(c.name for c in t.coefficients if c.size <= most)]]
            stored = self.tree["posterior"].data_vars
            var_names = [n for n in var_names if n in stored]
        return arviz_stats.summary(
            self.tree, var_names=list(var_names), coords=coords, kind=kind, ci_prob=ci_prob, ci_kind=ci_kind, round_to=round_to
        )

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

        Raises
        ------
        realmat.FileError
            If the file cannot be written.
        """
        return files.write(self.tree, path)


def load(path: str | Path) -> Fit:
    """Read a fit that `Fit.save` wrote.

    Raises
    ------
    realmat.FileError
        If the file is missing, damaged, not a realmat fit, or needs a component that cannot be imported.
    """
    return Fit(*files.read(path))


@attach("fit", Model)
def fit(
    model: Model,
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
    problem = model.bind(data)
    number = int(np.random.default_rng().integers(2**31)) if seed is None else int(seed)
    given = {"latents": latents, "sampler": sampler, "tune": tune}
    options = {name: value for name, value in given.items() if value is not None}
    return Fit(model, Posterior(problem, choice.run(problem, engine, draws, chains, number, progress, **options)))
