"""Units of columns: read as materials scientists write them, checked for their dimension, converted. Pint does the work."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from realmat.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from pint import Unit, UnitRegistry

# A fraction says of what: 1 wt% of carbon in iron is 4.5 at%, so these are dimensions of their own and do not convert into each other.
# "per atom" is kept apart from "per formula unit" for the same reason; a mole is a number of formula units, so eV and kJ/mol do convert.
_DEFINITIONS = (
    "formula_unit = []",
    "molecule = formula_unit",
    "mole = 6.02214076e23 * formula_unit = mol",
    "atom = [atom] = atoms",
    "displacement_per_atom = [displacement_per_atom] = dpa",
    "mass_fraction = [mass_fraction]",
    "wt_percent = 0.01 * mass_fraction",
    "wppm = 1e-6 * mass_fraction",
    "amount_fraction = [amount_fraction] = atom_fraction",
    "at_percent = 0.01 * amount_fraction",
    "appm = 1e-6 * amount_fraction",
    "volume_fraction = [volume_fraction]",
    "vol_percent = 0.01 * volume_fraction",
    "vppm = 1e-6 * volume_fraction",
    "HV = 9.80665 * megapascal",  # ISO 6507: kgf/mm2
    "HB = 9.80665 * megapascal",  # ISO 6506
)

_SPELLINGS = (
    (r"(?i)\b(?:wt|mass|weight|gew)\.?[\s-]*%", "wt_percent"),
    (r"(?i)\b(?:at|mol|atomic)\.?[\s-]*%", "at_percent"),
    (r"(?i)\bvol\.?[\s-]*%", "vol_percent"),
    (r"\b(?:(?:wt|mass|weight)\.?[\s-]*ppm|ppm\s*\(?w[t]?\)?(?!\w))", "wppm"),
    (r"\b(?:(?:at|mol)\.?[\s-]*ppm|ppma)\b", "appm"),
    (r"\b(?:vol\.?[\s-]*ppm|ppmv)\b", "vppm"),
    (r"℃", "degC"),
    (r"√\s*([A-Za-zµμ]+)", r"*\1^0.5"),
    (r"(?<=[A-Za-zµμΩÅ])(-\d+)", r"^\1"),
    (r"(?<=m)([23])(?![\d\w])", r"^\1"),  # N/mm2, g/cm3
)

_FRACTIONS = ("mass_fraction", "amount_fraction", "volume_fraction")

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "dimensionless number": "1",
        "mass fraction": "wt%",
        "atom fraction": "at%",
        "volume fraction": "vol%",
        "length": "um",
        "area": "um^2",
        "volume": "um^3",
        "time": "s",
        "rate": "1/s",
        "temperature": "K",
        "heating rate": "K/s",
        "mass": "g",
        "density": "g/cm^3",
        "stress": "MPa",
        "Hall-Petch coefficient or fracture toughness": "MPa*m^0.5",
        "energy": "eV",
        "energy per atom": "eV/atom",
        "energy per temperature": "J/mol/K",
        "displacement dose": "dpa",
        "thermal conductivity": "W/m/K",
        "electrical resistivity": "ohm*m",
        "electrical conductivity": "S/m",
        "wavenumber": "1/cm",
        "number density": "atom/nm^3",
    }
)
"""Kinds of quantity by name, each with a typical unit."""


@functools.cache
def _registry() -> UnitRegistry[Any]:
    import logging

    import pint

    # Pint warns in its log about names that are defined anew; here that is meant.
    logger = logging.getLogger("pint.util")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        registry: UnitRegistry[Any] = pint.UnitRegistry()
        for definition in _DEFINITIONS:
            registry.define(definition)
    finally:
        logger.setLevel(level)
    return registry


@functools.lru_cache(maxsize=256)
def parse(unit: str) -> Unit:
    """Read a unit as materials scientists write it.

    Besides what pint knows: ``wt%``, ``at.%``, ``vol%``, ``wppm``, ``appm``, ``eV/atom``, ``kJ/mol`` (a mole of formula units), ``HV``,
    ``dpa``, ``MPa√m``, ``cm-1``. An empty string and ``"1"`` are dimensionless.

    Parameters
    ----------
    unit : str

    Returns
    -------
    pint.Unit

    Raises
    ------
    realmat.ModelError
        If the unit is not known, with the likely intended one.

    Examples
    --------
    >>> from realmat import units
    >>> print(units.parse("MPa√m"))
    megapascal * meter ** 0.5
    """
    text = str(unit).strip()
    for pattern, replacement in _SPELLINGS:
        text = re.sub(pattern, replacement, text)
    try:
        if re.search(r"(?<!\d)\.(?!\d)", text):
            raise ValueError("a dot that belongs to no number")  # pint before 0.26 takes it for a product, or for nothing
        return _registry().parse_units("" if text == "1" else text)
    except Exception as error:  # pint raises syntax, token, attribute and value errors alike for what it cannot read
        known = {name.lower(): name for name in (*KINDS.values(), "wppm", "appm", "HV", "nm", "mm", "GPa", "degC", "kcal/mol", "kJ/mol")}
        near = difflib.get_close_matches(str(unit).lower(), known, 1, 0.5)
        hint = f"did you mean {known[near[0]]!r}?" if near else "units are written as 'MPa', 'g/cm^3' or 'eV/atom'."
        raise ModelError(f"unknown unit {unit!r}: {hint}") from error


def kind(unit: str) -> str:
    """Name what a unit measures, such as ``"length"``.

    Parameters
    ----------
    unit : str

    Returns
    -------
    str
        A key of `KINDS` where there is one, else the dimensions.

    Examples
    --------
    >>> from realmat import units
    >>> units.kind("GPa")
    'stress'
    """
    dimensions = parse(unit).dimensionality
    named = (name for name, typical in KINDS.items() if parse(typical).dimensionality == dimensions)
    return next(named, f"quantity of dimension {dimensions}")


def check_dimension(unit: str, required: str, what: str = "the column") -> None:
    """Refuse a unit of the wrong dimension.

    Parameters
    ----------
    unit : str
        The declared unit.
    required : str
        A unit of the dimension needed (``"um"``), or its kind (``"length"``). ``"1"`` accepts every kind of fraction.
    what : str
        The column, for the message.

    Raises
    ------
    realmat.ModelError
        Naming the column, what was declared and what is needed.
    """
    typical = KINDS.get(required, required)
    if parse(unit).dimensionality == parse(typical).dimensionality or _fraction_to_number(unit, typical):
        return
    hint = " ('C' is the coulomb; write 'degC'.)" if unit == "C" else ""
    raise ModelError(f"{what}: the unit {unit!r} ({kind(unit)}) does not fit; needed is {kind(typical)}, such as {typical!r}.{hint}")


def convert(values: ArrayLike, from_unit: str, to_unit: str, difference: bool = False) -> np.ndarray:
    """Convert numbers from one unit to another.

    Parameters
    ----------
    values : array_like
        Numbers; NaN stays NaN.
    from_unit, to_unit : str
        Of one dimension. A fraction of any kind converts to and from a plain number; fractions of different kinds do not convert.
    difference : bool
        For standard uncertainties and differences: 5 degC is then 5 K, not 278.15 K.

    Returns
    -------
    numpy.ndarray
        A new float array of the shape of `values`.

    Raises
    ------
    realmat.ModelError
        If a unit is unknown or the dimensions differ.

    Examples
    --------
    >>> from realmat import units
    >>> units.convert([25.0, 100.0], "degC", "K")
    array([298.15, 373.15])
    >>> units.convert(0.02, "wt%", "wppm").round(9)
    np.float64(200.0)
    """
    check_dimension(from_unit, to_unit, "conversion")
    registry, source, target = _registry(), parse(from_unit), parse(to_unit)
    numbers = np.array(values, dtype=np.float64)
    if source.dimensionality != target.dimensionality:  # a fraction of something, and a plain number
        return numbers * (_in_base_units(source) / _in_base_units(target))
    if difference:
        zero, one = (registry.Quantity(value, source).to(target).magnitude for value in (0.0, 1.0))
        return numbers * (one - zero)
    return np.asarray(registry.Quantity(numbers, source).to(target).magnitude, dtype=np.float64)


def quantity(value: ArrayLike, unit: str) -> Any:
    """A number that carries its unit.

    Parameters
    ----------
    value : array_like
    unit : str

    Returns
    -------
    pint.Quantity

    Examples
    --------
    >>> from realmat import units
    >>> print(units.quantity(2.0, "MPa") * units.quantity(3.0, "mm^2"))
    6.0 megapascal * millimeter ** 2
    """
    return _registry().Quantity(value, parse(unit))


def _fraction_to_number(unit: str, other: str) -> bool:
    """Whether one of the two is a fraction of something and the other a plain number."""
    of_something = {_registry().parse_units(name).dimensionality for name in _FRACTIONS}
    pair = [parse(unit), parse(other)]
    return any(u.dimensionless for u in pair) and any(u.dimensionality in of_something for u in pair)


def _in_base_units(unit: Unit) -> float:
    return float(_registry().Quantity(1.0, unit).to_base_units().magnitude)
