"""A smooth discrepancy over descriptors."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from realmat.errors import DataError, ModelError
from realmat.table.table import Column, Table
from realmat.terms.component import Component, PriorLike, Scale, freeze, hyper
from realmat.terms.effect import joined
from realmat.terms.field import Field, carrying, distinct
from realmat.terms.hilbert import MOST_BASIS, Basis, check_process, lost, resolved
from realmat.terms.priors import Prior
from realmat.terms.term import Coefficients, Contribution, Fresh, Piece, Term, stored_name


@dataclass(frozen=True)
class Discrepancy(Component):
    """``D(x) ~ GP(0, scale^2 k(x, x'; lengthscale))``: what theory misses as a smooth function of descriptors, a length scale each.

    With up to three descriptors a Hilbert-space approximation: D = sum_j b_j phi_j(x) with sines phi_j on a box around the data and
    b_j ~ N(0, S(omega_j; scale, lengthscale)), S the kernel's spectral density. With more, the values at distinct points under their dense
    covariance; beyond 1500 distinct points carried by 400 of them. Coefficients are integrated out exactly either way.

    Parameters
    ----------
    on : str or list of str
        Descriptor columns, known on every row. They are standardised: a lengthscale of 1 is one standard deviation of the descriptor.
    kernel : {"matern52", "matern32", "expquad"}
    lengthscale : Prior or float, optional
        One for each descriptor; default log-normal around 1 (sd 0.5 of the logarithm), cut where the basis ends to resolve. With more than
        three descriptors log-normal around 33 (sd 2.5), which lets those that do not matter grow long.
    scale : Prior or float, optional
        Standard deviation of D; default a half normal of the size of what theory leaves. With more than three descriptors of 20 times
        that: a trend is the middle of something long and large.
    additive : bool
        A sum of one-dimensional smooths, `<name>_<descriptor>`, instead of one function of all.
    name : str, optional

    Notes
    -----
    Solin & Saerkkae, Stat. Comput. 30, 419 (2020); box and number of functions after Riutort-Mayol et al., Stat. Comput. 33, 17 (2023).

    *It cannot absorb the theory parameters.* A free Gaussian process would share the straight line with `Calibrated`, and its intercept and
    slope would mean nothing (Kennedy & O'Hagan's confounding: Brynjarsdottir & O'Hagan, Inverse Probl. 30, 114007 (2014)). The basis is
    therefore made orthogonal, over the measured rows, to the constant and to the theory columns: phi - H (H'H)^-1 H'phi, and the theory
    parameters are those of the best line (restricted regression: Hodges & Reich, Am. Stat. 64, 325 (2010); for calibration,
    Plumlee, J. Am. Stat. Assoc. 112, 1274 (2017)). The price: what the line and the discrepancy could share is given to the line, so its
    interval is that of the best line, not of a line plus anything smooth.

    Beyond the range of the data the prior variance that the sines lose towards the edge of their box is put back, row by row, so that an
    extrapolation is as uncertain as the prior says. Variables: `<name>` (b), `<name>_lengthscale`, `<name>_scale`.

    Examples
    --------
    >>> Discrepancy(on=["vec", "delta"]).label
    'discrepancy_vec_delta'
    """

    layer: ClassVar[str] = "material"
    about: ClassVar[tuple[str, ...]] = ("on",)
    on: tuple[str, ...]
    kernel: str = "matern52"
    lengthscale: PriorLike = None
    scale: PriorLike = None
    additive: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "on", (self.on,) if isinstance(self.on, str) else freeze(self.on))
        if not self.on or len(set(self.on)) < len(self.on):
            raise ModelError(f"{self.label}: on= takes one or more different descriptors, not {', '.join(map(repr, self.on)) or 'none'}.")
        check_process(self, self.kernel)

    def needs(self) -> list[Column]:
        """The descriptors."""
        return [Column(column, "descriptor") for column in self.on]

    def default_priors(self) -> dict[str, str]:
        """Defaults in words."""
        return {"lengthscale": "LogNormal around 1 sd of the descriptor", "scale": "HalfNormal(sd of what theory leaves)"}

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term with the basis weights `<name>`, `<name>_lengthscale` and `<name>_scale`."""
        name = self.label
        x = self._descriptors(table)
        constant = [column for column, values in zip(self.on, x.T, strict=True) if np.std(values) == 0]
        if constant:
            raise DataError(f"{name}: {', '.join(map(repr, constant))} has one value only, so nothing can be smooth over it; leave it out.")
        if self.additive and len(self.on) > 1:
            alone = [dataclasses.replace(self, on=(d,), additive=False, name=stored_name(f"{name}_{d}")) for d in self.on]
            return joined(self, *(part.bind(table, scale) for part in alone))
        if len(self.on) > MOST_BASIS:
            return self._many(table, scale, x)
        basis = Basis.around(x, self.kernel)
        lengthscale = resolved(basis, self.prior("lengthscale", 0.0), self.label)
        dim, coords = (f"{name}_descriptor", np.array(self.on, dtype=object)) if len(self.on) > 1 else (None, None)
        length_params, length = hyper(f"{name}_lengthscale", lengthscale, dim, coords)
        scale_params, sd = hyper(f"{name}_scale", self.prior("scale", Prior("HalfNormal", sigma=scale.response)))

        def weight(p: Any, xp: Any) -> Any:
            return sd(p, xp) * basis.spectral_sd(length(p, xp), xp)

        block = Coefficients(name, basis.size, weight, dim=f"{name}_basis", coords=np.arange(basis.size))
        shared = _shared(_lines(table, scale.theory), basis.at(x), table.count)

        def contribute(other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
            x = self._descriptors(other)
            phi = basis.at(x)
            piece = Piece(name, sparse.csr_matrix(phi - _lines(other, scale.theory) @ shared))
            outside = basis.outside(x)
            if not outside.any():
                return Contribution((piece,))
            groups = np.where(outside, np.arange(len(other)), -1)
            return Contribution((piece,), fresh=(Fresh(groups, lost(phi, sd, weight)),))

        return Term(name, "material", (*length_params, *scale_params), (block,), contribute)

    def _many(self, table: Table, scale: Scale, x: np.ndarray) -> Term:
        """Many descriptors: values at distinct points under a dense covariance."""
        name = self.label
        prior = self.prior("lengthscale", Prior("LogNormal", mu=3.5, sigma=2.5))
        length_params, length = hyper(f"{name}_lengthscale", prior, f"{name}_descriptor", np.array(self.on, dtype=object))
        scale_params, sd = hyper(f"{name}_scale", self.prior("scale", Prior("HalfNormal", sigma=20 * scale.response)))
        unit = x.std(axis=0)
        at, where = distinct(x / unit)
        lines = _lines(table, scale.theory)
        shared = _shared(lines, np.eye(len(table)), table.count)
        process = Field(name, self.kernel, carrying(at), at, where, lines, shared, length, sd)
        block = Coefficients(name, len(process.points), 1.0, dim=f"{name}_point", coords=np.arange(len(process.points)))

        def contribute(other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
            if other is table:
                return Contribution(nonlinear=process.on_rows, field=process)
            there, along = self._descriptors(other) / unit, _lines(other, scale.theory)
            fresh = Fresh(np.arange(len(other)), lambda p, xp: process.left(there, p))
            return Contribution(nonlinear=lambda p, b, xp: process.elsewhere(there, along, p, b), fresh=(fresh,))

        return Term(name, "material", (*length_params, *scale_params), (block,), contribute)

    def _descriptors(self, table: Table) -> np.ndarray:
        return np.column_stack([table.numeric(column) for column in self.on])


def _lines(table: Table, theory: tuple[str, ...]) -> np.ndarray:
    """H: the constant and the theory columns, shape (rows, 1 + columns)."""
    return np.column_stack([np.ones(len(table)), *(table.link_values(column) for column in theory)])


def _shared(lines: np.ndarray, phi: np.ndarray, count: np.ndarray) -> np.ndarray:
    """What of the basis lies along the lines, ``(H'WH)^-1 H'W phi``, with rows weighted by their number of measurements."""
    root = np.sqrt(count)[:, None]
    return np.asarray(np.linalg.lstsq(root * lines, root * phi, rcond=None)[0])
