"""What every question to a fit starts from: its model, its draws, and how it was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from realmat.engines import choice
from realmat.joint import Joint
from realmat.model import Model
from realmat.posterior.draws import Draws, Posterior
from realmat.posterior.grouping import of_rows
from realmat.support.checks import listed
from realmat.support.jobs import run
from realmat.table.table import Table
from realmat.terms.component import Scale
from realmat.terms.problem import Problem

if TYPE_CHECKING:
    import xarray as xr


class Fitted:
    """A model with the draws of a fit; `realmat.Fit` adds the questions.

    Attributes
    ----------
    model : Model
        That of the property which the fit is seen through.
    declared : Model or Joint
        That of all properties.
    posterior : Posterior
    """

    def __init__(self, model: Model | Joint, posterior: Posterior) -> None:
        self.declared = model
        self.model = model.of(posterior.problem.response)
        self.posterior = posterior

    @property
    def problem(self) -> Problem:
        """The model bound to its table."""
        return self.posterior.problem

    @property
    def facts(self) -> Mapping[str, Any]:
        """What was done: engine, reason, seed, seconds, k-hat, acceptance."""
        return self.posterior.draws.facts

    @cached_property
    def tree(self) -> xr.DataTree:
        """All groups as an `xarray.DataTree`, made when first asked for."""
        from realmat.posterior import tree

        return tree.build(self.posterior, self.declared.to_dict())

    @cached_property
    def _drawn(self) -> xr.DataTree:
        """The group `posterior` of `tree` alone, which costs nothing."""
        import xarray as xr

        from realmat.posterior import tree

        return xr.DataTree.from_dict({"/posterior": tree.variables(self.posterior)})

    def __repr__(self) -> str:
        facts = self.facts
        chains, draws = self.posterior.shape
        rows = len(self.problem.table.whole)
        name = self.declared.name or listed(self.problem.responses)
        made = f"{chains} x {draws} draws by the {facts.get('engine')} engine in {facts.get('seconds', 0):.1f} s"
        return f"<Fit of {name!r}: {rows} rows, {made}>"

    def _table(self, data: Any) -> Table | None:
        """New rows, validated; None stands for the rows of the fit."""
        return None if data is None else self.model.prediction_table(data)

    def _seed(self, seed: int | None) -> int:
        return int(self.facts.get("seed", 0)) if seed is None else seed

    def _without(self, executor: Executor | None) -> Callable[[Problem, Mapping[str, np.ndarray]], Mapping[str, Draws]]:
        """Samples the problem on some of its rows as this fit was sampled: here, or wherever an executor runs."""
        facts = self.facts
        options = (str(facts["engine"]), int(facts["draws"]), int(facts["chains"]), int(facts["seed"]))

        def again(problem: Problem, kept: Mapping[str, np.ndarray]) -> Mapping[str, Draws]:
            scales = {part.response: part.scale for part in (problem, *problem.beside)}
            there = (self.declared, problem.table.whole, scales, problem.response)
            tasks = {name: (problem if executor is None else there, rows, *options) for name, rows in kept.items()}
            return run(_drawn, tasks, executor, what="refits")

        return again


Declared = tuple[Model | Joint, Table, Mapping[str, Scale], str]


def _drawn(what: Problem | Declared, rows: np.ndarray, engine: str, draws: int, chains: int, seed: int) -> Draws:
    """Draws of a problem on some of its rows; of one that travelled as declaration, table, scales of default priors and property."""
    if not isinstance(what, Problem):
        declared, table, scales, response = what
        what = declared.bind(table, scales).of(response)
    return choice.run(of_rows(what, rows), engine, draws, chains, seed, progress=False)
