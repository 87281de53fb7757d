"""The latent measured state: what a sample really is, informed by whatever characterisation exists.

z_s ~ N(mean_g, sd^2) for specimen s of group g; readings c = z_s + eta with eta ~ N(0, u^2), missing, replicated or left-censored; the
state enters the response as ``slope * z``. The classical (structural) measurement-error model: Carroll, Ruppert, Stefanski &
Crainiceanu, Measurement Error in Nonlinear Models, 2nd ed., 2006, chapters 1 and 8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realmat.errors import DataError
from realmat.table.table import ROW, Table, rows_text
from realmat.terms.component import Scale, hyper, indicator, join
from realmat.terms.kin import Kin
from realmat.terms.parts import Latent
from realmat.terms.population import Newcomers, Population
from realmat.terms.priors import Prior
from realmat.terms.readings import IDENTITY, Readings, Transform, read, rows_in
from realmat.terms.term import Coefficients, Contribution, Fresh, Function, Noise, Param, Piece, Rows, Scaled, measured
from realmat.terms.upstream import Given, kin_of

Effect = Callable[[Any, Any, Any], Any]
"""``(z, p, xp) -> (rows,)``: what states z of shape (rows,) add to g(y); one value for each row of the table it was made for."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(20)


@dataclass(frozen=True)
class LatentState:
    """A state that a component needs, before it is bound to a table.

    Attributes
    ----------
    name : str
        The posterior variable of the states; its parameters are ``<name>_mean``, ``<name>_sd``.
    column, u, below, by
        The readings, and the groups of the population.
    transform : Transform
        To the scale on which the population is normal.
    level : str
        Whose state it is: the specimen by default, see `realmat.table.table.Table.piece`.
    unit : str
    once : bool
        A value repeated on rows is one value (a computed one), not repeated measurements.
    curved : bool
        Whether its effect is not linear: the population's mean is then a hyperparameter, so that new specimens have closed forms.
    given : tuple of str
        Columns in which the population's mean is a line: numbers known everywhere, or other states of the model.
    """

    name: str
    column: str
    u: str | float | None = None
    below: str | float | None = None
    by: str | None = None
    transform: Transform = IDENTITY
    level: str = ROW
    unit: str = ""
    once: bool = False
    curved: bool = False
    given: tuple[str, ...] = ()

    def read(self, table: Table) -> Readings:
        """Readings of a table."""
        return read(table, self.column, self.u, self.below, self.transform)

    def needed(self, readings: Readings) -> bool:
        """Whether the column is more than a list of exactly known numbers."""
        return self.u is not None or not bool(readings.measured.all())

    def spread(self, readings: Readings) -> float:
        """Standard deviation of the readings on the state's scale.

        Raises
        ------
        realmat.DataError
            If nothing was measured, or always the same.
        """
        seen = readings.value[readings.measured]
        if len(seen) == 0:
            limits = " but detection limits" if readings.present.any() else ""
            raise DataError(f"column {self.column!r}: no value anywhere{limits}, so nothing can be learnt of {self.name!r}; leave it out.")
        spread = float(np.std(readings.value[readings.present]))
        if not spread > 1e-12 * abs(seen[0]):
            raise DataError(f"column {self.column!r}: every value is the same, so its effect cannot be learnt; leave {self.name!r} out.")
        return spread

    def bind(self, table: Table, scale: Scale | None = None) -> State:
        """The state of every specimen of a table.

        Parameters
        ----------
        table : Table
        scale : Scale, optional
            What a component is bound with: it knows the model's other states, on which this one may depend.

        Raises
        ------
        realmat.DataError
            If the readings cannot inform it, or contradict each other.
        realmat.ModelError
            If it depends on a state that it cannot depend on.
        """
        table = table.whole  # whoever measures the piece, and whatever, it has one state
        readings = self.read(table)
        spread = self.spread(readings)
        level = table.level(self.level)
        known = self._known(table, readings, level.codes, level.size)
        latent = np.flatnonzero(np.isnan(known))
        place = np.full(level.size, -1)
        place[latent] = np.arange(len(latent))
        centre = float(np.mean(readings.value[readings.present]))
        population = Population.of(self, table, centre, spread, Given.of(self, table, scale))
        kin = kin_of(self, {} if scale is None else scale.states, table)
        typical = float(np.median(readings.u[readings.u > 0])) if (readings.u > 0).any() else spread
        return State(self, table, readings, level.values, known, place, population, typical, kin, scale)

    def _known(self, table: Table, readings: Readings, codes: np.ndarray, size: int) -> np.ndarray:
        """State of each specimen that is known exactly (no u was declared); NaN elsewhere."""
        known = np.full(size, np.nan)
        if self.u is not None:
            return known
        exact = readings.measured
        known[codes[exact]] = readings.value[exact]
        clash = exact & (known[codes] != readings.value)
        if clash.any():
            raise DataError(
                f"column {self.column!r}: the same {self.level} has different values in {rows_text(table.index[clash])}. "
                'Repeated measurements of one state need u=; a property of the single measurement needs level="row".'
            )
        return known


