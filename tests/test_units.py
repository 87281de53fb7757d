"""Units: what materials scientists write is read, wrong dimensions are refused, conversions agree with CODATA and ISO values."""

from __future__ import annotations

import numpy as np
import pytest

from realmat import ModelError
from realmat.table import units


@pytest.mark.parametrize(
    ("unit", "kind"),
    [
        ("", "dimensionless number"),
        ("1", "dimensionless number"),
        ("%", "dimensionless number"),
        ("wt%", "mass fraction"),
        ("wt.%", "mass fraction"),
        ("mass %", "mass fraction"),
        ("wppm", "mass fraction"),
        ("ppmw", "mass fraction"),
        ("wt ppm", "mass fraction"),
        ("at%", "atom fraction"),
        ("at. %", "atom fraction"),
        ("appm", "atom fraction"),
        ("vol%", "volume fraction"),
        ("um", "length"),
        ("µm", "length"),
        ("μm", "length"),
        ("Å", "length"),
        ("eV", "energy"),
        ("kcal/mol", "energy"),
        ("eV/atom", "energy per atom"),
        ("meV/atom", "energy per atom"),
        ("MPa", "stress"),
        ("HV", "stress"),
        ("MPa√m", "Hall-Petch coefficient or fracture toughness"),
        ("MPa um^0.5", "Hall-Petch coefficient or fracture toughness"),
        ("degC", "temperature"),
        ("°C", "temperature"),
        ("℃", "temperature"),
        ("cm-1", "wavenumber"),
        ("W m-1 K-1", "thermal conductivity"),
        ("dpa", "displacement dose"),
    ],
)
def test_units_are_read_as_written(unit: str, kind: str) -> None:
    assert units.kind(unit) == kind


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (1.0, "eV", "kJ/mol", 96.48533212331),  # Faraday constant, CODATA 2018 (exact)
        (8.31446261815324, "J/mol/K", "eV/K", 8.617333262145e-5),  # the gas constant is Boltzmann's
        (1.0, "kcal/mol", "kJ/mol", 4.184),
        (25.0, "degC", "K", 298.15),
        (0.0, "K", "degC", -273.15),
        (200.0, "HV", "MPa", 1961.33),  # kgf/mm2
        (0.02, "wt%", "wppm", 200.0),
        (1.5, "at%", "appm", 15000.0),
        (5.0, "vol%", "1", 0.05),
        (0.05, "1", "wt%", 5.0),
        (300.0, "wppm", "%", 0.03),
        (2.0, "mm", "um", 2000.0),
        (1.0, "MPa*m^0.5", "MPa*um^0.5", 1000.0),
        (5.43, "Å", "nm", 0.543),
    ],
)
def test_known_conversions(value: float, source: str, target: str, expected: float) -> None:
    assert units.convert(value, source, target) == pytest.approx(expected, rel=1e-12)


def test_uncertainties_convert_without_an_offset() -> None:
    np.testing.assert_allclose(units.convert([5.0, 0.0], "degC", "K", difference=True), [5.0, 0.0], rtol=1e-12)


def test_arrays_keep_their_gaps_and_are_not_changed() -> None:
    grain = np.array([1.0, np.nan, 3.0])
    np.testing.assert_array_equal(units.convert(grain, "mm", "um"), [1000.0, np.nan, 3000.0])
    np.testing.assert_array_equal(grain, [1.0, np.nan, 3.0])


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("mm", "MPa", "stress"),
        ("wt%", "at%", "atom fraction"),  # needs the composition
        ("kJ/mol", "eV/atom", "energy per atom"),  # needs the number of atoms in the formula
        ("C", "K", "coulomb"),
    ],
)
def test_wrong_dimensions_are_refused(source: str, target: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        units.convert(1.0, source, target)


def test_a_wrong_dimension_names_the_column_and_what_is_needed() -> None:
    with pytest.raises(ModelError, match=r"column 'grain': the unit 'MPa' \(stress\) does not fit; needed is length, such as 'um'"):
        units.check_dimension("MPa", "length", "column 'grain'")
    units.check_dimension("mm", "length", "column 'grain'")
    units.check_dimension("vol%", "1", "column 'porosity'")


@pytest.mark.parametrize(
    ("wrong", "meant"), [("Mpa", "MPa"), ("g/cm^", "g/cm"), ("eV/atm.", "eV/atom"), ("MPa.", "MPa"), ("MPa.m^0.5", "MPa")]
)
def test_an_unknown_unit_is_refused_with_the_likely_one(wrong: str, meant: str) -> None:
    with pytest.raises(ModelError, match=f"unknown unit.*did you mean.*{meant}"):
        units.parse(wrong)


def test_every_kind_has_a_typical_unit_of_its_own() -> None:
    assert [units.kind(typical) for typical in units.KINDS.values()] == list(units.KINDS)
