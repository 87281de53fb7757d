"""Finding where the hyperparameters live: mode, curvature, then adaptive multiple importance sampling.

Cornuet, Marin, Mira & Robert, Scandinavian Journal of Statistics 39, 798 (2012): every round's draws are kept and weighted by the
mixture of all rounds' proposals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from realmat.engines.chains import bends
from realmat.engines.exact import curve, modes, partly, search
from realmat.engines.exact import mixture as mix
from realmat.engines.exact.members import Members
from realmat.engines.exact.modes import Mode
from realmat.engines.exact.space import Density

_FAIR, _GOOD, _EVEN = 0.4, 0.3, 0.8
_ROUNDS = 8
_DEAR = 64  # psi of a batch, below which one takes milliseconds
_KNOWN = 1000  # draws that say where to start
_LEAST = 4  # effective draws for each coordinate, below which weights are flattened before anything is learnt from them
_MANY_EFFECTS = 50  # beside which linear parameters of a curve are explored like the others
_FEW = 8  # coordinates, up to which it is learnt how they bend
_WIDE = 0.1  # share of the draws that know of no bend of a curve
_NOTHING = 1e-12  # of a weight


@dataclass
class Explored:
    """A proposal that covers the posterior of theta, and every weighted draw that it was learnt from.

    Attributes
    ----------
    efficiency : float
        Effective over nominal size of the last round of draws.
    bent : bool
        Whether the mean of the response bends in parameters; `modes` says how many modes were found then.
    """

    proposal: partly.Proposal
    history: History
    efficiency: float = 1.0
    bent: bool = False
    modes: int = 1

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

    def refined(self, thetas: np.ndarray, given: np.ndarray, logs: np.ndarray, rng: np.random.Generator) -> Explored:
        """Learn from evaluated draws of the proposal itself: log densities `logs` at `thetas`, and what it says `given` the rest there."""
        self.history.absorb(self.proposal, thetas, given, logs)
        return replace(self, proposal=self.history.described(rng, most=6, share=0.08, finest=True))

    def widened(self, found: np.ndarray, rng: np.random.Generator) -> Explored:
        """Go on from where local chains were: their points, all alike, describe the next proposals."""
        weights = np.full(len(found), 1 / len(found))
        proposal, efficiency = self.history.describing(found, weights, rng, most=6, share=0.1), 0.0
        for _ in range(2):
            efficiency = self.history.extend(proposal, rng, 1000 + 100 * found.shape[1])
            proposal = self.history.described(rng, most=6, share=0.08)
        return replace(self, proposal=proposal, efficiency=efficiency)


def explore(density: Density, rng: np.random.Generator, known: Mapping[str, np.ndarray] | None = None) -> Explored:
    """Adapt a mixture of t until its importance weights are even, or stop improving.

    It starts in logarithms of the scales, of their totals and ratios, and goes on in what is straighter. `known` draws of the
    hyperparameters, given fewer rows say, are where the search for a mode starts if the density is higher there than at the medians of
    their priors.
    """
    first, fitted = search.modes(density, rng)
    found = fitted or [modes.typical(first, [] if known is None else [np.median(first.space.of_draws(known, _KNOWN), axis=0)])]
    places = np.array([mode.location for mode in found])
    history = History(first, _given(first, places, places[0], linear=bool(fitted)), found, bool(fitted))
    d = len(history.given.rest)
    proposal = partly.Proposal(mix.defended(history.around), history.given)
    for _ in range(2):
        efficiency = history.extend(proposal, rng, 60 + 60 * d)
        proposal = history.described(rng)
        if efficiency > _FAIR:
            break
    if not history.bent:
        history.extend(proposal, rng, 200 + 100 * d)  # how nearly normal coordinates are takes many to know
    history, proposal = _straightened(history, proposal, rng)
    for _ in range(_ROUNDS):
        efficiency = history.extend(proposal, rng, 60 + 60 * d)
        proposal = history.described(rng)
        if efficiency > (_FAIR if history.bent else _GOOD):  # a share of what bends is wide
            break
    # a last round from a good proposal, then the finest description of all that was seen; fewer where each is dear
    efficiency = history.extend(proposal, rng, 600 + 60 * d if first.system.many.most < _DEAR else 600 + 200 * d)
    history.density.evaluations += 0 if history.density is first else first.evaluations
    finest = efficiency < _EVEN
    return Explored(history.described(rng, share=0.02, finest=finest), history, efficiency, bool(fitted), len(found))


def _given(density: Density, points: np.ndarray, at: np.ndarray, linear: bool) -> partly.Given:
    """What is drawn exactly: members of populations, by what is told of them near `at`, and linear parameters of a curve, seen at `points`.

    Beside many effects, which make each residual of a curve dear, its parameters are explored like others.
    """
    parts: list[Members | partly.Linear] = [Members(density, at)]
    if linear and density.system.size <= _MANY_EFFECTS and not density.drawn:
        parts.append(partly.Linear(curve.Curve(density), points))
    return partly.Given(parts, density.space.size)


def _log_det(covariance: np.ndarray) -> float:
    return float(2 * np.log(np.diag(mix.lower(covariance))).sum())


def _straightened(history: History, proposal: partly.Proposal, rng: np.random.Generator) -> tuple[History, partly.Proposal]:
    """A new history in coordinates in which draws are more like those of a normal, and a proposal for it."""
    density, given = history.density, history.given
    space = density.space.straighter(history.thetas, history.learning, given.rest)
    if space is density.space and not len(given.spreads):
        return history, proposal
    turned = density.again(density.system, space)
    with np.errstate(all="ignore"):
        thetas = space.turned(density.space.plain(history.thetas)[0])
    amid = _amid(thetas, history)
    given = _given(turned, amid[None], amid, given.linear)
    straight = History(turned, given, [mode.turned(density.space, space) for mode in history.found], history.bent)
    return straight, straight.describing(thetas, history.learning, rng, most=3, share=0.1)


def _amid(thetas: np.ndarray, history: History) -> np.ndarray:
    """In the midst of draws: the mean of what is drawn exactly, and with it the draw of the rest that is nearest to all medians, by ranks.

    The mean of the rest, or their medians together, may lie beside a ridge.
    """
    seen = mix.heaviest(history.learning)
    thetas, weights, rest = thetas[seen], history.learning[seen] / history.learning[seen].sum(), history.given.rest
    order = np.argsort(thetas[:, rest], axis=0)
    below = np.empty(order.shape)
    np.put_along_axis(below, order, np.cumsum(weights[order], axis=0) - weights[order] / 2, axis=0)
    logs = history.logs[seen]
    high = logs > logs.max() - thetas.shape[1]
    nearest = int(np.argmin(np.where(high, ((below - 0.5) ** 2).sum(axis=1), np.inf)))
    out = weights @ thetas
    out[rest] = thetas[nearest, rest]
    return np.asarray(out)


@dataclass
class _Round:
    """A proposal, how many draws came from it, and its log density at every draw of all rounds, what is drawn exactly left out."""

    proposal: partly.Proposal
    count: int
    logs: np.ndarray


class History:
    """Every draw of every round, weighted by the mixture of all rounds' proposals.

    `found` are the modes that it began from, `bent` says whether the mean of the response bends in parameters, and how may soon be learnt.
    """

    def __init__(self, density: Density, given: partly.Given, found: list[Mode], bent: bool) -> None:
        self.density, self.given, self.found = density, given, found
        self.bent = bent and len(given.rest) <= _FEW
        self._given = np.empty(0)  # log density of what is drawn exactly given the rest, as every proposal has it
        self.thetas = np.empty((0, density.space.size))
        self.logs = np.empty(0)
        self.weights = np.empty(0)
        self.log_evidence = -np.inf
        self._rounds: list[_Round] = []

    @cached_property
    def around(self) -> mix.Mixture:
        """A mixture around the modes, of the coordinates that are not drawn exactly."""
        rest = self.given.rest
        inside = [mode.covariance[np.ix_(rest, rest)] for mode in self.found]
        return mix.of_modes(
            np.array([mode.location[rest] for mode in self.found]),
            np.array(inside),
            np.array([m.height + 0.5 * (_log_det(m.covariance) - _log_det(c)) for m, c in zip(self.found, inside, strict=True)]),
        )

    @property
    def learning(self) -> np.ndarray:
        """Weights to learn from: flattened where a few draws carry nearly all, or clipped where there is a bend to learn."""
        if self.bent:
            return clipped(self.weights, bends.least(len(self.given.rest)))
        return self.flattened(min(_LEAST * self.thetas.shape[1], len(self.thetas) / 2))

    def flattened(self, least: float) -> np.ndarray:
        """Weights raised to a power at most 1 so that they leave `least` draws effective, as far as there are any."""
        logs = np.log(self.weights, where=self.weights > 0, out=np.full(len(self.weights), -np.inf))
        weights = self.weights
        for halvings in range(1, 20):
            if 1 / np.sum(weights**2) >= least:
                break
            weights = normalised(logs / 2**halvings)
        return weights

    def over(self, proposal: partly.Proposal) -> tuple[np.ndarray, np.ndarray]:
        """Log target over proposal at every draw so far, and the draws' normalised weights."""
        seen = np.isfinite(self.logs)
        return (self.logs - proposal.of_rest(self.thetas) - self._given)[seen], self.weights[seen]

    def extend(self, proposal: partly.Proposal, rng: np.random.Generator, n: int) -> float:
        """One more round of `n` draws; returns their own efficiency (effective over nominal size)."""
        fresh, given = proposal.draw(rng, n)
        logs = self.density.many(fresh)
        self.absorb(proposal, fresh, given, logs)
        own = normalised(logs - (self._rounds[-1].logs + self._given)[-n:])
        return float(1 / np.sum(own**2) / n)

    def absorb(self, proposal: partly.Proposal, fresh: np.ndarray, given: np.ndarray, logs: np.ndarray) -> None:
        """Add draws of a proposal with their log densities, `given` those of what is drawn exactly, and weight everything anew."""
        self.thetas, self.logs = np.concatenate([self.thetas, fresh]), np.concatenate([self.logs, logs])
        self._given = np.concatenate([self._given, given])
        for earlier in self._rounds:
            earlier.logs = np.concatenate([earlier.logs, earlier.proposal.of_rest(fresh)])
        self._rounds.append(_Round(proposal, len(fresh), proposal.of_rest(self.thetas)))
        total = len(self.thetas)
        mixed = np.logaddexp.reduce([np.log(one.count / total) + one.logs for one in self._rounds], axis=0)
        ratio = self.logs - mixed - self._given
        self.weights = normalised(ratio)
        self.log_evidence = float(np.logaddexp.reduce(ratio[np.isfinite(ratio)], initial=-np.inf) - np.log(total))

    def described(self, rng: np.random.Generator, most: int = 3, share: float = 0.1, finest: bool = False) -> partly.Proposal:
        """The proposal that describes all draws so far best, with a wide share; if `finest`, no matter how long it takes to find."""
        return self.describing(self.thetas, self.learning, rng, most, share, finest)

    def describing(
        self, thetas: np.ndarray, weights: np.ndarray, rng: np.random.Generator, most: int, share: float, finest: bool = False
    ) -> partly.Proposal:
        """The proposal that describes weighted points best."""
        few = len(self.given.rest) <= _FEW  # of more, a bend has coefficients that draws do not tell
        wide = _WIDE if self.bent else share if finest and few else 0.0
        cover = partly.covering(thetas[:, self.given.rest], weights, rng, most, share, wide, self.around)
        return partly.Proposal(cover, self.given)


def normalised(log_weights: np.ndarray) -> np.ndarray:
    """Weights that sum to 1 from their logarithms."""
    finite = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    top = finite.max()
    if not np.isfinite(top):
        return np.full(len(finite), 1 / len(finite))
    w = np.exp(finite - top)
    return w / w.sum()


def clipped(weights: np.ndarray, least: float) -> np.ndarray:
    """Normalised weights of which none is more than one in `least`, or as even as so few draws allow: single ones are not believed."""
    falling = np.sort(weights)[::-1]
    k = np.arange(min(int(least), len(weights)))
    cap = (1 - np.concatenate([[0.0], np.cumsum(falling)])[k]) / (least - k)  # with the k largest at it
    enough = (falling[k] <= cap) & (cap > _NOTHING)
    cut = np.minimum(weights, cap[int(np.argmax(enough))]) if enough.any() else (weights > _NOTHING).astype(float)
    return np.asarray(cut / cut.sum())
