"""What calculations that were not run would tell: how far variances are expected to fall were they all run.

Given psi, all missing calculations of a material are one more reading of its ideal value t, of a precision J that does not depend on what
they turn out to be. A quantity q loses ``cov(q, t)^2 J / (1 + J var(t))`` of its variance by it, exactly in a Gaussian model (Chaloner &
Verdinelli, Stat. Sci. 10, 273, 1995); what they would tell of psi is not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from realmat.attribution.theories import consensus_of
from realmat.posterior.contributions import Stream
from realmat.posterior.draws import Posterior
from realmat.terms.problem import nonlinear_terms
from realmat.terms.term import Values
from realmat.theory.consensus_update import Update

_DRAWS = 200
type Quantities = Callable[[Values], tuple[sparse.csr_matrix, np.ndarray]]
"""X and offset, of shapes (n, coefficients) and (n,), at one psi."""


@dataclass(frozen=True)
class Missing:
    """The calculations of a consensus that were not run."""

    posterior: Posterior
    update: Update
    component: str

    @classmethod
    def of(cls, posterior: Posterior) -> Missing | None:
        """Those of a fit; None where it has no consensus, or effects that are not linear given their parameters."""
        update = consensus_of(posterior)
        if update is None or nonlinear_terms(posterior.problem):
            return None
        return cls(posterior, update, next(t.component for t in posterior.problem.terms if t.update is update))

    @property
    def name(self) -> str:
        """What tables call them."""
        return f"{self.component}_missing"

    def whose(self, stream: Stream) -> sparse.csr_matrix:
        """Whose ideal value the cells of a stream have: ones, shape (cells, values)."""
        return stream.contributions[stream.components.index(self.component)].pieces[0].matrix

    def of_ideal(self, average: sparse.csr_matrix) -> np.ndarray:
        """Share of the variance of averages of ideal values, matrix of shape (n, values), that would go: shape (n,).

        Of several ideal values each is counted as if it were known apart from the others.
        """
        where = self.posterior.system.columns[self.update.block]
        wide = average.tocoo()
        x = sparse.csr_matrix((wide.data, (wide.row, wide.col + where.start)), shape=(len(average.indptr) - 1, self.posterior.system.size))
        return self._share(lambda values: (x, np.zeros(x.shape[0])), wide.row, wide.col)

    def of_cells(self, stream: Stream) -> np.ndarray:
        """Share of the noiseless variance of each cell of a stream that would go by the calculations of its material, shape (cells,)."""
        from realmat.attribution.candidates import Rows

        whose = self.whose(stream).tocoo()
        rows = Rows("", [""] * len(stream), stream=stream, cells=np.arange(len(stream)))
        return self._share(lambda values: rows.at(self.posterior, values), whose.row, whose.col)

    def of_fresh(self, stream: Stream, draws: slice) -> np.ndarray:
        """Share of the variance of a new material's ideal value that would go, at some draws of a stream: shape (cells, draws)."""
        calculations = self.update.of_table(stream.table)
        out = []
        for i in stream.indices[draws]:
            values = self.posterior.values(int(i))
            open_ = values[f"{self.update.name}_spread"] ** -2.0
            now, then = self.update.precisions(values, calculations), self.update.precisions(values, calculations.complete)
            out.append(1 - (now + open_) / (then + open_))
        return np.maximum(np.stack(out, axis=1), 0.0)

    def _share(self, quantities: Quantities, which: np.ndarray, whose: np.ndarray) -> np.ndarray:
        """Share of the variance of quantities; pairs say of which of them the missing calculations of which ideal values count."""
        posterior, update = self.posterior, self.update
        used, place = np.unique(whose, return_inverse=True)
        picked = np.arange(posterior.system.size)[posterior.system.columns[update.block]][used]
        t = sparse.csr_matrix((np.ones(len(used)), picked, np.arange(len(used) + 1)), shape=(len(used), posterior.system.size))
        falls, variances, means = [], [], []
        for i in posterior.thin(_DRAWS):
            values = posterior.values(int(i))
            at = posterior.system.at(values)
            x, offset = quantities(values)
            own, ideal = at.halves(x), at.halves(t)
            more = update.untold(values)[used]
            fall = own.paired(ideal, which, place) ** 2 * (more / (1 + more * ideal.variances()))[place]
            falls.append(np.bincount(which, weights=fall, minlength=x.shape[0]))
            variances.append(own.variances())
            means.append(x @ at.mean + offset)
        whole = np.mean(variances, axis=0) + np.var(means, axis=0)
        return np.mean(falls, axis=0) / np.where(whole > 0, whole, 1.0)
