"""The model: an immutable declaration of three layers, and the way to everything one does with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from realmat.errors import ModelError
from realmat.observation import Normal
from realmat.support.attached import attached
from realmat.table.labels import joined, with_joined
from realmat.table.table import RESPONSE, Column, Table
from realmat.table.validated import as_frame, validated
from realmat.terms.arguments import fits
from realmat.terms.binding import Member, bind_together
from realmat.terms.component import Component, Scale, reject_unknown
from realmat.terms.described import model_in_words
from realmat.terms.problem import LINKS, Problem
from realmat.terms.upstream import states_of, wrong_dependences

if TYPE_CHECKING:
    import pymc as pm
    import xarray as xr

    from realmat.fit import Fit
    from realmat.support.checks import Check

LEVELS = ("material", "specimen", "lab")
Components = Component | Sequence[Component]


@dataclass(frozen=True, repr=False)
class Model:
    """A layered model of a measured property.

    Parameters
    ----------
    response : str
        Column of the measured values.
    unit : str, optional
        Their unit, such as ``"MPa"``.
    link : {"identity", "log", "logit"}
        The scale on which layers add up. With ``"log"`` contributions are relative; ``"logit"`` is for fractions. Counts, fractions and
        strengths have a link of their own, which need not be given.
    levels : dict, optional
        Which columns name the ``material``, the ``specimen`` (a physical piece) and the ``lab`` of a row. All optional. Several columns
        may be one name together: ``{"specimen": ["day", "run"]}`` where runs are counted anew every day.
    theory, material : Component or list of Component
        The ideal material; what makes the real one differ from it.
    observation : Component, optional
        The laboratory; normal noise with an inferred scale by default.
    units : dict, optional
        Units of columns; they are converted to what a component works in.
    name : str, optional
        Of the model.
    label : str, optional
        What pictures and reports call the response, such as ``"Formation enthalpy"``.
    labels : dict, optional
        What they call columns and components, as in ``{"pbe": "PBE", "unresolved_material": "rest of the compound"}``. Tables and files
        keep the names.

    Raises
    ------
    realmat.ModelError
        If the declaration contradicts itself; every problem is named.

    Examples
    --------
    >>> import realmat as rm
    >>> model = rm.Model("gap", unit="eV", theory=rm.theory.Calibrated("pbe"), material=rm.material.Unresolved(by="row"))
    >>> [c.label for c in model.components]
    ['calibrated', 'unresolved_row', 'noise']
    >>> model == rm.Model.from_dict(model.to_dict())
    True
    """

    response: str
    unit: str = ""
    link: str = "identity"
    levels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    theory: Components = ()
    material: Components = ()
    observation: Component = dataclasses.field(default_factory=Normal)
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    name: str = ""
    label: str = ""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for layer in ("theory", "material"):
            given = getattr(self, layer)
            several = isinstance(given, (list, tuple))
            object.__setattr__(self, layer, tuple(given) if several else () if given is None else (given,))
        for field in ("levels", "units", "labels"):
            given = getattr(self, field)
            object.__setattr__(self, field, {} if given is None else given)
        if isinstance(self.levels, Mapping):
            one = {k: joined(v) if isinstance(v, (list, tuple)) and fits(v, tuple[str, ...]) else v for k, v in self.levels.items()}
            object.__setattr__(self, "levels", one)
        natural = getattr(self.observation, "natural", None)
        if natural and self.link == "identity":
            object.__setattr__(self, "link", natural)
        problems = [*self._wrong_parts(), *self._wrong_names()]
        if problems:
            raise ModelError("the model contradicts itself:" + "".join(f"\n  - {p}" for p in problems))

    def __hash__(self) -> int:
        return hash((self.response, self.unit, self.link, self.theory, self.material, self.observation))

    def _wrong_parts(self) -> list[str]:
        problems = []
        if not isinstance(self.response, str) or not self.response:
            problems.append(f"response must be the name of a column, not {self.response!r}.")
        texts = [(field, "a text") for field in ("unit", "name", "label")]
        for field, wanted in (*texts, ("levels", "a dict of columns"), ("units", "a dict of units"), ("labels", "a dict of texts")):
            if not fits(getattr(self, field), str if wanted == "a text" else Mapping[str, str]):
                problems.append(f"{field} must be {wanted}, not {getattr(self, field)!r}.")
        if problems:
            return problems
        object.__setattr__(self, "levels", dict(self.levels))
        object.__setattr__(self, "units", dict(self.units))
        object.__setattr__(self, "labels", dict(self.labels))
        if not isinstance(self.link, str) or self.link not in LINKS:
            problems.append(f"link must be one of {', '.join(LINKS)}, not {self.link!r}.")
        natural = getattr(self.observation, "natural", None)
        if natural not in (None, self.link):
            problems.append(f"{type(self.observation).__name__} works with link={natural!r}, not with {self.link!r}; leave link= out.")
        if set(self.levels) - set(LEVELS):
            problems.append(
                f"levels has unknown {sorted(set(self.levels) - set(LEVELS))}; the levels are {', '.join(LEVELS)}. Another grouping "
                'needs no level: by= takes a column, as in Unresolved(by="solute").'
            )
        for layer in ("theory", "material", "observation"):
            parts = (self.observation,) if layer == "observation" else getattr(self, layer)
            for part in parts:
                if not isinstance(part, Component):
                    problems.append(f"{layer}= takes components such as rm.{layer}.…, not {part!r}.")
                elif part.layer != layer:
                    problems.append(f"{part.label!r} belongs to the {part.layer} layer, not to {layer}=.")
        return problems

    def _wrong_names(self) -> list[str]:
        labels = [c.label for c in self.components if isinstance(c, Component)]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        problems = [f"two components are called {label!r}; give one of them another name=." for label in twice]
        if not problems and len(labels) == len(self.components):
            problems += wrong_dependences(self.components, self.levels, self.link)
        if len(labels) == len(self.components) and self.labels:
            known = [*labels, *dict.fromkeys(c.name for c in self.columns())]
            try:
                reject_unknown(list(self.labels), known, "column or component in labels=")
            except ModelError as error:
                problems.append(str(error))
        return problems

    @property
    def components(self) -> tuple[Component, ...]:
        """Every component, theory first."""
        return (*self.theory, *self.material, self.observation)  # type: ignore[misc]

    @property
    def members(self) -> tuple[Model, ...]:
        """The models of all properties: itself."""
        return (self,)

    @property
    def responses(self) -> tuple[str, ...]:
        """The measured properties: one, as of `rm.Joint` there are several."""
        return (self.response,)

    def of(self, response: str) -> Model:
        """The model of a property of that name.

        Raises
        ------
        realmat.ModelError
            If the model is of another.
        """
        reject_unknown([response], self.responses, "property")
        return self

    def with_theory(self, *components: Component) -> Model:
        """A new model with this theory layer."""
        return dataclasses.replace(self, theory=components)

    def with_material(self, *components: Component) -> Model:
        """A new model with this material layer; ``with_material()`` has none."""
        return dataclasses.replace(self, material=components)

    def with_observation(self, component: Component) -> Model:
        """A new model with this observation layer."""
        return dataclasses.replace(self, observation=component)

    def __reduce__(self) -> tuple[Any, ...]:
        return Model.from_dict, (self.to_dict(),)  # a model travels as the dictionary that declares it

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description that keeps every argument."""
        out = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for layer in ("theory", "material"):
            out[layer] = [c.to_dict() for c in out[layer]]
        return {
            **out,
            "observation": self.observation.to_dict(),
            "levels": dict(self.levels),
            "units": dict(self.units),
            "labels": dict(self.labels),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], trust: Sequence[str] | None = None) -> Model:
        """Inverse of `to_dict`; `trust` as of `Component.from_dict`."""
        rest = dict(data)
        for layer in ("theory", "material"):
            rest[layer] = [Component.from_dict(c, trust) for c in rest.get(layer, ())]
        rest["observation"] = Component.from_dict(rest["observation"], trust)
        return cls(**rest)

    def columns(self, response: bool = True) -> list[Column]:
        """What the model needs of a table; without the response for predictions."""
        own = [dataclasses.replace(self.observation.measures(self.response, self.link), unit=self.unit)] if response else []
        own += [Column(column, f"level {level}", kind="label") for level, column in self.levels.items()]
        states = states_of(self.components, self.levels, self.link)
        asked = [column for component in self.components for column in component.needs()]
        return own + [self._resolved(column) for column in asked if not (column.given and column.name in states)]

    def _resolved(self, column: Column) -> Column:
        if column.like == RESPONSE:
            return dataclasses.replace(column, like=self.response, unit=self.unit)
        return dataclasses.replace(column, name=self.levels.get(column.name, column.name)) if column.kind == "label" else column

    def table(self, data: pd.DataFrame, response: bool = True) -> Table:
        """Validate a table.

        Raises
        ------
        realmat.DataError
            With every problem, column and row.
        """
        table = validated(data, self.columns(response), self.levels, self.units, self.response, self.link)
        return self.observation.filled(table, self.response) if response else table

    @property
    def member(self) -> Member:
        """What binding needs of it, alone or beside models of other properties."""
        labels = {**self.labels, **({self.response: self.label} if self.label else {})}
        return Member(self.response, self.link, self.components, labels)

    def bind(self, data: pd.DataFrame | Table, scales: Mapping[str, Scale] | None = None) -> Problem:
        """Bind to a table: what engines work on. Default priors are scaled by the table, or by the `scales` of an earlier problem."""
        return bind_together([self.member], data if isinstance(data, Table) else self.table(data), scales=scales)

    def further_table(self, data: pd.DataFrame | Mapping[str, Any], units: Mapping[str, str] | None = None) -> Table:
        """Validate rows that join those of a fit: one may hold a measurement, or a characterisation or calculation alone.

        Columns are in the `units` of the table of the fit, unless the data say otherwise.

        Raises
        ------
        realmat.DataError
            With every problem, column and row.
        """
        frame = self.framed(data)
        own = {**self.units, **(units or {})}
        table = validated(frame, self.further_columns(frame), self.levels, own, self.response, self.link)
        return self.observation.filled(table, self.response, every=False)

    def framed(self, data: pd.DataFrame | Mapping[str, Any]) -> pd.DataFrame:
        """A table with the labels that several of its columns make together."""
        return with_joined(as_frame(data), [c.name for c in self.columns(response=False) if c.kind == "label"])

    def further_columns(self, frame: pd.DataFrame) -> list[Column]:
        """Of rows that join those of a fit, the columns that the model reads."""
        measured = self.observation.says(frame, self.response)
        out = []
        for c in self.columns():
            if c.name in self.levels.values():
                out.append(c)
            elif c.name in frame.columns:
                own = {"missing": True} if c.name == self.response else {"only": (self.response,)}
                out.append(dataclasses.replace(c, **own))
            elif measured and not (c.missing or c.optional):
                out.append(c)
        return out

    def prediction_table(self, data: pd.DataFrame | Mapping[str, Any], units: Mapping[str, str] | None = None) -> Table:
        """Validate rows to predict; the response may be absent or empty, and so may characterisations and names.

        A specimen, material or laboratory (or other source of bias) that a row does not name is a new one. `units` as of `further_table`.
        """
        if isinstance(data, Table):
            return data
        frame = self.named(self.framed(data))
        own = {**self.units, **(units or {})}
        return validated(frame, self.prediction_columns(frame), self.levels, own, self.response, self.link)

    def prediction_columns(self, frame: pd.DataFrame) -> list[Column]:
        """Of the columns of rows to predict, those that the model reads."""
        wanted = [c for c in self.columns(response=False) if c.name in frame.columns or not (c.optional or c.of_reading)]
        if self.response in frame.columns and bool(frame[self.response].notna().to_numpy().all()):
            wanted = [*self.columns()[:1], *wanted]
        return wanted

    def named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Names for what rows to predict leave unnamed: a laboratory, and the material of each specimen; else each row its own."""
        groups = [self._resolved(c).name for c in self.observation.needs() if c.kind == "label"]
        filled = {}
        for column in dict.fromkeys([*self.levels.values(), *groups]):
            given = frame[column] if column in frame.columns else None
            if given is not None and (given.ndim > 1 or not given.isna().any()):
                continue
            piece = self.levels.get("specimen")
            as_piece = column == self.levels.get("material") and piece in frame.columns and frame[piece].ndim == 1
            own = [f"new {column} of {label}" for label in (frame[piece] if as_piece else frame.index)]
            filled[column] = own if given is None else [new if pd.isna(old) else old for new, old in zip(own, given, strict=True)]
        return frame.assign(**filled) if filled else frame

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
        """Fit to a table.

        Parameters
        ----------
        data : DataFrame
            One row a measurement.
        engine : {"auto", "exact", "nuts"}
            ``auto`` takes ``exact`` where it applies, and says in one line why not where it does not.
        draws, chains : int
        seed : int, optional
            The same seed, data and version give the same numbers on the same machine.
        progress : bool
        latents : {"draws", "summary"}, optional
            For ``exact``: whether coefficients are kept as draws, or as means and standard deviations that draws are made from when they
            are wanted; by default draws where they take less than some hundred megabytes.
        sampler : {"nutpie", "pymc", "numpyro"}, optional
            For ``nuts``; nutpie by default.
        tune : int, optional
            For ``nuts``: steps at the start of each chain that are not kept; 1000 by default.

        Returns
        -------
        Fit

        Raises
        ------
        realmat.DataError
            If the table does not fit the model: every problem, column and row.
        realmat.FitError
            If the engine cannot run the model.
        """
        return attached("fit", self)(data, engine, draws, chains, seed, progress, latents=latents, sampler=sampler, tune=tune)

    def check(self, data: pd.DataFrame) -> Check:
        """Before the fit: columns, what was measured, and which layers this design can separate (`realmat.attribution.separability`)."""
        from realmat.attribution.separability import design_check

        return design_check(self, data)

    def prior_predictive(self, data: pd.DataFrame, draws: int = 500, seed: int = 1) -> xr.DataTree:
        """Draws from the prior and of the response it predicts, as a DataTree with groups `prior` and `prior_predictive`."""
        from realmat.posterior import prior_draws, tree

        return tree.of_prior(prior_draws.draw(self.bind(data), draws, seed), seed)

    def to_pymc(self, data: pd.DataFrame) -> pm.Model:
        """The same model as a `pymc.Model` with named dims, every component visible."""
        from realmat.engines.pymc_route import build

        return build(self.bind(data))

    def __repr__(self) -> str:
        return self.describe()

    def _repr_html_(self) -> str:
        """The declaration, in a notebook."""
        from html import escape

        return f"<pre>{escape(self.describe())}</pre>"

    def describe(self) -> str:
        """The declaration in words: layers, components, and the priors that apply."""
        return model_in_words(self.response, self.unit, self.link, self.levels, self.components)
