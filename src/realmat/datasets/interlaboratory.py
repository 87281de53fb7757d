"""A simulated interlaboratory study with known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd

from realmat.datasets.dataset import DataSet

TRUTH = {"mean": 520.0, "s_specimen": 15.0, "s_lab": 6.0, "s_r": 4.0}
"""What the study is drawn from, in MPa: mean, standard deviations between specimens, between labs, and of repeated measurements."""

_LABS, _SPECIMENS, _REPLICATES, _SEED = 12, 8, 3, 5725


def read() -> pd.DataFrame:
    r"""Simulate a study of tensile strength: every lab measures every specimen three times.

    Returns
    -------
    DataFrame
        ``lab`` ("lab 01" to "lab 12"), ``specimen`` ("A" to "H"), ``replicate`` (1 to 3), ``tensile_strength`` (MPa). The same
        numbers at every call. The truth is in ``attrs["truth"]``: the standard deviations and mean of `TRUTH`, ``s_R``, and the
        ``specimens`` and ``lab_bias`` drawn.

    Notes
    -----
    The basic model of ISO 5725-2 (and, with other words, ASTM E691): :math:`y_{sli} = \mu + U_s + B_l + e_{sli}`, with
    :math:`U_s` the specimen, :math:`B_l` the bias of the lab and :math:`e` the error of a repeated measurement, all normal.
    Repeatability standard deviation :math:`s_r`, reproducibility standard deviation :math:`s_R = \sqrt{s_L^2 + s_r^2}` = 7.21
    MPa.
    """
    rng = np.random.default_rng(_SEED)
    specimens = TRUTH["mean"] + TRUTH["s_specimen"] * rng.standard_normal(_SPECIMENS)
    biases = TRUTH["s_lab"] * rng.standard_normal(_LABS)
    lab, specimen, replicate = (axis.ravel() for axis in np.indices((_LABS, _SPECIMENS, _REPLICATES)))
    noise = TRUTH["s_r"] * rng.standard_normal(len(lab))
    names = [f"lab {number + 1:02d}" for number in range(_LABS)]
    letters = [chr(ord("A") + number) for number in range(_SPECIMENS)]
    table = pd.DataFrame(
        {
            "lab": [names[index] for index in lab],
            "specimen": [letters[index] for index in specimen],
            "replicate": replicate + 1,
            "tensile_strength": (specimens[specimen] + biases[lab] + noise).round(1),
        }
    )
    s_R = float(np.hypot(TRUTH["s_lab"], TRUTH["s_r"]))
    table.attrs["truth"] = {
        **TRUTH,
        "s_R": s_R,
        "specimens": dict(zip(letters, specimens.tolist(), strict=True)),
        "lab_bias": dict(zip(names, biases.tolist(), strict=True)),
    }
    return table


DATASET = DataSet(
    name="interlaboratory",
    about="288 simulated tensile tests with known truth: 12 labs, 8 specimens, 3 replicates (ISO 5725)",
    response="tensile_strength",
    rows=_LABS * _SPECIMENS * _REPLICATES,
    units={"tensile_strength": "MPa"},
    read=read,
    licence="simulated: Apache-2.0, as realmat",
    citation="design and words after ISO 5725-2:2019 and ASTM E691",
)
