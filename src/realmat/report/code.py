"""A model as the Python code that declares it."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from realmat.terms.component import Component
from realmat.terms.priors import Prior

if TYPE_CHECKING:
    from realmat.model import Model

_INDENT = "    "
_LONG = 100


def declaration(model: Model) -> str:
    """The call of `rm.Model` that gives an equal model; arguments that keep their defaults are left out.

    Examples
    --------
    >>> import realmat as rm
    >>> print(declaration(rm.Model("gap", unit="eV", theory=rm.theory.Calibrated("pbe"))))
    rm.Model(
        "gap",
        unit="eV",
        theory=[
            rm.theory.Calibrated("pbe"),
        ],
    )
    """
    lines = [f"{_INDENT}{_value(model.response)},"]
    for field in dataclasses.fields(model):
        value = getattr(model, field.name)
        if field.name == "response" or value == _default(field):
            continue
        if field.name in ("theory", "material"):
            inner = "".join(f"\n{_INDENT * 2}{_value(component)}," for component in value)
            lines.append(f"{_INDENT}{field.name}=[{inner}\n{_INDENT}],")
        else:
            lines.append(f"{_INDENT}{field.name}={_value(value)},")
    return "\n".join(["rm.Model(", *lines, ")"])


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _value(value: Any) -> str:
    if isinstance(value, Component):
        return _component(value)
    if isinstance(value, Prior):
        return f"rm.{value!r}"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_value(k)}: {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(_value, value))
        if len(inner) < _LONG:
            return f"[{inner}]"
        wrapped = textwrap.fill(inner, _LONG, initial_indent=_INDENT * 3, subsequent_indent=_INDENT * 3, break_long_words=False)
        return f"[\n{wrapped}\n{_INDENT * 2}]"
    if callable(value):
        return str(value.__qualname__)
    return repr(value)


def _component(component: Component) -> str:
    kind = type(component)
    name = f"rm.{component.layer}.{kind.__name__}" if kind.__module__.startswith("realmat.") else kind.__name__
    arguments = []
    for field in dataclasses.fields(component):
        value, default = getattr(component, field.name), _default(field)
        if not field.init or value == default:
            continue
        required = default is dataclasses.MISSING
        arguments.append(_value(value) if required else f"{field.name}={_value(value)}")
    return f"{name}({', '.join(arguments)})"
