"""Calculations that were not run, as candidates of what to do next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from scipy import sparse

from realmat.attribution.candidates import Lines, rows_in_words
from realmat.attribution.theories import consensus_of
from realmat.posterior.draws import Posterior
from realmat.table.table import ROW
from realmat.terms.term import Values
from realmat.theory.consensus_update import Update


@dataclass
class Runs(Lines):
    """One theory run for some materials: each tells of the ideal value what the others have not told.

    Given the calculations x_o of a material, that of theory k has slope ``s_k - S_ko W s_o`` in the ideal value t and the variance that
    S leaves it: a reading of t of its own.
    """

    index: ClassVar[str] = "materials"
    update: Update = field(kw_only=True)
    theory: int = field(kw_only=True)
    materials: np.ndarray = field(kw_only=True)
    level: str = field(kw_only=True)
    labels: np.ndarray = field(kw_only=True)

    def at(self, posterior: Posterior, values: Values) -> tuple[sparse.csr_matrix, np.ndarray]:
        return self._picked(posterior, self.update.block, self.materials), np.zeros(len(self))

    def noise(self, posterior: Posterior, values: Values) -> np.ndarray:
        calculations, k = self.update.calculations, self.theory
        covariance, slope = self.update.errors.covariance(values), values[f"{self.update.name}_slope"]
        hard = None if self.update.nu is None else values[f"{self.update.name}_hardness"]
        weights = calculations.weights(covariance, hard)
        gain = covariance[k] @ weights  # (patterns, K)
        absent = 1 - calculations.ran[:, k]
        own, left = slope[k] - gain @ slope, covariance[k, k] - gain @ covariance[:, k]
        own, left = calculations.by_material(absent * own), calculations.by_material(np.where(absent > 0, left, 1.0))
        silent = calculations.count == 0
        own[silent], left[silent] = slope[k], covariance[k, k]
        scale = np.ones(len(own)) if hard is None else hard
        told = own**2 / (scale * left + self._u2())
        return np.asarray(1 / np.maximum(told[self.materials], 1e-300))

    def _u2(self) -> float:
        """u^2 that a calculation not yet run would have: that of its theory's others, in the middle."""
        ran = np.isfinite(self.update.calculations.x[:, self.theory])
        return float(np.median(self.update.calculations.variance[ran, self.theory]))

    def draws(self, posterior: Posterior, indices: np.ndarray) -> np.ndarray:
        return posterior.block(self.update.block, indices)[:, self.materials]


def runs(posterior: Posterior) -> list[Lines]:
    """Every calculation of a consensus that was not run."""
    update = consensus_of(posterior)
    if update is None:
        return []
    block = next(c for c in posterior.problem.coefficients if c.name == update.block)
    theories = next(q for q in posterior.problem.params if q.name == f"{update.name}_bias").coords
    whose = rows_in_words(posterior.problem.cells) if block.level == ROW else [f"{block.level} {label}" for label in block.coords]
    out: list[Lines] = []
    for k, theory in enumerate(theories):
        absent = np.flatnonzero(~np.isfinite(update.calculations.x[:, k]))
        if len(absent):
            what = [f"{theory} of {whose[m]}" for m in absent]
            out.append(Runs(str(theory), what, level=str(block.level), labels=block.coords, update=update, theory=k, materials=absent))
    return out
