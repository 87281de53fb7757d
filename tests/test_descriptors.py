"""Descriptors against published values, closed forms, pymatgen's own averages, and the calculated columns of a published data set."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Composition, Element, Lattice, Structure

import realmat as rm
from realmat.table.units import parse

composition: Callable[..., pd.DataFrame] = rm.descriptors.composition
structure: Callable[..., pd.DataFrame] = rm.descriptors.structure


def test_valence_electron_concentrations_of_guo_2011() -> None:
    """Guo et al., J. Appl. Phys. 109, 103505 (2011), and refractory alloys of Senkov et al., Intermetallics 18, 1758 (2010)."""
    published = {
        "CoCrFeMnNi": 8.0,
        "CoCrCuFeNi": 8.8,
        "Al1CoCrFeNi": 7.2,
        "Al0.5CoCrCuFeNi": 8.27,
        "AlCoCrCuFeNi": 7.83,
        "NbMoTaW": 5.5,
        "VNbMoTaW": 5.4,
    }
    found = composition(published, "vec")["vec"]
    assert found.to_numpy() == pytest.approx([*published.values()], abs=5e-3)


def test_mixing_entropy_of_an_equimolar_alloy_is_r_ln_n() -> None:
    found = composition(["Fe", "FeNi", "NbMoTaW", "CoCrFeMnNi"], ["mixing_entropy", "number_of_elements"])
    assert found["mixing_entropy"].to_numpy() == pytest.approx(8.31446261815324 * np.log([1, 2, 4, 5]))
    assert found["number_of_elements"].tolist() == [1, 2, 4, 5]


def test_the_mismatch_of_an_equimolar_pair_has_a_closed_form() -> None:
    """With equal fractions the mean is (a + b)/2, and both deviations are (a - b)/2."""
    a, b = (float(Element(symbol).metallic_radius) for symbol in ("Al", "Ni"))
    found = composition(["AlNi", "Al"], ["delta", "mismatch_metallic_radius", "mismatch_electronegativity"])
    assert found.loc[0, "delta"] == pytest.approx(100 * (a - b) / (a + b))
    assert found.loc[0, "mismatch_metallic_radius"] == pytest.approx((a - b) / (a + b))
    assert found.loc[0, "mismatch_electronegativity"] == pytest.approx((Element("Ni").X - Element("Al").X) / 2)
    assert found.loc[1].to_numpy() == pytest.approx(0)


def test_means_agree_with_pymatgen() -> None:
    formulas = ["Fe2O3", "Ca3(PO4)2", "Al0.25 Co1 Fe1 Ni1"]
    found = composition(formulas, ["mean_electronegativity", "mean_atomic_mass", "element_fractions", "weight_fractions"])
    for i, formula in enumerate(formulas):
        comp = Composition(formula)
        assert found.loc[i, "mean_electronegativity"] == pytest.approx(comp.average_electroneg)
        assert found.loc[i, "mean_atomic_mass"] == pytest.approx(float(comp.weight) / comp.num_atoms)
        for element in comp:
            assert found.loc[i, f"x_{element}"] == pytest.approx(comp.get_atomic_fraction(element))
            assert found.loc[i, f"w_{element}"] == pytest.approx(comp.get_wt_fraction(element))
    assert found.filter(like="x_").sum(axis=1).to_numpy() == pytest.approx(1)
    assert found.filter(like="w_").sum(axis=1).to_numpy() == pytest.approx(1)


@pytest.mark.usefixtures("data_dir")
def test_rules_of_mixtures_agree_with_a_published_table() -> None:
    """Borg et al. calculated density (printed to 0.1 g/cm3) and Young's modulus (to 1 GPa) of their alloys by the rule of mixtures."""
    alloys = rm.datasets.load("mpea")
    alloys = alloys[~alloys["formula"].str.contains(r"\b(?:Ga|B|C)\d")]
    found = composition(alloys["formula"], ["density", "youngs_modulus_voigt"])
    density = (found["density"] - alloys["density_calculated"]).abs()
    assert density.quantile(0.95) < 0.055
    assert density.max() < 0.12
    modulus = (found["youngs_modulus_voigt"] - alloys["youngs_modulus_calculated"]).abs()
    assert modulus.count() > 700
    assert modulus.max() <= 0.5


