"""Descriptors of molecules, read from SMILES without a chemistry toolkit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pandas as pd

from realmat.descriptors.descriptor import refuse

_TOKEN = re.compile(
    r"\[\d*(?P<bracket>[A-Z][a-z]?|[bcnops]|se|as)(?P<rest>[^\]]*)\]"  # isotope, element, then chirality, hydrogens, charge
    r"|(?P<atom>Cl|Br|[BCNOPSFI]|[bcnops])"
    r"|(?P<ring>%\d\d|\d)"
    r"|[-=#$:/\\.()~*]"
)


def atom_counts(smiles: Iterable[Any]) -> pd.DataFrame:
    """Count the atoms of molecules: those of each element, aromatic ones apart, and the rings.

    Parameters
    ----------
    smiles : Series or iterable
        SMILES (``"Clc1ccccc1"``); hydrogens count only where they are atoms of their own (``"[H]"``).

    Returns
    -------
    DataFrame
        ``atoms_<El>`` and ``atoms_aromatic_<El>`` for whatever occurs, ``rings`` (ring-closing bonds); the index of a Series is kept.

    Raises
    ------
    realmat.DataError
        If a text is no SMILES; every row is named.

    Notes
    -----
    Weininger, J. Chem. Inf. Comput. Sci. 28, 31 (1988). Aromatic atoms are those written in lower case.

    Examples
    --------
    >>> atom_counts(["Clc1ccccc1", "C[N+](=O)[O-]"])
       atoms_C  atoms_Cl  atoms_N  atoms_O  atoms_aromatic_C  rings
    0        0         1        0        0                 6      1
    1        1         0        1        2                 0      0
    """
    index = smiles.index if isinstance(smiles, pd.Series) else None
    found = [_count(text) for text in smiles]
    labels = range(len(found)) if index is None else index
    bad = [(row, str(counts)) for row, counts in zip(labels, found, strict=True) if isinstance(counts, str)]
    refuse("no SMILES", bad, "Give each molecule as SMILES.")
    table = pd.DataFrame(found, index=index).fillna(0).astype(int)
    return table[[*sorted(str(name) for name in table if name != "rings"), "rings"]]


def _count(text: Any) -> dict[str, int] | str:
    """Counts, or what is wrong."""
    if not isinstance(text, str) or not text.strip():
        return "empty or not a text"
    counts: Counter[str] = Counter()
    end = closures = 0
    for match in _TOKEN.finditer(text.strip()):
        if match.start() != end:
            break
        end = match.end()
        symbol = match["bracket"] or match["atom"]
        closures += match["ring"] is not None
        if symbol:
            counts[f"atoms_{symbol}" if symbol[0].isupper() else f"atoms_aromatic_{symbol.capitalize()}"] += 1
    if end != len(text.strip()) or closures % 2 or not counts:
        return f"{text!r} (at character {end + 1})"
    return {**counts, "rings": closures // 2}
