"""The answer of every check: a table of what was looked at, and sentences that say what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from realmat.support.shown import Shown

if TYPE_CHECKING:
    import pandas as pd

OK, LOOK, BAD = "ok", "look", "bad"


@dataclass(frozen=True)
class Check(Shown):
    """What was checked.

    Attributes
    ----------
    heading : str
    table : DataFrame
        Columns `part item value wanted verdict`; verdicts are ``"ok"``, ``"look"`` (read the text) and ``"bad"`` (do not use the result).
    sentences : tuple of str
        What to do, most important first.
    findings : DataFrame, optional
        Of a fit: what contradicts the model, what would change the answer most first. Columns `finding kind probability effect change`:
        the probability that a right model shows anything as large, the standard deviation of what was found in units of the response
        (relative with a log link), and the change of the model or of the data that would answer it, as code.
    """

    heading: str
    table: pd.DataFrame
    sentences: tuple[str, ...]
    findings: pd.DataFrame | None = None

    @property
    def title(self) -> str:
        """What was checked."""
        return self.heading

    @property
    def ok(self) -> bool:
        """Whether nothing is bad."""
        return not bool((self.table["verdict"] == BAD).any())

    @property
    def text(self) -> str:
        """What to do."""
        return " ".join(self.sentences)


def row(part: str, item: str, value: Any, wanted: str = "", verdict: str = OK) -> dict[str, Any]:
    """One row of a check's table."""
    return {"part": part, "item": item, "value": value, "wanted": wanted, "verdict": verdict}


def made(heading: str, rows: Sequence[dict[str, Any]], sentences: Sequence[str], findings: pd.DataFrame | None = None) -> Check:
    """A check from its rows and sentences."""
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=["part", "item", "value", "wanted", "verdict"])
    return Check(heading, table, tuple(sentences), findings)


def listed(names: Sequence[str], last: str = "and") -> str:
    """Names in a sentence.

    Examples
    --------
    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    return str(names[0]) if len(names) == 1 else f"{', '.join(map(str, names[:-1]))} {last} {names[-1]}"
