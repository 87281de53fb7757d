"""Band gaps: the measurements that Strehlow and Cook compiled, and PBE gaps of the same compounds."""

from __future__ import annotations

import json
import zipfile
from typing import Any

import numpy as np
import pandas as pd

from realmat.datasets.dataset import DataSet
from realmat.datasets.fetch import fetch
from realmat.datasets.formulas import composition_key, written

_MEASURED, _PBE = "strehlow_cook_band_gaps", "mp_pbe_band_gaps"
_ARCHIVE = "band_gap_jpcrd_transformed-pif-onlyRef.json.zip"
_CALCULATIONS = ("apw", "scopw")
_TRANSITIONS = ("Direct", "Indirect", "Excitonic")
_UNITS = {"band_gap": "eV", "band_gap_u": "eV", "temperature": "K", "temperature_coefficient": "eV/K"}


def read_compilation() -> pd.DataFrame:
    """Build the table of Strehlow and Cook's compilation, one row a record.

    Returns
    -------
    DataFrame
        ``formula``; ``band_gap`` (eV, missing in 12 records), ``band_gap_u`` (stated for 19), ``temperature`` (K, missing for 115
        gaps), ``temperature_coefficient`` (d gap / d T, eV/K); and, "not stated" where the record does not say,
        ``crystallinity``, ``morphology``, ``method``, ``transition``, ``polarization`` and ``phase``.

    Notes
    -----
    Methods "apw" and "scopw" are band-structure calculations, "estimated" is no measurement either, and "thermal activation"
    often measures defect levels. The file writes indium phosphide as "In1p1", which is mended here; 8 of 221 temperature
    coefficients are scanning errors such as "-6. lOe-04" and left empty.
    """
    with zipfile.ZipFile(fetch(_MEASURED, _ARCHIVE)) as archive:
        records = json.loads(archive.read(_ARCHIVE.removesuffix(".zip")))
    return pd.DataFrame([_record(record) for record in records])


def _record(record: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, list[dict[str, Any]]] = {}
    for item in record["properties"]:
        properties.setdefault(item["name"], []).append(item)
    gap = properties.get("Band gap", [{}])[0]
    conditions: dict[str, list[str]] = {}
    for item in gap.get("conditions", []):
        conditions.setdefault(item["name"], []).append(item["scalars"][0]["value"])

    def number(item: dict[str, Any], key: str = "value") -> float:
        return float(pd.to_numeric(item.get("scalars", [{}])[0].get(key, np.nan), errors="coerce"))

    def words(name: str) -> str:
        found = conditions.get(name) or [item["scalars"][0]["value"] for item in properties.get(name, [])]
        return " + ".join(found).lower() if found else "not stated"

    return {
        "formula": written(record["chemicalFormula"].replace("In1p1", "In1P1")),
        "band_gap": number(gap),
        "band_gap_u": number(gap, "uncertainty"),
        "temperature": float(conditions.get("Temperature", [np.nan])[0]),
        "temperature_coefficient": number(properties.get("Temperature derivative of band gap", [{}])[0]),
        "crystallinity": words("Crystallinity"),
        "morphology": words("Morphology"),
        "method": gap.get("method", {}).get("name", "not stated").lower(),
        "transition": next((kind.lower() for kind in conditions.get("Transition", []) if kind in _TRANSITIONS), "not stated"),
        "polarization": words("Electric field polarization"),
        "phase": words("Phase"),
    }


def read_pbe() -> pd.DataFrame:
    """Build the table of PBE gaps: ``formula``, ``pbe`` (eV), one row a polymorph. Compounds that PBE calls metals are not in it."""
    table = pd.read_csv(fetch(_PBE, "bandgap_dataset.csv"))
    return table.rename(columns={"Composition": "formula", "Eg_DFT": "pbe", "Eg_exp": "band_gap_zhuo"})


def read() -> pd.DataFrame:
    """Build the table of measured gaps of compounds whose PBE gap is known, one row a measurement.

    Returns
    -------
    DataFrame
        The columns of `strehlow_cook_band_gaps`, and ``pbe``, the mean over the polymorphs of the formula, ``pbe_u``, their
        standard deviation (NaN where there is one polymorph), and ``polymorphs``, their number.

    Notes
    -----
    The tables join by composition. The polymorph that was measured is seldom stated, so the spread over polymorphs is the theory
    value's uncertainty; the mean follows the measurements more closely than the median, the smallest or the largest gap.
    Calculated "measurements" (methods apw and scopw) are left out. Compounds that PBE calls metals are missing, so the table says
    nothing of how often PBE fails in that way.
    """
    measured, pbe = read_compilation(), read_pbe()
    measured = measured[measured["band_gap"].notna() & ~measured["method"].isin(_CALCULATIONS)]
    alike = pbe.groupby(pbe["formula"].map(composition_key))
    gaps = alike["pbe"]
    theory = pd.DataFrame({"formula": alike["formula"].first(), "pbe": gaps.mean(), "pbe_u": gaps.std(), "polymorphs": gaps.size()})
    keys = measured["formula"].map(composition_key)  # "V2O4" and "VO2" are one compound
    joined = measured.drop(columns="formula").assign(key=keys).merge(theory, left_on="key", right_index=True)
    leading = ["formula", "band_gap", "band_gap_u", "pbe", "pbe_u", "polymorphs"]
    return joined[[*leading, *(c for c in measured.columns if c not in leading)]].reset_index(drop=True)


COMPILATION = DataSet(
    name="strehlow_cook_band_gaps",
    about="all 1459 records of the compilation, 1447 with a gap; 505 formulas",
    response="band_gap",
    rows=1459,
    units=_UNITS,
    read=read_compilation,
    sources=(_MEASURED,),
)

DATASET = DataSet(
    name="band_gap",
    about="936 measurements of 271 compounds against PBE gaps; crystallinity, morphology, temperature, method",
    response="band_gap",
    rows=936,
    units={**_UNITS, "pbe": "eV", "pbe_u": "eV"},
    read=read,
    sources=(_MEASURED, _PBE),
)
