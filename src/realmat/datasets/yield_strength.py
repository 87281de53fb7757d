"""Yield strengths of structural metals: sub-sized specimens and multi-principal-element alloys in one table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from realmat.datasets import mpea, subsized_tensile
from realmat.datasets.dataset import DataSet

_PER_CENT = 1e4  # wppm per wt%
_COLUMNS = (
    "formula", "material", "paper", "lot", "collection", "yield_strength", "temperature", "strain_rate", "test_type", "processing",
    "structure", "grain_size", "O_wppm", "N_wppm", "C_wppm", "C_limit", "dose", "thickness",
)  # fmt: skip


def read() -> pd.DataFrame:
    """Build the table of all tests with a yield strength, one row a test.

    Returns
    -------
    DataFrame
        ``formula`` (atomic), ``material`` (the steel's name, or the formula), ``paper``, ``lot`` (the same real material),
        ``collection`` ("sub-sized specimens", "multi-principal-element alloys"); ``yield_strength`` (MPa); the test:
        ``temperature`` (degC, missing in 70 rows), ``strain_rate`` (1/s), ``test_type``; the real material: ``processing``,
        ``structure``, ``grain_size`` (um, 563 rows), ``O_wppm``, ``N_wppm``, ``C_wppm`` (wppm) with the detection limit
        ``C_limit``, ``dose`` (dpa, zero where the paper does not irradiate), ``thickness`` (mm, of sub-sized specimens). Labels
        that are not given are "not stated".

    Notes
    -----
    Rows that repeat another row of their paper exactly were entered twice and are kept once among the alloys; among the sub-sized
    specimens they are repeated tests. The nitrogen of the alloys is left out, being 5 wppm wherever it is stated.
    """
    return pd.concat([_subsized(), _alloys()], ignore_index=True)


def _subsized() -> pd.DataFrame:
    table = subsized_tensile.read()
    table = table[table["yield_strength"].notna()].reset_index(drop=True)
    return pd.DataFrame(
        {
            "formula": subsized_tensile.formulas(table),
            "material": table["material"],
            "paper": "sub-sized " + table["paper"].astype("str"),
            "lot": "sub-sized " + table["lot"].astype("str"),
            "collection": "sub-sized specimens",
            "yield_strength": table["yield_strength"],
            "temperature": table["temperature"],
            "strain_rate": table["strain_rate"],
            "test_type": "tension",
            "processing": table["treatment"],
            "structure": "not stated",
            "grain_size": table["grain_size"],
            **{f"{element}_wppm": table[f"{element}_wt"] * _PER_CENT for element in ("O", "N", "C")},
            "C_limit": table["C_wt_limit"] * _PER_CENT,
            "dose": table["dose"].fillna(0.0),
            "thickness": table["thickness"],
        }
    )[list(_COLUMNS)]


def _alloys() -> pd.DataFrame:
    table = mpea.read()
    table = table[table["yield_strength"].notna()].drop_duplicates()
    return table.assign(
        material=table["formula"],
        lot="alloy " + table["lot"].astype("str"),
        collection="multi-principal-element alloys",
        N_wppm=np.nan,
        strain_rate=np.nan,
        C_limit=np.nan,
        dose=0.0,
        thickness=np.nan,
    )[list(_COLUMNS)]


DATASET = DataSet(
    name="yield_strength",
    about="1655 tests: sub-sized specimens and multi-principal-element alloys; grain size, interstitials, processing, temperature, dose",
    response="yield_strength",
    rows=1655,
    units={
        "yield_strength": "MPa",
        "temperature": "degC",
        "strain_rate": "1/s",
        "grain_size": "um",
        **dict.fromkeys(("O_wppm", "N_wppm", "C_wppm", "C_limit"), "wppm"),
        "dose": "dpa",
        "thickness": "mm",
    },
    read=read,
    sources=("subsized_tensile", "mpea"),
)
