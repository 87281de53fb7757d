"""Curves read with heavy tails or limits, beside few effects: importance sampling of hyperparameters and effects together.

Given psi the effects are nearly normal about their mode, where each row is stood for by a normal one (Tierney & Kadane, J. Am. Stat. Assoc.
81, 82, 1986). That tells nearly how likely psi is, so that it is explored like that of normal rows. Effects are then drawn from the normal
with each psi, and the weight of both is exact: what rows say at these effects over what their stand-ins say there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from realmat.algebra import System
from realmat.algebra.batch import BatchConditional, ConditionalList
from realmat.algebra.batching import Batch
from realmat.algebra.space import Space
from realmat.engines.chains.target import Target
from realmat.engines.exact import plain
from realmat.engines.exact.curve import Curve
from realmat.engines.exact.space import Density, Solved
from realmat.terms.problem import native

_FEW, _FEW_HEAVY = 400, 50  # effects, and beside heavy tails, whose errors as normal ones do not add up to too much
_STEPS = 2  # towards the mode
_TRIED = 4  # psi on which functions of it are tried
_NOTHING = 1e-12  # of a precision


def suits(system: System) -> bool:
    """Whether a system is one that this is for."""
    problem = system.problem
    if not system.augmented or not system.as_declared or len(problem.every) > 1:
        return False
    heavy = any(rows.noise.nu for rows in problem.rows) or any(block.nu for block in problem.coefficients)
    if system.size > (_FEW_HEAVY if heavy else _FEW) or any(native(rows.noise) or np.any(rows.count != 1) for rows in problem.rows):
        return False
    bent = len(Curve(Density(system, aux=_measured(system))).index)
    return bool(bent) and len(plain.measured(problem.response_rows)) >= plain.FEWEST * bent


class Normalised(Density):
    """The density of the hyperparameters with the effects given these taken as normal."""

    drawn = True

    def __init__(self, system: System, space: Space | None = None) -> None:
        super().__init__(system, space, _measured(system))
        around = np.repeat(self.space.start()[None], _TRIED, axis=0)
        self._target = Target(system, self.space, around)

    def again(self, system: System, space: Space | None = None) -> Normalised:
        """See `Density.again`."""
        return Normalised(system, space)

    def solve(self, thetas: np.ndarray) -> tuple[np.ndarray, BatchConditional | ConditionalList]:
        """See `Density.solve`."""
        total, solved, values, rows = self._stood(thetas)
        b = np.zeros((len(thetas), self.system.size))
        solved.centred(b)
        return self._weighed(total, values, rows, b), solved

    def proposed(self, thetas: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, Solved]:
        """See `Density.proposed`."""
        total, solved, values, rows = self._stood(thetas)
        b = rng.standard_normal((len(thetas), self.system.size))
        solved.centred(b)
        return self._weighed(total, values, rows, b), _Drawn(self.system.natural(b))

    def _stood(self, thetas: np.ndarray) -> tuple[np.ndarray, BatchConditional | ConditionalList, Batch, Batch]:
        """Log density of normal rows that stand for all others near the mode at each theta, the factorised batch, psi, and these rows."""
        n = len(thetas)
        self.evaluations += n
        with np.errstate(all="ignore"):
            values, prior = self.space.many(thetas)
            rows: Batch = self.standing(n)
            for _ in range(_STEPS):
                rows = self._target.gaussian(values, self._target.modes(values, rows, n))
            solved = self.system.many.at({**values, **rows}, n)
        return prior + solved.log_marginal, solved, values, rows

    def _weighed(self, total: np.ndarray, values: Batch, rows: Batch, b: np.ndarray) -> np.ndarray:
        """With what rows say at b, shape (n, coefficients), from the reference and in elimination order, in place of their stand-ins."""
        with np.errstate(all="ignore"):
            total = total + self._target.beyond(values, rows, np.ascontiguousarray(b.T))
        return np.where(np.isfinite(total), total, -np.inf)


class _Drawn:
    """Effects that were drawn with their weights, shape (n, coefficients), natural order."""

    def __init__(self, b: np.ndarray) -> None:
        self._b = b

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """As `BatchConditional.draw`, but always the same."""
        return self._b

    def moments(self, weights: np.ndarray, rng: np.random.Generator, centre: np.ndarray) -> np.ndarray:
        """As `BatchConditional.moments`, of these draws."""
        used = weights > 0
        away = self._b[used] - centre
        return np.stack([weights[used] @ away, weights[used] @ np.square(away)])


def _measured(system: System) -> Mapping[str, np.ndarray]:
    """Rows as if their noise were normal, and those beyond limits next to nothing: where a search for modes begins."""
    out = dict(system.example_auxiliary())
    for f in system.row_blocks:
        if f.augmented:
            limit = np.zeros(len(f.y), dtype=bool) if f.declared.censored is None else f.declared.censored != 0
            out[f.local] = np.where(limit, 1 / _NOTHING, 1.0)
            out.setdefault(f.latent, f.y + f.known + f.centre)
    return out
