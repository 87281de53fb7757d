"""Simulated ageing curves with known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd

from realmat.datasets.dataset import DataSet

TRUTH = {"rate": 6.0, "spread": 0.25, "exponent": 0.7, "noise": 0.4}
"""What the curves are drawn from: median increase in % after 1000 h, sd of its logarithm between devices, exponent of time, sd of a reading
in %."""

_DEVICES, _LIMIT, _SEED = 15, 20.0, 1998
_KILOHOURS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def read() -> pd.DataFrame:
    """Simulate the increase of the operating current of lasers, each of which ages at a rate of its own.

    Returns
    -------
    DataFrame
        ``device`` ("1" to "15"), ``kilohours``, ``increase`` (%), ``runout`` (1: beyond what the driver supplies, 20 %, which then stands
        as the increase). The same numbers at every call; the truth is in ``attrs["truth"]``: `TRUTH`, and the ``rates`` drawn.

    Notes
    -----
    ``rate t^exponent`` with t in 1000 h: degradation paths after Meeker & Escobar (Statistical Methods for Reliability Data, 1998, ch. 13).
    """
    rng = np.random.default_rng(_SEED)
    device, reading = (axis.ravel() for axis in np.indices((_DEVICES, len(_KILOHOURS))))
    rates = TRUTH["rate"] * np.exp(TRUTH["spread"] * rng.standard_normal(_DEVICES))
    hours = np.array(_KILOHOURS)[reading]
    increase = (rates[device] * hours ** TRUTH["exponent"] + TRUTH["noise"] * rng.standard_normal(len(hours))).round(2)
    names = [str(d + 1) for d in device]
    table = pd.DataFrame(
        {
            "device": names,
            "kilohours": hours,
            "increase": np.minimum(increase, _LIMIT),
            "runout": (increase >= _LIMIT).astype(int),
        }
    )
    table.attrs["truth"] = {**TRUTH, "rates": dict(zip(dict.fromkeys(names), rates.tolist(), strict=True))}
    return table


DATASET = DataSet(
    name="ageing",
    about="120 simulated readings of 15 ageing lasers with known truth, some beyond the range",
    response="increase",
    rows=_DEVICES * len(_KILOHOURS),
    units={"increase": "%", "kilohours": "kilohour"},
    read=read,
    licence="simulated: Apache-2.0, as realmat",
    citation="after Meeker & Escobar, Statistical Methods for Reliability Data, 1998",
)
