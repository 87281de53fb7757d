"""Hydration free energies of small molecules: experiment against the GAFF force field (FreeSolv)."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from realmat.datasets.dataset import DataSet
from realmat.datasets.fetch import fetch
from realmat.descriptors import atom_counts

_SOURCE = "freesolv"
_DEFAULTS = (0.60, 0.10)
_COLUMNS = ("molecule", "smiles", "name", "hydration_free_energy", "u_table", "gaff", "gaff_u", "reference", "calculation", "notes")


def read() -> pd.DataFrame:
    """Build the table of FreeSolv, one row a molecule.

    Returns
    -------
    DataFrame
        ``molecule`` (identifier), ``smiles``, ``name``; ``hydration_free_energy`` (measured), ``u_stated``, ``u_table``, ``gaff``
        (calculated) and ``gaff_u`` (its statistical uncertainty) in kcal/mol; ``reference`` (where the measurement was taken
        from); one column of 0 and 1 for each functional group, ``group_<name>``; ``atoms_<El>``, ``atoms_aromatic_<El>`` and ``rings``
        (see `realmat.descriptors.atom_counts`).

    Notes
    -----
    The table's uncertainties are partly an assumption: 459 of 642 are 0.60 and 51 are 0.10, defaults that its authors assigned
    where none was available. ``u_table`` is what the table says; ``u_stated`` is NaN at the defaults. The notes alone do not tell
    defaults: they say "assigned a default value" on 482 of these 510 rows (the rest had that note replaced when the molecule was
    renamed), but also on 101 others whose uncertainty was stated later.
    """
    lines = fetch(_SOURCE, "database.txt").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split(";")] for line in lines if line.strip() and not line.startswith("#")]
    table = pd.DataFrame(cells, columns=_COLUMNS)
    numbers = ["hydration_free_energy", "u_table", "gaff", "gaff_u"]
    table[numbers] = table[numbers].astype(float)
    table["u_stated"] = table["u_table"].mask(np.isin(table["u_table"], _DEFAULTS))
    facts = table[["molecule", "smiles", "name", "hydration_free_energy", "u_stated", "u_table", "gaff", "gaff_u", "reference"]]
    return pd.concat([facts, _groups(table["molecule"]), atom_counts(table["smiles"])], axis=1)


def _groups(molecules: pd.Series) -> pd.DataFrame:
    """Columns of 0 and 1, in the order of `molecules`, the most frequent group first."""
    lines = fetch(_SOURCE, "groups.txt").read_text(encoding="utf-8").splitlines()[1:]
    cells = ([cell.strip() for cell in line.split(";")] for line in lines)
    groups = {molecule: {_clean(name) for name in names if name} for molecule, _, *names in cells}
    long = pd.Series([sorted(groups[molecule]) for molecule in molecules]).explode()
    table = pd.get_dummies(long, dtype=int).groupby(level=0).max()
    return table[table.sum().sort_values(ascending=False, kind="stable").index].add_prefix("group_")


def _clean(name: str) -> str:
    """``"thiol (sulfanyl)"`` -> ``"thiol"``; ``"1,2-diol"`` -> ``"1_2_diol"``."""
    without_synonym = re.sub(r" \(.*\)", "", name).replace("(", "").replace(")", "")
    return re.sub(r"[^a-z0-9]+", "_", without_synonym.lower())


DATASET = DataSet(
    name="hydration",
    about="642 molecules in water: experiment against GAFF, functional groups (FreeSolv 0.52)",
    response="hydration_free_energy",
    rows=642,
    units=dict.fromkeys(("hydration_free_energy", "u_stated", "u_table", "gaff", "gaff_u"), "kcal/mol"),
    read=read,
    sources=(_SOURCE,),
    aliases=("freesolv",),
)
