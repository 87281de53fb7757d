"""A posterior told more: the same hyperparameters on a longer table, coefficients conditioned on it exactly.

With y the measurements of a fit and c further ones, p(psi | y, c) is p(psi | y) times p(y, c | psi) / p(y | psi), and b given psi, y and c
is drawn from the system of both. Draws of psi are taken by that ratio, Pareto-smoothed (Vehtari, Simpson, Gelman, Yao & Gabry, J. Mach.
Learn. Res. 25, 72, 2024), where the new measurements move psi, as few do.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from realmat.algebra import System, auxiliary
from realmat.algebra.batching import slices
from realmat.errors import FitError
from realmat.posterior.draws import Draws, Posterior
from realmat.support import pareto
from realmat.terms.problem import Problem

_MOST, _FEWEST = 1000, 200  # draws
_WORK = 4_000_000  # draws times coefficients
_EVEN = 0.98  # share of effective draws from which weights are not worth taking
_TRUSTED = 0.7  # k-hat
_SWEEPS = 10  # of Gibbs sampling where there are auxiliary values


def conditioned(posterior: Posterior, longer: Problem, seed: int = 0) -> Posterior:
    """Draws of a posterior, conditioned on what `longer` holds beyond the posterior's own problem.

    Parameters
    ----------
    posterior : Posterior
    longer : Problem
        The same model on more rows, bound with ``before=`` the posterior's problem.
    seed : int

    Returns
    -------
    Posterior
        One chain. ``facts["k_hat"]`` says whether reweighting psi is to be trusted; where it is not, psi stays as it was.

    Raises
    ------
    realmat.FitError
        If the longer problem has hyperparameters that the posterior has not.
    """
    new = [q.name for q in longer.params if q.name not in posterior.draws.params]
    if new:
        raise FitError(f"the new rows need {', '.join(new)}, of which the fit knows nothing; fit all rows together.")
    system = System(longer)
    rng = np.random.default_rng([seed, 17])
    most = int(np.clip(_WORK // max(system.size, 1), _FEWEST, _MOST))
    indices = posterior.thin(most)
    if system.augmented:
        return _made(posterior, longer, indices, _swept(posterior, system, indices, rng), {"reweighted": False})
    log_ratio = _log_marginal(posterior, system, indices) - _log_marginal(posterior, posterior.system, indices)
    weights, k_hat = _smoothed(log_ratio)
    trusted = k_hat < _TRUSTED
    if trusted and 1 / np.sum(weights**2) < _EVEN * len(weights):
        place = np.searchsorted(np.cumsum(weights), (np.arange(len(weights)) + rng.random()) / len(weights))
        indices = indices[np.minimum(place, len(weights) - 1)]
    b = [system.many.at(posterior.batch(indices[w]), w.stop - w.start).draw(rng) for w in slices(len(indices), system.many.most)]
    return _made(posterior, longer, indices, np.concatenate(b), {"k_hat": round(float(k_hat), 3), "reweighted": bool(trusted)})


def _log_marginal(posterior: Posterior, system: System, indices: np.ndarray) -> np.ndarray:
    return system.many.log_marginal(posterior.batch(indices), len(indices))


def _smoothed(log_ratio: np.ndarray) -> tuple[np.ndarray, float]:
    """Normalised weights and their Pareto k-hat."""
    if np.ptp(log_ratio) < 1e-10:
        return np.full(len(log_ratio), 1 / len(log_ratio)), 0.0
    log_weight, k_hat = pareto.smoothed(log_ratio[:, None], 1.0)
    return np.exp(log_weight[:, 0]), float(np.nan_to_num(k_hat[0], nan=np.inf))


def _swept(posterior: Posterior, system: System, indices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws of b where Student t and censored parts have auxiliary values, alternating with these."""
    out = np.empty((len(indices), system.size))
    for row, i in enumerate(indices):
        values = {name: posterior.param(name)[int(i)] for name in posterior.draws.params}
        aux = system.example_auxiliary()
        for _ in range(_SWEEPS):
            b = system.at({**values, **aux}).draw(rng)
            aux = auxiliary.draw(system, values, b, rng)
        out[row] = b
    return out


def _made(posterior: Posterior, longer: Problem, indices: np.ndarray, b: np.ndarray, facts: dict[str, object]) -> Posterior:
    params = {name: posterior.param(name)[indices][None] for name in posterior.draws.params}
    out = Posterior(longer, Draws(params, {}, facts={**posterior.draws.facts, **facts}))
    coefficients = {name: b[None, :, where] for name, where in out.system.columns.items()}
    return Posterior(longer, replace(out.draws, coefficients=coefficients))