@dataclass(frozen=True)
class State:
    """A latent state bound to the table of a fit.

    Attributes
    ----------
    values : array of shape (states,)
        Labels of the level.
    known : array of shape (states,)
        Where known exactly, on the state's scale; else NaN.
    place : int array of shape (states,)
        Position among those to be inferred; -1 for a known one.
    kin : tuple of LatentState
        The states that depend on it or on which it depends, itself among them, each after those on which it depends.
    params, coefficients, rows, note
        Its share of a term.
    """

    spec: LatentState
    table: Table
    readings: Readings
    values: np.ndarray
    known: np.ndarray
    place: np.ndarray
    population: Population
    typical_u: float
    kin: tuple[LatentState, ...]
    scale: Scale | None
    params: tuple[Param, ...] = field(init=False)
    coefficients: tuple[Coefficients, ...] = field(init=False)
    rows: tuple[Rows, ...] = field(init=False)
    unstated: Function = field(init=False)

    def __post_init__(self) -> None:
        unstated = self._noisy() & (self.readings.u == 0)
        prior = Prior("HalfNormal", sigma=self.typical_u) if unstated.any() else self.typical_u
        noise, scale = hyper(f"{self.spec.name}_unstated_scale", prior, unit=self.spec.unit)
        object.__setattr__(self, "unstated", scale)
        object.__setattr__(self, "params", (*self.population.params, *noise))
        object.__setattr__(self, "coefficients", (*self.population.coefficients, *self._block()))
        object.__setattr__(self, "rows", (*self._known_rows(), *self._measured_rows()))

    @property
    def latent(self) -> Latent:
        """By what it is of."""
        spec = self.spec
        states = tuple(up.name for up in self.population.given.states)
        told = {"u": spec.u, "below": spec.below, "by": spec.by, "given": spec.given, "given_states": states, "curved": spec.curved}
        names = [*(q.name for q in self.params), *(c.name for c in self.coefficients), *(r.name for r in self.rows)]
        return Latent(spec.name, (spec.column, spec.level, spec.transform, spec.once), told, tuple(names))

    @property
    def inferred(self) -> np.ndarray:
        """Which states are inferred, int array of shape (inferred,)."""
        return np.flatnonzero(self.place >= 0)

    @property
    def codes(self) -> np.ndarray:
        """The state of each row of the fit."""
        return self.table.level(self.spec.level).codes

    def _noisy(self) -> np.ndarray:
        """Rows with a reading that does not settle the state; of repeated computed values the first."""
        noisy = self.readings.present & (self.place[self.codes] >= 0)
        if self.spec.once:
            rows = np.flatnonzero(noisy)
            noisy = np.zeros_like(noisy)
            noisy[rows[np.unique(self.codes[rows], return_index=True)[1]]] = True
        return noisy

    def _block(self) -> tuple[Coefficients, ...]:
        """The states to be inferred. The posterior holds all of them, in the column's unit, the exactly known ones among them."""
        spec, latent = self.spec, self.inferred
        if len(latent) == 0:
            return ()
        mean, parents, leans = self.population.prior_of(latent)
        every = np.asarray(self.known, dtype=float)

        def complete(z: np.ndarray) -> np.ndarray:
            out = np.broadcast_to(every, (*np.shape(z)[:-1], len(every))).copy()
            out[..., latent] = z
            return np.asarray(spec.transform.inverse(out))

        plain = spec.transform is IDENTITY and len(latent) == len(every)
        report = None if plain else (complete, lambda x: spec.transform.forward(x[..., latent]))
        name = self.table.level(spec.level).name
        unit = spec.unit
        own = (spec.name, len(latent), self.population.sd, mean, name, self.values, parents, None, spec.level, unit, report)
        return (Coefficients(*own, leans=leans),)

    def _known_rows(self) -> tuple[Rows, ...]:
        """An exactly known state is a measurement of the population."""
        exact = np.flatnonzero(np.isfinite(self.known))
        if len(exact) == 0:
            return ()
        noise = Noise(np.zeros(len(exact)), np.zeros(len(exact), dtype=int), lambda p, xp: xp.stack([self.population.sd(p, xp)]))
        return (self.population.measurement(f"{self.spec.name}_known", self.known[exact], exact, noise),)

    def _measured_rows(self) -> tuple[Rows, ...]:
        noisy = np.flatnonzero(self._noisy())
        if len(noisy) == 0:
            return ()
        spec, readings = self.spec, self.readings
        unstated = readings.u[noisy] == 0
        scales: Function | None = (lambda p, xp: xp.stack([self.unstated(p, xp)])) if unstated.any() else None
        noise = Noise(readings.u[noisy], np.where(unstated, 0, -1), scales, censored=readings.censored[noisy])
        piece = Piece(spec.name, indicator(self.place[self.codes[noisy]], len(self.inferred)))
        rows = measured(f"{spec.name}_measured", readings.value[noisy], (piece,), noise, spec.name)
        count = np.ones(len(noisy)) if spec.once else self.table.count[noisy]
        return (Rows(rows.name, rows.y, rows.pieces, (), noise, count, np.zeros(len(noisy))),)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was measured and what was not."""
        spec, codes, readings = self.spec, self.codes, self.readings
        what = {ROW: "rows", "specimen": "specimens", "material": "materials"}.get(spec.level, f"values of {spec.level}")
        limited = readings.present & ~readings.measured
        said = f"{spec.column}: measured for {len(np.unique(codes[readings.measured]))} of {len(self.values)} {what}"
        said += f", known only to lie beyond a detection limit for {len(np.unique(codes[limited]))}" if limited.any() else ""
        notes = [said + "; the rest is inferred."]
        noisy = self._noisy()
        if (noisy & (readings.u == 0)).any():
            count = int((noisy & (readings.u == 0)).sum())
            notes.append(f"{spec.column}: u is empty or zero for {count} readings; they share the inferred {spec.name}_unstated_scale.")
        return tuple(notes)

    @property
    def cautions(self) -> tuple[str, ...]:
        """That a value written in several rows of a piece was measured as often, which a table that repeats it need not mean."""
        spec, noisy = self.spec, self._noisy()
        again = np.unique(np.column_stack([self.codes[noisy], self.readings.value[noisy]]), axis=0)
        repeated = int(self.table.count[noisy].sum()) - len(again)
        if spec.once or not repeated:
            return ()
        said = f"{spec.column}: {repeated} readings repeat one of the same {spec.level}, and each counts as a measurement of its own; "
        return (said + "of a value that was measured once, leave all but one of the cells empty.",)

    def on(self, other: Table, fresh_levels: tuple[str, ...], slope: Function) -> Contribution:
        """``slope(psi) * state`` on the rows of a table."""
        here, seen = self._locate(other, fresh_levels)
        latent = np.where(seen, self.place[here], -1)
        exact = np.where(seen, np.nan_to_num(self.known[here]), 0.0)
        pieces = [Piece(self.spec.name, indicator(latent, len(self.inferred)), slope)] if len(self.inferred) else []
        offset: Function | None = Scaled(slope, exact) if np.any(exact != 0) else None
        if seen.all():
            return Contribution(tuple(pieces), offset)
        if len(self.kin) > 1:
            there = Kin([spec.bind(self.table, self.scale) for spec in self.kin], other, ~seen).on(self.spec.name, slope)
            return Contribution((*pieces, *there.pieces), join(offset, there.offset), there.fresh)
        new = self.newcomers(other, ~seen)
        pieces += self.population.pieces(new.groups, lambda p, xp: slope(p, xp) * (1 - new.trust(p)), new.x)
        fresh = Fresh(new.codes, lambda p, xp: abs(slope(p, xp)) * new.sd(p))

        def total(p: Any, xp: Any) -> Any:
            return slope(p, xp) * (exact + new.trust(p) * new.reading(p))

        return Contribution(tuple(pieces), total, (fresh,))

    def curved_on(self, other: Table, fresh_levels: tuple[str, ...], effect: Effect) -> Contribution:
        """A nonlinear effect of the state. For new specimens its mean and variance over the state are integrated by quadrature."""
        here, seen = self._locate(other, fresh_levels)
        size = len(self.inferred)
        where = np.where(self.place[here] >= 0, self.place[here], size + here)
        known = np.nan_to_num(self.known)

        def nonlinear(p: Any, b: Any, xp: Any) -> Any:
            value = effect(xp.concatenate([b[self.spec.name], known])[where], p, xp)
            return value if seen.all() else np.where(seen, value, 0.0)

        if seen.all():
            return Contribution(nonlinear=nonlinear)
        new = self.newcomers(other, ~seen)

        def moments(p: Any) -> tuple[np.ndarray, np.ndarray]:
            centre = self.population.mean_of(p, new.groups, new.x) * (1 - new.trust(p)) + new.trust(p) * new.reading(p)
            values = np.stack([effect(centre + new.sd(p) * node, p, np) for node in _NODES], axis=-1)
            weights = _WEIGHTS / _WEIGHTS.sum()
            mean = values @ weights
            return np.where(seen, 0.0, mean), np.sqrt(np.maximum((values - mean[:, None]) ** 2 @ weights, 0.0))

        return Contribution((), lambda p, xp: moments(p)[0], (Fresh(new.codes, lambda p, xp: moments(p)[1]),), nonlinear)

    def _locate(self, other: Table, fresh_levels: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """The state of each row (0 where it has none) and whether it has one."""
        level = self.spec.level
        codes = rows_in(other, self.table) if level == ROW else other.codes_in(level, self.values)
        seen = (codes >= 0) & (level not in fresh_levels)
        return np.maximum(codes, 0), seen

    def newcomers(self, other: Table, new: np.ndarray) -> Newcomers:
        """Rows whose state is `new`, bool array of shape (rows,), with what was measured of them."""
        readings = self.spec.read(other) if self.spec.column in other.columns else None
        codes = np.where(new, other.level(self.spec.level).codes, -1)
        return Newcomers.of(self.population, other, codes, readings, self.spec, self.unstated)
