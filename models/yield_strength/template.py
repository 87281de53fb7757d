"""Yield strength of alloys: solid-solution strengthening against tests of barely known lots.

The theory is an ideal crystal of a random alloy: friction and the misfit of its atoms in size and stiffness resist dislocations, both in
proportion to Young's modulus, and heat helps them on (Labusch, Phys. Status Solidi 41, 659, 1970; for concentrated alloys Toda-Caraballo &
Rivera-Diaz-del-Castillo, Acta Mater. 85, 14, 2015). The real lot has a grain size (Hall-Petch), carbon, a processing route, a structure,
most of them not reported, and perhaps an irradiation dose; and each paper measures in its own way.
"""

import dataclasses

import numpy as np

import realmat as rm

NONMETALS = ("H", "B", "C", "N", "O", "P", "S")  # dissolved, they have no modulus of their own
SIZE_WEIGHT = 3.0  # of size against stiffness misfit: 3 to 16 between screw and edge dislocations
CARBON_U = 0.1  # relative; the tables state none
ROOM = 25.0
SATURATION = 3.0  # dpa; hardening by irradiation is all but complete at 10
EFFECT = 0.5  # relative, between categories: two to four of them cannot tell their own spread

COLUMNS = [
    rm.templates.Column("formula", "", "composition by atoms"),
    rm.templates.Column("material", "", "name of the alloy, or its formula"),
    rm.templates.Column("lot", "", "the piece of material that was tested, perhaps several times"),
    rm.templates.Column("paper", "", "the source"),
    rm.templates.Column("yield_strength", "MPa", "0.2 % offset"),
    rm.templates.Column("temperature", "degC", "of the test; an empty cell is read as room temperature"),
    rm.templates.Column("test_type", "", "tension or compression"),
    rm.templates.Column("processing", "", "cast, wrought, annealed, ..., not stated"),
    rm.templates.Column("structure", "", "fcc, bcc, other, not stated"),
    rm.templates.Column("grain_size", "um", "cells may be empty"),
    rm.templates.Column("C_wppm", "wppm", "carbon by weight; cells may be empty"),
    rm.templates.Column("dose", "dpa", "irradiation dose, 0 where not irradiated"),
]
VARIANTS = {
    "ideal": "solid-solution strengthening with thermal softening, and relative noise of one inferred size",
    "real": "as ideal; grain size, carbon, processing, structure, dose; the rest of each alloy and lot; biased papers",
}


def strength(youngs_modulus, misfit, temperature_ratio, friction, solution, softening):
    """Yield stress in the modulus's unit; `temperature_ratio` is to the mixed melting point."""
    return youngs_modulus * (friction + solution * misfit ** (4 / 3)) * np.exp(-softening * temperature_ratio)


def data():
    return rm.datasets.load("yield_strength")


def prepare(table):
    """Add Young's modulus (MPa), the atoms' misfit and T/Tm by rules of mixtures, the u of carbon, and hardening by irradiation.

    Its obstacles grow in number until they saturate (Makin & Minter, Acta Metall. 8, 691, 1960); `hardening` goes from 0 to 1.
    """
    names = ["youngs_modulus_voigt", "mismatch_youngs_modulus", "mismatch_atomic_radius", "mean_melting_point"]
    of = rm.descriptors.composition(table["formula"], names, ignore=NONMETALS)
    return table.assign(
        youngs_modulus=1000 * of["youngs_modulus_voigt"],
        misfit=np.hypot(of["mismatch_youngs_modulus"], SIZE_WEIGHT * of["mismatch_atomic_radius"]),
        temperature_ratio=(table["temperature"].fillna(ROOM) + 273.15) / of["mean_melting_point"],
        C_u=CARBON_U * table["C_wppm"],
        hardening=np.sqrt(1 - np.exp(-table["dose"] / SATURATION)),
    )


def model(variant="real"):
    theory = rm.theory.Function(
        strength,
        columns=["youngs_modulus", "misfit", "temperature_ratio"],
        params={
            "friction": rm.Prior("LogNormal", mu=np.log(1e-3), sigma=1.0),
            "solution": rm.Prior("LogNormal", mu=np.log(0.02), sigma=1.0),
            "softening": rm.Prior("Normal", mu=2.0, sigma=1.5),
        },
    )
    levels = {"material": "material", "specimen": "lot", "lab": "paper"}
    ideal = rm.Model("yield_strength", unit="MPa", link="log", label="Yield strength", levels=levels, theory=theory)
    if variant == "ideal":
        return ideal
    real = ideal.with_material(
        rm.material.GrainSize("grain_size", by="processing"),
        rm.material.Impurity("C_wppm", u="C_u"),
        rm.material.Process("processing"),
        rm.material.Process("structure", scale=EFFECT),
        rm.material.Process("test_type", scale=EFFECT),
        rm.material.Effect("hardening", level="row", slope=rm.Prior("Normal", mu=0.5, sigma=0.5)),
        rm.material.Unresolved(by="material"),
        rm.material.Unresolved(by="specimen"),
    ).with_observation(rm.observation.Normal(bias_by="lab"))
    return dataclasses.replace(real, labels={"C_wppm": "carbon"})
