"""What to measure next: the expected fall of a target's predictive variance for every action one could take.

Measuring c = x'b + noise lowers the variance of a target t, on average over what the measurement may turn out to be, by

    cov(t, c)^2 / var(c),

exactly in a Gaussian model (Chaloner & Verdinelli, Stat. Sci. 10, 273, 1995; MacKay, Neural Comput. 4, 590, 1992). The hyperparameters
are uncertain too: covariances here are those of the whole posterior, E[cov(t, c | psi)] + cov(E[t | psi], E[c | psi]), so that a
measurement also counts for what it tells about, say, the slope of a latent state. The fall is then that of the best prediction that is
linear in the measurement, a lower bound of the fall itself; learning of scales (how large the noise is) is not counted. Batches are
greedy: after each choice all covariances are updated by rank one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from realmat.attribution.calculations import runs
from realmat.attribution.candidates import Lines, fitted_rows, joined_frame, new_pieces, properties, repeats, states, table_rows
from realmat.attribution.covariances import Sums, greedy
from realmat.attribution.theories import theories_of
from realmat.errors import ModelError
from realmat.posterior.draws import Posterior
from realmat.support.checks import listed
from realmat.support.numbers import percent, significant
from realmat.support.shown import Shown
from realmat.table.table import Table
from realmat.terms.component import reject_unknown
from realmat.terms.problem import nonlinear_terms

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

KINDS = ("repeat", "property", "characterise", "theory", "specimen", "measure")
_TARGETS, _CANDIDATES = 300, 4000
type Actions = Mapping[str, Any] | Sequence[str] | pd.DataFrame | None
type Target = pd.DataFrame | ArrayLike | None


@dataclass(frozen=True)
class Advice(Shown):
    """Actions, best first.

    Attributes
    ----------
    table : DataFrame
        Columns `action what u fall share cost per_cost`: the measurement and its standard uncertainty (noise included, on the scale of the
        model), the expected fall of the target's variance, its share of that variance, and the share per cost. Ranked by `per_cost`.
    plan : DataFrame
        The batch that was asked for, in the order of choice; each fall is what that action adds to those before.
    target_u : float
        Standard uncertainty of the target's value now (root mean square over the target rows; without measurement noise).
    response, target, notes : str, str, tuple of str
    """

    table: pd.DataFrame
    plan: pd.DataFrame
    target_u: float
    response: str
    target: str
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        """What the advice is for."""
        return f"What to measure next to know {self.response} of {self.target} better"

    @cached_property
    def text(self) -> str:
        """The advice in a few sentences."""
        best = self.table.iloc[0]
        after = self.target_u * np.sqrt(max(1 - self.plan["share"].sum(), 0))
        said = [f"Best next: {best['what']} ({best['action']}), which is expected to lower the variance by {percent(best['share'])}."]
        fall = f"from {significant(self.target_u)} to {significant(after)}"
        several = listed([str(w) for w in self.plan["what"].head(6)])
        said.append(f"Together, {several} lower u {fall}." if len(self.plan) > 1 else f"The standard uncertainty would fall {fall}.")
        others = self.table.drop_duplicates("action").iloc[1:]
        said += [f"The best {r['action']}: {r['what']}, {percent(r['share'])}." for _, r in others.iterrows()]
        return " ".join([*said, *self.notes])


def advise(
    posterior: Posterior,
    actions: Actions = None,
    target: Target = None,
    costs: Mapping[str, float] | None = None,
    batch: int = 1,
    read: Callable[[pd.DataFrame], Table] | None = None,
) -> Advice:
    """Rank what could be measured next.

    Parameters
    ----------
    posterior : Posterior
    actions : mapping, list of str or DataFrame, optional
        Which actions to weigh: ``"repeat"`` (one more measurement of a piece), ``"property"`` (the first measurement of a property on a
        piece of which something else is known), ``"characterise"`` (a state of a piece), ``"theory"`` (a better theory value, or
        another theory of a consensus; its action is then that theory's name), ``"specimen"`` (a new piece of a known material),
        ``"measure"`` (rows of a candidate table). A mapping
        gives each its argument: for characterise and theory a u, or one for each state, in the column's unit (default: that of the
        readings so far); for measure the table. A DataFrame alone is a candidate table. By default all that apply.
    target : DataFrame or sequence of row labels, optional
        What is to be predicted better: new rows, or rows of the fit. All rows of the fit by default.
    costs : mapping, optional
        Cost of one action (as in `what`), of what is measured (a property, or the column of a state), or of a kind of action, in that
        order; 1 by default.
    batch : int
        Number of actions to choose together.
    read : callable
        Validates a table of new rows.

    Raises
    ------
    realmat.ModelError
        For unknown actions, costs that are not positive, target rows that the fit does not have, or a model without any candidate.
    """
    wanted = wanted_of(actions)
    if batch < 1:
        raise ModelError(f"batch={batch}: at least one action is chosen.")
    goal, lines, said, notes = lines_of(posterior, wanted, target, read)
    if not sum(map(len, lines)):
        raise ModelError(f"nothing to choose from: the model has no candidates for {', '.join(wanted)}.")
    lines, thinned = thinned_to_most(lines)
    sums = Sums.of(posterior, goal, lines)
    cost = costs_of(lines, costs, theories_of(posterior))
    table = _ranked(lines, sums, cost)
    plan = _greedy(lines, sums, cost, batch)
    notes = [*notes, *thinned]
    if posterior.problem.link == "log":
        notes.append("Variances are on the log scale.")
    if nonlinear_terms(posterior.problem):
        notes.append("Some effects are not linear given their parameters: covariances are Monte Carlo estimates.")
    return Advice(table, plan, float(np.sqrt(sums.target.mean())), posterior.problem.said(posterior.problem.response), said, tuple(notes))


def wanted_of(actions: Actions) -> dict[str, Any]:
    """Kinds of action and their arguments, from what a user wrote."""
    if actions is None:
        return dict.fromkeys(KINDS[:-1])
    if isinstance(actions, pd.DataFrame):
        return {"measure": actions}
    given = dict(actions) if isinstance(actions, Mapping) else dict.fromkeys([actions] if isinstance(actions, str) else actions)
    reject_unknown(list(given), KINDS, "action")
    if "measure" in given and not isinstance(given["measure"], pd.DataFrame):
        raise ModelError("actions: 'measure' needs a table of candidates, as in actions={'measure': df_candidates}.")
    return given


def lines_of(
    posterior: Posterior, wanted: Mapping[str, Any], target: Target, read: Callable[[pd.DataFrame], Table] | None
) -> tuple[Lines, list[Lines], str, list[str]]:
    """The target, the candidates, the target in words, and notes."""
    goal: Lines | None = None
    lines: list[Lines] = []
    new = target if isinstance(target, pd.DataFrame) else None
    candidates = wanted.get("measure")
    notes: list[str] = []
    said = "new rows"
    if new is not None or candidates is not None:
        if read is None:
            raise ModelError("tables of new rows need read=, which validates them.")
        labels = [[] if frame is None else list(frame.index) for frame in (new, candidates)]
        goal, lines = table_rows(posterior, labels[0], labels[1], read(joined_frame(new, candidates)))
    if goal is None:
        rows, said, whole = _target_rows(posterior, target)
        if whole > len(rows):
            notes.append(f"The target is represented by {len(rows)} of its {whole} rows, evenly chosen.")
        goal = fitted_rows(posterior, rows)
    if "repeat" in wanted:
        lines += repeats(posterior)
    if "property" in wanted:
        lines += properties(posterior)
    for kind, layer in (("characterise", "material"), ("theory", "theory")):
        if kind in wanted:
            lines += states(posterior, layer, kind, wanted[kind])
    if "theory" in wanted:
        lines += runs(posterior)
    if "specimen" in wanted:
        lines += new_pieces(posterior)
    return goal, lines, said, notes


def _target_rows(posterior: Posterior, target: ArrayLike | None) -> tuple[np.ndarray, str, int]:
    """Rows of the fit that stand for the target, evenly chosen where they are many; the target in words; and how many rows it has."""
    table = posterior.problem.table
    index = pd.Index(table.index)
    if target is None:
        ends = np.cumsum(table.count)  # a row may stand for several
        return np.searchsorted(ends, _evenly(table.readings), side="right"), "the rows of the fit", table.readings
    labels = list(np.atleast_1d(np.asarray(target)))
    found = index.get_indexer(pd.Index(labels))
    if (found < 0).any():
        missing = [str(label) for label, k in zip(labels, found, strict=True) if k < 0]
        raise ModelError(f"target: the fit has no row {listed(missing[:6], 'or')}.")
    return found[_evenly(len(found))], f"{len(labels)} chosen rows", len(found)


def _evenly(size: int) -> np.ndarray:
    return np.arange(size) if size <= _TARGETS else np.linspace(0, size - 1, _TARGETS).astype(int)


def thinned_to_most(lines: list[Lines]) -> tuple[list[Lines], list[str]]:
    """Refuse nothing, but say where there are more candidates than are looked at."""
    total = sum(map(len, lines))
    if total <= _CANDIDATES:
        return lines, []
    out = [line.some(np.unique(np.linspace(0, len(line) - 1, max(1, len(line) * _CANDIDATES // total)).astype(int))) for line in lines]
    return out, [f"{sum(map(len, out))} of {total} candidates were looked at, evenly chosen."]


def costs_of(lines: Sequence[Lines], costs: Mapping[str, float] | None, also: Sequence[str] = ()) -> np.ndarray:
    """Cost of each candidate, shape (c,); costs may be given of what is `also` known, such as a theory that was run for all."""
    costs = dict(costs or {})
    what = [w for line in lines for w in line.what]
    measures = list(dict.fromkeys(line.measures for line in lines if line.measures))
    kinds = dict.fromkeys([*KINDS, *also, *(line.kind for line in lines)])
    reject_unknown(list(costs), [*kinds, *measures, *what], "action in costs=")
    wrong = [f"{name}: {value!r}" for name, value in costs.items() if not (np.isfinite(value) and value > 0)]
    if wrong:
        raise ModelError(f"costs must be positive and finite, not {', '.join(wrong)}.")
    every = [(w, line.measures, line.kind) for line in lines for w in line.what]
    return np.array([float(next((costs[name] for name in names if name in costs), 1.0)) for names in every])


def _frame(lines: Sequence[Lines], which: Sequence[int], fall: np.ndarray, u: np.ndarray, cost: np.ndarray, total: float) -> pd.DataFrame:
    kinds = [line.kind for line in lines for _ in range(len(line))]
    what = [w for line in lines for w in line.what]
    share = fall / total if total > 0 else np.zeros(len(fall))  # all that there is to know is known
    columns = {"action": [kinds[k] for k in which], "what": [what[k] for k in which], "u": u, "fall": fall, "share": share}
    return pd.DataFrame({**columns, "cost": cost, "per_cost": share / cost})


def _falls(cross: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Mean fall over the target rows for each candidate; a candidate that is known already tells nothing."""
    return np.where(variance > 0, (cross**2).mean(axis=0) / np.where(variance > 0, variance, 1.0), 0.0)


def _ranked(lines: Sequence[Lines], sums: Sums, cost: np.ndarray) -> pd.DataFrame:
    fall = _falls(sums.cross, sums.variance)
    table = _frame(lines, range(len(fall)), fall, np.sqrt(sums.variance), cost, float(sums.target.mean()))
    return table.sort_values("per_cost", ascending=False, kind="stable", ignore_index=True)


def _greedy(lines: Sequence[Lines], sums: Sums, cost: np.ndarray, batch: int) -> pd.DataFrame:
    chosen, falls, spreads = greedy(sums, cost, batch, lambda cross, variance, _: _falls(cross, variance))
    return _frame(lines, chosen, falls, spreads, cost[chosen], float(sums.target.mean()))
