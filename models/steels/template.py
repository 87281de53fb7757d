"""Steels: fatigue, tensile and fracture strength and hardness of a heat, as four views of one material.

Each property is a line in composition and tempering; what is left of a heat, and of a single state of tempering, goes together between
properties. A hardness test then tells what composition does not, and the fatigue test, a hundred times dearer, is predicted from it.
"""

import realmat as rm

ELEMENTS = ("C_wt", "Si_wt", "Mn_wt", "P_wt", "S_wt", "Ni_wt", "Cr_wt", "Cu_wt", "Mo_wt")
PROPERTIES = {"fatigue_strength": "MPa", "tensile_strength": "MPa", "fracture_strength": "MPa", "hardness": "HV"}

COLUMNS = [
    rm.templates.Column("heat", "", "the melt"),
    rm.templates.Column("fatigue_strength", "MPa", "rotating bending, 1e7 cycles; cells may be empty"),
    rm.templates.Column("tensile_strength", "MPa", "cells may be empty"),
    rm.templates.Column("fracture_strength", "MPa", "true stress at fracture; cells may be empty"),
    rm.templates.Column("hardness", "HV", "Vickers hardness; cells may be empty"),
    *(rm.templates.Column(c, "wt%", f"content of {c.removesuffix('_wt')}") for c in ELEMENTS),
    rm.templates.Column("tempering_temperature", "degC", "enters as a line"),
]
VARIANTS = {
    "separate": "each property by itself: a line in composition and tempering, the rest of the heat, noise",
    "joint": "the same, with the rests of the heat and of the single state correlated between properties",
}


def data():
    return rm.datasets.load("fatigue_strength")


def _member(response, unit):
    return rm.Model(
        response,
        unit=unit,
        label=response.replace("_", " ").capitalize(),
        labels={column: column.removesuffix("_wt") for column in ELEMENTS},
        link="log",
        levels={"material": "heat"},
        theory=rm.theory.Constant(),
        material=[
            *(rm.material.Effect(column) for column in ELEMENTS),
            rm.material.Effect("tempering_temperature"),
            rm.material.Unresolved(by="material"),
        ],
    )


def model(variant="joint"):
    correlate = ["unresolved_material", "noise"] if variant == "joint" else []
    return rm.Joint([_member(response, unit) for response, unit in PROPERTIES.items()], correlate=correlate)
