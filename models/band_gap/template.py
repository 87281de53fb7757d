"""Band gaps: PBE against measurements of crystals and films, at any temperature, by any method.

The theory is the PBE gap, too small by a roughly constant factor. The measured crystal has a temperature, is a single crystal, a
polycrystal or amorphous, in bulk or as a film; what PBE misses in one compound alone is unresolved. Methods see different things (thermal
activation often measures defect levels), with different scatter and heavy tails: they belong to the observation.
"""

import realmat as rm

EFFECT = 0.5  # eV, between categories: two to four of them cannot tell their own spread
HEAVY = 4.0  # degrees of freedom of the noise; the data ask for as few as the variance allows, and 4 still has one

COLUMNS = [
    rm.templates.Column("formula", "", "the compound"),
    rm.templates.Column("band_gap", "eV", "measured"),
    rm.templates.Column("pbe", "eV", "PBE gap of the compound, averaged over its polymorphs where the phase is not known"),
    rm.templates.Column("temperature", "K", "of the measurement; cells may be empty"),
    rm.templates.Column("crystallinity", "", "single crystalline, polycrystalline, amorphous, not stated"),
    rm.templates.Column("morphology", "", "thin film, or not stated"),
    rm.templates.Column("transition", "", "direct, indirect, excitonic, not stated"),
    rm.templates.Column("method", "", "absorption, reflection, thermal activation, ..."),
]
VARIANTS = {
    "theory": "PBE as calculated, and noise of one inferred size",
    "ideal": "PBE up to a line, and noise of one inferred size",
    "real": "PBE up to a line; crystallinity, morphology, transition, temperature, a rest of each compound; biased methods, heavy tails",
}


def data():
    return rm.datasets.load("band_gap")


def model(variant="real"):
    exact_line = {"intercept": 0.0, "slope": 1.0} if variant == "theory" else {}
    declared = rm.Model(
        "band_gap", unit="eV", label="Band gap", levels={"material": "formula"}, theory=rm.theory.Calibrated("pbe", **exact_line)
    )
    if variant != "real":
        return declared
    return declared.with_material(
        rm.material.Process("crystallinity", scale=EFFECT),
        rm.material.Process("morphology", scale=EFFECT),
        rm.material.Process("transition", scale=EFFECT),
        rm.material.Effect("temperature", level="row"),
        rm.material.Unresolved(by="material"),
    ).with_observation(rm.observation.StudentT(bias_by="method", nu=HEAVY))
