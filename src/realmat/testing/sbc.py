"""Simulation-based calibration: truths drawn from the prior rank uniformly among draws from the posterior, if both are right.

Talts, Betancourt, Simpson, Vehtari & Gelman, arXiv:1804.06788. Besides the unknowns, log p(y | psi) is ranked where it has a closed form:
a quantity that depends on the data finds faults that unknowns alone hide (Modrak et al., Bayesian Anal. 20, 461, 2025).
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from realmat.engines import choice
from realmat.errors import ModelError
from realmat.joint import Joint
from realmat.model import Model
from realmat.posterior.draws import Posterior
from realmat.support.jobs import run
from realmat.support.numbers import percent, significant
from realmat.support.progress import Progress
from realmat.support.shown import Shown
from realmat.table.table import Table
from realmat.terms.problem import Problem, nonlinear_terms
from realmat.testing.simulate import simulate

COVERAGES = (0.5, 0.8, 0.95)
_RARE = 0.01  # probability of a right model that is called wrong
_FEWEST = 20  # replicates from which uniformity can be judged


@dataclass(frozen=True, repr=False)
class SBC(Shown):
    """Ranks of known truths among posterior draws.

    Attributes
    ----------
    ranks : DataFrame
        One row for each replicate, one column for each quantity: the share of posterior draws below the truth, between 0 and 1, ties and
        gaps filled at random. Uniform where prior, likelihood and engine agree.
    response : str
        What the model is of.
    """

    ranks: pd.DataFrame
    response: str

    @cached_property
    def table(self) -> pd.DataFrame:  # type: ignore[override]
        """By quantity: `p` of uniform ranks, and the share of truths inside central intervals (`coverage_50`, `_80`, `_95`)."""
        seen = self.ranks.notna()
        inside = {f"coverage_{100 * c:.0f}": ((self.ranks - 0.5).abs() <= c / 2).astype(float).where(seen).mean() for c in COVERAGES}
        return pd.DataFrame({"p": uniformity(self.ranks), **inside}).rename_axis("quantity")

    @property
    def failed(self) -> tuple[str, ...]:
        """Quantities whose ranks are not uniform: a right model has any in 1 of 100 calibrations (Bonferroni)."""
        return tuple(self.table.index[self.table["p"] < _RARE / len(self.table)])

    @property
    def passed(self) -> bool:
        """Whether all ranks look uniform."""
        return not self.failed

    @property
    def title(self) -> str:
        """What was done."""
        return f"Simulation-based calibration of the model of {self.response}, {len(self.ranks)} replicates"

    @property
    def text(self) -> str:
        """What the ranks say."""
        covered = self.table[[f"coverage_{100 * c:.0f}" for c in COVERAGES]].mean()
        told = ", ".join(
            f"{100 * c:.0f} % intervals hold {percent(float(v))} of the truths" for c, v in zip(COVERAGES, covered, strict=True)
        )
        if self.passed:
            least = self.table["p"].idxmin()
            return f"The ranks are uniform (smallest p {significant(float(self.table['p'].min()))}, of {least}). {told}."
        named = ", ".join(f"{name} (p {significant(float(self.table['p'][name]))})" for name in self.failed)
        return f"The ranks are not uniform for {named}: prior, likelihood and engine do not agree. {told}."


def sbc(
    model: Model | Joint,
    data: Any,
    replicates: int = 200,
    draws: int = 150,
    chains: int = 2,
    ranked: int = 100,
    seed: int = 1,
    engine: str = "auto",
    executor: Executor | None = None,
    progress: bool = False,
) -> SBC:
    """Draw truths from the prior, measurements from both, fit them, and rank the truths among the posterior draws.

    Parameters
    ----------
    model : Model or Joint
    data : DataFrame
        The design: what was measured where. Its responses and characterisations are simulated; default priors are scaled by it.
    replicates : int
        Number of simulated tables.
    draws, chains, engine
        Of each fit, as of `Model.fit`.
    ranked : int
        Draws among which a truth is ranked, spread evenly over all chains; so few that they are close to independent.
    seed : int
        Of the truths and of the fits.
    executor : concurrent.futures.Executor, optional
        Runs the replicates, as of `rm.fit_many`; the numbers are the same.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    SBC

    Raises
    ------
    realmat.ModelError
        For fewer than 20 replicates, or a model without unknowns.
    realmat.support.jobs.SomeFailedError
        If replicates fail, once all have ended: every one that failed is named.

    Examples
    --------
    >>> import pandas as pd
    >>> import realmat as rm
    >>> design = pd.DataFrame({"y": [0.0, 1.0, 2.0, 2.5], "x": [0.0, 1.0, 2.0, 3.0]})
    >>> model = rm.Model("y", theory=rm.theory.Calibrated("x"))
    >>> found = rm.testing.sbc(model, design, replicates=20, draws=50, ranked=20)
    >>> found.passed, list(found.table.columns)
    (True, ['p', 'coverage_50', 'coverage_80', 'coverage_95'])
    """
    if replicates < _FEWEST:
        raise ModelError(f"replicates={replicates}: at least {_FEWEST} are needed to judge whether ranks are uniform.")
    table = model.table(data)
    tasks = {f"replicate {r}": (model, table, engine, draws, chains, ranked, seed + r) for r in range(replicates)}
    with Progress(progress, f"{replicates} replicates", replicates) as bar:
        found = run(_ranks, tasks, executor, bar.advance, "replicates")
    ranks = pd.DataFrame(list(found.values()), index=range(replicates))
    if not len(ranks.columns):
        raise ModelError("the model has no unknowns to calibrate.")
    return SBC(ranks, ", ".join(model.responses))


def replicate(problem: Problem, engine: str, draws: int, chains: int, ranked: int, seed: int) -> tuple[pd.Series, pd.DataFrame]:
    """One replicate: the truth, and `ranked` draws, of every hyperparameter and of the first and last coefficient of every block.

    Returns
    -------
    truth : Series
    found : DataFrame
        One column for each entry of the truth.
    """
    true = simulate(problem, seed)
    posterior = Posterior(true.problem, choice.run(true.problem, engine, draws, chains, seed, progress=False))
    kept = posterior.thin(ranked)
    truth: dict[str, float] = {}
    found: dict[str, np.ndarray] = {}
    for q in problem.params:
        every = posterior.param(q.name).reshape(posterior.size, -1)
        for k, t in enumerate(np.atleast_1d(true.values[q.name])):
            truth[f"{q.name}[{k}]"], found[f"{q.name}[{k}]"] = t, every[kept, k]
    for name, b in true.coefficients.items():
        for k in sorted({0, len(b) - 1}):
            truth[f"{name}[{k}]"], found[f"{name}[{k}]"] = b[k], posterior.block(name, kept)[:, k]
    if not nonlinear_terms(problem) and not posterior.system.augmented:
        truth["log p(y|psi)"] = posterior.system.log_marginal(true.values)
        found["log p(y|psi)"] = np.array([posterior.system.log_marginal(posterior.values(int(i))) for i in kept])
    return pd.Series(truth, dtype=float), pd.DataFrame(found)


def rank(truth: pd.Series, draws: pd.DataFrame, rng: np.random.Generator) -> pd.Series:
    """Ranks of the truth among the draws, on (0, 1), ties and gaps filled at random."""
    return ((draws < truth).sum() + rng.random(len(truth))) / (len(draws) + 1)


def uniformity(ranks: pd.DataFrame) -> pd.Series:
    """p-value of uniformity of each column: pointwise order tests, combined (Tesso et al., arXiv:2603.02928, 2026).

    A quantity may be there for some replicates only, as a density that has a closed form where no simulated reading is beyond a limit:
    these alone count, and nan stands where they are too few.
    """
    from arviz_stats.base import array_stats

    seen = {name: ranks[name].dropna().to_numpy() for name in ranks}
    return pd.Series({name: float(array_stats.uniformity_test(x)[0]) if len(x) >= _FEWEST else np.nan for name, x in seen.items()})


def _ranks(model: Model | Joint, table: Table, engine: str, draws: int, chains: int, ranked: int, seed: int) -> pd.Series:
    truth, found = replicate(model.bind(table), engine, draws, chains, ranked, seed)
    return rank(truth, found, np.random.default_rng([seed, 23]))
