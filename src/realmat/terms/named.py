"""Classes and functions that a description names by module: found by import, and only where that module is trusted."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from typing import Any

from realmat.errors import ModelError
from realmat.support.places import gallery

_TEMPLATES = "realmat.templates."


class UntrustedError(ModelError):
    """A description names code of a module that nobody said to trust; `path` is ``module:name``."""

    def __init__(self, what: str, path: str) -> None:
        self.path = path
        module = path.partition(":")[0]
        super().__init__(
            f"{what} {path!r} is not realmat's own, and its module was neither imported nor called. If you know what it does, say "
            f"trust=[{module!r}]."
        )


def find(path: str, what: str, trust: Sequence[str] | None = None) -> Any:
    """What ``module:qualified.name`` names.

    Parameters
    ----------
    path : str
    what : str
        For messages: "the component class", "the function".
    trust : sequence of str, optional
        Modules (with all that is in them) that may be imported beside realmat and its gallery; by default any module may.

    Raises
    ------
    UntrustedError
        If the module is not trusted. Nothing is imported then.
    realmat.ModelError
        If it cannot be imported, or is not defined there.
    """
    module, _, qualname = str(path).partition(":")
    if trust is not None and not _trusted(module, trust):
        raise UntrustedError(what, str(path))
    try:
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ModelError(
            f"{what} {path!r} cannot be imported ({error}); it must be defined at the top of a module that can be imported."
        ) from error
    if trust is not None and not _own_of(found, trust):  # what a trusted module merely imported from elsewhere
        raise UntrustedError(what, str(path))
    return found


def _own_of(found: Any, trust: Sequence[str]) -> bool:
    home = getattr(found, "__module__", None)
    if not isinstance(home, str) or not (inspect.isclass(found) or inspect.isfunction(found)):
        return False
    if inspect.isfunction(found) and home.startswith("realmat.") and not home.startswith(_TEMPLATES):
        return any(_within(home, name) for name in trust)  # a component of realmat is a value; a function of it may do anything
    return _trusted(home, trust)


def _trusted(module: str, trust: Sequence[str]) -> bool:
    if any(_within(module, name) or _within(module, _TEMPLATES + name) for name in trust):
        return True
    if module.startswith(_TEMPLATES):
        name = module.removeprefix(_TEMPLATES).partition(".")[0]
        return (gallery() / name / "template.py").is_file()
    return _within(module, "realmat")


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
