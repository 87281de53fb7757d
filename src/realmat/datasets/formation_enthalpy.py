"""Formation enthalpies: calorimetry against density-functional theory, from the files that ship inside pymatgen."""

from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realmat.datasets.dataset import DataSet
from realmat.datasets.formulas import atoms
from realmat.errors import FileError

_FOLDERS = ("analysis/compatibility", "entries")  # since 2026, and before


def read() -> pd.DataFrame:
    """Build the table of compounds that have both a measured and a calculated enthalpy of formation.

    Returns
    -------
    DataFrame
        One row a compound. ``formation_enthalpy`` (measured) and ``formation_enthalpy_u`` (its stated standard uncertainty, NaN
        where none is stated), ``pbe`` (PBE or PBE+U, with the elements' PBE energies as reference and no correction), all in
        eV/atom; ``plus_u`` (whether the compound was calculated with a Hubbard U), ``oxide_type``, and atom fractions:
        ``x_<El>``; ``xu_<El>``, which equal ``x_<El>`` for +U compounds and are 0 elsewhere (their elements' references were
        calculated without U); ``x_O_peroxide`` and ``x_O_superoxide``, the oxygen in an O2 group.

    Notes
    -----
    The measured compounds are 2135 and the calculated 423, elements included. 115 of the 334 common ones come without a stated
    uncertainty and 3 with zero, which means the same.
    """
    rows = []
    for measured, entry, theory in _pairs():
        counts = entry["composition"]
        total = sum(counts.values())
        per_atom = 1 / sum(atoms(measured["formula"]).values())
        plus_u = any(value > 0 for value in entry["parameters"]["hubbards"].values())
        kind = entry["data"]["oxide_type"]
        fractions = {element: count / total for element, count in counts.items()}
        rows.append(
            {
                "formula": measured["formula"],
                "formation_enthalpy": measured["exp energy"] * per_atom,
                "formation_enthalpy_u": measured["uncertainty"] * per_atom or np.nan,
                "pbe": theory,
                "plus_u": plus_u,
                "oxide_type": "not an oxide" if kind == "None" else kind,
                **{f"x_{element}": x for element, x in fractions.items()},
                **{f"xu_{element}": x for element, x in fractions.items() if plus_u},
                **{f"x_O_{name}": fractions["O"] for name in ("peroxide", "superoxide") if kind == name},
            }
        )
    table = pd.DataFrame(rows)
    facts, fractions_of = table.columns[:6], sorted(table.columns[6:], key=lambda name: (name.split("_")[0], name))
    return pd.concat([table[facts], table[fractions_of].fillna(0.0)], axis=1)


def mp2020() -> pd.Series:
    """Formation enthalpies with the Materials Project's published corrections, calculated by pymatgen's own class.

    Returns
    -------
    Series
        ``mp2020`` in eV/atom, with the index of the table. Most of these compounds were among those the corrections were fitted to.

    Notes
    -----
    Importing pymatgen's class takes some seconds.

    References
    ----------
    A. Wang et al., Scientific Reports 11, 15496 (2021), doi 10.1038/s41598-021-94550-5
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pymatgen.entries.compatibility import MaterialsProject2020Compatibility
        from pymatgen.entries.computed_entries import ComputedEntry

        scheme = MaterialsProject2020Compatibility()
        values = []
        for _, entry, theory in _pairs():
            corrected = scheme.process_entry(ComputedEntry.from_dict(entry))
            values.append(np.nan if corrected is None else theory + corrected.correction_per_atom)
    return pd.Series(values, name="mp2020")


def _pairs() -> Iterator[tuple[dict[str, Any], dict[str, Any], float]]:
    """Compounds with both values: the measurement, pymatgen's entry, and the uncorrected formation energy per atom."""
    folder = _folder()
    measured, calculated = (
        json.loads(gzip.decompress((folder / f"{name}_compounds.json.gz").read_bytes()).decode()) for name in ("exp", "calc")
    )
    reference = {}
    for entry in calculated.values():
        if len(entry["composition"]) == 1:
            ((element, count),) = entry["composition"].items()
            reference[element] = entry["energy"] / count
    for compound in measured:
        entry = calculated.get(compound["formula"])
        if entry is not None:
            counts = entry["composition"]
            elements = sum(reference[element] * count for element, count in counts.items())
            yield compound, entry, (entry["energy"] - elements) / sum(counts.values())


def _folder() -> Path:
    """Where the installed pymatgen keeps the files, found without importing it."""
    spec = find_spec("pymatgen")
    roots = list(spec.submodule_search_locations or ()) if spec else []
    for folder in (Path(root) / inner for root in roots for inner in _FOLDERS):
        if (folder / "exp_compounds.json.gz").is_file() and (folder / "calc_compounds.json.gz").is_file():
            return folder
    raise FileError(
        f"exp_compounds.json.gz and calc_compounds.json.gz are not in the installed pymatgen ({', '.join(roots) or 'none found'}; "
        f"looked in {' and '.join(_FOLDERS)}). Install pymatgen 2025.1 or later."
    )


DATASET = DataSet(
    name="formation_enthalpy",
    about="334 compounds: calorimetry against uncorrected PBE and PBE+U",
    response="formation_enthalpy",
    rows=334,
    units={"formation_enthalpy": "eV/atom", "formation_enthalpy_u": "eV/atom", "pbe": "eV/atom"},
    read=read,
    licence="MIT (pymatgen)",
    citation="Wang et al. 2021, doi 10.1038/s41598-021-94550-5; files of pymatgen, Ong et al. 2013, doi 10.1016/j.commatsci.2012.10.028",
)
