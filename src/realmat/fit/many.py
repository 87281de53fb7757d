"""Many fits, on this machine or on whatever a `concurrent.futures.Executor` stands for."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any

import numpy as np
import pandas as pd

from realmat.engines import choice
from realmat.errors import ModelError, RealmatError
from realmat.fit.result import Fit
from realmat.joint import Joint
from realmat.model import Model
from realmat.posterior.draws import Draws, Posterior
from realmat.support.jobs import SomeFailedError, run
from realmat.support.progress import Progress
from realmat.table.lazy import is_lazy
from realmat.table.reading import ReadTable
from realmat.table.table import Table


def fit_many(
    models: Mapping[str, Model | Joint],
    data: Any,
    engine: str = "auto",
    draws: int = 1000,
    chains: int = 4,
    seed: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
    *,
    latents: str | None = None,
    sampler: str | None = None,
    tune: int | None = None,
) -> dict[str, Fit]:
    """Fit many models, the same numbers whoever runs them.

    Parameters
    ----------
    models : mapping of name to Model or Joint
    data : DataFrame or what else `Model.fit` takes; or a mapping of the same names to tables of their own
    engine, draws, chains, latents, sampler, tune
        Of each fit, as of `Model.fit`.
    seed : int, optional
        Of each fit: a fit is the one that ``model.fit(data, seed=seed)`` gives.
    executor : concurrent.futures.Executor, optional
        Such as Dask's ``client.get_executor()``, joblib's loky or mpi4py's ``MPIPoolExecutor``. Models travel as dictionaries, tables as
        arrays, and draws come back. Without one the fits run here, one after the other, each on all cores.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    dict of str to Fit

    Raises
    ------
    realmat.support.jobs.SomeFailedError
        If fits fail, once all have ended: every one that failed is named, and `.done` holds the others.

    Examples
    --------
    >>> import pandas as pd
    >>> import realmat as rm
    >>> df = pd.DataFrame({"y": [1.0, 1.2, 0.9, 1.4, 1.1], "x": [0.0, 1.0, 0.5, 2.0, 1.5]})
    >>> models = {"flat": rm.Model("y", theory=rm.theory.Constant()), "line": rm.Model("y", theory=rm.theory.Calibrated("x"))}
    >>> list(rm.fit_many(models, df, draws=50, seed=1))
    ['flat', 'line']
    """
    if not isinstance(models, Mapping) or not models:
        raise ModelError("fit_many takes a mapping of names to models, as in rm.fit_many({'ideal': a, 'real': b}, data).")
    own = isinstance(data, Mapping) and set(data) == set(models) and all(map(_is_table, data.values()))
    number = int(np.random.default_rng().integers(2**31)) if seed is None else int(seed)
    given = {"latents": latents, "sampler": sampler, "tune": tune}
    options = {name: value for name, value in given.items() if value is not None}
    tables: dict[str, Table] = {}
    failed: dict[str, Exception] = {}
    for name, model in models.items():
        try:
            tables[name] = model.table(data[name] if own else data)
        except RealmatError as error:
            failed[name] = error
    tasks = {name: (models[name], table, engine, draws, chains, number, options) for name, table in tables.items()}
    with Progress(progress, f"{len(models)} fits", len(tasks)) as bar:
        try:
            found = run(_draws, tasks, executor, bar.advance, "fits", failed)
        except SomeFailedError as error:
            error.done = {name: _fit(models[name], tables[name], own_draws) for name, own_draws in error.done.items()}
            raise
    return {name: _fit(models[name], tables[name], found[name]) for name in models}


def _is_table(value: Any) -> bool:
    return isinstance(value, (pd.DataFrame, ReadTable, Mapping)) or is_lazy(value)


def _draws(model: Model | Joint, table: Table, engine: str, draws: int, chains: int, seed: int, options: Mapping[str, Any]) -> Draws:
    return choice.run(model.bind(table), engine, draws, chains, seed, progress=False, **options)


def _fit(model: Model | Joint, table: Table, draws: Draws) -> Fit:
    return Fit(model, Posterior(model.bind(table), draws))
