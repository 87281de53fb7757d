"""Which spellings are one label: those that differ only in case, in spaces, in Unicode form, or in being a number or its text."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

_ELEMENTS = frozenset(
    re.findall(
        "[A-Z][a-z]?",
        "HHeLiBeBCNOFNeNaMgAlSiPSClArKCaScTiVCrMnFeCoNiCuZnGaGeAsSeBrKrRbSrYZrNbMoTcRuRhPdAgCdInSnSbTeIXeCsBaLaCePrNdPmSm"
        "EuGdTbDyHoErTmYbLuHfTaWReOsIrPtAuHgTlPbBiPoAtRnFrRaAcThPaUNpPuAmCmBkCfEsFmMdNoLrRfDbSgBhHsMtDsRgCnNhFlMcLvTsOgD",
    )
)
_FORMULA = re.compile(r"(?:[A-Z][a-z]?|[\d.()\[\]])+")
_SHOWN = 4
BETWEEN = " / "


def joined(names: Iterable[str]) -> str:
    """One name of a grouping by several columns together, such as runs that are counted anew every day."""
    return BETWEEN.join(names)


def parts(name: str) -> tuple[str, ...]:
    """The columns whose labels together are one label; none where the name is that of a column."""
    return tuple(name.split(BETWEEN)) if BETWEEN in name else ()


def with_joined(frame: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """A table with a column for every name that `joined` made, where the table has its parts; no label where one of them is missing.

    Examples
    --------
    >>> with_joined(pd.DataFrame({"day": ["mon", "tue"], "run": [1, 1]}), ["day / run"])["day / run"].tolist()
    ['mon / 1', 'tue / 1']
    """
    own = {}
    for name in dict.fromkeys(names):
        columns = parts(name)
        if not columns or name in frame.columns or any(c not in frame.columns or frame[c].ndim > 1 for c in columns):
            continue
        some = frame[list(columns)]
        texts = [BETWEEN.join(map(plain, row)) for row in some.astype(object).itertuples(index=False, name=None)]
        own[name] = pd.Series(texts, index=frame.index, dtype=object).where(some.notna().all(axis=1), None)
    return frame.assign(**own) if own else frame


def plain(label: Any) -> str:
    """A label without what a reader does not see: spaces around it or doubled, other forms of a letter, ``.0`` after a whole number.

    Superscript digits stay, since ``10²`` is not ``102``.

    Examples
    --------
    >>> plain(" Fe₂O₃  annealed"), plain(2.0), plain("A\u00a0")
    ('Fe2O3 annealed', '2', 'A')
    """
    if isinstance(label, (float, np.floating)) and float(label).is_integer():
        return str(int(label))
    text = str(label)
    if not text.isascii():
        forms = (c if unicodedata.decomposition(c).startswith("<super>") else unicodedata.normalize("NFKC", c) for c in text)
        text = unicodedata.normalize("NFC", "".join(forms))
    return " ".join(text.split())


def is_formula(text: str) -> bool:
    """Whether a text can be a chemical formula, in which case matters: Co is cobalt, CO is not."""
    symbols = re.findall(r"[A-Z][a-z]?", text)
    return bool(symbols and _FORMULA.fullmatch(text)) and _ELEMENTS.issuperset(symbols)


def one_spelling(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Labels in one spelling each, and sentences that name what was taken together.

    Of several spellings the most frequent stands for all, the first of equally frequent ones. Two that differ in case and are both
    chemical formulas stay apart, and that is said too.

    Parameters
    ----------
    values : array of shape (rows,)
        None where there is no label.

    Examples
    --------
    >>> labels, notes = one_spelling(np.array(["A", "A ", "b", "B", "b", 1, "1", "Co", "CO"], dtype=object))
    >>> labels.tolist()
    ['A', 'A', 'b', 'b', 'b', '1', '1', 'Co', 'CO']
    >>> print(*notes, sep="; ")
    'A' and 'A ' are read as one label, 'A'; 'b' and 'B' are read as one label, 'b'; 1 and '1' are read as one label, '1';
    'Co' and 'CO' stay two labels, since both are chemical formulas
    """
    if values.dtype != object:
        return values, []
    codes, uniques = pd.factorize(values)
    if not any(map(_is_text, uniques)):
        return values, []
    count = np.bincount(codes[codes >= 0], minlength=len(uniques))
    stands: list[Any] = list(uniques)
    notes = []
    for group in _alike(uniques, count):
        spellings = list(dict.fromkeys(map(plain, (uniques[k] for k in group))))
        formulas = [s for s in spellings if is_formula(s)]
        if len(formulas) > 1:
            notes.append(f"{_listed(formulas)} stay {_number(len(formulas))} labels, since both are chemical formulas")
        merged: dict[str, list[int]] = defaultdict(list)
        for k in group:
            own = plain(uniques[k])
            merged[own if len(formulas) > 1 and own in formulas else ""].append(k)
        for members in merged.values():
            notes += _stand(stands, members, uniques, count)
    out = np.empty(len(values), dtype=object)
    chosen = np.empty(len(stands) + 1, dtype=object)
    chosen[: len(stands)] = stands
    out[:] = chosen[codes]
    return out, notes


