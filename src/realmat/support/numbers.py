"""Numbers as text."""

from __future__ import annotations

import math
from typing import Any

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MINUS = "\N{MINUS SIGN}"


def significant(value: Any, digits: int = 3) -> str:
    """A number to some significant digits; nothing where there is none (NaN); anything else as it is.

    Examples
    --------
    >>> significant(1234.5), significant(0.00012345), significant("a"), significant(float("nan"))
    ('1234', '0.000123', 'a', '')
    """
    if isinstance(value, bool) or not isinstance(value, (float, int)):
        return str(value)
    if math.isnan(value):
        return ""
    if isinstance(value, int) or value == 0:
        return str(value) if isinstance(value, int) else "0"
    return f"{value:.0f}" if abs(value) >= 10 ** (digits - 1) and abs(value) < 1e6 else f"{value:.{digits}g}"


def plus_minus(value: float, u: float, sign: bool = False) -> str:
    """A value with its standard uncertainty, both to the second significant digit of the uncertainty (JCGM 100:2008, 7.2.6).

    Long and small numbers have one power of ten for both.

    Examples
    --------
    >>> plus_minus(3.21987, 0.0304), plus_minus(1234.5, 120.0), plus_minus(0.5, 0.2, sign=True)
    ('3.220 ± 0.030', '1230 ± 120', '+0.50 ± 0.20')
    >>> plus_minus(1.49e6, 288276.0), plus_minus(-3.1e-5, 4.2e-6), plus_minus(1e4, 0.0)
    ('(1.49 ± 0.29) × 10⁶', '(−3.10 ± 0.42) × 10⁻⁵', '10000')
    """
    head = MINUS if value < 0 else "+" if sign else ""
    if not (u > 0 and math.isfinite(u) and math.isfinite(value)):
        return head + power_of_ten(significant(abs(value), 4))
    size = max(abs(value), u)
    exponent = math.floor(math.log10(size))
    if size >= 1e-3 and (size < 1e6 or (size < 1e9 and u < 100)):
        exponent = 0
    factor = 10.0**exponent
    digits = min(1 - math.floor(math.log10(float(f"{u:.1e}"))) + exponent, 12)
    places = max(digits, 0)
    said = f"{round(abs(value) / factor, digits):.{places}f} ± {max(round(u / factor, digits), 10.0**-digits):.{places}f}"
    return f"({head}{said}) × 10{str(exponent).translate(SUPERSCRIPT)}" if exponent else head + said


def power_of_ten(text: str) -> str:
    """A number as Python prints it, its exponent as a power of ten.

    Examples
    --------
    >>> power_of_ten("1.49e+06"), power_of_ten("12.3")
    ('1.49 × 10⁶', '12.3')
    """
    mantissa, _, power = text.partition("e")
    return f"{mantissa} × 10{str(int(power)).translate(SUPERSCRIPT)}" if power else mantissa


def percent(share: float) -> str:
    """A share as a percentage for sentences.

    Examples
    --------
    >>> percent(0.413), percent(0.004), percent(0.0)
    ('41 %', 'under 1 %', '0 %')
    """
    return "under 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"