def test_reuss_lies_below_voigt_and_both_are_the_elements_own_for_a_pure_one() -> None:
    found = composition(["NbMoTaW", "AlNi3", "W"], ["youngs_modulus_voigt", "youngs_modulus_reuss"])
    assert (found["youngs_modulus_reuss"] <= found["youngs_modulus_voigt"] + 1e-9).all()
    assert found.loc[2].tolist() == pytest.approx([411.0, 411.0])  # tungsten


def test_elements_can_be_left_out() -> None:
    with_carbon = composition(["Fe98C2"], ["youngs_modulus_voigt", "vec"], ignore=["C"])
    pd.testing.assert_frame_equal(with_carbon, composition(["Fe"], ["youngs_modulus_voigt", "vec"]))


def test_the_index_and_the_order_are_kept() -> None:
    formulas = pd.Series(["Fe2O3", "NaCl", "Fe2O3"], index=["b", "a", "a"])
    found = composition(formulas, ["mean_melting_point", "vec"])
    assert found.index.equals(formulas.index)
    assert found.columns.tolist() == ["mean_melting_point", "vec"]
    assert found.iloc[0].equals(found.iloc[2].rename("b"))


def test_every_formula_that_cannot_be_read_is_listed() -> None:
    formulas = pd.Series(["Fe2O3", "Xx2O", "fe2o3", None, "", 3.5, "FeO"], index=range(10, 17))
    with pytest.raises(rm.DataError, match="cannot be read in 5 rows") as caught:
        composition(formulas, ["vec"])
    assert [re.match(r"row (\d+): (.*):", problem).groups() for problem in caught.value.problems] == [
        ("11", "'Xx2O'"),
        ("12", "'fe2o3'"),
        ("13", "None"),
        ("14", "''"),
        ("15", "3.5"),
    ]


def test_a_long_list_of_bad_rows_is_cut() -> None:
    with pytest.raises(rm.DataError, match="in 300 rows") as caught:
        composition(["?"] * 300, ["vec"])
    assert len(caught.value.problems) == 21
    assert caught.value.problems[-1] == "and 280 more rows"


def test_an_element_without_a_value_is_an_error_with_the_way_out() -> None:
    with pytest.raises(rm.DataError, match=r"ignore=\[\.\.\.\]") as caught:
        composition(["Fe", "Fe98C2", "FeO"], ["youngs_modulus_voigt", "density"])
    assert caught.value.problems == ("row 1: Fe98C2: no youngs modulus of C", "row 2: FeO: no youngs modulus of O; no density of O")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: composition(["Fe"], ["mean_atomic_radios", "vec"]), "did you mean 'mean_atomic_radius'"),
        (lambda: composition(["Fe"], ["vce"]), "did you mean 'vec'"),
        (lambda: composition(["Fe"], ["vec"], ignore=["Zz"]), "no such element: 'Zz'"),
        (lambda: structure([], ["volume"]), "did you mean 'volume_per_atom'"),
    ],
)
def test_unknown_names_are_refused(call: Callable[[], object], said: str) -> None:
    with pytest.raises(rm.ModelError, match=said):
        call()


def test_the_list_names_every_descriptor_with_a_unit_that_is_read() -> None:
    table = rm.descriptors.list()
    assert table["name"].groupby(table["of"]).nunique().sum() == len(table)
    assert table.map(bool).all(axis=None)
    for unit in table["unit"]:
        parse(unit)
    of_compositions = table.loc[table["of"] == "composition", "name"]
    assert np.isfinite(composition(["NbMoTaW", "AlNi3"], of_compositions)).all(axis=None)


CRYSTALS = {
    "silicon": Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]]),
    "rock salt": Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.6402), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "aluminium": Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.0495), ["Al"], [[0, 0, 0]]),
}


