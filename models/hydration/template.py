"""Hydration free energies: a force field, corrected by kinds of atoms and functional groups.

The theory is an alchemical free energy with the GAFF force field, fixed charges and TIP3P water. Its errors follow the kinds of atoms,
whose radii and well depths are the force field's own parameters (shifts in the theory layer), and the functional groups, where water
makes contacts that fixed charges miss (the solvation layer). Fixed charges also make some groups too polar and others not polar enough,
an error that grows with the energy itself: the slope on the calculated value therefore depends on the kinds of atoms and on the groups.
All of these are pooled, so that rare ones lean on the others. What then remains differs from molecule to molecule, more so where several
polar atoms may bind to each other instead of to water, and has heavy tails.
"""

import realmat as rm

ATOMS = "Br C Cl F I N O P S aromatic_C aromatic_N aromatic_S"
GROUPS = (
    "aromatic heterocyclic aryl_chloride carboxylic_acid_ester alkene phenol_or_hydroxyhetarene alkyl_chloride ketone halogen_derivative "
    "primary_amine primary_alcohol dialkyl_ether nitro aldehyde primary_aromatic_amine alkyl_aryl_ether secondary_alcohol alkyl_bromide "
    "secondary_amine tertiary_amine carboxylic_acid diaryl_ether carbonitrile oxohetarene secondary_aliphatic_amine "
    "orthocarboxylic_acid_derivative primary_aliphatic_amine thiophosphoric_acid_ester alkyl_iodide nitrate thioether orthoester "
    "tertiary_aliphatic_amine tertiary_aliphatic_aromatic_amine tertiary_carboxylic_acid_amide alkyl_fluoride alkyne aryl_bromide "
    "aryl_fluoride 1_2_diol secondary_aliphatic_aromatic_amine thiol alkylthiol primary_carboxylic_acid_amide aryl_iodide "
    "carbamic_acid_ester phosphoric_acid_ester tertiary_alcohol acetal carboxylic_acid_imide_n_substituted disulfide hemiacetal "
    "secondary_carboxylic_acid_amide sulfone thiocarbamic_acid_ester 1_2_aminoalcohol anion arylthiol carbamic_acid "
    "carboxylic_acid_imide_n_unsubstituted cation hemiaminal hydrazine_derivative ketene_acetal_or_derivative "
    "phosphonic_acid_derivative phosphonic_acid_ester secondary_aromatic_amine sulfonic_acid_ester sulfonyl_halide sulfoxide "
    "sulfuric_acid_diester urea"
)
POLAR = [f"atoms_{a}" for a in ("N", "O", "P", "S", "aromatic_N", "aromatic_O", "aromatic_S")]

COLUMNS = [
    rm.templates.Column("molecule", "", "an identifier"),
    rm.templates.Column("smiles", "", "the molecule, from which atoms and rings are counted"),
    rm.templates.Column("hydration_free_energy", "kcal/mol", "measured, 1 mol/L in gas and water, 298 K"),
    rm.templates.Column("u_stated", "kcal/mol", "its standard uncertainty, empty where the source states none", required=False),
    rm.templates.Column("gaff", "kcal/mol", "calculated with GAFF"),
    rm.templates.Column("group_<name>", "", "a column for each functional group, 1 where the molecule has it, else 0", required=False),
]
VARIANTS = {
    "theory": "GAFF as calculated, and noise of one inferred size",
    "ideal": "GAFF up to a line, and noise of one inferred size",
    "real": "GAFF with shifts by kind of atom and slopes by atom and group, solvation by group, a heavy-tailed rest of each molecule",
}


def data():
    return rm.datasets.load("hydration")


def prepare(table):
    """Add atom counts, the number of polar atoms, the calculated value times counts and groups, and an empty u where there is none."""
    if "u_stated" not in table:
        table = table.assign(u_stated=float("nan"))
    if "rings" not in table:
        table = table.join(rm.descriptors.atom_counts(table["smiles"]))
    if "polar_atoms" not in table:
        count = table[[c for c in table if c in POLAR]].sum(axis=1)
        table = table.assign(polar_atoms=[str(n) if n < 4 else "4 or more" for n in count])
    if "gaff_rings" in table:
        return table
    return table.join(table.filter(regex="^(atoms_|group_|rings$)").mul(table["gaff"], axis=0).add_prefix("gaff_"))


def model(variant="real", table=None):
    atoms = [f"atoms_{a}" for a in ATOMS.split()] if table is None else [c for c in table if c.startswith("atoms_")]
    groups = [f"group_{g}" for g in GROUPS.split()] if table is None else [c for c in table if c.startswith("group_")]
    exact_line = {"intercept": 0.0, "slope": 1.0} if variant == "theory" else {}
    declared = rm.Model(
        "hydration_free_energy",
        unit="kcal/mol",
        label="Hydration free energy",
        levels={"material": "molecule"},
        theory=rm.theory.Calibrated("gaff", **exact_line),
        observation=rm.observation.Normal(),
    )
    if variant != "real":
        return declared
    shifts = [*atoms, "rings"]
    slopes = rm.theory.Corrections([f"gaff_{c}" for c in (*shifts, *groups)], name="slopes")
    rest = rm.material.Unresolved(by="material", scale_by="polar_atoms", nu=3)
    return (
        declared.with_theory(rm.theory.Calibrated("gaff"), rm.theory.Corrections(shifts), slopes)
        .with_material(*([rm.material.Solvation(groups)] if groups else []), rest)
        .with_observation(rm.observation.Normal(u="u_stated", scale=False))
    )
