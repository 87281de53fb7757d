"""Methods that a higher floor attaches to types of a lower one: a result never imports its figure, a model never imports its fit.

The type spells the method out and ends it with ``return attached("plot", self)(dark=dark)``. The floor above writes the function and
registers it, ``@attach("plot", Budget)``. Where such functions lie, ``realmat/__init__.py`` says, which stands above every floor.

Examples
--------
>>> class Result:
...     def plot(self, dark=False):
...         return attached("plot", self)(dark=dark)
>>> @attach("plot", Result)
... def plot_result(result, dark=False):
...     return f"a figure, {'dark' if dark else 'light'}"
>>> Result().plot(dark=True)
'a figure, dark'
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

_METHODS: dict[tuple[str, type], Callable[..., Any]] = {}
_PLACES: dict[str, str] = {}


def place(method: str, package: str) -> None:
    """Say which package attaches a method; it is imported when the method is first wanted."""
    _PLACES[method] = package


def attach[F: Callable[..., Any]](method: str, *types: type) -> Callable[[F], F]:
    """Register a function, whose first argument is the object, as a method of types and of what derives from them."""

    def register(function: F) -> F:
        _METHODS.update({(method, of): function for of in types})
        return function

    return register


def attached(method: str, thing: Any) -> Callable[..., Any]:
    """The function registered for the type of `thing`, with `thing` as its first argument.

    Raises
    ------
    NotImplementedError
        If no floor has attached such a method.
    """
    found = _found(method, type(thing))
    if found is None and method in _PLACES:
        importlib.import_module(_PLACES[method])
        found = _found(method, type(thing))
    if found is None:
        raise NotImplementedError(f"no {method} is attached to {type(thing).__name__}.")
    return partial(found, thing)


def _found(method: str, kind: type) -> Callable[..., Any] | None:
    return next((_METHODS[method, one] for one in kind.__mro__ if (method, one) in _METHODS), None)
