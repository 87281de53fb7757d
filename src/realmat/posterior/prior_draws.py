"""Draws from the prior of a problem, in the same form as a posterior, so that everything that reads one reads the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from realmat.posterior.draws import Draws, Posterior
from realmat.terms.problem import Problem
from realmat.terms.term import Coefficients, Param, degrees, evaluate


def draw(problem: Problem, draws: int, seed: int) -> Posterior:
    """Independent prior draws: one chain of `draws`."""
    rng = np.random.default_rng([seed, 7])
    params = hyperparameters(problem.params, draws, rng)
    blocks: dict[str, list[np.ndarray]] = {c.name: [] for c in problem.coefficients}
    order = by_parents(problem.coefficients)
    for i in range(draws):
        values = {name: value[i] for name, value in params.items()}
        b: dict[str, np.ndarray] = {}
        for block in order:
            mean = np.broadcast_to(np.asarray(evaluate(block.mean, values), dtype=float), (block.size,))
            for part in block.mean_parts:
                mean = mean + evaluate(part.scale, values) * (part.matrix @ b[part.coefficients])
            sd = np.asarray(evaluate(block.sd, values), dtype=float)
            nu = degrees(block.nu, values) if block.nu else None
            local = nu / rng.chisquare(nu, block.size) if nu else 1.0
            b[block.name] = mean + sd * np.sqrt(local) * rng.standard_normal(block.size)
        for name, value in b.items():
            blocks[name].append(value)
    return Posterior(
        problem,
        Draws({n: v[None] for n, v in params.items()}, {n: np.array(v)[None] for n, v in blocks.items()}),
    )


def hyperparameters(
    params: Sequence[Param], draws: int, rng: np.random.Generator, known: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """Hyperparameters by name, shape (draws,) or (draws, size); all draws at once where a prior depends on no other.

    Those that are `known` stay, and the others are drawn given them.
    """
    values: dict[str, np.ndarray] = dict(known or {})
    pending = [q for q in params if q.name not in values]
    while pending:
        for q in [q for q in pending if all(r in values for r in q.prior.references)]:
            shape = () if q.coords is None else (q.size,)
            if q.prior.references:
                values[q.name] = np.array([q.prior.rvs(rng, shape or None, {n: v[i] for n, v in values.items()}) for i in range(draws)])
            else:
                values[q.name] = np.asarray(q.prior.rvs(rng, (draws, *shape)))
            pending.remove(q)
    return values


def by_parents(blocks: Sequence[Coefficients]) -> list[Coefficients]:
    """Blocks ordered so that parents come first."""
    done: list[Coefficients] = []
    names: set[str] = set()
    pending = list(blocks)
    while pending:
        ready = [c for c in pending if all(part.coefficients in names for part in c.mean_parts)]
        done += ready
        names |= {c.name for c in ready}
        pending = [c for c in pending if c.name not in names]
    return done
