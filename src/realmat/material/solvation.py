"""Solvation by groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from realmat.errors import ModelError
from realmat.material.unresolved import tail
from realmat.table.table import Column, Table
from realmat.terms.component import Component, PriorLike, Scale, freeze
from realmat.terms.effect import pooled_term
from realmat.terms.term import Term


@dataclass(frozen=True)
class Solvation(Component):
    """``E = sum_i solvation_i n_i`` with ``solvation_i ~ N(0, scale^2)``: what each functional group adds beyond theory.

    Parameters
    ----------
    groups : list of str
        Columns with the number of each group in the molecule, or 0 and 1.
    scale : Prior or float, optional
        Standard deviation between groups; default HalfNormal(2 sd(response) / typical number of groups).
    nu : Prior, float or bool, optional
        Degrees of freedom of a Student t instead of a normal: a few groups may then differ a lot (``True``: inferred).
    name : str, optional

    Notes
    -----
    Group additivity: Benson & Buss, J. Chem. Phys. 29, 546 (1958); for hydration, Cabani et al., J. Solution Chem. 10, 563 (1981); here the
    increments are pooled, so that rare groups lean on the others. Variables: `solvation` (dim group), `solvation_scale`.

    Examples
    --------
    >>> Solvation(groups=["ester", "primary alcohol"]).label
    'solvation'
    """

    layer: ClassVar[str] = "material"
    groups: tuple[str, ...]
    scale: PriorLike = None
    nu: PriorLike | bool = None
    name: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", freeze(self.groups))
        if not self.groups or isinstance(self.groups, str):
            raise ModelError(f"{self.label}: groups= takes a list of columns.")
        self.prior("scale", 0.0)

    def needs(self) -> list[Column]:
        """One number column for each group."""
        return [Column(group, "number of groups", lower=0.0) for group in self.groups]

    @property
    def picture(self) -> str:
        """A point for each column."""
        return "columns"

    def default_priors(self) -> dict[str, str]:
        """Defaults in words."""
        return {"scale": "HalfNormal(2 sd(what theory leaves) / typical number of groups)"}

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term with coefficients `solvation` and `solvation_scale`."""
        params, nu = tail(self.label, self.nu)
        dim = "group" if self.name is None else f"{self.name}_group"
        return pooled_term(self, table, scale, self.groups, dim, params, nu)
