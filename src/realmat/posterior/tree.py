"""The result as ArviZ knows it: a DataTree, and back from a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr

from realmat.errors import FileError
from realmat.posterior import pointwise, prior_draws
from realmat.posterior.draws import Draws, Posterior
from realmat.table.table import ROW, Table
from realmat.terms.parts import Derived
from realmat.terms.problem import Problem
from realmat.terms.term import stored_name

FORMAT = "realmat-fit-2"
_PRIOR_DRAWS = 500


def build(posterior: Posterior, model: Mapping[str, Any]) -> xr.DataTree:
    """All groups of a fit: posterior, sample_stats, prior, posterior_predictive, log_likelihood, log_prior, observed_data, constant_data.

    Groups by row keep at most four million numbers: evenly spaced draws where there would be more.
    """
    problem = posterior.problem
    facts = dict(posterior.draws.facts)
    seed = int(facts.get("seed", 0))
    prior = prior_draws.draw(problem, _PRIOR_DRAWS, seed)
    groups: dict[str, xr.Dataset] = {
        "posterior": variables(posterior),
        "sample_stats": _stats(posterior.draws.stats, posterior.shape),
        "log_prior": _log_prior(posterior),
        "prior": variables(prior),
        **_by_property(prior, seed, {"prior_predictive": 0}),
        **_by_property(posterior, seed, {"posterior_predictive": 0, "log_likelihood": 1}),
        "observed_data": xr.merge([_observed(part) for part in problem.every]),
        "constant_data": _columns(problem.table.whole),
    }
    if posterior.draws.summary:
        groups["posterior_summary"] = _summary(posterior)
    working = {
        c.name: posterior.draws.coefficients[c.name]
        for c in problem.coefficients
        if (c.report or c.inner) and c.name in posterior.draws.coefficients
    }
    if working:
        groups["working_scale"] = xr.Dataset({n: (("chain", "draw", f"{n}_dim"), v) for n, v in working.items()})
    tree = xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})
    tree.attrs = {
        "format": FORMAT,
        "realmat_version": version("realmat"),
        "numpy_version": version("numpy"),
        "arviz_version": version("arviz"),
        "engine": str(facts.get("engine", "")),
        "seed": seed,
        "data_hash": problem.table.whole.digest,
        "model": json.dumps(model),
        "facts": json.dumps(facts, default=_jsonable),
    }
    return tree


def of_prior(prior: Posterior, seed: int) -> xr.DataTree:
    """Draws from the prior and of what it predicts: groups `prior` and `prior_predictive`."""
    groups = {"prior": variables(prior), **_by_property(prior, seed, {"prior_predictive": 0})}
    return xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})


def _by_property(posterior: Posterior, seed: int, wanted: Mapping[str, int]) -> dict[str, xr.Dataset]:
    """Predictive draws (0) and log likelihoods (1) of the rows of every property."""
    made = []
    for part in posterior.problem.every:
        found = pointwise.groups(posterior.of(part.response), seed, likelihood=1 in wanted.values())
        made.append({name: by_row(part, found[which], found[2]) for name, which in wanted.items()})
    return {name: xr.merge([one[name] for one in made]) for name in wanted}


def variables(posterior: Posterior) -> xr.Dataset:
    """Hyperparameters and coefficients by name, layer by layer, in the units in which they are reported."""
    data: dict[str, Any] = {}
    coords: dict[str, Any] = {}
    for term in posterior.problem.all_terms:
        for q in term.params:
            data[q.name] = _array(posterior.draws.params[q.name], q.dim if q.coords is not None else None, q.coords, coords)
        for c in term.coefficients:
            draws = posterior.draws.coefficients.get(c.name)
            if draws is None or c.inner:
                continue
            shown = c.report[0](draws) if c.report else draws
            data[c.name] = _array(shown if c.dim else shown[..., 0], c.dim, c.coords, coords)
        for d in term.derived:
            data[d.name] = _derived(posterior, d, coords)
    chains, size = posterior.shape
    return xr.Dataset(data, {**coords, "chain": np.arange(chains), "draw": np.arange(size)})


def _array(draws: np.ndarray, dim: str | None, coords: Any, every: dict[str, Any]) -> tuple[tuple[str, ...], np.ndarray]:
    if dim is None:
        return ("chain", "draw"), draws
    dim = stored_name(dim)
    every.setdefault(dim, _plain(coords))
    return ("chain", "draw", dim), draws


def _derived(posterior: Posterior, d: Derived, every: dict[str, Any]) -> tuple[tuple[str, ...], np.ndarray]:
    draws = posterior.derived(d)
    dims = tuple(stored_name(dim) for dim in d.dims)
    for dim, coords in zip(dims, d.coords, strict=True):
        every.setdefault(dim, _plain(coords))
    return ("chain", "draw", *dims), draws.reshape(*posterior.shape, *draws.shape[1:])


def _plain(values: Any) -> np.ndarray:
    """Coordinates that a file can hold: numbers as they are, everything else as text."""
    values = np.asarray(values)
    return values if values.dtype.kind in "iuf" else np.array([str(v) for v in values], dtype=object)


def by_row(problem: Problem, values: np.ndarray | None, kept: np.ndarray) -> xr.Dataset:
    """A dataset of the response with dims chain, draw, row."""
    assert values is not None
    row = _row_dim(problem)
    coords = {"chain": np.arange(values.shape[0]), "draw": kept, row: _plain(problem.table.index)}
    return xr.Dataset({stored_name(problem.response): (("chain", "draw", row), values)}, coords)


def _row_dim(problem: Problem) -> str:
    """The dimension of the rows on which a property was measured: one of its own where there are rows that hold another property only."""
    return ROW if len(problem.table) == len(problem.table.whole) else f"{stored_name(problem.response)}_{ROW}"


def _observed(problem: Problem) -> xr.Dataset:
    measured = problem.table.numeric(problem.response)
    row = _row_dim(problem)
    return xr.Dataset({stored_name(problem.response): (row, measured)}, {row: _plain(problem.table.index)})


def _stats(stats: Mapping[str, np.ndarray], shape: tuple[int, int]) -> xr.Dataset:
    return xr.Dataset({n: (("chain", "draw"), v) for n, v in stats.items()}, {"chain": np.arange(shape[0]), "draw": np.arange(shape[1])})


def _log_prior(posterior: Posterior) -> xr.Dataset:
    """Log prior density of each hyperparameter at each draw."""
    problem = posterior.problem
    chains, size = posterior.shape
    data = {}
    for q in problem.params:
        lookup = {n: posterior.param(n).T for n in q.prior.references}
        density = np.asarray(q.prior.logpdf(posterior.param(q.name).T, lookup)).T
        data[q.name] = (("chain", "draw"), density.reshape(chains, size, -1).sum(axis=2))
    return xr.Dataset(data, {"chain": np.arange(chains), "draw": np.arange(size)})


def _summary(posterior: Posterior) -> xr.Dataset:
    data: dict[str, Any] = {}
    coords: dict[str, Any] = {}
    for c in posterior.problem.coefficients:
        for what, value in zip(("mean", "sd"), posterior.draws.summary[c.name], strict=True):
            data[f"{c.name}_{what}"] = ((f"{c.name}_dim",), value)
    return xr.Dataset(data, coords)


def _columns(table: Table) -> xr.Dataset:
    """Every column that the model uses; labels as JSON text, so that they come back with their types."""
    data: dict[str, Any] = {}

    def put(name: str, values: np.ndarray, kind: str, column: str) -> None:
        stored = stored_name(name)
        while stored in data:  # "a/b" beside "a_b"
            stored += "_"
        data[stored] = (ROW, values, {"realmat": kind, "column": column})

    for name, values in table.columns.items():
        if values.dtype == object:
            put(name, np.array([json.dumps(_native(v)) for v in values], dtype=object), "json", name)
        else:
            put(name, values, "numbers", name)
    for name, flags in table.limits.items():
        put(f"{name}__limit", flags.astype(np.int8), "limits", name)
    for name, values in reduced(table).items():
        put(f"reduced__{name}", values, "reduced", name)
    index = np.array([json.dumps(_native(v)) for v in table.index], dtype=object)
    return xr.Dataset(data, {ROW: (ROW, index, {"realmat": "json"})})


def _native(value: Any) -> Any:
    return (
        value.item() if isinstance(value, np.generic) else value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
    )


def _jsonable(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)


@dataclass(frozen=True)
class Columns:
    """What a file keeps of a table: columns, row labels, limits; `count` and `within` of one that was reduced where it lives."""

    columns: dict[str, np.ndarray]
    index: np.ndarray
    limits: dict[str, np.ndarray]
    count: np.ndarray | None = None
    within: np.ndarray | None = None


def reduced(table: Table) -> dict[str, np.ndarray]:
    """What a table holds beside its columns, where its rows stand for several."""
    return {} if table.within is None else {"count": table.count, "within": table.within}


def read_columns(dataset: xr.Dataset) -> Columns:
    """A saved table."""
    columns, limits, rest = {}, {}, {}
    for array in dataset.data_vars.values():
        kind, name = array.attrs["realmat"], str(array.attrs["column"])
        if kind in ("limits", "limit"):  # the latter, of earlier files, has 1 for "below"
            limits[name] = array.values if kind == "limits" else -array.values
        elif kind == "reduced":
            rest[name] = array.values
        elif kind == "json":
            columns[name] = _objects([json.loads(v) for v in array.values])
        else:
            columns[name] = array.values
    index = [json.loads(v) for v in dataset[ROW].values]
    numeric = all(isinstance(v, int) and not isinstance(v, bool) for v in index)
    return Columns(columns, np.array(index) if numeric else _objects(index), limits, **rest)


def _objects(values: list[Any]) -> np.ndarray:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def read_draws(tree: xr.DataTree, problem: Problem) -> Draws:
    """Draws of a saved tree, to the bit.

    Raises
    ------
    realmat.FileError
        If a variable of the model is missing.
    """
    posterior = tree["posterior"].to_dataset()
    working = tree["working_scale"].to_dataset() if "working_scale" in tree else xr.Dataset()
    summary = tree["posterior_summary"].to_dataset() if "posterior_summary" in tree else None
    missing = [q.name for q in problem.params if q.name not in posterior]
    missing += [c.name for c in problem.coefficients if c.name not in (working if c.inner else posterior) and summary is None]
    if missing:
        raise FileError(f"the file lacks the variables {', '.join(missing)} of its own model; it is damaged or was edited.")
    coefficients = {}
    for c in problem.coefficients:
        if c.name in working or c.name in posterior:
            values = (working if c.name in working else posterior)[c.name].values
            coefficients[c.name] = values if values.ndim == 3 else values[..., None]
    return Draws(
        {q.name: posterior[q.name].values for q in problem.params},
        coefficients,
        {}
        if summary is None
        else {c.name: (summary[f"{c.name}_mean"].values, summary[f"{c.name}_sd"].values) for c in problem.coefficients},
        {str(n): v.values for n, v in tree["sample_stats"].to_dataset().data_vars.items()},
        json.loads(tree.attrs["facts"]),
    )
