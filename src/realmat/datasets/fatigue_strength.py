"""Fatigue strength of carbon and low-alloy steels: rotating-bending tests of NIMS."""

from __future__ import annotations

import pandas as pd

from realmat.datasets.dataset import DataSet
from realmat.datasets.fetch import fetch

_SOURCE = "nims_steel_fatigue"
_ELEMENTS = ("C", "Si", "Mn", "P", "S", "Ni", "Cr", "Cu", "Mo")
_RENAME = {
    "Normalized Temperature": "normalizing_temperature",
    "Quenching Temperature": "quenching_temperature",
    "Temperaing Temperature": "tempering_temperature",  # sic
    **{element: f"{element}_wt" for element in _ELEMENTS},
    "RR": "reduction_ratio",
    "dA": "inclusions_dA",
    "dB": "inclusions_dB",
    "dC": "inclusions_dC",
    "Fatigue Strength (10E7 Cycles)": "fatigue_strength",
    "Tensile Strength": "tensile_strength",
    "Fracture Strength": "fracture_strength",
    "Hardness": "hardness",
}


def read() -> pd.DataFrame:
    """Build the table of the NIMS steels, one row a heat in one state of tempering.

    Returns
    -------
    DataFrame
        ``heat`` (number of the melt: 120 heats, each tempered in 3 ways), ``fatigue_strength`` at 10^7 cycles,
        ``tensile_strength`` and ``fracture_strength`` (MPa), ``hardness`` (HV), ``murakami`` (1.6 times the hardness number,
        MPa), ``<El>_wt`` for nine elements (wt%), ``inclusions_dA``, ``_dB`` and ``_dC`` (area fraction of plastic, aligned and
        isolated inclusions, %), ``reduction_ratio`` (ingot to bar), ``normalizing_temperature``, ``quenching_temperature``,
        ``tempering_temperature`` (degC).

    Notes
    -----
    Rows of one heat share composition and inclusions, so these vary between 120 heats, not 360 rows. Tempering changes the hardness, and
    with it most of the fatigue strength; the tensile strength follows the hardness so closely that it is a second measurement of it.

    References
    ----------
    Y. Murakami, Metal Fatigue: Effects of Small Defects and Nonmetallic Inclusions (Elsevier, 2002): sigma_w = 1.6 HV with a
    spread of 0.1 HV.
    """
    table = pd.read_csv(fetch(_SOURCE, "NIMS-Fatigue.csv")).rename(columns=_RENAME)
    melt = [*(f"{element}_wt" for element in _ELEMENTS), "reduction_ratio", "inclusions_dA", "inclusions_dB", "inclusions_dC"]
    table["heat"] = table.groupby(melt, sort=False).ngroup() + 1
    table["murakami"] = 1.6 * table["hardness"]
    leading = ["heat", "fatigue_strength", "murakami", "hardness"]
    table = table[[*leading, *(column for column in table.columns if column not in leading)]]
    return table.astype({column: float for column in table.columns if column != "heat"})


DATASET = DataSet(
    name="fatigue_strength",
    about="360 states of 120 steels: hardness rule, composition with P and S, inclusions, heat treatment (NIMS)",
    response="fatigue_strength",
    rows=360,
    units={
        **dict.fromkeys(("fatigue_strength", "tensile_strength", "fracture_strength", "murakami"), "MPa"),
        "hardness": "HV",
        **dict.fromkeys((f"{element}_wt" for element in _ELEMENTS), "wt%"),
        **dict.fromkeys(("inclusions_dA", "inclusions_dB", "inclusions_dC"), "%"),
        "reduction_ratio": "1",
        **dict.fromkeys(("normalizing_temperature", "quenching_temperature", "tempering_temperature"), "degC"),
    },
    read=read,
    sources=(_SOURCE,),
    aliases=("nims_steel_fatigue",),
)
