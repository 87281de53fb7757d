"""Real data sets, ready to model: the column of measurements is the response of the template of the same name.

Files are looked for in the folder that the environment variable ``REALMAT_DATA`` names (``<source>/<file>``), then in the user's
cache, and else downloaded from their upstream address; every file's hash is checked. No data set is part of the package.
"""

from __future__ import annotations

import difflib
import textwrap

import pandas as pd

from realmat.datasets import (
    absorption,
    ageing,
    band_gap,
    band_gap_ladder,
    fatigue_strength,
    formation_enthalpy,
    fracture_strength,
    hydration,
    interlaboratory,
    mpea,
    subsized_tensile,
    yield_strength,
)
from realmat.datasets.dataset import DataSet
from realmat.errors import DataError

__all__ = ["list", "load", "mp2020_formation_enthalpy", "units"]

_ALL = (
    formation_enthalpy.DATASET,
    hydration.DATASET,
    band_gap.DATASET,
    band_gap_ladder.DATASET,
    yield_strength.DATASET,
    fatigue_strength.DATASET,
    absorption.DATASET,
    fracture_strength.DATASET,
    ageing.DATASET,
    interlaboratory.DATASET,
    band_gap.COMPILATION,
    subsized_tensile.DATASET,
    mpea.DATASET,
)
_BY_NAME = {name: dataset for dataset in _ALL for name in (dataset.name, *dataset.aliases)}


class Catalogue(pd.DataFrame):
    """A table of data sets that prints as a list to read."""

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def __repr__(self) -> str:
        entries = []
        for row in self.to_dict("records"):
            lines = (row["about"], f"Licence: {row['licence']}.", f"Cite: {row['citation']}.")
            wrapped = (textwrap.fill(line, 100, initial_indent="    ", subsequent_indent="      ") for line in lines)
            entries.append("\n".join([f"{row['name']}: {row['rows']} rows, {row['response']} in {row['unit']}", *wrapped]))
        return "\n".join(entries)


def list() -> pd.DataFrame:
    """Show what there is, without downloading anything.

    Returns
    -------
    DataFrame
        One row a data set: ``name``, ``rows``, ``response``, ``unit``, ``about``, ``licence``, ``citation``.

    Examples
    --------
    >>> import realmat as rm
    >>> print(rm.datasets.list()[["name", "rows", "unit"]].head(2).to_string(index=False))
                  name  rows     unit
    formation_enthalpy   334  eV/atom
             hydration   642 kcal/mol
    """
    return Catalogue([dataset.facts() for dataset in _ALL])


def load(name: str) -> pd.DataFrame:
    """Load a data set, downloading its files at the first call.

    Parameters
    ----------
    name : str
        As in `list`; ``"freesolv"``, ``"nims_steel_fatigue"`` and ``"dyes_in_solvents"`` also name ``hydration``, ``fatigue_strength`` and
        ``absorption``.

    Returns
    -------
    DataFrame
        One row a measurement, index 0 to n - 1. The columns are explained by the module of that name, such as
        `realmat.datasets.hydration.read`. ``attrs`` holds the facts of `list` and the ``units``, for information.

    Raises
    ------
    realmat.DataError
        If there is no such data set.
    realmat.FileError
        If a file cannot be downloaded, or is not the one that was registered.

    Examples
    --------
    >>> import realmat as rm
    >>> rm.datasets.load("formation_enthalpy")[["formula", "formation_enthalpy", "pbe"]].head(1).round(3)
      formula  formation_enthalpy    pbe
    0  Ag2WO4               -1.37 -0.322
    """
    return _find(name).load()


def units(name: str) -> dict[str, str]:
    """Give the unit of every column of a data set that is a quantity.

    Parameters
    ----------
    name : str
        As in `list`.

    Returns
    -------
    dict
        Column -> unit.

    Raises
    ------
    realmat.DataError
        If there is no such data set.

    Examples
    --------
    >>> import realmat as rm
    >>> rm.datasets.units("interlaboratory")
    {'tensile_strength': 'MPa'}
    """
    return dict(_find(name).units)


def mp2020_formation_enthalpy() -> pd.Series:
    """Give what pymatgen's ``MaterialsProject2020Compatibility`` makes of the compounds of ``formation_enthalpy``.

    Returns
    -------
    Series
        Corrected PBE and PBE+U formation enthalpies in eV/atom, with the table's index. Most of the compounds were in the
        corrections' own fit.

    Notes
    -----
    Takes some seconds, which go into importing pymatgen.

    References
    ----------
    A. Wang et al., Scientific Reports 11, 15496 (2021), doi 10.1038/s41598-021-94550-5
    """
    return formation_enthalpy.mp2020()


def _find(name: str) -> DataSet:
    if name not in _BY_NAME:
        near = difflib.get_close_matches(str(name), _BY_NAME, 1, 0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DataError(f"there is no data set {name!r}; {hint}There are: {', '.join(_BY_NAME)}.")
    return _BY_NAME[name]
