"""Properties of the elements, as pymatgen tabulates them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Property:
    """A tabulated property of the elements: where pymatgen keeps it, its unit here, and the factor to that unit."""

    attribute: str
    unit: str
    source: str
    factor: float = 1.0


PROPERTIES = {
    "atomic_radius": Property("atomic_radius", "Å", "empirical radii of Slater 1964, doi 10.1063/1.1725697"),
    "metallic_radius": Property("metallic_radius", "Å", "radii for coordination number 12, as tabulated by pymatgen"),
    "electronegativity": Property("X", "1", "Pauling's scale"),
    "atomic_mass": Property("atomic_mass", "g/mol", "standard atomic weights"),
    "melting_point": Property("melting_point", "K", "elements at 1 bar"),
    "boiling_point": Property("boiling_point", "K", "elements at 1 bar"),
    "molar_volume": Property("molar_volume", "cm^3/mol", "elements at room temperature"),
    "density": Property("density_of_solid", "g/cm^3", "solid elements", 1e-3),
    "youngs_modulus": Property("youngs_modulus", "GPa", "polycrystalline elements"),
    "bulk_modulus": Property("bulk_modulus", "GPa", "polycrystalline elements"),
    "valence_electrons": Property(
        "", "1", "electrons outside the closed shell, d electrons included: Guo et al. 2011, doi 10.1063/1.3587228"
    ),
}


def table(name: str, symbols: Sequence[str]) -> np.ndarray:
    """Look up a property for elements, NaN where pymatgen has no value.

    Parameters
    ----------
    name : str
        A key of `PROPERTIES`.
    symbols : sequence of str

    Returns
    -------
    numpy.ndarray
        Shape (elements,).
    """
    from pymatgen.core import Element

    if name == "valence_electrons":
        groups = np.array([Element(symbol).group for symbol in symbols])
        return np.where(groups > 12, groups - 10, groups).astype(float)
    prop = PROPERTIES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns where it has no value; the caller reports that with the rows concerned
        values = [getattr(Element(symbol), prop.attribute) for symbol in symbols]
    return np.array([np.nan if value is None else float(value) for value in values]) * prop.factor
