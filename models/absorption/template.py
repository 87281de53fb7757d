"""Absorption of dyes in solvents: TD-DFT in vacuum against spectra in solution.

The theory is the brightest vertical excitation in vacuum, too high by most of an electronvolt. The real dye is dissolved: every solvent
shifts the band, partly as its polarity says (Onsager's reaction field), partly in its own way. What theory misses in one dye alone
(another band than the brightest, vibrations, aggregation) is unresolved. Mistaken entries among the spectra give the noise heavy tails.
"""

import dataclasses

import realmat as rm

COLUMNS = [
    rm.templates.Column("dye", "", "SMILES, or any identifier"),
    rm.templates.Column("solvent_name", "", "the solvent"),
    rm.templates.Column("absorption", "eV", "photon energy at the absorption maximum"),
    rm.templates.Column("tddft", "eV", "calculated vertical excitation in vacuum"),
    rm.templates.Column("dielectric", "", "static relative permittivity of the solvent; cells may be empty"),
    rm.templates.Column("collection", "", "who collected the spectrum: laboratory, paper or database"),
]
VARIANTS = {
    "theory": "TD-DFT as calculated, and noise of one inferred size",
    "ideal": "TD-DFT up to a line, and noise of one inferred size",
    "real": "TD-DFT up to a line; solvents, partly explained by polarity; a rest of each dye; biased collections, heavy tails",
}


def data():
    """Without the rows that repeat a spectrum: collections quote the same papers."""
    table = rm.datasets.load("absorption")
    return table[~table["duplicate"]].reset_index(drop=True)


def model(variant="real"):
    exact_line = {"intercept": 0.0, "slope": 1.0} if variant == "theory" else {}
    declared = rm.Model(
        "absorption",
        unit="eV",
        label="Absorption maximum",
        levels={"material": "dye", "lab": "collection"},
        theory=rm.theory.Calibrated("tddft", **exact_line),
    )
    if variant != "real":
        return declared
    real = declared.with_material(
        rm.material.Solvent("solvent_name", explained_by="dielectric", form="onsager"),
        rm.material.Unresolved(by="material"),
    ).with_observation(rm.observation.StudentT(nu=3, bias_by="lab"))
    return dataclasses.replace(real, labels={"solvent_name": "solvent"})
