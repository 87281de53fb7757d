"""Descriptors of compositions: means, mismatches and rules of mixtures over the elements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from realmat.descriptors.descriptor import Descriptor, chosen, refuse
from realmat.descriptors.elements import PROPERTIES, table

_GAS_CONSTANT = 8.31446261815324  # J/mol/K, CODATA 2018
_ZHANG = "Zhang et al. 2008, doi 10.1002/adem.200700240"
_GUO = "Guo et al. 2011, doi 10.1063/1.3587228"

Elements = Mapping[str, np.ndarray]


def _mean(c: np.ndarray, values: np.ndarray) -> np.ndarray:
    return c @ values


def _relative_mismatch(c: np.ndarray, values: np.ndarray) -> np.ndarray:
    deviation = 1 - values / _mean(c, values)[:, None]
    return np.sqrt(np.sum(c * deviation**2, axis=1))


def _absolute_mismatch(c: np.ndarray, values: np.ndarray) -> np.ndarray:
    deviation = values - _mean(c, values)[:, None]
    return np.sqrt(np.sum(c * deviation**2, axis=1))


def _mixing_entropy(c: np.ndarray, p: Elements) -> np.ndarray:
    return -_GAS_CONSTANT * np.sum(c * np.log(np.where(c > 0, c, 1.0)), axis=1)


def _density(c: np.ndarray, p: Elements) -> np.ndarray:
    mass = c * p["atomic_mass"]
    return mass.sum(axis=1) / np.sum(np.divide(mass, p["density"], out=np.zeros_like(mass), where=c > 0), axis=1)


def _volume_fractions(c: np.ndarray, p: Elements) -> np.ndarray:
    volume = c * p["molar_volume"]
    return volume / volume.sum(axis=1, keepdims=True)


def _voigt(c: np.ndarray, p: Elements) -> np.ndarray:
    return _volume_fractions(c, p) @ p["youngs_modulus"]


def _reuss(c: np.ndarray, p: Elements) -> np.ndarray:
    fractions = _volume_fractions(c, p)
    return 1 / np.sum(np.divide(fractions, p["youngs_modulus"], out=np.zeros_like(fractions), where=c > 0), axis=1)


def _of_property(name: str) -> list[Descriptor]:
    """Return the mean and the mismatch of one element property."""
    prop, words = PROPERTIES[name], name.replace("_", " ")
    mean = Descriptor(f"mean_{name}", prop.unit, f"sum c_i p_i, p: {words}", prop.source, lambda c, p: _mean(c, p[name]), (name,))
    if name in {"electronegativity", "valence_electrons"}:
        formula, unit, spread = f"sqrt(sum c_i (p_i - mean)^2), p: {words}", prop.unit, _absolute_mismatch
    else:
        formula, unit, spread = f"sqrt(sum c_i (1 - p_i/mean)^2), p: {words}", "1", _relative_mismatch
    return [mean, Descriptor(f"mismatch_{name}", unit, formula, f"{_ZHANG}; {prop.source}", lambda c, p: spread(c, p[name]), (name,))]


_SPECIAL = (
    Descriptor("element_fractions", "1", "c_i, one column x_<El> for each element that occurs", "definition", lambda c, p: c),
    Descriptor(
        "weight_fractions",
        "1",
        "c_i A_i / sum c_j A_j, one column w_<El> for each element that occurs",
        "definition",
        lambda c, p: c * p["atomic_mass"] / (c @ p["atomic_mass"])[:, None],
        ("atomic_mass",),
    ),
    Descriptor("number_of_elements", "1", "count of c_i > 0", "definition", lambda c, p: (c > 0).sum(axis=1).astype(float)),
    Descriptor("mixing_entropy", "J/mol/K", "-R sum c_i ln c_i, the ideal solution's", _ZHANG, _mixing_entropy),
    Descriptor(
        "vec",
        "1",
        "sum c_i VEC_i, the valence electron concentration",
        _GUO,
        lambda c, p: c @ p["valence_electrons"],
        ("valence_electrons",),
    ),
    Descriptor(
        "delta",
        "%",
        "100 sqrt(sum c_i (1 - r_i/mean)^2), r: metallic radius",
        _ZHANG,
        lambda c, p: 100 * _relative_mismatch(c, p["metallic_radius"]),
        ("metallic_radius",),
    ),
    Descriptor("density", "g/cm^3", "sum c_i A_i / sum (c_i A_i / rho_i)", "rule of mixtures", _density, ("atomic_mass", "density")),
    Descriptor("youngs_modulus_voigt", "GPa", "sum v_i E_i, v: volume fraction", "Voigt 1889", _voigt, ("molar_volume", "youngs_modulus")),
    Descriptor(
        "youngs_modulus_reuss", "GPa", "1 / sum (v_i / E_i), v: volume fraction", "Reuss 1929", _reuss, ("molar_volume", "youngs_modulus")
    ),
)
_ALL = [*_SPECIAL, *(descriptor for name in PROPERTIES if name != "density" for descriptor in _of_property(name))]
COMPOSITION: Mapping[str, Descriptor] = MappingProxyType({descriptor.name: descriptor for descriptor in _ALL})


def composition(formulas: Iterable[Any], names: str | Sequence[str], ignore: Sequence[str] = ()) -> pd.DataFrame:
    r"""Compute descriptors of compositions from pymatgen's tables of the elements.

    Parameters
    ----------
    formulas : Series or iterable
        Chemical formulas (``"Fe2O3"``, ``"Al0.25 Co1 Fe1 Ni1"``) or pymatgen Compositions.
    names : sequence of str
        As in `realmat.descriptors.list`: ``"element_fractions"``, ``"mean_atomic_radius"``, ``"mismatch_electronegativity"``, ``"vec"`` ...
    ignore : sequence of str
        Elements left out of every formula before anything is computed, such as interstitials, whose solids have no modulus.

    Returns
    -------
    DataFrame
        One row a formula, with the index of `formulas`; one column a descriptor, in the order of `names`. ``element_fractions`` and
        ``weight_fractions`` give one column for each element that occurs.

    Raises
    ------
    realmat.ModelError
        If a descriptor or an element to ignore is unknown, with the likely intended one.
    realmat.DataError
        If a formula cannot be read, or pymatgen has no value for one of its elements: every such row with the reason.

    Notes
    -----
    With atom fractions :math:`c_i` and an element property :math:`p_i`, the mean is :math:`\bar p = \sum_i c_i p_i`, and the mismatch
    :math:`\sqrt{\sum_i c_i (1 - p_i/\bar p)^2}` for radii, masses, volumes, moduli and temperatures, and
    :math:`\sqrt{\sum_i c_i (p_i - \bar p)^2}` for electronegativities and valence electrons [1]_. ``vec`` counts d electrons [2]_.
    ``delta`` is the mismatch of the metallic radius in percent. ``mixing_entropy`` is :math:`-R \sum_i c_i \ln c_i`.

    References
    ----------
    .. [1] Y. Zhang et al., Adv. Eng. Mater. 10, 534 (2008), doi 10.1002/adem.200700240
    .. [2] S. Guo et al., J. Appl. Phys. 109, 103505 (2011), doi 10.1063/1.3587228

    Examples
    --------
    >>> import realmat as rm
    >>> rm.descriptors.composition(["CoCrFeMnNi", "NbMoTaW"], ["vec", "mixing_entropy"]).round(2)
       vec  mixing_entropy
    0  8.0           13.38
    1  5.5           11.53
    """
    descriptors = chosen(names, COMPOSITION)
    series = formulas if isinstance(formulas, pd.Series) else pd.Series([*formulas])
    amounts = _amounts(series, _checked(ignore))
    symbols = sorted({symbol for row in amounts for symbol in row})
    counts = pd.DataFrame(amounts, columns=symbols).fillna(0.0).to_numpy(dtype=float)
    fractions = counts / counts.sum(axis=1, keepdims=True)
    needed = dict.fromkeys(name for descriptor in descriptors for name in descriptor.needs)
    properties = {name: table(name, symbols) for name in needed}
    _refuse_missing(series, fractions, symbols, properties)
    filled = {name: np.nan_to_num(values) for name, values in properties.items()}  # what is missing here occurs in no row
    columns: dict[str, np.ndarray] = {}
    for descriptor in descriptors:
        values = descriptor.compute(fractions, filled)
        if values.ndim == 1:
            columns[descriptor.name] = values
        else:
            prefix = "x" if descriptor.name == "element_fractions" else "w"
            columns |= {f"{prefix}_{symbol}": values[:, j] for j, symbol in enumerate(symbols)}
    return pd.DataFrame(columns, index=series.index)


def _checked(ignore: Sequence[str]) -> set[str]:
    from pymatgen.core import Element

    from realmat.errors import ModelError

    symbols = {ignore} if isinstance(ignore, str) else set(ignore)
    wrong = sorted(symbol for symbol in symbols if not Element.is_valid_symbol(symbol))
    if wrong:
        raise ModelError(f"ignore: no such element: {', '.join(map(repr, wrong))}.")
    return symbols


def _amounts(series: pd.Series, ignore: set[str]) -> list[dict[str, float]]:
    """Read every formula; all that cannot be read are one error."""
    from pymatgen.core import Composition, Element

    known: dict[Any, dict[str, float] | str] = {}
    for value in series:
        if isinstance(value, (str, Composition)) and value not in known:
            try:
                counts = Composition(value).element_composition.items()
                wrong = [str(element) for element, _ in counts if not isinstance(element, Element)]
                left = {element.symbol: float(count) for element, count in counts if element.symbol not in ignore}
                known[value] = left if left and not wrong else "no such element" if wrong else "no element is left"
            except (ValueError, KeyError, TypeError):
                known[value] = "not a chemical formula"
    read = [known.get(value, "empty") if isinstance(value, (str, Composition)) else "empty or not a text" for value in series]
    bad = [(index, f"{value!r}: {found}") for index, value, found in zip(series.index, series, read, strict=True) if isinstance(found, str)]
    refuse("formula that cannot be read", bad, "Write them as 'Fe2O3' or 'Al0.25 Co1 Fe1 Ni1', or leave these rows out.")
    return [found for found in read if not isinstance(found, str)]


def _refuse_missing(series: pd.Series, fractions: np.ndarray, symbols: list[str], properties: Elements) -> None:
    """Refuse rows with an element for which a property that is needed is not tabulated."""
    present = fractions > 0
    reasons: dict[int, list[str]] = {}
    for name, values in properties.items():
        gone = np.isnan(values)
        for i in np.flatnonzero(present[:, gone].any(axis=1)):
            elements = ", ".join(symbols[j] for j in np.flatnonzero(present[i] & gone))
            reasons.setdefault(int(i), []).append(f"no {name.replace('_', ' ')} of {elements}")
    bad = [(series.index[i], f"{series.iloc[i]}: {'; '.join(said)}") for i, said in sorted(reasons.items())]
    refuse("element without a tabulated property", bad, "Leave the elements out with ignore=[...], or these rows, or the descriptor.")
