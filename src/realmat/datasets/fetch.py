"""Find the file of a data set: in the folder REALMAT_DATA, in the cache, or at its upstream address, always with its hash checked."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

from realmat.errors import FileError

VARIABLE = "REALMAT_DATA"


@functools.cache
def registry() -> dict[str, dict[str, Any]]:
    """Upstream facts of each source: ``licence``, ``citation``, and ``files`` (name -> ``url``, ``sha256``, ``bytes``)."""
    return json.loads(files("realmat.datasets").joinpath("registry.json").read_text(encoding="utf-8"))


def fetch(source: str, file: str) -> Path:
    """Return the local path of one file of a source, downloading it where it is not here yet.

    Looked for in the folder that the environment variable ``REALMAT_DATA`` names (as ``<source>/<file>``), then in the user's cache.

    Parameters
    ----------
    source : str
        A key of the registry.
    file : str

    Raises
    ------
    realmat.FileError
        If a file is not the one that was registered, or cannot be downloaded.
    """
    facts = registry()[source]["files"][file]
    folder = os.environ.get(VARIABLE, "")
    by_hand = Path(folder).expanduser() / source / file
    if folder and by_hand.is_file():
        _check(by_hand, facts)
        return by_hand
    import pooch

    cache = Path(pooch.os_cache("realmat")) / source
    try:
        return Path(pooch.retrieve(facts["url"], f"sha256:{facts['sha256']}", file, cache, progressbar=True))
    except ValueError:  # the hash
        raise FileError(
            f"what {facts['url']} gives today is not the file that was registered (sha256 {facts['sha256']}). Put the registered file at "
            f"<folder>/{source}/{file} and set {VARIABLE} to that folder."
        ) from None
    except OSError as error:
        raise FileError(
            f"{file} could not be downloaded ({_reason(error)}). Download {facts['url']} ({facts['bytes'] / 1000:.0f} kB) by hand to "
            f"{cache / file}, or to <folder>/{source}/{file} and set the environment variable {VARIABLE} to that folder."
        ) from None


def _check(path: Path, facts: dict[str, Any]) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != facts["sha256"]:
        raise FileError(
            f"{path} is not the file that was registered (sha256 {found}, expected {facts['sha256']}). Download {facts['url']} in its "
            f"place, or remove it, and it will be downloaded."
        )


def _reason(error: OSError) -> str:
    """The innermost cause: requests wraps a refused connection four times."""
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    return str(getattr(cause, "strerror", None) or cause) or type(error).__name__
