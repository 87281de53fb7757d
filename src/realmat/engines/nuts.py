"""The nuts engine: samples the PyMC model of any problem by the No-U-Turn sampler (Hoffman & Gelman, J. Mach. Learn. Res. 15, 1593 (2014)).

It stores hyperparameters and coefficients and nothing by row, and knows three samplers: ``nutpie`` (the default; compiled with Numba,
chains in threads, and the compilation is cached between processes), ``pymc`` and ``numpyro`` (JAX, for a GPU).
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from realmat.algebra.example import example_values
from realmat.engines import centring
from realmat.engines.pymc_route import build
from realmat.errors import FitError
from realmat.posterior.draws import Draws
from realmat.terms.problem import Problem

if TYPE_CHECKING:
    import pymc as pm

TARGET_ACCEPT = 0.9
"""Acceptance to which step sizes are tuned: above the usual 0.8, because hierarchical posteriors have narrow necks."""

LOW_RANK_TO = 300
"""Unknowns up to which nutpie adapts to correlations (its low-rank mass matrix), not to scales alone: intercepts and group effects are
strongly correlated, and learning that costs too much in models with thousands of unknowns."""

_PILOT_DRAWS, _PILOT_TUNE = 100, 300

STATS = ("diverging", "energy", "tree_depth", "n_steps", "lp", "step_size", "acceptance_rate")
"""Sample statistics, by PyMC's names."""

_NUTPIE_STATS = {"tree_depth": "depth", "lp": "logp", "acceptance_rate": "mean_tree_accept"}

Values = dict[str, np.ndarray]


def sample(problem: Problem, draws: int, chains: int, seed: int, tune: int = 1000, sampler: str = "nutpie", progress: bool = True) -> Draws:
    """Draw from the posterior of any problem.

    Parameters
    ----------
    problem : Problem
    draws, chains : int
    seed : int
    tune : int
        Steps for tuning at the start of each chain, which are not kept.
    sampler : {"nutpie", "pymc", "numpyro"}
    progress : bool
        Show a progress bar.

    Returns
    -------
    Draws
        Hyperparameters and coefficients (on their working scale), statistics `STATS`, facts. After an interrupt (Ctrl-C) fewer draws,
        and ``facts["interrupted"]`` says so; NumPyro runs as one compiled loop and keeps nothing.

    Raises
    ------
    realmat.FitError
        For an unknown sampler or one that is not installed, or where no starting point has a finite density.
    KeyboardInterrupt
        If interrupted before any draw could be kept.
    """
    samplers: dict[str, Callable[[_Run], tuple[Values, Values]]] = {"nutpie": _nutpie, "pymc": _pymc, "numpyro": _numpyro}
    if sampler not in samplers:
        raise FitError(f"unknown sampler {sampler!r}; choose one of {', '.join(samplers)}.")
    if find_spec(sampler) is None:
        raise FitError(f'sampler={sampler!r} is not installed: pip install "realmat[{sampler}]", or take sampler="nutpie".')
    started = time.perf_counter()
    model = build(problem, collapsed=True)
    if not model.free_RVs:
        raise FitError("the model has no unknown to sample.")
    names = (*(param.name for param in problem.params), *(block.name for block in problem.coefficients))
    start = example_values(problem.params)
    run = _Run(problem, model, names, start, draws, chains, seed, tune, progress)
    values, stats = samplers[sampler](run)
    kept = next(iter(stats.values())).shape
    facts: dict[str, Any] = {
        "engine": "nuts",
        "sampler": sampler,
        "seed": seed,
        "tune": tune,
        "target_accept": TARGET_ACCEPT,
        "seconds": round(time.perf_counter() - started, 4),
        "versions": _versions("pymc", "pytensor", sampler),
        **run.facts,
    }
    if kept != (chains, draws):
        facts["interrupted"] = f"interrupted: {kept[0]} of {chains} chains, {kept[1]} of {draws} draws each, were kept"
    params = {q.name: values[q.name] for q in problem.params}
    coefficients = {c.name: values[c.name].reshape(*kept, c.size) for c in problem.coefficients}
    return Draws(params, coefficients, stats=stats, facts=facts)


def _versions(*packages: str) -> dict[str, str]:
    out = {}
    for package in packages:
        try:
            out[package] = version(package)
        except PackageNotFoundError:  # an editable or vendored copy without metadata
            out[package] = "unknown"
    return out


def keep(counts: Sequence[int]) -> tuple[list[int], int]:
    """Which chains to keep after an interrupt, and how many draws of each, so that most draws are kept.

    Raises
    ------
    KeyboardInterrupt
        If there are none.

    Examples
    --------
    >>> keep([1000, 400, 0])
    ([0], 1000)
    >>> keep([1000, 900, 0])
    ([0, 1], 900)
    """
    most = max(counts, key=lambda n: n * sum(count >= n for count in counts))
    if most == 0:
        raise KeyboardInterrupt("interrupted before a draw could be kept")
    return [chain for chain, count in enumerate(counts) if count >= most], most


@dataclass(frozen=True)
class _Run:
    """What the three samplers are asked for; chains begin with the hyperparameters at `start`, the medians of their priors."""

    problem: Problem
    model: pm.Model
    names: tuple[str, ...]
    start: dict[str, Any]
    draws: int
    chains: int
    seed: int
    tune: int
    progress: bool
    facts: dict[str, Any] = field(default_factory=dict)


