"""The base of every component: a frozen declaration in the words of the field that turns itself into one `Term`."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import sparse

from realmat.errors import ModelError
from realmat.support.attached import attached
from realmat.table.table import Column, Table
from realmat.terms.arguments import check_arguments
from realmat.terms.named import find
from realmat.terms.priors import Prior, as_prior, variable
from realmat.terms.term import Coefficients, Function, Known, Param, Piece, Term, stored_name
from realmat.terms.varies import Varies

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from realmat.fit import Fit
    from realmat.terms.state import LatentState

PriorLike = Prior | float | None


@dataclass(frozen=True)
class Scale:
    """Typical magnitudes of the data, from which default priors are scaled.

    Attributes
    ----------
    response : float
        Standard deviation of g(y) over the rows, after a straight line in the theory column where there is one.
    level : float
        Mean of g(y).
    spread : float
        Standard deviation of g(y) itself.
    shift : float
        How far an intercept may lie from g(y) because effects count from zero of their columns, see `Component.remoteness`.
    theory : tuple of str
        Columns of theoretical values in response units.
    carrier : str
        The one theory component whose default intercept is about the response's `centre`; those of others are about zero, so that
        together they do not count the response's level twice.
    centre : float
        Mean of g(y), less what theory components without a default intercept stand for at their columns' means.
    columns : mapping of str to tuple of two float
        Mean and standard deviation of the columns from whose means a component counts, see `Component.counted`.
    states : mapping of str to LatentState
        Latent states that the model's components may have, by column; known while they are bound.
    """

    response: float
    level: float
    spread: float
    shift: float = 0.0
    theory: tuple[str, ...] = ()
    carrier: str = ""
    centre: float = 0.0
    columns: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    states: Mapping[str, LatentState] = field(default_factory=dict)

    def intercept(self, label: str) -> tuple[float, float]:
        """Centre and width of the default prior of a component's intercept, counted from the means of its columns.

        Neither depends on where the response's unit has its zero.
        """
        width = 2.5 * float(np.hypot(self.spread, self.shift))
        if not self.carrier:
            return self.level, width
        return (self.centre if label == self.carrier else 0.0), width


_LISTED = 30  # names in an error


def snake(name: str) -> str:
    """``GrainSize`` -> ``grain_size``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def words(name: str) -> str:
    """``grain_size`` -> ``grain size``; a name with capitals or digits, such as ``C_wppm``, is a symbol and stays."""
    return name.replace("_", " ") if re.fullmatch(r"[a-z_]+", name) else name


