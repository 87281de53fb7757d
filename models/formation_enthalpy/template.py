"""Formation enthalpies: density-functional theory against calorimetry, corrected by element.

The theory is the formation energy of PBE or PBE+U without any correction. Its known faults are a bonding strength that is off by a constant
factor, shifts in proportion to the amount of an element (the overbound O2 molecule, anions, the reference states) and, in compounds
calculated with a Hubbard U, shifts of the elements once more, because energies with and without U do not share a zero. Both kinds of shift
are pooled, so that rare elements lean on the others. What then remains of a compound (its phase, order and stoichiometry, and what the
functional misses in it alone) is the unresolved real material.
"""

import realmat as rm

ELEMENTS = (
    "Ag Al Ba Be Br C Ca Cl Co Cr Cs Cu F Fe Ga Ge H I K Li Mg Mn Mo N Na Ni O O_peroxide O_superoxide P Pb Rb S Sb Se Si Sr Te Ti V W Zn"
)
ELEMENTS_U = "Ag Al Ba C Ca Cl Co Cr Cs Cu F Fe H K Li Mg Mn Mo Na Ni O Pb S Se Si Sr Ti V W Zn"

COLUMNS = [
    rm.templates.Column("formula", "", "the compound"),
    rm.templates.Column("formation_enthalpy", "eV/atom", "measured enthalpy of formation at 298 K"),
    rm.templates.Column("formation_enthalpy_u", "eV/atom", "its stated standard uncertainty; empty or 0: not stated", required=False),
    rm.templates.Column("pbe", "eV/atom", "PBE or PBE+U formation energy against the elements' PBE energies, without any correction"),
    rm.templates.Column("plus_u", "", "whether the compound was calculated with a Hubbard U (0 or 1)"),
    rm.templates.Column("oxide_type", "", "'peroxide', 'superoxide', or anything else", required=False),
]
VARIANTS = {
    "theory": "PBE as computed; nothing but the stated uncertainty of the measurements",
    "ideal": "PBE as computed, and noise of one inferred size",
    "real": "PBE up to a line, shifts by element, an unresolved rest of each compound, the stated uncertainty",
}


def data():
    return rm.datasets.load("formation_enthalpy")


def prepare(table):
    """Add atom fractions: x_<El>, xu_<El> (those of +U compounds), x_O_peroxide, x_O_superoxide; and an empty u where there is none."""
    if "formation_enthalpy_u" not in table:
        table = table.assign(formation_enthalpy_u=float("nan"))
    if any(name.startswith("x_") for name in table):
        return table
    x = rm.descriptors.composition(table["formula"], ["element_fractions"])
    for kind in ("peroxide", "superoxide"):
        if "oxide_type" in table and (table["oxide_type"] == kind).any():
            x[f"x_O_{kind}"] = x["x_O"].where(table["oxide_type"] == kind, 0.0)
    xu = x.mul(table["plus_u"].astype(float), axis=0)
    xu.columns = [name.replace("x_", "xu_", 1) for name in xu]
    return table.join(x).join(xu.loc[:, xu.any()])


def model(variant="real", table=None):
    x = [f"x_{e}" for e in ELEMENTS.split()] if table is None else [c for c in table if c.startswith("x_")]
    xu = [f"xu_{e}" for e in ELEMENTS_U.split()] if table is None else [c for c in table if c.startswith("xu_")]
    declared = rm.Model(
        "formation_enthalpy",
        unit="eV/atom",
        label="Formation enthalpy",
        levels={"material": "formula"},
        theory=rm.theory.Calibrated("pbe", intercept=0.0, slope=1.0),
        observation=rm.observation.Normal(u="formation_enthalpy_u", scale=variant == "ideal"),
    )
    if variant != "real":
        return declared
    shifts = [rm.theory.Corrections(x)] + ([rm.theory.Corrections(xu, name="corrections_u")] if xu else [])
    return declared.with_theory(rm.theory.Calibrated("pbe"), *shifts).with_material(rm.material.Unresolved(by="material"))
