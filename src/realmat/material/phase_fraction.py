"""A second phase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from realmat.errors import ModelError
from realmat.table.table import Column, Table
from realmat.terms.component import Component, PriorLike, Scale, hyper
from realmat.terms.effect import complete, state_term
from realmat.terms.priors import Prior
from realmat.terms.readings import check_numbers, listed, reading_columns
from realmat.terms.state import Effect, LatentState
from realmat.terms.term import Contribution, Function, Term


@dataclass(frozen=True)
class PhaseFraction(Component):
    """A mixture of a matrix (property M) and a fraction f of a second phase (property N), between the Voigt and the Reuss bound.

    ``mixture = w ((1 - f) M + f N) + (1 - w) / ((1 - f) / M + f / N)``, ``E = g(mixture) - g(M)``: what the second phase adds to the
    matrix, which the theory layer describes.

    Parameters
    ----------
    column : str
        Volume fraction f of the second phase, 0 to 1; cells may be empty.
    matrix : str or float
        Property M of the pure matrix, a column or a number, in response units.
    phase : str, float or Prior
        Property N of the pure second phase; a Prior infers it as `<name>_phase`.
    u : str or float, optional
        Standard uncertainty of f, as a fraction.
    by : str, optional
        Level or column whose groups have a population mean each.
    given : list of str, optional
        Number columns, known on every row, in which the population's mean is a line (`<name>_given`): how the piece was made tells what
        nobody measured.
        A column that is a latent state of another component may have gaps; it counts on the scale on which it acts there
        (`<name>_given_<column>`).
    mixing : Prior or float, optional
        w: 1 is the Voigt bound (equal strain), 0 the Reuss bound (equal stress), 0.5 Hill's mean; default Uniform(0, 1).
    name : str, optional

    Notes
    -----
    Voigt, Ann. Phys. 274, 573 (1889); Reuss, Z. Angew. Math. Mech. 9, 49 (1929); Hill, Proc. Phys. Soc. A 65, 349 (1952). Exactly known
    fractions keep the model Gaussian given w and N. A latent fraction (normal, cut at 0 and 1) is linear only at the Voigt bound, with
    an identity link and numbers for `matrix` and `phase`; else only `nuts` runs. Variables: `<name>_mixing`, `<name>_phase`; latent:
    `<name>` (every specimen's fraction), `<name>_mean`, `<name>_sd`.

    Examples
    --------
    >>> import realmat as rm
    >>> PhaseFraction("f_martensite", matrix=300.0, phase=rm.Prior("Normal", mu=1500, sigma=300, lower=0)).label
    'phase_fraction_f_martensite'
    """

    layer: ClassVar[str] = "material"
    about: ClassVar[tuple[str, ...]] = ("column",)
    column: str
    matrix: str | float
    phase: str | PriorLike
    u: str | float | None = None
    by: str | None = None
    mixing: PriorLike = None
    given: tuple[str, ...] = ()
    name: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "given", listed(self.given))
        check_numbers(self.label, self.u)
        for argument in ("matrix", "phase"):
            value = getattr(self, argument)
            if not isinstance(value, (str, Prior)) and not (isinstance(value, (int, float)) and np.isfinite(value) and value > 0):
                raise ModelError(f"{self.label}: {argument}={value!r} must be a column or a positive property.")
        if isinstance(self.matrix, Prior):
            raise ModelError(f"{self.label}: matrix= takes a column or a number; what is unknown of the matrix belongs to theory=.")
        if isinstance(self.phase, Prior) and self.phase.support[0] < 0:
            raise ModelError(f"{self.label}: the property of the phase is positive; cut its prior with lower=0.")
        mixing = self.prior("mixing", 1.0)
        low, high = mixing.support if isinstance(mixing, Prior) else (mixing, mixing)
        if low < 0 or high > 1:
            raise ModelError(f"{self.label}: mixing= lies between 0 (Reuss) and 1 (Voigt), such as Prior('Beta', alpha=2, beta=2).")

    def needs(self) -> list[Column]:
        """The fraction, its u, the population's groups, and the properties of the pure phases."""
        own = reading_columns(self.column, "phase fraction", self.u, None, self.by, "1", lower=0.0, upper=1.0, given=self.given)
        pure = [value for value in (self.matrix, self.phase) if isinstance(value, str)]
        return own + [Column(value, "property of a pure phase", lower=0.0, open_lower=True) for value in pure]

    def default_priors(self) -> dict[str, str]:
        """Defaults in words."""
        return {"mixing": "Uniform(0, 1)"}

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term with `<name>_mixing`, and the latent fractions where they are not known exactly."""
        mixing_params, mixing = hyper(f"{self.label}_mixing", self.prior("mixing", Prior("Uniform", lower=0.0, upper=1.0)))
        phase = 0.0 if isinstance(self.phase, str) else self.prior("phase", 0.0)
        phase_params, pure = hyper(f"{self.label}_phase", phase)
        params = (*mixing_params, *phase_params)
        make = self._effect(mixing, pure)
        spec = self._state(table.piece, table.link)
        if not spec.needed(spec.read(table)):

            def contribute(other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
                fraction, effect = complete(other, spec), make(other)
                return Contribution(offset=lambda p, xp: effect(fraction, p, xp))

            return Term(self.label, "material", params, (), contribute)
        state = spec.bind(table, scale)
        if not spec.curved:
            return state_term(
                self,
                state,
                params,
                lambda other, fresh=(): state.on(other, fresh, lambda p, xp: pure(p, xp) - self.matrix),
            )
        return state_term(self, state, params, lambda other, fresh=(): state.curved_on(other, fresh, make(other)))

    def states(self, piece: str, link: str) -> tuple[LatentState, ...]:
        """The fraction."""
        return (self._state(piece, link),)

    def _state(self, piece: str, link: str) -> LatentState:
        linear = self.mixing == 1 and link == "identity" and not isinstance(self.matrix, str) and not isinstance(self.phase, str)
        return LatentState(self.label, self.column, self.u, None, self.by, level=piece, curved=not linear, given=self.given)

    def _effect(self, mixing: Function, pure: Function) -> Callable[[Table], Effect]:
        def on(table: Table) -> Effect:
            matrix = table.numeric(self.matrix) if isinstance(self.matrix, str) else float(self.matrix)

            def effect(f: Any, p: Any, xp: Any) -> Any:
                second = table.numeric(self.phase) if isinstance(self.phase, str) else pure(p, xp)
                mixture = bounded(xp.clip(f, 0.0, 1.0), matrix, second, mixing(p, xp))
                return xp.log(mixture / matrix) if table.link == "log" else mixture - matrix

            return effect

        return on


def bounded(f: Any, matrix: Any, phase: Any, weight: Any) -> Any:
    """Property of a mixture: `weight` times the Voigt bound plus the rest times the Reuss bound.

    Examples
    --------
    >>> bounded(0.5, 1.0, 3.0, 1.0), bounded(0.5, 1.0, 3.0, 0.0)
    (2.0, 1.5)
    """
    voigt = (1 - f) * matrix + f * phase
    reuss = 1 / ((1 - f) / matrix + f / phase)
    return weight * voigt + (1 - weight) * reuss
