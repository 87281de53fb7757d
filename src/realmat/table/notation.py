"""The laboratory's own notation of a value in one cell: ``12.3 ± 0.4``, ``12.3(4)``, ``<5``, ``5 %``, ``10 - 14``.

A cell is first taken apart (`read`), its numbers still as they are written. Which mark is the decimal one is decided by the whole column
(`realmat.table.marks`); then `Written.value` gives the number, exactly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from realmat.table.marks import number

_NUMBER = r"\d(?:[\d.,'’ ]*\d)?\.?|[.,]\d+"
_TEN = r"[x×·*⋅]\s?10\s?\^?\s?"
_POWER = rf"(?:[eE][+-]?\d+|\s?(?:{_TEN}\^\s?[+-]?\d+|{_TEN}[+-]\d+))"
_UNIT = r"[A-Za-zµμΩÅ°℃√%‰/][^\d<>±,;]*(?:\^?-?\d[^\d<>±,;]*)*"
_CELL = re.compile(
    rf"(?P<side>[<>≤≥]=?)?\s?(?P<open>\()?\s?(?P<number>[+-]?\s?(?:{_NUMBER}))(?P<power>{_POWER})?"
    rf"(?:\((?P<digits>[\d.,]+)\)|(?:\s?(?P<inner>[A-Za-zµμ°℃%‰/]+))?\s?(?:±|\+/-|\+-|\\pm)\s?(?P<u>{_NUMBER})(?P<u_power>{_POWER})?)?"
    rf"(?P<close>\s?\))?(?P<common>{_POWER})?(?P<space>\s?)(?P<unit>{_UNIT})?"
)
_RANGE = re.compile(rf"(?P<low>[+-]?(?:{_NUMBER}))\s?(?:-|\.\.\.?|…|to|bis)\s?(?P<high>[+-]?(?:{_NUMBER}))\s?(?P<unit>{_UNIT})?")
_SIGNS = str.maketrans(
    {"−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "＋": "+", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u2007": " "}
)
_RAISED = re.compile("[⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_LOWERED = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "+-0123456789")


@dataclass(frozen=True)
class Written:
    """A value as it stands in a cell.

    Attributes
    ----------
    number : str
        Digits, marks and sign.
    power : int
        Of ten.
    side : int
        -1 for "<", 1 for ">", 0 for a value.
    u, digits : str, optional
        The standard uncertainty: written out, or in units of the last digit of the value.
    u_power : int
    unit : str
        Written in the cell.
    relative : bool
        Whether the unit stands after the uncertainty alone, so that a percent sign may mean a percentage of the value.
    spaced : bool
        Whether a space stands before the unit.
    """

    number: str
    power: int = 0
    side: int = 0
    u: str | None = None
    digits: str | None = None
    u_power: int = 0
    unit: str = ""
    relative: bool = False
    spaced: bool = True

    @property
    def numbers(self) -> tuple[str, ...]:
        """Everything that shows which mark is the decimal one."""
        return tuple(text for text in (self.number, self.u) if text is not None)

    def value(self, mark: str) -> tuple[float, float | None] | None:
        """The value and its u, as the nearest floats; None if it is no number with this decimal mark."""
        own = number(self.number, mark)
        if own is None:
            return None
        u = None
        if self.u is not None:
            written = number(self.u, mark)
            if written is None:
                return None
            u = written.scaleb(self.u_power)
        elif self.digits is not None:
            plain = self.digits.isdigit()
            written = Decimal(self.digits).scaleb(int(own.as_tuple().exponent)) if plain else number(self.digits, mark)
            if written is None:
                return None
            u = written.scaleb(self.power)
        return float(own.scaleb(self.power)), None if u is None else float(u)


@dataclass(frozen=True)
class Range:
    """Two numbers with a dash between them."""

    low: str
    high: str
    unit: str = ""

    @property
    def numbers(self) -> tuple[str, ...]:
        """Everything that shows which mark is the decimal one."""
        return self.low, self.high

    def bounds(self, mark: str) -> tuple[float, float] | None:
        """Both ends; None if they are no numbers with this decimal mark, or do not ascend."""
        low, high = number(self.low, mark), number(self.high, mark)
        return None if low is None or high is None or not low < high else (float(low), float(high))


def read(text: str) -> Written | Range | None:
    """Take a cell apart; None where it is not written as a value.

    Examples
    --------
    >>> read("301,2(12)").value(","), read("(1.20 ± 0.05) × 10³ MPa").value("."), read("≤ 5 %").side
    ((301.2, 1.2), (1200.0, 50.0), -1)
    >>> read("10 – 14").bounds(".")
    (10.0, 14.0)
    """
    text = _RAISED.sub(lambda m: "^" + m[0].translate(_LOWERED), text.translate(_SIGNS).strip())
    if not text or not (text[0].isdigit() or text[0] in "+-.,<>≤≥("):
        return None
    found = _CELL.fullmatch(text)
    if found is None:
        found = _RANGE.fullmatch(text)
        return Range(found["low"], found["high"], (found["unit"] or "").strip()) if found else None
    return _written(found)


def _written(found: re.Match[str]) -> Written | None:
    brackets, u = (found["open"], found["close"]), found["u"]
    if (brackets[0] is None) != (brackets[1] is None) or (brackets[0] and u is None):
        return None
    own, of_u, common = _power(found["power"]), _power(found["u_power"]), _power(found["common"])
    apart = found["u_power"] and found["u_power"].strip()[0] not in "eE" and not found["power"]
    if apart or (common and (own or of_u) and u is not None):
        return None  # 1.2 ± 0.1 × 10^3: of one or of both
    if u is None and found["digits"] is None and common:
        return None
    inner, unit = found["inner"] or "", (found["unit"] or "").strip()
    side = {"<": -1, "≤": -1, ">": 1, "≥": 1}.get((found["side"] or " ")[0], 0)
    if (inner and unit and inner != unit) or (side and (u is not None or found["digits"] is not None)):
        return None
    return Written(
        re.sub(r"^([+-]) ", r"\1", found["number"]),
        own + common,
        side,
        u,
        found["digits"],
        of_u + common,
        unit or inner,
        bool(u is not None and unit and not inner and not brackets[0]),
        bool(found["space"]),
    )


def _power(text: str | None) -> int:
    if not text:
        return 0
    text = text.strip()
    return int(text[1:]) if text[0] in "eE" else int(re.sub(rf"{_TEN}\^?\s?", "", text, count=1))


def limit(value: Any) -> tuple[int, Any]:
    """On which side of a limit a value lies, and what is written behind the sign: ``"<20"`` is (-1, "20"), ``">300"`` (1, "300").

    Examples
    --------
    >>> limit("≤ 20"), limit(7.0)
    ((-1, '20'), (0, 7.0))
    """
    if not isinstance(value, str):
        return 0, value
    text = value.strip()
    side = {"<": -1, "≤": -1, ">": 1, "≥": 1}.get(text[:1], 0)
    return side, text.lstrip("<>≤≥=").strip() if side else value
