"""Theory that is one number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from realmat.table.table import Table
from realmat.terms.component import Component, PriorLike, Scale, linear, typical
from realmat.terms.priors import Prior
from realmat.terms.term import Contribution, Term


@dataclass(frozen=True)
class Constant(Component):
    """``T = constant``: the same value for every material (on the scale of the link).

    Parameters
    ----------
    value : Prior or float, optional
        Default: a weak normal around the mean response. A number fixes it.
    name : str, optional

    Examples
    --------
    >>> Constant().label
    'constant'
    """

    layer: ClassVar[str] = "theory"
    value: PriorLike = None
    name: str | None = None

    def __post_init__(self) -> None:
        self.prior("value", 0.0)

    def default_priors(self) -> dict[str, str]:
        """Defaults in words."""
        return {"value": "Normal(mean(response), 2.5 sd(response))"}

    def stands_for(self, table: Table) -> float | None:
        """Its own prior, where it was given one."""
        return None if self.value is None else typical(self.prior("value", 0.0))

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term with the single coefficient `constant`."""
        centre, width = scale.intercept(self.label)
        value = linear(self.label, self.prior("value", Prior("Normal", mu=centre, sigma=width)))
        return Term(
            self.label,
            "theory",
            value.params,
            value.coefficients,
            lambda other, fresh_levels=(): Contribution(*value.on(np.ones(len(other)))),
        )
