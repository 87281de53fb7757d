"""The solvent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from realmat.errors import ModelError
from realmat.material.unresolved import Unresolved
from realmat.table.table import Column, Table
from realmat.terms.component import Component, PriorLike, Scale
from realmat.terms.effect import joined, remoteness, slope_term
from realmat.terms.readings import IDENTITY, Transform, check_numbers, listed, reading_columns
from realmat.terms.slopes import check_slopes, slope_columns
from realmat.terms.state import LatentState
from realmat.terms.term import Term

FORMS = {
    "linear": IDENTITY,
    "born": Transform(lambda x: 1 - 1 / x, lambda x: 1 / x**2, lambda z: 1 / (1 - z)),
    "onsager": Transform(lambda x: 2 * (x - 1) / (2 * x + 1), lambda x: 6 / (2 * x + 1) ** 2, lambda z: (2 + z) / (2 - 2 * z)),
}


@dataclass(frozen=True)
class Solvent(Component):
    """``E_j = slope * f(x_j) + v_j``, ``v_j ~ N(0, scale^2)``: an effect of each solvent, partly explained by its polarity.

    Parameters
    ----------
    column : str
        The solvent of each row.
    explained_by : str, optional
        Column with the solvent's dielectric constant or any polarity; empty for solvents where it is not known.
    form : {"linear", "born", "onsager"}
        f: the column itself; ``1 - 1/eps`` (Born, Z. Phys. 1, 45 (1920): a charge); ``2 (eps - 1) / (2 eps + 1)`` (Onsager,
        J. Am. Chem. Soc. 58, 1486 (1936): a dipole). Both are 0 in vacuum and 1 in a conductor.
    u : str or float, optional
        Standard uncertainty of `explained_by`.
    given : list of str, optional
        Number columns, known on every row, in which the mean of the polarities' population is a line (`<name>_<explained_by>_given`).
        A column that is a latent state of another component may have gaps; it counts on the scale on which it acts there
        (`<name>_<explained_by>_given_<other>`).
    scale : Prior or float, optional
        Standard deviation of what the polarity does not explain; default a half normal of the size of what theory leaves.
    slope : Prior or float, optional
        Per unit of f; default Normal(0, 2.5 sd(response) / sd(f)).
    slope_by : str, optional
        Level or column whose values have a slope each, ``slope_l ~ N(slope_mean, slope_scale^2)``; `slope` is then the prior of the mean.
    slope_scale : Prior or float, optional
        Spread of those slopes; default HalfNormal(sd(response) / sd(f)).
    nu : Prior, float or bool, optional
        Degrees of freedom of a Student t for v instead of a normal (``True``: inferred).
    name : str, optional

    Notes
    -----
    A varying intercept with a group-level predictor (Gelman & Hill 2007, section 12.6). A solvent the fit has not seen gets the line and
    a fresh v. Variables: `<name>` (v by solvent), `<name>_scale`, `<name>_slope`; where polarities are missing or have u:
    `<name>_<explained_by>` (every solvent's polarity), with `_mean` and `_sd`.

    Examples
    --------
    >>> Solvent("solvent", explained_by="dielectric", form="onsager").label
    'solvent_solvent'
    """

    layer: ClassVar[str] = "material"
    about: ClassVar[tuple[str, ...]] = ("column",)
    column: str
    explained_by: str | None = None
    form: str = "linear"
    u: str | float | None = None
    scale: PriorLike = None
    slope: PriorLike = None
    slope_by: str | None = None
    slope_scale: PriorLike = None
    nu: PriorLike | bool = None
    given: tuple[str, ...] = ()
    name: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "given", listed(self.given))
        check_numbers(self.label, self.u)
        if self.form not in FORMS:
            raise ModelError(f"{self.label}: form={self.form!r} must be one of {', '.join(FORMS)}.")
        if self.explained_by is None and (
            self.form != "linear" or self.u is not None or self.slope is not None or self.slope_by is not None
        ):
            raise ModelError(f"{self.label}: form=, u=, slope= and slope_by= need explained_by=, a column with the solvent's polarity.")
        self.prior("scale", 0.0)
        check_slopes(self)

    def needs(self) -> list[Column]:
        """The solvent, and its polarity."""
        own = [Column(self.column, "solvent", kind="label")]
        if self.explained_by is None:
            return own
        lower = None if self.form == "linear" else 1.0
        own += slope_columns(self.slope_by)
        return own + reading_columns(
            self.explained_by, "polarity of the solvent", self.u, unit="" if lower is None else "1", lower=lower, given=self.given
        )

    @property
    def picture(self) -> str:
        """A curve over the polarity, or a point for each solvent."""
        return "curve" if self.explained_by else "level"

    def default_priors(self) -> dict[str, str]:
        """Defaults in words."""
        slope = {"slope": "Normal(0, 2.5 sd(response) / sd(f))"} if self.explained_by else {}
        return {"scale": "HalfNormal(sd of what theory leaves)", **slope}

    def remoteness(self, table: Table) -> float:
        """Distance of f from zero in standard deviations."""
        return remoteness(table, self._state()) if self.explained_by else 0.0

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term with coefficients `<name>`, and the line in the polarity."""
        own = Unresolved(by=self.column, scale=self.scale, nu=self.nu, name=self.label).bind(table, scale)
        return joined(self, own, slope_term(self, table, scale, self._state())) if self.explained_by else own

    def states(self, piece: str, link: str) -> tuple[LatentState, ...]:
        """The polarity."""
        return (self._state(),) if self.explained_by else ()

    def _state(self) -> LatentState:
        return LatentState(
            f"{self.label}_{self.explained_by}",
            str(self.explained_by),
            self.u,
            transform=FORMS[self.form],
            level=self.column,
            given=self.given,
        )
