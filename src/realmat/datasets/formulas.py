"""Read chemical formulas without importing pymatgen, which costs most of a second."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"([A-Z][a-z]?|\(|\))(\d*\.?\d*)")


def atoms(formula: str) -> dict[str, float]:
    """Count the atoms of a formula, with parentheses and fractional amounts.

    Parameters
    ----------
    formula : str

    Returns
    -------
    dict
        Element -> number.

    Raises
    ------
    ValueError
        If it is not a formula.

    Examples
    --------
    >>> atoms("Ca3(PO4)2")
    {'Ca': 3.0, 'P': 2.0, 'O': 8.0}
    """
    text = formula.replace(" ", "")
    stack: list[dict[str, float]] = [{}]
    end = 0
    for match in _TOKEN.finditer(text):
        symbol, digits = match.groups()
        number = float(digits or 1)
        if match.start() != end or (symbol == ")" and len(stack) == 1) or (symbol == "(" and digits):
            raise ValueError(f"{formula!r} is not a chemical formula")
        end = match.end()
        if symbol == "(":
            stack.append({})
            continue
        for element, count in (stack.pop() if symbol == ")" else {symbol: 1.0}).items():
            stack[-1][element] = stack[-1].get(element, 0.0) + count * number
    if end != len(text) or len(stack) != 1 or not text:
        raise ValueError(f"{formula!r} is not a chemical formula")
    return stack[0]


def composition_key(formula: str) -> tuple[tuple[str, float], ...]:
    """Atom fractions, sorted: equal for formulas of one composition, however they are written."""
    counts = atoms(formula)
    total = sum(counts.values())
    return tuple(sorted((element, round(count / total, 6)) for element, count in counts.items()))


def written(formula: str) -> str:
    """Write a formula without its ones: ``"Ga1As1"`` -> ``"GaAs"``."""
    return "".join(f"{element}{'' if count == 1 else format(count, 'g')}" for element, count in atoms(formula).items())
