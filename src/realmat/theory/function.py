"""Theory in closed form."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from realmat.errors import ModelError
from realmat.table.table import Column, Table, rows_text
from realmat.terms.component import Component, PriorLike, Scale, freeze, reject_unknown
from realmat.terms.priors import Prior, as_prior
from realmat.terms.readings import check_numbers
from realmat.terms.term import Term, Values
from realmat.terms.varies import Varies
from realmat.theory.curve import Curve

_TRIED = 200  # draws of the priors, where a law has no value at their medians


@dataclass(frozen=True)
class Function(Component):
    """``T = fn(columns..., parameters...)``: closed-form physics with unknown parameters.

    Parameters
    ----------
    fn : callable
        Called by keyword with one array for each column and one number for each parameter; gives the response, not its logarithm. It
        may use arithmetic and NumPy functions (``np.exp``, ``np.sqrt``), which both engines understand.
    columns : list of str, or dict
        Number columns, named as fn's arguments; or ``{argument: column}``.
    params : dict of str to Prior, Varies or float
        Its other arguments; a number fixes one, `Varies` makes it another one for each piece: curves of specimens.
    unit : str, optional
        Unit of the result, for the check below.
    units : dict, optional
        Units of columns and parameters, by argument. Where `unit` is given and all of them are known, fn is called once with quantities
        that carry units, so that a missing conversion is an error. Columns declared in another unit are converted.
    u : dict of str to str or float, optional
        Standard uncertainty of columns, by argument: a column or a number. The true values are then inferred row by row.
    name : str, optional
        ``function`` by default.

    Notes
    -----
    Parameters are hyperparameters `<name>_<parameter>`; those that vary have parameters of their distribution beside them
    (`<name>_<parameter>_mu`), and uncertain columns an error in standard uncertainties, `<name>_<argument>_error`. For a saved model fn
    must be defined at the top of an importable module.

    Examples
    --------
    >>> import realmat as rm
    >>> def arrhenius(temperature, rate, activation):
    ...     return rate * np.exp(-activation / (8.314e-3 * temperature))
    >>> Function(arrhenius, columns=["temperature"], params={"rate": rm.Prior("LogNormal"), "activation": 80.0}).label
    'function'
    """

    layer: ClassVar[str] = "theory"
    fn: Callable[..., Any]
    columns: tuple[str, ...] | Mapping[str, str]
    params: Mapping[str, PriorLike | Varies]
    unit: str | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    u: Mapping[str, str | float] = field(default_factory=dict)
    name: str | None = None

    def __post_init__(self) -> None:
        if not callable(self.fn):
            raise ModelError(f"{self.label}: fn={self.fn!r} is not a function.")
        given = {self.columns: self.columns} if isinstance(self.columns, str) else freeze(self.columns)
        object.__setattr__(self, "columns", given)
        read = {k: v if isinstance(v, Varies) else as_prior(v, f"{self.label}: {k}") for k, v in self.params.items()}
        object.__setattr__(self, "params", read)
        without = [key for key, value in self.params.items() if value is None]
        if without:
            raise ModelError(f"{self.label}: give a Prior or a number for {', '.join(without)}; only you know their scale.")
        both = sorted(set(self.arguments) & set(self.params))
        if both:
            raise ModelError(f"{self.label}: {', '.join(both)} stands in columns= and in params=.")
        self._match_signature()
        reject_unknown(list(self.u), list(self.arguments), f"arguments in u= of {self.label}")
        for key, value in self.u.items():
            check_numbers(f"{self.label}: {key}", value)
        reject_unknown(list(self.units), [*self.arguments, *self.params], f"arguments in units= of {self.label}")
        self._check_units()

    def __hash__(self) -> int:
        return hash((self.fn, tuple(self.arguments.items()), tuple(self.params), self.unit, self.name))

    @property
    def arguments(self) -> dict[str, str]:
        """Column of each argument of fn that is a column."""
        return dict(self.columns) if isinstance(self.columns, Mapping) else {column: column for column in self.columns}

    def needs(self) -> list[Column]:
        """The columns."""
        out = [Column(column, f"{key} of the theory", unit=self.units.get(key, "")) for key, column in self.arguments.items()]
        out += [Column(u, f"u of {key}", lower=0.0, like=self.arguments[key]) for key, u in self.u.items() if isinstance(u, str)]
        return out + [Column(v.by, "level of a parameter", kind="label") for v in self.params.values() if isinstance(v, Varies)]

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term with the hyperparameters `<name>_<parameter>`.

        Raises
        ------
        realmat.ModelError
            If fn fails, or gives nowhere in its priors one finite number (positive with a log link) for each row.
        """
        curve = Curve.of(self, table)
        values = {f"{self.label}_{key}": _median(prior) for key, prior in self.params.items()}
        self._try(table, values)
        return Term(self.label, "theory", curve.params, (), curve.contribute)

    def _match_signature(self) -> None:
        """Names given must be names of the function's arguments, and none without a default may be left out."""
        try:
            expected = inspect.signature(self.fn).parameters
        except (TypeError, ValueError):  # a compiled function does not say
            return
        if any(p.kind is p.VAR_KEYWORD for p in expected.values()):
            return
        given = [*self.arguments, *self.params]
        reject_unknown(given, list(expected), f"arguments of {self.fn.__name__}()")
        missing = [key for key, p in expected.items() if p.default is p.empty and key not in given]
        if missing:
            raise ModelError(f"{self.label}: {self.fn.__name__}() also needs {', '.join(missing)}, as columns= or params=.")

    def _check_units(self) -> None:
        known = {**dict.fromkeys(self.params, ""), **dict.fromkeys(self.arguments, ""), **self.units}
        if self.unit is None or not all(known.values()):
            return
        from realmat.table import units

        numbers = {**dict.fromkeys(self.arguments, 1.0), **{key: _median(prior) for key, prior in self.params.items()}}
        try:
            result = self.fn(**{key: units.quantity(number, known[key]) for key, number in numbers.items()}) * units.quantity(1.0, "1")
            meant = float(result.to(units.parse(self.unit)).magnitude)
        except Exception as error:  # pint's own errors, and whatever fn does with a quantity
            raise ModelError(f"{self.label}: the units of {self.fn.__name__}() do not work out to {self.unit!r}: {error}.") from error
        plain = float(self.fn(**numbers))
        if not np.isclose(plain, meant, rtol=1e-6):
            raise ModelError(
                f"{self.label}: {self.fn.__name__}() misses a conversion: plain numbers give {plain:g}, units {meant:g} {self.unit}."
            )

    def _try(self, table: Table, values: Values) -> None:
        """The law must have a value on every row, at the medians of the priors or at least at one of some draws of them."""
        bad = self._without(table, values)
        if not bad.any():
            return
        rng = np.random.default_rng(0)
        for _ in range(_TRIED):
            drawn = {f"{self.label}_{key}": _drawn(prior, rng) for key, prior in self.params.items()}
            if not self._without(table, drawn).any():
                return
        what = "positive and finite, as the log link needs," if table.link == "log" else "finite"
        told = ", ".join(f"{key} ~ {prior!r}" if isinstance(prior, Prior) else f"{key} = {prior!r}" for key, prior in self.params.items())
        raise ModelError(
            f"{self.label}: {self.fn.__name__}() is not {what} in {rows_text(table.index[bad])}, at the medians of the priors, nor on "
            f"every row at any of {_TRIED} draws of them: {told}. Give priors whose values the function can take, or check its units."
        )

    def _without(self, table: Table, values: Values) -> np.ndarray:
        """Rows on which the law has no value, bool of shape (rows,).

        Raises
        ------
        realmat.ModelError
            If it fails otherwise than by its arithmetic.
        """
        known = {key: table.numeric(column) for key, column in self.arguments.items()}
        parameters = {key: values[f"{self.label}_{key}"] for key in self.params}
        try:
            with np.errstate(all="ignore"):
                result = np.broadcast_to(np.asarray(self.fn(**known, **parameters), dtype=float), (len(table),))
        except ArithmeticError:  # numbers of Python overflow, and divide by zero, with an error
            return np.ones(len(table), dtype=bool)
        except Exception as error:
            raise ModelError(f"{self.label}: {self.fn.__name__}() fails at {parameters}: {type(error).__name__}: {error}.") from error
        return ~np.isfinite(result) | ((result <= 0) & (table.link == "log"))


def _drawn(prior: Any, rng: np.random.Generator) -> float:
    """A draw from a prior; of a parameter that varies, its median."""
    return float(prior.rvs(rng, None, dict.fromkeys(prior.references, 1.0))) if isinstance(prior, Prior) else _median(prior)


def _median(prior: Any) -> float:
    if isinstance(prior, Varies):
        return prior.median()
    return float(prior.ppf(0.5)) if isinstance(prior, Prior) else float(prior)
