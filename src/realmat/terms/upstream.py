"""States that depend on other states of the same model: ``z ~ N(mean + sum_k beta_k (w_k - middle_k), sd^2)``, w_k another latent state.

Each w counts on the scale on which it acts on the response, such as d^-1/2 of a grain size. The slopes beta multiply what is inferred, so
they are hyperparameters; given them all states are one Gaussian. (Structural equations without circles, that is recursive ones: Bollen,
Structural Equations with Latent Variables, 1989, chapter 4.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from realmat.errors import ModelError
from realmat.support.checks import listed
from realmat.table.table import ROW, Table
from realmat.terms.component import Component, Scale, hyper, indicator, join
from realmat.terms.priors import Prior
from realmat.terms.readings import IDENTITY, Transform
from realmat.terms.term import Function, Param, Piece, Scaled, stored_name

if TYPE_CHECKING:
    from realmat.terms.state import LatentState


def states_of(components: Sequence[Component], levels: Mapping[str, str], link: str) -> dict[str, LatentState]:
    """The latent states that components may have, by column; the first of several of one column."""
    out: dict[str, LatentState] = {}
    for state in _every(components, levels, link):
        out.setdefault(state.column, state)
    return out


def _every(components: Sequence[Component], levels: Mapping[str, str], link: str) -> list[LatentState]:
    piece = "specimen" if "specimen" in levels else ROW
    return [state for component in components for state in component.states(piece, link)]


def wrong_dependences(components: Sequence[Component], levels: Mapping[str, str], link: str) -> Iterator[str]:
    """Why states cannot depend on each other as they say."""
    every = _every(components, levels, link)
    states = states_of(components, levels, link)
    for column in sorted({c for state in every for c in state.given if c in states}):
        several = [state.name for state in every if state.column == column]
        if len(several) > 1:
            yield f"given={column!r} names a state of {listed(several)}; which of them is meant cannot be told. Leave one out."
    pending = dict(states)
    while pending:  # what depends on nothing that is left goes first
        ready = [c for c, state in pending.items() if not any(other in pending for other in state.given)]
        if not ready:
            break
        for c in ready:
            del pending[c]
    circle = _circle(pending)
    if circle:
        told = "; ".join(f"{pending[c].name} is given {then}" for c, then in zip(circle, [*circle[1:], circle[0]], strict=True))
        yield f"states depend on each other in a circle: {told}. Leave one of these given= out, or let a third column tell of them."


def _circle(pending: Mapping[str, LatentState]) -> list[str]:
    """Columns of states that depend on each other, each on the next and the last on the first."""
    path: list[str] = []
    column = next(iter(pending), "")
    while column and column not in path:
        path.append(column)
        column = next(c for c in pending[column].given if c in pending)
    return path[path.index(column) :] if path else []


def kin_of(spec: LatentState, states: Mapping[str, LatentState], table: Table) -> tuple[LatentState, ...]:
    """The latent states that depend on one or on which it depends, directly or not, itself among them; those that tell come first."""
    latent = {c: s for c, s in states.items() if s.needed(s.read(table))}
    if spec.column not in latent or latent[spec.column].name != spec.name:
        return (spec,)
    kin = {spec.column}
    while True:
        up = {c for column in kin for c in latent[column].given if c in latent}
        down = {c for c, state in latent.items() if kin & set(state.given)}
        if up | down <= kin:
            break
        kin |= up | down
    out: list[LatentState] = []
    pending = [c for c in latent if c in kin]
    while pending:
        ready = [c for c in pending if not any(other in pending for other in latent[c].given)]
        out += [latent[c] for c in ready]
        pending = [c for c in pending if c not in ready]
    return tuple(out)


@dataclass(frozen=True)
class Upstream:
    """A latent state that another depends on, with the slope of that dependence.

    Attributes
    ----------
    name : str
        Its block of coefficients.
    place : int array of shape (states,)
        Of each dependent state, its position among those to be inferred; -1 for a known one.
    away : array of shape (states,)
        What is known of it, from `middle`: its value where that is known exactly, else zero.
    size : int
    slope : Function
    param : Param
    middle : float
    """

    name: str
    place: np.ndarray
    away: np.ndarray
    size: int
    slope: Function
    param: Param
    middle: float

    @classmethod
    def of(cls, spec: LatentState, other: LatentState, table: Table, scale: Scale) -> Upstream:
        """`spec` as it depends on `other`, on a whole table.

        Raises
        ------
        realmat.ModelError
            If they belong to different levels, or one acts in a way that is not linear.
        """
        if table.column_of(spec.level) != table.column_of(other.level):
            raise ModelError(
                f"{spec.name}: given={other.column!r} is a state of each {other.level}, and {spec.column!r} one of each {spec.level}. "
                "States depend on states of the same level."
            )
        bent = [state.name for state in (spec, other) if state.curved]
        if bent:
            raise ModelError(
                f"{spec.name}: given={other.column!r} is a latent state, which works where states act linearly; {listed(bent)} does not. "
                "Give a number for what is inferred of its effect (exponent=, mixing=), or leave given= out."
            )
        bound = other.bind(table, scale)
        own, told = (s.spread(s.read(table)) for s in (spec, other))
        name = f"{spec.name}_given_{stored_name(other.column)}"
        params, slope = hyper(name, Prior("Normal", mu=0.0, sigma=2.5 * own / told))
        middle = float(np.mean(bound.readings.value[bound.readings.present]))
        known = np.isfinite(bound.known)
        away = np.where(known, np.where(known, bound.known, 0.0) - middle, -middle)
        return cls(other.name, bound.place, away, len(bound.inferred), slope, params[0], middle)


@dataclass(frozen=True)
class Given:
    """What the mean of a population is a line in.

    Attributes
    ----------
    columns : mapping of str to Transform
        Columns known everywhere, and to which scale.
    states : tuple of Upstream
    """

    columns: Mapping[str, Transform]
    states: tuple[Upstream, ...]

    @classmethod
    def of(cls, spec: LatentState, table: Table, scale: Scale | None) -> Given:
        """What a state is given, on a whole table."""
        columns: dict[str, Transform] = {}
        found: list[Upstream] = []
        for column in spec.given:
            other = None if scale is None else scale.states.get(column)
            if scale is not None and other is not None and other.needed(other.read(table)):
                found.append(Upstream.of(spec, other, table, scale))
            else:
                columns[column] = IDENTITY if other is None else other.transform
        return cls(columns, tuple(found))

    @property
    def params(self) -> tuple[Param, ...]:
        """The slopes."""
        return tuple(up.param for up in self.states)

    def pieces(self, states: np.ndarray) -> tuple[Piece, ...]:
        """What inferred states tell of the means of some states."""
        return tuple(Piece(up.name, indicator(up.place[states], up.size), up.slope) for up in self.states if up.size)

    def offset(self, states: np.ndarray) -> Function | None:
        """What known states tell of them, and what the middles add."""
        return join(*(Scaled(up.slope, up.away[states]) for up in self.states))
