"""Where templates are found."""

from __future__ import annotations

import difflib
import importlib.util
from importlib.metadata import entry_points
from pathlib import Path

from realmat.errors import ModelError
from realmat.support.places import gallery
from realmat.templates.template import Template

GROUP = "realmat.templates"
FILE = "template.py"


def found() -> list[Template]:
    """Every template that has a name: the gallery's in alphabetical order, then those of installed packages."""
    own = [Template(path.parent.name, path, "gallery") for path in sorted(gallery().glob(f"*/{FILE}"))]
    return own + _installed({template.name for template in own})


def _installed(taken: set[str]) -> list[Template]:
    """Templates of the entry-point group; a name of the gallery is never replaced. The modules are located, not executed."""
    out = []
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        try:
            spec = importlib.util.find_spec(entry.value)
        except (ImportError, ValueError):
            spec = None
        if entry.name not in taken and spec is not None and spec.origin is not None:
            out.append(Template(entry.name, Path(spec.origin), entry.dist.name if entry.dist else entry.value, entry.value))
            taken.add(entry.name)
    return out


def find(name: str | Path) -> Template:
    """What `realmat.templates.get` does."""
    text = str(name)
    by_name = {template.name: template for template in found()}
    if text in by_name:
        return by_name[text]
    path = Path(text).expanduser()
    if path.is_dir() and (path / FILE).is_file():
        path = path / FILE
    if path.is_file() and path.suffix == ".py":
        path = path.resolve()
        return Template(path.parent.name if path.name == FILE else path.stem, path, str(path.parent))
    if path.is_dir():
        raise ModelError(f"the folder {text} holds no {FILE}, so it is no template. `realmat new NAME` writes one to start from.")
    near = difflib.get_close_matches(text, by_name, 1, 0.4)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise ModelError(f"there is no template {text!r}: it is neither a name ({', '.join(by_name)}) nor a folder or file. {hint}".rstrip())
