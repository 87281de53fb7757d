"""A closed-form theory bound to a table: its parameters, those that differ from piece to piece, and uncertain columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from realmat.table.table import ROW, Table
from realmat.terms.component import hyper
from realmat.terms.priors import Prior
from realmat.terms.readings import rows_in
from realmat.terms.term import Contribution, Fresh, Function, Param, Values
from realmat.terms.varied import Varied, nodes
from realmat.terms.varies import Varies

if TYPE_CHECKING:
    from realmat.theory import function


@dataclass(frozen=True)
class Curve:
    """What `realmat.theory.Function` becomes on the table of a fit.

    Attributes
    ----------
    fn : callable
    arguments : dict of str to str
        Column of each argument that is one.
    single : dict of str to Function
        Parameters that are one number.
    varied : dict of str to Varied
        Parameters that are a number for each piece.
    errors : dict of str to (name of the Param, u)
        Uncertain columns.
    """

    fn: Callable[..., Any]
    table: Table
    arguments: Mapping[str, str]
    single: Mapping[str, Function]
    varied: Mapping[str, Varied]
    errors: Mapping[str, tuple[str, str | float]]
    params: tuple[Param, ...]

    @classmethod
    def of(cls, owner: function.Function, table: Table) -> Curve:
        """Bind the parameters of a theory."""
        params: tuple[Param, ...] = ()
        single: dict[str, Function] = {}
        varied: dict[str, Varied] = {}
        errors: dict[str, tuple[str, str | float]] = {}
        for key, value in owner.params.items():
            name, unit = f"{owner.label}_{key}", owner.units.get(key, "")
            if isinstance(value, Varies):
                varied[key] = Varied.of(value, name, table, unit)
                params += varied[key].params
            else:
                made, single[key] = hyper(name, value, unit=unit)  # type: ignore[arg-type]
                params += made
        for key, u in owner.u.items():
            name = f"{owner.label}_{key}_error"
            errors[key] = (name, u)
            params += (Param(name, Prior("Normal", mu=0.0, sigma=1.0), ROW, table.level(ROW).values),)
        return cls(owner.fn, table, owner.arguments, single, varied, errors, params)

    def contribute(self, other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
        """``g(fn(...))`` on the rows of a table; where pieces are new the mean over what they may be, and a fresh departure from it."""
        columns = {key: other.numeric(column) for key, column in self.arguments.items()}
        placed = {key: v.place(other, fresh_levels) for key, v in self.varied.items()}
        rows = rows_in(other, self.table) if self.errors else np.zeros(len(other), dtype=int)
        new = {key: codes < 0 for key, (codes, _) in placed.items() if (codes < 0).any()}

        def value(p: Values, xp: Any, anew: Mapping[str, float], shifted: Mapping[str, float]) -> Any:
            given: dict[str, Any] = dict(columns)
            for key, (name, u) in self.errors.items():
                size = other.numeric(u) if isinstance(u, str) else np.full(len(other), float(u))
                size = size if key in shifted else np.where(rows >= 0, size, 0.0)  # a grid may state none
                own = xp.where(rows >= 0, _rows_last(p[name][np.maximum(rows, 0)]), 0.0)
                given[key] = columns[key] + size * (own + np.where(rows < 0, shifted.get(key, 0.0), 0.0))
            for key, (codes, _) in placed.items():
                seen = _rows_last(p[self.varied[key].name][np.maximum(codes, 0)])
                given[key] = xp.where(codes >= 0, seen, anew[key]) if key in new else seen
            with np.errstate(all="ignore"):  # far out in its priors a law may overflow, or have no value: no probability is there
                try:
                    made = self.fn(**given, **{key: of(p, xp) for key, of in self.single.items()})
                except ArithmeticError:  # as Python's own numbers say it
                    made = np.nan
                made = xp.log(made) - xp.log1p(-made) if other.link == "logit" else xp.log(made) if other.link == "log" else made
            return made + np.zeros(len(other))

        fresh = [self._inputs(key, rows, value) for key in self.errors if (rows < 0).any()]
        if not new:
            errors = tuple((name, rows) for name, _ in self.errors.values())
            return Contribution(offset=lambda p, xp: value(p, xp, {}, {}), fresh=tuple(fresh), errors=errors)
        spread = _Spread({key: self.varied[key] for key in new}, lambda p, anew: value(p, np, anew, {}))
        fresh += [Fresh(placed[key][1], spread.of(key)) for key in new]
        return Contribution(offset=lambda p, xp: spread.mean(p), fresh=tuple(fresh))

    def _inputs(self, key: str, rows: np.ndarray, value: Callable[..., Any]) -> Fresh:
        """What the error of an uncertain column does to rows that the fit has not seen, to first order."""
        groups = np.where(rows < 0, np.arange(len(rows)), -1)
        middle: Callable[[Values], dict[str, float]] = lambda p: {k: v.at(p, 0.0) for k, v in self.varied.items()}  # noqa: E731
        return Fresh(groups, lambda p, xp: 0.5 * (value(p, np, middle(p), {key: 1.0}) - value(p, np, middle(p), {key: -1.0})))


def _rows_last(x: Any) -> Any:
    """Elements of a vector by row; of many psi, which stand last, behind them: scalars are columns beside them."""
    return x.T if x.ndim == 2 else x


class _Spread:
    """Mean and standard deviation of a curve over what new pieces may be; those of the last psi are kept."""

    def __init__(self, varied: Mapping[str, Varied], value: Callable[[Values, Mapping[str, float]], np.ndarray]) -> None:
        self.varied, self.value = varied, value
        self.scores, self.weights = nodes(len(varied))
        self._last: tuple[Values, np.ndarray, dict[str, np.ndarray]] | None = None

    def _moments(self, p: Values) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Mean of each row, and for each parameter its share of the standard deviation, with the sign it acts with."""
        if self._last is not None and self._last[0] is p:
            return self._last[1], self._last[2]
        curves = np.stack(
            [self.value(p, {k: v.at(p, z) for (k, v), z in zip(self.varied.items(), score, strict=True)}) for score in self.scores]
        )
        mean = self.weights @ curves
        away = curves - mean
        slopes = {k: self.weights @ (away * self.scores[:, [j]]) for j, k in enumerate(self.varied)}
        sd = np.sqrt(self.weights @ away**2)
        linear = np.sqrt(np.maximum(sum(slope**2 for slope in slopes.values()), 1e-300))
        share = {k: slope * (sd / linear) for k, slope in slopes.items()}
        self._last = (p, mean, share)
        return mean, share

    def mean(self, p: Values) -> np.ndarray:
        """Mean of each row."""
        return self._moments(p)[0]

    def of(self, key: str) -> Function:
        """Standard deviation that one parameter makes."""
        return lambda p, xp: self._moments(p)[1][key]
