"""Noise that is not independent from reading to reading: a drift of the instrument within each run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from realmat.errors import DataError
from realmat.table.table import Column, Table
from realmat.terms.component import Component, PriorLike, Scale, hyper
from realmat.terms.hilbert import Basis, check_process, lost, resolved
from realmat.terms.priors import Prior
from realmat.terms.term import Coefficients, Fresh, Piece


@dataclass(frozen=True)
class Drift(Component):
    """A smooth, unknown function of time in each run, which readings close in time share: autocorrelated noise.

    ``d_r(t) ~ GP(0, scale^2 k(t, t'; lengthscale))``, with k a Matern kernel: a reading a lengthscale later has forgotten half of it. Runs
    drift independently, alike in scale and lengthscale; a new run, or a time outside the range of the fit's, has a drift of its own.

    Parameters
    ----------
    along : str
        Column of times, or of the order of readings, counted from the start of each run.
    by : str, optional
        Level or column of runs; one run by default.
    lengthscale : Prior or float, optional
        In standard deviations of the times; default LogNormal around 1, cut where the basis resolves no shorter one.
    scale : Prior or float, optional
        Standard deviation of the drift; default HalfNormal(sd of what theory leaves).
    kernel : {"matern32", "matern52", "expquad"}
        How smooth: the first is the roughest, and nearest to a first-order autoregression.
    name : str, optional

    Raises
    ------
    realmat.ModelError
        For an unknown kernel, or a scale or lengthscale that is not positive.

    Notes
    -----
    Variables: `drift` or `drift_<by>` (weights of the basis, run after run), `<name>_lengthscale`, `<name>_scale`. Gaussian process by a
    basis of sines: Solin & Saerkkae, Stat. Comput. 30, 419 (2020). Drift within runs as a part of the measurement's uncertainty: JCGM
    100:2008, F.2.4.5.

    Examples
    --------
    >>> Drift(along="minutes", by="run").label
    'drift_run'
    """

    layer: ClassVar[str] = "observation"
    along: str
    by: str | None = None
    lengthscale: PriorLike = None
    scale: PriorLike = None
    kernel: str = "matern32"
    name: str | None = None

    def __post_init__(self) -> None:
        check_process(self, self.kernel)

    @property
    def label(self) -> str:
        """``drift``, ``drift_<by>``, or the name given."""
        return self.name or ("drift" if self.by is None else f"drift_{self.by}")

    def needs(self) -> list[Column]:
        """Times and runs."""
        return [Column(self.along, "time of a reading"), *([] if self.by is None else [Column(self.by, "run", kind="label")])]

    def shared(self, table: Table, scale: Scale) -> Drifts:
        """The drifts of the runs of a table."""
        return Drifts(self, table, scale)


class Drifts:
    """Drifts of runs, bound to the table of a fit."""

    def __init__(self, spec: Drift, table: Table, scale: Scale) -> None:
        self.spec, self.name = spec, spec.label
        x = table.numeric(spec.along)[:, None]
        if np.std(x) == 0:
            raise DataError(f"column {spec.along!r}: one time only, so nothing can drift; leave the drift out.")
        self.basis = basis = Basis.around(x, spec.kernel)
        self.values = np.array(["all"]) if spec.by is None else table.level(spec.by).values
        length_params, length = hyper(f"{self.name}_lengthscale", resolved(basis, spec.prior("lengthscale", 0.0), self.name))
        scale_params, self.sd = hyper(f"{self.name}_scale", spec.prior("scale", Prior("HalfNormal", sigma=scale.response)))
        self.params = (*length_params, *scale_params)
        runs = len(self.values)

        def one(p: Any, xp: Any) -> Any:
            return self.sd(p, xp) * basis.spectral_sd(length(p, xp), xp)

        def weight(p: Any, xp: Any) -> Any:
            return xp.concatenate([one(p, xp)] * runs)

        self._one = one
        size = runs * basis.size
        self.block = Coefficients(self.name, size, weight, dim=f"{self.name}_weight", coords=np.arange(size))

    def on(self, table: Table, fresh_levels: tuple[str, ...]) -> tuple[Piece, tuple[Fresh, ...]]:
        """Drifts on the rows of a table, and what is new of them: runs not seen, and times beyond those of the fit."""
        n, m = len(table), self.basis.size
        x = table.numeric(self.spec.along)[:, None]
        codes = np.zeros(n, dtype=int) if self.spec.by is None else table.codes_in(self.spec.by, self.values)
        codes = np.full(n, -1) if self.spec.by in fresh_levels else codes
        phi = np.where(codes[:, None] >= 0, self.basis.at(x), 0.0)
        where = np.maximum(codes, 0)[:, None] * m + np.arange(m)
        matrix = sparse.csr_matrix((phi.ravel(), where.ravel(), np.arange(n + 1) * m), shape=(n, self.block.size))
        matrix.eliminate_zeros()
        new = (codes < 0) | self.basis.outside(x)
        if not new.any():
            return Piece(self.name, matrix), ()
        run = np.zeros(n) if self.spec.by is None else table.level(self.spec.by).codes
        _, own = np.unique(np.column_stack([run, x[:, 0]]), axis=0, return_inverse=True)
        groups = np.where(new, own.reshape(-1), -1)
        return Piece(self.name, matrix), (Fresh(groups, lost(phi, self.sd, self._one), part=self.sd),)
