"""Decimal and thousands marks: decided by all numbers of a column, and of the file where these do not show it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

_GROUPED = {mark: re.compile(rf"[1-9]\d{{0,2}}(?:(?P<sign>[{mark} '’])\d{{3}})(?:(?P=sign)\d{{3}})*") for mark in ".,"}
_OTHER = {".": ",", ",": "."}
_PLAIN = re.compile(r"[+-]?\d+")


def number(text: str, mark: str) -> Decimal | None:
    """A number as written, with this decimal mark; None if it is none.

    Thousands may be set apart by the other mark, a space or an apostrophe, always in threes.

    Examples
    --------
    >>> number("1.302,5", ","), number("1 302.50", "."), number("1.2.3", "."), number("0,005", ".")
    (Decimal('1302.5'), Decimal('1302.50'), None, None)
    """
    if _PLAIN.fullmatch(text):
        return Decimal(text)
    sign, digits = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    whole, marked, fraction = digits.partition(mark)
    if marked and not (fraction.isdigit() or (not fraction and whole)):
        return None
    if whole and not whole.isdigit():
        if not _GROUPED[_OTHER[mark]].fullmatch(whole):
            return None
        whole = re.sub(r"\D", "", whole)
    return Decimal(f"{sign}{whole or '0'}{'.' if fraction else ''}{fraction}") if whole or fraction else None


def shown_by(text: str) -> str:
    """Which mark a number shows to be the decimal one: "." or ","; "?" if it could be either, "" if it has none or is no number."""
    if "." not in text and "," not in text:
        return ""
    possible = [mark for mark in (".", ",") if number(text, mark) is not None]
    return "?" if len(possible) == 2 else possible[0] if possible else ""


@dataclass(frozen=True)
class Marks:
    """The decimal mark of a column.

    Attributes
    ----------
    own : frozenset of str
        The marks that its numbers show.
    open : str
        The mark by which numbers that could be read both ways are read; empty if nothing decides.
    why : str
        What decided, for the reader; empty where nothing was to decide.
    """

    own: frozenset[str]
    open: str
    why: str = ""

    def of(self, text: str) -> str:
        """The decimal mark of one of its numbers; empty if nothing decides."""
        seen = shown_by(text)
        return self.open if seen == "?" else seen or "."


def decide(numbers: Iterable[str], elsewhere: frozenset[str] = frozenset()) -> Marks:
    """Decide the decimal mark of a column.

    A number with three digits behind its one mark, as 1.302 or 1,302, can be read both ways. The other numbers of the column decide it;
    else those of the other columns of the file, `elsewhere`; else a point in every number of a column is a decimal point. A comma stays
    undecided.

    Examples
    --------
    >>> decide(["1.302", "295,7"]).open, decide(["1.302", "2.415"]).open, decide(["1,302"]).open
    (',', '.', '')
    """
    numbers = list(numbers)
    seen = [shown_by(text) for text in numbers]
    own = frozenset(seen) & {".", ","}
    unsure = [text for text, mark in zip(numbers, seen, strict=True) if mark == "?"]
    if not unsure:
        return Marks(own, "")
    first = repr(unsure[0])
    if len(own) == 1:
        mark = next(iter(own))
        return Marks(own, mark, f"{first} and the like are read with a decimal {_NAMES[mark]}, as the column's other numbers are written")
    if own:
        return Marks(own, "")
    if len(elsewhere) == 1:
        mark = next(iter(elsewhere))
        return Marks(own, mark, f"{first} and the like are read with a decimal {_NAMES[mark]}, as the file's other columns are written")
    if all(mark == "?" and "," not in text for text, mark in zip(numbers, seen, strict=True)):
        return Marks(own, ".", f"the point in {first} and the like is read as a decimal point, since every number has one")
    return Marks(own, "")


_NAMES = {".": "point", ",": "comma"}
