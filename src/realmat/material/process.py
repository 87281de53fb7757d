"""Processing route, crystallinity, and other categories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from realmat.material.unresolved import Unresolved
from realmat.table.table import Column, Table
from realmat.terms.component import Component, PriorLike, Scale
from realmat.terms.term import Term


@dataclass(frozen=True)
class Process(Component):
    """``E_g ~ N(0, scale^2)``: an effect of each category: processing route, crystallinity, product form.

    Parameters
    ----------
    column : str
        The category of each row.
    scale : Prior or float, optional
        Standard deviation between categories; default a half normal of the size of what theory leaves. A large number (such as
        10 sd(response)) makes the effects practically unpooled.
    name : str, optional

    Notes
    -----
    Partial pooling: categories with few measurements lean on the others (Gelman & Hill, Data Analysis Using Regression and
    Multilevel/Hierarchical Models, 2007, chapter 12). Variables: `<name>` (dim: the column), `<name>_scale`.

    Examples
    --------
    >>> Process("route").label
    'process_route'
    """

    layer: ClassVar[str] = "material"
    about: ClassVar[tuple[str, ...]] = ("column",)
    spoken: ClassVar[str] = "{about}"
    column: str
    scale: PriorLike = None
    name: str | None = None

    def __post_init__(self) -> None:
        self.prior("scale", 0.0)

    def needs(self) -> list[Column]:
        """The category."""
        return [Column(self.column, "process", kind="label")]

    @property
    def picture(self) -> str:
        """A point for each group."""
        return "level"

    def default_priors(self) -> dict[str, str]:
        """Defaults in words."""
        return {"scale": "HalfNormal(sd of what theory leaves)"}

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term with coefficients `<name>` (one per category) and `<name>_scale`."""
        return Unresolved(by=self.column, scale=self.scale, name=self.label).bind(table, scale)
