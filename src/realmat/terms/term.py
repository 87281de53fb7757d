"""Terms: the only thing engines and attribution ever see of a model.

A component (domain words: grain size, impurity, lab bias) turns itself into one `Term`. Given the *hyperparameters* psi (few: scales,
non-linear parameters, slopes of latent states), every term is linear in its *coefficients* b (many: effects, states, random effects):

    g(y) = sum over pieces  scale(psi) * X b  +  offset(psi)  +  noise,        b ~ N(mean + sum M b_parent, sd(psi)^2)

Functions of psi take ``(p, xp)``: `p` maps parameter names to values and `xp` is ``numpy`` or ``pytensor.tensor``, so that one
declaration serves both engines. They must use only arithmetic and the functions that both modules have (exp, log, sqrt, ...).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from realmat.terms.density import Density, Parameter
from realmat.terms.own_update import OwnUpdate
from realmat.terms.priors import Prior

if TYPE_CHECKING:
    from realmat.terms.field import Field
    from realmat.terms.parts import Bias, Derived, Latent, Together

Values = Mapping[str, Any]
Function = Callable[[Values, Any], Any]


DRAW = " draw"  # beside psi: the number of the posterior draw, for what functions of psi draw anew


@dataclass(frozen=True)
class Known:
    """An offset that does not depend on psi: engines subtract it once."""

    values: np.ndarray

    def __call__(self, p: Values, xp: Any) -> np.ndarray:
        return self.values


@dataclass(frozen=True)
class Scaled:
    """An offset that is known but for a scalar function of psi: engines sum over its rows once.

    Attributes
    ----------
    scale : Function
        Of one number.
    values : array of shape (rows,)
    """

    scale: Function
    values: np.ndarray

    def __call__(self, p: Values, xp: Any) -> Any:
        return self.scale(p, xp) * self.values


def stored_name(name: str) -> str:
    """A name that a DataTree and a NetCDF file can hold, from that of a user's column.

    A slash stands for a path in them; a NetCDF name has no control characters, does not end with a space, and begins with a letter, a
    digit, an underscore or a character beyond ASCII (NetCDF Users Guide, "Permitted characters in names").

    Examples
    --------
    >>> stored_name("E (eV/atom)"), stored_name("% C ")
    ('E (eV_atom)', '_% C')
    """
    plain = re.sub(r"[/\x00-\x1f\x7f]", "_", str(name)).strip()
    return plain if plain[:1].isalnum() or plain[:1] == "_" or plain[:1] > "\x7f" else f"_{plain}"


LAYERS = ("theory", "material", "observation")


@dataclass(frozen=True)
class Param:
    """A hyperparameter: a scalar, or a vector along `dim`.

    Attributes
    ----------
    name : str
        The posterior variable, `<component>_<parameter>`.
    prior : Prior
        Its elements are independent a priori; a reference in the prior names another Param of the same term.
    dim, coords : str and array of shape (size,), optional
        Only for a vector.
    unit : str
        For tables and plots.
    """

    name: str
    prior: Prior
    dim: str | None = None
    coords: Any = None
    unit: str = ""

    @property
    def size(self) -> int:
        """Number of elements."""
        return 1 if self.coords is None else len(self.coords)


@dataclass(frozen=True)
class Coefficients:
    """A block of coefficients b, Gaussian given psi (or Student t, with a local scale each).

    Attributes
    ----------
    name : str
        The posterior variable.
    size : int
        Number of coefficients; a scalar block has ``dim=None`` and size 1.
    sd : Function or float or array of shape (size,)
        Prior standard deviation, scalar or one per coefficient.
    mean : Function or float or array of shape (size,)
        Own part of the prior mean.
    parents : tuple of (name, csr matrix of shape (size, parent size))
        Linear part of the prior mean: a population mean, a trend over descriptors.
    leans : tuple of Piece
        The same with weights that depend on psi: what the effects on other properties tell of these.
    nu : str or float, optional
        Degrees of freedom of a Student t: the name of their Param, or a number.
    level : str, optional
        The level whose values these coefficients belong to; a new specimen draws them anew.
    dim, coords
        Dimension of what the posterior holds under `name`; as long as `size`, unless `report` makes it longer.
    report : tuple of two functions, optional
        From the coefficients, shape (..., size), to what the posterior holds under `name`, shape (..., len(coords)), and back: a log
        state in its own unit, together with the states that are known exactly.
    inner : bool
        Whether it only serves the noise, and the posterior does not show it.
    """

    name: str
    size: int
    sd: Function | float | np.ndarray
    mean: Function | float | np.ndarray = 0.0
    dim: str | None = None
    coords: Any = None
    parents: tuple[tuple[str, sparse.csr_matrix], ...] = ()
    nu: str | float | None = None
    level: str | None = None
    unit: str = ""
    report: tuple[Callable[[Any], Any], Callable[[Any], Any]] | None = None
    inner: bool = False
    leans: tuple[Piece, ...] = ()

    @property
    def mean_parts(self) -> tuple[Piece, ...]:
        """All linear parts of the prior mean."""
        return (*(Piece(parent, matrix) for parent, matrix in self.parents), *self.leans)


@dataclass(frozen=True)
class Piece:
    """``scale(psi) * X b``: one linear part of a contribution.

    Attributes
    ----------
    coefficients : str
        Name of the block.
    matrix : csr matrix, shape (rows, block size)
    scale : Function, optional
        A scalar function of psi, such as the slope of a latent state; in predictions it may also be one number per row.
    """

    coefficients: str
    matrix: sparse.csr_matrix
    scale: Function | None = None


@dataclass(frozen=True)
class Fresh:
    """What is drawn anew on the rows of a table: the state of a new specimen, the bias of a new lab.

    Attributes
    ----------
    groups : int array of shape (rows,)
        Rows with the same number share one draw; -1 where nothing is drawn.
    sd : Function
        Standard deviation of the draw as a contribution to g(y); scalar or one per row. Where rows share a draw that acts on them with
        opposite signs (a slope times a column), it carries the sign.
    nu : str or float, optional
        Degrees of freedom when the draw is Student t: the name of their Param, or a number.
    part : Function, optional
        The `sd` of the `Bias` that it is a new one of; `sd` itself by default.
    of : str
        The latent state that is drawn, where several components depend on the same draw.
    """

    groups: np.ndarray
    sd: Function
    nu: str | float | None = None
    part: Function | None = None
    of: str = ""


@dataclass(frozen=True)
class Contribution:
    """What one component adds to g(y) on the rows of a table.

    `nonlinear`, a function ``(p, b, xp) -> (rows,)`` of psi and of the coefficients by name, is for effects that are not linear
    given psi; only `nuts` runs a term that has one. With ``raw=True`` it may use any PyTensor expression. `field`, a
    `realmat.terms.field.Field`, says that on the rows of the fit it is linear after all, through a matrix that depends on psi.
    `errors` names hyperparameters, standard normal a priori, that are errors of single rows which `offset` alone reads, with the element
    that each row reads, -1 for none.
    """

    pieces: tuple[Piece, ...] = ()
    offset: Function | None = None
    fresh: tuple[Fresh, ...] = ()
    nonlinear: Callable[[Values, Values, Any], Any] | None = None
    raw: bool = False
    field: Field | None = None
    errors: tuple[tuple[str, np.ndarray], ...] = ()


@dataclass(frozen=True)
class Noise:
    """Variance of measured rows: ``u^2 + scales(psi)[group]^2``, Gaussian or Student t, possibly censored; or any other density.

    Attributes
    ----------
    u : array of shape (rows,)
        Stated standard uncertainty on the scale of the link; 0 where there is none.
    group : int array of shape (rows,)
        Which inferred scale the row has; -1 for none.
    scales : Function, optional
        Returns the vector of inferred scales, shape (groups,).
    nu : str or float, optional
        Degrees of freedom of a Student t: the name of their Param, or a number.
    censored : int array of shape (rows,), optional
        -1: the value is known only to lie below `y`; +1: above; 0: measured.
    density : Density, optional
        How rows were measured, where that is none of these (`realmat.terms.density`); if `native`, it alone says so.
    parameters : tuple of Parameter
        The density's own parameters as functions of psi.
    """

    u: np.ndarray
    group: np.ndarray
    scales: Function | None = None
    nu: str | float | None = None
    censored: np.ndarray | None = None
    density: Density | None = None
    parameters: tuple[Parameter, ...] = ()

    def take(self, rows: np.ndarray) -> Noise:
        """The noise of some rows."""
        return replace(
            self,
            u=self.u[rows],
            group=self.group[rows],
            censored=None if self.censored is None else self.censored[rows],
            density=None if self.density is None else self.density.take(rows),
            parameters=tuple(replace(q, group=q.group[rows]) for q in self.parameters),
        )


@dataclass(frozen=True)
class Rows:
    """Measured rows that inform coefficients: the response itself, or the characterisation of a state.

    After collapsing replicates a row stands for `count` measurements with mean `y` and within-cell sum of squares `within`.
    """

    name: str
    y: np.ndarray
    pieces: tuple[tuple[str, Piece], ...]
    offsets: tuple[tuple[str, Function], ...]
    noise: Noise
    count: np.ndarray
    within: np.ndarray


def measured(name: str, y: np.ndarray, pieces: tuple[Piece, ...], noise: Noise, owner: str = "") -> Rows:
    """Rows of single measurements, as a component declares them for the characterisation of its state."""
    n = len(y)
    return Rows(name, y, tuple((owner, piece) for piece in pieces), (), noise, np.ones(n), np.zeros(n))


@dataclass(frozen=True)
class Term:
    """One component, bound to the table it is fitted to.

    Attributes
    ----------
    component, layer : str
        The component's name and its layer: theory, material or observation.
    params, coefficients
        What it has to infer.
    contribute : Callable
        ``contribute(table, fresh_levels) -> Contribution`` on any table with the same columns. `fresh_levels` names the levels whose
        values count as new even where the fit has seen them.
    rows : tuple of Rows
        Measured rows of its own: characterisations.
    noise : Callable, optional
        Only the observation component: ``noise(table) -> Noise``.
    notes : tuple of str
        What the user should know about how the data were read, such as how many states were measured.
    cautions : tuple of str
        What every check says in its text, before a fit and after it: how the data were read would change the answer if it was not meant so.
    states : tuple of Latent
        The latent states among its coefficients.
    biases : tuple of Bias
        Only of the observation component.
    derived : tuple of Derived
        Variables that follow from the others.
    update : OwnUpdate, optional
        Draws the term's parameters given its coefficients, where they are too many to be explored.
    factor : Function, optional
        Log density, a function of psi, of what was measured beyond what `rows` hold of it.
    together : Callable, optional
        Only of an observation component in which errors of rows correlate: ``together(table) -> Together``; `noise` is of one alone.
    """

    component: str
    layer: str
    params: tuple[Param, ...] = ()
    coefficients: tuple[Coefficients, ...] = ()
    contribute: Callable[..., Contribution] = field(default=lambda table, fresh_levels=(): Contribution())
    rows: tuple[Rows, ...] = ()
    noise: Callable[..., Noise] | None = None
    notes: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    states: tuple[Latent, ...] = ()
    biases: tuple[Bias, ...] = ()
    derived: tuple[Derived, ...] = ()
    update: OwnUpdate | None = None
    factor: Function | None = None
    together: Callable[[Any], Together] | None = None


def degrees(nu: str | float, p: Values) -> Any:
    """Degrees of freedom of a Student t: a number, or the value of a Param."""
    return p[nu] if isinstance(nu, str) else nu


def side_by_side(blocks: Iterable[Coefficients]) -> tuple[dict[str, slice], int]:
    """Where each block of coefficients stands among all, in their order, and how many there are."""
    out, start = {}, 0
    for block in blocks:
        out[block.name] = slice(start, start + block.size)
        start += block.size
    return out, start


def evaluate(function: Function | float | np.ndarray | None, p: Values, xp: Any = np, default: float = 1.0) -> Any:
    """Value of something that may be a function of psi, a constant, or absent."""
    if function is None:
        return default
    return function(p, xp) if callable(function) else function
