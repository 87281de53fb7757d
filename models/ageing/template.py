"""Ageing: a curve over time for each device, at a rate of its own, with readings beyond the range.

The theory is a power of time. The real material is the device: its rate is drawn from a population, so
that a device that nobody has watched is predicted with the spread of devices, and one that was watched with its own rate.
"""

import realmat as rm

COLUMNS = [
    rm.templates.Column("device", "", "what ages: a device, a piece, a cell"),
    rm.templates.Column("kilohours", "kilohour", "time in 1000 h"),
    rm.templates.Column("increase", "%", "how far it has gone; the end of the range where the reading is beyond it"),
    rm.templates.Column("runout", "", "1 where the reading is beyond the range, 0 elsewhere", required=False),
]
VARIANTS = {
    "ideal": "one curve of all devices: a power of time",
    "real": "as ideal, with a rate of each device",
}


def grown(kilohours, rate, exponent):
    """Increase in %, rate that after 1000 h."""
    return rate * kilohours**exponent


def data():
    return rm.datasets.load("ageing")


def model(variant="real", table=None):
    size = {"mu": rm.Prior("Normal", mu=1.5, sigma=1.5), "sigma": rm.Prior("HalfNormal", sigma=0.7)}
    params = {
        "rate": rm.Varies("LogNormal", by="specimen", **size) if variant == "real" else rm.Prior("LogNormal", mu=1.5, sigma=1.5),
        "exponent": rm.Prior("LogNormal", mu=-0.2, sigma=0.5),
    }
    return rm.Model(
        "increase",
        unit="%",
        label="Increase",
        levels={"specimen": "device"},
        theory=rm.theory.Function(grown, columns=["kilohours"], params=params),
        observation=rm.observation.Normal(above="runout" if table is None or "runout" in table else None),
    )
