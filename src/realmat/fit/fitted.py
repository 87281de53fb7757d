"""What every question to a fit starts from: its model, its draws, and how it was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from realmat.engines import choice
from realmat.errors import ModelError
from realmat.fit.rows import seen_with
from realmat.joint import Joint
from realmat.model import Model
from realmat.posterior.draws import Draws, Posterior
from realmat.posterior.grouping import of_rows
from realmat.support.checks import listed
from realmat.support.jobs import run
from realmat.table.table import Table
from realmat.table.validated import as_frame
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
    chosen : bool
        Whether it is known which property questions are about: there is one only, or `of` was asked for it.
    posterior : Posterior
    """

    def __init__(self, model: Model | Joint, posterior: Posterior, chosen: bool = False) -> None:
        self.declared = model
        self.chosen = chosen or len(model.responses) == 1
        self.model = model.of(posterior.problem.response)
        self.posterior = posterior

    def of(self, response: str) -> Self:
        """The fit seen through one of its properties, with all that the others tell of it.

        Raises
        ------
        realmat.ModelError
            If there is no such property.
        """
        return type(self)(self.declared, self.posterior.of(response), chosen=True)

    def _seen(self, of: str | None) -> Self:
        """Seen through a property that a question is about.

        Raises
        ------
        realmat.ModelError
            If there are several and none was named, or there is no such property.
        """
        if of is not None:
            return self.of(of)
        if not self.chosen:
            raise ModelError(f"this fit is of {listed(self.problem.responses)}: say of which property with of=, or ask fit.of(...).")
        return self

    @property
    def problem(self) -> Problem:
        """The model bound to its table."""
        return self.posterior.problem

    @property
    def facts(self) -> Mapping[str, Any]:
        """What was done: engine, reason, seed, seconds, k-hat, efficiency."""
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
        rows = self.problem.table.whole.readings
        name = self.declared.name or listed(self.problem.responses)
        made = f"{chains} x {draws} draws by the {facts.get('engine')} engine in {facts.get('seconds', 0):.1f} s"
        return f"<Fit of {name!r}: {rows} rows, {made}>"

    def _rows(self, data: Any, new: str, seed: int | None = None) -> tuple[Posterior, Table | None, str]:
        """New rows, validated (None stands for those of the fit), the posterior that knows what they tell, and what is new to it."""
        if data is None:
            return self.posterior, None, new
        if isinstance(self.declared, Joint):
            return seen_with(self.declared, self.posterior, as_frame(data), new, self._seed(seed))
        return self.posterior, self._read(data), new

    def _read(self, data: Any) -> Table:
        """New rows, validated; columns are in the units of the table of the fit, unless the rows say otherwise."""
        return self.model.prediction_table(data, self.problem.table.whole.units)

    def _seed(self, seed: int | None) -> int:
        return int(self.facts.get("seed", 0)) if seed is None else seed

    def _without(self, executor: Executor | None) -> Callable[[Problem, Mapping[str, np.ndarray]], Mapping[str, Draws]]:
        """Samples the problem on some of its rows as this fit was sampled: here, or wherever an executor runs."""
        facts = self.facts
        chains, draws = self.posterior.shape
        options = (str(facts["engine"]), draws, chains, int(facts.get("seed", 0)))

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
