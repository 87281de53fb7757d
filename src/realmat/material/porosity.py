"""Porosity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from realmat.errors import ModelError
from realmat.table.table import Column, Table
from realmat.terms.component import Component, PriorLike, Scale
from realmat.terms.effect import remoteness, slope_term
from realmat.terms.priors import Prior
from realmat.terms.readings import Transform, check_numbers, listed, reading_columns
from realmat.terms.slopes import check_slopes, slope_columns
from realmat.terms.state import LatentState
from realmat.terms.term import Term

LAWS = {
    "exponential": (Transform(lambda x: -x, lambda x: -np.ones_like(x), lambda z: -z, falling=True), Prior("Normal", mu=4.0, sigma=4.0)),
    "power": (
        Transform(lambda x: np.log1p(-x), lambda x: 1 / (x - 1), lambda z: -np.expm1(z), falling=True),
        Prior("Normal", mu=2.0, sigma=2.0),
    ),
}


@dataclass(frozen=True)
class Porosity(Component):
    """``exp(-slope P)`` or ``(1 - P)^slope``: pores take a fraction of the dense material's property. It needs ``link="log"``.

    Parameters
    ----------
    column : str
        Pore volume over total volume, 0 to 1; cells may be empty. A column in percent is declared so: ``units={"P": "vol%"}``.
    u : str or float, optional
        Its standard uncertainty, as a fraction.
    by : str, optional
        Level or column whose groups have a population mean each.
    given : list of str, optional
        Number columns, known on every row, in which the population's mean is a line (`<name>_given`): how the piece was made tells what
        nobody measured.
        A column that is a latent state of another component may have gaps; it counts on the scale on which it acts there
        (`<name>_given_<column>`).
    law : {"exponential", "power"}
        ``exponential``: contribution ``-slope * P`` to the logarithm (Duckworth, J. Am. Ceram. Soc. 36, 68 (1953); Spriggs, ibid. 44, 628
        (1961)). ``power``: ``slope * log(1 - P)`` (Gibson & Ashby, Proc. R. Soc. A 382, 43 (1982): slope 2 for the modulus of open
        cells, 1.5 for their strength).
    slope : Prior or float, optional
        Positive: pores lower the property. Default Normal(4, 4) for the exponential law (Rice, Porosity of Ceramics, 1998: 2 to 7 for
        strength and stiffness), Normal(2, 2) for the power law.
    slope_by : str, optional
        Level or column whose values have a slope each, ``slope_l ~ N(slope_mean, slope_scale^2)``; `slope` is then the prior of the mean.
    slope_scale : Prior or float, optional
        Spread of those slopes; default HalfNormal(sd(response) / sd(column)).
    name : str, optional

    Notes
    -----
    Both laws are straight lines on the log scale, in P and in log(1 - P), whose population is normal. Variables: `<name>_slope`; latent:
    `<name>` (every specimen's porosity), `<name>_mean`, `<name>_sd` (of -P or log(1 - P)).

    Examples
    --------
    >>> Porosity("porosity", law="power").label
    'porosity_porosity'
    """

    layer: ClassVar[str] = "material"
    about: ClassVar[tuple[str, ...]] = ("column",)
    column: str
    u: str | float | None = None
    by: str | None = None
    law: str = "exponential"
    slope: PriorLike = None
    slope_by: str | None = None
    slope_scale: PriorLike = None
    given: tuple[str, ...] = ()
    name: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "given", listed(self.given))
        check_numbers(self.label, self.u)
        if self.law not in LAWS:
            raise ModelError(f"{self.label}: law={self.law!r} must be one of {', '.join(LAWS)}.")
        check_slopes(self)

    def needs(self) -> list[Column]:
        """Porosity, its u, and the population's groups."""
        own = reading_columns(self.column, "porosity", self.u, None, self.by, "1", lower=0.0, upper=1.0, given=self.given)
        return own + slope_columns(self.slope_by)

    def default_priors(self) -> dict[str, str]:
        """Defaults in words."""
        prior = LAWS[self.law][1].to_dict()
        return {"slope": f"Normal({prior['mu']:g}, {prior['sigma']:g})"}

    def remoteness(self, table: Table) -> float:
        """Distance of the porosity from zero in standard deviations."""
        return remoteness(table, self._state(table.piece))

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term with `<name>_slope`, and the latent porosities where they are not known exactly."""
        if table.link != "log":
            raise ModelError(
                f'{self.label}: pores take a fraction of the property, so the effect adds up only with Model(..., link="log").'
            )
        return slope_term(self, table, scale, self._state(table.piece), LAWS[self.law][1])

    def states(self, piece: str, link: str) -> tuple[LatentState, ...]:
        """The porosity."""
        return (self._state(piece),)

    def _state(self, piece: str) -> LatentState:
        return LatentState(self.label, self.column, self.u, None, self.by, LAWS[self.law][0], piece, given=self.given)
