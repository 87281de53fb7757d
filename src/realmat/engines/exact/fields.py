"""Problems with Gaussian processes over many descriptors: hyperparameters by their marginal density, coefficients exactly given them.

With f the processes and b the other coefficients, all measured rows are normal given psi, y ~ N(A m, V), V = A S A' + sum Z K(psi) Z' + R.
Hamiltonian chains go over psi alone, whitened by the curvature at the mode, with

    d log p / d psi = tr((a a' - V^-1) dV) / 2 + a' d(A m),      a = V^-1 (y - A m)

(Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, eq. 5.9). Each psi of the chains serves several exact draws of f, b.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from scipy import linalg, optimize

from realmat.algebra.space import Space
from realmat.engines.chains import agreement
from realmat.engines.exact.field_rows import MeasuredRows
from realmat.errors import FitError
from realmat.posterior.draws import Draws
from realmat.support.progress import Progress
from realmat.support.threads import one_blas_thread, workers
from realmat.terms.problem import Problem, nonlinear_terms

_ROWS = 1200  # from so many rows hyperparameters are as well known as they need to be; more go into the coefficients only
_STEP = 1e-4
_WARM, _KEPT = 40, 100
_MORE, _MOST = 40, 180  # points a chain that are added until chains agree, and at most
_AGREED, _ENOUGH = 1.01, 400  # R-hat and effective sample size
_LENGTH = 4
_LOG_2PI = float(np.log(2 * np.pi))


def fields_only(problem: Problem) -> bool:
    """Whether what is not linear in a problem are processes over many descriptors, and its rows are normal."""
    bent = {name for name, _ in nonlinear_terms(problem)}
    carried = {t.component for t, c in zip(problem.terms, problem.contributions, strict=True) if c.field is not None}
    noises = [rows.noise for rows in problem.rows]
    plain = all(n.nu is None and n.density is None and (n.censored is None or not n.censored.any()) for n in noises)
    return bool(bent) and bent == carried and plain and all(block.nu is None for block in problem.coefficients)


class MarginalDensity:
    """Log density of theta with all coefficients integrated out, and its gradient.

    Parameters
    ----------
    problem : Problem
    rows : int array
        Response rows that count.
    """

    def __init__(self, problem: Problem, rows: np.ndarray) -> None:
        self.space, self.rows = Space(problem.params), MeasuredRows(problem, rows)
        self.evaluations = 0
        kernel = set()
        for field in self.rows.fields:
            kernel |= {f"{field.name}_lengthscale", f"{field.name}_scale"}
        self._others = [
            k for q, where in zip(self.space.params, self.space.slices, strict=True) if q.name not in kernel for k in _range(where)
        ]
        self._noises = {k for k in self._others if self._noise_only(k)}

    def _noise_only(self, k: int) -> bool:
        """Whether a coordinate moves nothing but the noise."""
        start = self.space.start()
        here, there = (self.rows.moments(self.space.values(start + h * np.eye(len(start))[k]))[:2] for h in (0.0, 0.3))
        return all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Log density and gradient, -inf where it has none."""
        self.evaluations += 1
        values = self.space.values(theta)
        prior = self.space.log_prior(theta)
        try:
            mean, spread, noise = self.rows.moments(values)
            v = spread + self.rows.processes(values)
            v[np.diag_indices_from(v)] += noise
            lower = linalg.cholesky(v, lower=True, overwrite_a=True, check_finite=False)
        except (linalg.LinAlgError, np.linalg.LinAlgError, ValueError, FloatingPointError):
            return -np.inf, np.zeros(len(theta))
        away = self.rows.y - mean
        a = linalg.cho_solve((lower, True), away, check_finite=False)
        rest, _ = self.rows.within(values)
        log = prior + rest - 0.5 * away @ a - float(np.log(np.diag(lower)).sum()) - 0.5 * len(a) * _LOG_2PI
        inverse, _ = linalg.lapack.dpotri(lower, lower=1, overwrite_c=1)
        inverse = inverse + np.tril(inverse, -1).T
        weight = np.outer(a, a) - inverse
        return float(log), self._gradient(theta, values, weight, a)

    def _gradient(self, theta: np.ndarray, values: dict[str, Any], weight: np.ndarray, a: np.ndarray) -> np.ndarray:
        space = self.space
        steps = _STEP * np.eye(len(theta))
        both = space.many(np.concatenate([theta + steps, theta - steps]))[1]
        out = (both[: len(theta)] - both[len(theta) :]) / (2 * _STEP)
        ahead, behind = space.values(theta + _STEP), space.values(theta - _STEP)
        for index, field in enumerate(self.rows.fields):
            by_length, by_scale = field.slopes(values, self.rows.pulled(index, weight))
            for name, slope in ((f"{field.name}_lengthscale", by_length), (f"{field.name}_scale", np.array([by_scale]))):
                if name not in values:
                    continue
                rate = (np.log(np.atleast_1d(ahead[name])) - np.log(np.atleast_1d(behind[name]))) / (2 * _STEP)
                where = next(s for q, s in zip(space.params, space.slices, strict=True) if q.name == name)
                out[where] += 0.5 * (slope * rate if len(rate) == len(slope) else slope.sum() * rate)
        for k in self._others:
            up, down = (self._moved(k, theta + s * steps[k], weight, a) for s in (1, -1))
            out[k] += (up - down) / (2 * _STEP)
        return out

    def _moved(self, k: int, theta: np.ndarray, weight: np.ndarray, a: np.ndarray) -> float:
        """What changes where a hyperparameter moves that no process has: ``tr(W V) / 2 + a' m`` and the within-cell part."""
        values = self.space.values(theta)
        if k in self._noises:
            return 0.5 * float(np.diag(weight) @ self.rows.noise(values)) + self.rows.within(values)[0]
        mean, spread, noise = self.rows.moments(values)
        return 0.5 * float(np.vdot(weight, spread)) + 0.5 * float(np.diag(weight) @ noise) + float(a @ mean) + self.rows.within(values)[0]


