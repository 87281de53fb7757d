"""Hyperparameters of heavy-tailed or censored parts given the other coefficients, with everything local integrated out.

Local factors pin the hyperparameters they were drawn with, and so do effects of specimens measured once: which part of a deviation is
noise and which the specimen's own is then nearly fixed by the current draw of the effects. So psi moves together with the local effects U
(`realmat.algebra.local_effects`), local factors and latent values integrated out. A move to psi' draws every U from its grid at psi' and
is accepted with the ratio of  p(psi) prod p(U, y | psi, rest) / q_psi(U);  the ratio inside hardly depends on U, and the grids need not be
exact (a pseudo-marginal Metropolis step: Andrieu & Roberts, Annals of Statistics 37, 697, 2009).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from realmat.algebra import System, auxiliary, local_effects
from realmat.algebra.family import Family
from realmat.algebra.local_effects import LocalEffects
from realmat.algebra.space import Space
from realmat.terms.term import Values, degrees, evaluate


class _Reads(dict[str, Any]):
    """Values that note which of them are read."""

    def __init__(self, values: Values) -> None:
        super().__init__(values)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.names.add(name)
        return super().__getitem__(name)


class Local:
    """Which hyperparameters belong to heavy-tailed or censored parts alone.

    Attributes
    ----------
    effects : LocalEffects, optional
    index : int array
        Places in theta of the hyperparameters that move here.
    scales : int array
        Those among them that are no degrees of freedom.
    rest : int array
        Places of all others.
    """

    def __init__(self, system: System, space: Space) -> None:
        self.system, self.space = system, space
        self.effects = local_effects.find(system)
        prior = f"{self.effects.block.name}_prior" if self.effects else ""
        self.families = [f for f in system.families if (f.augmented or (self.effects and f is system.families[0])) and f.name != prior]
        self.prior = next((f for f in system.families if f.name == prior), None)
        names = self._own() - self._others()
        self.index = self._places(names)
        self.scales = self._places(names - {f.noise.nu for f in system.families if isinstance(f.noise.nu, str)})
        self.rest = np.setdiff1d(np.arange(space.size), self.index)
        if self.effects:
            response, rows = system.families[0], self.effects.rows
            self.row_key, self.row_count = response.key[rows], response.count[rows]

    def _places(self, names: set[str]) -> np.ndarray:
        inside = [
            np.arange(where.start, where.stop) for q, where in zip(self.space.params, self.space.slices, strict=True) if q.name in names
        ]
        return np.concatenate([np.zeros(0, dtype=int), *inside])

    @property
    def row_side(self) -> np.ndarray:
        """Censoring of the rows of local effects."""
        assert self.effects is not None
        censored = self.system.families[0].noise.censored
        return np.zeros(len(self.effects.rows), dtype=int) if censored is None else np.asarray(censored)[self.effects.rows]

    def noise_names(self) -> set[str]:
        """Hyperparameters of the response's noise, without degrees of freedom."""
        return self._read([self.system.families[0]])

    def _read(self, families: Iterable[Family]) -> set[str]:
        p = _Reads(self.system.example)
        for family in families:
            family.variance(p)
        return p.names

    def _own(self) -> set[str]:
        names = self._read(self.families) | {f.noise.nu for f in self.families if isinstance(f.noise.nu, str)}
        if self.effects:
            p = _Reads(self.system.example)
            evaluate(self.effects.block.sd, p)
            nu = self.effects.block.nu
            names |= p.names | ({nu} if isinstance(nu, str) else set())
        return names

    def _others(self) -> set[str]:
        """Hyperparameters that anything else depends on, or the mean of a row or effect."""
        families = self.system.families
        p = _Reads(self.system.example)
        for family in families:
            family.scale_values(p)
            family.offset(p)
        for block in self.system.plain:
            evaluate(block.mean, p)
            if not (self.effects and block is self.effects.block):
                evaluate(block.sd, p)
        return p.names | self._read(f for f in families if f is not self.prior and all(f is not g for g in self.families))


class Site:
    """log p(psi, U | the other coefficients, y) at one draw of the coefficients, up to a constant.

    Attributes
    ----------
    effects : array
        The local effects U as they are.
    """

    def __init__(self, local: Local, theta: np.ndarray, centred: np.ndarray) -> None:
        self.local = local
        values = local.space.values(theta)
        self.residuals = [f.y - f.offset(values) - f.at(values) @ centred for f in local.families]
        self.effects = np.zeros(0)
        own = local.effects
        if own is None:
            return
        whole = centred[own.columns]
        if local.prior is not None:
            prior = local.prior
            self.deviation = prior.offset(values) + prior.at(values) @ centred - prior.y
        else:
            self.deviation = whole - local.system.prior_moments(values)[0][own.columns]
        self.effects = whole[own.chosen]
        self.centre = self.effects - self.deviation[own.chosen]
        self.left = self.residuals[0][own.rows] + self.effects[own.owner]  # what the rows leave for their effects

    def value(self, theta: np.ndarray, effects: np.ndarray, rng: np.random.Generator | None = None) -> float:
        """Log density at theta and at `effects`, less that of drawing the effects; with `rng` they are drawn first, in place."""
        local = self.local
        with np.errstate(all="ignore"):
            values = local.space.values(theta)
            total = local.space.log_prior(theta, values)
            if not math.isfinite(total):
                return -math.inf
            for k, family in enumerate(local.families):
                variance, residual, nu = family.variance(values), self.residuals[k], auxiliary.degrees(family, values)
                if k == 0 and local.effects is not None:
                    total += self._effects(local.effects, values, variance, nu, effects, rng)
                    residual = residual.copy()
                    residual[local.effects.rows] = self.left - effects[local.effects.owner]
                total += auxiliary.log_density(family, residual, variance, nu)
        return total if math.isfinite(total) else -math.inf

    def _effects(
        self, own: LocalEffects, values: Values, variance: np.ndarray, nu: float, effects: np.ndarray, rng: np.random.Generator | None
    ) -> float:
        """log p(U | psi) - log q(U)."""
        local = self.local
        nu_effects = float(degrees(own.block.nu, values)) if own.block.nu else math.inf
        tau = np.asarray(evaluate(own.block.sd, values), dtype=float)
        each = np.full(len(own.chosen), tau) if tau.ndim == 0 else tau[own.chosen]
        sd = np.sqrt(variance[local.row_key] / local.row_count)
        uniform = None if rng is None else rng.random(len(effects))
        log_q = own.grid(self.left, local.row_side, sd, nu, self.centre, each, nu_effects, effects, uniform)
        deviation = self.deviation.copy()
        deviation[own.chosen] = effects - self.centre
        log_scale = own.block.size * math.log(tau) if tau.ndim == 0 else float(np.log(tau).sum())
        return auxiliary.log_standard(deviation / tau, nu_effects) - log_scale - log_q
