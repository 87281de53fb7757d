"""Proofs for a component."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd

from realmat.algebra import System, dense
from realmat.algebra.example import example_values
from realmat.engines import exact
from realmat.errors import DataError, ModelError
from realmat.model import Model
from realmat.posterior import prior_draws
from realmat.terms.component import Component
from realmat.terms.examples import LEVELS, example_table
from realmat.terms.problem import Problem
from realmat.terms.term import Contribution, Term, evaluate
from realmat.testing.checks import Checks, Skipped, run
from realmat.testing.simulate import contribution_of, mean_of, simulate
from realmat.theory import Constant

_DRAWS = 20


def check_component(
    component: Component,
    data: pd.DataFrame | None = None,
    response: str = "y",
    link: str | None = None,
    levels: Mapping[str, str] | None = None,
    seed: int = 1,
    recovery: bool = True,
) -> Checks:
    """Prove a component: every promise that engines, files and reports rely on, as named checks.

    Parameters
    ----------
    component : Component
    data : DataFrame, optional
        Rows to bind it to, with a response column; by default a table is made from what the component needs.
    response : str
        The response column of `data`.
    link : {"identity", "log"}, optional
        By default identity, or log where the component asks for it.
    levels : dict, optional
        As in `realmat.Model`; for the table made by default ``material``, ``specimen`` and ``lab``.
    seed : int
    recovery : bool
        Whether to sample a posterior too, which takes seconds (with `nuts` a minute).

    Returns
    -------
    Checks
        ``.passed``, ``.failed`` (names) and ``.table``. The checks are: *round trip* (``from_dict(to_dict())`` is equal), *columns* (a
        missing column and a unit of the wrong dimension are errors that name it), *names*, *shapes*, *new levels* (rows of specimens
        never seen), *prior predictive* (finite), *pymc* (the contribution is the same in the PyMC model), *exact identity*
        (``log p(y|psi) = log p(y,b|psi) - log p(b|psi,y)`` at random psi and b, and against dense covariances), *recovery* (a fit to
        data simulated from the prior holds the truth).

    Examples
    --------
    >>> import realmat as rm
    >>> rm.testing.check_component(rm.material.Process("route")).passed
    True
    """
    case = _Case(component, data, response, link, levels, seed)
    checks = CHECKS if recovery else {name: check for name, check in CHECKS.items() if name != "recovery"}
    return run(component.label, checks, case)


@dataclass
class _Case:
    component: Component
    given: pd.DataFrame | None
    response: str
    link: str | None
    levels_given: Mapping[str, str] | None
    seed: int
    facts: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def data(self) -> pd.DataFrame:
        return example_table(self.component, seed=self.seed) if self.given is None else self.given

    @property
    def levels(self) -> Mapping[str, str]:
        if self.levels_given is not None or self.given is not None:
            return self.levels_given or {}
        return {level: level for level in LEVELS}

    def model(self, **changes: Any) -> Model:
        layers: dict[str, Any] = {"theory": Constant()}
        layers[self.component.layer] = self.component
        return Model(self.response, levels=self.levels, **{**layers, "link": self.link or "identity", **changes})

    @cached_property
    def bound(self) -> tuple[Model, Problem]:
        model = self.model()
        try:
            return model, model.bind(self.data)
        except ModelError as error:
            if self.link is not None or "log" not in str(error):
                raise
        model = self.model(link="log")
        return model, model.bind(self.data)

    @property
    def problem(self) -> Problem:
        return self.bound[1]

    @property
    def term(self) -> Term:
        return self.problem.term(self.component.label)


def _round_trip(case: _Case) -> None:
    told = json.loads(json.dumps(case.component.to_dict()))
    again = Component.from_dict(told)
    assert again == case.component, f"from_dict(to_dict()) gives {again!r}"
    hash(case.component)


def _columns(case: _Case) -> str:
    from realmat.table import units

    model, _ = case.bound
    needs = [column for column in case.component.needs() if case.levels.get(column.name, column.name) in case.data.columns]
    for column in needs:
        name = case.levels.get(column.name, column.name)
        _must_fail(name, f"a table without {name!r}", partial(model.bind, case.data.drop(columns=name)))
        if column.unit:
            wrong = "MPa" if units.kind(column.unit) != "stress" else "um"
            declared = case.model(link=model.link, units={name: wrong})
            _must_fail(name, f"the unit {wrong!r} for {name!r}, in {column.unit!r}", partial(declared.bind, case.data))
    return f"{len(needs)} column" + "s" * (len(needs) != 1)


def _must_fail(name: str, what: str, action: Callable[[], Any]) -> None:
    """Run what must be refused by a DataError that names a column."""
    said = None
    try:
        action()
    except DataError as error:
        said = str(error)
    assert said is not None, f"{what} is accepted"
    assert name in said, f"the error about {what} does not name the column: {said}"


def _names(case: _Case) -> str:
    label, term = case.component.label, case.term
    assert term.component == label, f"the term is called {term.component!r}, not {label!r}"
    assert term.layer == case.component.layer, f"the term is of the layer {term.layer!r}"
    names = [q.name for q in term.params] + [c.name for c in term.coefficients]
    assert len(set(names)) == len(names), f"names appear twice: {sorted(names)}"
    prefixes = (label, "bias_") if term.layer == "observation" else (label,)
    strange = [name for name in names if not name.startswith(prefixes) or re.search(r"\s", name)]
    assert not strange, f"variables are called <component>_<parameter>; these are not: {', '.join(strange)}"
    return ", ".join(names)


def _shapes(case: _Case) -> str:
    problem, term = case.problem, case.term
    values = example_values(problem.params)
    sizes = {c.name: c.size for c in problem.coefficients}
    for block in term.coefficients:
        sd = np.asarray(evaluate(block.sd, values), dtype=float)
        assert sd.shape in ((), (block.size,)), f"{block.name}: sd has the shape {sd.shape}"
        assert np.all(np.isfinite(sd) & (sd > 0)), f"{block.name}: sd must be positive"
        for part in block.mean_parts:
            assert part.matrix.shape == (block.size, sizes[part.coefficients]), (
                f"{block.name}: the matrix of its parent {part.coefficients} has the shape {part.matrix.shape}"
            )
        if block.report is not None:
            b = np.random.default_rng(case.seed).normal(size=(3, block.size))
            back = block.report[1](block.report[0](b))
            assert np.shape(back) == np.shape(b), f"{block.name}: report does not come back to the shape of the coefficients"
    contribution = term.contribute(problem.cells)
    for piece in contribution.pieces:
        shape = (len(problem.cells), sizes[piece.coefficients])
        assert piece.matrix.shape == shape, f"the matrix of {piece.coefficients} has the shape {piece.matrix.shape}, not {shape}"
        assert np.ndim(evaluate(piece.scale, values)) == 0, f"on the rows of the fit the scale of {piece.coefficients} must be a number"
    assert not contribution.fresh, "on the rows of the fit nothing may be drawn anew"
    return f"{sum(c.size for c in term.coefficients)} coefficients, {sum(q.size for q in term.params)} hyperparameters"


def _new_levels(case: _Case) -> str:
    model, problem = case.bound
    later = case.data.copy()
    groups = {c.name for c in case.component.needs() if c.kind == "label" and c.name == getattr(case.component, "column", None)}
    for column in {*case.levels.values(), *groups}:
        later[column] = [f"new {value}" for value in later[column]]
    later.index = pd.Index([f"new {i}" for i in range(len(later))])
    table = model.prediction_table(later)
    prior = prior_draws.draw(problem, 1, case.seed)
    b = {name: draws[0, 0] for name, draws in prior.draws.coefficients.items()}
    values = prior.values(0)
    contribution = case.term.contribute(table, ())
    made = contribution_of(contribution, len(table), values, b)
    assert made.shape == (len(table),), f"the contribution on new specimens has the shape {made.shape}"
    assert np.isfinite(made).all(), "the contribution on new specimens is not finite"
    for fresh in contribution.fresh:
        sd = np.broadcast_to(np.asarray(fresh.sd(values, np), dtype=float), (len(table),))
        drawn = sd[fresh.groups >= 0]
        assert np.all(np.isfinite(drawn)), "what is drawn anew has no finite standard deviation"
    return "something is drawn anew" if contribution.fresh else "nothing is drawn anew"


def _prior_predictive(case: _Case) -> str:
    problem = case.problem
    prior = prior_draws.draw(problem, _DRAWS, case.seed)
    for i in range(_DRAWS):
        b = {name: draws[0, i] for name, draws in prior.draws.coefficients.items()}
        mean = mean_of(problem, prior.values(i), b)
        bad = int((~np.isfinite(mean)).sum())
        assert bad == 0, f"{bad} of {len(mean)} prior predictive values are not finite at {_told(prior.values(i))}"
    return f"{_DRAWS} draws"


def _told(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={np.round(value, 4)}" for name, value in values.items())


def _pymc(case: _Case) -> str:
    from realmat.engines import pymc_route

    problem, label = case.problem, case.component.label
    total = f"{label}_contribution"
    contribution = case.term.contribute(problem.cells)
    if contribution == Contribution():
        raise Skipped("it adds nothing to the mean")
    names = [q.name for q in problem.params] + [c.name for c in problem.coefficients]
    drawn = pymc_route.prior_draw(problem, [*names, total], case.seed)
    assert np.isfinite(drawn[total]).all(), "the contribution in the PyMC model is not finite"
    if contribution.raw:
        return "finite; a raw expression has no NumPy form to compare with"
    b = {block.name: np.atleast_1d(drawn[block.name]) for block in problem.coefficients}
    ours = contribution_of(contribution, len(problem.cells), drawn, b)[problem.cell]
    worst = float(np.max(np.abs(ours - drawn[total])) / max(float(np.max(np.abs(ours))), 1e-300))
    assert worst < 1e-9, f"functions of psi give other values with PyTensor than with NumPy: they differ by {worst:.1e} (relative)"
    return f"largest relative difference {worst:.0e}"


def _random_point(problem: Problem, seed: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """psi with the auxiliary values of Student t and censored parts, and b, from the prior."""
    prior = prior_draws.draw(problem, 1, seed)
    values = dict(prior.values(0))
    rng = np.random.default_rng(seed)
    for block in problem.coefficients:
        if block.nu:
            values[f"{block.name}_local"] = rng.uniform(0.5, 2.0, block.size)
    for rows in problem.rows:
        if rows.noise.nu:
            values[f"{rows.name}_local"] = rng.uniform(0.5, 2.0, len(rows.y))
        if rows.noise.censored is not None and rows.noise.censored.any():
            values[f"{rows.name}_latent"] = rows.y + rows.noise.censored * rng.exponential(np.std(rows.y) or 1.0, len(rows.y))
    return values, {name: draws[0, 0] for name, draws in prior.draws.coefficients.items()}


def _exact_identity(case: _Case) -> str:
    problem = case.problem
    if why := exact.refusal(problem):
        raise Skipped(f"only nuts runs it: {why}")
    system = System(problem)
    worst = 0.0
    for seed in range(case.seed, case.seed + 3):
        values, by_name = _random_point(problem, seed)
        b = np.concatenate([np.zeros(0), *(by_name[c.name] for c in problem.coefficients)])
        conditional = system.at(values)
        marginal = conditional.log_marginal
        identity = system.log_joint(values, b) - conditional.log_density(b)
        oracle = dense.log_marginal(problem, values)
        worst = max(worst, *(abs(other - marginal) / max(abs(marginal), 1.0) for other in (identity, oracle)))
    assert worst < 1e-6, f"log p(y|psi) differs by {worst:.1e} (relative) between its three forms"
    return f"largest relative difference {worst:.0e}"


def _recovery(case: _Case) -> str:
    from realmat.engines.choice import run as sample

    truth = simulate(case.problem, case.seed)
    drawn = sample(truth.problem, "auto", 500, 4, case.seed, progress=False)
    worst, name_of_worst = 0.0, ""
    for name, value in (*truth.values.items(), *truth.coefficients.items()):
        draws = drawn.params.get(name, drawn.coefficients.get(name))
        if draws is None:
            continue
        draws = draws.reshape(2000, -1)
        outside = (np.atleast_1d(value) < draws.min(axis=0)) | (np.atleast_1d(value) > draws.max(axis=0))
        z = np.where(outside, np.abs(np.atleast_1d(value) - draws.mean(axis=0)) / draws.std(axis=0), 0.0)
        if z.max(initial=0.0) > worst:
            worst, name_of_worst = float(z.max()), name
    assert worst < 5, f"the truth of {name_of_worst} lies outside all 2000 draws, {worst:.1f} standard deviations from their mean"
    return f"engine {drawn.facts['engine']}"


CHECKS = {
    "round trip": _round_trip,
    "columns": _columns,
    "names": _names,
    "shapes": _shapes,
    "new levels": _new_levels,
    "prior predictive": _prior_predictive,
    "pymc": _pymc,
    "exact identity": _exact_identity,
    "recovery": _recovery,
}
