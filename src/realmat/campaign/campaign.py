"""The loop: ask, measure, tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from realmat.attribution.advise import KINDS, Actions, costs_of, lines_of, thinned_to_most, wanted_of
from realmat.attribution.candidates import Lines
from realmat.attribution.covariances import Sums, greedy
from realmat.attribution.theories import theories_of
from realmat.campaign import actions as rows_of
from realmat.campaign.packing import lines, packed, unpacked
from realmat.campaign.record import Record
from realmat.campaign.targets import Parameter, Passing, Predict, as_aim, gain_of
from realmat.errors import DataError, FileError, ModelError
from realmat.support.numbers import significant
from realmat.support.threads import one_blas_thread
from realmat.terms.component import reject_unknown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from realmat.fit import Fit

_NOTHING = 1e-12  # of the target's variance: an action that is expected to tell less tells nothing


class Campaign:
    """Measure what tells most per cost, take it in, and stop when enough is known.

    Parameters
    ----------
    fit : Fit
        What is known at the start.
    target : DataFrame, sequence of row labels, str or target of `realmat.campaign`, optional
        Rows to predict (`realmat.campaign.Predict`), the name of a parameter (`Parameter`), the best row (`Best`), or which rows pass a
        specification (`Passing`). The rows that the fit begins with by default.
    costs : mapping, optional
        Cost of a kind of action (``"repeat"``, ``"characterise"``, ``"theory"``, ``"specimen"``, ``"measure"``) or of one action by its
        words; 1 by default.
    budget : float, optional
        What may be spent in all.
    actions : as of `Fit.advise`, or callable, optional
        What is possible: kinds, or a table of candidate rows, each of which is measured once; or a function of the fit that gives either.
    until : float, optional
        Uncertainty of the target at which enough is known: the root mean square standard uncertainty, on the scale of the link, for rows
        and parameters; what `realmat.campaign.Best` and `Passing` define for these.
    worth : float, optional
        What a gain of one is worth, in the unit of the costs: the campaign ends when no action is expected to pay for itself.
    path : str or Path, optional
        File of the record. If it exists, the campaign goes on from there: what was told is taken in again.

    Attributes
    ----------
    fit : Fit
        With all rows told so far.
    spent : float
    record : Record
        Every step.

    Raises
    ------
    realmat.ModelError
        For limits that are not positive, or unknown costs or targets.
    realmat.FileError
        If the record cannot be read.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> import realmat as rm
    >>> rng = np.random.default_rng(1)
    >>> piece = np.repeat(np.arange(8), 2)
    >>> df = pd.DataFrame({"y": rng.normal(0, 1, 8)[piece] + rng.normal(0, 0.3, 16), "piece": piece})
    >>> model = rm.Model("y", levels={"specimen": "piece"}, theory=rm.theory.Constant(), material=rm.material.Unresolved(by="specimen"))
    >>> campaign = rm.Campaign(model.fit(df, seed=1, progress=False), actions=["repeat"], budget=2)
    >>> todo = campaign.ask()
    >>> todo["y"] = 0.4
    >>> campaign.tell(todo)
    >>> campaign.spent, campaign.done
    (1.0, False)
    """

    def __init__(
        self,
        fit: Fit,
        target: Any = None,
        costs: Mapping[str, float] | None = None,
        budget: float | None = None,
        actions: Actions | Callable[[Fit], Actions] = None,
        until: float | None = None,
        worth: float | None = None,
        path: str | Path | None = None,
    ) -> None:
        rows_of.check_names(fit.declared)
        wrong = [f"{n}={v!r}" for n, v in (("budget", budget), ("until", until), ("worth", worth)) if v is not None and not v > 0]
        if wrong:
            raise ModelError(f"{', '.join(wrong)}: limits of a campaign are positive.")
        aim = as_aim(target)
        if aim.rows is None and not isinstance(aim, Parameter):
            aim = replace(aim, rows=list(fit.problem.table.index))  # type: ignore[type-var]
        self.aim = aim.on(fit.problem) if isinstance(aim, Passing) else aim
        self.costs, self.budget, self.actions, self.until, self.worth = dict(costs or {}), budget, actions, until, worth
        self.fit, self.record = fit, Record(path)
        self.spent = sum(float(step["cost"]) for step in self.record.of("tell"))
        told = [unpacked(step) for step in self.record.of("tell")]
        begun = self.record.of("start")
        if begun and begun[0]["data"] != fit.problem.table.whole.digest:
            raise FileError(f"{path} is the record of a campaign that began with other data than this fit.")
        self._check_costs()
        if not begun:
            self.record.add("start", data=fit.problem.table.whole.digest, response=fit.problem.response, target=aim.said)
        if told:
            self._take_in(fit.update(told))

    # --- what is possible -------------------------------------------------------------------------------------------------------

    @cached_property
    def _possible(self) -> tuple[Lines, list[Lines], np.ndarray, np.ndarray]:
        """The target, actions, their costs, and which can be afforded and were not taken; made once for each fit, as what follows."""
        fit = self.fit
        wanted = wanted_of(self.actions(fit) if callable(self.actions) else self.actions)
        units = fit.problem.table.whole.units
        goal, lines, _, _ = lines_of(fit.posterior, wanted, self.aim.rows, lambda rows: fit.model.prediction_table(rows, units))
        goal = self.aim.lines(fit.posterior) or goal
        lines, _ = thinned_to_most(rows_of.fillable(fit, lines))
        cost = costs_of(lines, {name: c for name, c in self.costs.items() if name in _named(lines)})
        left = np.inf if self.budget is None else self.budget - self.spent + 1e-9 * self.budget
        once = {what for step in self.record.of("tell") for what in step["what"]}
        fresh = [line.kind != "measure" or w not in once for line in lines for w in line.what]
        return goal, lines, cost, (cost <= left) & np.array(fresh, dtype=bool)

    @cached_property
    def _sums(self) -> Sums:
        """Covariances of the target and the actions."""
        with one_blas_thread():
            goal, lines, _, _ = self._possible
            return Sums.of(self.fit.weighted, goal, lines) if sum(map(len, lines)) else self._now

    @cached_property
    def _now(self) -> Sums:
        """The target's own moments, without actions."""
        with one_blas_thread():
            return Sums.alone(self.fit.weighted, self._possible[0])

    def _check_costs(self) -> None:
        """Refuse costs of what is no action.

        Raises
        ------
        realmat.ModelError
            With the names, and those that were likely meant.
        """
        known = dict.fromkeys([*KINDS, *theories_of(self.fit.posterior), *_named(self._possible[1])])
        reject_unknown(list(self.costs), list(known), "action in costs=")

    # --- the loop ---------------------------------------------------------------------------------------------------------------

    @property
    def uncertainty(self) -> float:
        """How uncertain the target is now."""
        sums = self.__dict__.get("_sums", self._now)
        return self.aim.uncertainty(sums.mean, sums.target)

    @property
    def why_done(self) -> str:
        """Why nothing more should be measured; empty while something should."""
        _, lines, cost, possible = self._possible
        if self.until is not None and self.uncertainty <= self.until:
            return f"the uncertainty of {self.aim.said} is {significant(self.uncertainty)}, at most {self.until:g}"
        if not possible.any():
            return "the budget is spent" if lines and self.budget is not None else "nothing is left to measure"
        sums = self._sums
        gain = self.aim.gain(sums.mean, sums.cross, sums.variance, sums.target)[possible]
        if gain.max() <= _NOTHING * max(float(sums.target.mean()), 1e-300):
            return "no action is expected to tell anything"
        if self.worth is not None and (self.worth * gain < cost[possible]).all():
            return "no action is expected to be worth its cost"
        return ""

    @property
    def done(self) -> bool:
        """Whether enough is known, or nothing can or need be done; `why_done` says which."""
        return bool(self.why_done)

    def ask(self, n: int = 1) -> pd.DataFrame:
        """What to measure next: at most `n` actions, chosen one after the other by expected gain per cost.

        Returns
        -------
        DataFrame
            A row for each action: `action`, `what`, `measure` (the column to fill) and its `unit`, `cost`, `gain` (expected), and the
            columns of the model as far as they are known, in the units of the table of the fit. Standard uncertainties are those that the
            measurement is expected to have; correct them where they turn out otherwise. Fill in the measured values and hand it to `tell`.
            Empty where the campaign is done.
        """
        if n < 1:
            raise ModelError(f"n={n}: at least one action is asked for.")
        if self.done:
            return pd.DataFrame(columns=list(rows_of.NOTES))
        (_, lines, cost, possible), sums = self._possible, self._sums
        kind, what = [line.kind for line in lines for _ in line.what], [w for line in lines for w in line.what]
        once = np.array([k == "measure" for k in kind])
        left = np.inf if self.budget is None else (self.budget - self.spent) * (1 + 1e-9)

        def allowed(chosen: Sequence[int]) -> np.ndarray:
            taken = np.zeros(len(cost), dtype=bool)
            taken[list(chosen)] = True
            return possible & ~(once & taken) & (cost <= left - cost[list(chosen)].sum())

        chosen, gains, _ = greedy(sums, cost, n, gain_of(self.aim, sums), allowed)
        notes = [{"action": kind[k], "what": what[k], "cost": cost[k], "gain": g} for k, g in zip(chosen, gains, strict=True)]
        frame = rows_of.frame(self.fit, lines, chosen, notes)
        self.record.add("ask", u=self.uncertainty, spent=self.spent, what=list(frame["what"]), gain=list(frame["gain"]))
        return frame

    def tell(self, rows: pd.DataFrame, cost: float | None = None) -> None:
        """Take measured rows in: those of `ask`, filled as far as they were measured, or any others.

        When it returns, they are on the disk. Rows whose column to fill is still empty are left `open`, and can be told later, in the same
        table: what was told of it since the last `ask` is not counted twice.

        Parameters
        ----------
        rows : DataFrame
            Columns are in the units of the table of the fit, unless the rows say otherwise (`rm.read_table`).
        cost : float, optional
            What the filled rows cost together; by default what the column `cost` says, else 1 a row.

        Raises
        ------
        realmat.DataError
            If rows do not fit the model, a cost is none, or nothing was filled in. Nothing is then taken in.
        realmat.FileError
            If the record cannot be written. Nothing is then taken in.
        """
        if cost is not None and not 0 <= cost < np.inf:
            raise DataError(f"cost={cost!r}: what was spent is a number, 0 or more.")
        told = rows_of.Told.of(rows.reset_index(drop=True), self.fit.declared.responses).without(self._since()[1])
        each = told.costs if cost is None else [float(cost) / len(told.rows)] * len(told.rows)
        spent = float(sum(each))
        updated = self.fit.update(told.rows)
        noted = {"what": told.what, "action": told.actions, "costs": each, "cost": spent, "update": str(updated.facts["update"])}
        self.record.add("tell", **packed(told.rows), **noted)
        self.spent += spent
        self._take_in(updated)

    @property
    def open(self) -> list[str]:
        """What was last asked for and not told since, in words; another `ask` begins anew."""
        return self._since()[0]

    def _since(self) -> tuple[list[str], set[tuple[str, str]]]:
        """What was last asked for and not told since, and the rows of it that were, each with its words."""
        steps = self.record.steps
        last = next((k for k in range(len(steps) - 1, -1, -1) if steps[k]["kind"] == "ask"), len(steps))
        asked = list(steps[last]["what"]) if last < len(steps) else []
        left, rows = asked.copy(), set()
        for step in steps[last + 1 :]:
            if step["kind"] == "tell":
                pairs = [pair for pair in zip(step["what"], lines(step["rows"]), strict=False) if pair[0] in asked]
                rows.update(pairs)
                for what, _ in pairs:
                    if what in left:
                        left.remove(what)
        return left, rows

    def _take_in(self, fit: Fit) -> None:
        """Go on from another fit: what was made for the old one is made anew."""
        self.fit = fit
        for made in ("_possible", "_sums", "_now"):
            self.__dict__.pop(made, None)

    # --- looking back -----------------------------------------------------------------------------------------------------------

    @property
    def unit(self) -> str:
        """Of `uncertainty`: that of the response for predictions without a link; empty where there is none, or none is known."""
        own = isinstance(self.aim, Predict) and self.fit.problem.link == "identity"
        return self.fit.model.unit if own else ""

    @property
    def history(self) -> pd.DataFrame:
        """Each time that was asked: `spent` and uncertainty `u` before, the gain expected of what was proposed."""
        asked = self.record.of("ask")
        return pd.DataFrame(
            {
                "spent": [s["spent"] for s in asked],
                "u": [s["u"] for s in asked],
                "expected": [float(sum(s["gain"])) for s in asked],
                "what": [", ".join(s["what"]) for s in asked],
            }
        )

    def plot(self, dark: bool = False) -> Figure:
        """Uncertainty against cost, with what was bought, by layer."""
        from realmat.campaign.picture import plot_campaign

        return plot_campaign(self, dark)

    def __repr__(self) -> str:
        told = sum(len(s["costs"]) for s in self.record.of("tell"))
        of = f" of {self.budget:g}" if self.budget is not None else ""
        return f"<Campaign for {self.aim.said}: {told} actions told, {self.spent:g}{of} spent>"


def _named(lines: Sequence[Lines]) -> dict[str, None]:
    """What costs may be given by: kinds of action, what they measure, and each by its words."""
    return dict.fromkeys([*KINDS, *(name for line in lines for name in (line.kind, line.measures, *line.what) if name)])
