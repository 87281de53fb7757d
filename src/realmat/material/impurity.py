"""One impurity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from realmat.errors import ModelError
from realmat.table.table import Column, Table
from realmat.terms.component import Component, PriorLike, Scale
from realmat.terms.effect import remoteness, slope_term
from realmat.terms.readings import LOG, Transform, check_numbers, listed, power, reading_columns
from realmat.terms.slopes import check_slopes, slope_columns
from realmat.terms.state import LatentState
from realmat.terms.term import Term


@dataclass(frozen=True)
class Impurity(Component):
    """``E = slope * c^power``, or ``slope * log(c)``: the effect of an impurity's content c.

    Linear for dilute scattering and lattice expansion (Matthiessen's rule: Matthiessen & Vogt, Ann. Phys. 198, 19 (1864); Vegard,
    Z. Phys. 5, 17 (1921)); ``power=0.5`` for strengthening by strong obstacles (Fleischer, Acta Metall. 11, 203 (1963)); ``power=2/3`` by
    weak ones (Labusch, Phys. Status Solidi 41, 659 (1970)); ``log=True`` for carriers and potentials (Nernst). Positive: the response rises
    with the impurity.

    Parameters
    ----------
    column : str
        Content; cells may be empty (the normal case) or hold limits such as ``"<20"``.
    u, below, by
        As in `Effect`: standard uncertainty, detection limit, groups of the population.
    given : list of str, optional
        Number columns, known on every row, in which the population's mean is a line (`<name>_given`): how the piece was made tells what
        nobody measured.
        A column that is a latent state of another component may have gaps; it counts on the scale on which it acts there
        (`<name>_given_<column>`).
    power : float
        Exponent; the population of c^power is normal.
    log : bool
        Effect of log(c), with a log-normal population.
    slope : Prior or float, optional
        In response unit per unit^power; default Normal(0, 2.5 sd(response) / sd(c^power)).
    slope_by : str, optional
        Level or column whose values have a slope each, ``slope_l ~ N(slope_mean, slope_scale^2)``; `slope` is then the prior of the mean.
    slope_scale : Prior or float, optional
        Spread of those slopes; default HalfNormal(sd(response) / sd(c^power)).
    unit : str
        The unit of the content in which the slope is read; a column declared in another unit of the same kind is converted.
    name : str, optional

    Notes
    -----
    Variables: `<name>_slope`; latent: `<name>` (every specimen's content), `<name>_mean` and `<name>_sd` (of c^power or log c).

    Examples
    --------
    >>> Impurity("O_wppm", below=5.0).label
    'impurity_O_wppm'
    """

    layer: ClassVar[str] = "material"
    about: ClassVar[tuple[str, ...]] = ("column",)
    column: str
    u: str | float | None = None
    below: str | float | None = None
    by: str | None = None
    power: float = 1.0
    log: bool = False
    slope: PriorLike = None
    slope_by: str | None = None
    slope_scale: PriorLike = None
    unit: str = "wppm"
    given: tuple[str, ...] = ()
    name: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "given", listed(self.given))
        check_numbers(self.label, self.u, self.below, 0.0)
        if not self.power > 0:
            raise ModelError(f"{self.label}: power={self.power!r} must be positive.")
        if self.log and self.power != 1:
            raise ModelError(f"{self.label}: log=True and power={self.power:g} exclude each other.")
        check_slopes(self)

    def needs(self) -> list[Column]:
        """The content, its u, its detection limit, and the population's groups."""
        own = reading_columns(
            self.column, "impurity content", self.u, self.below, self.by, self.unit, lower=0.0, open_lower=self.log, given=self.given
        )
        return own + slope_columns(self.slope_by)

    def default_priors(self) -> dict[str, str]:
        """Defaults in words."""
        return {"slope": "Normal(0, 2.5 sd(response) / sd(content))"}

    def remoteness(self, table: Table) -> float:
        """Distance of the content from zero in standard deviations."""
        return remoteness(table, self._state(table.piece))

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term with `<name>_slope`, and the latent contents where they are not known exactly."""
        return slope_term(self, table, scale, self._state(table.piece))

    def states(self, piece: str, link: str) -> tuple[LatentState, ...]:
        """The content."""
        return (self._state(piece),)

    def _state(self, piece: str) -> LatentState:
        transform = content(self.power, self.log)
        return LatentState(self.label, self.column, self.u, self.below, self.by, transform, piece, self.unit, given=self.given)


def content(exponent: float, log: bool) -> Transform:
    """The scale on which a content acts."""
    return LOG if log else power(exponent)
