"""Mechanical properties of multi-principal-element alloys, from 265 papers."""

from __future__ import annotations

import pandas as pd

from realmat.datasets.dataset import DataSet
from realmat.datasets.fetch import fetch

_SOURCE = "mpea"
_RENAME = {
    "FORMULA": "formula",
    "REFERENCE: doi": "paper",
    "REFERENCE: year": "year",
    "PROPERTY: YS (MPa)": "yield_strength",
    "PROPERTY: UTS (MPa)": "tensile_strength",
    "PROPERTY: HV": "hardness",
    "PROPERTY: Type of test": "test_type",
    "PROPERTY: Test temperature ($^\\circ$C)": "temperature",
    "PROPERTY: Microstructure": "phases",
    "PROPERTY: BCC/FCC/other": "structure",
    "PROPERTY: Processing method": "processing",
    "PROPERTY: grain size ($\\mu$m)": "grain_size",
    "PROPERTY: O content (wppm)": "O_wppm",
    "PROPERTY: N content (wppm)": "N_wppm",
    "PROPERTY: C content (wppm)": "C_wppm",
    "PROPERTY: Elongation (%)": "elongation",
    "PROPERTY: Elongation plastic (%)": "plastic_elongation",
    "PROPERTY: Exp. Density (g/cm$^3$)": "density",
    "PROPERTY: Calculated Density (g/cm$^3$)": "density_calculated",
    "PROPERTY: Exp. Young modulus (GPa)": "youngs_modulus",
    "PROPERTY: Calculated Young modulus (GPa)": "youngs_modulus_calculated",
}
_LOT = ("paper", "formula", "processing", "phases", "grain_size", "O_wppm", "N_wppm", "C_wppm")


def read() -> pd.DataFrame:
    """Build the table of multi-principal-element alloys, one row a test.

    Returns
    -------
    DataFrame
        ``formula`` (atomic), ``paper`` (doi), ``year``; ``lot``, a number for what is the same real material (paper, formula,
        processing, phases, grain size and interstitials alike); ``yield_strength``, ``tensile_strength`` (MPa; 1067 and 539 of
        1545 rows), ``hardness`` (HV), ``test_type`` ("compression", "tension"), ``temperature`` (degC); ``structure`` ("fcc",
        "bcc", "other"), ``phases``, ``processing``; ``grain_size`` (um, 237 rows), ``O_wppm`` (57), ``N_wppm`` (45), ``C_wppm``
        (4); ``elongation``, ``plastic_elongation`` (%); measured and rule-of-mixtures ``density`` (g/cm3) and ``youngs_modulus``
        (GPa). Labels that the table does not give are "not stated".

    Notes
    -----
    20 rows repeat another row exactly. Every stated nitrogen content is 5 wppm, so nothing can be learned from it, and every
    stated carbon content is an alloying addition, of 0.2 to 3.6 wt%.
    """
    table = pd.read_csv(fetch(_SOURCE, "MPEA_dataset.csv"))[list(_RENAME)].rename(columns=_RENAME)
    table["paper"] = table["paper"].str.strip()
    table["test_type"] = table["test_type"].map({"C": "compression", "T": "tension"}).fillna("not stated")
    table["phases"] = table["phases"].fillna("not stated")
    for column in ("processing", "structure"):
        table[column] = table[column].str.lower().fillna("not stated")
    table["lot"] = table.groupby(list(_LOT), dropna=False, sort=False).ngroup() + 1
    leading = ["formula", "paper", "year", "lot"]
    return table[[*leading, *(column for column in table.columns if column not in leading)]]


DATASET = DataSet(
    name="mpea",
    about="1545 tests of multi-principal-element alloys, 1067 with a yield strength; grain size, O N C, phases, processing",
    response="yield_strength",
    rows=1545,
    units={
        **dict.fromkeys(("yield_strength", "tensile_strength"), "MPa"),
        "hardness": "HV",
        "temperature": "degC",
        "grain_size": "um",
        **dict.fromkeys(("O_wppm", "N_wppm", "C_wppm"), "wppm"),
        **dict.fromkeys(("elongation", "plastic_elongation"), "%"),
        **dict.fromkeys(("density", "density_calculated"), "g/cm^3"),
        **dict.fromkeys(("youngs_modulus", "youngs_modulus_calculated"), "GPa"),
    },
    read=read,
    sources=(_SOURCE,),
)
