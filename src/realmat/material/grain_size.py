"""Grain size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from realmat.errors import ModelError
from realmat.table.table import Column, Table
from realmat.terms.component import Component, PriorLike, Scale, hyper
from realmat.terms.effect import complete, remoteness, slope_term, state_term
from realmat.terms.priors import Prior
from realmat.terms.readings import LOG, Transform, check_numbers, listed, power, reading_columns
from realmat.terms.slopes import Slopes, check_slopes, slope_columns
from realmat.terms.state import LatentState
from realmat.terms.term import Contribution, Term


@dataclass(frozen=True)
class GrainSize(Component):
    """``E = slope * d^exponent``: the Hall-Petch effect of the grain size d, by default ``k d^-1/2``.

    Positive k: finer grains raise the response. Grain-boundary scattering or creep take other exponents.

    Parameters
    ----------
    column : str
        Grain size, um; cells may be empty (the normal case).
    u : str or float, optional
        Its standard uncertainty, um. First order on the scale of the effect: 20 % of d are 10 % of d^-1/2.
    by : str, optional
        Level or column whose groups have a population mean each, such as the processing route.
    given : list of str, optional
        Number columns, known on every row, in which the population's mean is a line (`<name>_given`): how the piece was made tells what
        nobody measured.
        A column that is a latent state of another component may have gaps; it counts on the scale on which it acts there
        (`<name>_given_<column>`).
    exponent : float or Prior
        -0.5 by default. With a Prior it is inferred; where grain sizes are missing or have u, only `nuts` then runs.
    slope : Prior or float, optional
        k, in response unit times um^-exponent (MPa um^0.5); default Normal(0, 2.5 sd(response) / sd(d^exponent)).
    slope_by : str, optional
        Level or column whose values have a slope each, ``slope_l ~ N(slope_mean, slope_scale^2)``; `slope` is then the prior of the mean.
    slope_scale : Prior or float, optional
        Spread of those slopes; default HalfNormal(sd(response) / sd(d^exponent)).
    name : str, optional

    Notes
    -----
    Hall, Proc. Phys. Soc. B 64, 747 (1951); Petch, J. Iron Steel Inst. 174, 25 (1953); for the exponent, Li, Bushby & Dunstan,
    Proc. R. Soc. A 472, 20150890 (2016). The population of d^exponent is normal (of log d where the exponent is inferred). Variables:
    `<name>_slope`, `<name>_exponent`; latent: `<name>` (every specimen's grain size, um), `<name>_mean`, `<name>_sd`.

    Examples
    --------
    >>> GrainSize("grain_um", u="grain_u", by="processing").label
    'grain_size_grain_um'
    """

    layer: ClassVar[str] = "material"
    about: ClassVar[tuple[str, ...]] = ("column",)
    column: str
    u: str | float | None = None
    by: str | None = None
    exponent: PriorLike = -0.5
    slope: PriorLike = None
    slope_by: str | None = None
    slope_scale: PriorLike = None
    given: tuple[str, ...] = ()
    name: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "given", listed(self.given))
        check_numbers(self.label, self.u)
        if self.prior("exponent", -0.5) == 0:
            raise ModelError(f"{self.label}: exponent=0 is no effect of the grain size.")
        check_slopes(self)

    def needs(self) -> list[Column]:
        """Grain size, its u, and the population's groups."""
        own = reading_columns(self.column, "grain size", self.u, None, self.by, "um", lower=0.0, open_lower=True, given=self.given)
        return own + slope_columns(self.slope_by)

    def default_priors(self) -> dict[str, str]:
        """Defaults in words."""
        return {"slope": "Normal(0, 2.5 sd(response) / sd(d^exponent))"}

    def remoteness(self, table: Table) -> float:
        """Distance of d^exponent from zero in standard deviations."""
        return remoteness(table, self._state(table.piece, power(self._typical_exponent)))

    @property
    def _typical_exponent(self) -> float:
        exponent = self.prior("exponent", -0.5)
        return float(exponent.ppf(0.5)) if isinstance(exponent, Prior) else exponent

    def states(self, piece: str, link: str) -> tuple[LatentState, ...]:
        """The grain size, as d^exponent, or as its logarithm where the exponent is inferred."""
        curved = isinstance(self.prior("exponent", -0.5), Prior)
        return (self._state(piece, LOG if curved else power(self._typical_exponent), curved),)

    def _state(self, piece: str, transform: Transform, curved: bool = False) -> LatentState:
        return LatentState(self.label, self.column, self.u, None, self.by, transform, piece, "um", curved=curved, given=self.given)

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term with `<name>_slope`, and the latent grain sizes where they are not known exactly."""
        exponent = self.prior("exponent", -0.5)
        plain = self._state(table.piece, power(self._typical_exponent))
        if not isinstance(exponent, Prior):
            return slope_term(self, table, scale, plain)
        spread = plain.spread(plain.read(table.whole))
        slope_prior = self.prior("slope", Prior("Normal", mu=0.0, sigma=2.5 * scale.response / spread))
        slopes = Slopes.of(self, table, slope_prior, scale.response / spread)
        varying = None if slopes is None else slopes.hyper()
        slope_params, slope = hyper(f"{self.label}_slope", slope_prior) if varying is None else (varying.params, varying.mean)
        exponent_params, power_of = hyper(f"{self.label}_exponent", exponent)
        params = (*slope_params, *exponent_params)

        state = self._state(table.piece, LOG, curved=True)
        readings = state.read(table)
        bound = state.bind(table, scale) if state.needed(readings) else None
        everywhere = state.read(table.whole)
        typical = float(np.mean(everywhere.value[everywhere.present]))

        def contribute(other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
            rows = slope if varying is None else varying.by_row(other, fresh_levels)

            def effect(z: Any, p: Any, xp: Any) -> Any:
                return rows(p, xp) * xp.exp(power_of(p, xp) * z)

            if bound is None:
                z = complete(other, state)
                made = Contribution(offset=lambda p, xp: effect(z, p, xp))
            else:
                z = np.nan_to_num(state.read(other).value, nan=typical) if self.column in other.columns else np.full(len(other), typical)
                made = bound.curved_on(other, fresh_levels, effect)
            if varying is None:
                return made
            return varying.spread(made, rows, other, fresh_levels, lambda p, xp: xp.exp(power_of(p, xp) * z))

        return Term(self.label, "material", params, (), contribute) if bound is None else state_term(self, bound, params, contribute)
