"""Calculations that were not run, as candidates of what to do next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from scipy import sparse

from realmat.attribution.candidates import Lines, rows_in_words
from realmat.attribution.theories import consensus_of, theories_of
from realmat.posterior.draws import Posterior
from realmat.table.table import ROW
from realmat.terms.term import Values
from realmat.theory.consensus_update import Update


class _Told:
    """What the calculations that were run say of those that were not, at one psi after another."""

    def __init__(self, update: Update) -> None:
        self.update = update
        self._seen: tuple[Values, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] | None = None

    def at(self, values: Values) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """S, lambda (materials,), ``S W`` of each pattern (patterns, K, K), and ``S W (x - c - bias)`` of each material (materials, K)."""
        if self._seen is None or self._seen[0] is not values:
            self._seen = values, self._made(values)
        return self._seen[1]

    def _made(self, values: Values) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        calculations, name = self.update.calculations, self.update.name
        covariance = self.update.errors.covariance(values)
        hard = np.ones(calculations.size[0]) if self.update.nu is None else values[f"{name}_hardness"]
        weights = calculations.weights(covariance, hard)
        away = calculations.errors(values[f"{name}_bias"], values[f"{name}_slope"], np.full(len(hard), calculations.centre))
        return covariance, hard, covariance @ weights, calculations.applied(weights, away) @ covariance


@dataclass
class Runs(Lines):
    """One theory run for some materials, the others' calculations being known.

    Given the calculations x_o of a material and its ideal value t, that of theory k is normal about ``c + bias_k + S_ko W (x_o - c -
    bias_o) + (s_k - S_ko W s_o) (t - c)``, with the variance that S leaves it.
    """

    index: ClassVar[str] = "materials"
    once: ClassVar[bool] = True
    told: _Told = field(kw_only=True)
    theory: int = field(kw_only=True)
    materials: np.ndarray = field(kw_only=True)
    level: str = field(kw_only=True)
    labels: np.ndarray = field(kw_only=True)

    def _line(self, values: Values) -> tuple[np.ndarray, np.ndarray]:
        """Slope in the ideal value and what is added to it, each of shape (n,)."""
        update, k = self.told.update, self.theory
        slope, centre = values[f"{update.name}_slope"], update.calculations.centre
        _, _, gain, told = self.told.at(values)
        own = (slope[k] - update.calculations.by_material(gain[:, k] @ slope))[self.materials]
        return own, centre + values[f"{update.name}_bias"][k] + told[self.materials, k] - own * centre

    def at(self, posterior: Posterior, values: Values) -> tuple[sparse.csr_matrix, np.ndarray]:
        own, offset = self._line(values)
        picked = self._picked(posterior, self.told.update.block, self.materials)
        return sparse.csr_matrix((own, picked.indices, picked.indptr), shape=picked.shape), offset

    def noise(self, posterior: Posterior, values: Values) -> np.ndarray:
        return self._left_open(self.theory, values) + self.told.update.calculations.typical[self.theory]

    def shared(self, other: Lines, values: Values) -> np.ndarray | None:
        """Theories err together: calculations of the same material share what the known ones leave open of their errors."""
        if not isinstance(other, Runs):
            return super().shared(other, values)
        return np.where(self.materials[:, None] == other.materials, self._left_open(other.theory, values)[:, None], 0.0)

    def _left_open(self, other: int, values: Values) -> np.ndarray:
        """Covariance of the errors of this theory and another given those of the calculations that were run, shape (n,)."""
        covariance, hard, gain, _ = self.told.at(values)
        known = self.told.update.calculations.by_material(gain[:, self.theory] @ covariance[:, other])
        return np.asarray((hard * (covariance[self.theory, other] - known))[self.materials])

    def draws(self, posterior: Posterior, indices: np.ndarray) -> np.ndarray:
        lines = (self._line(posterior.values(int(i))) for i in indices)
        ideal = posterior.block(self.told.update.block, indices)[:, self.materials]
        return np.array([own * t + offset for (own, offset), t in zip(lines, ideal, strict=True)])


def runs(posterior: Posterior) -> list[Lines]:
    """Every calculation of a consensus that was not run."""
    update = consensus_of(posterior)
    if update is None:
        return []
    block = next(c for c in posterior.problem.coefficients if c.name == update.block)
    whose = [f"{block.level} {label}" for label in block.coords]
    if block.level == ROW:  # rows without a measurement among them
        whole = posterior.problem.cells.whole
        said, first = rows_in_words(whole), np.unique(whole.level(ROW).codes, return_index=True)[1]
        whose = [said[k] for k in first]
    out: list[Lines] = []
    told = _Told(update)
    for k, theory in enumerate(theories_of(posterior)):
        absent = np.flatnonzero(~np.isfinite(update.calculations.x[:, k]))
        if len(absent):
            what = [f"{theory} of {whose[m]}" for m in absent]
            out.append(Runs(theory, what, level=str(block.level), labels=block.coords, told=told, theory=k, materials=absent))
    return out
