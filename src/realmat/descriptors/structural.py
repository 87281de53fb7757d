"""Descriptors of crystal structures."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from realmat.descriptors.descriptor import Descriptor, chosen, refuse
from realmat.descriptors.elements import table

if TYPE_CHECKING:
    from pymatgen.core import Structure


def _volume_per_atom(structure: Structure) -> float:
    return float(structure.volume / structure.composition.num_atoms)


def _density(structure: Structure) -> float:
    return float(structure.density)


def _packing_fraction(structure: Structure) -> float:
    atoms = structure.composition.element_composition.get_el_amt_dict()
    radii = table("atomic_radius", [*atoms])
    missing = [symbol for symbol, radius in zip(atoms, radii, strict=True) if np.isnan(radius)]
    if missing:
        raise ValueError(f"no atomic radius of {', '.join(missing)}")
    spheres = 4 / 3 * np.pi * np.dot([*atoms.values()], radii**3)
    return float(spheres / structure.volume)


def _space_group_number(structure: Structure) -> float:
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    return float(SpacegroupAnalyzer(structure).get_space_group_number())


def _nearest_neighbour_distance(structure: Structure) -> float:
    # Every atom has an image of itself at the shortest lattice vector, so nothing beyond it is nearest.
    radius = min(structure.lattice.get_niggli_reduced_lattice().abc) + 1e-6
    centres, _, _, distances = structure.get_neighbor_list(radius)
    return float(np.mean([distances[centres == i].min() for i in range(len(structure))]))


def _coordination_number(structure: Structure) -> float:
    from pymatgen.analysis.local_env import CrystalNN

    finder = CrystalNN()
    return float(np.mean([finder.get_cn(structure, i) for i in range(len(structure))]))


_ALL = (
    Descriptor("volume_per_atom", "Å^3", "V / N", "definition", _volume_per_atom),
    Descriptor("density", "g/cm^3", "mass of the cell / V", "definition", _density),
    Descriptor(
        "packing_fraction",
        "1",
        "sum (4/3) pi r_i^3 / V, r: atomic radius",
        "radii of Slater 1964, doi 10.1063/1.1725697; Ward et al. 2018, doi 10.1016/j.commatsci.2018.05.018",
        _packing_fraction,
    ),
    Descriptor(
        "space_group_number",
        "1",
        "1 to 230, within 0.01 Å",
        "spglib: Togo et al. 2024, doi 10.1080/27660400.2024.2384822",
        _space_group_number,
    ),
    Descriptor(
        "nearest_neighbour_distance",
        "Å",
        "mean over the sites of the distance to the nearest atom",
        "definition",
        _nearest_neighbour_distance,
    ),
    Descriptor(
        "coordination_number",
        "1",
        "mean over the sites of the number of neighbours by CrystalNN",
        "Pan et al. 2021, doi 10.1021/acs.inorgchem.0c02996",
        _coordination_number,
    ),
)
STRUCTURE: Mapping[str, Descriptor] = MappingProxyType({descriptor.name: descriptor for descriptor in _ALL})


def structure(structures: Iterable[Any], names: str | Sequence[str]) -> pd.DataFrame:
    r"""Compute descriptors of crystal structures.

    Parameters
    ----------
    structures : Series or iterable
        pymatgen Structures, or paths of files that pymatgen reads (CIF, POSCAR, ...).
    names : sequence of str
        As in `realmat.descriptors.list`: ``"volume_per_atom"``, ``"density"``, ``"packing_fraction"``, ``"space_group_number"``,
        ``"nearest_neighbour_distance"``, ``"coordination_number"``.

    Returns
    -------
    DataFrame
        One row a structure, with the index of `structures`; one column a descriptor, in the order of `names`.

    Raises
    ------
    realmat.ModelError
        If a descriptor is unknown, with the likely intended one.
    realmat.DataError
        If an entry is no structure, cannot be read, or a descriptor of it cannot be computed: every such row with the reason.

    Notes
    -----
    With cell volume :math:`V`, :math:`N` atoms and Slater's radii :math:`r_i`, the packing fraction is
    :math:`\sum_i \tfrac{4}{3} \pi r_i^3 / V`. Coordination numbers by CrystalNN take about a tenth of a second a site.

    Examples
    --------
    >>> import realmat as rm
    >>> from pymatgen.core import Lattice, Structure
    >>> silicon = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]])
    >>> rm.descriptors.structure([silicon], ["density", "nearest_neighbour_distance"]).round(3)
       density  nearest_neighbour_distance
    0    2.329                       2.352
    """
    descriptors = chosen(names, STRUCTURE)
    series = structures if isinstance(structures, pd.Series) else pd.Series([*structures], dtype=object)
    rows: list[list[float]] = []
    bad: list[tuple[Any, str]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CrystalNN warns where no oxidation states are given; it guesses as documented
        for index, value in series.items():
            try:
                crystal = _read(value)
                rows.append([descriptor.compute(crystal) for descriptor in descriptors])
            except Exception as error:  # files and neighbour searches fail in many ways; all are reported together
                bad.append((index, f"{value if isinstance(value, str) else type(value).__name__}: {error}"))
    refuse("structure that cannot be described", bad, "Give pymatgen Structures or readable files, or leave these rows out.")
    return pd.DataFrame(rows, columns=[descriptor.name for descriptor in descriptors], index=series.index)


def _read(value: Any) -> Structure:
    from pymatgen.core import Structure

    if isinstance(value, Structure):
        return value
    if isinstance(value, (str, Path)):
        return Structure.from_file(value)
    raise TypeError("neither a pymatgen Structure nor a path")
