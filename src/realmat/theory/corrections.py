"""Corrections to theory, proportional to columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from realmat.errors import ModelError
from realmat.table.table import Column, Table
from realmat.terms.component import Component, PriorLike, Scale, freeze
from realmat.terms.effect import pooled_term
from realmat.terms.term import Term


@dataclass(frozen=True)
class Corrections(Component):
    """``T += sum_i corrections_i x_i`` with ``corrections_i ~ N(0, scale^2)``: shifts in proportion to columns, such as element fractions.

    Parameters
    ----------
    columns : list of str
        Number columns, zero where they do not apply.
    scale : Prior or float, optional
        Standard deviation between corrections; default HalfNormal(2 sd(response) / typical length of a row of columns).
    name : str, optional
        ``corrections`` by default; name the second one of a model.

    Notes
    -----
    Element-wise corrections of computed formation energies: Jain et al., Phys. Rev. B 84, 045115 (2011); Wang et al., Sci. Rep. 11, 15496
    (2021). Pooling keeps those of rare elements near zero. Columns multiplied by the theory's own value correct its slope: a slope for
    each kind (varying slopes: Gelman & Hill, 2007, chapter 13). Variables: `corrections` (dim column), `corrections_scale`.

    Examples
    --------
    >>> Corrections(["O", "S"], name="corrections_u").label
    'corrections_u'
    """

    layer: ClassVar[str] = "theory"
    columns: tuple[str, ...]
    scale: PriorLike = None
    name: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", freeze(self.columns))
        if not self.columns or isinstance(self.columns, str):
            raise ModelError(f"{self.label}: columns= takes a list of columns.")
        self.prior("scale", 0.0)

    def needs(self) -> list[Column]:
        """The columns."""
        return [Column(column, "correction") for column in self.columns]

    @property
    def picture(self) -> str:
        """A point for each column."""
        return "columns"

    def default_priors(self) -> dict[str, str]:
        """Defaults in words."""
        return {"scale": "HalfNormal(2 sd(what theory leaves) / typical length of a row of columns)"}

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term with coefficients `corrections` and `corrections_scale`."""
        dim = "column" if self.name is None else f"{self.name}_column"
        return pooled_term(self, table, scale, self.columns, dim)
