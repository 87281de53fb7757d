"""Hamiltonian chains side by side, over psi and effects together: for what importance sampling on psi does not settle.

It needs the plain joint density and its gradient and integrates nothing out by itself, so that rows of any density are one road. Warm-up
goes in short stages, each from the chains of the one before: where effects are centred, by what psi and effects are whitened, the step.
Then it runs until the draws asked for are worth enough, judged by R-hat and the effective sample size of the chains themselves.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from realmat.algebra import System
from realmat.algebra.ratios import Totals
from realmat.algebra.space import Space
from realmat.engines.chains import agreement
from realmat.engines.chains.coordinates import Coordinates, Passed
from realmat.engines.chains.hamilton import Chains, halved
from realmat.engines.chains.target import Target
from realmat.errors import FitError
from realmat.support.progress import Progress
from realmat.support.threads import workers

TOGETHER = 32
_STAGES, _BENT = (15, 15, 30), 50  # iterations of warm-up, and more of them where hyperparameters bend
_SPREAD = 0.7
_LOST = 50.0, 10.0  # log density below the median from which a chain of warm-up is lost, and for each root of a coordinate
_ENOUGH, _AGREED, _NEAR = 400, 1.01, 1.03  # R-hat of the user's chains, and of those that they are made of
_WORSE = 0.6  # of the step of before, below which a bend that was learnt misleads
_APART, _AGAIN = 1.1, 2  # R-hat from which a stage is taken for warm-up, and how often
_FEWEST, _MOST = 40, 3000  # iterations of a chain
_PATIENCE = 160  # times as many iterations as the draws that were asked for, 400 at least, before a posterior is given up
_LARGE = 200_000  # rows times chains from which these are evaluated in halves
_LOOKED_AT = 2000  # draws, at most, from which it is seen before the first iteration how hyperparameters bend
_WATCHED = 32  # effects whose R-hat and effective sample size are looked at


@dataclass
class Run:
    """Draws of theta, shape (chains, draws, size), and of b, natural order; what was done."""

    thetas: np.ndarray
    b: np.ndarray
    facts: dict[str, Any]


@dataclass
class _Trace:
    """What is kept of every iteration: theta and a few effects; and all effects of every `stride`-th."""

    watched: np.ndarray
    most: int
    keep: bool
    seen: list[np.ndarray] = field(default_factory=list)
    kept: list[tuple[int, np.ndarray]] = field(default_factory=list)
    stride: int = 1

    def put(self, theta: np.ndarray, b: np.ndarray) -> None:
        if len(self.seen) % self.stride == 0:
            self.kept.append((len(self.seen), b if self.keep else b[:0]))
            if len(self.kept) > 2 * self.most:
                self.kept, self.stride = self.kept[::2], 2 * self.stride
        self.seen.append(np.concatenate([theta, b[self.watched]]))

    def judge(self, chains: int) -> tuple[float, float, float]:
        """Largest R-hat of the chains, and of the user's made of them, and smallest effective sample size."""
        x = np.array(self.seen).transpose(1, 2, 0)  # (quantities, chains, draws)
        if not len(x):
            return 1.0, 1.0, float(x.shape[1] * x.shape[2])
        joined = agreement.r_hat(x.reshape(len(x), chains, -1))
        return float(agreement.r_hat(x).max()), float(joined.max()), float(agreement.bulk_ess(x).min())


@dataclass(frozen=True)
class Start:
    """Where chains begin.

    Attributes
    ----------
    centre : array of shape (theta size,)
    root : array of shape (theta size, theta size)
        A square root of the covariance of theta, roughly.
    thetas, weights : arrays of shape (n, theta size) and (n,), optional
        Weighted draws to start from: all modes that were found are among them.
    known : bool
        Whether `root` is a better guess of the covariance than the curvature of the joint density.
    warm : bool
        Whether the draws are nearly those that are looked for, so that the first stages of warm-up can be left out.
    """

    centre: np.ndarray
    root: np.ndarray
    thetas: np.ndarray | None = None
    weights: np.ndarray | None = None
    known: bool = True
    warm: bool = False

    def drawn(self, rng: np.random.Generator) -> np.ndarray | None:
        """As many draws, shape (theta size, n), as their weights are worth; None without."""
        if self.thetas is None or self.weights is None:
            return None
        worth = int(1 / np.sum(np.square(self.weights)))
        return self.thetas[rng.choice(len(self.thetas), size=min(worth, _LOOKED_AT), p=self.weights)].T


