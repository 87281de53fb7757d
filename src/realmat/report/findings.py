"""Everything a report says, computed once from a fit; and, where something does not apply, why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from realmat.attribution.budget import Budget
from realmat.attribution.separability import inseparable_groups
from realmat.errors import RealmatError
from realmat.posterior.grouping import some_groups
from realmat.support.checks import BAD, Check
from realmat.terms.problem import Problem
from realmat.validation.diagnostics import DRAWS, check
from realmat.validation.loo import LeftOut, left_out

if TYPE_CHECKING:
    from realmat.attribution.gap import Gap
    from realmat.attribution.laboratory import Laboratory
    from realmat.fit import Fit
    from realmat.model import Model
    from realmat.posterior.draws import Posterior
    from realmat.support.shown import Shown

MOST_LEFT_OUT = 5000  # rows, of whole groups


@dataclass(frozen=True)
class Findings:
    """The answers of a fit, for a page.

    Attributes
    ----------
    fit : Fit
    budgets : dict of str to Budget
        By what is new, from the least to the most.
    gap, advice, laboratory
        As the methods of `Fit` give them; None where they do not apply.
    check : Check
    left : LeftOut, optional
        Predictions of each group from a fit without it.
    absent : dict of str to str
        Section -> why it cannot be.
    """

    fit: Fit
    check: Check
    budgets: dict[str, Budget]
    gap: Gap | None
    left: LeftOut | None
    laboratory: Laboratory | None
    advice: Shown | None
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        """The model of the fit."""
        return self.fit.model

    @property
    def posterior(self) -> Posterior:
        """Problem and draws."""
        return self.fit.posterior

    @property
    def problem(self) -> Problem:
        """The model bound to its table."""
        return self.fit.problem

    @property
    def budget(self) -> Budget:
        """The budget that the conclusions are about: of a new specimen where specimens are told apart."""
        return self.budgets.get("specimen") or list(self.budgets.values())[-1]

    @property
    def warning(self) -> str:
        """What every table and figure says where the fit did not converge; empty where it did."""
        rows = self.check.table
        bad = (rows["part"] == "convergence") & (rows["verdict"] == BAD)
        return str(self.check.sentences[0]) if bad.any() else ""

    @property
    def log(self) -> bool:
        """Whether layers add up on the logarithm of the response."""
        return self.problem.link == "log"

    @property
    def unit(self) -> str:
        """Unit of the response, with a space before it where there is one."""
        return f" {self.model.unit}" if self.model.unit else ""


def findings(fit: Fit, by: str | None = None) -> Findings:
    """Ask a fit everything that a report says."""
    absent: dict[str, str] = {}

    def ask(section: str, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except RealmatError as reason:
            absent[section] = str(reason)
            return None

    by = by or leave_out_by(fit.problem)

    def predictions() -> LeftOut:
        return left_out(fit.posterior, by, draws=DRAWS, rows=some_groups(fit.problem.table, by, MOST_LEFT_OUT))

    left = ask("predictions", predictions)
    single = left is not None and len(left.elpd.elpd_i) == len(left.table)
    return Findings(
        fit,
        check(fit.posterior, fit.model, left if single else None),
        _budgets(fit),
        ask("gap", fit.gap),
        left,
        ask("laboratory", fit.repeatability),
        ask("advice", fit.advise),
        absent,
    )


def leave_out_by(problem: Problem) -> str:
    """What is left out at a time: a material where materials are declared, else a single observation."""
    return "material" if "material" in problem.table.levels else "observation"


def _budgets(fit: Fit) -> dict[str, Budget]:
    """One budget for each kind of new measurement that differs from the ones before."""
    levels = fit.problem.table.levels
    wanted = ["observation"]
    if "specimen" in levels or fit.problem.cells.rows_matter:
        wanted.append("specimen")
    if "material" in levels:
        wanted.append("material")
    budgets: dict[str, Budget] = {}
    joined = inseparable_groups(fit.problem)
    for new in wanted:
        made = fit.budget(new=new, joined=joined)
        if all(not made.table.equals(b.table) for b in budgets.values()):
            budgets[new] = made
    return budgets
