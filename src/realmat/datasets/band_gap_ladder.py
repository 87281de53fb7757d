"""Band gaps of 464 solids by a ladder of theories: from local densities to quasiparticle self-consistent GW, and by experiment."""

from __future__ import annotations

import pandas as pd

from realmat.datasets.dataset import DataSet
from realmat.datasets.fetch import fetch

_SOURCE = "band_gap_ladder"
THEORIES = [
    "LDA",
    "PBE",
    "PBE_SOL",
    "SCAN",
    "BJ",
    "MBJ",
    "HLE16",
    "HSE06",
    "HSE14",
    "HSE06_mix",
    "PBE0",
    "PBE0_mix",
    "G0W0@LDA-PPA",
    "G0W0@PBE-PPA",
    "QPG0W0",
    "QSGW",
    "QSGW^",
]
VARIANTS = ["LDA NC", "LDA AE", "LDA+SOC", "PBE NC", "PBE+SOC", "HLE16+SOC", "QPG0W0+SOC", "QSGW^+SOC"]


def read() -> pd.DataFrame:
    """Build the table, one row a solid.

    Returns
    -------
    DataFrame
        ``Composition`` (18 formulas have several entries: polymorphs), ``Experimental`` (eV), 17 theories from ``LDA`` to ``QSGW^`` and
        eight columns that repeat one of them with other settings (eV, empty where it was not run); ``MP-ID``, ``ICSD-ID``, ``DOI`` of the
        measurement.

    Notes
    -----
    13 columns are complete or nearly so; those of GW hold 97 to 294 of 464 solids, mostly the simpler ones. ``+SOC`` adds spin-orbit
    coupling, ``NC`` and ``AE`` are other pseudopotentials or all electrons.
    """
    table = pd.read_csv(fetch(_SOURCE, "revised_bandgap_benchmark.csv"))
    return table.astype({"ICSD-ID": str})  # a number by name only


DATASET = DataSet(
    name="band_gap_ladder",
    about="464 solids: measured gaps and up to 25 calculations of each, LDA to self-consistent GW",
    response="Experimental",
    rows=464,
    units=dict.fromkeys(("Experimental", *THEORIES, *VARIANTS), "eV"),
    read=read,
    sources=(_SOURCE,),
)
