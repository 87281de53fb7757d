"""Finding where the hyperparameters live: mode, curvature, then adaptive multiple importance sampling.

Cornuet, Marin, Mira & Robert, Scandinavian Journal of Statistics 39, 798 (2012): every round's draws are kept and weighted by the
mixture of all rounds' proposals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from realmat.algebra import System
from realmat.engines.exact import mixture as mix
from realmat.engines.exact.space import Density
from realmat.errors import FitError

_FAIR, _GOOD = 0.4, 0.5
_ROUNDS = 8
_STEP = 1e-4  # of central differences, in widths of the posterior
_PROBE = 0.1  # of second differences, before widths are known
_CLOSE = 0.05  # to the mode, in the same: importance sampling does the rest
_SOWN, _CLIMBS = 200, 40  # draws of the prior; times the hyperparameters, how many of the best are climbed from
_APART, _FAINT = 2.0, 10.0  # modes: by so many standard deviations; log density below the highest that no mode of note has
_POWERS = (1 / 4, 0.0, -1 / 3, -2 / 3)


@dataclass
class Explored:
    """A proposal that covers the posterior of theta, and every weighted draw that it was learnt from."""

    proposal: mix.Mixture
    history: _History

    @property
    def density(self) -> Density:
        """The density, in the coordinates of the proposal."""
        return self.history.density

    @property
    def thetas(self) -> np.ndarray:
        """All draws so far, shape (n, size)."""
        return self.history.thetas

    @property
    def weights(self) -> np.ndarray:
        """Their normalised importance weights, shape (n,)."""
        return self.history.weights

    def refined(self, thetas: np.ndarray, logs: np.ndarray, rng: np.random.Generator) -> Explored:
        """Learn from evaluated draws of the proposal itself: log densities `logs` at `thetas`."""
        self.history.absorb(self.proposal, thetas, logs)
        return Explored(mix.defended(mix.fit(self.thetas, self.weights, rng, most=6), share=0.08), self.history)


def mode(density: Density, start: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mode of theta and the inverse of the curvature there (a covariance guess), shapes (d,) and (d, d).

    It is looked for from the medians of the priors, or from `start`.

    Raises
    ------
    realmat.FitError
        If no starting point has a finite density.
    """
    best = _middle(density) if start is None else start
    d = len(best)
    width = _widths(density, best)
    steps = np.diag(_STEP * width)

    def negative(z: np.ndarray) -> tuple[float, np.ndarray]:
        theta = best + width * z
        here, ahead, behind = density.around(theta, steps)
        with np.errstate(invalid="ignore"):  # infinite on both sides
            slope = (behind - ahead) / (2 * _STEP)
        return -here if np.isfinite(here) else 1e10, np.where(np.isfinite(slope), slope, 0.0)

    found = optimize.minimize(negative, np.zeros(d), jac=True, method="BFGS", options={"maxiter": 60 + 10 * d, "gtol": _CLOSE})
    at = best + width * found.x
    return at, _curvature(density, at, width * np.sqrt(np.abs(np.diag(found.hess_inv))))


def _middle(density: Density) -> np.ndarray:
    """The medians of the priors, or a point about them, with the right signs."""
    start = density.space.start()
    starts = [start] + [start + shift for shift in (-1.5, 1.0)]
    scores = density.many(np.array(starts))
    if not np.isfinite(scores).any():
        raise FitError("the model has no finite density at typical parameter values; check the priors and the stated uncertainties.")
    return _signed(density, starts[int(np.argmax(scores))], float(np.nanmax(scores)))


