"""Many theories of one quantity, and the ideal value behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from realmat.errors import DataError, ModelError
from realmat.table.table import ROW, Column, Table, rows_text
from realmat.terms.component import Component, PriorLike, Scale, freeze, indicator, reject_unknown
from realmat.terms.priors import Prior
from realmat.terms.readings import constant_within, first_within, rows_in
from realmat.terms.term import Coefficients, Contribution, Fresh, Noise, Param, Piece, Term, Values, measured
from realmat.theory.calculations import Calculations
from realmat.theory.consensus_errors import Errors
from realmat.theory.consensus_update import Update

ERRORS = ("auto", "full", "families", "one")
_HELD = 5000  # draws
_STEPS = 5
_ENOUGH = 5  # materials for each theory from which the errors' covariance is learnt freely


@dataclass(frozen=True)
class Consensus(Component):
    """``theory_k = t + bias_k + (slope_k - 1) (t - c) + e_k``: an ideal value t of each material, known through what was calculated of it.

    Parameters
    ----------
    columns : list of str
        Columns of calculated values in the response's unit, one a theory; a cell is empty where a theory was not run.
    u : float, or dict of str to float or column, optional
        Standard uncertainty of single calculations, of all theories or by theory, in the response's unit: convergence, or the statistical
        error of a Monte Carlo run. It adds to the theories' own errors, which are inferred.
    errors : {"auto", "full", "families", "one"}
        How the errors e of theories go together: not at all (``"one"``: the ideal value is the one thing they share), through a part
        shared by each family, or in any way. ``"auto"`` is ``"full"`` from five times as many materials as theories on, else
        ``"families"``.
    families : dict of str to list of str, optional
        Theories that err alike, such as hybrids; a theory without a family stands by itself.
    nu : float, optional
        Some materials are hard for every theory: each has a scale lambda, inverse gamma with `nu` degrees of freedom (above 2), of its
        errors and of its distance from the other materials. Then t given calculations is a Student t.
    bias_scale, slope_scale, own, family, spread : Prior or float, optional
        Spread of the biases; of the slopes around 1; standard deviation of each theory's own error; of each family's part; of the ideal
        values. By default weakly informative, scaled by the response.
    name : str, optional
        ``consensus`` by default.

    Notes
    -----
    c is the mean response: a theory's bias is that for a typical material. Variables: `<name>` (the ideal values), `<name>_bias`,
    `<name>_slope`, `<name>_own` (dim ``theory``), `<name>_family` (dim ``family``), `<name>_mean`, `<name>_spread`, `<name>_hardness`. A
    theory of which little is known borrows bias, slope and own error from the others. Errors-in-variables with correlated errors:
    Carroll, Ruppert, Stefanski & Crainiceanu, Measurement Error in Nonlinear Models (2006), chapter 8; multi-fidelity calculations:
    Kennedy & O'Hagan, Biometrika 87, 1 (2000); Pilania, Gubernatis & Lookman, Comput. Mater. Sci. 129, 156 (2017).

    Examples
    --------
    >>> Consensus(["PBE", "HSE06", "QSGW"], families={"hybrid": ["HSE06"]}).label
    'consensus'
    """

    layer: ClassVar[str] = "theory"
    columns: tuple[str, ...]
    u: float | Mapping[str, float | str] | None = None
    errors: str = "auto"
    families: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    nu: float | None = None
    bias_scale: PriorLike = None
    slope_scale: PriorLike = None
    own: PriorLike = None
    family: PriorLike = None
    spread: PriorLike = None
    name: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", freeze(self.columns))
        if not isinstance(self.columns, tuple) or len(self.columns) < 2 or not all(isinstance(c, str) for c in self.columns):
            raise ModelError(f"{self.label}: columns= takes the names of two or more theories' columns, not {self.columns!r}.")
        twice = sorted({c for c in self.columns if self.columns.count(c) > 1})
        if twice:
            raise ModelError(f"{self.label}: {', '.join(twice)} stands twice in columns=.")
        if self.errors not in ERRORS:
            raise ModelError(f"{self.label}: errors must be one of {', '.join(ERRORS)}, not {self.errors!r}.")
        self._check_families()
        self._check_u()
        if self.nu is not None and not (isinstance(self.nu, (int, float)) and 2 < self.nu < np.inf):
            raise ModelError(f"{self.label}: nu={self.nu!r} must be a number above 2, or None for no heavy tails.")
        for argument in ("bias_scale", "slope_scale", "own", "family", "spread"):
            self.prior(argument, 1.0)

    def _check_families(self) -> None:
        if not isinstance(self.families, Mapping):
            raise ModelError(f"{self.label}: families= takes a dict of a family's name to its theories, not {self.families!r}.")
        object.__setattr__(self, "families", {k: tuple(v) if not isinstance(v, str) else (v,) for k, v in self.families.items()})
        listed = [c for group in self.families.values() for c in group]
        reject_unknown(listed, self.columns, f"theories in families= of {self.label}")
        twice = sorted({c for c in listed if listed.count(c) > 1})
        if twice:
            raise ModelError(f"{self.label}: {', '.join(twice)} stands in two families.")

    def _check_u(self) -> None:
        if isinstance(self.u, Mapping):
            object.__setattr__(self, "u", dict(self.u))
            reject_unknown(list(self.u), self.columns, f"theories in u= of {self.label}")
        given = [] if self.u is None else list(self.u.values()) if isinstance(self.u, Mapping) else [self.u]
        if any(not isinstance(v, str) and not 0 <= v < np.inf for v in given):
            raise ModelError(f"{self.label}: u={self.u!r} must be 0 or more; a dict may also name columns.")

    def __hash__(self) -> int:
        return hash((self.columns, self.errors, tuple(self.families.items()), self.nu, self.name))

    def needs(self) -> list[Column]:
        """The theories' columns."""
        theories = [Column(c, "theory", missing=True, optional=True) for c in self.columns]
        return theories + [Column(c, "u of a theory", missing=True, lower=0.0, optional=True) for c in self._u_columns()]

    def _u_columns(self) -> list[str]:
        return [c for c in self.u.values() if isinstance(c, str)] if isinstance(self.u, Mapping) else []

    def default_priors(self) -> dict[str, str]:
        """Defaults in words."""
        size = "sd(response)"
        out = {
            "bias_scale": f"HalfNormal({size})",
            "slope_scale": "HalfNormal(0.5)",
            "own": "LogNormal around a common size",
            "spread": f"HalfNormal(3 {size})",
        }
        return out | ({"family": f"HalfNormal({size})"} if self._shared else {})

    @property
    def _shared(self) -> dict[str, tuple[str, ...]]:
        """Families of two or more theories: of a single one the part is its own error."""
        return {} if self.errors == "one" else {name: group for name, group in self.families.items() if len(group) > 1}

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term of the ideal values `<name>` and the parameters of the theories.

        Raises
        ------
        realmat.DataError
            If a theory has no value anywhere.
        """
        level = self._level(table.whole)  # a row that holds a calculation need not hold a measurement
        calculations = self._calculations(table, level, scale.level)
        empty = [c for k, c in enumerate(self.columns) if not np.isfinite(calculations.x[:, k]).any()]
        if empty:
            raise DataError(f"{self.label}: no value anywhere of {', '.join(empty)}; leave out theories that were never run.")
        full = self.errors == "full" or (self.errors == "auto" and int((calculations.count > 0).sum()) >= _ENOUGH * len(self.columns))
        membership = np.array([[float(c in group) for group in self._shared.values()] for c in self.columns]).reshape(len(self.columns), -1)
        errors = Errors(self.label, len(self.columns), membership, full)
        params = self._params(scale, errors, table.level(level))
        return _Bound(self, table, level, calculations, errors, params).term()

    def _level(self, table: Table) -> str:
        """Whose ideal value it is: the material, where its calculations do not differ between rows, or else the specimen; else the row."""
        levels = [level for level in ("material", "specimen") if level in table.levels]
        return next((level for level in levels if constant_within(table, level, *self._given(table))), ROW)

    def _given(self, table: Table) -> list[str]:
        return [c for c in (*self.columns, *self._u_columns()) if c in table.columns]

    def _calculations(self, table: Table, level: str, centre: float) -> Calculations:
        """What was calculated of each value of a level, in whichever row it stands."""
        whole, values = table.whole, table.whole.level(level).values
        known = {c: first_within(whole, level, c) for c in self._given(whole)}
        every = Table({c: np.full(len(values), np.nan) for c in self.columns} | known, {}, values, link=table.link)
        return self.calculations(every, np.arange(len(values)), centre)

    def calculations(self, table: Table, rows: np.ndarray, centre: float) -> Calculations:
        """What was calculated, of some rows of a table, on the scale of the link; a theory that the table lacks was not run."""
        missing = np.full(len(table), np.nan)
        columns = []
        for c in self.columns:
            if c in table.columns and table.link == "log" and (low := table.numeric(c) <= 0).any():
                raise DataError(f"column {c!r}: theory not above 0 in {rows_text(table.index[low])}; the log link needs its logarithm.")
            columns.append(table.link_values(c) if c in table.columns else missing)
        x = np.column_stack(columns)[rows]
        return Calculations(x - centre, centre, None if self.u is None else self._uncertainties(table, rows, x), self.nu is not None)

    def _uncertainties(self, table: Table, rows: np.ndarray, x: np.ndarray) -> np.ndarray:
        """u of each calculation on the scale of the link, 0 where none is given: shape (rows, theories)."""
        out = np.zeros(x.shape)
        for k, c in enumerate(self.columns):
            given = self.u.get(c, 0.0) if isinstance(self.u, Mapping) else self.u
            own = np.nan_to_num(table.numeric(given)[rows] if given in table.columns else 0.0) if isinstance(given, str) else given
            out[:, k] = own / np.exp(x[:, k]) if table.link == "log" else own  # to first order
        return np.nan_to_num(out)

    def _params(self, scale: Scale, errors: Errors, level: Any) -> dict[str, Param]:
        name, theories = self.label, np.array(self.columns, dtype=object)
        out: list[Param] = []

        def add(what: str, prior: Prior | float, dim: str | None = None, coords: Any = None) -> None:
            if isinstance(prior, float):
                raise ModelError(f"{name}: {what}= must be a prior; a fixed number leaves nothing to learn from the theories.")
            out.append(Param(f"{name}_{what}", prior, dim, coords))

        add("bias_scale", self.prior("bias_scale", Prior("HalfNormal", sigma=scale.spread)))
        add("bias", Prior("Normal", mu=0.0, sigma=f"{name}_bias_scale"), "theory", theories)
        add("slope_scale", self.prior("slope_scale", Prior("HalfNormal", sigma=0.5)))
        add("slope", Prior("Normal", mu=1.0, sigma=f"{name}_slope_scale"), "theory", theories)
        if self.own is None:  # theories of which little is known borrow from the others
            add("own_location", Prior("Normal", mu=float(np.log(0.2 * scale.spread)), sigma=1.5))
            add("own_spread", Prior("HalfNormal", sigma=1.0))
        add("own", self.prior("own", Prior("LogNormal", mu=f"{name}_own_location", sigma=f"{name}_own_spread")), "theory", theories)
        if self._shared:
            families = np.array(list(self._shared), dtype=object)
            add("family", self.prior("family", Prior("HalfNormal", sigma=scale.spread)), "family", families)
        add("mean", Prior("Normal", mu=scale.level, sigma=5 * scale.spread))
        add("spread", self.prior("spread", Prior("HalfNormal", sigma=3 * scale.spread)))
        if self.nu is not None:
            half = self.nu / 2
            add("hardness", Prior("InverseGamma", alpha=half, beta=half), level.name, level.values)
        if errors.full:
            pairs = [f"{self.columns[i]} | {self.columns[j]}" for i, j in zip(*np.tril_indices(errors.size, -1), strict=True)]
            add("factor", Prior("Normal"), "theory_pair", np.array(pairs, dtype=object))
            for i in range(errors.size):
                add(f"pivot_{i}", Prior("Gamma", alpha=(errors.degrees - i) / 2, beta=0.5))
        return {p.name: p for p in out}


@dataclass(frozen=True)
class _Bound:
    """A consensus on the table of a fit."""

    declared: Consensus
    table: Table
    level: str
    calculations: Calculations
    errors: Errors
    params: Mapping[str, Param]

    @property
    def name(self) -> str:
        return self.declared.label

    def term(self) -> Term:
        name, level = self.name, self.table.level(self.level)
        block = Coefficients(name, level.size, self._sd, self._mean, level.name, level.values, level=self.level)
        priors = {n: p.prior for n, p in self.params.items()}
        update = Update(name, name, tuple(priors), self.calculations, self.errors, priors, self.declared.nu, self.of_table)
        params = tuple(self.params.values())
        return Term(name, "theory", params, (block,), self.contribute, self._rows(), notes=self._notes(), update=update, factor=self.factor)

    def of_table(self, other: Table) -> Calculations:
        """What was calculated of each row of another table."""
        return self.declared.calculations(other, np.arange(len(other)), self.calculations.centre)

    def _mean(self, p: Values, xp: Any) -> Any:
        return p[f"{self.name}_mean"]

    def _sd(self, p: Values, xp: Any) -> Any:
        spread = p[f"{self.name}_spread"]
        return spread if self.declared.nu is None else spread * xp.sqrt(p[f"{self.name}_hardness"])

    def _rows(self) -> tuple[Any, ...]:
        """All that the calculations tell of the ideal values: one reading of each, whose value and size depend on psi."""
        told = np.flatnonzero(self.calculations.count > 0)
        size = self.table.level(self.level).size
        codes = np.full(len(told), -1) if not len(told) else told
        noise = Noise(np.zeros(len(told)), np.arange(len(told)), lambda p, xp: self.reading(p, xp)[1])
        piece = Piece(self.name, indicator(codes, size))
        rows = measured(f"{self.name}_calculated", np.zeros(len(told)), (piece,), noise, self.name)
        offset = (self.name, lambda p, xp: -self.reading(p, xp)[0])
        return (type(rows)(rows.name, rows.y, rows.pieces, (offset,), rows.noise, rows.count, rows.within),)

    def reading(self, p: Values, xp: Any) -> tuple[Any, Any]:
        """Readings and their standard uncertainties at one psi; the engine that has them at hand passes them among the values."""
        if f"{self.name}_reading" in p:
            return p[f"{self.name}_reading"], p[f"{self.name}_reading_u"]
        told = self.calculations.count > 0
        z, h, _, _ = self._told(p, xp)
        variance = 1 / h if self.declared.nu is None else p[f"{self.name}_hardness"][told] / h
        return z, xp.sqrt(variance)

    def _told(self, p: Values, xp: Any) -> tuple[Any, Any, Any, Any]:
        """Reading, precision, squared rest and log determinant of each material with calculations, in order."""
        told = self.calculations.count > 0
        covariance = self.errors.covariance(p, xp)
        bias, slope = p[f"{self.name}_bias"], p[f"{self.name}_slope"]
        if xp is np:
            hard = p.get(f"{self.name}_hardness")
            weights, log_det = self.calculations.inverses(covariance, hard)
            read = self.calculations.reading(bias, slope, weights)
            return read.z[told], read.h[told], read.rest[told], self.calculations.by_material(log_det)[told]
        parts, members = [], []
        for pattern in self.calculations.patterns:
            o, m = pattern.ran, pattern.members
            own = covariance[o][:, o]
            if self.calculations.noisy:
                hard = 1.0 if self.declared.nu is None else p[f"{self.name}_hardness"][m[0]]
                own = own + xp.diag(self.calculations.variance[m[0], o] / hard)
            solved = xp.dot(xp.linalg.inv(own), slope[o])
            h = xp.dot(slope[o], solved)
            away = self.calculations.x[np.ix_(m, o)] - bias[o]
            z = xp.dot(away, solved) / h
            left = away - z[:, None] * slope[o]
            ones = np.ones(len(m))
            rest = xp.sum(xp.dot(left, xp.linalg.inv(own)) * left, axis=1)
            parts.append((z + self.calculations.centre, h * ones, rest, xp.log(xp.linalg.det(own)) * ones))
            members.append(m)
        back = np.argsort(np.concatenate(members))
        return tuple(xp.concatenate([part[k] for part in parts])[back] for k in range(4))

    def factor(self, p: Values, xp: Any) -> Any:
        """Log density of the calculations beyond that of the readings made of them."""
        told = self.calculations.count > 0
        _, h, rest, log_det = self._told(p, xp)
        hard = np.ones(int(told.sum())) if self.declared.nu is None else p[f"{self.name}_hardness"][told]
        return self.calculations.beyond(log_det, h, rest, hard, xp)

    def _notes(self) -> tuple[str, ...]:
        ran = np.isfinite(self.calculations.x)
        what = {ROW: "rows", "specimen": "specimens", "material": "materials"}.get(self.level, f"values of {self.level}")
        said = [f"{ran.shape[1]} theories of {ran.shape[0]} {what}: {ran.mean():.0%} of the calculations were run; the rest is inferred."]
        silent = int((self.calculations.count == 0).sum())
        if silent:
            said.append(f"no calculation at all for {silent} {what}: their ideal value is known from the others alone.")
        return tuple(said)

    # --- on the rows of any table ---------------------------------------------------------------------------------------------------

    def contribute(self, other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
        level = self.table.level(self.level)
        codes = rows_in(other, self.table) if self.level == ROW else other.codes_in(self.level, level.values)
        codes = np.full(len(other), -1) if self.level in fresh_levels else codes
        piece = Piece(self.name, indicator(codes, level.size))
        if (codes >= 0).all():
            return Contribution((piece,))
        return self._new(other, codes < 0, piece)

    def _new(self, other: Table, new: np.ndarray, piece: Piece) -> Contribution:
        """Materials never seen: their ideal value given their own calculations, a normal or Student t in closed form."""
        groups = np.where(new, other.level(self.level).codes, -1)
        calculations = self.of_table(other)
        held = _Held(lambda p: self._predicted(calculations, p))

        def offset(p: Values, xp: Any) -> np.ndarray:
            return np.where(new, held(p)[0], 0.0)

        fresh = []
        for count in np.unique(calculations.count[new]):
            these = np.where(calculations.count == count, groups, -1)
            nu = None if self.declared.nu is None else float(self.declared.nu + count)
            fresh.append(Fresh(these, lambda p, xp: held(p)[1], nu))
        return Contribution((piece,), offset, tuple(fresh))

    def _predicted(self, calculations: Calculations, p: Values) -> tuple[np.ndarray, np.ndarray]:
        """Location and scale of the ideal value of each row given its calculations at one psi.

        With lambda integrated out: location as given lambda, scale^2 = variance at lambda = 1 times (nu + Q) / (nu + K), where Q is the
        squared distance of its K calculations from what the parameters expect (Gelman et al., Bayesian Data Analysis, 3rd ed., section
        17.2). Where calculations have a u the same holds at the lambda that it gives, found in a few steps.
        """
        covariance, mean, spread = self.errors.covariance(p), p[f"{self.name}_mean"], p[f"{self.name}_spread"]
        nu, hard = self.declared.nu, np.ones(len(calculations.x))
        for _ in range(_STEPS if calculations.noisy and nu is not None else 1):
            weights = calculations.weights(covariance, hard)
            read = calculations.reading(p[f"{self.name}_bias"], p[f"{self.name}_slope"], weights)
            precision = read.h + spread**-2.0
            location = (np.where(read.h > 0, read.h * read.z, 0.0) + mean * spread**-2.0) / precision
            if nu is None:
                return location, precision**-0.5
            square = read.rest + np.where(read.h > 0, (read.z - mean) ** 2 / (1 / np.where(read.h > 0, read.h, 1.0) + spread**2), 0.0)
            hard = (nu + square) / (nu + calculations.count)
        return location, np.sqrt(hard / precision)


class _Held:
    """A function of psi that several ask for at the same draws: it keeps what it gave for the last of them."""

    def __init__(self, function: Callable[[Values], tuple[np.ndarray, np.ndarray]]) -> None:
        self.function = function
        self.seen: dict[int, tuple[Values, tuple[np.ndarray, np.ndarray]]] = {}

    def __call__(self, p: Values) -> tuple[np.ndarray, np.ndarray]:
        found = self.seen.get(id(p))
        if found is not None and found[0] is p:
            return found[1]
        if len(self.seen) >= _HELD:
            self.seen.clear()
        out = self.function(p)
        self.seen[id(p)] = (p, out)
        return out
