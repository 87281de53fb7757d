"""Arguments of a declaration, compared with their annotations where they are written."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from numbers import Integral, Real
from typing import Any

import numpy as np

from realmat.errors import ModelError
from realmat.table.labels import joined
from realmat.terms.priors import Prior

_SHOWN = 60
_WORDS = {str: "a name (text)", float: "a number", int: "a whole number", bool: "True or False", Prior: "rm.Prior(...)", type(None): "None"}


def check_arguments(declared: Any) -> None:
    """Raise one error that names every argument whose type is not what its annotation says; lists become tuples.

    Several columns where one grouping is meant are one by all of them together. A scale given as a number must be positive, and one
    given as a prior must live on positive numbers; degrees of freedom stay above 2.

    Raises
    ------
    realmat.ModelError
    """
    problems = []
    kind: Any = type(declared)
    for name, hint in _hints(kind).items():
        value = getattr(declared, name)
        if isinstance(value, list) or (_takes_many(hint) and hasattr(value, "tolist") and np.ndim(value) == 1):
            value = tuple(value if isinstance(value, list) else np.asarray(value).tolist())
            object.__setattr__(declared, name, value)
        if name.endswith("by") and isinstance(value, tuple):
            value = tuple(joined(v) if isinstance(v, (list, tuple)) and fits(v, tuple[str, ...]) else v for v in value)
            value = joined(value) if not _takes_many(hint) and value and fits(value, tuple[str, ...]) else value
            object.__setattr__(declared, name, value)
        if not fits(value, hint):
            problems.append(f"{name}={_short(value)} must be {_words(hint)}.")
        else:
            problems += [f"{name}={_short(value)} {wrong}." for wrong in _impossible(name, value)]
    if problems:
        what = type(declared).__name__
        raise ModelError(f"{what}: {problems[0]}" if len(problems) == 1 else f"{what}:" + "".join(f"\n  - {p}" for p in problems))


@cache
def _hints(cls: Any) -> dict[str, Any]:
    """Annotations of the fields of a dataclass; none where they name what cannot be found."""
    try:
        hints = typing.get_type_hints(cls)
    except (NameError, TypeError, AttributeError):
        return {}
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is what an annotation says; numbers of NumPy are numbers, and one name will do where a list of names is meant."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, each) for each in inner)
    if origin in (tuple, list, Sequence):
        if isinstance(value, str):
            return fits(value, inner[0])
        return isinstance(value, (tuple, list)) and all(fits(v, inner[0]) for v in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(fits(k, inner[0]) and fits(v, inner[1]) for k, v in value.items())
    if origin is Callable or hint is Callable:
        return callable(value)
    return _is_a(value, hint)


def _is_a(value: Any, hint: Any) -> bool:
    if hint is bool:
        return isinstance(value, (bool, np.bool_))
    if hint in (float, int):
        return isinstance(value, Real if hint is float else Integral) and not isinstance(value, (bool, np.bool_))
    if hint is Prior:
        return isinstance(value, Prior) or (hasattr(value, "distribution") and hasattr(value, "parameters"))
    return isinstance(value, hint) if isinstance(hint, type) and hint is not Any else True


def _impossible(name: str, value: Any) -> list[str]:
    """What no scale and no degrees of freedom can be."""
    number = isinstance(value, Real) and not isinstance(value, (bool, np.bool_))
    if name.endswith("scale"):
        if number and not (math.isfinite(value) and value > 0):
            return ["must be positive and finite"]
        if isinstance(value, Prior) and not value.references and value.support[0] < 0:
            return ["must be a prior on positive numbers; give lower=0"]
    if name == "nu":
        if number and not value > 2:
            return ["must be above 2, or the variance does not exist"]
        if isinstance(value, Prior) and not value.references and value.support[0] < 2:
            return ["must be a prior on numbers above 2, or the variance does not exist; give lower=2"]
    return []


def _takes_many(hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_takes_many(each) for each in typing.get_args(hint))
    return origin in (tuple, list, Sequence)


def _words(hint: Any) -> str:
    """What an annotation takes, in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        ways = list(dict.fromkeys(_words(each) for each in inner))
        return ways[0] if len(ways) == 1 else f"{', '.join(ways[:-1])} or {ways[-1]}"
    if origin in (tuple, list, Sequence):
        return f"a list, each {_words(inner[0])}"
    if origin is Mapping:
        return "a dict"
    if origin is Callable or hint is Callable:
        return "a function"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def _short(value: Any) -> str:
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
