"""Tensile tests of sub-sized specimens, mostly nuclear structural steels, from 24 papers."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from realmat.datasets.dataset import DataSet
from realmat.datasets.fetch import fetch

_SOURCE = "subsized_tensile"
ELEMENTS = (
    "C", "Si", "Mn", "P", "S", "Ni", "Cr", "Mo", "Al", "N", "Ti", "Fe", "Nb", "B", "Cu", "V", "Mg", "Y", "Zr", "Zn", "W", "Sn", "Co", "O",
    "Ta", "H",
)  # fmt: skip
_COLUMNS = (
    "paper", "material", "group", *(f"{element}_wt" for element in ELEMENTS), "manufacturing", "treatment_text", "treatment",
    "treatment_temperature", "treatment_time", "cooling", "microstructure", "grain_size", "dose", "irradiation_temperature",
    "irradiation_time", "preparation", "specimen_type", "gauge_length", "thickness", "fillet_radius", "width", "length_to_width",
    "radius_to_width", "thickness_to_width", "temperature", "strain_rate", "yield_strength", "tensile_strength", "uniform_elongation",
    "total_elongation",
)  # fmt: skip
_TEXT = ("material", "group", "manufacturing", "treatment_text", "treatment", "cooling", "microstructure", "preparation", "specimen_type")
_LOT = ("paper", "material", "treatment", "treatment_temperature", "treatment_time", "grain_size", "dose", "irradiation_temperature")


def read() -> pd.DataFrame:
    """Build the table of sub-sized specimens, one row a test.

    Returns
    -------
    DataFrame
        ``paper`` (1 to 24), ``material``, ``group``; ``lot``, a number for what is the same real material (paper, material,
        treatment, grain size and irradiation alike); ``yield_strength`` and ``tensile_strength`` (MPa; 590 and 489 of 1050 rows),
        ``uniform_elongation``, ``total_elongation`` (%); ``grain_size`` (um, 765 rows); ``<El>_wt`` (wt%) and ``C_wt_limit``, a
        detection limit; ``treatment``, ``treatment_temperature`` (degC), ``treatment_time`` (h); ``dose`` (dpa),
        ``irradiation_temperature``; the specimen's dimensions (mm); ``temperature`` (degC) and ``strain_rate`` (1/s) of the test;
        and texts. Gaps are as upstream: in a paper without irradiation ``dose`` is missing, not zero.

    Notes
    -----
    Mended: ranges such as "150-400ppm" become their midpoint in wt%, "<40 ppm" becomes the limit ``C_wt_limit``, "bal" and a base
    element that was left out become the rest to 100 wt%; the copper written as 0.01 wt% is the base too; widths of paper 6 are in
    metres upstream; the two test temperatures of paper 13 (23 and 700 degC among nine alike sheet tests) belong to another paper
    and are blanked. Not mended: Sanicro 25 has its W and Co under Mg and Zr. Strengths of papers that were read off figures carry
    a digitisation error of some MPa.
    """
    path = fetch(_SOURCE, "Tensile_Properties_of_Sub-sized_Specimens.xlsx")
    raw = pd.read_excel(path, sheet_name="Tensile Data", header=None, skiprows=2, engine="calamine")
    table = raw.set_axis(list(_COLUMNS), axis=1)
    for column in _TEXT:
        table[column] = table[column].astype("str").str.strip().where(table[column].notna(), "not stated")
    table["treatment"] = table["treatment"].str.lower()
    _mend_composition(table)
    numbers = [column for column in _COLUMNS if column not in (*_TEXT, "paper")]
    table[numbers] = table[numbers].astype(float)
    table.loc[table["paper"] == 6, "width"] *= 1000
    table.loc[table["paper"] == 13, "temperature"] = np.nan
    table["lot"] = table.groupby(list(_LOT), dropna=False, sort=False).ngroup() + 1
    leading = ["paper", "material", "group", "lot", "yield_strength", "tensile_strength", "grain_size"]
    return table[[*leading, *(column for column in table.columns if column not in leading)]]


def _mend_composition(table: pd.DataFrame) -> None:
    """Turn the texts among the compositions into numbers, in place."""
    columns = [f"{element}_wt" for element in ELEMENTS]
    below = table["C_wt"].astype("str").str.startswith("<")
    table["C_wt_limit"] = table["C_wt"].where(below).map(lambda text: _weight_percent(text.lstrip("<")), na_action="ignore").astype(float)
    balance = table["Zr_wt"].astype("str") == "bal"
    table[columns] = table[columns].map(lambda cell: _weight_percent(cell) if isinstance(cell, str) else cell).astype(float)
    copper = table["material"].str.startswith("Copper")
    table.loc[copper, "Cu_wt"] = np.nan
    rest = 100 - table[columns].sum(axis=1)
    short = rest > 2
    for element, chosen in {"Zr": balance, "Cu": copper, "Fe": short & ~balance & ~copper}.items():
        table.loc[chosen, f"{element}_wt"] = rest[chosen]


def _weight_percent(text: str) -> float:
    """``"150-400ppm"`` -> 0.0275; what is only bounded or the balance -> NaN."""
    match = re.fullmatch(r"\s*([\d.]+)(?:-([\d.]+))?\s*ppm\s*", text)
    if match is None:
        return np.nan
    low, high = float(match[1]), float(match[2] or match[1])
    return (low + high) / 2 * 1e-4


def formulas(table: pd.DataFrame) -> pd.Series:
    """Write atomic formulas such as ``"Fe0.7079 Cr0.1937 ..."`` from the columns in wt%; an element not analysed is absent."""
    from pymatgen.core import Element

    amounts = pd.DataFrame({element: table[f"{element}_wt"] / float(Element(element).atomic_mass) for element in ELEMENTS}).fillna(0.0)
    fractions = amounts.div(amounts.sum(axis=1), axis=0).to_numpy()
    ranked = np.argsort(-fractions, axis=1, kind="stable")
    texts = [" ".join(f"{ELEMENTS[j]}{fractions[i, j]:.5g}" for j in order if fractions[i, j] >= 1e-7) for i, order in enumerate(ranked)]
    return pd.Series(texts, index=table.index, name="formula")


DATASET = DataSet(
    name="subsized_tensile",
    about="1050 tests of sub-sized specimens, 590 with a yield strength; grain size, C N P S O, dose, temperature, strain rate",
    response="yield_strength",
    rows=1050,
    units={
        **dict.fromkeys(("yield_strength", "tensile_strength"), "MPa"),
        "grain_size": "um",
        **dict.fromkeys((*(f"{element}_wt" for element in ELEMENTS), "C_wt_limit"), "wt%"),
        **dict.fromkeys(("treatment_temperature", "irradiation_temperature", "temperature"), "degC"),
        **dict.fromkeys(("treatment_time", "irradiation_time"), "h"),
        "dose": "dpa",
        **dict.fromkeys(("gauge_length", "thickness", "fillet_radius", "width"), "mm"),
        **dict.fromkeys(("length_to_width", "radius_to_width", "thickness_to_width"), "1"),
        "strain_rate": "1/s",
        **dict.fromkeys(("uniform_elongation", "total_elongation"), "%"),
    },
    read=read,
    sources=(_SOURCE,),
)
