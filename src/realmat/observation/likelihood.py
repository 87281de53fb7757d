"""What likelihoods other than a normal have in common: readings in response units, parameters of their own, biases."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from realmat.errors import DataError, ModelError
from realmat.observation.bias import Offsets, listed
from realmat.observation.frequencies import frequency, repeated
from realmat.table.table import Column, Table, rows_text
from realmat.terms.component import Component, Scale, freeze, hyper
from realmat.terms.density import Density, Parameter
from realmat.terms.parts import Bias
from realmat.terms.priors import Prior
from realmat.terms.term import Contribution, Noise, Term

DISPERSION = {"dispersion": Prior("HalfNormal", sigma=1.0)}


@dataclass(frozen=True)
class Likelihood(Component):
    """Base of observation components whose density reads the response itself. A subclass names its own parameters and makes the density.

    Attributes
    ----------
    natural : str
        The link.
    whole : bool
        Whether readings are counts, whole numbers from 0 on.
    limited : bool
        Whether a reading may be a limit, such as ">380".
    own : dict of str to Prior
        The density's own parameters, arguments of the component, and their default priors.
    """

    layer: ClassVar[str] = "observation"
    natural: ClassVar[str | None] = "log"
    whole: ClassVar[bool] = False
    limited: ClassVar[bool] = False
    own: ClassVar[dict[str, Prior]] = {}

    def __post_init__(self) -> None:
        object.__setattr__(self, "bias_by", freeze(getattr(self, "bias_by", None)))
        for argument in ("bias_scale", *self.own):
            given = self.prior(argument, 1.0)
            if (given.support[0] < 0) if isinstance(given, Prior) else (argument != "bias_scale" and given <= 0):
                raise ModelError(f"{type(self).__name__}: {argument}={given!r} must be positive.")

    @property
    def label(self) -> str:
        """``noise``, or the name given."""
        return getattr(self, "name", None) or "noise"

    def needs(self) -> list[Column]:
        """Groups of biases, and frequencies."""
        return [
            *frequency(getattr(self, "count", None)),
            *(Column(by, "bias", kind="label") for by in listed(getattr(self, "bias_by", None))),
        ]

    def filled(self, table: Table, response: str, every: bool = True) -> Table:
        """A row for each reading."""
        return repeated(table, getattr(self, "count", None))

    def default_priors(self) -> dict[str, str]:
        """Defaults in words."""
        own = {name: repr(prior).removeprefix("Prior") for name, prior in self.own.items()}
        return own | ({"bias_scale": "HalfNormal(sd of what theory leaves)"} if getattr(self, "bias_by", None) else {})

    def measures(self, response: str, link: str) -> Column:
        """Counts from 0 on; fractions strictly between 0 and 1; or positive numbers."""
        if self.whole:
            return Column(response, "count", lower=0.0)
        if link == "logit":
            return Column(response, "fraction", lower=0.0, upper=1.0, open_lower=True)
        return Column(response, "response", lower=0.0, open_lower=True, censored=self.limited)

    def check(self, table: Table) -> None:
        """Raise a DataError for readings that the density cannot have."""
        y = table.numeric(table.response)
        broken = (y != np.floor(y)) if self.whole else (y >= 1) if table.link == "logit" else np.zeros(len(y), dtype=bool)
        if broken.any():
            what = "counts must be whole numbers" if self.whole else "fractions must lie below 1"
            raise DataError(f"column {table.response!r}: {what}, not as in {rows_text(table.index[broken])}.")

    @abstractmethod
    def density(self, table: Table) -> Density:
        """Density of the rows of a table."""

    def predictor(self, table: Table) -> np.ndarray:
        """Where the linear predictor of each row may start."""
        self.check(table)
        return self.density(table).guess(table.numeric(table.response))

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term with the density, its own parameters `<name>_<parameter>`, and `bias_<by>` effects with `bias_<by>_scale`."""
        made = {key: hyper(f"{self.label}_{key}", self.prior(key, default)) for key, default in self.own.items()}
        spread = self.prior("bias_scale", Prior("HalfNormal", sigma=scale.response))
        biases = [Offsets(by, f"bias_{by}", spread, table) for by in listed(getattr(self, "bias_by", None))]

        def noise(other: Table) -> Noise:
            n = len(other)
            group = np.zeros(n, dtype=int)
            parameters = tuple(Parameter(key, _one(value), group) for key, (_, value) in made.items())
            return Noise(np.zeros(n), np.full(n, -1), density=self.density(other), parameters=parameters)

        def contribute(other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
            on = [bias.on(other, fresh_levels) for bias in biases]
            return Contribution(tuple(piece for piece, _ in on), fresh=tuple(f for _, fresh in on for f in fresh))

        params = tuple(q for own, _ in made.values() for q in own) + tuple(q for bias in biases for q in bias.params)
        blocks, own = tuple(bias.block for bias in biases), tuple(Bias(bias.name, (bias.name,), bias.sd) for bias in biases)
        return Term(self.label, "observation", params, blocks, contribute, noise=noise, biases=own)


@dataclass(frozen=True)
class OverExposure(Likelihood):
    """Base of counts over an exposure, a column or a number; the link is the logarithm."""

    natural: ClassVar[str | None] = "log"
    whole: ClassVar[bool] = True
    exposure: str | float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self.label, "exposure", self.exposure)

    def needs(self) -> list[Column]:
        """The exposure, and what biases go by."""
        return [*size_columns(self.exposure, "exposure"), *super().needs()]


def _one(value: Any) -> Any:
    """A scalar function of psi as one with a value for its single group."""
    return lambda p, xp: xp.stack([value(p, xp)])


def check_size(label: str, argument: str, value: Any) -> None:
    """Raise a ModelError if an exposure, a size or a number of trials that was given as a number is not positive."""
    if value is not None and not isinstance(value, str) and not (isinstance(value, (int, float)) and np.isfinite(value) and value > 0):
        raise ModelError(f"{label}: {argument}={value!r} must be a column or a positive number.")


def size_columns(value: str | float | None, role: str) -> list[Column]:
    """What such an argument asks of a table."""
    return [Column(value, role, lower=0.0, open_lower=True)] if isinstance(value, str) else []


def by_row(table: Table, value: str | float | None) -> np.ndarray:
    """Such an argument by row; 1 where it was not given."""
    return table.numeric(value) if isinstance(value, str) else np.full(len(table), 1.0 if value is None else float(value))


def censoring_flag(name: str) -> Column:
    """What a column that flags readings beyond a limit holds."""
    return Column(name, "censoring flag (0 or 1)", lower=0.0, upper=1.0, of_reading=True)


def flags(table: Table, below: str | None, above: str | None) -> np.ndarray:
    """-1 where the true value lies below the reading, +1 where above, 0 where it is exact, shape (rows,)."""
    flag = np.asarray(table.limit(table.response)).astype(int)
    for side, column in ((-1, below), (1, above)):
        if column in table.columns:  # rows to predict may lack it
            flag[table.numeric(column) > 0] = side
    return flag
