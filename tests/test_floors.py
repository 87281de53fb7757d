"""The house seen from outside: no circle of imports, floors as the contract says, public methods that an editor can complete, old names."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import netCDF4
import numpy as np
import pytest

import realmat as rm
from realmat import moved
from realmat.attribution.advise import Advice
from realmat.attribution.budget import Budget
from realmat.attribution.gap import Gap
from realmat.attribution.laboratory import Laboratory
from realmat.support.attached import attached
from realmat.validation.comparison import Comparison
from realmat.validation.loo import LeftOut

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src" / "realmat"
MODULES = {".".join(path.relative_to(SRC.parent).with_suffix("").parts).removesuffix(".__init__"): path for path in SRC.rglob("*.py")}
FREE = {"Template.model": "its options are those of the template's own function, which names the known ones in its errors"}


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Everything that runs at some time: bodies of functions included, blocks for type checkers left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield other
                yield from statements(other)
        else:
            yield child
            yield from statements(child)


def imported(path: Path) -> set[str]:
    found = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found |= {name if (name := f"{node.module}.{alias.name}") in MODULES else node.module for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & set(MODULES)


def test_no_module_imports_itself_through_others() -> None:
    try:
        TopologicalSorter({module: imported(path) for module, path in MODULES.items()}).prepare()
    except CycleError as circle:
        pytest.fail(" <- ".join(circle.args[1]))


def test_a_circle_would_be_seen(tmp_path: Path) -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from realmat.fit import Fit\ndef f():\n    from realmat import model\n"
    path = tmp_path / "module.py"
    path.write_text(text, encoding="utf-8")
    assert imported(path) == {"realmat.model"}


def public_callables() -> Iterator[tuple[str, Callable[..., object]]]:
    for kind in (rm.Model, rm.Fit, rm.Component, Budget, Gap, Laboratory, Advice, LeftOut, Comparison, rm.templates.Template):
        for name, member in inspect.getmembers(kind, inspect.isroutine):
            if not name.startswith("_") and callable(member) and member.__module__.startswith("realmat"):
                yield f"{kind.__name__}.{name}", member
    for name in ("compare", "cross_validate", "load"):
        yield name, getattr(rm, name)


def test_public_methods_spell_out_their_arguments_and_types() -> None:
    vague = []
    for name, method in public_callables():
        signature = inspect.signature(method)
        for parameter in signature.parameters.values():
            if parameter.name in ("self", "cls") or name in FREE:
                continue
            if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) and parameter.annotation in ("Any", parameter.empty):
                vague.append(f"{name}: {parameter}")
            elif parameter.annotation is parameter.empty:
                vague.append(f"{name}: {parameter.name} has no type")
        if signature.return_annotation in (signature.empty, "Any"):
            vague.append(f"{name} does not say what it gives")
    assert not vague, "\n".join(vague)


def test_every_folder_says_what_lives_there() -> None:
    folders = {path.parent.name: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in SRC.rglob("__init__.py")}
    assert not [folder for folder, said in folders.items() if len(said or "") < 20]


@pytest.mark.parametrize(("old", "new"), moved.MOVED.items())
def test_old_names_of_modules_give_the_modules_of_today(old: str, new: str) -> None:
    assert importlib.import_module(old) is importlib.import_module(new)


def test_what_no_floor_attaches_is_said_so() -> None:
    with pytest.raises(NotImplementedError, match="no plot is attached to int"):
        attached("plot", 3)


def test_the_picture_of_the_floors_is_current() -> None:
    specification = importlib.util.spec_from_file_location("floors", ROOT / "tools" / "floors.py")
    floors = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(floors)
    assert floors.PICTURE.read_text(encoding="utf-8") == floors.draw(), "python tools/floors.py draws it anew"
    folders = {path.name for path in SRC.iterdir() if path.is_dir() and not path.name.startswith(("_", "."))}
    assert folders <= {folder for floor in floors.floors() for folder in floor}


def test_a_fit_saved_before_the_folders_still_loads() -> None:
    """Written by the version whose modules lay side by side: 12 rows, 2 x 10 draws."""
    path = ROOT / "tests" / "data" / "before_the_folders.nc"
    fit = rm.load(path)
    with netCDF4.Dataset(path) as raw:
        stored = raw["posterior"]["impurity_oxygen_slope"][:]
    np.testing.assert_array_equal(fit.posterior.draws.params["impurity_oxygen_slope"], stored)
    assert [c.label for c in fit.model.components] == ["calibrated", "impurity_oxygen", "unresolved_specimen", "noise"]
    assert np.isfinite(fit.predict()["mean"]).all()
    assert fit.budget(new="specimen").table["share"].sum() == pytest.approx(1, abs=1e-12)
