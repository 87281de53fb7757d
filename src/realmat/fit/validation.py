"""Whether to believe it: groups left out, convergence, calibration."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from realmat.errors import ModelError
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
        self,
        by: By = "observation",
        refit: bool | None = None,
        draws: int | None = None,
        executor: Executor | None = None,
        *,
        of: str | None = None,
        given: str = "others",
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
        of : str, optional
            Of a joint fit: which property is left out.
        given : {"others", "nothing"}
            Of a joint fit: whether what was measured of the group's other properties is kept, or left out with it.

        Returns
        -------
        az.ELPDData
            For `az.compare`; `elpd_i` and `pareto_k` along a dimension named as the grouping.
        """
        return self.left_out(by, refit, draws, executor=executor, of=of, given=given).elpd

    @one_blas_thread()
    def left_out(
        self,
        by: By = "observation",
        refit: bool | None = None,
        draws: int | None = None,
        tick: Callable[[int, int], None] | None = None,
        executor: Executor | None = None,
        *,
        of: str | None = None,
        given: str = "others",
    ) -> LeftOut:
        """As `loo`, with the left-out prediction of every row (see `realmat.validation.loo.left_out`); ``tick(done, of)`` on the way."""
        from realmat.validation.loo import GIVEN, left_out
        from realmat.validation.nothing import left_out_alone

        if given not in GIVEN:
            raise ModelError(f"given= must be one of {', '.join(GIVEN)}, not {given!r}.")
        own = self._seen(of)
        if given == "nothing" and own.problem.beside:
            return left_out_alone(own.posterior, by, draws, tick)
        quick = own.facts.get("engine") == "exact" and not own.problem.swept and len(own.problem.table) <= _QUICK
        again = quick if refit is None else refit
        return left_out(own.posterior, by, own._without(executor) if again else None, draws, tick=tick)

    @one_blas_thread()
    def check(self, *, of: str | None = None) -> Check:
        """Convergence, calibration, sensitivity: a table, and text that says what to do (see `realmat.validation.diagnostics.check`).

        Of a joint fit `of` names the property whose predictions are looked at; without it all are.
        """
        from realmat.validation.diagnostics import check, check_every

        if of is None and not self.chosen:
            return check_every(self.posterior)
        own = self._seen(of)
        return check(own.posterior, own.model)
