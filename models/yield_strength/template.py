"""Yield strength of alloys: an ideal crystal's stiffness against tensile and compression tests of real, barely characterised lots.

The theory is a rule of mixtures: the ideal strength of a crystal is a fraction of its stiffness, so yield strength goes with a power of the
elements' mixed Young's modulus. The real lot has a grain size (Hall-Petch), interstitials and a processing route, most of them not
reported; it was tested warm or irradiated; and each paper measures in its own way.
"""

import realmat as rm

INTERSTITIALS = ("O", "N", "C", "B", "H")

COLUMNS = [
    rm.templates.Column("formula", "", "composition by atoms"),
    rm.templates.Column("lot", "", "the piece of material that was tested, perhaps several times"),
    rm.templates.Column("paper", "", "the source"),
    rm.templates.Column("yield_strength", "MPa", "0.2 % offset"),
    rm.templates.Column("temperature", "degC", "of the test; cells may be empty"),
    rm.templates.Column("dose", "dpa", "irradiation dose, 0 where not irradiated"),
    rm.templates.Column("test_type", "", "tension or compression"),
    rm.templates.Column("processing", "", "cast, wrought, annealed, ..., not stated"),
    rm.templates.Column("structure", "", "fcc, bcc, other, not stated"),
    rm.templates.Column("grain_size", "um", "cells may be empty"),
    rm.templates.Column("C_wppm", "wppm", "carbon, by weight; cells may be empty"),
    rm.templates.Column("C_limit", "wppm", "its detection limit where nothing was found; cells may be empty"),
]
VARIANTS = {
    "theory": "the mixed Young's modulus times one constant, and relative noise of one inferred size",
    "ideal": "a power of the mixed Young's modulus, and relative noise of one inferred size",
    "real": "grain size, carbon, processing, structure, temperature, dose; the rest of each alloy and lot; biased papers",
}


def data():
    return rm.datasets.load("yield_strength")


def prepare(table):
    """Add the Young's modulus by the rule of mixtures (Voigt), in MPa."""
    modulus = rm.descriptors.composition(table["formula"], ["youngs_modulus_voigt"], ignore=INTERSTITIALS)
    return table.assign(youngs_modulus=1000 * modulus["youngs_modulus_voigt"])


def model(variant="real"):
    slope = {"slope": 1.0} if variant == "theory" else {}
    declared = rm.Model(
        "yield_strength",
        unit="MPa",
        link="log",
        levels={"material": "formula", "specimen": "lot", "lab": "paper"},
        theory=rm.theory.Calibrated("youngs_modulus", **slope),
    )
    if variant != "real":
        return declared
    return declared.with_material(
        rm.material.GrainSize("grain_size", by="processing"),
        rm.material.Impurity("C_wppm", below="C_limit"),
        rm.material.Process("processing"),
        rm.material.Process("structure"),
        rm.material.Process("test_type"),
        rm.material.Effect("temperature"),
        rm.material.Effect("dose"),
        rm.material.Unresolved(by="material"),
        rm.material.Unresolved(by="specimen"),
    ).with_observation(rm.observation.Normal(bias_by="lab"))