@dataclass(frozen=True)
class Component:
    """A part of a layer. Subclass it as a frozen dataclass, set `layer`, and write `bind`.

    A component is a value: equal arguments make equal components, and `to_dict` keeps every one of them.
    """

    layer: ClassVar[str] = "material"
    about: ClassVar[tuple[str, ...]] = ()
    spoken: ClassVar[str] = "{kind} {about}"  # what pictures and sentences call it where it has no label
    natural: ClassVar[str | None] = None  # only of the observation layer: the one link it works with

    def __init_subclass__(cls) -> None:
        """Compare arguments with their annotations before a class's own checks see them."""
        own = cls.__dict__.get("__post_init__")
        if own is None:
            return

        @functools.wraps(own)
        def checked(self: Component) -> None:
            check_arguments(self)
            own(self)

        cls.__post_init__ = checked  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        check_arguments(self)

    def needs(self) -> list[Column]:
        """The columns it needs."""
        return []

    def bind(self, table: Table, scale: Scale) -> Term:
        """Turn into a term on a table. `scale` gives the magnitudes for default priors."""
        raise ModelError(f"{type(self).__name__} must define bind(table, scale) -> Term.")

    def default_priors(self) -> dict[str, str]:
        """Default priors in words, for printing before any data are known: parameter -> description."""
        return {}

    def measures(self, response: str, link: str) -> Column:
        """Only of the observation layer: what it asks of the response."""
        return Column(response, "response", lower=None if link == "identity" else 0.0, open_lower=True, censored=True)

    def filled(self, table: Table, response: str, every: bool = True) -> Table:
        """Only of the observation layer: the table with a number for each response where readings say less than a number.

        Parameters
        ----------
        table : Table
        response : str
        every : bool
            Whether each row holds a reading.
        """
        return table

    def says(self, frame: pd.DataFrame, response: str) -> bool:
        """Only of the observation layer: whether a user's table holds any reading of the response."""
        return response in frame.columns and bool(frame[response].notna().to_numpy().any())

    def predictor(self, table: Table) -> np.ndarray:
        """Only of the observation layer: g(y), or where readings have none (the logarithm of no counts) a number near it, shape (rows,)."""
        return table.link_values(table.response)

    def remoteness(self, table: Table) -> float:
        """How many standard deviations its column lies from zero, where its effect is a slope times the column.

        A slope of 1 sd(response) / sd(column) then moves the intercept by as many sd(response), which its default prior allows for.
        """
        return 0.0

    def states(self, piece: str, link: str) -> tuple[LatentState, ...]:
        """Latent states that it has where their columns are not known exactly: states of other components may depend on them (`given=`).

        Parameters
        ----------
        piece : str
            The level of a physical piece, see `realmat.table.table.Table.piece`.
        link : str
        """
        return ()

    @property
    def counted(self) -> tuple[str, ...]:
        """Columns that count from their means over the rows of the fit, which are noted so that an update keeps them."""
        return ()

    def stands_for(self, table: Table) -> float | None:
        """What a theory component says of the response's level, on the scale of the link, by the priors that it was given.

        None where it has an intercept whose default prior is about the response itself.
        """
        return 0.0

    @property
    def picture(self) -> str:
        """What `plot` shows: a ``"curve"`` over its first number column, or a point for each value of a ``"level"`` or of ``"columns"``."""
        return "curve"

    def plot(self, fit: Fit | None = None, axes: Axes | None = None, seed: int = 1) -> Axes:
        """Draw its effect: under its prior, or with a fit under its posterior (see `realmat.plots.effect.plot_effect`)."""
        return attached("plot", self)(fit, axes, seed)

    @property
    def label(self) -> str:
        """The component's name: its class in snake case plus what it is about; `name=` overrides it."""
        override = getattr(self, "name", None)
        if override:
            return stored_name(override)
        parts = [snake(type(self).__name__)]
        for name in self.about:
            value = getattr(self, name)
            parts.append("_".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value))
        return stored_name("_".join(parts))

    def said(self, labels: Mapping[str, str]) -> str:
        """What pictures and sentences call it: its label; else its kind and what it is about, by their labels where they have some.

        Examples
        --------
        >>> from realmat.material import GrainSize, Impurity
        >>> GrainSize("grain_size").said({}), Impurity("C_wppm").said({}), Impurity("C_wppm").said({"C_wppm": "carbon"})
        ('grain size', 'impurity C_wppm', 'carbon')
        """
        if self.label in labels or getattr(self, "name", None) or type(self).label is not Component.label:
            return labels.get(self.label, words(self.label))
        given = [
            str(v) for field in self.about for value in [getattr(self, field)] for v in (value if isinstance(value, tuple) else (value,))
        ]
        about, kind = " and ".join(labels.get(value, words(value)) for value in given), words(snake(type(self).__name__))
        if not about or about.startswith(kind) or all(value in labels for value in given):
            return about or kind
        return self.spoken.format(kind=kind, about=about)

    def prior(self, argument: str, default: Prior | float) -> Prior | float:
        """The prior of one parameter: what the user gave, or the default."""
        given = as_prior(getattr(self, argument), f"{self.label}: {argument}")
        return default if given is None else given

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description with every argument."""
        arguments = {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self) if f.init}
        return {"class": f"{type(self).__module__}:{type(self).__qualname__}", **arguments}

    @staticmethod
    def from_dict(data: Mapping[str, Any], trust: Sequence[str] | None = None) -> Component:
        """Inverse of `to_dict`.

        Parameters
        ----------
        data : dict
        trust : list of str, optional
            Modules whose classes and functions may be imported beside realmat's own; by default any module may.

        Raises
        ------
        realmat.ModelError
            If the class cannot be imported, is not trusted, or is not a component.
        """
        rest = dict(data)
        path = rest.pop("class", "")
        found = find(path, "the component class", trust)
        if not (isinstance(found, type) and issubclass(found, Component)):
            raise ModelError(f"{path!r} is not a realmat component.")
        return found(**{key: _unplain(value, trust) for key, value in rest.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, Prior):
        return {"prior": value.to_dict()}
    if isinstance(value, Component):
        return {"component": value.to_dict()}
    if isinstance(value, Varies):
        return {"varies": value.to_dict()}
    if isinstance(value, Mapping):
        return {"mapping": {str(k): _plain(v) for k, v in value.items()}}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    if callable(value):
        return {"function": f"{value.__module__}:{value.__qualname__}"}
    return value


def _unplain(value: Any, trust: Sequence[str] | None) -> Any:
    if isinstance(value, Mapping):
        if "prior" in value:
            return Prior.from_dict(value["prior"])
        if "varies" in value:
            return Varies.from_dict(value["varies"])
        if "component" in value:
            return Component.from_dict(value["component"], trust)
        if "function" in value:
            return find(value["function"], "the function", trust)
        return {k: _unplain(v, trust) for k, v in value["mapping"].items()}
    if isinstance(value, list):
        return tuple(_unplain(v, trust) for v in value)
    return value


def freeze(value: Any) -> Any:
    """Lists become tuples, so that declarations stay immutable and comparable."""
    return tuple(value) if isinstance(value, list) else value


def reject_unknown(given: Sequence[str], known: Sequence[str], what: str) -> None:
    """Raise a ModelError naming unknown names and the likely intended ones."""
    unknown = [name for name in given if name not in known]
    if unknown:
        hints = [(name, difflib.get_close_matches(name, known, 1, 0.5)) for name in unknown]
        said = "; ".join(f"{name!r}" + (f" (did you mean {near[0]!r}?)" if near else "") for name, near in hints)
        more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
        raise ModelError(f"unknown {what}: {said}. Known: {', '.join(known[:_LISTED])}{more}.")


@dataclass(frozen=True)
class Parameter:
    """A declared parameter in the linear predictor, resolved to where its prior puts it.

    A Normal prior makes it a coefficient (integrated out exactly), a number makes it a constant, any other prior a hyperparameter.
    """

    params: tuple[Param, ...]
    coefficients: tuple[Coefficients, ...]
    make: Callable[[np.ndarray], tuple[tuple[Piece, ...], Function | None]]

    def on(self, x: np.ndarray) -> tuple[tuple[Piece, ...], Function | None]:
        """Pieces and offset of ``parameter * x`` on rows with values `x` of shape (rows,)."""
        return self.make(x)


def linear(name: str, prior: Prior | float, unit: str = "", psi: bool = False) -> Parameter:
    """A scalar parameter that multiplies a known column; with `psi` a hyperparameter in any case, for use elsewhere too."""
    name = variable(name, prior)
    if isinstance(prior, Prior) and prior.is_normal and not psi:
        mu, sigma = prior.arguments()["mu"], prior.arguments()["sigma"]
        block = Coefficients(name, 1, sigma, mean=mu, unit=unit)
        return Parameter((), (block,), lambda x: ((Piece(name, sparse.csr_matrix(np.asarray(x, dtype=float)[:, None])),), None))
    if isinstance(prior, Prior):
        return Parameter((Param(name, prior, unit=unit),), (), lambda x: ((), lambda p, xp: p[name] * x))
    return Parameter((), (), lambda x: ((), Known(prior * np.asarray(x, dtype=float)) if prior else None))


def hyper(
    name: str, prior: Prior | float, dim: str | None = None, coords: Any = None, unit: str = ""
) -> tuple[tuple[Param, ...], Function]:
    """A hyperparameter with a prior, or a constant where a number was given: its Params and the function of psi that gives its value."""
    if isinstance(prior, Prior):
        name = variable(name, prior)
        return (Param(name, prior, dim, coords, unit),), lambda p, xp: p[name]
    return (), lambda p, xp: prior


def typical(prior: Prior | float) -> float:
    """Median of a prior, or the number that stands in its place."""
    return prior.median(dict.fromkeys(prior.references, 1.0)) if isinstance(prior, Prior) else float(prior)


def counted_from(name: str, about: tuple[float, float], x: float, slope: Parameter, slope_name: str) -> Parameter:
    """An intercept whose default prior is that of the line's value at `x`: ``intercept | slope ~ N(centre - slope * x, width^2)``.

    Parameters
    ----------
    name : str
    about : tuple of float
        Centre and width.
    x : float
    slope : Parameter
        A coefficient or a number.
    slope_name : str
        Its variable.
    """
    centre, width = about
    if slope.coefficients:
        block = Coefficients(name, 1, width, mean=centre, parents=((slope_name, sparse.csr_matrix([[-x]])),))
    else:
        value = slope.on(np.ones(1))[1]
        block = Coefficients(name, 1, width, mean=centre - x * float(value({}, np)[0] if value is not None else 0.0))
    return Parameter((), (block,), lambda values: ((Piece(name, sparse.csr_matrix(np.asarray(values, dtype=float)[:, None])),), None))


def join(*offsets: Function | None) -> Function | None:
    """The sum of offsets that may be absent."""
    present = [f for f in offsets if f is not None]
    if not present:
        return None
    if all(isinstance(f, Known) for f in present):
        return Known(sum((f.values for f in present if isinstance(f, Known)), np.zeros(1)))
    return lambda p, xp: sum(f(p, xp) for f in present)


def indicator(codes: np.ndarray, size: int, values: np.ndarray | None = None) -> sparse.csr_matrix:
    """Sparse (rows, size) matrix with `values` (default 1) at each row's code; rows with code -1 are empty."""
    rows = np.flatnonzero(codes >= 0)
    data = np.ones(len(rows)) if values is None else np.asarray(values, dtype=float)[rows]
    return sparse.csr_matrix((data, (rows, codes[rows])), shape=(len(codes), size))
