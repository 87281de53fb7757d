"""A component in words, as a printed model shows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from realmat.terms.component import Component

_SHOWN = 4  # names of a list


def model_in_words(response: str, unit: str, link: str, levels: Mapping[str, str], components: Sequence[Component]) -> str:
    """A model in words: what of, its levels, its layers, components and priors."""
    head = f"Model of {response!r}" + (f" in {unit}" if unit else "") + (f", {link} link" if link != "identity" else "")
    lines = [head, *([f"  levels: {', '.join(f'{k} = {v}' for k, v in levels.items())}"] if levels else [])]
    return "\n".join([*lines, *(line for component in components for line in described(component))])


def described(component: Component) -> list[str]:
    """A component in words: its layer, name and class, what else was said of it, and the priors that apply."""
    told = ", ".join(f"{name}={value}" for name, value in _told(component))
    lines = [f"  {component.layer:<12}{component.label}: {type(component).__name__}{f'({told})' if told else ''}"]
    for name, default in component.default_priors().items():
        given = getattr(component, name, None)
        if isinstance(given, (int, float)) and not isinstance(given, bool):
            shown = f"= {given:g}"
        else:
            shown = f"~ {default} (default)" if given is None or isinstance(given, bool) else f"~ {given!r}"
        lines.append(f"              {name} {shown}")
    return lines


def _told(component: Component) -> Iterator[tuple[str, str]]:
    """Arguments other than priors that were given, where a few words say them."""
    for f in dataclasses.fields(component):
        value = getattr(component, f.name)
        if f.name == "name" or f.name in component.default_priors() or value is None or value is f.default:
            continue
        if isinstance(value, Component):
            yield f.name, f"{type(value).__name__}({', '.join(f'{k}={v}' for k, v in _told(value))})"
        elif isinstance(value, (str, int, float)) and value != f.default:
            yield f.name, repr(value)
        elif isinstance(value, tuple) and value and all(isinstance(v, str) for v in value):
            shown = ", ".join(map(repr, value[:_SHOWN]))
            yield f.name, f"[{shown}]" if len(value) <= _SHOWN else f"[{shown}, ... {len(value)} in all]"
