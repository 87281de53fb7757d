"""Where modules of earlier versions are now: an import by an old name, in a script, a template or a fit file, gives the module of today."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "realmat.component": "realmat.terms.component",
    "realmat.data": "realmat.table.table",
    "realmat.effect": "realmat.terms.effect",
    "realmat.priors": "realmat.terms.priors",
    "realmat.readings": "realmat.terms.readings",
    "realmat.state": "realmat.terms.state",
    "realmat.units": "realmat.table.units",
}
"""Modules that the documentation named to writers of components, and their places."""


class _Loader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return importlib.import_module(MOVED[spec.name])

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run: the module stands already, under its own name."""


class _Finder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, _Loader()) if fullname in MOVED else None


def install() -> None:
    """Let Python find modules by their old names; once is enough."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
