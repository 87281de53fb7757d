"""Drawing the parameters of a consensus of theories given the ideal values: conjugate steps, many chains side by side.

Given the ideal values t the calculations are a regression with correlated errors: missing calculations are drawn given the others, the
errors' covariance is inverse Wishart, biases and slopes are normal, each material's lambda is inverse gamma (Schafer, Analysis of
Incomplete Multivariate Data, 1997; Liu, Rubin & Wu for the t: Biometrika 85, 755, 1998). What is not conjugate moves by Metropolis steps
one number at a time, with a step size of its own that is learnt while the chains warm up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realmat.terms.priors import Prior
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
    """

    name: str
    block: str
    names: tuple[str, ...]
    calculations: Calculations
    errors: Errors
    priors: Mapping[str, Prior]
    nu: float | None
    steps: dict[str, np.ndarray] = field(default_factory=dict)
    learning: float = 0.5

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
        chains = len(state[f"{self.name}_own"])
        return np.stack([self.errors.covariance({n: state[n][c] for n in self.errors.names()}) for c in range(chains)])

    def derived(self, state: State) -> State:
        """What the algebra needs and the draws do not hold: the readings and their standard uncertainties, shape (C, materials)."""
        self._hold(state)
        read = self.calculations.reading(state[f"{self.name}_bias"], state[f"{self.name}_slope"], state["_weights"])
        told = self.calculations.count > 0
        hard = state.get(f"{self.name}_hardness")
        variance = (1.0 if hard is None else hard[:, told]) / read.h[:, told]
        return {f"{self.name}_reading": read.z[:, told], f"{self.name}_reading_u": np.sqrt(variance)}

    def _hold(self, state: State) -> None:
        """S and its weights are made once a sweep; names with an underscore are no parameters."""
        if "_covariance" not in state:
            state["_covariance"] = self.covariance(state)
        if "_weights" not in state:
            state["_weights"] = self.calculations.weights(state["_covariance"])

    def draw(self, state: State, ideal: np.ndarray, rng: np.random.Generator) -> State:
        """One sweep given ideal values of shape (C, materials)."""
        state = dict(state)
        self._hold(state)
        self._population(state, ideal, rng)
        errors = self.calculations.errors(state[f"{self.name}_bias"], state[f"{self.name}_slope"], ideal)
        self._hardness(state, errors, ideal, rng)
        weight = np.ones_like(ideal) if self.nu is None else 1 / state[f"{self.name}_hardness"]
        (self._full if self.errors.full else self._families)(state, errors, weight, ideal, rng)
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

    def _hardness(self, state: State, errors: np.ndarray, ideal: np.ndarray, rng: np.random.Generator) -> None:
        """lambda of each material: inverse gamma given its errors and how far its ideal value lies from the others."""
        if self.nu is None:
            return
        square = ((ideal - state[f"{self.name}_mean"][:, None]) / state[f"{self.name}_spread"][:, None]) ** 2
        square += self.calculations.squares(errors, state["_weights"])
        degrees = self.nu + 1 + self.calculations.count
        state[f"{self.name}_hardness"] = (self.nu + square) / rng.chisquare(degrees, square.shape)

    # --- errors that may go together in any way -------------------------------------------------------------------------------------

    def _full(self, state: State, errors: np.ndarray, weight: np.ndarray, ideal: np.ndarray, rng: np.random.Generator) -> None:
        covariance = state["_covariance"]
        whole = self.calculations.completed(errors, covariance, state["_weights"], 1 / weight, rng)
        told = self.calculations.count > 0
        whole, weight, ideal = whole[:, told], weight[:, told], ideal[:, told]
        own, family = state[f"{self.name}_own"], self._family(state)
        scatter = np.einsum("cmi,cm,cmj->cij", whole, weight, whole, optimize=True)
        covariance = self.errors.draw(scatter, whole.shape[1], own, family, rng)
        precision = np.linalg.inv(covariance)
        values = (
            whole
            + state[f"{self.name}_bias"][:, None]
            + state[f"{self.name}_slope"][:, None] * (ideal - self.calculations.centre)[..., None]
        )
        self._lines(state, values, weight, ideal, precision, rng)

        self._one_by_one(state, precision, rng)
        state["_covariance"] = covariance
        state |= self.errors.factored(covariance, state[f"{self.name}_own"], self._family(state))

    def _lines(
        self, state: State, values: np.ndarray, weight: np.ndarray, ideal: np.ndarray, precision: np.ndarray, rng: np.random.Generator
    ) -> None:
        """Biases and slopes of all theories at once: normal."""
        chains, k = values.shape[0], values.shape[2]
        z = np.stack([np.ones_like(ideal), ideal - self.calculations.centre], axis=-1)
        gram = np.einsum("cmi,cm,cmj->cij", z, weight, z)
        side = np.einsum("cmi,cm,cmk->cik", z, weight, values, optimize=True) @ precision
        prior = np.stack([state[f"{self.name}_bias_scale"], state[f"{self.name}_slope_scale"]], axis=1) ** -2.0
        side[:, 1] += prior[:, 1, None]  # slopes are around 1, biases around 0
        matrix = np.einsum("cij,ckl->cikjl", gram, precision).reshape(chains, 2 * k, 2 * k)
        matrix[:, np.arange(2 * k), np.arange(2 * k)] += np.repeat(prior, k, axis=1)
        factor = np.linalg.cholesky(matrix)
        half = np.linalg.solve(factor, side.reshape(chains, 2 * k, 1)) + rng.standard_normal((chains, 2 * k, 1))
        drawn = np.linalg.solve(factor.swapaxes(1, 2), half)[..., 0]
        state[f"{self.name}_bias"], state[f"{self.name}_slope"] = drawn[:, :k], drawn[:, k:]

    # --- errors with family parts ---------------------------------------------------------------------------------------------------

    def _families(self, state: State, errors: np.ndarray, weight: np.ndarray, ideal: np.ndarray, rng: np.random.Generator) -> None:
        """Family parts are drawn for each material; given them every theory is a regression of its own."""
        ran = np.isfinite(self.calculations.x)
        errors = np.where(ran, errors, 0.0)
        shared = self._shared(state, errors, weight, ran, rng) if self.errors.membership.shape[1] else 0.0
        tau = ideal - self.calculations.centre
        values = errors + state[f"{self.name}_bias"][:, None] + state[f"{self.name}_slope"][:, None] * tau[..., None] - shared
        w = np.where(ran, weight[..., None] / state[f"{self.name}_own"][:, None] ** 2, 0.0)
        a = np.stack([w.sum(1), (w * tau[..., None]).sum(1), (w * tau[..., None] ** 2).sum(1)])
        a[0] += state[f"{self.name}_bias_scale"][:, None] ** -2.0
        a[2] += state[f"{self.name}_slope_scale"][:, None] ** -2.0
        side = (w * values).sum(1), (w * values * tau[..., None]).sum(1) + state[f"{self.name}_slope_scale"][:, None] ** -2.0
        det = a[0] * a[2] - a[1] ** 2
        mean = (a[2] * side[0] - a[1] * side[1]) / det, (a[0] * side[1] - a[1] * side[0]) / det
        slope = mean[1] + np.sqrt(a[0] / det) * rng.standard_normal(det.shape)
        bias = mean[0] - a[1] / a[0] * (slope - mean[1]) + rng.standard_normal(det.shape) / np.sqrt(a[0])
        state[f"{self.name}_bias"], state[f"{self.name}_slope"] = bias, slope
        left = np.where(ran, values - bias[:, None] - slope[:, None] * tau[..., None], 0.0)
        square, count = (weight[..., None] * left**2).sum(1), ran.sum(0)
        self._step(state, f"{self.name}_own", _of_scale(count, square), rng)
        state["_covariance"] = self.errors.centre(state[f"{self.name}_own"], self._family(state))

    def _shared(self, state: State, errors: np.ndarray, weight: np.ndarray, ran: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The family parts of the errors, shape (C, M, K), and the families' scales given them."""
        member = self.errors.membership
        inside = (ran[None] / state[f"{self.name}_own"][:, None] ** 2) @ member  # (C, M, families)
        side = (errors / state[f"{self.name}_own"][:, None] ** 2) @ member
        precision = inside + state[f"{self.name}_family"][:, None] ** -2.0
        part = side / precision + rng.standard_normal(side.shape) / np.sqrt(precision * weight[..., None])
        touched = (ran.astype(float) @ member > 0)[None]
        square, count = (weight[..., None] * part**2 * touched).sum(1), touched[0].sum(0)
        self._step(state, f"{self.name}_family", _of_scale(count, square), rng)
        return np.asarray(part @ member.T)

    # --- what theories have in common -----------------------------------------------------------------------------------------------

    def _pools(self, state: State, rng: np.random.Generator) -> None:
        """Scales of biases and slopes, and the log-normal population of own scales."""
        name = self.name
        for what, centre in (("bias", 0.0), ("slope", 1.0)):
            square = ((state[f"{name}_{what}"] - centre) ** 2).sum(axis=1)
            self._step(state, f"{name}_{what}_scale", _of_scale(self.errors.size, square), rng)
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
        return self.steps.setdefault(name, np.full(shape, np.log(0.3)))

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

    def _one_by_one(self, state: State, precision: np.ndarray, rng: np.random.Generator) -> None:
        """A step of each own scale and each family's, one after the other: their squares enter S0 by a matrix of rank one each."""
        own, family = state[f"{self.name}_own"], self._family(state)
        inverse = np.linalg.inv(self.errors.centre(own, family))
        k = self.errors.size
        for name, directions in ((f"{self.name}_own", np.eye(k)), (f"{self.name}_family", self.errors.membership.T)):
            if not len(directions):
                continue
            here = state[name].copy()
            length = self._length(name, here.shape[1:])
            there = here * np.exp(np.exp(length) * rng.standard_normal(here.shape))
            prior = np.log(there / here) + self._log_prior(state, name, there) - self._log_prior(state, name, here)
            limit = np.log(rng.random(here.shape))
            for j, v in enumerate(directions):
                more = there[:, j] ** 2 - here[:, j] ** 2
                half = inverse @ v
                grown = 1 + more * (half @ v)
                change = 0.5 * self.errors.degrees * np.log(grown) - 0.5 * self.errors.scale * more * ((precision @ v) @ v)
                taken = limit[:, j] < change + prior[:, j]
                here[taken, j] = there[taken, j]
                inverse -= (np.where(taken, more / grown, 0.0)[:, None] * half)[:, :, None] * half[:, None, :]
                length[j] += self.learning * (taken.mean() - _TARGET)
            state[name] = here
