"""Simulated fracture strengths of ceramic bars with known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd

from realmat.datasets.dataset import DataSet

TRUTH = {"log_strength": float(np.log(420.0)), "modulus": 10.0, "s_batch": 0.1}
"""What the bars are drawn from: log of the strength (MPa) at which 63 % of bars of 1 mm3 have broken, modulus, sd of batches (relative)."""

_VOLUMES = {"three-point bending": 2.0, "four-point bending": 25.0, "tension": 600.0}  # effective volumes, mm3
_BATCHES, _BARS, _STOPPED, _SEED = 10, 5, 420.0, 1939


def read() -> pd.DataFrame:
    r"""Simulate strengths of bars of three sizes from ten batches of powder.

    Returns
    -------
    DataFrame
        ``batch`` ("A" to "J"), ``test``, ``volume_mm3`` (effective volume of the test), ``fracture_strength`` (MPa), ``stopped`` (1: the
        bar held to the largest stress of the machine, which is then what stands as its strength). The same numbers at every call; the
        truth is in ``attrs["truth"]``: `TRUTH`, and the ``batches`` drawn.

    Notes
    -----
    Weakest link: :math:`P(\sigma > s) = \exp(-V (s / \sigma_b)^m)` with the volume :math:`V` in mm3, the modulus :math:`m`, and
    :math:`\log\sigma_b` normal over batches (Weibull, J. Appl. Mech. 18, 293, 1951).
    """
    rng = np.random.default_rng(_SEED)
    batches = TRUTH["s_batch"] * rng.standard_normal(_BATCHES)
    batch, test, _ = (axis.ravel() for axis in np.indices((_BATCHES, len(_VOLUMES), _BARS)))
    volume = np.array(list(_VOLUMES.values()))[test]
    scale = np.exp(TRUTH["log_strength"] + batches[batch]) * volume ** (-1 / TRUTH["modulus"])
    strength = (scale * rng.weibull(TRUTH["modulus"], len(batch))).round(1)
    letters = [chr(ord("A") + number) for number in range(_BATCHES)]
    table = pd.DataFrame(
        {
            "batch": [letters[index] for index in batch],
            "test": [list(_VOLUMES)[index] for index in test],
            "volume_mm3": volume,
            "fracture_strength": np.minimum(strength, _STOPPED),
            "stopped": (strength >= _STOPPED).astype(int),
        }
    )
    table.attrs["truth"] = {**TRUTH, "batches": dict(zip(letters, batches.tolist(), strict=True))}
    return table


DATASET = DataSet(
    name="fracture_strength",
    about="150 simulated strengths of ceramic bars with known truth: 10 batches, 3 sizes, weakest link",
    response="fracture_strength",
    rows=_BATCHES * len(_VOLUMES) * _BARS,
    units={"fracture_strength": "MPa", "volume_mm3": "mm^3"},
    read=read,
    licence="simulated: Apache-2.0, as realmat",
    citation="after Weibull, J. Appl. Mech. 18, 293 (1951)",
)
