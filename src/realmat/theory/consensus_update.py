"""Drawing the parameters of a consensus of theories given the ideal values: conjugate steps, many chains side by side.

Given the ideal values t the calculations are a regression with correlated errors: missing calculations are drawn given the others, the
errors' covariance is inverse Wishart, biases and slopes are normal, each material's lambda is inverse gamma (Schafer, Analysis of
Incomplete Multivariate Data, 1997; Liu, Rubin & Wu for the t: Biometrika 85, 755, 1998). What is not conjugate moves by Metropolis steps
one number at a time, with a step size of its own that is learnt while the chains warm up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from realmat.table.table import Table
from realmat.terms.priors import Prior
from realmat.terms.term import Values
from realmat.theory.calculations import Calculations
from realmat.theory.consensus_errors import Errors

_TARGET = 0.4  # acceptance of steps one number at a time
State = dict[str, np.ndarray]
"""Parameters by name, the chains as first axis."""


def _of_scale(count: Any, square: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Log likelihood of a scale from `count` normal values with a sum of squares `square`."""
    return lambda s: -count * np.log(s) - 0.5 * square / s**2


@dataclass
class Update:
    """Draws the parameters `names` given the ideal values.

    Attributes
    ----------
    names : tuple of str
        Which parameters it draws.
    block : str
        The coefficients that are the ideal values.
    calculations, errors
        What was calculated, and how errors go together.
    priors : dict of str to Prior
        Of its parameters.
    nu : float, optional
        Degrees of freedom of the materials' lambda.
    of_table : callable
        What was calculated of each row of another table.
    """

    name: str
    block: str
    names: tuple[str, ...]
    calculations: Calculations
    errors: Errors
    priors: Mapping[str, Prior]
    nu: float | None
    of_table: Callable[[Table], Calculations]
    lengths: dict[str, np.ndarray] = field(default_factory=dict)
    learning: float = 0.5

    @property
    def hands_on(self) -> tuple[str, ...]:
        """Names of the readings and their u."""
        return f"{self.name}_reading", f"{self.name}_reading_u"

    def renamed(self, name: Callable[[str], str], priors: Mapping[str, Prior]) -> Update:
        """The same under other names of its variables, as where several properties stand side by side."""
        new = name(self.name)
        return replace(self, name=new, block=new, names=tuple(priors), errors=replace(self.errors, name=new), priors=priors, lengths={})

    def apart(self) -> Update:
        """The same for other chains, with steps that adapt to these."""
        return replace(self, lengths={})

    def begin(self, medians: Mapping[str, Any], chains: int, rng: np.random.Generator) -> State:
        """Starting values around those at the priors' medians, shape (chains, ...)."""
        out: State = {}
        for name in self.names:
            low, high = self.priors[name].support
            start = np.atleast_1d(np.asarray(medians[name], dtype=float))
            value = np.repeat(start[None], chains, axis=0)
            if np.isfinite(low) and not np.isfinite(high):
                value = low + (value - low) * np.exp(0.1 * rng.standard_normal(value.shape))
            out[name] = value if np.ndim(medians[name]) else value[:, 0]
        return out

    def covariance(self, state: State) -> np.ndarray:
        """S of every chain from its parameters, shape (C, K, K)."""
        return self.errors.covariances(state)

    @property
    def size(self) -> int:
        """Materials times theories."""
        return int(np.prod(self.calculations.size))

    def precisions(self, p: Values, calculations: Calculations) -> np.ndarray:
        """How well calculations tell each ideal value at one psi, at lambda = 1: h, shape (M,)."""
        return calculations.precisions(p[f"{self.name}_slope"], calculations.weights(self.errors.covariance(p)))

    def untold(self, p: Values) -> np.ndarray:
        """Precision that the calculations not run would add to what is known of each ideal value at one psi, shape (M,)."""
        hard = p.get(f"{self.name}_hardness", np.ones(self.calculations.size[0]))
        covariance, slope = self.errors.covariance(p), p[f"{self.name}_slope"]
        then, now = (c.precisions(slope, c.weights(covariance, hard)) for c in (self.calculations.complete, self.calculations))
        return np.maximum(then - now, 0.0) / hard

    def derived(self, state: State) -> State:
        """What the algebra needs and the draws do not hold: the readings and their standard uncertainties, shape (C, materials)."""
        self._hold(state)
        told = self.calculations.count > 0
        hard = state.get(f"{self.name}_hardness")
        variance = (1.0 if hard is None else hard[:, told]) / state["_h"][:, told]
        return dict(zip(self.hands_on, (state["_z"][:, told], np.sqrt(variance)), strict=True))

    def beyond(self, state: State) -> np.ndarray:
        """Log density of the calculations beyond that of the readings made of them, shape (C,)."""
        self._hold(state)
        told, hard = self.calculations.count > 0, state.get(f"{self.name}_hardness")
        log_det = self.calculations.by_material(state["_log_det"])
        own = np.ones_like(state["_h"]) if hard is None else hard
        return np.asarray(self.calculations.beyond(*(x[:, told] for x in (log_det, state["_h"], state["_rest"], own))))

    def _hold(self, state: State) -> None:
        """S and what follows from it are made once a sweep; names with an underscore are no parameters."""
        if "_covariance" not in state:
            state["_covariance"] = self.covariance(state)
        if "_weights" not in state:
            state["_weights"], state["_log_det"] = self.calculations.inverses(state["_covariance"], state.get(f"{self.name}_hardness"))
            read = self.calculations.reading(state[f"{self.name}_bias"], state[f"{self.name}_slope"], state["_weights"])
            state["_z"], state["_h"], state["_rest"] = read.z, read.h, read.rest
            if self.errors.full:
                state["_common"], state["_reach"] = self._common(state)

    def _common(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Variance ``r = 1 / s' S^-1 s`` that all theories together leave of an ideal value, and what it would be were S like S0."""
        slope = state[f"{self.name}_slope"]
        solved = np.linalg.solve(state["_covariance"], slope[..., None])[..., 0]
        common = 1 / np.sum(slope * solved, axis=1)
        centre = self.errors.centre(state[f"{self.name}_own"], self._family(state))
        return common, common**2 * np.einsum("ci,cij,cj->c", solved, centre, solved)

    # --- moves with the ideal values integrated out -----------------------------------------------------------------------------------

    def along(self, state: State) -> np.ndarray:
        """Log of the ideal values' spread and, where S is free, of r, which says how alike all theories err.

        Given the ideal values both are nearly fixed, while the data leave open how much of what theories share is the ideal value.
        """
        self._hold(state)
        spread = np.log(state[f"{self.name}_spread"])
        return np.stack([spread, np.log(state["_common"])] if self.errors.full else [spread], axis=1)

    def moved(self, state: State, along: np.ndarray) -> State:
        """The state at another spread and at S + delta s s'.

        Readings stay where they are, their variance grows by lambda delta, and the density of the calculations beyond the readings does
        not change (Sherman & Morrison's formula).
        """
        out = state | {f"{self.name}_spread": np.exp(along[:, 0])}
        if self.errors.full:
            out["_common"] = np.exp(along[:, 1])
            out["_h"] = state["_h"] / (1 + (out["_common"] - state["_common"])[:, None] * state["_h"])
        return out

    def log_density(self, state: State) -> np.ndarray:
        """Log prior of the coordinates: r is inverse gamma where S is inverse Wishart."""
        spread = state[f"{self.name}_spread"]
        total = self._log_prior(state, f"{self.name}_spread", spread) + np.log(spread)
        if self.errors.full:
            half = 0.5 * (self.errors.degrees + self.errors.size - 1)
            total = total - half * np.log(state["_common"]) - 0.5 * self.errors.scale * state["_reach"] / state["_common"]
        return np.asarray(total)

    def settled(self, state: State, before: State) -> State:
        """S and the weights of a state that was moved from another."""
        if not self.errors.full:
            return state
        delta, slope = state["_common"] - before["_common"], state[f"{self.name}_slope"]
        solved = (state["_weights"] @ slope[:, None, :, None])[..., 0]
        share = delta[:, None] / (1 + delta[:, None] * np.sum(slope[:, None] * solved, axis=-1))
        covariance = state["_covariance"] + delta[:, None, None] * slope[:, :, None] * slope[:, None, :]
        weights = state["_weights"] - share[..., None, None] * solved[..., :, None] * solved[..., None, :]
        factored = self.errors.factored(covariance, state[f"{self.name}_own"], self._family(state))
        return state | factored | {"_covariance": covariance, "_weights": weights}

    def draw(self, state: State, ideal: np.ndarray, rng: np.random.Generator) -> State:
        """One sweep given ideal values of shape (C, materials)."""
        state = dict(state)
        self._hold(state)
        self._population(state, ideal, rng)
        self._hardness(state, ideal, rng)
        weight = np.ones_like(ideal) if self.nu is None else 1 / state[f"{self.name}_hardness"]
        self._lines(state, weight, ideal, rng)
        errors = self.calculations.errors(state[f"{self.name}_bias"], state[f"{self.name}_slope"], ideal)
        (self._full if self.errors.full else self._families)(state, errors, weight, rng)
        self._pools(state, rng)
        del state["_weights"]
        return state

    # --- the population of ideal values, and which materials are hard ---------------------------------------------------------------

    def _population(self, state: State, ideal: np.ndarray, rng: np.random.Generator) -> None:
        """Mean (normal) and spread of the ideal values."""
        weight = np.ones_like(ideal) if self.nu is None else 1 / state[f"{self.name}_hardness"]
        prior = self.priors[f"{self.name}_mean"].arguments()
        precision = weight.sum(axis=1) / state[f"{self.name}_spread"] ** 2 + 1 / prior["sigma"] ** 2
        side = (weight * ideal).sum(axis=1) / state[f"{self.name}_spread"] ** 2 + prior["mu"] / prior["sigma"] ** 2
        state[f"{self.name}_mean"] = side / precision + rng.standard_normal(len(ideal)) / np.sqrt(precision)
        square = (weight * (ideal - state[f"{self.name}_mean"][:, None]) ** 2).sum(axis=1)
        count = ideal.shape[1]
        self._step(state, f"{self.name}_spread", _of_scale(count, square), rng)

    def _hardness(self, state: State, ideal: np.ndarray, rng: np.random.Generator) -> None:
        """lambda of each material: inverse gamma given its errors and how far its ideal value lies from the others."""
        if self.nu is None:
            return
        square = ((ideal - state[f"{self.name}_mean"][:, None]) / state[f"{self.name}_spread"][:, None]) ** 2
        if self.calculations.noisy:
            square += self._squares(state, ideal, rng)
        else:
            square += state["_rest"] + state["_h"] * (ideal - state["_z"]) ** 2  # e' W e
        degrees = self.nu + 1 + self.calculations.count
        state[f"{self.name}_hardness"] = (self.nu + square) / rng.chisquare(degrees, square.shape)
        if self.calculations.noisy:
            state["_weights"] = self.calculations.weights(state["_covariance"], state[f"{self.name}_hardness"])

    def _squares(self, state: State, ideal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """e' S^-1 e of the theories' own errors, drawn given calculations that have a u: shape (C, M)."""
        errors = self.calculations.errors(state[f"{self.name}_bias"], state[f"{self.name}_slope"], ideal)
        hard = state[f"{self.name}_hardness"]
        whole = self.calculations.completed(errors, state["_covariance"], state["_weights"], hard, rng)
        return self.calculations.squares(whole, state["_covariance"])

    # --- lines and errors of the theories -------------------------------------------------------------------------------------------

    def _lines(self, state: State, weight: np.ndarray, ideal: np.ndarray, rng: np.random.Generator) -> None:
        """Biases and slopes of all theories at once: normal, given the calculations that were run.

        Those that were not, drawn anew, would hold the line of a theory that was seldom run where it is.
        """
        chains, k = len(ideal), self.errors.size
        z = np.stack([np.ones_like(ideal), ideal - self.calculations.centre], axis=-1)
        gram = self.calculations.scatter(z, weight)
        told = self.calculations.told(state["_weights"])
        side = ((z * weight[..., None]).swapaxes(1, 2) @ told).reshape(chains, 2 * k)
        both = gram.reshape(chains, -1, 4).swapaxes(1, 2) @ state["_weights"].reshape(chains, -1, k * k)  # sums over the patterns
        matrix = both.reshape(chains, 2, 2, k, k).transpose(0, 1, 3, 2, 4).reshape(chains, 2 * k, 2 * k)
        prior = np.repeat(np.stack([state[f"{self.name}_bias_scale"], state[f"{self.name}_slope_scale"]], axis=1) ** -2.0, k, axis=1)
        side[:, k:] += prior[:, k:]  # slopes are around 1, biases around 0
        matrix[:, np.arange(2 * k), np.arange(2 * k)] += prior
        factor = np.linalg.cholesky(matrix)
        half = np.linalg.solve(factor, side[..., None]) + rng.standard_normal((chains, 2 * k, 1))
        drawn = np.linalg.solve(factor.swapaxes(1, 2), half)[..., 0]
        state[f"{self.name}_bias"], state[f"{self.name}_slope"] = drawn[:, :k], drawn[:, k:]

    def _full(self, state: State, errors: np.ndarray, weight: np.ndarray, rng: np.random.Generator) -> None:
        """Errors that go together in any way: S given those of the calculations that were not run, too, and the scales of S0 given S."""
        from realmat.theory.consensus_kernels import one_by_one

        whole = self.calculations.completed(errors, state["_covariance"], state["_weights"], 1 / weight, rng)
        told = self.calculations.count > 0
        whole = whole[:, told] * np.sqrt(weight[:, told])[..., None]
        own, family = state[f"{self.name}_own"], self._family(state)
        covariance = self.errors.draw(whole.swapaxes(1, 2) @ whole, whole.shape[1], own, family, rng)
        inverse, precision = np.linalg.inv(self.errors.centre(own, family)), np.linalg.inv(covariance)
        degrees, scale = float(self.errors.degrees), self.errors.scale
        self._scales(state, lambda here, there, allowed, v: one_by_one(here, there, allowed, inverse, precision, v, degrees, scale), rng)
        state["_covariance"] = covariance
        state |= self.errors.factored(covariance, state[f"{self.name}_own"], self._family(state))

    def _families(self, state: State, errors: np.ndarray, weight: np.ndarray, rng: np.random.Generator) -> None:
        """Errors that go together by family: S is S0, whose scales move given the errors of the calculations that were run."""
        from realmat.theory.consensus_kernels import one_by_one_of_patterns

        members = np.array([len(p.members) for p in self.calculations.patterns])
        squares = self.calculations.scatter(errors, weight)
        weights = np.array(state["_weights"], order="C")
        self._scales(state, lambda here, there, allowed, v: one_by_one_of_patterns(here, there, allowed, weights, squares, members, v), rng)
        state["_covariance"] = self.errors.centre(state[f"{self.name}_own"], self._family(state))

    # --- what theories have in common -----------------------------------------------------------------------------------------------

    def _pools(self, state: State, rng: np.random.Generator) -> None:
        """Scales of biases and slopes, and the log-normal population of own scales."""
        name = self.name
        for what, centre in (("bias", 0.0), ("slope", 1.0)):
            square = ((state[f"{name}_{what}"] - centre) ** 2).sum(axis=1)
            self._step(state, f"{name}_{what}_scale", _of_scale(self.errors.size, square), rng)
        if f"{name}_own_spread" not in state:
            return
        log = np.log(state[f"{name}_own"])
        prior = self.priors[f"{name}_own_location"].arguments()
        precision = self.errors.size / state[f"{name}_own_spread"] ** 2 + prior["sigma"] ** -2.0
        side = log.sum(axis=1) / state[f"{name}_own_spread"] ** 2 + prior["mu"] / prior["sigma"] ** 2
        state[f"{name}_own_location"] = side / precision + rng.standard_normal(len(log)) / np.sqrt(precision)
        square = ((log - state[f"{name}_own_location"][:, None]) ** 2).sum(axis=1)
        self._step(state, f"{name}_own_spread", _of_scale(self.errors.size, square), rng)

    def _family(self, state: State) -> np.ndarray:
        return state.get(f"{self.name}_family", np.zeros((len(state[f"{self.name}_own"]), 0)))

    # --- Metropolis steps in the logarithm ------------------------------------------------------------------------------------------

    def _log_prior(self, state: State, name: str, value: np.ndarray) -> np.ndarray:
        lookup = {r: state[r].reshape(len(value), *[1] * (value.ndim - 1)) for r in self.priors[name].references}
        return np.asarray(self.priors[name].logpdf(value, lookup))

    def _length(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        return self.lengths.setdefault(name, np.full(shape, np.log(0.3)))

    def _step(self, state: State, name: str, log_likelihood: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator) -> None:
        """A step of every number of a parameter by itself, where they are independent given the rest."""
        here = state[name]
        length = self._length(name, here.shape[1:])
        there = here * np.exp(np.exp(length) * rng.standard_normal(here.shape))
        change = log_likelihood(there) - log_likelihood(here) + np.log(there / here)
        change = change + self._log_prior(state, name, there) - self._log_prior(state, name, here)
        taken = np.log(rng.random(here.shape)) < change
        state[name] = np.where(taken, there, here)
        length += self.learning * (taken.mean(axis=0) - _TARGET)

    def _scales(self, state: State, move: Callable[..., np.ndarray], rng: np.random.Generator) -> None:
        """A step of each own scale and each family's, one after the other: their squares enter S0 by a matrix of rank one each."""
        for name, directions in ((f"{self.name}_own", np.eye(self.errors.size)), (f"{self.name}_family", self.errors.membership.T)):
            if not len(directions):
                continue
            here = state[name].copy()
            length = self._length(name, here.shape[1:])
            there = here * np.exp(np.exp(length) * rng.standard_normal(here.shape))
            prior = np.log(there / here) + self._log_prior(state, name, there) - self._log_prior(state, name, here)
            taken = move(here, there, np.log(rng.random(here.shape)) - prior, np.ascontiguousarray(directions))
            length += self.learning * (taken.mean(axis=0) - _TARGET)
            state[name] = here
