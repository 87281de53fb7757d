"""Which engine runs a problem, and why, in one line."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from realmat.engines import exact, gibbs
from realmat.errors import FitError, ModelError
from realmat.posterior.draws import Draws
from realmat.terms.problem import Problem, tails

ENGINES = ("auto", "exact", "nuts")


def choose(problem: Problem, engine: str = "auto") -> tuple[str, str]:
    """The engine that will run, and the reason.

    Raises
    ------
    realmat.ModelError
        For an unknown engine.
    """
    if engine not in ENGINES:
        raise ModelError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}.")
    if engine != "auto":
        return engine, f"{engine}: asked for"
    why = exact.refusal(problem)
    if why:
        return "nuts", f"nuts: {why}"
    if tails(problem):
        return "exact", "exact: given its hyperparameters the model is linear, with heavy tails, limits or readings that are not normal"
    return "exact", "exact: given its hyperparameters the model is linear and Gaussian"


def run(
    problem: Problem,
    engine: str,
    draws: int,
    chains: int,
    seed: int,
    progress: bool,
    start: Mapping[str, np.ndarray] | None = None,
    **options: Any,
) -> Draws:
    """Sample a problem with the engine that fits it; the exact engine from draws of the hyperparameters given fewer rows, say.

    Raises
    ------
    realmat.FitError
        For impossible sizes, or options that the engine does not take.
    """
    if draws < 4 or chains < 1:
        raise FitError(f"draws={draws} and chains={chains}: at least 4 draws and 1 chain are needed.")
    name, reason = choose(problem, engine)
    takes = {"exact": ("latents",), "nuts": ("sampler", "tune")}[name]
    unknown = sorted(set(options) - set(takes))
    if unknown:
        raise FitError(f"engine {name!r} takes {', '.join(takes)}, not {', '.join(unknown)}.")
    if name == "exact" and gibbs.needed(problem):
        out = gibbs.sample(problem, draws, chains, seed, progress=progress, start=start)
    elif name == "exact":
        out = exact.sample(problem, draws, chains, seed, progress=progress, start=start, **options)
    else:
        if progress and engine == "auto":
            print(reason, file=sys.stderr)
        from realmat.engines import nuts

        out = nuts.sample(problem, draws, chains, seed, progress=progress, **options)
    facts = {**out.facts, "reason": reason, "seed": seed, "draws": draws, "chains": chains}
    return Draws(out.params, out.coefficients, out.summary, out.stats, facts)
