"""The slow reference: the same answers by dense covariance matrices, straight from the definition. The oracle of the tests."""

from __future__ import annotations

import numpy as np

from realmat.terms.problem import Problem
from realmat.terms.term import Coefficients, Values, evaluate, side_by_side


def prior(problem: Problem, p: Values) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of all coefficients a priori, shapes (n,) and (n, n), parents resolved."""
    columns, size = side_by_side(problem.coefficients)
    # b = mean + K b + sd * e  with K strictly "downwards": (I - K) b = mean + sd e
    k, mean, sd = np.zeros((size, size)), np.zeros(size), np.zeros(size, dtype=np.longdouble)
    for block in problem.coefficients:
        here = columns[block.name]
        mean[here], sd[here] = evaluate(block.mean, p), _sd(block, p)
        for part in block.mean_parts:
            k[here, columns[part.coefficients]] += part.matrix.toarray() * evaluate(part.scale, p)
    inverse = np.linalg.inv(np.eye(size) - k)
    return inverse @ mean, (inverse * sd**2) @ inverse.T


def _sd(block: Coefficients, p: Values) -> np.ndarray:
    sd = np.broadcast_to(np.asarray(evaluate(block.sd, p), dtype=float), (block.size,))
    return sd * np.sqrt(p[f"{block.name}_local"]) if block.nu else sd


def measured(problem: Problem, p: Values) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Values, design, noise variances of all measured rows (a cell is one row), and the log density of the within-cell deviations."""
    columns, size = side_by_side(problem.coefficients)
    ys, designs, variances, rest = [], [], [], 0.0
    for rows in problem.rows:
        design = np.zeros((len(rows.y), size))
        for _, piece in rows.pieces:
            design[:, columns[piece.coefficients]] += piece.matrix.toarray() * evaluate(piece.scale, p)
        offset = sum((np.asarray(f(p, np), dtype=float) for _, f in rows.offsets), np.zeros(len(rows.y)))
        scales = np.append(np.asarray(rows.noise.scales(p, np)), 0.0) if rows.noise.scales else np.zeros(1)
        variance = rows.noise.u**2 + scales[rows.noise.group] ** 2
        variance = variance * p.get(f"{rows.name}_local", 1.0)
        ys.append(p.get(f"{rows.name}_latent", rows.y) - offset)
        designs.append(design)
        variances.append(variance / rows.count)
        rest += float(
            np.sum(-0.5 * (rows.count - 1) * np.log(2 * np.pi * variance) - 0.5 * np.log(rows.count) - 0.5 * rows.within / variance)
        )
    return np.concatenate(ys), np.vstack(designs), np.concatenate(variances), rest


def cholesky(matrix: np.ndarray) -> np.ndarray:
    """Lower factor in extended precision: wide priors beside small uncertainties are ill-conditioned as a dense covariance."""
    lower = np.array(matrix, dtype=np.longdouble)
    n = len(lower)
    for j in range(n):
        lower[j:, j] -= lower[j:, :j] @ lower[j, :j]
        lower[j:, j] /= np.sqrt(lower[j, j])
        lower[j, j + 1 :] = 0
    return lower


def _solve(lower: np.ndarray, right: np.ndarray) -> np.ndarray:
    """L^-1 right in extended precision."""
    out = np.array(right, dtype=np.longdouble)
    for j in range(len(lower)):
        out[j] = (out[j] - lower[j, :j] @ out[:j]) / lower[j, j]
    return out


def log_marginal(problem: Problem, p: Values) -> float:
    """log p(y | psi) by the multivariate normal density of all rows."""
    mean, cov = prior(problem, p)
    y, design, variance, rest = measured(problem, p)
    wide = design.astype(np.longdouble)
    lower = cholesky(wide @ cov @ wide.T + np.diag(variance))
    z = _solve(lower, y - wide @ mean)
    return float(-0.5 * (z @ z) - np.sum(np.log(np.diag(lower))) - 0.5 * len(y) * np.log(2 * np.pi)) + rest


def posterior(problem: Problem, p: Values) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of all coefficients given psi and y."""
    mean, cov = prior(problem, p)
    y, design, variance, _ = measured(problem, p)
    wide = design.astype(np.longdouble)
    lower = cholesky(wide @ cov @ wide.T + np.diag(variance))
    gain = _solve(lower, wide @ cov)
    return (mean + gain.T @ _solve(lower, y - wide @ mean)).astype(float), (cov - gain.T @ gain).astype(float)
