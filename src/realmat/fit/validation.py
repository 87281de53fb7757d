"""Whether to believe it: groups left out, convergence, calibration."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from realmat.fit.fitted import Fitted
from realmat.posterior.grouping import By
from realmat.support.threads import one_blas_thread

if TYPE_CHECKING:
    import arviz as az

    from realmat.support.checks import Check
    from realmat.validation.loo import LeftOut

_QUICK = 5000  # rows up to which a fit without some of them takes seconds


class Validation(Fitted):
    """Questions about trust."""

    def loo(
        self, by: By = "observation", refit: bool | None = None, draws: int | None = None, executor: Executor | None = None
    ) -> az.ELPDData:
        """Leave-one-group-out cross-validation with the coefficients integrated out (see `realmat.validation.loo.loo`).

        Parameters
        ----------
        by : str or sequence
            ``"observation"``, a level, a column that the model uses, or one label for each row.
        refit : bool, optional
            Whether groups for which importance sampling fails are refitted without; by default on the exact engine with up to 5000 rows,
            where that is quick. Elsewhere their k-hat stays as it is and `az.ELPDData` warns.
        draws : int, optional
            At most so many posterior draws.
        executor : concurrent.futures.Executor, optional
            Runs the refits, as of `realmat.fit_many`; the numbers are the same.

        Returns
        -------
        az.ELPDData
            For `az.compare`; `elpd_i` and `pareto_k` along a dimension named as the grouping.
        """
        return self.left_out(by, refit, draws, executor=executor).elpd

    @one_blas_thread()
    def left_out(
        self,
        by: By = "observation",
        refit: bool | None = None,
        draws: int | None = None,
        tick: Callable[[int, int], None] | None = None,
        executor: Executor | None = None,
    ) -> LeftOut:
        """As `loo`, with the left-out prediction of every row (see `realmat.validation.loo.left_out`); ``tick(done, of)`` on the way."""
        from realmat.validation.loo import left_out

        quick = self.facts.get("engine") == "exact" and not self.problem.swept and len(self.problem.table) <= _QUICK
        again = quick if refit is None else refit
        return left_out(self.posterior, by, self._without(executor) if again else None, draws, tick=tick)

    @one_blas_thread()
    def check(self) -> Check:
        """Convergence, calibration, sensitivity: a table, and text that says what to do (see `realmat.validation.diagnostics.check`)."""
        from realmat.validation.diagnostics import check

        return check(self.posterior, self.model)
