"""What a design can tell apart: before a fit from the expected information, after it from the posterior.

Two scales whose sum alone is seen (every specimen measured once by one lab: unresolved specimen and noise) leave a direction of the
hyperparameters that the data cannot move. It is found from the expected information with a weak prior added, and said in words that name
the components and the remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse.csgraph import connected_components

from realmat.attribution.alike import collinear, collinear_words, looks_nested, scales_of_one, settled
from realmat.attribution.budget import accumulate
from realmat.attribution.information import information
from realmat.posterior.contributions import Stream
from realmat.posterior.draws import Posterior
from realmat.posterior.grouping import of_rows
from realmat.support.checks import LOOK, OK, Check, listed, made, row
from realmat.support.numbers import percent, significant
from realmat.table.table import ROW, Table
from realmat.terms.problem import Problem, nonlinear_terms
from realmat.terms.term import Coefficients, Param, Values

if TYPE_CHECKING:
    import pandas as pd

    from realmat.joint import Joint
    from realmat.model import Model

_ROWS = 10_000  # over which covariances of components are averaged
_WEAK_PRIOR = 0.25  # information of a prior that knows a scale up to a factor e^2
_BLIND = 0.5  # expected standard deviation of a log scale from which the data do not settle it
_LINKED = 0.4  # correlation from which two unsettled scales are one question
_ENDINGS = {
    "_unstated_scale": "the noise of {} where u is not stated",
    "_between_sd": "the spread of {} between groups",
    "_scale": "{}",
    "_sd": "the spread of {}",
    "_slope": "the slope of {}",
    "_lengthscale": "the length scale of {}",
}


@dataclass(frozen=True)
class Quantity:
    """A hyperparameter as a question to the design.

    Attributes
    ----------
    param : Param
    component, layer : str
        The component as budgets name it: a bias of the observation layer is one of its own.
    block : Coefficients or None
        The effects or states whose spread it is.
    sd : float
        Expected standard deviation of its logarithm (in prior standard deviations, for one that is not positive); the worst of a vector.
    """

    param: Param
    component: str
    layer: str
    block: Coefficients | None
    sd: float

    @property
    def words(self) -> str:
        """What it is, in a sentence."""
        for ending, form in _ENDINGS.items():
            if self.param.name.endswith(ending):
                return form.format(self.param.name.removesuffix(ending))
        return self.param.name

    @property
    def noise(self) -> bool:
        """Whether it is a scale of the measurement noise."""
        return self.layer == "observation" and self.block is None

    @property
    def level(self) -> str | None:
        """Whose effects or states it is about."""
        return None if self.block is None else self.block.level


@dataclass(frozen=True)
class Separation:
    """Every hyperparameter, and which of them the design cannot tell apart (`groups`) or says little about (`alone`)."""

    quantities: tuple[Quantity, ...]
    groups: tuple[tuple[Quantity, ...], ...]
    alone: tuple[Quantity, ...]


def separate(problem: Problem, values: Values | None = None) -> Separation:
    """Judge a design at hyperparameters `values` (typical ones by default)."""
    info = information(problem, values)
    size = len(info.params)
    if not size:
        return Separation((), (), ())
    level, direction = np.linalg.eigh(info.matrix)  # what rounding makes negative is no information
    covariance = direction / (np.maximum(level, 0.0) + _WEAK_PRIOR) @ direction.T
    sd = np.sqrt(np.diag(covariance))
    blind = sd > _BLIND
    correlation = np.abs(covariance / np.outer(sd, sd))
    linked = (correlation > _LINKED) & blind[:, None] & blind[None, :]
    names = list(dict.fromkeys(p.name for p in info.params))
    member = np.array([names.index(p.name) for p in info.params])
    between = np.zeros((len(names), len(names)), dtype=bool)
    np.logical_or.at(between, (member[:, None], member[None, :]), linked)
    _, group = connected_components(between)
    params = {p.name: p for p in info.params}
    every = tuple(_quantity(problem, params[name], float(sd[member == k].max())) for k, name in enumerate(names))
    groups, alone = [], []
    for g in range(group.max() + 1):
        inside = tuple(q for q, own in zip(every, group, strict=True) if own == g)
        if len(inside) > 1:
            groups.append(inside)
        elif inside[0].sd > _BLIND:
            alone.append(inside[0])
    return Separation(every, tuple(groups), tuple(alone))


def _quantity(problem: Problem, param: Param, sd: float) -> Quantity:
    part, term = next((part, t) for part in (problem, *problem.beside) for t in part.terms if param in t.params)
    stems = {param.name.removesuffix(ending) for ending in _ENDINGS}
    block = next((c for c in term.coefficients if c.name in stems and c.level), None)
    bias = next((b.name for b in term.biases if block is not None and block.name in b.blocks), None)
    component = bias or term.component
    return Quantity(param, component if part is problem else f"{component} of {part.response}", term.layer, block, sd)


def inseparable_groups(problem: Problem, values: Values | None = None) -> list[tuple[str, ...]]:
    """Components that the design cannot tell apart, in the order of the model; budgets report them joined.

    Parameters
    ----------
    problem : Problem
    values : mapping, optional
        Hyperparameters at which to judge; typical ones by default.
    """
    order = [name for t in problem.terms for name in (*(b.name for b in t.biases), t.component)]
    found = [sorted({q.component for q in group} & set(order), key=order.index) for group in separate(problem, values).groups]
    return [tuple(group) for group in found if len(group) > 1]


# --- in words -------------------------------------------------------------------------------------------------------------------


def explain(problem: Problem, group: Sequence[Quantity]) -> str:
    """Why quantities cannot be told apart, and what would separate them."""
    first, *rest = (q.words for q in group)
    reason = _reason(problem.table, group)
    return f"This design cannot separate {first} from {listed(rest)}{': ' + reason if reason else ''}. {_remedy(group)}"


def _reason(table: Table, group: Sequence[Quantity]) -> str:
    levels = [q.level for q in group if q.level]
    if any(q.noise for q in group) and levels:
        return "; ".join(dict.fromkeys(_measured_once(table, level) for level in levels))
    sizes = sorted((table.level(level).size, level) for level in dict.fromkeys(levels))
    if len(sizes) > 1:
        (_, coarse), (_, fine) = sizes[0], sizes[-1]
        pairs = len(np.unique(np.column_stack([table.level(coarse).codes, table.level(fine).codes]), axis=0))
        if pairs == table.level(coarse).size:
            return f"each {coarse} has one {fine}"
    return ""


def _measured_once(table: Table, level: str) -> str:
    if level == ROW:
        return "every row counts as a piece of its own"
    count = table.per(table.level(level).codes, table.level(level).size)
    again = int((count > 1).sum())
    return f"each {level} was measured once" if not again else f"{again} of {len(count)} values of {level} were measured more than once"


def _remedy(group: Sequence[Quantity]) -> str:
    ways = []
    levels = list(dict.fromkeys(q.level for q in group if q.level and q.layer != "observation"))
    biases = list(dict.fromkeys(q.level for q in group if q.level and q.layer == "observation"))
    states = [q for q in group if q.param.name.endswith(("_sd", "_slope"))]
    if any(q.noise for q in group):
        piece = next((level for level in reversed(levels) if level != ROW), None)
        ways.append(f"repeated measurements of the same {piece}" if piece else "repeated measurements of the same piece (a specimen level)")
        ways.append("a stated u")
    elif len(levels) > 1:
        ways.append(f"several values of {levels[-1]} for the same {levels[0]}")
    ways += [f"the same {levels[0] if levels else 'material'} measured by a second {by}" for by in biases]
    if states:
        ways.append(f"more readings of {listed([q.block.name if q.block else q.component for q in states[:1]])}")
    ways = ways or ["data that vary them independently", "a narrower prior"]
    words = listed(ways, "or")
    return f"{words[0].upper()}{words[1:]} would separate them; until then only their joint effect is known."


def explain_alone(q: Quantity, table: Table) -> str:
    """Why the design says little about one quantity, and what would help."""
    if q.block is not None and q.level not in (None, ROW):
        size = table.level(str(q.level)).size
        few = f"the table has {size} {'value' if size == 1 else 'values'} of {q.level}"
        return f"The design says little about {q.words}: {few}. More of them would tell; until then its prior decides."
    return f"The design says little about {q.words}; its prior decides. More data on it, or a prior from other knowledge, would help."


# --- before a fit ---------------------------------------------------------------------------------------------------------------


def design_check(model: Model | Joint, data: pd.DataFrame) -> Check:
    """Columns, units, ranges, what was measured, and which layers the design can separate.

    Parameters
    ----------
    model : Model or Joint
    data : DataFrame

    Raises
    ------
    realmat.DataError
        If the table does not fit the model: every problem, column and row.

    Examples
    --------
    >>> import pandas as pd
    >>> import realmat as rm
    >>> model = rm.Model("y", levels={"specimen": "piece"}, theory=rm.theory.Constant(), material=rm.material.Unresolved(by="specimen"))
    >>> print(model.check(pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0], "piece": [1, 2, 3, 4]})).text)
    This design cannot separate unresolved_specimen from noise: each specimen was measured once. Repeated measurements of the same
    specimen or a stated u would separate them; until then only their joint effect is known.
    """
    problem = model.bind(data)
    found = separate(problem, settled(problem) if len(problem.every) == 1 else None)
    rows = [line for part in problem.every for line in _table_rows(part, model.of(part.response).unit)]
    rows += [*_level_rows(problem.table.whole), *_column_rows(problem), *state_rows(problem), *_separation_rows(found)]
    sentences = [explain(problem, group) for group in found.groups]
    sentences += [explain_alone(q, problem.table) for q in found.alone]
    alike = [group for part in problem.every for group in collinear(part)]
    rows += [row("can be known", listed(group[:4]), "only together", verdict=LOOK) for group in alike]
    sentences += [collinear_words(group) for group in alike]
    sentences += [s for part in problem.every for s in (*looks_nested(part), *scales_of_one(part))]
    sentences += _unmeasured(problem)
    bent = [name for name, _ in nonlinear_terms(problem)]
    if bent:
        sentences.append(f"The effect of {listed(bent)} is not linear given its parameters and was not judged.")
    if not sentences:
        sentences = ["The design can separate every component of the model."]
    return made(
        f"Check of {problem.table.whole.readings} rows against the model of {listed(problem.responses)}",
        rows,
        [*sentences, *cautions(problem), *problem.table.whole.notes],
    )


def _table_rows(problem: Problem, unit: str) -> list[dict[str, Any]]:
    table = problem.table
    y = table.numeric(problem.response)
    span = f"{significant(float(y.min()))} to {significant(float(y.max()))} {unit}".rstrip()
    limits = int(np.count_nonzero(table.limit(problem.response)))
    span += f"; {limits} of them limits" if limits else ""
    span += "" if table.within is None else " (means of cells)"
    rows = [row("data", "rows", table.readings), row("data", f"{problem.response} (response)", span)]
    if table.readings > len(problem.cells):
        rows.append(row("data", "rows alike in all but the response (replicates)", table.readings - len(problem.cells)))
    return rows


def _level_rows(table: Table) -> list[dict[str, Any]]:
    rows = []
    for level, column in table.levels.items():
        count = table.per(table.level(level).codes, table.level(level).size)
        rows.append(row("data", f"{level} ({column})", f"{len(count)}, {int((count > 1).sum())} of them in more than one row"))
    return rows


def _median(values: np.ndarray, count: np.ndarray) -> float:
    """The median of values of which each stands for `count` rows."""
    order = np.argsort(values)
    ends = np.cumsum(count[order])
    low, high = (values[order][np.searchsorted(ends, k, side="right")] for k in ((ends[-1] - 1) // 2, ends[-1] // 2))
    return float(low + high) / 2


def _column_rows(problem: Problem) -> list[dict[str, Any]]:
    table, rows, flags = problem.table.whole, [], 0
    for name, values in table.columns.items():
        if name in problem.responses or values.dtype.kind != "f":
            continue
        some = values[np.isfinite(values)]
        if len(some) == len(values) and np.isin(some, (0.0, 1.0)).all():
            flags += 1
            continue
        if not len(some):
            rows.append(row("columns", name, "empty", verdict=LOOK))
            continue
        ends, middle = (float(some.min()), float(some.max())), _median(some, table.count[np.isfinite(values)])
        said = f"{significant(ends[0])} to {significant(ends[1])}, median {significant(middle)}"
        limits = int(np.count_nonzero(table.limit(name)))
        said += f"; {len(values) - len(some)} empty" if len(some) < len(values) else ""
        rows.append(row("columns", name, said + (f"; {limits} limits" if limits else "")))
    return rows + ([row("columns", "of 0 and 1", flags)] if flags else [])


def state_rows(problem: Problem) -> list[dict[str, Any]]:
    """How the data of each component were read."""
    said = dict.fromkeys((term.component, note, OK) for term in problem.all_terms for note in term.notes)
    said |= dict.fromkeys((term.component, note, LOOK) for term in problem.all_terms for note in term.cautions)
    return [row("states", component, note, verdict=verdict) for component, note, verdict in said]


def cautions(problem: Problem) -> list[str]:
    """How the data were read, where that would change the answer if it was not meant so."""
    return list(dict.fromkeys(said for term in problem.all_terms for said in term.cautions))


def _separation_rows(found: Separation) -> list[dict[str, Any]]:
    partners = {q.param.name: [other.words for other in group if other is not q] for group in found.groups for q in group}
    rows = []
    for q in found.quantities:
        others = partners.get(q.param.name)
        if others:
            value = f"not separable from {listed(others)}"
        elif q in found.alone:
            value = "hardly"
        else:
            value = f"to about {percent(q.sd)}"
        rows.append(row("can be known", q.words, value, verdict=OK if not others and q not in found.alone else LOOK))
    return rows


def _unmeasured(problem: Problem) -> list[str]:
    """States that no row characterises."""
    read = [rows for rows in problem.rows if rows.name not in problem.responses]
    touched = {piece.coefficients for rows in read for _, piece in rows.pieces}
    known = {rows.name for rows in read}
    scaled = {piece.coefficients for part in problem.every for _, piece in part.response_rows.pieces if piece.scale is not None}
    states = [c.name for c in problem.coefficients if c.level and c.name in scaled and not c.inner]
    bare = [name for name in states if name not in touched and f"{name}_known" not in known]
    return [f"Nobody measured {name}: it is separable from the rest only through its group structure." for name in bare]


# --- after a fit ----------------------------------------------------------------------------------------------------------------


def contraction(posterior: Posterior) -> pd.DataFrame:
    """How much narrower each hyperparameter became: ``1 - (posterior / prior interquartile range)^2``, 1 - var / var for normals.

    Returns
    -------
    DataFrame
        Indexed by parameter (the least contracted element of a vector): prior_iqr, posterior_iqr, contraction.
    """
    import pandas as pd

    rows = {}
    for q in posterior.problem.params:
        lookup = {name: float(np.median(posterior.param(name))) for name in q.prior.references}
        prior = float(q.prior.ppf(0.75, lookup) - q.prior.ppf(0.25, lookup))
        if prior < 1e-5 * abs(q.prior.ppf(0.5, lookup)):
            continue  # a number, given to fix the degrees of freedom of a Student t
        draws = posterior.param(q.name)
        after = float(np.max(np.quantile(draws, 0.75, axis=0) - np.quantile(draws, 0.25, axis=0)))
        rows[q.name] = {"prior_iqr": prior, "posterior_iqr": after, "contraction": 1 - (after / prior) ** 2}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["prior_iqr", "posterior_iqr", "contraction"])


def component_correlation(posterior: Posterior, draws: int = 300) -> pd.DataFrame:
    """Posterior correlation of the components' contributions, covariances averaged over the rows; strongly negative: they compensate."""
    import pandas as pd

    stream = Stream(_on_some_rows(posterior), draws=draws)
    names = list(stream.components)
    covariance = accumulate(stream).covariance
    sd = np.sqrt(np.maximum(np.diag(covariance), 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return pd.DataFrame(covariance / np.outer(sd, sd), names, names)


def _on_some_rows(posterior: Posterior) -> Posterior:
    """The same draws seen through at most so many rows at random, whose mean is that of all to 1 %: far less than 300 draws leave open."""
    rows = len(posterior.problem.table)
    if rows <= _ROWS or not posterior.draws.coefficients:  # coefficients that are not held are drawn given all rows
        return posterior
    some = np.sort(np.random.default_rng(0).choice(rows, _ROWS, replace=False))
    return Posterior(of_rows(posterior.problem, some), posterior.draws, posterior.weights)
