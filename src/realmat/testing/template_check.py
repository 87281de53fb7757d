"""Proofs for a template."""

from __future__ import annotations

import ast
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realmat.attribution.separability import explain, separate
from realmat.engines import exact
from realmat.engines.choice import run as sample
from realmat.errors import DataError, ModelError
from realmat.fit import Fit, load
from realmat.joint import Joint
from realmat.model import Model
from realmat.posterior.draws import Posterior
from realmat.table import units
from realmat.templates import Template, get
from realmat.templates.finding import found
from realmat.terms.component import Component
from realmat.terms.problem import Problem
from realmat.terms.term import stored_name
from realmat.testing.checks import Checks, Skipped, run
from realmat.testing.simulate import simulate

SECTIONS = (
    "Question",
    "Theory",
    "The real material",
    "Observation",
    "Data and licence",
    "Priors",
    "How well it predicts",
    "When not to use it",
)
_ROWS = 300  # about so many rows of the template's data are sampled from, whole materials at a time
_FEWER = 100  # for NUTS
_WIDE = 1e4  # a prior predictive may be so much wider than the data
_Z = 5.0


def check_template(
    template: str | Path | Template, seed: int = 1, engines: bool = True, tick: Callable[[str], None] | None = None
) -> Checks:
    """Prove a template, as named checks.

    Parameters
    ----------
    template : str, path or Template
    seed : int
    engines : bool
        Whether to compare both engines too, which takes about a minute of compiling.
    tick : callable, optional
        Called with the name of each check before it runs.

    Returns
    -------
    Checks
        ``.passed``, ``.failed`` (names) and ``.table``. The checks, made on `real` unless they say "each variant": *public names* (the
        file uses nothing private of realmat), *name* (a Python name that no other template has), *card* (README.md with every section
        of `SECTIONS`), *columns* (`data` holds those that are declared), *units* (they exist, and are of the dimension that components
        need), *builds* (each variant, on its own data), *prior predictive* (each variant: finite, and about as wide as the data),
        *separable* (the design can tell the layers apart), *budget* (its shares add up to one), *save and load* (the tables of the file
        are those of the fit), *recovery* (a fit to data simulated from the prior holds the truth), *engines agree*.

    Examples
    --------
    >>> import realmat as rm
    >>> print(rm.testing.check_template("interlaboratory", engines=False).text)
    interlaboratory passes all 11 checks that apply to it.
    """
    found_one = template if isinstance(template, Template) else get(str(template))
    chosen = {name: check for name, check in CHECKS.items() if engines or name != "engines agree"}
    return run(found_one.name, {name: _announced(name, check, tick) for name, check in chosen.items()}, _Case(found_one, seed))


def _announced(name: str, check: Callable[[_Case], str | None], tick: Callable[[str], None] | None) -> Callable[[_Case], str | None]:
    def announced(case: _Case) -> str | None:
        if tick is not None:
            tick(name)
        return check(case)

    return announced


@dataclass
class _Case:
    template: Template
    seed: int

    @cached_property
    def data(self) -> pd.DataFrame:
        return self.template.data()

    def model(self, variant: str) -> Model | Joint:
        return self.template.model(variant, table=self.data)

    @cached_property
    def real(self) -> Model | Joint:
        return self.model(self.template.default)

    @cached_property
    def some(self) -> pd.DataFrame:
        return _some(self.data, self.real, _ROWS, self.seed)

    @cached_property
    def problem(self) -> Problem:
        return self.real.bind(self.some)

    @cached_property
    def fit(self) -> Fit:
        return self.real.fit(self.some, draws=200, chains=2, seed=self.seed, progress=False)


def _some(data: pd.DataFrame, model: Model | Joint, rows: int, seed: int) -> pd.DataFrame:
    """About so many rows: whole groups of the widest level, in random order."""
    column = next((model.levels[level] for level in ("material", "lab", "specimen") if level in model.levels), None)
    if len(data) <= rows or column is None:
        return data.head(rows)
    groups = data[column].drop_duplicates().sample(frac=1.0, random_state=seed)
    total = data[column].value_counts()[groups].cumsum().to_numpy()
    kept = groups[: max(2, int(np.searchsorted(total, rows, side="right")))]
    return data[data[column].isin(kept)]