@one_blas_thread()
def sample(problem: Problem, draws: int, chains: int, seed: int, progress: bool = True) -> Draws:
    """Draw from the posterior of a problem whose only departure from linearity are processes over many descriptors.

    Raises
    ------
    realmat.FitError
        If its density is nowhere finite.
    """
    started, rng = time.perf_counter(), np.random.default_rng([seed, 0])
    every = np.arange(len(problem.response_rows.y))
    density = MarginalDensity(problem, np.sort(rng.choice(every, _ROWS, replace=False)) if len(every) > _ROWS else every)
    with Progress(progress, "finding the lengthscales", None) as bar, ThreadPoolExecutor(workers()) as pool:
        at, root = _whitened(density)
        each = [
            _Chain(MarginalDensity(problem, density.rows.response), at, root, np.random.default_rng([seed, 1, c])) for c in range(chains)
        ]
        kept = min(_KEPT, draws)
        bar.restart("drawing", chains * (_WARM + kept))
        _together(pool, each, _WARM + kept, bar)
        while kept < min(_MOST, draws) and not _agreed(each):
            more = min(_MORE, min(_MOST, draws) - kept)
            kept += more
            bar.restart("drawing on", chains * more)
            _together(pool, each, more, bar)
        thetas = np.stack([chain.kept for chain in each])
        space, whole = density.space, MeasuredRows(problem, every)
        index = np.arange(draws) * kept // draws
        b = np.empty((chains, draws, whole.size))

        def fill(c: int) -> None:
            for k in range(kept):
                where = np.flatnonzero(index == k)
                b[c, where] = whole.draw(space.values(thetas[c, k]), np.random.default_rng([seed, 2, c, k]), len(where))

        for _ in pool.map(fill, range(chains)):
            pass
    params = space.named(thetas[:, index])
    facts = {
        "engine": "exact",
        "method": f"Hamiltonian chains on hyperparameters, {kept} points a chain with {draws // kept} exact draws of the coefficients each",
        "evaluations": density.evaluations + sum(chain.density.evaluations for chain in each),
        "seconds": round(time.perf_counter() - started, 4),
        "latents": "draws",
    }
    if len(every) > _ROWS:
        facts["hyperparameters"] = f"from {_ROWS} of {len(every)} cells"
    return Draws(params, {name: b[..., where] for name, where in whole.columns.items()}, stats={}, facts=facts)


