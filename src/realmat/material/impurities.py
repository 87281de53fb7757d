"""Several impurities, pooled across elements."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import sparse

from realmat.errors import DataError, ModelError
from realmat.material.impurity import content
from realmat.table.table import Column, Table
from realmat.terms.component import Component, Parameter, PriorLike, Scale, freeze, hyper, join, linear, reject_unknown
from realmat.terms.effect import added, complete
from realmat.terms.priors import Prior, variable
from realmat.terms.readings import check_numbers, listed, reading_columns
from realmat.terms.state import LatentState, State
from realmat.terms.term import Coefficients, Contribution, Function, Param, Piece, Term, stored_name

PROPERTIES = ("size_misfit", "valence_misfit")
Given = Mapping[str, str | float] | float | None


@dataclass(frozen=True)
class Impurities(Component):
    """``E = sum_i slope_i c_i^power`` with slopes pooled across elements, ``slope_i ~ N(0, scale^2)``.

    With `explain`, ``slope_i = sum_j gamma_j x_ij + departure_i``, ``departure_i ~ N(0, scale^2)``: elements that misfit the host more
    may act more.

    Parameters
    ----------
    columns : list of str
        Contents; cells may be empty or hold limits such as ``"<20"``.
    u, below : float or dict, optional
        Standard uncertainty and detection limit: one number for all, or for each column a number or a column.
    by : str, optional
        Level or column whose groups have a population mean each.
    power : float
        Exponent of the contents.
    log : bool
        Effect of log(c).
    scale : Prior or float, optional
        Standard deviation between elements; default HalfNormal(2 sd(response) / typical length of (c_1^power, c_2^power, ...)).
    explain : list of {"size_misfit", "valence_misfit"}, optional
        x: ``|r_i - r_host| / r_host`` of atomic radii, ``|Z_i - Z_host|`` of outer electrons, both from pymatgen.
    host : str, optional
        Element symbol of the host; needed by `explain`.
    elements : list of str, optional
        Element of each column; read from the column's name by default (``"O_wppm"`` is O).
    unit : str
        The unit of the contents in which slopes are read.
    given : list of str, optional
        Number columns, known on every row, in which the mean of each population is a line (`<name>_<column>_given`).
        A column that is a latent state of another component may have gaps; it counts on the scale on which it acts there
        (`<name>_<column>_given_<other>`).
    name : str, optional

    Notes
    -----
    Size misfit: Fleischer, Acta Metall. 11, 203 (1963); valence misfit: Linde, Ann. Phys. 407, 219 (1932). Variables: `<name>_scale`
    and, for each column, `<name>_<column>_slope` (with `explain` `<name>_<column>_departure`, and `<name>_size_misfit`,
    `<name>_valence_misfit`); for a column with gaps or u also the latent contents `<name>_<column>`, with `_mean` and `_sd`.

    Examples
    --------
    >>> Impurities(["O_wppm", "N_wppm"], explain=["size_misfit"], host="Ti").element_of
    {'O_wppm': 'O', 'N_wppm': 'N'}
    """

    layer: ClassVar[str] = "material"
    columns: tuple[str, ...]
    u: Given = None
    below: Given = None
    by: str | None = None
    power: float = 1.0
    log: bool = False
    scale: PriorLike = None
    explain: tuple[str, ...] = ()
    host: str | None = None
    elements: tuple[str, ...] = ()
    unit: str = "wppm"
    given: tuple[str, ...] = ()
    name: str | None = None

    def __post_init__(self) -> None:
        for argument in ("columns", "explain", "elements"):
            object.__setattr__(self, argument, freeze(getattr(self, argument)))
        object.__setattr__(self, "given", listed(self.given))
        if not self.columns or isinstance(self.columns, str):
            raise ModelError(f"{self.label}: columns= takes a list of columns.")
        reject_unknown(self.explain, PROPERTIES, f"properties in explain= of {self.label}")
        if self.explain and self.host is None:
            raise ModelError(f"{self.label}: explain= compares elements with the host; give host=, such as 'Fe'.")
        for column in self.columns:
            check_numbers(f"{self.label}: {column}", _of(self.u, column), _of(self.below, column), 0.0)
        self.prior("scale", 0.0)

    def __hash__(self) -> int:
        return hash((self.columns, self.power, self.log, self.explain, self.host, self.name))

    def needs(self) -> list[Column]:
        """The contents, their u and detection limits, and the population's groups."""
        return [need for c in self.columns for need in self._needs_of(c)]

    def _needs_of(self, column: str) -> list[Column]:
        u, below = _of(self.u, column), _of(self.below, column)
        return reading_columns(column, "impurity content", u, below, self.by, self.unit, lower=0.0, open_lower=self.log, given=self.given)

    def default_priors(self) -> dict[str, str]:
        """Defaults in words."""
        gamma = dict.fromkeys(self.explain, "Normal(0, 2.5 sd(response) / typical content / typical misfit)")
        return {"scale": "HalfNormal(2 sd(response) / typical content)", **gamma}

    @property
    def element_of(self) -> dict[str, str]:
        """Element of each column.

        Raises
        ------
        realmat.ModelError
            If one cannot be read from a column's name.
        """
        if self.elements:
            if len(self.elements) != len(self.columns):
                raise ModelError(f"{self.label}: elements= names {len(self.elements)} elements for {len(self.columns)} columns.")
            return dict(zip(self.columns, self.elements, strict=True))
        found = {column: re.match(r"([A-Z][a-z]?)(?![a-z])", column) for column in self.columns}
        unread = [column for column, match in found.items() if match is None]
        if unread:
            raise ModelError(f"{self.label}: no element can be read from {', '.join(map(repr, unread))}; give elements=.")
        return {column: match.group(1) for column, match in found.items() if match}

    def misfits(self) -> np.ndarray:
        """The properties in `explain` of each column's element, shape (columns, properties).

        Raises
        ------
        realmat.ModelError
            If pymatgen has no such element, or no radius or group for it.
        """
        if not self.explain:
            return np.zeros((len(self.columns), 0))
        radius, valence = np.array([_element(e) for e in [*self.element_of.values(), str(self.host)]]).T
        every = {"size_misfit": np.abs(radius[:-1] - radius[-1]) / radius[-1], "valence_misfit": np.abs(valence[:-1] - valence[-1])}
        return np.column_stack([every[name] for name in self.explain])

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term with a slope for each column, and the latent contents where they are not known exactly."""
        specs = {c: self._spec(table.piece, c) for c in self.columns}
        readings = {c: spec.read(table) for c, spec in specs.items()}
        states = {c: spec.bind(table, scale) for c, spec in specs.items() if spec.needed(readings[c])}
        everywhere = [spec.read(table.whole) for spec in specs.values()]
        length = float(np.sqrt(sum(np.mean(r.value[r.present] ** 2) for r in everywhere if r.present.any())))
        if length == 0:
            raise DataError(f"{self.label}: every content is zero, so nothing can be learnt; leave it out.")
        tau = self.prior("scale", Prior("HalfNormal", sigma=2 * scale.response / length))
        slopes = _Slopes.of(self, tau, scale.response / length, states)
        exact = [c for c in self.columns if c not in states]

        def contribute(other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
            known = np.column_stack([complete(other, specs[c]) for c in exact]) if exact else np.zeros((len(other), 0))
            latent = [state.on(other, fresh_levels, slopes.of_state[c]) for c, state in states.items()]
            return added(slopes.on(known, [self.columns.index(c) for c in exact]), *latent)

        params = (*slopes.params, *(p for s in states.values() for p in s.params))
        blocks = (*slopes.coefficients, *(b for s in states.values() for b in s.coefficients))
        rows, notes, cautions = (tuple(x for s in states.values() for x in getattr(s, what)) for what in ("rows", "notes", "cautions"))
        held = tuple(state.latent for state in states.values())
        return Term(self.label, "material", params, blocks, contribute, rows, notes=notes, cautions=cautions, states=held)

    def states(self, piece: str, link: str) -> tuple[LatentState, ...]:
        """The contents."""
        return tuple(self._spec(piece, column) for column in self.columns)

    def _spec(self, piece: str, column: str) -> LatentState:
        u, below = _of(self.u, column), _of(self.below, column)
        name = stored_name(f"{self.label}_{column}")
        return LatentState(name, column, u, below, self.by, content(self.power, self.log), piece, self.unit, given=self.given)


def _of(given: Given, column: str) -> str | float | None:
    return given.get(column) if isinstance(given, Mapping) else given


def _element(symbol: str) -> tuple[float, float]:
    """Atomic radius in angstrom (Slater) and number of outer electrons of an element."""
    import warnings

    from pymatgen.core import Element

    try:
        element = Element(symbol)
    except ValueError as error:
        raise ModelError(f"{symbol!r} is not an element symbol.") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        radius = element.atomic_radius
    if radius is None:
        raise ModelError(f"pymatgen has no atomic radius for {symbol}.")
    return float(radius), float(element.group if element.group <= 12 else element.group - 10)


@dataclass(frozen=True)
class _Slopes:
    """Pooled slopes: coefficients for columns known exactly, hyperparameters for those that multiply a latent content."""

    params: tuple[Param, ...]
    coefficients: tuple[Coefficients, ...]
    names: tuple[str, ...]
    misfits: np.ndarray
    gammas: tuple[Parameter, ...]
    of_state: dict[str, Function]

    @classmethod
    def of(cls, owner: Impurities, tau: Prior | float, size: float, states: Mapping[str, State]) -> _Slopes:
        label, x = owner.label, owner.misfits()
        kind = "departure" if owner.explain else "slope"
        names = tuple(stored_name(f"{label}_{c}_{kind}") for c in owner.columns)
        scale_params, sd = hyper(f"{label}_scale", tau)
        pool = Prior("Normal", mu=0.0, sigma=variable(f"{label}_scale", tau) if isinstance(tau, Prior) else tau)
        params = (*scale_params, *(Param(n, pool) for n, c in zip(names, owner.columns, strict=True) if c in states))
        blocks = tuple(Coefficients(n, 1, sd) for n, c in zip(names, owner.columns, strict=True) if c not in states)
        typical = [float(np.sqrt(np.mean(x[:, j] ** 2))) or 1.0 for j in range(len(owner.explain))]
        priors = [Prior("Normal", mu=0.0, sigma=2.5 * size / t) for t in typical]
        gammas = tuple(linear(f"{label}_{p}", prior, psi=bool(states)) for p, prior in zip(owner.explain, priors, strict=True))

        def slope(i: int) -> Function:
            return lambda p, xp: p[names[i]] + sum(p[f"{label}_{name}"] * x[i, j] for j, name in enumerate(owner.explain))

        of_state = {c: slope(owner.columns.index(c)) for c in states}
        params += tuple(p for gamma in gammas for p in gamma.params)
        blocks = (*(b for gamma in gammas for b in gamma.coefficients), *blocks)
        return cls(params, blocks, names, x, gammas, of_state)

    def on(self, known: np.ndarray, which: list[int]) -> Contribution:
        """Contribution of the exactly known columns, shape (rows, exact); `which` says where they stand among all."""
        pieces = [Piece(self.names[i], sparse.csr_matrix(known[:, [k]])) for k, i in enumerate(which)]
        offset: Function | None = None
        for j, gamma in enumerate(self.gammas):
            more, extra = gamma.on(known @ self.misfits[which, j])
            pieces += more
            offset = join(offset, extra)
        return Contribution(tuple(pieces), offset)
