"""One template: a module that declares models of one kind of table."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from realmat.errors import DataError, FileError, ModelError

if TYPE_CHECKING:
    import pandas as pd

    from realmat.joint import Joint
    from realmat.model import Model

_MUST_DEFINE = {
    "COLUMNS": "a list of rm.templates.Column",
    "VARIANTS": "a dictionary, variant -> one line",
    "model": "a function",
    "data": "a function",
}


@dataclass(frozen=True)
class Column:
    """A column of the table that a template takes.

    Attributes
    ----------
    name : str
    unit : str
        In which its numbers are given; empty for labels.
    meaning : str
    required : bool
        Whether the table must hold it; the others may be absent, and every cell of a characterisation may be empty.
    synonyms : tuple of str
        Other names by which the command line finds it in a user's table; common ones are known (`realmat.templates.matching`).
    """

    name: str
    unit: str
    meaning: str
    required: bool = True
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Template:
    """A model of one kind of table, with the data it was made for.

    Attributes
    ----------
    name : str
    path : Path
        Its ``template.py``.
    source : str
        "gallery", the package that brings it, or its folder.
    package : str, optional
        The module's name where an installed package brings it.
    """

    name: str
    path: Path
    source: str
    package: str | None = field(default=None, repr=False)

    @cached_property
    def summary(self) -> str:
        """First line of the docstring, without its full stop; the file is read, not executed."""
        try:
            text = ast.get_docstring(ast.parse(self.path.read_text(encoding="utf-8"))) or ""
        except (OSError, SyntaxError, ValueError) as error:
            return f"cannot be read: {error}"
        return text.partition("\n")[0].rstrip(".")

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the models to compare."""
        return tuple(self.module.VARIANTS)

    @property
    def default(self) -> str:
        """The variant that is meant where none is named: ``"real"``, or the last one."""
        return "real" if "real" in self.variants else self.variants[-1]

    @property
    def meanings(self) -> Mapping[str, str]:
        """What each variant assumes, in one line."""
        return dict(self.module.VARIANTS)

    @property
    def columns(self) -> tuple[Column, ...]:
        """What a user's own table must, or may, hold."""
        return tuple(self.module.COLUMNS)

    @cached_property
    def card(self) -> str:
        """The model card: README.md beside the template.

        Raises
        ------
        realmat.FileError
            If there is none.
        """
        path = self.path.with_name("README.md")
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            raise FileError(f"template {self.name!r} has no model card: {path} cannot be read ({error.strerror}).") from error

    def model(self, variant: str | None = None, table: pd.DataFrame | None = None, **options: Any) -> Model | Joint:
        """Build one of its models.

        Parameters
        ----------
        variant : str, optional
            One of `variants`; `default` without.
        table : DataFrame, optional
            A prepared table (see `prepare`), from which lists of columns (elements, functional groups) are taken where the template has
            such lists; its own data set's by default.
        **options
            What else the template's own function takes.

        Raises
        ------
        realmat.ModelError
            For an unknown variant or option.
        """
        variant = variant or self.default
        if variant not in self.variants:
            near = difflib.get_close_matches(str(variant), self.variants, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ModelError(f"template {self.name!r} has no variant {variant!r}; it has {', '.join(self.variants)}{hint}")
        parameters = inspect.signature(self.module.model).parameters
        taken = [name for name in parameters if name not in ("variant", "table")]
        unknown = sorted(set(options) - set(taken))
        if unknown:
            raise ModelError(f"template {self.name!r} takes {', '.join(taken) or 'no options'}, not {', '.join(unknown)}.")
        if table is not None and "table" in parameters:
            options["table"] = table
        model = self.module.model(variant, **options)
        return model if model.name else dataclasses.replace(model, name=f"{self.name}, {variant}")

    def data(self) -> pd.DataFrame:
        """The data set that the template was made for, prepared."""
        return self.prepare(self.module.data())

    def prepare(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table with what the template derives from other columns, such as element fractions from formulas.

        Raises
        ------
        realmat.DataError
            If a required column is absent; every one of them is named.
        """
        absent = [c for c in self.columns if c.required and c.name not in table.columns]
        if absent:
            said = "".join(f"\n  - {c.name}{f' ({c.unit})' if c.unit else ''}: {c.meaning}" for c in absent)
            there = ", ".join(map(str, table.columns[:20]))
            raise DataError(
                f"the table lacks columns that template {self.name!r} needs:{said}\nIt has: {there}.\n"
                f"Rename what is called otherwise, as in --rename '{table.columns[0] if len(table.columns) else 'OLD'}={absent[0].name}'."
            )
        prepare = getattr(self.module, "prepare", None)
        return table if prepare is None else prepare(table)

    @cached_property
    def module(self) -> ModuleType:
        """The executed ``template.py``.

        Raises
        ------
        realmat.ModelError
            If it cannot be executed, or lacks something.
        """
        module = importlib.import_module(self.package) if self.package else _execute(self.path, self.name)
        missing = [f"{name} ({what})" for name, what in _MUST_DEFINE.items() if not hasattr(module, name)]
        if missing:
            raise ModelError(f"{self.path} is not a template: it lacks {', '.join(missing)}. `realmat new NAME` writes one to start from.")
        return module


def _execute(path: Path, name: str) -> ModuleType:
    """Import the file as a module of `realmat.templates`, so that a saved model finds the functions and components it defines."""
    inner = f"{name}.template" if path.name == "template.py" else name
    home = str(path.parent.parent if path.name == "template.py" else path.parent)
    searched = sys.modules[__name__.rpartition(".")[0]].__path__  # of the package that this module lies in
    if home not in searched:
        searched.append(home)
    spec = importlib.util.spec_from_file_location(f"realmat.templates.{inner}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        own = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else own[-1] if own else "?"
        raise ModelError(f"template {path} cannot be executed: {type(error).__name__}: {error} (line {line}).") from error
    return module
