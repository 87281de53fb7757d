"""The plain effect of a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from realmat.table.table import Column, Table
from realmat.terms.component import Component, PriorLike, Scale
from realmat.terms.effect import remoteness, slope_term
from realmat.terms.readings import IDENTITY, LOG, check_numbers, listed, reading_columns
from realmat.terms.slopes import check_slopes, slope_columns
from realmat.terms.state import LatentState
from realmat.terms.term import Term


@dataclass(frozen=True)
class Effect(Component):
    """``E = slope * x``: a straight-line effect of a column, or of its logarithm.

    Where the column has a value everywhere and no u, the slope is a coefficient. Where it has gaps, detection limits or u, x is a latent
    state of the specimen, ``x_s ~ N(mean, sd^2)``, informed by whatever was measured; no row is dropped.

    Parameters
    ----------
    column : str
        Its cells may be empty, or hold limits such as ``"<20"``.
    u : str or float, optional
        Standard uncertainty of the column's values, a column or a number (in the column's unit). Empty or zero: not stated; those
        values share an inferred `<name>_unstated_scale`.
    below : str or float, optional
        Detection limit: a column (it counts where `column` is empty or lies under it), or a number (values under it are censored). A
        limit without u has u = limit / 3.29.
    by : str, optional
        Level or column whose groups have a population mean each, such as the processing route.
    given : list of str, optional
        Number columns, known on every row, in which the population's mean is a line (`<name>_given`): how the piece was made tells what
        nobody measured.
        A column that is a latent state of another component may have gaps; it counts on the scale on which it acts there
        (`<name>_given_<column>`).
    log : bool
        Effect of ``log(x)``, with a log-normal population.
    slope : Prior or float, optional
        Per unit of the (log) column; default Normal(0, 2.5 sd(response) / sd(column)).
    slope_by : str, optional
        Level or column whose values have a slope each, ``slope_l ~ N(slope_mean, slope_scale^2)``; `slope` is then the prior of the mean.
    slope_scale : Prior or float, optional
        Spread of those slopes; default HalfNormal(sd(response) / sd(column)).
    level : str, optional
        Whose property it is: the specimen (the default; the single row where the model has no specimens), ``"row"``, or a column.
    name : str, optional

    Notes
    -----
    Variables: `<name>_slope`; latent: `<name>` (every state, in the column's unit), `<name>_mean`, `<name>_sd`. Structural
    errors-in-variables: Carroll et al., Measurement Error in Nonlinear Models, 2nd ed., 2006, section 8.2. Detection limits: Currie,
    Pure Appl. Chem. 67, 1699 (1995). Default slope after Gelman et al., Ann. Appl. Stat. 2, 1360 (2008), on standardised scales.

    Examples
    --------
    >>> Effect("strain_rate", log=True).label
    'effect_strain_rate'
    """

    layer: ClassVar[str] = "material"
    about: ClassVar[tuple[str, ...]] = ("column",)
    spoken: ClassVar[str] = "{about}"
    column: str
    u: str | float | None = None
    below: str | float | None = None
    by: str | None = None
    log: bool = False
    slope: PriorLike = None
    slope_by: str | None = None
    slope_scale: PriorLike = None
    level: str | None = None
    given: tuple[str, ...] = ()
    name: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "given", listed(self.given))
        check_numbers(self.label, self.u, self.below, 0.0 if self.log else None)
        check_slopes(self)

    def needs(self) -> list[Column]:
        """The column, its u, its detection limit, and the population's groups."""
        lower = 0.0 if self.log else None
        own = reading_columns(self.column, "effect", self.u, self.below, self.by, lower=lower, open_lower=self.log, given=self.given)
        own += slope_columns(self.slope_by)
        return own + ([Column(self.level, "level of the state", kind="label")] if self.level not in (None, "row") else [])

    def default_priors(self) -> dict[str, str]:
        """Defaults in words."""
        return {"slope": "Normal(0, 2.5 sd(response) / sd(column))"}

    def remoteness(self, table: Table) -> float:
        """Distance of the column from zero in standard deviations."""
        return remoteness(table, self._state(table.piece))

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term with `<name>_slope`, and the latent states where the column is not known exactly."""
        return slope_term(self, table, scale, self._state(table.piece))

    def states(self, piece: str, link: str) -> tuple[LatentState, ...]:
        """Of the column."""
        return (self._state(piece),)

    def _state(self, piece: str) -> LatentState:
        transform = LOG if self.log else IDENTITY
        return LatentState(self.label, self.column, self.u, self.below, self.by, transform, self.level or piece, given=self.given)