class Sampler:
    """Chains over psi and effects.

    Parameters
    ----------
    system : System
        Where no effect is eliminated in closed form.
    space : Space
    start : Start
    seed : int
    chains : int
        Of the user; each is made of several that run side by side.
    keep : bool
        Whether draws of the effects are wanted.
    totals : Totals, optional
        Of scales that add up.
    """

    def __init__(
        self, system: System, space: Space, start: Start, seed: int, chains: int, keep: bool = True, totals: Totals | None = None
    ) -> None:
        self.system, self.keep = system, keep
        self.rng = rng = np.random.default_rng([seed, 5])
        self.parts = max(round(TOGETHER / chains), 1)
        self.count, self.chains = self.parts * chains, chains
        around = start.centre + 0.3 * rng.standard_normal((8, space.size)) @ start.root.T
        self.target = Target(system, space, around, totals)
        root = start.root if start.known else None
        self.coordinates = Coordinates(self.target, start.centre, np.zeros((system.size, 1)), root, draws=start.drawn(rng))
        q = _SPREAD * rng.standard_normal((space.size + system.size, self.count))
        if start.thetas is not None:
            some = start.thetas[rng.choice(len(start.thetas), size=self.count, p=start.weights)]
            q[: space.size] = self.coordinates.whitened(some.T)
        self._large = self.count * sum(len(row_block.y) for row_block in system.row_blocks) >= _LARGE
        self._pool = ThreadPoolExecutor(2) if self._large and workers() > 1 else None
        self.running = self._chains(q, None)
        if not np.isfinite(self.running.value).any():
            raise FitError("the model has no finite density at typical parameter values; check the priors and the stated uncertainties.")
        self.stages: list[int] = []
        self._passed: list[tuple[np.ndarray, np.ndarray]] = []
        self._lengths = _STAGES[-1:] if start.warm else _STAGES
        self._straight = False
        self._known: Passed | None = None

    def _chains(self, q: np.ndarray, step: float | None) -> Chains:
        at = halved(self.coordinates.at, self._pool) if self._large else self.coordinates.at
        return Chains(at, q, self.rng, step)

    def run(self, draws: int, progress: bool) -> Run:
        """Warm up and draw, at least `draws` of each of the user's chains, and until they are worth enough."""
        each = -(-draws // self.parts)
        goal = min(_ENOUGH, draws * self.chains)
        with Progress(progress, "warming up", sum(self._lengths)) as bar, self._pool or nullcontext():
            for length in self._lengths:
                self._stage(length, bar)
            if self.coordinates.bend is not None:
                bar.restart("learning how hyperparameters bend", _BENT)
                self._stage(_BENT, bar, settled=True)
            return self._draw(draws, each, goal, bar)

    def _stage(self, length: int, bar: Progress, settled: bool = False) -> None:
        """Some iterations that learn the step, then new coordinates."""
        before = self.running.step
        for _ in range(length):
            self.running.move(adapt=True)
            self._pass(self.coordinates.psi(self.running.q))
            bar.advance()
        self.stages.append(length)
        self._gather(length)
        misleads = self.coordinates.bend is not None and self.running.step < _WORSE * before
        self._straight |= misleads
        if misleads and self._known is not None:
            self._use(self._straightened(self._known), before)
        else:
            self._learn(settled)

    def _gather(self, length: int) -> None:
        """Put chains that are lost to some of the others, path and all.

        These are far below the others, where no step that suits these leads out, or have not moved in so many iterations.
        """
        value = np.where(np.isfinite(self.running.value), self.running.value, -np.inf)
        lost = (value < np.median(value) - _LOST[0] - _LOST[1] * np.sqrt(len(self.running.q))) | (self.running.still >= length)
        if lost.any() and not lost.all():
            source = np.arange(self.count)
            source[lost] = self.rng.choice(np.flatnonzero(~lost), size=int(lost.sum()))
            self.running.take(source)
            self._passed = [(theta[:, source], slopes[:, source]) for theta, slopes in self._passed]

    def _pass(self, theta: np.ndarray) -> None:
        d = self.target.space.size
        self._passed.append((theta, self.coordinates.slopes(self.running.q[:d], self.running.slope[:d])))

    def _learn(self, settled: bool = False) -> None:
        """New coordinates from where chains have been since they had these: from the later half if they had not settled before."""
        theta, b = self.coordinates.effects(self.running.q)
        thetas, slopes = (np.concatenate(x, axis=1) for x in zip(*self._passed[0 if settled else len(self._passed) // 2 :], strict=True))
        self._use(Passed(self.coordinates.known, thetas, slopes, theta, b, self._straight, self.coordinates.bend), self.running.step)

    def _straightened(self, known: Passed) -> Passed:
        """What these coordinates were learnt from, for others that take no notice of a bend, and where chains are."""
        theta, b = self.coordinates.effects(self.running.q)
        return replace(known, theta=theta, b=b, straight=True, bend=None)

    def _use(self, passed: Passed, step: float) -> None:
        self.coordinates = Coordinates(self.target, passed.thetas.mean(axis=1), passed.b.mean(axis=1, keepdims=True), passed=passed)
        self.running = self._chains(self.coordinates.find(passed.theta, passed.b), step)
        self._known, self._passed = passed, []

    def _draw(self, draws: int, each: int, goal: int, bar: Progress) -> Run:
        watched = (
            np.unique(np.linspace(0, max(self.system.size - 1, 0), _WATCHED).astype(int)) if self.system.size else np.zeros(0, dtype=int)
        )
        trace, again, length = _Trace(watched, each, self.keep), 0, max(each, _FEWEST)
        most = max(min(_MOST, _PATIENCE * each), 400, length)
        bar.restart("drawing", length)
        try:
            while True:
                for _ in range(length - len(trace.seen)):
                    self.running.move()
                    theta, b = self.coordinates.effects(self.running.q)
                    self._pass(theta)
                    trace.put(theta, b)
                    bar.advance()
                apart, joined, ess = trace.judge(self.chains)
                if (ess >= goal and apart < _NEAR and joined < _AGREED) or length >= most:
                    break
                if apart > _APART and again < (_AGAIN if self.coordinates.bend is None else 2 * _AGAIN):
                    again += 1
                    self.stages.append(length)
                    self._learn()
                    for _ in range(_STAGES[0]):
                        self.running.move(adapt=True)
                    trace, length = _Trace(watched, each, self.keep), max(length, _FEWEST)
                else:
                    length = min(int(length * np.clip(1.1 * goal / ess, 1.3, 3.0)), most)
                bar.restart("drawing", length)
        except KeyboardInterrupt:
            if len(trace.seen) < 4:
                raise
            apart, _, ess = trace.judge(self.chains)
        return self._gathered(trace, draws, apart, ess)

    def _gathered(self, trace: _Trace, draws: int, apart: float, ess: float) -> Run:
        """In the user's shape: each chain is made of several, end to end, evenly thinned."""
        each = -(-draws // self.parts)
        chosen = np.unique(np.linspace(0, len(trace.kept) - 1, min(each, len(trace.kept))).round().astype(int))
        size, at = self.target.space.size, [trace.kept[k][0] for k in chosen]
        thetas = np.array([trace.seen[k][:size] for k in at]).transpose(2, 0, 1)
        b = np.array([trace.kept[k][1] for k in chosen]).transpose(2, 0, 1)
        joined = self.parts * len(chosen)
        thetas = thetas.reshape(self.chains, joined, size)[:, :draws]
        b = b.reshape(self.chains, joined, b.shape[-1])[:, :draws]
        natural = self.system.natural(b) if self.keep else b
        facts: dict[str, Any] = {
            "warm_up": sum(self.stages),
            "together": self.count,
            "iterations": len(trace.seen),
            "step": round(self.running.step, 3),
            "ess": round(ess),
            "r_hat": round(apart, 4),
        }
        if thetas.shape[1] < draws:
            facts["interrupted"] = f"interrupted after {thetas.shape[1]} of {draws} draws"
        return Run(thetas, natural, facts)
