"""Where realmat's own files lie, and whether a place can be written to."""

from __future__ import annotations

from pathlib import Path

from realmat.errors import FileError


def package() -> Path:
    """The folder of this package."""
    return Path(__file__).resolve().parents[1]


def gallery() -> Path:
    """The folder of the gallery: ``models/`` of the checkout that holds this package, else the copy inside the package."""
    own = package()
    checkout = own.parents[1] / "models"
    return checkout if own.parent.name == "src" and checkout.is_dir() else own / "_models"


def writable(path: str | Path) -> Path:
    """A path whose folder exists.

    Raises
    ------
    realmat.FileError
        If there is no such folder, or the path is a folder itself.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileError(f"cannot write {target}: there is no folder {target.parent}.")
    if target.is_dir():
        raise FileError(f"cannot write {target}: it is a folder; name a file in it.")
    return target
