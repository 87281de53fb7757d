"""Band gaps: a ladder of theories, most of them missing somewhere, and one ideal gap behind them all.

Nobody has one calculation: there is PBE for everything, a hybrid for much, GW for little. The ideal gap of a solid is latent; each theory
tells of it with a bias, a slope and an error, and errors of related theories go together. Columns that repeat a theory with other settings
(spin-orbit coupling, other pseudopotentials, all electrons) are left out: they tell of the settings, not of the gap.
"""

import realmat as rm

FAMILIES = {
    "local": ["LDA", "PBE", "PBE_SOL", "SCAN"],
    "potential": ["BJ", "MBJ", "HLE16"],
    "hybrid": ["HSE06", "HSE14", "HSE06_mix", "PBE0", "PBE0_mix"],
    "GW": ["G0W0@LDA-PPA", "G0W0@PBE-PPA", "QPG0W0", "QSGW", "QSGW^"],
}
THEORIES = [theory for family in FAMILIES.values() for theory in family]
HARD = 4.0  # degrees of freedom of the solids' scales: some are hard for every theory

COLUMNS = [
    rm.templates.Column("Composition", "", "formula of the solid"),
    rm.templates.Column("Experimental", "eV", "measured gap"),
    *(rm.templates.Column(theory, "eV", f"gap by {theory}; cells may be empty", required=False) for theory in THEORIES),
]
VARIANTS = {
    "theory": "mBJ as calculated, the best single theory that is complete, and noise",
    "ideal": "mBJ up to a line, and noise",
    "families": "all theories, whose errors share a part in each family",
    "real": "all theories, whose errors go together in any way",
}


def data():
    table = rm.datasets.load("band_gap_ladder")
    return table[table["MBJ"].notna()].reset_index(drop=True)


def model(variant="real"):
    declared = rm.Model("Experimental", unit="eV", label="Band gap", levels={"material": "Composition"})
    if variant in ("theory", "ideal"):
        line = {"intercept": 0.0, "slope": 1.0} if variant == "theory" else {}
        return declared.with_theory(rm.theory.Calibrated("MBJ", **line))
    errors = {"families": "families", "real": "auto"}[variant]
    return declared.with_theory(rm.theory.Consensus(THEORIES, errors=errors, families=FAMILIES, nu=HARD))
