"""Which descriptors a discrepancy answers to: total Sobol' indices of its posterior functions over the table's rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from realmat.errors import ModelError
from realmat.posterior.contributions import Stream
from realmat.posterior.draws import Posterior
from realmat.support.attached import attached
from realmat.support.intervals import interval, words
from realmat.support.numbers import percent
from realmat.support.shown import Shown
from realmat.table.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DRAWS, _ROWS = 200, 500


@dataclass(frozen=True)
class Relevance(Shown):
    """What a smooth function of descriptors answers to.

    Attributes
    ----------
    table : DataFrame
        Columns `descriptor share share_lb share_ub`, largest share first: the share of the function's variance that is lost where nobody
        knows the descriptor. Shares add up to more than 1 where descriptors act together.
    component, response : str
    """

    table: pd.DataFrame
    component: str
    response: str

    @property
    def title(self) -> str:
        """What it is of."""
        return f"Which descriptors {self.component} of {self.response} answers to"

    @cached_property
    def text(self) -> str:
        """What the numbers say, in two sentences."""
        t = self.table
        main = t[t["share_lb"] > 0.05]
        named = ", ".join(f"{d} ({percent(float(s))})" for d, s in zip(main["descriptor"], main["share"], strict=True))
        said = (
            f"The function answers to {named}." if named else "No descriptor clearly answers for more than 5 % of the function's variance."
        )
        rest = [str(d) for d in t.loc[t["share_ub"] < 0.05, "descriptor"]]
        return said + (f" These matter little or not: {', '.join(rest)}." if rest else "") + f" Bounds are {words()}."

    def plot(self, dark: bool = False) -> Figure:
        """A bar with its interval for each descriptor; see `realmat.plots.relevance.plot_relevance`."""
        return attached("plot", self)(dark=dark)


def relevance(posterior: Posterior, component: str, descriptors: tuple[str, ...], seed: int = 0) -> Relevance:
    """Total Sobol' index of each descriptor, with what the posterior leaves open of it.

    Parameters
    ----------
    posterior : Posterior
    component : str
        Name of a component that is a function of columns.
    descriptors : tuple of str
        Its columns.
    seed : int
        Of the rows from which replaced values are taken.

    Raises
    ------
    realmat.ModelError
        If there is no such component, or the rows are fewer than three.

    Notes
    -----
    By Jansen's estimator, ``E[(f(x) - f(x'))^2] / (2 Var f)``, where x' has the descriptor of another row (Comput. Phys. Commun. 117, 35,
    1999; Saltelli et al., Comput. Phys. Commun. 181, 259, 2010): descriptors count as if they were independent of each other. For each
    posterior draw, over at most 500 rows.
    """
    known = [term.component for term in posterior.problem.terms]
    if component not in known:
        raise ModelError(f"no component {component!r}; the model has {', '.join(known)}.")
    table = posterior.problem.cells
    if len(table) < 3:
        raise ModelError(f"the relevance of descriptors needs at least three rows, not {len(table)}.")
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(table), _ROWS, replace=False)) if len(table) > _ROWS else np.arange(len(table))
    rows = np.tile(rows, max(1, _ROWS // len(rows)))
    other = rng.permutation(len(rows))
    base = table.take(rows)
    here = _function(posterior, base, component)
    variance = here.var(axis=0)
    shares = []
    for name in descriptors:
        moved = base.replaced({name: base.numeric(name)[other]})
        shares.append(np.mean((_function(posterior, moved, component) - here) ** 2, axis=0) / (2 * np.maximum(variance, 1e-300)))
    values = np.array(shares)
    bounds = interval(values)
    found = pd.DataFrame({"descriptor": descriptors, "share": values.mean(axis=1), "share_lb": bounds[:, 0], "share_ub": bounds[:, 1]})
    problem = posterior.problem
    ordered = found.sort_values("share", ascending=False, ignore_index=True)
    return Relevance(ordered, problem.said(component), problem.said(problem.response))


def _function(posterior: Posterior, table: Table, component: str) -> np.ndarray:
    """What a component adds on the rows of a table at posterior draws, shape (rows, draws)."""
    stream = Stream(posterior, table, draws=_DRAWS)
    out: list[Any] = [np.broadcast_to(chunk.mean[component], (len(stream), chunk.where.stop - chunk.where.start)) for chunk in stream]
    return np.concatenate(out, axis=1)[stream.cell]
