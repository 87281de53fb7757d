"""What is known of a descriptor, and how names are chosen among them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from realmat.errors import DataError, ModelError

_LISTED = 20


@dataclass(frozen=True)
class Descriptor:
    """A number that is computed from a composition or a structure.

    Attributes
    ----------
    name : str
    unit : str
    formula : str
        In words and symbols.
    source : str
    compute : callable
        For compositions ``compute(c, p)``, with atom fractions `c` of shape (rows, elements) and the element properties `p` (name ->
        array of shape (elements,)), gives shape (rows,). For structures ``compute(structure)`` gives a float.
    needs : tuple of str
        Element properties.
    """

    name: str
    unit: str
    formula: str
    source: str
    compute: Callable[..., Any] = field(repr=False)
    needs: tuple[str, ...] = ()


def chosen(names: str | Iterable[str], known: Mapping[str, Descriptor]) -> list[Descriptor]:
    """Look up descriptors by name.

    Raises
    ------
    realmat.ModelError
        With every unknown name and the likely intended ones.
    """
    wanted = [names] if isinstance(names, str) else [*names]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        hints = ((name, difflib.get_close_matches(str(name), known, 1, 0.5)) for name in unknown)
        said = "; ".join(f"{name!r}" + (f" (did you mean {near[0]!r}?)" if near else "") for name, near in hints)
        raise ModelError(f"unknown descriptor: {said}. Known: {', '.join(known)}.")
    return [known[name] for name in dict.fromkeys(wanted)]


def refuse(what: str, bad: Sequence[tuple[Any, str]], way_out: str) -> None:
    """Raise one DataError that lists bad rows as (row, reason); nothing if there is none."""
    if not bad:
        return
    listed = [f"row {row!r}: {reason}" for row, reason in bad[:_LISTED]]
    if len(bad) > _LISTED:
        listed.append(f"and {len(bad) - _LISTED} more rows")
    raise DataError(f"{what} in {len(bad)} row{'s' if len(bad) > 1 else ''}. {way_out}", listed)
