"""What a file keeps of a fit: the draws, the table, the model. All else is made from these when it is asked for.

Numbers are compressed without loss. Labels and other text are numbered, and their distinct values written once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr

from realmat.errors import FileError
from realmat.posterior.draws import Draws, Posterior
from realmat.posterior.tree import Columns, reduced, variables
from realmat.table.table import ROW, Table
from realmat.terms.carried import Priors
from realmat.terms.problem import Problem
from realmat.terms.term import stored_name

FORMAT = "realmat-fit-3"
_REST = "Predictions, log likelihoods and draws from the prior are not kept: realmat.load(this file).tree makes them."
_LEVEL = 1  # of compression: higher ones cost seconds, and draws do not get smaller
_SQUEEZED = 4_000_000  # numbers up to which a variable is compressed: more take ten times as long so, for a fifth of the room


def pack(posterior: Posterior, model: Mapping[str, Any]) -> xr.DataTree:
    """What cannot be made again: groups `posterior`, `sample_stats`, `summary` and `table`.

    Variables of `posterior` that are not reported as they were drawn, such as a state whose population is normal on a log scale, are kept
    in single precision, for readers that do not know realmat; the group `working_scale` has them as drawn.
    """
    draws, problem = posterior.draws, posterior.problem
    shown = variables(posterior)
    exact = {**draws.params, **draws.coefficients}
    plain = {name for name, v in shown.data_vars.items() if name in exact and _same(v.values, exact[str(name)])}
    sets: dict[str, dict[str, np.ndarray]] = {
        "working_scale": {name: v for name, v in exact.items() if name not in plain},
        "sample_stats": dict(draws.stats),
        "summary": {f"{name}_{what}": v for name, pair in draws.summary.items() for what, v in zip(("mean", "sd"), pair, strict=True)},
    }
    shown = shown.assign({n: v.astype(np.float32) for n, v in shown.data_vars.items() if n not in plain})
    groups = {
        "posterior": shown,
        **{name: _arrays(arrays) for name, arrays in sets.items() if arrays},
        "table": _table(problem.table.whole),
    }
    tree = xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})
    tree.attrs = {
        "format": FORMAT,
        "comment": _REST,
        **{f"{name}_version": version(name) for name in ("realmat", "numpy", "arviz")},
        "data_hash": problem.table.whole.digest,
        "model": json.dumps(model),
        "units": json.dumps(problem.table.whole.units),
        "priors": json.dumps(Priors.of(problem).to_dict()),
        "facts": json.dumps(dict(draws.facts), default=lambda v: v.tolist() if isinstance(v, (np.ndarray, np.generic)) else str(v)),
    }
    return tree


def encoding(tree: xr.DataTree) -> dict[str, dict[str, dict[str, Any]]]:
    """How the variables of each group are compressed, for `DataTree.to_netcdf`."""
    squeezed = {"zlib": True, "complevel": _LEVEL, "shuffle": True}
    return {
        f"/{name}": {str(v): squeezed for v, a in group.data_vars.items() if 1 < a.size <= _SQUEEZED}
        for name, group in tree.children.items()
    }


def priors(tree: xr.DataTree) -> Priors:
    """The priors that the fit was made with: of a fit that was updated, those scaled by the rows it began with."""
    return Priors.from_dict(json.loads(tree.attrs["priors"]))


def draws(tree: xr.DataTree, problem: Problem) -> Draws:
    """The draws of a packed tree, to the bit.

    Raises
    ------
    realmat.FileError
        If a variable of the model is missing.
    """
    held, summed = {**_read(tree, "posterior"), **_read(tree, "working_scale")}, _read(tree, "summary")
    blocks = [c.name for c in problem.coefficients]
    missing = [q.name for q in problem.params if q.name not in held]
    missing += [name for name in blocks if name not in held and f"{name}_mean" not in summed]
    if missing:
        raise FileError(f"the file lacks the variables {', '.join(missing)} of its own model; it is damaged or was edited.")
    return Draws(
        {q.name: held[q.name] for q in problem.params},
        {name: held[name] if held[name].ndim == 3 else held[name][..., None] for name in blocks if name in held},
        {name: (summed[f"{name}_mean"], summed[f"{name}_sd"]) for name in blocks if f"{name}_mean" in summed},
        _read(tree, "sample_stats"),
        json.loads(tree.attrs["facts"]),
    )


def columns(tree: xr.DataTree) -> Columns:
    """A packed table."""
    found: dict[str, dict[str, np.ndarray]] = {"column": {}, "limit": {}, "index": {}, "reduced": {}}
    for kind, name, values in _columns(tree["table"].to_dataset()):
        found[kind][name] = values
    return Columns(found["column"], found["index"][""], found["limit"], **found["reduced"])


def _same(shown: np.ndarray, drawn: np.ndarray) -> bool:
    """Whether what is reported are the draws themselves."""
    return shown.size == drawn.size and np.shares_memory(shown, drawn)


def _arrays(arrays: Mapping[str, np.ndarray]) -> xr.Dataset:
    def dims(name: str, ndim: int) -> tuple[str, ...]:
        return ("chain", "draw", f"{name}_dim")[:ndim] if ndim > 1 else (f"{name}_dim",)

    return xr.Dataset({name: (dims(name, np.ndim(v)), v) for name, v in arrays.items()})


def _read(tree: xr.DataTree, group: str) -> dict[str, np.ndarray]:
    return {str(name): v.values for name, v in tree[group].to_dataset().data_vars.items()} if group in tree.children else {}


def _table(table: Table) -> xr.Dataset:
    data: dict[str, Any] = {}

    def put(kind: str, name: str, values: np.ndarray) -> None:
        stored = stored_name(f"{name}__{kind}")
        while stored in data:  # "a/b" beside "a_b"
            stored += "_"
        told = {"kind": kind, "column": name}
        if values.dtype.kind not in "OUS":
            data[stored] = (ROW, values, told)
            return
        codes, labels = _numbered(values)
        data[stored] = (ROW, codes, told)
        text = np.frombuffer(json.dumps(labels).encode(), dtype=np.uint8)
        data[f"{stored}_labels"] = (f"{stored}_bytes", text, {"labels_of": stored})

    for name, values in table.columns.items():
        put("column", name, values)
    for name, flags in table.limits.items():
        put("limit", name, flags)
    for name, values in reduced(table).items():
        put("reduced", name, values)
    put("index", "", np.asarray(table.index))
    return xr.Dataset(data)


def _numbered(values: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    """Codes and distinct values as JSON knows them; 1 and 1.0 and True are three, as they were."""
    seen: dict[tuple[type, Any], int] = {}
    plain = [v.item() if isinstance(v, np.generic) else v for v in values]
    known = [v if isinstance(v, (str, int, float, bool, type(None))) else str(v) for v in plain]
    codes = np.array([seen.setdefault((type(v), v), len(seen)) for v in known], dtype=np.int32)
    return codes, [v for _, v in seen]


def _columns(dataset: xr.Dataset) -> Iterator[tuple[str, str, np.ndarray]]:
    """Kind, name and values of everything in a packed table."""
    labels = {
        str(v.attrs["labels_of"]): json.loads(v.values.tobytes().decode()) for v in dataset.data_vars.values() if "labels_of" in v.attrs
    }
    for stored, v in dataset.data_vars.items():
        if "labels_of" in v.attrs:
            continue
        values = v.values
        if stored in labels:
            known = np.empty(len(labels[stored]), dtype=object)
            known[:] = labels[stored]
            values = known[values]
        yield v.attrs["kind"], v.attrs["column"], values
