"""Write a new template to start from."""

from __future__ import annotations

import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

from realmat.errors import FileError, ModelError
from realmat.templates.finding import FILE, find, found

CARD = "README.md"


def write(name: str, start: str | None = None, parent: Path | None = None) -> Path:
    """Write the folder `name`, whole or not at all.

    Parameters
    ----------
    name : str
        A lower-case Python name.
    start : str, optional
        A template to copy; the small one that runs on simulated data without it.
    parent : Path, optional
        Where; here by default.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    realmat.ModelError
        If the name cannot be one, or is taken.
    realmat.FileError
        If the folder is there already, or cannot be written.
    """
    if not (name.isidentifier() and name == name.lower()):
        raise ModelError(f"{name!r} cannot be a template's name: take a lower-case Python name, such as 'thermal_conductivity'.")
    if name in {template.name for template in found()}:
        raise ModelError(f"there is a template {name!r} already (`realmat list`); take another name.")
    folder = (parent or Path()) / name
    if folder.exists():
        raise FileError(f"{folder} is there already; take another name, or remove it.")
    sources = _skeleton(name) if start is None else _copied(name, start)
    try:
        part = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder.parent))
        try:
            for file, text in sources.items():
                (part / file).write_text(text, encoding="utf-8")
            part.chmod(0o755)
            part.rename(folder)
        except OSError:
            shutil.rmtree(part, ignore_errors=True)
            raise
    except OSError as error:
        raise FileError(f"cannot write {folder}: {error.strerror or error}.") from error
    return folder


def _skeleton(name: str) -> dict[str, str]:
    source = files("realmat.templates").joinpath("skeleton")
    return {file: source.joinpath(f"{file}.in").read_text(encoding="utf-8").replace("$name", name) for file in (FILE, CARD)}


def _copied(name: str, start: str) -> dict[str, str]:
    template = find(start)
    card = template.card.splitlines()
    card[0] = f"# {name}"
    return {FILE: template.path.read_text(encoding="utf-8"), CARD: "\n".join([*card, ""])}