def _public_names(case: _Case) -> str:
    tree = ast.parse(case.template.path.read_text(encoding="utf-8"))
    private = []
    for node in ast.walk(tree):
        inner = isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "realmat"
        module = isinstance(node, ast.Import) and any(alias.name.startswith("realmat.") for alias in node.names)
        hidden = isinstance(node, ast.Attribute) and re.match(r"(rm|realmat)(\.\w+)*\._[^_]", ast.unparse(node)) is not None
        if inner or module or hidden:
            private.append(f"line {node.lineno}: {ast.unparse(node)}")  # type: ignore[attr-defined]
    assert not private, "use the public names alone, as in `import realmat as rm`: " + "; ".join(private)
    return ""


def _name(case: _Case) -> str:
    name = case.template.name
    assert name.isidentifier(), f"{name!r} is no Python name"
    others = [t for t in found() if t.name == name and t.path.resolve() != case.template.path.resolve()]
    assert not others, f"a template of {others[0].source} is called {name!r} too, and is found in its place" if others else ""
    return ""


def _card(case: _Case) -> str:
    parts = re.split(r"^## +(.+?) *$", case.template.card, flags=re.MULTILINE)
    given = {title: re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL).strip() for title, text in zip(parts[1::2], parts[2::2], strict=True)}
    missing = [section for section in SECTIONS if not given.get(section)]
    assert not missing, f"README.md has no text under: {', '.join(missing)}"
    return f"{len(SECTIONS)} sections"


def _columns(case: _Case) -> str:
    absent = [c.name for c in case.template.columns if c.required and c.name not in case.data]
    assert not absent, f"data() lacks required columns: {', '.join(absent)}"
    unsaid = [
        f"{variant}: {c.name}" for variant in case.template.variants for c in case.model(variant).columns() if c.name not in case.data
    ]
    assert not unsaid, f"neither data() nor prepare() gives columns that models need: {', '.join(unsaid)}"
    pairs = ({"ideal", "real"}, {"separate", "joint"})
    known = any(pair <= set(case.template.variants) for pair in pairs)
    assert known, "the variants must include 'ideal' and 'real', or of several properties 'separate' and 'joint'"
    return f"{len(case.template.columns)} columns"


def _units(case: _Case) -> str:
    declared = {c.name: c.unit for c in case.template.columns}
    problems = []
    for variant in case.template.variants:
        for model in case.model(variant).members:
            given = {**declared, **model.units, **({model.response: model.unit} if model.unit else {})}
            for column in model.columns():
                unit, needed = given.get(column.name, ""), column.unit
                problems += _wrong(column.name, unit, needed)
            stated = declared.get(model.response, "")
            if stated and model.unit and model.unit != stated:
                problems.append(f"{model.response} is in {stated!r} in COLUMNS and in {model.unit!r} in the model {variant!r}")
    assert not problems, "; ".join(dict.fromkeys(problems))
    return ""


def _wrong(column: str, unit: str, needed: str) -> list[str]:
    try:
        units.parse(unit)
        if unit and needed:
            units.check_dimension(unit, needed, column)
    except (DataError, ModelError) as error:
        return [f"{column}: {error}"]
    return []


def _builds(case: _Case) -> str:
    for variant in case.template.variants:
        model = case.model(variant)
        assert type(model).from_dict(model.to_dict()) == model, f"{variant}: from_dict(to_dict()) gives another model"
        assert all(isinstance(c, Component) for m in model.members for c in m.components)
        model.bind(case.data)
    return ", ".join(case.template.variants)


@np.errstate(all="ignore")
def _prior_predictive(case: _Case) -> str:
    ratios = {}
    for variant in case.template.variants:
        model = case.model(variant)
        predicted = model.prior_predictive(case.some, draws=100, seed=case.seed)["prior_predictive"]
        for own in model.members:
            drawn = predicted[stored_name(own.response)].to_numpy().ravel()
            bad = int((~np.isfinite(drawn)).sum())
            assert bad == 0, f"{variant}: {bad} of {drawn.size} prior predictive values are not finite; a prior is too wide for its link"
            y = case.some[own.response].dropna().to_numpy(dtype=float)
            if own.link == "log":
                drawn, y = np.log(drawn), np.log(y)
            name = variant if len(model.members) == 1 else f"{variant}, {own.response}"
            ratios[name] = float(np.subtract(*np.percentile(drawn, [90, 10])) / np.subtract(*np.percentile(y, [90, 10])))
            assert 0.1 < ratios[name] < _WIDE, f"{name}: the prior predictive is {ratios[name]:.3g} times as wide as the data"
    return "width over that of the data: " + ", ".join(f"{variant} {ratio:.2g}" for variant, ratio in ratios.items())


