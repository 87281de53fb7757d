"""Log densities by SciPy, written out from a problem's terms row by row: the independent truth for what is translated to PyMC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from realmat.terms.priors import Prior
from realmat.terms.problem import Problem
from realmat.terms.term import Coefficients, Noise, Rows, degrees, evaluate


def frozen(prior: Prior, lookup: Mapping[str, Any]) -> Any:
    """The SciPy distribution of a prior, before truncation."""
    a = prior.arguments(lookup)
    match prior.dist:
        case "Normal":
            return stats.norm(a["mu"], a["sigma"])
        case "HalfNormal":
            return stats.halfnorm(scale=a["sigma"])
        case "StudentT":
            return stats.t(a["nu"], a["mu"], a["sigma"])
        case "HalfStudentT":
            return _Half(stats.t(a["nu"], 0, a["sigma"]))
        case "HalfCauchy":
            return stats.halfcauchy(scale=a["beta"])
        case "Cauchy":
            return stats.cauchy(a["alpha"], a["beta"])
        case "Laplace":
            return stats.laplace(a["mu"], a["b"])
        case "Exponential":
            return stats.expon(scale=1 / a["lam"])
        case "Gamma":
            return stats.gamma(a["alpha"], scale=1 / a["beta"])
        case "InverseGamma":
            return stats.invgamma(a["alpha"], scale=a["beta"])
        case "LogNormal":
            return stats.lognorm(a["sigma"], scale=np.exp(a["mu"]))
        case "Beta":
            return stats.beta(a["alpha"], a["beta"])
        case "Uniform":
            return stats.uniform(a["lower"], np.subtract(a["upper"], a["lower"]))
    raise AssertionError(f"no truth for {prior.dist}")


class _Half:
    """A symmetric distribution folded at zero."""

    def __init__(self, whole: Any) -> None:
        self.whole = whole

    def logpdf(self, x: Any) -> Any:
        return np.log(2) + self.whole.logpdf(x)

    def cdf(self, x: Any) -> Any:
        return np.maximum(2 * self.whole.cdf(x) - 1, 0)


def log_prior(prior: Prior, x: Any, lookup: Mapping[str, Any]) -> float:
    """Log density of all elements of a hyperparameter, truncation included."""
    distribution = frozen(prior, lookup)
    lower, upper = prior.truncation
    mass = (1.0 if upper is None else distribution.cdf(upper)) - (0.0 if lower is None else distribution.cdf(lower))
    return float(np.sum(distribution.logpdf(x) - np.log(mass)))


def moments(block: Coefficients, p: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Prior mean and standard deviation of a block, each of shape (size,)."""
    mean = np.zeros(block.size) + evaluate(block.mean, p)
    for parent, matrix in block.parents:
        mean = mean + matrix.toarray() @ b[parent]
    return mean, np.broadcast_to(np.asarray(evaluate(block.sd, p), dtype=float), (block.size,))


def _log_measured(y: np.ndarray, mean: np.ndarray, noise: Noise, index: np.ndarray, p: Mapping[str, Any]) -> float:
    scales = np.zeros(0) if noise.scales is None else np.asarray(noise.scales(p, np))
    variance = np.array([noise.u[i] ** 2 + (scales[noise.group[i]] ** 2 if noise.group[i] >= 0 else 0.0) for i in index])
    sd = np.sqrt(variance)
    distribution = stats.norm(mean, sd) if noise.nu is None else stats.t(degrees(noise.nu, p), mean, sd)
    flags = np.zeros(len(index)) if noise.censored is None else noise.censored[index]
    ways = [distribution.logcdf(y), distribution.logpdf(y), distribution.logsf(y)]
    return float(np.sum(np.choose(flags.astype(int) + 1, ways)))


def _linear(rows: Rows, p: Mapping[str, Any], b: Mapping[str, Any]) -> np.ndarray:
    mean = np.zeros(len(rows.y))
    for _, piece in rows.pieces:
        mean = mean + evaluate(piece.scale, p) * (piece.matrix.toarray() @ b[piece.coefficients])
    for _, offset in rows.offsets:
        mean = mean + offset(p, np)
    return mean


def log_density(problem: Problem, p: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """Log of p(psi) p(b | psi) p(g(y) | psi, b): every measurement is a factor of its own, replicates among them."""
    total = sum(log_prior(q.prior, p[q.name], p) for q in problem.params)
    for block in problem.coefficients:
        mean, sd = moments(block, p, b)
        distribution = stats.norm(mean, sd) if block.nu is None else stats.t(degrees(block.nu, p), mean, sd)
        total += float(np.sum(distribution.logpdf(b[block.name])))
    mean = _linear(problem.response_rows, p, b)
    for contribution in problem.contributions:
        if contribution.nonlinear is not None:
            mean = mean + contribution.nonlinear(p, b, np)
    total += _log_measured(problem.g, mean[problem.cell], problem.response_rows.noise, problem.cell, p)
    for rows in problem.rows[1:]:
        index = np.repeat(np.arange(len(rows.y)), rows.count.astype(int))
        total += _log_measured(rows.y[index], _linear(rows, p, b)[index], rows.noise, index, p)
    return total