def _nutpie(run: _Run) -> tuple[Values, Values]:
    import nutpie

    # Starts are spread where one means the same in every model: positive and bounded variables, and coefficients by their z.
    spread = {rv for rv in run.model.free_RVs if run.model.rvs_to_transforms[rv] is not None or rv.name.endswith("_z")}
    started = time.perf_counter()
    compiled = nutpie.compile_pymc_model(run.model, var_names=run.names, jitter_rvs=spread, initial_points=run.start)
    run.facts["compile_seconds"] = round(time.perf_counter() - started, 3)
    return _by_nutpie(_centre(compiled, run), run, run.draws, run.tune, run.chains, run.progress)


def _centre(compiled: Any, run: _Run) -> Any:
    """Choose the centring of each coefficient by 20 of the psi that a short pilot run finds."""
    flags = [block.name for block in run.problem.coefficients if f"{block.name}_centred" in run.model.named_vars]
    if not flags or not run.problem.params:
        return compiled
    values, stats = _by_nutpie(compiled, run, _PILOT_DRAWS, _PILOT_TUNE, chains=2, progress=False)
    if stats["lp"].shape != (2, _PILOT_DRAWS):
        raise KeyboardInterrupt("interrupted before a draw could be kept")
    psi = {q.name: values[q.name].reshape(2 * _PILOT_DRAWS, *values[q.name].shape[2:]) for q in run.problem.params}
    chosen = centring.centred(run.problem, [{name: draws[i] for name, draws in psi.items()} for i in range(0, 2 * _PILOT_DRAWS, 10)])
    shapes = {name: run.model[f"{name}_centred"].get_value().shape for name in flags}
    return compiled.with_data(**{f"{name}_centred": chosen[name].astype(float).reshape(shapes[name]) for name in flags})


def _by_nutpie(compiled: Any, run: _Run, draws: int, tune: int, chains: int, progress: bool) -> tuple[Values, Values]:
    """Draws and statistics, each with dims chain, draw; after Ctrl-C what there is of them."""
    import nutpie

    try:
        trace = nutpie.sample(
            compiled,
            draws=draws,
            tune=max(tune, 1),
            chains=chains,
            seed=run.seed,
            target_accept=TARGET_ACCEPT,
            adaptation="low_rank" if compiled.n_dim <= LOW_RANK_TO else "diag",
            progress_bar=progress,
            return_raw_trace=True,
        )
    except RuntimeError as error:
        reason = str(error).partition("Stack backtrace")[0].strip()
        raise FitError(f"nutpie could not sample this model ({reason}); check priors and data for impossible values.") from error
    draw_batches, stat_batches = trace.get_arrow_trace()
    tuned = [int(stat.column("tuning").to_numpy().sum()) for stat in stat_batches]
    chosen, most = keep([batch.num_rows - skip for batch, skip in zip(draw_batches, tuned, strict=True)])
    parts = [(draw_batches[i].slice(tuned[i], most), stat_batches[i].slice(tuned[i], most)) for i in chosen]
    values = {name: np.stack([_column(draw, name) for draw, _ in parts]) for name in run.names}
    stats = {name: np.stack([_column(stat, _NUTPIE_STATS.get(name, name)) for _, stat in parts]) for name in STATS}
    return values, stats


def _column(batch: Any, name: str) -> np.ndarray:
    """A column of an Arrow table, shape (draws,) or (draws, size)."""
    import pyarrow

    column = pyarrow.array(batch.column(name))
    if pyarrow.types.is_nested(column.type):
        return column.flatten().to_numpy().reshape(len(column), -1)
    return column.to_numpy(zero_copy_only=False)


def _pymc(run: _Run) -> tuple[Values, Values]:
    """One chain after the other. An interrupt is held until a step is done: inside compiled code it would take the draws with it."""
    interrupted = threading.Event()

    def stop(trace: Any, draw: Any) -> None:
        if interrupted.is_set():  # ends this chain, and each further one at its first step
            raise KeyboardInterrupt

    try:
        with _held(interrupted):
            return _by_pymc(run, {}, nuts_sampler="pymc", init="adapt_diag", cores=1, callback=stop)
    except ValueError as error:
        if interrupted.is_set():
            raise KeyboardInterrupt("interrupted before a draw could be kept") from error
        raise


@contextmanager
def _held(interrupted: threading.Event) -> Iterator[None]:
    """Ctrl-C only sets `interrupted`; other threads than the main one never see it anyway."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda signum, frame: interrupted.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _numpyro(run: _Run) -> tuple[Values, Values]:
    import pymc.sampling.jax  # noqa: F401  (before JAX counts its devices: it makes each processor one)
    from jax import local_device_count

    method = "parallel" if local_device_count() >= run.chains else "vectorized"
    values, stats = _by_pymc(run, {"chain_method": method, "jitter": False}, nuts_sampler="numpyro")
    return values, {**stats, "lp": -stats["lp"]}  # PyMC hands on NumPyro's potential energy


def _by_pymc(run: _Run, nuts: dict[str, Any], **options: Any) -> tuple[Values, Values]:
    import pymc as pm

    tree: Mapping[str, Any] = pm.sample(
        run.draws,
        tune=run.tune,
        chains=run.chains,
        random_seed=run.seed,
        initvals=run.start,
        progressbar=run.progress,
        quiet=not run.progress,
        var_names=list(run.names),
        compute_convergence_checks=False,
        model=run.model,
        nuts={"target_accept": TARGET_ACCEPT, **nuts},
        **options,
    )
    posterior, stats = tree["posterior"], tree["sample_stats"]
    return {name: posterior[name].to_numpy() for name in run.names}, {name: stats[name].to_numpy() for name in STATS if name in stats}
