"""Realmat: layered Bayesian models for materials science."""

from __future__ import annotations

import importlib
from typing import Any

from realmat import moved
from realmat.errors import DataError, FileError, FitError, ModelError, RealmatError
from realmat.support.attached import place

_PUBLIC = {
    "Model": "realmat.fit",  # not its own module: what fitting needs is loaded with it, and the first fit takes as long as the next
    "Joint": "realmat.joint",
    "Prior": "realmat.terms.priors",
    "Shared": "realmat.terms.priors",
    "Varies": "realmat.terms.varies",
    "Component": "realmat.terms.component",
    "Fit": "realmat.fit",
    "load": "realmat.fit",
    "fit_many": "realmat.fit.many",
    "read_table": "realmat.table.reading",
    "Campaign": "realmat.campaign",
    "compare": "realmat.validation.comparison",
    "cross_validate": "realmat.validation.cross_validation",
}
_MODULES = ("campaign", "theory", "material", "observation", "datasets", "descriptors", "templates", "testing", "units")

moved.install()
for _method, _package in (("fit", "realmat.fit"), ("plot", "realmat.plots"), ("report", "realmat.report")):
    place(_method, _package)

__all__ = [*_PUBLIC, *_MODULES, "DataError", "FileError", "FitError", "ModelError", "RealmatError", "__version__"]


def __getattr__(name: str) -> Any:
    """Load public names when they are first used, so that importing realmat costs little."""
    if name == "__version__":
        from importlib.metadata import version

        return version("realmat")
    if name in _MODULES:
        return importlib.import_module(f"realmat.{name}")
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'realmat' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
