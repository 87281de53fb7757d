"""What every answer shares: a table, a few sentences, and the same look in a terminal, a notebook and a file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


class Shown:
    """Base of results that have a `table` (DataFrame), a `text` (sentences) and a `title`."""

    table: pd.DataFrame

    @property
    def title(self) -> str:
        """What it is, in one line."""
        raise NotImplementedError

    @property
    def text(self) -> str:
        """A few plain sentences."""
        raise NotImplementedError

    def formatted(self) -> pd.DataFrame:
        """The table as text, numbers to three significant digits."""
        return self.table.map(significant)

    def __str__(self) -> str:
        shown = self.formatted().to_string(index=not self._plain_index, max_rows=30, min_rows=20)
        return f"{self.title}\n\n{shown}\n\n{self.text}"

    __repr__ = __str__

    @property
    def _plain_index(self) -> bool:
        import pandas as pd

        return isinstance(self.table.index, pd.RangeIndex)

    def _repr_html_(self) -> str:
        from html import escape

        body = self.formatted().to_html(index=not self._plain_index, border=0, max_rows=60, escape=True)
        return f"<h4>{escape(self.title)}</h4>{body}<p>{escape(self.text)}</p>"

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        shown = self.formatted() if self._plain_index else self.formatted().reset_index()
        table = Table(title=self.title, title_justify="left", title_style="bold", header_style="bold")
        for name in shown.columns:
            numeric = self.table[name].dtype.kind in "fiu" if name in self.table else False
            table.add_column(str(name), justify="right" if numeric else "left")
        for row in shown.itertuples(index=False):
            table.add_row(*map(str, row))
        return Group(table, Text(self.text))

    def to_csv(self, path: str | Path) -> None:
        """Write the table as CSV, whole or not at all.

        Raises
        ------
        realmat.FileError
            If the file cannot be written.
        """
        import os

        from realmat.errors import FileError

        target = Path(path)
        part = target.with_name(f".{target.name}.part")
        try:
            self.table.to_csv(part, index=not self._plain_index)
            os.replace(part, target)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise FileError(f"cannot write {target}: {error.strerror or error}.") from error


def significant(value: Any, digits: int = 3) -> str:
    """A number to some significant digits; anything else as it is.

    Examples
    --------
    >>> significant(1234.5), significant(0.00012345), significant("a")
    ('1234', '0.000123', 'a')
    """
    if isinstance(value, bool) or not isinstance(value, (float, int)):
        return str(value)
    if isinstance(value, int) or value == 0:
        return str(value) if isinstance(value, int) else "0"
    return f"{value:.0f}" if abs(value) >= 10 ** (digits - 1) and abs(value) < 1e6 else f"{value:.{digits}g}"


def plus_minus(value: float, u: float, sign: bool = False) -> str:
    """A value with its standard uncertainty, both to the last digit that the uncertainty warrants (two significant ones).

    Examples
    --------
    >>> plus_minus(3.21987, 0.0304), plus_minus(1234.5, 120.0), plus_minus(0.5, 0.2, sign=True)
    ('3.220 ± 0.030', '1230 ± 120', '+0.50 ± 0.20')
    """
    if not (u > 0 and math.isfinite(u)):
        return f"{value:+.4g}" if sign else f"{value:.4g}"
    digits = 1 - math.floor(math.log10(float(f"{u:.1e}")))
    if digits > 9 or digits < -6:
        return f"{value:+.3g} ± {u:.2g}" if sign else f"{value:.3g} ± {u:.2g}"
    places = max(digits, 0)
    return f"{round(value, digits):{'+' if sign else ''}.{places}f} ± {round(u, digits):.{places}f}"


def percent(share: float) -> str:
    """A share as a percentage for sentences.

    Examples
    --------
    >>> percent(0.413), percent(0.004), percent(0.0)
    ('41 %', 'under 1 %', '0 %')
    """
    return "under 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"