def _separable(case: _Case) -> str:
    groups = separate(case.real.bind(case.data)).groups
    assert not groups, " ".join(explain(case.real.bind(case.data), group) for group in groups)
    return ""


def _budget(case: _Case) -> str:
    worst = 0.0
    for new in ("observation", *(level for level in ("specimen", "material") if level in case.real.levels)):
        for of in case.real.responses:
            budget = case.fit.budget(new=new, of=of)
            rows = budget.rows["share"].sum(["component", "kind"])
            worst = max(worst, abs(budget.table["share"].sum() - 1), float(np.abs(rows - 1).max()))
    assert worst < 1e-9, f"shares add up to one only to {worst:.1e}"
    return f"to {worst:.0e}"


def _save_and_load(case: _Case) -> str:
    with tempfile.TemporaryDirectory() as folder:
        again = load(case.fit.save(Path(folder) / "fit.nc"), trust=case.template.module.__name__)
    assert again.declared == case.fit.declared, "the model read back is another one"
    pairs = {"summary": case.fit.summary().equals(again.summary())}
    for of in case.real.responses:
        pairs |= {
            f"budget of {of}": case.fit.budget(of=of).table.equals(again.budget(of=of).table),
            f"predict of {of}": case.fit.predict(of=of).equals(again.predict(of=of)),
        }
    for question, same in pairs.items():
        assert same, f"{question} of the file differs from that of the fit"
    return ""


def _recovery(case: _Case) -> str:
    truth = simulate(case.problem, case.seed)
    if exact.refusal(truth.problem):
        raise Skipped("only nuts runs it; a fit would take minutes")
    drawn = sample(truth.problem, "exact", 500, 2, case.seed, progress=False)
    worst, where = 0.0, ""
    for name, value in (*truth.values.items(), *truth.coefficients.items()):
        draws = drawn.params.get(name, drawn.coefficients.get(name))
        if draws is not None:
            flat = draws.reshape(1000, -1)
            beyond = np.maximum(flat.min(axis=0) - value, value - flat.max(axis=0))
            z = float(np.max(np.where(beyond > 0, beyond, 0.0) / np.maximum(flat.std(axis=0), 1e-300), initial=0.0))
            worst, where = max((worst, where), (z, name))
    assert worst < _Z, f"on data simulated from the prior the truth of {where} lies {worst:.1f} standard deviations beyond all draws"
    return ""


def _engines_agree(case: _Case) -> str:
    fewer = _some(case.data, case.real, _FEWER, case.seed)
    problem = case.real.bind(fewer)
    if why := exact.refusal(problem):
        raise Skipped(f"only nuts runs it: {why}")
    pair = [Posterior(problem, sample(problem, engine, 500, 4, case.seed, progress=False)) for engine in ("exact", "nuts")]
    worst, where = 0.0, ""
    for q in problem.params:
        z = _z(*(np.log(p.draws.params[q.name]) if q.prior.support[0] >= 0 else p.draws.params[q.name] for p in pair))
        worst, where = max((worst, where), (z, q.name))
    assert worst < _Z, f"the means of {where} differ by {worst:.1f} Monte Carlo standard errors"
    return f"{len(problem.params)} hyperparameters, largest difference {worst:.1f} Monte Carlo standard errors"


def _z(one: np.ndarray, other: np.ndarray) -> float:
    """Difference of two means of draws (chain, draw, ...) in Monte Carlo standard errors; the largest over elements."""
    from arviz_stats.base import array_stats

    def mean_and_error(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        flat = draws.reshape(*draws.shape[:2], -1)
        errors = [array_stats.mcse(flat[..., k], chain_axis=0, draw_axis=1, method="mean") for k in range(flat.shape[2])]
        return flat.mean(axis=(0, 1)), np.array(errors)

    (a, a_error), (b, b_error) = mean_and_error(one), mean_and_error(other)
    return float(np.max(np.abs(a - b) / np.hypot(a_error, b_error)))


CHECKS: Mapping[str, Callable[[Any], str | None]] = {
    "public names": _public_names,
    "name": _name,
    "card": _card,
    "columns": _columns,
    "units": _units,
    "builds": _builds,
    "prior predictive": _prior_predictive,
    "separable": _separable,
    "budget": _budget,
    "save and load": _save_and_load,
    "recovery": _recovery,
    "engines agree": _engines_agree,
}
