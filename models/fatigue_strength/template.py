"""Fatigue strength of steels: the hardness rule, corrected by composition, inclusions, tempering.

The theory is Murakami's rule for a steel without defects: the endurance limit is 1.6 times the Vickers hardness. The real heat has
inclusions, sulfur and phosphorus, other elements, and a tempered microstructure that hardness does not tell alone; what is the heat's own
beyond these is unresolved.
"""

import dataclasses

import realmat as rm

IMPURITIES = ("P_wt", "S_wt")
ALLOYING = ("C_wt", "Si_wt", "Mn_wt", "Ni_wt", "Cr_wt", "Cu_wt", "Mo_wt")
LABELS = {column: column.removesuffix("_wt") for column in (*IMPURITIES, *ALLOYING)}
INCLUSIONS = {"inclusions_dA": "plastically deformed", "inclusions_dB": "aligned", "inclusions_dC": "isolated"}

COLUMNS = [
    rm.templates.Column("heat", "", "the melt"),
    rm.templates.Column("fatigue_strength", "MPa", "rotating bending, 1e7 cycles"),
    rm.templates.Column("murakami", "MPa", "1.6 times the Vickers hardness; calculated where only hardness is given", required=False),
    rm.templates.Column("hardness", "HV", "Vickers hardness; not needed beside murakami", required=False),
    *(rm.templates.Column(c, "wt%", f"content of {c.removesuffix('_wt')}; cells may be empty") for c in (*IMPURITIES, *ALLOYING)),
    *(rm.templates.Column(c, "%", f"area fraction of {kind} inclusions; cells may be empty") for c, kind in INCLUSIONS.items()),
    rm.templates.Column("tempering_temperature", "degC", "taken as a category"),
]
VARIANTS = {
    "theory": "1.6 HV as it is, and noise of one inferred size",
    "ideal": "1.6 HV up to a line, and noise of one inferred size",
    "real": "1.6 HV up to a line; impurities, alloying elements, inclusions, tempering; the rest of each heat",
}


def data():
    return rm.datasets.load("fatigue_strength")


def prepare(table):
    """Calculate the theory from the hardness where it is not given."""
    if "murakami" in table:
        return table
    if "hardness" not in table:
        raise rm.DataError("the table needs murakami (MPa) or hardness (HV).")
    return table.assign(murakami=1.6 * table["hardness"])


def model(variant="real"):
    exact_line = {"intercept": 0.0, "slope": 1.0} if variant == "theory" else {}
    declared = rm.Model(
        "fatigue_strength",
        unit="MPa",
        label="Fatigue strength",
        levels={"material": "heat"},
        theory=rm.theory.Calibrated("murakami", **exact_line),
    )
    if variant != "real":
        return declared
    real = declared.with_material(
        *(rm.material.Impurity(column, unit="wt%") for column in (*IMPURITIES, *ALLOYING)),
        *(rm.material.Effect(column) for column in INCLUSIONS),
        rm.material.Process("tempering_temperature"),
        rm.material.Unresolved(by="material"),
    )
    return dataclasses.replace(real, labels=LABELS | {column: f"{kind} inclusions" for column, kind in INCLUSIONS.items()})
