"""Several properties of one real material, modelled together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from realmat.errors import DataError, ModelError
from realmat.model import Model
from realmat.support.attached import attached
from realmat.support.checks import listed
from realmat.table.labels import with_joined
from realmat.table.table import Column, Table
from realmat.table.validated import as_frame, validated
from realmat.terms.binding import bind_together
from realmat.terms.component import Scale, reject_unknown
from realmat.terms.priors import Shared
from realmat.terms.problem import Problem

if TYPE_CHECKING:
    import pandas as pd

    from realmat.fit import Fit


@dataclass(frozen=True, repr=False)
class Joint:
    """Models of several properties of the same specimens, fitted as one.

    The state of a specimen is one, and every property measured on it is evidence: a state that several models name (the same column,
    level and transform) is one latent state, with an effect of its own on each property.

    Parameters
    ----------
    members : list of Model
        One for each property, with the same levels.
    correlate : list of str, optional
        Components by level that models have in common, such as ``"unresolved_specimen"``, whose effects correlate between properties
        (LKJ prior, eta = 2); ``"noise"`` for the noise of responses measured in one row.
    name : str, optional
    long : (str, str), optional
        Of a long table, the column that names the property of each row, and the column that holds its value.

    Raises
    ------
    realmat.ModelError
        If the models contradict each other; every problem is named.

    Notes
    -----
    Variables: shared states and `rm.Shared` parameters keep their names, all else is ``<response>_<component>_<parameter>``; correlations
    are ``<component>_correlation`` (dims property, property_). The LKJ prior: Lewandowski, Kurowicka & Joe, J. Multivar. Anal. 100, 1989
    (2009). Several measured properties of one latent state are the structural equation models of Joreskog & Goldberger, J. Am. Stat.
    Assoc. 70, 631 (1975): multiple indicators, multiple causes.

    Examples
    --------
    >>> import realmat as rm
    >>> def member(response):
    ...     rest = rm.material.Unresolved(by="specimen")
    ...     return rm.Model(response, levels={"specimen": "piece"}, theory=rm.theory.Constant(), material=rest)
    >>> joint = rm.Joint([member("strength"), member("hardness")], correlate=["unresolved_specimen"])
    >>> joint.responses
    ('strength', 'hardness')
    >>> joint == rm.Joint.from_dict(joint.to_dict())
    True
    """

    members: tuple[Model, ...]
    correlate: tuple[str, ...] = ()
    name: str = ""
    long: tuple[str, str] | None = None

    def __init__(
        self, members: Sequence[Model], correlate: Sequence[str] = (), name: str = "", long: tuple[str, str] | None = None
    ) -> None:
        object.__setattr__(self, "members", tuple(members) if isinstance(members, Sequence) else (members,))
        object.__setattr__(self, "correlate", (correlate,) if isinstance(correlate, str) else tuple(correlate))
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "long", None if long is None else tuple(long))
        problems = list(self._problems())
        if problems:
            raise ModelError("the joint model contradicts itself:" + "".join(f"\n  - {p}" for p in problems))

    def _problems(self) -> Iterator[str]:
        wrong = [m for m in self.members if not isinstance(m, Model)]
        if wrong or not self.members:
            yield f"members must be a list of rm.Model, one for each property{f', not {wrong[0]!r}' if wrong else ''}."
            return
        twice = sorted({r for r in self.responses if self.responses.count(r) > 1})
        if twice:
            yield f"two models are of {listed(twice)}; a property has one model."
        for m in self.members:
            if count := getattr(m.observation, "count", None):
                yield f"count={count!r} of {m.response}: a row may hold several properties; give every reading a row."
        first = self.members[0]
        for m in self.members[1:]:
            if dict(m.levels) != dict(first.levels):
                yield f"levels differ: {dict(first.levels)} for {first.response}, {dict(m.levels)} for {m.response}."
        units: dict[str, str] = {}
        for m in self.members:
            for column, unit in m.units.items():
                if units.setdefault(column, unit) != unit:
                    yield f"column {column!r} is in {units[column]!r} for one model and in {unit!r} for {m.response}."
            for c in m.columns(response=False):
                if c.name in self.responses:
                    yield f"{c.name!r} is a property of its own, and a column of the model of {m.response}; it can be one of both."
        priors: dict[str, Shared] = {}
        for prior in self._shared():
            if priors.setdefault(prior.shared, prior) != prior:
                yield f"{prior.shared!r} is shared, but has two priors: {priors[prior.shared]!r} and {prior!r}."
        if self.long is not None and len(self.long) != 2:
            yield f"long must name two columns, that of the property and that of the value, not {self.long!r}."

    def _shared(self) -> Iterator[Shared]:
        for m in self.members:
            for component in m.components:
                for field in dataclasses.fields(component):
                    value = getattr(component, field.name, None)
                    every = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else (value,)
                    yield from (v for v in every if isinstance(v, Shared))

    @property
    def responses(self) -> tuple[str, ...]:
        """The properties, in order."""
        return tuple(m.response for m in self.members)

    @property
    def levels(self) -> Mapping[str, str]:
        """The columns of the levels."""
        return self.members[0].levels

    @property
    def units(self) -> dict[str, str]:
        """Units of columns."""
        return {column: unit for m in self.members for column, unit in m.units.items()}

    def of(self, response: str) -> Model:
        """The model of one property.

        Raises
        ------
        realmat.ModelError
            If there is none of that name.
        """
        reject_unknown([response], self.responses, "property")
        return next(m for m in self.members if m.response == response)

    def __reduce__(self) -> tuple[Any, ...]:
        return Joint.from_dict, (self.to_dict(),)  # a model travels as the dictionary that declares it

    def columns(self) -> list[Column]:
        """What the models need of a table."""
        return [spec for m in self.members for spec in self._columns(m, response=True)]

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description that keeps every argument."""
        long = None if self.long is None else list(self.long)
        return {"joint": [m.to_dict() for m in self.members], "correlate": list(self.correlate), "name": self.name, "long": long}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], trust: Sequence[str] | None = None) -> Joint:
        """Inverse of `to_dict`; `trust` as of `Model.from_dict`."""
        return cls([Model.from_dict(m, trust) for m in data["joint"]], data["correlate"], data["name"], data["long"])

    # --- tables -----------------------------------------------------------------------------------------------------------------

    def table(self, data: pd.DataFrame) -> Table:
        """Validate a table: a row may hold any of the responses, and what is empty was not measured.

        Raises
        ------
        realmat.DataError
            With every problem, column and row.
        """
        wide = self.wide(as_frame(data))
        table = self._filled(validated(wide, self.columns(), self.levels, self.units), self.members)
        empty = [r for r in self.responses if not (table.numeric(r) == table.numeric(r)).any()]
        if empty:
            raise DataError(f"no row holds a value of {listed([repr(r) for r in empty])}; leave the model of it out.")
        return table

    def prediction_table(self, data: pd.DataFrame, of: str, units: Mapping[str, str] | None = None) -> Table:
        """Validate rows in which `of` is to be predicted; whatever else they hold of other properties is read too.

        `units` as of `further_table`.

        Raises
        ------
        realmat.DataError
            With every problem, column and row.
        """
        own = self.of(of)
        wide = own.named(self.wide(as_frame(data)))
        held = [m for m in self.members if m is not own and m.observation.says(wide, m.response)]
        specs = own.prediction_columns(wide)
        specs += [spec for m in held for spec in self._columns(m, response=True) if not spec.optional or spec.name in wide.columns]
        return self._filled(validated(wide, specs, self.levels, {**self.units, **(units or {})}, of, own.link), held)

    def further_table(self, data: pd.DataFrame | Mapping[str, Any], units: Mapping[str, str] | None = None) -> Table:
        """Validate rows that join those of a fit: one may hold some responses, or a characterisation or calculation alone.

        Columns are in the `units` of the table of the fit, unless the data say otherwise.

        Raises
        ------
        realmat.DataError
            With every problem, column and row.
        """
        wide = self.wide(as_frame(data))
        own = {**self.units, **(units or {})}
        specs = [spec for m in self.members for spec in m.further_columns(wide)]
        return self._filled(validated(wide, specs, self.levels, own), self.members)

    @staticmethod
    def _filled(table: Table, members: Sequence[Model]) -> Table:
        """With numbers for the readings of some properties that say less than a number."""
        for m in members:
            table = m.observation.filled(table, m.response, every=False)
        return table

    def _columns(self, member: Model, response: bool) -> list[Column]:
        """What a property needs of a table that may not hold it in every row."""
        levels = set(self.levels.values())
        out = []
        for spec in member.columns(response):
            if spec.name == member.response:
                out.append(dataclasses.replace(spec, missing=True))
            else:
                out.append(spec if spec.name in levels else dataclasses.replace(spec, only=(member.response,)))
        return out

    def wide(self, data: pd.DataFrame) -> pd.DataFrame:
        """A long table with a column for each property, any other as it is; with the labels that several columns make together.

        Raises
        ------
        realmat.DataError
            If rows are of a property that has no model.
        """
        data = with_joined(data, [c.name for m in self.members for c in m.columns(response=False) if c.kind == "label"])
        if self.long is None or not set(self.long) <= set(data.columns):
            return data
        which, value = self.long
        strange = ~data[which].isin(self.responses)
        if strange.any():
            named = sorted({str(v) for v in data.loc[strange, which]})
            raise DataError(f"column {which!r}: no model of {listed(named[:6])}; there are those of {listed(self.responses)}.")
        columns = {r: data[value].where(data[which] == r) for r in self.responses}
        return data.drop(columns=[which, value]).assign(**columns)

    # --- what a model does ------------------------------------------------------------------------------------------------------

    def bind(self, data: pd.DataFrame | Table, scales: Mapping[str, Scale] | None = None) -> Problem:
        """The problem of a table, seen through the first property; `Problem.of` gives the others. `scales` as of `Model.bind`."""
        return self._bound(data if isinstance(data, Table) else self.table(data), scales, None)

    def extended(self, problem: Problem, table: Table) -> Problem:
        """The problem of a fit and of further rows, whose hyperparameters mean the same; seen through the same property."""
        return self._bound(problem.table.whole.followed_by(table), None, problem).of(problem.response)

    def _bound(self, table: Table, scales: Mapping[str, Scale] | None, before: Problem | None) -> Problem:
        members = [model.member for model in self.members]
        shared = [prior.shared for prior in self._shared()]
        return bind_together(members, table, self.correlate, scales, prefix=True, shared=shared, before=before)

    def fit(
        self,
        data: pd.DataFrame,
        engine: str = "auto",
        draws: int = 1000,
        chains: int = 4,
        seed: int | None = None,
        progress: bool = True,
        *,
        latents: str | None = None,
        sampler: str | None = None,
        tune: int | None = None,
    ) -> Fit:
        """Fit to a table; parameters, results and errors as of `Model.fit`."""
        return attached("fit", self)(data, engine, draws, chains, seed, progress, latents=latents, sampler=sampler, tune=tune)

    def check(self, data: pd.DataFrame) -> Any:
        """Before the fit: columns, what was measured of each property, and which parts this design can separate."""
        from realmat.attribution.separability import design_check

        return design_check(self, data)

    def prior_predictive(self, data: pd.DataFrame, draws: int = 500, seed: int = 1) -> Any:
        """Draws from the prior and of the responses it predicts, as a DataTree with groups `prior` and `prior_predictive`."""
        from realmat.posterior import prior_draws, tree

        return tree.of_prior(prior_draws.draw(self.bind(data), draws, seed), seed)

    def to_pymc(self, data: pd.DataFrame) -> Any:
        """The same model as a `pymc.Model` with named dims, every component visible."""
        from realmat.engines.pymc_route import build

        return build(self.bind(data))

    def __repr__(self) -> str:
        return self.describe()

    def describe(self) -> str:
        """The declaration in words."""
        head = f"Joint model of {listed(self.responses)}" + (f"; correlated: {listed(self.correlate)}" if self.correlate else "")
        return "\n".join([head, *(m.describe() for m in self.members)])
