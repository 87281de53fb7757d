"""From scores to findings: the largest first, each taken out before the next is looked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from realmat.algebra.batching import slices
from realmat.posterior.draws import Posterior
from realmat.validation.misfit import marginal
from realmat.validation.misfit.pivots import Layer, Pivots, pivots
from realmat.validation.misfit.questions import questions
from realmat.validation.misfit.statistics import Along, Apart, Groups, Line, Sample, SpreadLine, Statistic, Tails

RATE = 0.02  # of fits of a right model that have any finding
_DRAWS, _FEW = 20, 5  # posterior draws, of everything and of hyperparameters alone
_MOST = 5  # findings
_TOGETHER = 4_000_000  # numbers of lines held at once
_MASKED, _HEAVY = 2, 1.645  # values set apart at most before tails are judged, and the score of what is then heavy


@dataclass(frozen=True)
class Finding:
    """What contradicts the model.

    Attributes
    ----------
    kind : str
        See `Statistic`.
    layer : Layer
        As it was when it was found.
    column : str
    probability : float
        That the largest of all statistics is as large, if the model is right.
    effect : float
        Its standard deviation, on the scale of the link.
    value : int
        Number of the value that lies apart; -1 for other kinds.
    statistic : Statistic
    """

    kind: str
    layer: Layer
    column: str
    probability: float
    effect: float
    value: int
    statistic: Statistic


def find(posterior: Posterior, seed: int = 0, rate: float = RATE) -> tuple[list[Finding], int]:
    """Findings, the one that would change the answer most first, and how many questions were asked.

    Parameters
    ----------
    posterior : Posterior
    seed : int
        Of simulated pivots.
    rate : float
        Share of fits of right models that have any finding.
    """
    rng = np.random.default_rng([seed, 17])
    start = marginal.pivots(posterior, _FEW, rng) if marginal.applies(posterior) else pivots(posterior, _DRAWS, rng)
    asked = questions(posterior.problem.table, start)
    if not asked:
        return [], 0
    search = _Search(start, asked, rate)
    while len(search.found) < _MOST and search.step():
        pass
    return sorted(search.found, key=lambda f: -f.effect), len(asked)


class _Search:
    """Findings so far, and the pivots without them."""

    def __init__(self, start: Pivots, asked: list[Statistic], rate: float) -> None:
        self.start, self.asked, self.rate = start, asked, rate
        self.null = Null(start, asked)
        self.layers = list(start.layers)
        self.open = np.ones(len(asked), dtype=bool)
        self.found: list[Finding] = []
        self.directions: list[np.ndarray] = []

    def step(self) -> bool:
        """Look for one more; False where there is none."""
        scores = _scores([layer.z for layer in self.layers], self.asked)
        probability = np.array([self.null.of(j, own) if self.open[j] else 1.0 for j, own in enumerate(scores.T)])
        best = int(np.argmin(probability))
        if probability[best] > self.rate:
            return False
        best = self._line_or_groups(self._apart_or_tails(best), probability)
        statistic = self.asked[best]
        layer = self.layers[statistic.layer]
        value = statistic.which(layer.z) if isinstance(statistic, Apart) else -1
        p = float(np.clip(probability[best], 0.0, self.rate))
        self.found.append(Finding(statistic.kind, layer, statistic.column, p, statistic.effect(layer), value, statistic))
        self._take_out(best)
        return True

    def _take_out(self, which: int) -> None:
        """Of a mean exactly where there is the algebra; of a spread, ask no more about spreads, which share what was found."""
        statistic = self.asked[which]
        layer = self.layers[statistic.layer]
        directions = statistic.directions(layer.z)
        if directions is None:
            spreads = [s.layer == statistic.layer and s.directions(layer.z) is None for s in self.asked]
            self.open &= ~np.array(spreads)
        elif not isinstance(statistic, Apart):
            self.open[which] = False
        changed = None if directions is None else self.start.without([*self.directions, directions[layer.codes]])
        if changed is None:
            self.layers[statistic.layer] = layer.holding(statistic.repaired(layer.z))
            return
        assert directions is not None
        self.directions.append(directions[layer.codes])
        self.layers, self.null = list(changed.layers), Null(changed, self.asked)

    def _line_or_groups(self, best: int, probability: np.ndarray) -> int:
        """A line that leaves nothing of what differs between groups explains it in one number."""
        groups = self.asked[best]
        if not isinstance(groups, Groups):
            return best
        kind = SpreadLine if groups.spread else Line
        lines = [j for j, s in enumerate(self.asked) if isinstance(s, kind) and s.layer == groups.layer and probability[j] <= self.rate]
        for j in sorted(lines, key=lambda j: float(probability[j])):
            layer = self.layers[groups.layer]
            without = [a.holding(self.asked[j].repaired(a.z)) if a is layer else a for a in self.layers]
            if self.null.probability(best, without) > self.rate:
                return j
        return best

    def _apart_or_tails(self, best: int) -> int:
        """Whether it is one or two values that make tails heavy, or many."""
        statistic = self.asked[best]
        own = {type(s): j for j, s in enumerate(self.asked) if s.layer == statistic.layer and isinstance(s, (Apart, Tails))}
        if not isinstance(statistic, (Apart, Tails)) or len(own) < 2 or not self.open[own[Tails]]:
            return best
        apart, layers, null, directions = self.asked[own[Apart]], self.layers, self.null, list(self.directions)
        for k in range(_MASKED):
            if null.probability(own[Apart], layers) > self.rate:
                if k == 0:
                    return own[Tails]
                break
            layer = layers[statistic.layer]
            mask = apart.directions(layer.z)
            assert mask is not None
            directions.append(mask[layer.codes])
            changed = self.start.without(directions)
            layers = [a.holding(apart.repaired(a.z)) if a is layer else a for a in layers] if changed is None else list(changed.layers)
            null = null if changed is None else Null(changed, self.asked)
        return own[Tails] if np.mean(null.scores(own[Tails], layers)) > _HEAVY else own[Apart]


class Null:
    """The largest of all scores, each from its own mean in its own standard deviations, in simulated pivots of a right model."""

    def __init__(self, found: Pivots, asked: list[Statistic]) -> None:
        self.asked = asked
        alike = all(own is found.null[0] for own in found.null)
        scores = [_scores(own, asked) for own in (found.null[:1] if alike else found.null)]
        every = np.concatenate(scores)
        self.mean, self.sd = every.mean(axis=0), np.maximum(every.std(axis=0), 1e-9)
        self.largest = [np.sort(((own - self.mean) / self.sd).max(axis=1)) for own in scores]
        self.largest = self.largest * (len(found.null) if alike else 1)

    def probability(self, which: int, layers: Sequence[Layer]) -> float:
        """That the largest score is as large as that of one question, averaged over posterior draws."""
        statistic = self.asked[which]
        return self.of(which, statistic.scores(Sample(layers[statistic.layer].z)))

    def of(self, which: int, scores: np.ndarray) -> float:
        """The same of its scores at each posterior draw; a small part keeps the order where that is zero."""
        scores = (scores - self.mean[which]) / self.sd[which]
        exceeded = [1 - np.searchsorted(largest, score) / len(largest) for largest, score in zip(self.largest, scores, strict=True)]
        return float(np.mean(exceeded)) - 1e-6 * float(np.mean(np.minimum(scores, 100.0)))

    def scores(self, which: int, layers: Sequence[Layer]) -> np.ndarray:
        """Of one question at each posterior draw, standard normal if the model is right."""
        statistic = self.asked[which]
        return (statistic.scores(Sample(layers[statistic.layer].z)) - self.mean[which]) / self.sd[which]


def _scores(layers: Sequence[np.ndarray], asked: Sequence[Statistic]) -> np.ndarray:
    """Of all questions to pivots of every layer, shape (n, questions); a layer's sums are kept no longer than its questions are asked."""
    out = np.empty((len(layers[0]), len(asked)))
    for k, z in enumerate(layers):
        sample = Sample(z)
        alike: dict[type[Along], list[int]] = {}
        for j, statistic in enumerate(asked):
            if statistic.layer == k and isinstance(statistic, Along):
                alike.setdefault(type(statistic), []).append(j)
            elif statistic.layer == k:
                out[:, j] = statistic.scores(sample)
        for kind, which in alike.items():  # a table may have a thousand columns
            for some in slices(len(which), max(_TOGETHER // sample.size, 1)):
                out[:, which[some]] = kind.together(sample, [one for j in which[some] if isinstance(one := asked[j], Along)])
    return out
