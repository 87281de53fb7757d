"""Fracture strength of brittle pieces: weakest link, the size that was stressed, batches that differ.

The theory is Weibull's: a piece is as strong as its worst flaw, so that a larger one is weaker. The real material is the batch, whose
powder and firing make its flaws; pieces that held to the end of the test are limits, not strengths.
"""

import realmat as rm

COLUMNS = [
    rm.templates.Column("fracture_strength", "MPa", "stress at fracture; at the end of the test for pieces that held"),
    rm.templates.Column("batch", "", "pieces made together; without it all are of one", required=False),
    rm.templates.Column("volume_mm3", "mm^3", "effective volume (or area) under stress; without it all are of one size", required=False),
    rm.templates.Column("stopped", "", "1 where the piece held to the end of the test, 0 where it broke", required=False),
]
VARIANTS = {
    "ideal": "one Weibull distribution of all pieces, whatever their size and batch",
    "size": "weakest link: larger pieces are weaker; batches alike",
    "real": "weakest link, and batches differ",
}


def data():
    return rm.datasets.load("fracture_strength")


def model(variant="real", table=None):
    held = set() if table is None else {"batch", "volume_mm3", "stopped"} - set(table)
    batches = "batch" not in held
    return rm.Model(
        "fracture_strength",
        unit="MPa",
        link="log",
        label="Fracture strength",
        levels={"material": "batch"} if batches else {},
        theory=rm.theory.Constant(),
        material=rm.material.Unresolved(by="material") if batches and variant == "real" else None,
        observation=rm.observation.Weibull(
            size="volume_mm3" if "volume_mm3" not in held and variant != "ideal" else None,
            above="stopped" if "stopped" not in held else None,
        ),
    )
