"""Absorption maxima of dyes in solvents: spectroscopy against vacuum TD-DFT."""

from __future__ import annotations

from importlib.resources import files

import pandas as pd

from realmat.datasets.dataset import DataSet
from realmat.datasets.fetch import fetch

_SOURCE = "dyes_in_solvents"
_MEASURED = "all_lambda_max_abs_including_duplicates.csv"
_CALCULATED = ("smiles_target_train.csv", "smiles_target_val.csv", "smiles_target_test.csv")
_HC = 1239.841984  # eV nm, CODATA 2018


def read() -> pd.DataFrame:
    """Build the table of absorption maxima whose dye has a calculated excitation energy, one row a measurement.

    Returns
    -------
    DataFrame
        ``dye`` and ``solvent`` (SMILES), ``solvent_name``; ``absorption`` (photon energy at the maximum, eV) and ``wavelength``
        (nm); ``tddft`` (brightest vertical excitation in vacuum, wB97X-D3, eV); ``dielectric`` (static relative permittivity of
        the solvent near 20 degC) and ``refractive_index``, both NaN for solvents that occur less than 4 times; ``collection``
        (which of 5 collections states it); ``duplicate`` (whether an earlier row has the same dye, solvent and wavelength).

    Notes
    -----
    28734 measurements and 28751 calculations join on the dye's SMILES to 26415 rows in 363 of 364 solvents; 4 of these have
    wavelength zero and are left out. 1572 rows repeat a dye, a solvent and a wavelength exactly: collections quote the same
    papers, so counting copies as measurements makes the noise look smaller than it is. The tails are heavy: the worst rows miss
    by hundreds of nm (mistaken entries, another band than the brightest). Some solvents are host films or the dye itself.

    References
    ----------
    Permittivity and refractive index: CRC Handbook of Chemistry and Physics, as compiled in the package chemicals (MIT), doi
    10.5281/zenodo.597131.
    """
    names = {"smiles": "dye", "peakwavs_max": "wavelength", "source": "collection"}
    measured = pd.read_csv(fetch(_SOURCE, _MEASURED)).rename(columns=names)
    calculated = pd.concat([pd.read_csv(fetch(_SOURCE, file)) for file in _CALCULATED]).set_axis(["dye", "tddft"], axis=1)
    table = measured[measured["wavelength"] > 0].merge(calculated, on="dye", validate="many_to_one")
    table["absorption"] = _HC / table["wavelength"]
    table["duplicate"] = table.duplicated(["dye", "solvent", "wavelength"])
    table = table.merge(solvents(), left_on="solvent", right_on="smiles", how="left")
    table["solvent_name"] = table["solvent_name"].fillna(table["solvent"])
    return table[
        ["dye", "solvent", "solvent_name", "absorption", "wavelength", "tddft", "dielectric", "refractive_index", "collection", "duplicate"]
    ]


def solvents() -> pd.DataFrame:
    """Properties of the common solvents: ``smiles``, ``solvent_name``, ``cas``, ``dielectric``, ``refractive_index``."""
    with files("realmat.datasets").joinpath("solvents.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


DATASET = DataSet(
    name="absorption",
    about="26411 absorption maxima of 13575 dyes in 363 solvents against vacuum TD-DFT",
    response="absorption",
    rows=26411,
    units={"absorption": "eV", "wavelength": "nm", "tddft": "eV", "dielectric": "1", "refractive_index": "1"},
    read=read,
    sources=(_SOURCE,),
    aliases=("dyes_in_solvents",),
)