def _is_text(label: Any) -> bool:
    """Whether a label is text, or a whole number that no float holds, at which pandas 2 stumbles wherever it makes an index of labels."""
    return isinstance(label, str) or (isinstance(label, int) and label.bit_length() >= sys.float_info.max_exp)


def _alike(uniques: Iterable[Any], count: np.ndarray) -> list[list[int]]:
    """Positions of labels whose spellings differ in nothing but what is not read, the more frequent ones first."""
    groups: dict[str, list[int]] = defaultdict(list)
    for k, label in enumerate(uniques):
        groups[plain(label).casefold()].append(k)
    return [sorted(group, key=lambda k: -count[k]) for group in groups.values()]


def _stand(stands: list[Any], members: list[int], uniques: Any, count: np.ndarray) -> list[str]:
    """Let one spelling stand for its members; what to say of it."""
    frequency: Counter[str] = Counter()
    for k in members:
        frequency[plain(uniques[k])] += int(count[k])
    best = frequency.most_common(1)[0][0]
    kept = best if any(_is_text(uniques[k]) for k in members) else uniques[members[0]]
    for k in members:
        stands[k] = kept
    return [f"{_listed([uniques[k] for k in members])} are read as one label, {kept!r}"] if len(members) > 1 else []


def _listed(labels: list[Any]) -> str:
    shown = [repr(label.item() if isinstance(label, np.generic) else label) for label in labels[:_SHOWN]]
    if len(labels) > _SHOWN:
        return f"{', '.join(shown)} and {len(labels) - _SHOWN} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def _number(n: int) -> str:
    return {2: "two", 3: "three", 4: "four"}.get(n, str(n))


def find(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Where each label stands among `values`, in whatever spelling; -1 where it does not, or where there is no label.

    Examples
    --------
    >>> find(np.array(["A", "Co"], dtype=object), np.array(["a ", "CO", "Co", None], dtype=object))
    array([ 0, -1,  1, -1])
    """
    codes = pd.Index(values).get_indexer(pd.Index(labels))
    missed = np.flatnonzero(codes < 0)
    if not len(missed) or (values.dtype != object and labels.dtype != object):
        return codes
    exact: dict[str, int] = {}
    folded: dict[str, list[int]] = defaultdict(list)
    for k, value in enumerate(values):
        exact.setdefault(plain(value), k)
        folded[plain(value).casefold()].append(k)
    own, uniques = pd.factorize(labels[missed])
    found = np.array([-1 if label is None else _found(plain(label), values, exact, folded) for label in uniques] + [-1])
    codes[missed] = found[own]
    return codes


def _found(label: str, values: np.ndarray, exact: dict[str, int], folded: dict[str, list[int]]) -> int:
    if label in exact:
        return exact[label]
    near = folded.get(label.casefold(), [])
    if is_formula(label):
        near = [k for k in near if not is_formula(plain(values[k]))]
    return near[0] if len(near) == 1 else -1


def same(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Whether labels are the same row by row, in whatever spelling; two that are missing are."""
    known = np.asarray(pd.unique(there[~pd.isna(there)]), dtype=object)
    return find(known, here) == find(known, there)