def _whitened(density: MarginalDensity) -> tuple[np.ndarray, np.ndarray]:
    """Mode, and a root of the inverse curvature there."""
    start = density.space.start()

    def negative(theta: np.ndarray) -> tuple[float, np.ndarray]:
        log, slope = density(theta)
        return (-log, -slope) if np.isfinite(log) else (1e10, slope)

    best = min(
        (
            optimize.minimize(negative, start + shift, jac=True, method="L-BFGS-B", options={"maxiter": 80, "ftol": 1e-7})
            for shift in (0.0, -0.5)
        ),
        key=lambda found: found.fun,
    )
    if best.fun >= 1e10:
        raise FitError("the model has no finite density at typical parameter values; check the priors and the stated uncertainties.")
    d, h = len(start), 0.05
    hessian = np.empty((d, d))
    for k in range(d):
        step = h * np.eye(d)[k]
        hessian[k] = (density(best.x - step)[1] - density(best.x + step)[1]) / (2 * h)
    values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.T))
    return best.x, vectors / np.sqrt(np.clip(values, 0.5, None))


class _Chain:
    """One Hamiltonian chain on theta, which goes on when asked; the first iterations learn the step."""

    def __init__(self, density: MarginalDensity, at: np.ndarray, root: np.ndarray, rng: np.random.Generator) -> None:
        self.density, self._at, self._root, self._rng = density, at, root, rng
        self._q = 0.7 * rng.standard_normal(len(at))
        self._log, self._slope = self._value(self._q)
        while not np.isfinite(self._log):
            self._q *= 0.5
            self._log, self._slope = self._value(self._q)
        self._step = 0.35
        self.seen: list[np.ndarray] = []

    @property
    def kept(self) -> np.ndarray:
        """Draws after warm-up, shape (kept, size)."""
        return np.array(self.seen[_WARM:])

    def _value(self, q: np.ndarray) -> tuple[float, np.ndarray]:
        log, slope = self.density(self._at + self._root @ q)
        return log, self._root.T @ slope

    def move(self) -> None:
        """One iteration."""
        momentum = self._rng.standard_normal(len(self._at))
        energy, there, pull = self._log - 0.5 * momentum @ momentum, self._q, self._slope
        reached, own = self._log, self._step * self._rng.uniform(0.7, 1.3)
        for _ in range(self._rng.integers(2, _LENGTH + 2)):
            momentum = momentum + 0.5 * own * pull
            there = there + own * momentum
            reached, pull = self._value(there)
            if not np.isfinite(reached):
                break
            momentum = momentum + 0.5 * own * pull
        accept = float(np.exp(min(0.0, float(reached - 0.5 * momentum @ momentum - energy)))) if np.isfinite(reached) else 0.0
        if self._rng.random() < accept:
            self._q, self._log, self._slope = there, reached, pull
        if len(self.seen) < _WARM:
            self._step = float(np.clip(self._step * np.exp(0.4 * (accept - 0.8)), 1e-3, 1.0))
        self.seen.append(self._at + self._root @ self._q)


def _together(pool: ThreadPoolExecutor, chains: list[_Chain], iterations: int, bar: Progress) -> None:
    """Move every chain, side by side; an interrupt is heard between iterations."""
    for _ in range(iterations):
        for _ in pool.map(_Chain.move, chains):
            bar.advance()


def _agreed(chains: list[_Chain]) -> bool:
    x = np.stack([chain.kept for chain in chains]).transpose(2, 0, 1)
    return bool(agreement.r_hat(x).max() < _AGREED and agreement.bulk_ess(x).min() >= _ENOUGH)


def _range(where: slice) -> list[int]:
    return list(range(where.start, where.stop))
