"""Which coefficients NUTS should sample centred, ``b ~ N(mean, sd)``, and which non-centred, ``b = mean + sd z`` with ``z ~ N(0, 1)``.

Centred is efficient where the data say more about a coefficient than its prior does, non-centred where they do not, and each fails
where the other belongs (Papaspiliopoulos, Roberts & Skoeld, Statistical Science 22, 59 (2007); Betancourt & Girolami, arXiv:1312.0906).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from realmat.posterior.prior_draws import by_parents
from realmat.posterior.reading import own_values
from realmat.terms.problem import Problem
from realmat.terms.term import Rows, Values, evaluate

CENTRED_FROM = 5.0
"""Information from the data, relative to the prior's, from which a coefficient is centred."""


def information(problem: Problem, p: Values) -> dict[str, np.ndarray]:
    """How much the measured rows say about each coefficient, relative to its prior, with psi at `p`: by block, shape (size,).

    ``sd_j^2 * (sum over rows: count X_ij^2 / var_i + sum over children: M_kj^2 / (sd_k^2 + 1 / data precision of k))``, other
    coefficients taken as known. What reaches a coefficient through an effect that is not linear is not counted.
    """
    precision = {block.name: np.zeros(block.size) for block in problem.coefficients}
    for rows in problem.rows:
        weight = _weight(rows, p)
        for _, piece in rows.pieces:
            scale = np.asarray(evaluate(piece.scale, p), dtype=float)
            precision[piece.coefficients] += piece.matrix.power(2).T @ (weight * scale**2)
    out: dict[str, np.ndarray] = {}
    for block in reversed(by_parents(problem.coefficients)):
        sd2 = np.broadcast_to(np.asarray(evaluate(block.sd, p), dtype=float), (block.size,)) ** 2
        out[block.name] = sd2 * precision[block.name]
        with np.errstate(divide="ignore"):
            passed_on = 1 / (sd2 + 1 / precision[block.name])
        for part in block.mean_parts:
            precision[part.coefficients] += part.matrix.power(2).T @ passed_on * float(evaluate(part.scale, p)) ** 2
    return out


def _weight(rows: Rows, p: Values) -> np.ndarray:
    """What each row says of its linear predictor; of counts, fractions and strengths where their densities guess it to be."""
    noise = rows.noise
    if noise.density is not None and noise.density.native:
        eta = noise.density.guess(rows.y)[:, None]
        return np.asarray(noise.density.weight(rows.y, eta, own_values(noise, [p])))[:, 0]
    scales = np.append(np.asarray(evaluate(noise.scales, p, default=0.0), dtype=float), 0.0)  # group -1 reads the zero
    return np.asarray(rows.count / (noise.u**2 + scales[noise.group] ** 2))


def centred(problem: Problem, points: Iterable[Values]) -> dict[str, np.ndarray]:
    """Which coefficients are well informed at every one of some psi: by block, bool of shape (size,)."""
    found = [information(problem, p) for p in points]
    return {block.name: np.min([f[block.name] for f in found], axis=0) >= CENTRED_FROM for block in problem.coefficients}


def typical(problem: Problem, p: Values) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Prior mean and standard deviation of each block with psi at `p` and parents at their means, each of shape (size,)."""
    out: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for block in by_parents(problem.coefficients):
        mean = np.zeros(block.size) + np.asarray(evaluate(block.mean, p), dtype=float)
        for part in block.mean_parts:
            mean = mean + evaluate(part.scale, p) * (part.matrix @ out[part.coefficients][0])
        out[block.name] = mean, np.zeros(block.size) + np.asarray(evaluate(block.sd, p), dtype=float)
    return out
