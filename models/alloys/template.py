"""Multi-principal-element alloys: yield strength, ultimate strength and hardness at room temperature.

Papers report what they measured: hardness here, strength there, both for one alloy in five. Each property is a line in descriptors of the
composition and in how the alloy was made; what is left of an alloy, and of a lot, goes together between properties.
"""

import realmat as rm

NONMETALS = ("H", "B", "C", "N", "O", "P", "S")  # dissolved, they have no modulus of their own
UNKNOWN = ("Ga",)  # without a tabulated modulus
ROOM = 30.0
EFFECT = 0.3  # relative, between categories: a few of them cannot tell their own spread
PROPERTIES = {"yield_strength": "MPa", "tensile_strength": "MPa", "hardness": "HV"}
DESCRIPTORS = {
    "youngs_modulus_voigt": "modulus",
    "mismatch_youngs_modulus": "misfit_modulus",
    "mismatch_atomic_radius": "misfit_size",
    "mean_melting_point": "melting_point",
}

COLUMNS = [
    rm.templates.Column("formula", "", "composition by atoms; the alloy"),
    rm.templates.Column("lot", "", "the piece of material that was tested, perhaps several times"),
    rm.templates.Column("yield_strength", "MPa", "cells may be empty"),
    rm.templates.Column("tensile_strength", "MPa", "ultimate; cells may be empty"),
    rm.templates.Column("hardness", "HV", "cells may be empty"),
    rm.templates.Column("temperature", "degC", "of the test; an empty cell is read as room temperature, hotter rows are left out"),
    rm.templates.Column("test_type", "", "tension, compression, not stated"),
    rm.templates.Column("processing", "", "cast, wrought, annealed, ..., not stated"),
    rm.templates.Column("structure", "", "fcc, bcc, other, not stated"),
]
VARIANTS = {
    "separate": "each property by itself: descriptors, processing, structure; the rest of each alloy and lot",
    "joint": "the same, with the rests of alloy and lot correlated between properties",
}


def data():
    return rm.datasets.load("mpea")


def prepare(table):
    """Keep what was tested at room temperature, and describe the composition by rules of mixtures."""
    room = table["temperature"].isna() | (table["temperature"] <= ROOM)
    known = ~table["formula"].str.contains("|".join(UNKNOWN))
    some = table[list(PROPERTIES)].notna().any(axis=1)
    kept = table[room & known & some]
    of = rm.descriptors.composition(kept["formula"], list(DESCRIPTORS), ignore=NONMETALS)
    return kept.assign(**{name: of[descriptor] for descriptor, name in DESCRIPTORS.items()})


def _member(response, unit):
    categories = ["processing", "structure"] + ([] if response == "hardness" else ["test_type"])
    return rm.Model(
        response,
        unit=unit,
        label=response.replace("_", " ").capitalize(),
        link="log",
        levels={"material": "formula", "specimen": "lot"},
        theory=rm.theory.Constant(),
        material=[
            rm.material.Effect("modulus", log=True),
            *(rm.material.Effect(column) for column in ("misfit_modulus", "misfit_size", "melting_point")),
            *(rm.material.Process(column, scale=EFFECT) for column in categories),
            rm.material.Unresolved(by="material"),
            rm.material.Unresolved(by="specimen"),
        ],
    )


def model(variant="joint"):
    correlate = ["unresolved_material", "unresolved_specimen"] if variant == "joint" else []
    return rm.Joint([_member(response, unit) for response, unit in PROPERTIES.items()], correlate=correlate)