def test_crystals_have_their_textbook_values() -> None:
    """Densities of the CRC Handbook; neighbours at sqrt(3)/4 a, a/2 and a/sqrt(2)."""
    found = structure(
        pd.Series(CRYSTALS), ["density", "space_group_number", "coordination_number", "nearest_neighbour_distance", "volume_per_atom"]
    )
    assert found.index.tolist() == [*CRYSTALS]
    assert found["density"].to_numpy() == pytest.approx([2.329, 2.163, 2.699], abs=1.5e-3)
    assert found["space_group_number"].tolist() == [227, 225, 225]
    assert found["coordination_number"].to_numpy() == pytest.approx([4, 6, 12])
    distances = [5.431 * np.sqrt(3) / 4, 5.6402 / 2, 4.0495 / np.sqrt(2)]
    assert found["nearest_neighbour_distance"].to_numpy() == pytest.approx(distances)
    assert found["volume_per_atom"].to_numpy() == pytest.approx([5.431**3 / 8, 5.6402**3 / 8, 4.0495**3 / 4])


def test_the_packing_fraction_is_spheres_over_the_cell() -> None:
    radius = float(Element("Al").atomic_radius)
    found = structure([CRYSTALS["aluminium"]], "packing_fraction")
    assert found.loc[0, "packing_fraction"] == pytest.approx(4 * 4 / 3 * np.pi * radius**3 / 4.0495**3)


def test_descriptors_do_not_depend_on_the_cell_that_is_chosen() -> None:
    silicon = CRYSTALS["silicon"]
    cells = [silicon, silicon.get_primitive_structure(), silicon * (1, 2, 1), silicon * (1, 1, 3)]
    names = ["volume_per_atom", "density", "packing_fraction", "space_group_number", "nearest_neighbour_distance"]
    found = structure(cells, names).to_numpy()
    assert found == pytest.approx(np.tile(found[0], (4, 1)))


def test_structures_are_read_from_files_and_every_bad_one_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "salt.cif"
    CRYSTALS["rock salt"].to(filename=str(path))
    assert structure([str(path)], "density").loc[0, "density"] == pytest.approx(2.163, abs=1.5e-3)
    helium = Structure(Lattice.cubic(4.24), ["He"], [[0, 0, 0]])
    with pytest.raises(rm.DataError, match="in 3 rows") as caught:
        structure([str(path), "nowhere.cif", 3, helium], ["packing_fraction"])
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["row 1", "row 2", "row 3"]


@pytest.mark.parametrize(
    ("smiles", "atoms"),
    [
        ("CC(=O)Oc1ccccc1C(=O)O", {"C": 3, "aromatic_C": 6, "O": 4, "rings": 1}),  # aspirin, C9H8O4
        ("Cn1c(=O)c2c(ncn2C)n(C)c1=O", {"C": 3, "aromatic_C": 5, "aromatic_N": 4, "O": 2, "rings": 2}),  # caffeine, C8H10N4O2
        ("O[C@H]1[C@@H](O)[13CH2]C[NH2+]1.[Cl-]", {"C": 4, "N": 1, "O": 2, "Cl": 1, "rings": 1}),
        ("C%10CCCC%10Br", {"C": 5, "Br": 1, "rings": 1}),
    ],
)
def test_atoms_of_molecules(smiles: str, atoms: dict[str, int]) -> None:
    found = rm.descriptors.atom_counts([smiles]).iloc[0]
    assert {name.removeprefix("atoms_"): count for name, count in found.items() if count} == atoms


def test_texts_that_are_no_smiles_are_named() -> None:
    with pytest.raises(rm.DataError, match=r"no SMILES in 3 rows.*\n.*row 1: 'C1CC'.*\n.*row 2: 'hexane'.*\n.*row 5: empty or not a text"):
        rm.descriptors.atom_counts(pd.Series(["CC", "C1CC", "hexane", None], index=[0, 1, 2, 5]))
