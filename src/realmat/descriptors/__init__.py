"""Columns for a model: descriptors of ideal materials, from pymatgen, and of molecules.

Uses `errors` alone, of realmat.
"""

from __future__ import annotations

import pandas as pd

from realmat.descriptors.compositional import COMPOSITION, composition
from realmat.descriptors.molecular import atom_counts
from realmat.descriptors.structural import STRUCTURE, structure

__all__ = ["atom_counts", "composition", "list", "structure"]


def list() -> pd.DataFrame:
    """Show the descriptors there are.

    Returns
    -------
    DataFrame
        One row a descriptor: ``name``, ``of`` ("composition" or "structure"), ``unit``, ``formula``, ``source``.

    Examples
    --------
    >>> import realmat as rm
    >>> table = rm.descriptors.list().set_index("name")
    >>> table.loc["mixing_entropy", ["unit", "formula"]].to_list()
    ['J/mol/K', "-R sum c_i ln c_i, the ideal solution's"]
    """
    kinds = {"composition": COMPOSITION, "structure": STRUCTURE}
    rows = [(d.name, of, d.unit, d.formula, d.source) for of, known in kinds.items() for d in known.values()]
    return pd.DataFrame(rows, columns=["name", "of", "unit", "formula", "source"])
