"""More rows after a fit: taken in at once where the hyperparameters move little, by a new fit where they move far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from realmat.engines import choice, exact
from realmat.errors import DataError
from realmat.fit.fitted import Fitted
from realmat.posterior.draws import Draws, Posterior
from realmat.support.threads import one_blas_thread
from realmat.table.table import Table, rows_text
from realmat.terms.carried import Priors
from realmat.terms.problem import Problem, tails

if TYPE_CHECKING:
    import pandas as pd

    from realmat.engines.exact.reweight import Basis, Reweighted


type More = pd.DataFrame | Mapping[str, Any]


class Updating(Fitted):
    """Fits that take in more rows."""

    @one_blas_thread()
    def update(self, rows: More | Sequence[More], progress: bool = False) -> Self:
        """The fit with more rows: measurements, characterisations or calculations, of known or new specimens, materials, laboratories.

        Draws of the hyperparameters are reweighted by what the new rows say of them, and coefficients are drawn anew, exactly. Where the
        weights are not to be trusted (k-hat above 0.7, or fewer than a quarter of the draws effective), or the model has no closed form,
        all rows are fitted anew. `facts` says which: `updates` is the number of updates, `method` and `k_hat` are those of the last.

        Parameters
        ----------
        rows : DataFrame or mapping, or a list of them
            One row a measurement, as for `Model.fit`. A row may lack the response and hold a characterisation or a calculated value
            alone. Labels of rows that the fit has already get a number of their own. Columns are in the units of the table of the fit,
            unless the rows say otherwise.
        progress : bool
            Whether a new fit shows its progress.

        Returns
        -------
        Fit
            A new one; this one stays as it is. Priors are those of this fit: they are not scaled again by the longer table.

        Raises
        ------
        realmat.DataError
            If the rows do not fit the model: every problem, column and row.
        """
        posterior, found = self._conditioned(self._longer(rows), progress)
        again = type(self)(self.declared, posterior, self.chosen)
        if found is not None:
            again.__dict__ |= {"_basis": found.basis, "weighted": found.weighted}
        return again

    @cached_property
    def weighted(self) -> Posterior:
        """The posterior for expectations over hyperparameters: after an update the draws that it reweighted, with their weights."""
        return self.posterior

    def _longer(self, rows: More | Sequence[More]) -> Problem:
        """The problem with more rows and the priors of this fit."""
        whole = known = self.problem.table.whole
        for more in rows if isinstance(rows, (list, tuple)) else (rows,):
            whole = whole.followed_by(self.declared.further_table(more, known.units))
        _nested(whole)
        priors = Priors.of(self.problem)
        return priors.put(self.declared.bind(whole, priors.scales)).of(self.problem.response)

    @cached_property
    def _basis(self) -> Basis:
        """The draws that updates reweight."""
        from realmat.engines.exact.reweight import Basis

        return Basis.of(self.posterior)

    def _conditioned(self, problem: Problem, progress: bool) -> tuple[Posterior, Reweighted | None]:
        """Draws given the rows of a longer problem, and how they were reweighted."""
        facts = {**self.facts, "updates": int(self.facts.get("updates", 0)) + 1}
        why = self._not_reweighted(problem)
        if not why:
            from realmat.engines.exact.reweight import reweighted

            found = reweighted(self._basis, problem, {**facts, "update": "reweighted"}, int(facts["seed"]))
            if found.posterior is not None:
                return found.posterior, found
            why = f"k-hat {found.k_hat:.2f}, efficiency {found.efficiency:.0%}"
        asked = int(facts["draws"]), int(facts["chains"]), int(facts["seed"])
        made = choice.run(problem, str(facts["engine"]), *asked, progress, start=self._start(problem))
        new = {**made.facts, "updates": facts["updates"], "update": f"fitted anew: {why}"}
        return Posterior(problem, Draws(made.params, made.coefficients, made.summary, made.stats, new)), None

    def _start(self, problem: Problem) -> Mapping[str, np.ndarray] | None:
        """Draws of this fit, from which a new one starts."""
        from realmat.engines.exact.reweight import widened

        params = self.posterior.draws.params
        return widened(params, problem, self.posterior.shape, int(self.facts["seed"])) if params else None

    def _not_reweighted(self, problem: Problem) -> str:
        """Why draws of this fit cannot be reweighted; empty where they can."""
        if self.facts.get("engine") != "exact" or exact.refusal(problem):
            return "the model has no closed form given its hyperparameters"
        if tails(problem):
            return "rows with heavy tails or limits have no closed form given the hyperparameters"
        if self.facts.get("latents") == "summary":
            return "coefficients are kept as means and standard deviations"
        return "" if self.posterior.draws.params else "there are no hyperparameters to reweight"


def _nested(table: Table) -> None:
    """A specimen is one piece of one material, in the new rows and the old.

    Raises
    ------
    realmat.DataError
        With the new rows that say otherwise.
    """
    if not {"specimen", "material"} <= set(table.levels):
        return
    specimen, material = table.level("specimen").codes, table.level("material").codes
    first = np.zeros(specimen.max() + 1, dtype=material.dtype)
    first[specimen[::-1]] = material[::-1]
    bad = (first[specimen] != material) & (specimen >= 0)
    if bad.any():
        where = rows_text(table.index[bad])
        raise DataError(f"the new rows do not fit those of the fit: the same specimen belongs to another material in {where}.")
