"""What is known of a data set before it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from realmat.datasets.fetch import registry


@dataclass(frozen=True)
class DataSet:
    """A table that is ready to model.

    Attributes
    ----------
    name : str
        The template of this name models its `response`.
    about : str
        One line.
    response : str
        The measured column; it has no gap unless the line says so.
    rows : int
    units : dict
        Column -> unit, for every column that is a quantity. Fractions and indicator columns that come in numbers (``x_Fe``,
        ``group_ketone``) have none.
    read : callable
        Gives the table, fetching files as needed.
    sources : tuple of str
        Keys of the registry of files.
    licence, citation : str
        Only where the data do not come from registered files.
    aliases : tuple of str
        Other names it answers to.
    """

    name: str
    about: str
    response: str
    rows: int
    units: Mapping[str, str]
    read: Callable[[], pd.DataFrame] = field(repr=False)
    sources: tuple[str, ...] = ()
    licence: str = ""
    citation: str = ""
    aliases: tuple[str, ...] = ()

    def facts(self) -> dict[str, str | int]:
        """The row of `realmat.datasets.list`."""
        entries = [registry()[source] for source in self.sources]
        return {
            "name": self.name,
            "rows": self.rows,
            "response": self.response,
            "unit": self.units[self.response],
            "about": self.about,
            "licence": self.licence or "; ".join(dict.fromkeys(entry["licence"] for entry in entries)),
            "citation": self.citation or "; ".join(dict.fromkeys(entry["citation"] for entry in entries)),
        }

    def load(self) -> pd.DataFrame:
        """The table, with units and facts in `attrs` for information."""
        table = self.read()
        table.attrs.update(self.facts(), units=dict(self.units))
        return table
