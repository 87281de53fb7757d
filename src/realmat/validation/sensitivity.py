"""Sensitivity of the posterior to its prior and to the data, by power-scaling each a little.

Kallioinen, Paananen, Bürkner & Vehtari, Stat. Comput. 34, 57 (2024). The prior is that of hyperparameters and of coefficients with a
prior of their own (intercepts, slopes); all other coefficients are integrated out, so that what is scaled is
p(y | psi, b_top) = p(y | psi) p(b_top | psi, y) / p(b_top).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from realmat.algebra.batching import slices
from realmat.algebra.group_covariances import GroupCovariances
from realmat.posterior.contributions import Stream
from realmat.posterior.draws import Posterior
from realmat.posterior.pointwise import log_density
from realmat.posterior.prior_draws import by_parents
from realmat.terms.problem import nonlinear_terms
from realmat.terms.term import Coefficients

if TYPE_CHECKING:
    import pandas as pd

_MOST_TOP = 30
_LOG_2PI = float(np.log(2 * np.pi))


def sensitivity(posterior: Posterior, draws: int = 1000) -> pd.DataFrame:
    """`az.psense` of every hyperparameter and top coefficient.

    Returns
    -------
    DataFrame
        Indexed by variable (the largest over its elements): prior, likelihood. Empty where there is nothing to scale.
    """
    import pandas as pd
    from arviz_base import from_dict
    from arviz_stats import psense

    indices = posterior.thin(draws)
    top = _top(posterior)
    b = {c.name: posterior.block(c.name, indices) for c in top}
    variables = {**{name: posterior.param(name)[indices] for name in posterior.draws.params}, **b}
    if not variables or len(indices) < 100:
        return pd.DataFrame(columns=["prior", "likelihood"], dtype=float)
    log_prior = _log_prior(posterior, top, b, indices)
    log_likelihood = _pointwise(posterior, indices) if nonlinear_terms(posterior.problem) else _marginal(posterior, top, b, indices)
    tree = from_dict(
        {
            "posterior": {name: values[None] for name, values in variables.items()},
            "log_prior": {"prior": log_prior[None]},
            "log_likelihood": {"likelihood": log_likelihood[None]},
        }
    )
    found = {group: psense(tree, group=group) for group in ("prior", "likelihood")}
    return pd.DataFrame({group: {str(n): float(v.max()) for n, v in data.data_vars.items()} for group, data in found.items()})


def _top(posterior: Posterior) -> list[Coefficients]:
    """Blocks with a prior of their own: a fixed standard deviation, and no parents but such blocks, with fixed weights."""
    blocks = by_parents(posterior.problem.coefficients)
    found = [c for c in blocks if not callable(c.sd) and not callable(c.mean) and not c.leans and not c.nu]
    kept: dict[str, Coefficients] = {}
    size = 0
    for block in found:
        if all(parent in kept for parent, _ in block.parents) and size + block.size <= _MOST_TOP:
            size += block.size
            kept[block.name] = block
    return list(kept.values())


def _own_density(block: Coefficients, draws: dict[str, np.ndarray]) -> np.ndarray:
    """Log prior density of a top block given its parents, at draws of shape (draws, size) by name."""
    b = draws[block.name]
    sd = np.broadcast_to(np.asarray(block.sd, dtype=float), b.shape)
    mean = sum(((matrix @ draws[parent].T).T for parent, matrix in block.parents), np.asarray(block.mean, dtype=float))
    z = (b - mean) / sd
    return np.asarray((-0.5 * z**2 - np.log(sd) - 0.5 * _LOG_2PI).sum(axis=1))


def _log_prior(posterior: Posterior, top: list[Coefficients], b: dict[str, np.ndarray], indices: np.ndarray) -> np.ndarray:
    total = sum((_own_density(c, b) for c in top), np.zeros(len(indices)))
    for q in posterior.problem.params:
        lookup = {name: posterior.param(name)[indices] for name in q.prior.references}
        density = np.asarray(
            q.prior.logpdf(posterior.param(q.name)[indices], {n: v if q.coords is None else v[:, None] for n, v in lookup.items()})
        )
        total = total + density.reshape(len(indices), -1).sum(axis=1)
    return total


def _marginal(posterior: Posterior, top: list[Coefficients], b: dict[str, np.ndarray], indices: np.ndarray) -> np.ndarray:
    system = posterior.system
    columns = np.concatenate([np.arange(system.size)[system.columns[c.name]] for c in top]) if top else np.zeros(0, dtype=int)
    spread = GroupCovariances(system, sparse.identity(system.size, format="csr")[columns], np.arange(len(columns))[None])
    values = np.concatenate([b[c.name] for c in top], axis=1) if top else np.zeros((len(indices), 0))
    out = np.empty(len(indices))
    for where in slices(len(indices), system.whole.most):
        solved = system.whole.at(posterior.batch(indices[where]), len(indices[where]))
        out[where] = solved.log_marginal
        for term in posterior.problem.all_terms:
            if term.factor is not None:
                out[where] += [term.factor(posterior.values(int(i)), np) for i in indices[where]]
        if top:
            root = np.linalg.cholesky(spread.at(solved)[:, 0])
            z = np.linalg.solve(root, (values[where] - solved.mean()[:, columns])[..., None])[..., 0]
            log_root = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
            out[where] -= 0.5 * (z**2).sum(axis=1) + log_root + 0.5 * len(columns) * _LOG_2PI
    return out - sum((_own_density(c, b) for c in top), np.zeros(len(indices)))


def _pointwise(posterior: Posterior, indices: np.ndarray) -> np.ndarray:
    """log p(y | psi, b) of all response rows."""
    problem = posterior.problem
    stream = Stream(posterior, draws=len(indices))
    stream.indices = indices
    out = np.empty(len(indices))
    for chunk in stream:
        mean = chunk.total.T[:, problem.cell]
        noise = chunk.sources[-1]
        sd = np.broadcast_to(np.sqrt(noise.variance), (len(stream), len(mean))).T[:, problem.cell]
        out[chunk.where] = log_density(problem, mean, sd, None if noise.nu is None else noise.nu[:, None]).sum(axis=1)
    return out
