"""A fit on disk: one NetCDF file of what cannot be made again, see `realmat.posterior.stored`.

Files that hold the whole DataTree, as earlier versions wrote them and as `fit.tree.to_netcdf` does, are read as well.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from realmat.errors import FileError, ModelError, RealmatError
from realmat.joint import Joint
from realmat.model import Model
from realmat.posterior.draws import Posterior
from realmat.support.places import writable
from realmat.table.table import Table
from realmat.terms.named import UntrustedError

if TYPE_CHECKING:
    import xarray as xr


def write(posterior: Posterior, model: Model | Joint, path: str | Path) -> Path:
    """Write a fit, whole or not at all.

    Raises
    ------
    realmat.FileError
        If it cannot be written.
    """
    from realmat.posterior import stored

    return put(stored.pack(posterior, model.to_dict()), path)


def put(tree: xr.DataTree, path: str | Path) -> Path:
    """Write what a file of a fit holds, whole or not at all.

    Raises
    ------
    realmat.FileError
        If it cannot be written.
    """
    from realmat.posterior import stored

    target = writable(path)
    part = target.with_name(f".{target.name}.part")
    try:
        tree.to_netcdf(part, engine="netcdf4", encoding=stored.encoding(tree))
        os.replace(part, target)
    except (OSError, RuntimeError) as error:  # of the latter kind are those of the NetCDF library
        part.unlink(missing_ok=True)
        raise FileError(f"cannot write {target}: {getattr(error, 'strerror', None) or error}.") from error
    return target


def read(path: str | Path, trust: str | Sequence[str] = ()) -> tuple[Model | Joint, Posterior]:
    """Read back what `write` wrote; code that is named in it is imported where it is realmat's own, or of a module that `trust` names.

    Raises
    ------
    realmat.FileError
        If the file is missing, damaged, not a realmat fit, or needs a component that cannot be imported.
    UntrustedFileError
        If it names code that is not trusted.
    realmat.ModelError
        If `trust` names no modules.
    """
    if isinstance(trust, bytes) or not isinstance(trust, Sequence) or not all(isinstance(name, str) for name in trust):
        raise ModelError(f"trust={trust!r} must be a module's name, or several, whose code is run; trust=() runs none but realmat's own.")
    source = Path(path)
    tree = _opened(source)
    try:
        told = json.loads(tree.attrs["model"])
        trusted = (trust,) if isinstance(trust, str) else tuple(trust)
        model = Joint.from_dict(told, trusted) if "joint" in told else Model.from_dict(told, trusted)
        posterior = _posterior(source, tree, model)
    except FileError:
        raise
    except UntrustedError as error:
        raise UntrustedFileError(f"{source}: {error}", tree) from error
    except (RealmatError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        told = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise FileError(f"{source} cannot be read back: {told}") from error
    return model, posterior


class UntrustedFileError(FileError):
    """A file that names code which nobody said to trust; `tree` holds its draws and tables."""

    def __init__(self, message: str, tree: xr.DataTree) -> None:
        self.tree = tree
        super().__init__(message)


def _opened(source: Path) -> xr.DataTree:
    import xarray as xr

    from realmat.posterior import stored
    from realmat.posterior import tree as layout

    if not source.exists():
        raise FileError(f"{source} does not exist.")
    try:
        with xr.open_datatree(source, engine="netcdf4") as opened:
            tree = opened.load()
    except Exception as error:  # any reader's complaint means the same to the user
        raise FileError(f"{source} is not a NetCDF file, or is damaged ({type(error).__name__}: {error}).") from error
    known = (stored.FORMAT, layout.FORMAT)
    if tree.attrs.get("format") not in known:
        told = f"it says {tree.attrs.get('format')!r}, and {' or '.join(map(repr, known))} can be read"
        raise FileError(f"{source} is not a realmat fit ({told}); the version of realmat that wrote it may read it.")
    return tree


def _posterior(source: Path, tree: xr.DataTree, model: Model | Joint) -> Posterior:
    from realmat.posterior import stored
    from realmat.posterior import tree as layout

    packed = tree.attrs["format"] == stored.FORMAT
    kept = stored.columns(tree) if packed else layout.read_columns(tree["constant_data"].to_dataset())
    response, link = (model.response, model.link) if isinstance(model, Model) else ("", "identity")
    units = json.loads(tree.attrs.get("units", "{}"))
    stood = (kept.columns, model.levels, kept.index, kept.limits, kept.count)
    table = Table(*stood, response, link, within=kept.within, units=units)
    if table.digest != tree.attrs["data_hash"]:
        raise FileError(f"{source}: the data in the file do not match their hash; the file is damaged or was edited.")
    if not packed:
        problem = model.bind(table)
        return Posterior(problem, layout.read_draws(tree, problem))
    priors = stored.priors(tree)
    problem = priors.put(model.bind(table, priors.scales))
    return Posterior(problem, stored.draws(tree, problem))