def modes(density: Density, rng: np.random.Generator) -> mix.Mixture:
    """A proposal from the mode, and from the others that a theory with parameters of its own may have: two sites may change places."""
    first = mode(density)
    found = [(*first, float(density.many(first[0][None])[0]))]
    space = density.space
    if any(family.offsets for family in density.system.families):
        prior = _sown(density, rng)
        heights = density.many(prior)
        for k in np.argsort(np.where(np.isfinite(heights), -heights, np.inf))[: int(np.clip(_CLIMBS // space.size, 2, 8))]:
            if not np.isfinite(heights[k]):
                break
            location, covariance = mode(density, prior[k])
            height = float(density.many(location[None])[0])
            away = [location - other for other, _, _ in found]
            apart = min(float(a @ np.linalg.solve(covariance, a)) for a in away)  # a saddle's own width says nothing
            if np.isfinite(height) and apart > _APART**2 * space.size:
                found.append((location, covariance, height))
    top = max(height for _, _, height in found)
    singles = [mix.single(location, covariance) for location, covariance, height in found if height > top - _FAINT]
    share = np.full(len(singles), 1 / len(singles))
    parts = (np.concatenate([getattr(one, name) for one in singles]) for name in ("locations", "factors", "nu"))
    return mix.Mixture(share, *parts)


def _sown(density: Density, rng: np.random.Generator) -> np.ndarray:
    """Draws from the prior, those that a prior refers to at their medians, shape (n, size)."""
    space, example = density.space, density.system.example
    drawn = {q.name: q.prior.rvs(rng, _SOWN if q.coords is None else (_SOWN, q.size), example) for q in space.params}
    return np.array([space.theta({name: values[i] for name, values in drawn.items()}) for i in range(_SOWN)])


def _widths(density: Density, at: np.ndarray) -> np.ndarray:
    """Roughly how wide the posterior is in each direction by itself, shape (d,): in these units a search makes steps of the right size."""
    here, ahead, behind = density.around(at, _PROBE * np.eye(len(at)))
    with np.errstate(invalid="ignore"):
        bend = (2 * here - ahead - behind) / _PROBE**2
    return np.asarray(1 / np.sqrt(np.clip(np.where(np.isfinite(bend), bend, 1.0), 1.0, 1e6)))


def _signed(density: Density, start: np.ndarray, score: float) -> np.ndarray:
    """A starting point with the right signs: the slope of a latent state has a mode on either side of zero, and one is empty."""
    space = density.space
    for param, where in zip(space.params, space.slices, strict=True):
        if not np.isinf(param.prior.support).all():
            continue
        trials = [start]
        for q in (0.02, 0.15, 0.35, 0.65, 0.85, 0.98):
            trials.append(start.copy())
            trials[-1][where] = param.prior.ppf(q, space.values(start))
        scores = np.append(score, density.many(np.array(trials[1:])))
        start, score = trials[int(np.nanargmax(scores))], float(np.nanmax(scores))
    return start


def _curvature(density: Density, at: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Inverse negative Hessian by central differences with steps of the posterior's own size; flat directions are cut short."""
    d = len(at)
    step = np.clip(width, 1e-3, 0.7) * 0.5
    basis = np.diag(step)
    pairs = [(i, j) for i in range(d) for j in range(i)]
    centre, ahead, behind = density.around(at, basis)
    points = [at + a * basis[i] + b * basis[j] for i, j in pairs for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
    values = density.many(np.array(points)) if points else np.zeros(0)
    hessian = np.diag((ahead - 2 * centre + behind) / step**2)
    for k, (i, j) in enumerate(pairs):
        pp, pm, mp, mm = values[4 * k : 4 * k + 4]
        hessian[i, j] = hessian[j, i] = (pp - pm - mp + mm) / (4 * step[i] * step[j])
    hessian = np.where(np.isfinite(hessian), hessian, 0.0)
    eigenvalues, vectors = np.linalg.eigh(-hessian)
    return (vectors / np.clip(eigenvalues, 0.2, None)) @ vectors.T


def explore(system: System, rng: np.random.Generator) -> Explored:
    """Adapt a mixture of t until its importance weights are even, or stop improving.

    It starts in logarithms of the scales and goes on in powers of them.
    """
    first = Density(system)
    d = first.space.size
    history = _History(first)
    known = modes(first, rng)
    proposal = mix.defended(known)
    for _ in range(2):
        efficiency = history.extend(proposal, rng, 60 + 60 * d)
        proposal = mix.defended(mix.fit(history.thetas, history.weights, rng, known=known))
        if efficiency > _FAIR:
            break
    density, proposal, known = _straightened(first, history, proposal, known, rng)
    history = history if density is first else _History(density)
    for _ in range(_ROUNDS):
        efficiency = history.extend(proposal, rng, 60 + 60 * d)
        proposal = mix.defended(mix.fit(history.thetas, history.weights, rng, known=known))
        if efficiency > _GOOD:
            break
    # a last round from a good proposal, then the finest description of all that was seen
    history.extend(proposal, rng, 1200 + 200 * d)
    final = mix.fit(history.thetas, history.weights, rng, known=known)
    density.evaluations += 0 if density is first else first.evaluations
    return Explored(mix.defended(final, share=0.02), history)


def _straightened(
    density: Density, history: _History, proposal: mix.Mixture, known: mix.Mixture, rng: np.random.Generator
) -> tuple[Density, mix.Mixture, mix.Mixture]:
    """The density in powers of positive parameters that make them symmetric, and a proposal for it.

    A scale that the data leave free to be zero has an endless tail in its logarithm and a bump in its fourth root. One that few groups
    determine has a long tail to large values in either, and none in a negative power: the cube root of a precision is nearly normal
    (Wilson & Hilferty, PNAS 17, 684, 1931).
    """
    powers = np.zeros(density.space.size)
    for k in np.flatnonzero(density.space.positive):
        log = history.thetas[:, k]
        powers[k] = _POWERS[0]
        if _skewness(log, history.weights) > 0:
            powers[k] = min(_POWERS, key=lambda power: abs(_skewness(np.exp(power * log) if power else log, history.weights)))
    if not powers.any():
        return density, proposal, known
    turned = Density(density.system, powers)
    thetas = np.where(powers != 0, np.exp(powers * history.thetas), history.thetas)
    locations = np.where(powers != 0, np.exp(powers * known.locations), known.locations)
    slopes = np.where(powers != 0, np.abs(powers) * locations, 1.0) * np.where(powers < 0, -1.0, 1.0)
    known = mix.Mixture(known.weights, locations, np.linalg.cholesky(_spread(known, slopes)), known.nu)
    return turned, mix.defended(mix.fit(thetas, history.weights, rng, known=known)), known


def _spread(mixture: mix.Mixture, slopes: np.ndarray) -> np.ndarray:
    """Scale matrices of a mixture's components when coordinates are stretched, shape (k, d, d)."""
    turned = slopes[:, :, None] * mixture.factors
    return turned @ turned.swapaxes(1, 2)


def _skewness(x: np.ndarray, weights: np.ndarray) -> float:
    centred = x - weights @ x
    variance = float(weights @ centred**2)
    return float(weights @ centred**3) / variance**1.5 if variance > 0 else 0.0


class _History:
    """Every draw of every round, weighted by the mixture of all rounds' proposals."""

    def __init__(self, density: Density) -> None:
        self.density = density
        self.thetas = np.empty((0, density.space.size))
        self.logs = np.empty(0)
        self.weights = np.empty(0)
        self._rounds: list[tuple[mix.Mixture, int]] = []

    def extend(self, proposal: mix.Mixture, rng: np.random.Generator, n: int) -> float:
        """One more round of `n` draws; returns their own efficiency (effective over nominal size)."""
        fresh = proposal.draw(rng, n)
        logs = self.density.many(fresh)
        self.absorb(proposal, fresh, logs)
        own = normalised(logs - proposal.logpdf(fresh))
        return float(1 / np.sum(own**2) / n)

    def absorb(self, proposal: mix.Mixture, fresh: np.ndarray, logs: np.ndarray) -> None:
        """Add draws of a proposal with their log densities, and weight everything anew."""
        self.thetas, self.logs = np.concatenate([self.thetas, fresh]), np.concatenate([self.logs, logs])
        self._rounds.append((proposal, len(fresh)))
        total = len(self.thetas)
        mixed = np.logaddexp.reduce([np.log(m / total) + q.logpdf(self.thetas) for q, m in self._rounds], axis=0)
        self.weights = normalised(self.logs - mixed)


def normalised(log_weights: np.ndarray) -> np.ndarray:
    """Weights that sum to 1 from their logarithms."""
    finite = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    top = finite.max()
    if not np.isfinite(top):
        return np.full(len(finite), 1 / len(finite))
    w = np.exp(finite - top)
    return w / w.sum()
