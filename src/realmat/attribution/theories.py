"""What each of several theories is worth: bias, slope, errors, and what it adds to the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from realmat.errors import ModelError
from realmat.posterior.draws import Posterior
from realmat.support.attached import attached
from realmat.support.checks import listed
from realmat.support.numbers import percent, significant
from realmat.support.shown import Shown
from realmat.theory.consensus_update import Update

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DRAWS = 200


@dataclass(frozen=True)
class Theories(Shown):
    """Theories of a consensus, most telling first.

    Attributes
    ----------
    table : DataFrame
        One row a theory: `theory family n bias bias_sd slope slope_sd own_u family_u alone_u adds`. The bias is that for a typical
        material; own_u is the standard deviation of its error given those of the others, family_u that which it shares with them, so
        that own_u^2 + family_u^2 is the variance of its error; alone_u is the standard uncertainty of the ideal value of a material for
        which this theory alone was run, without what is known of other materials; adds is by how much the variance of the ideal value
        grows when of all theories this one is missing.
    together_u : float
        Standard uncertainty of the ideal value where all theories were run.
    response, unit : str
    """

    table: pd.DataFrame
    together_u: float
    response: str
    unit: str

    @property
    def title(self) -> str:
        """What it shows."""
        return f"What theories tell of {self.response}"

    def plot(self, dark: bool = False) -> Figure:
        """What each theory tells by itself, and adds to the others; see `realmat.plots.theories.plot_theories`."""
        return attached("plot", self)(dark=dark)

    @cached_property
    def text(self) -> str:
        """The table in a few sentences."""
        unit = f" {self.unit}" if self.unit else ""
        alone = self.table.sort_values("alone_u").iloc[0]
        best = self.table.sort_values("adds", ascending=False)
        said = [f"All theories together know the ideal value to {significant(self.together_u)}{unit}."]
        said.append(f"By itself {alone['theory']} is best: {significant(alone['alone_u'])}{unit}.")
        said.append(f"{best.iloc[0]['theory']} adds most to the others: without it the variance is {percent(best.iloc[0]['adds'])} larger.")
        idle = [str(t) for t in self.table.loc[self.table["adds"] < 0.01, "theory"]]
        if idle:
            said.append(f"Less than 1 % each, given the others: {listed(idle)}.")
        return " ".join(said)


def theories(posterior: Posterior, unit: str = "") -> Theories:
    """Compare the theories of a consensus.

    Parameters
    ----------
    posterior : Posterior
    unit : str

    Raises
    ------
    realmat.ModelError
        If the model has no `rm.theory.Consensus`.
    """
    update = consensus_of(posterior)
    if update is None:
        raise ModelError("theories() compares the theories of a rm.theory.Consensus, which this model has not.")
    rows = [_moments(update, posterior.values(int(i))) for i in posterior.thin(_DRAWS)]
    mean = {name: np.mean([row[name] for row in rows], axis=0) for name in rows[0]}
    name = update.name
    bias, slope = posterior.param(f"{name}_bias"), posterior.param(f"{name}_slope")
    table = pd.DataFrame(
        {
            "theory": theories_of(posterior),
            "family": _family_names(posterior, update),
            "n": np.isfinite(update.calculations.x).sum(axis=0),
            "bias": bias.mean(axis=0),
            "bias_sd": bias.std(axis=0),
            "slope": slope.mean(axis=0),
            "slope_sd": slope.std(axis=0),
            "own_u": np.sqrt(mean["own"]),
            "family_u": np.sqrt(mean["shared"]),
            "alone_u": np.sqrt(mean["alone"]),
            "adds": mean["without"] / mean["together"] - 1,
        }
    )
    table = table.sort_values("adds", ascending=False, kind="stable", ignore_index=True)
    return Theories(table, float(np.sqrt(mean["together"])), posterior.problem.said(posterior.problem.response), unit)


def consensus_of(posterior: Posterior) -> Update | None:
    """The consensus of a model, if it has one."""
    return next((t.update for t in posterior.problem.terms if isinstance(t.update, Update)), None)


def theories_of(posterior: Posterior) -> list[str]:
    """Names of the theories of a consensus; none where there is no such."""
    update = consensus_of(posterior)
    if update is None:
        return []
    return [str(c) for c in next(q for q in posterior.problem.params if q.name == f"{update.name}_bias").coords]


def _moments(update: Update, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Variances at one psi: of each error given the others and the rest of it, and of the ideal value by different theories."""
    covariance, slope = update.errors.covariance(values), values[f"{update.name}_slope"]
    precision = np.linalg.inv(covariance)
    own = 1 / np.diag(precision)
    solved = precision @ slope
    together = float(slope @ solved)
    without = together - solved**2 * own  # what is left of s' S^-1 s when one theory is taken away (block inverse)
    with np.errstate(divide="ignore"):
        return {
            "own": own,
            "shared": np.maximum(np.diag(covariance) - own, 0.0),
            "alone": np.diag(covariance) / slope**2,
            "together": np.array(1 / together),
            "without": 1 / without,
        }


def _family_names(posterior: Posterior, update: Update) -> Sequence[str]:
    found = [q for term in posterior.problem.terms for q in term.params if q.name == f"{update.name}_family"]
    if not found:
        return [""] * update.errors.size
    return [", ".join(str(f) for f, inside in zip(found[0].coords, row, strict=True) if inside) for row in update.errors.membership]
