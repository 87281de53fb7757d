"""Readings ``y = eta + sd * standard``: normal or Student t, exact or known only to lie between limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realmat.terms.density import Array, Density, Derivatives, Groups, Own, Parameter, Summed, column, filled, plain
from realmat.terms.standard import NORMAL, STUDENT, Standard
from realmat.terms.term import Noise, Values, degrees

_NARROW = 0.05  # standard deviations: an interval so narrow is integrated by three nodes, where differences would lose digits
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(3)
_LEAST = 1e-3  # of the information of an exact reading


@dataclass(frozen=True)
class Normal(Density):
    """Exact readings with normal noise; own parameter `sd`. A row may be a mean of several, about which they have a sum of squares."""

    count: Array
    within: Array
    names = ("sd",)

    def derivatives(self, y: Array, eta: Array, own: Own) -> Derivatives:
        """Log density and its first derivatives."""
        sd, n, away = own["sd"], self.count[:, None], y[:, None] - eta
        precision = 1 / (sd * sd)
        squares = (n * away * away + self.within[:, None]) * precision
        return Derivatives(-0.5 * squares - n * (np.log(sd) + 0.5 * np.log(2 * np.pi)), n * away * precision, {"sd": (squares - n) / sd})

    def summed(self, y: Array, eta: Array, own: Own, groups: Mapping[str, Groups]) -> Summed:
        """Sums over rows in one loop."""
        return _normal(y, eta, np.zeros(len(y)), self.count, self.within, own, groups)

    def weight(self, y: Array, eta: Array, own: Own) -> Array:
        """Information on `eta`."""
        return np.broadcast_to(self.count[:, None] / np.square(own["sd"]), eta.shape)

    def guess(self, y: Array) -> Array:
        """The readings."""
        return y

    def cdf(self, y: Array, eta: Array, own: Own) -> tuple[Array, Array]:
        """Distribution function of a single reading, twice."""
        out = NORMAL.cdf((y[:, None] - eta) / own["sd"])
        return out, out

    def draw(self, eta: Array, own: Own, rng: np.random.Generator) -> Array:
        """A new reading."""
        return np.asarray(eta + own["sd"] * rng.standard_normal(eta.shape))

    def mean(self, eta: Array, own: Own) -> Array:
        """Mean of a new reading."""
        return eta

    def variance(self, eta: Array, own: Own) -> Array:
        """Variance of a new reading."""
        return np.broadcast_to(np.square(own["sd"]), eta.shape)

    def symbolic(self, pm: Any, y: Array, eta: Any, own: Own) -> Any:
        """Log density of the mean and the sum of squares."""
        each = pm.logp(pm.Normal.dist(eta, own["sd"]), y)
        return self.count * each - 0.5 * self.within / own["sd"] ** 2

    def take(self, rows: Array) -> Normal:
        """Some of the rows."""
        return Normal(self.count[rows], self.within[rows])


@dataclass(frozen=True)
class Interval(Density):
    """A reading y says that the true value lies between ``y - left`` and ``y + right``; exact where both are zero.

    Own parameters `sd`, and `nu` where the noise is Student t. A value below a detection limit has ``left=inf, right=0``, one above
    ``left=0, right=inf``, a rounded one half a digit on either side (Tobin, Econometrica 26, 24, 1958; Sheppard, Proc. London Math. Soc.
    29, 353, 1898).

    Parameters
    ----------
    left, right : array of shape (rows,)
    standard : StandardNormal or StandardT
    count, within : array of shape (rows,), optional
        A row may stand for several alike: equal limits, or the mean of normal readings with a sum of squares about it.
    """

    left: Array
    right: Array
    standard: Standard = NORMAL
    count: Array | None = None
    within: Array | None = None
    exact: Array = field(init=False, repr=False)
    inside: Array = field(init=False, repr=False)
    side: Array | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        bounded = (self.left > 0) | (self.right > 0)
        object.__setattr__(self, "exact", np.flatnonzero(~bounded))
        object.__setattr__(self, "inside", np.flatnonzero(bounded))
        single = ~bounded | (np.isinf(self.left) & (self.right == 0)) | (np.isinf(self.right) & (self.left == 0))
        object.__setattr__(self, "side", np.sign(self.right) - np.sign(self.left) if single.all() else None)

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Own parameters."""
        return ("sd", "nu") if self.standard is STUDENT else ("sd",)

    def derivatives(self, y: Array, eta: Array, own: Own) -> Derivatives:
        """Log density, or log probability, and first derivatives; the distribution function only where limits need it."""
        single = self._single(y, eta, own)
        if self.count is None or (self.count == 1).all():
            return single
        n, sd = self.count[:, None], own["sd"]
        within = 0.0 if self.within is None else self.within[:, None] / (sd * sd)
        out = {name: n * value for name, value in single.own.items()}
        out["sd"] = out["sd"] + within / sd
        return Derivatives(n * single.log - 0.5 * within, n * single.eta, out)

    def summed(self, y: Array, eta: Array, own: Own, groups: Mapping[str, Groups]) -> Summed:
        """Sums over rows in one loop where rows are exact, or normal with one limit each."""
        if self.standard is NORMAL and self.side is not None:
            count, within = np.ones(len(y)) if self.count is None else self.count, np.zeros(len(y)) if self.within is None else self.within
            return _normal(y, eta, self.side, count, within, own, groups)
        alone = self.count is None or (self.count == 1).all()
        if self.standard is STUDENT and alone and not len(self.inside) and groups["nu"].count == 1:
            return _student(y, eta, own, groups)
        return super().summed(y, eta, own, groups)

    def _single(self, y: Array, eta: Array, own: Own) -> Derivatives:
        if not len(self.inside):
            return self._exact(y, eta, own)
        found = [
            (rows, part(y[rows], eta[rows], _of(own, rows), rows)) for rows, part in ((self.exact, self._seen), (self.inside, self._hidden))
        ]
        out = Derivatives(np.empty(eta.shape), np.empty(eta.shape), {name: np.empty(eta.shape) for name in self.names})
        for rows, one in found:
            out.log[rows], out.eta[rows] = one.log, one.eta
            for name in self.names:
                out.own[name][rows] = one.own[name]
        return out

    @property
    def points(self) -> Array:
        """Where readings are exact."""
        return (self.left == 0) & (self.right == 0)

    def _seen(self, y: Array, eta: Array, own: Own, rows: Array) -> Derivatives:
        return self._exact(y, eta, own)

    def _exact(self, y: Array, eta: Array, own: Own) -> Derivatives:
        sd = own["sd"]
        z = (y[:, None] - eta) / sd
        log, slope, in_nu = self.standard.density(z, own.get("nu"))
        named = {"sd": -(1 + slope * z) / sd} | ({} if in_nu is None else {"nu": in_nu})
        return Derivatives(log - np.log(sd), -slope / sd, named)

    def _hidden(self, y: Array, eta: Array, own: Own, rows: Array) -> Derivatives:
        """Between limits: differences of the distribution function, or three nodes where the interval is narrow."""
        left, right = column(self.left[rows]), column(self.right[rows])
        width = left + right
        narrow = np.broadcast_to(width < _NARROW * own["sd"], eta.shape)
        if not narrow.any():
            return self._between(y, eta, own, left, right)
        near = self._nodes(y, eta, own, left, right)
        if narrow.all():
            return near
        far = self._between(y, eta, own, left, right)
        own_of = {name: np.where(narrow, near.own[name], far.own[name]) for name in near.own}
        return Derivatives(np.where(narrow, near.log, far.log), np.where(narrow, near.eta, far.eta), own_of)

    def _between(self, y: Array, eta: Array, own: Own, left: Array, right: Array) -> Derivatives:
        sd, nu = own["sd"], own.get("nu")
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            low, high = (y[:, None] - left - eta) / sd, (y[:, None] + right - eta) / sd
            flip = low > 0  # into the lower tail, where differences keep their digits
            low, high = np.where(flip, -high, low), np.where(flip, -low, high)
            top, rise_high, nu_high = self._below(high, nu)
            bottom, rise_low, nu_low = self._below(low, nu)
            share = np.exp(bottom - top)
            log = top + np.log1p(-share)
            rise_high, rise_low = rise_high / (1 - share), rise_low * share / (1 - share)
            in_sd = (_times(rise_low, low) - _times(rise_high, high)) / sd
            named = {"sd": in_sd}
            if nu_high is not None and nu_low is not None:
                named["nu"] = (nu_high - np.where(share > 0, nu_low, 0.0) * share) / (1 - share)
        return Derivatives(log, (rise_low - rise_high) / sd * np.where(flip, -1.0, 1.0), named)

    def _below(self, z: Array, nu: Any) -> tuple[Array, Array, Array | None]:
        """Log distribution function and derivatives, at infinite limits too."""
        finite = np.isfinite(z)
        if finite.all():
            return self.standard.below(z, nu)
        log, rise = np.where(z > 0, 0.0, -np.inf), np.zeros(z.shape)
        own = None if nu is None else np.broadcast_to(nu, z.shape)[finite]
        log[finite], rise[finite], some = self.standard.below(z[finite], own)
        if some is None:
            return log, rise, None
        in_nu = np.zeros(z.shape)
        in_nu[finite] = some
        return log, rise, in_nu

    def _nodes(self, y: Array, eta: Array, own: Own, left: Array, right: Array) -> Derivatives:
        """By Gauss and Legendre: the mean of the density over the interval."""
        middle, half = y + 0.5 * (right - left)[:, 0], 0.5 * (left + right)[:, 0]
        half = np.where(np.isfinite(half), half, 0.0)
        middle = np.where(np.isfinite(middle), middle, y)
        at = [self._exact(middle + node * half, eta, own) for node in _NODES]
        logs = np.stack([one.log for one in at]) + np.log(0.5 * _WEIGHTS)[:, None, None]
        log = np.logaddexp.reduce(logs, axis=0)
        share = np.exp(logs - log)
        named = {name: np.sum(share * np.stack([one.own[name] for one in at]), axis=0) for name in self.names}
        with np.errstate(divide="ignore"):
            wide = np.log(2 * half)[:, None]
        return Derivatives(log + wide, np.sum(share * np.stack([one.eta for one in at]), axis=0), named)

    def weight(self, y: Array, eta: Array, own: Own) -> Array:
        """Fisher information of exact readings, observed information of the others, never quite zero."""
        full = np.broadcast_to(self.standard.information(own.get("nu")) / np.square(own["sd"]), eta.shape).copy()
        if len(self.inside):
            rows = self.inside
            some = _of(own, rows)
            step = 1e-4 * some["sd"]
            up, down = (self._hidden(y[rows], eta[rows] + s * step, some, rows).eta for s in (1, -1))
            full[rows] = np.clip((down - up) / (2 * step), _LEAST * full[rows], full[rows])
        return full if self.count is None else full * self.count[:, None]

    def guess(self, y: Array) -> Array:
        """The readings; in the middle of an interval."""
        both = np.isfinite(self.left) & np.isfinite(self.right)
        return np.where(both, y + 0.5 * (np.where(both, self.right, 0.0) - np.where(both, self.left, 0.0)), y)

    def cdf(self, y: Array, eta: Array, own: Own) -> tuple[Array, Array]:
        """Probabilities of lying below the lower and below the upper limit."""
        nu = own.get("nu")
        low, high = ((y + shift)[:, None] - eta for shift in (-self.left, self.right))
        return self.standard.cdf(low / own["sd"], nu), self.standard.cdf(high / own["sd"], nu)

    def draw(self, eta: Array, own: Own, rng: np.random.Generator) -> Array:
        """A new exact reading."""
        return np.asarray(eta + own["sd"] * self.standard.draw(eta.shape, own.get("nu"), rng))

    def anew(self, y: Array, eta: Array, own: Own, rng: np.random.Generator) -> tuple[Array, Interval]:
        """Values beyond a limit stay limits, others are read; those between two limits fall into intervals of the same width."""
        value, low, high = self.draw(eta, own, rng)[:, 0], y - self.left, y + self.right
        beyond = np.where(np.isinf(self.left), value < high, np.isinf(self.right) & (value > low)) | (np.isinf(low) & np.isinf(high))
        width = self.left + self.right
        closed = np.isfinite(width) & (width > 0)
        steps = np.floor(np.divide(value - low, width, out=np.zeros(len(y)), where=closed))
        kept = closed | beyond
        new = np.where(beyond, y, np.where(closed, y + steps * np.where(closed, width, 0.0), value))
        return new, Interval(np.where(kept, self.left, 0.0), np.where(kept, self.right, 0.0), self.standard)

    def mean(self, eta: Array, own: Own) -> Array:
        """Mean of a new reading."""
        return eta

    def variance(self, eta: Array, own: Own) -> Array:
        """Variance of a new exact reading; infinite up to two degrees of freedom."""
        return np.broadcast_to(np.square(own["sd"]) * self.standard.variance(own.get("nu")), eta.shape)

    def symbolic(self, pm: Any, y: Array, eta: Any, own: Own) -> Any:
        """Elementwise log density or log probability."""
        out = self._symbolic(pm, y, eta, own)
        if self.count is None:
            return out
        return self.count * out - (0.0 if self.within is None else 0.5 * self.within / own["sd"] ** 2)

    def _symbolic(self, pm: Any, y: Array, eta: Any, own: Own) -> Any:
        import pytensor.tensor as pt

        dist = pm.Normal.dist(eta, own["sd"]) if self.standard is NORMAL else pm.StudentT.dist(nu=own["nu"], mu=eta, sigma=own["sd"])
        out = pm.logp(dist, y)
        if not len(self.inside):
            return out
        lower, upper = y - self.left, y + self.right
        below, above, both = np.isinf(self.left), np.isinf(self.right), (self.left > 0) & (self.right > 0)
        if below.any():
            out = pt.where(below, pm.logcdf(dist, np.where(below, upper, y)), out)
        if above.any():  # P(y > value) = P(y < 2 eta - value), by symmetry
            out = pt.where(above, pm.logcdf(dist, 2 * eta - np.where(above, lower, y)), out)
        two = both & ~below & ~above
        if two.any():
            # mirrored into the lower tail
            over = pt.gt(pt.as_tensor(np.where(two, lower, y)), eta)
            low = pt.where(over, 2 * eta - np.where(two, upper, y), np.where(two, lower, y))
            high = pt.where(over, 2 * eta - np.where(two, lower, y), np.where(two, upper, y + 1.0))
            top, bottom = pm.logcdf(dist, high), pm.logcdf(dist, low)
            out = pt.where(two, top + pt.log1p(-pt.exp(pt.minimum(bottom - top, -1e-300))), out)
        return out

    def take(self, rows: Array) -> Interval:
        """Some of the rows."""
        count, within = (None if x is None else x[rows] for x in (self.count, self.within))
        return Interval(self.left[rows], self.right[rows], self.standard, count, within)


def _normal(y: Array, eta: Array, side: Array, count: Array, within: Array, own: Own, groups: Mapping[str, Groups]) -> Summed:
    from realmat.terms.location_kernels import normal

    numbers = (plain(x) for x in (y, eta, side, count, within))
    log, in_eta, in_sd = normal(*numbers, filled(own["sd"], eta.shape[1]), groups["sd"].of_row)
    return Summed(log, in_eta, {"sd": in_sd})


def _student(y: Array, eta: Array, own: Own, groups: Mapping[str, Groups]) -> Summed:
    from realmat.terms.location_kernels import student as loop

    sd, nu = filled(own["sd"], eta.shape[1]), filled(own["nu"], eta.shape[1])[0]
    (spread, share, of_sd), in_eta, in_sd = loop(plain(y), plain(eta), sd, groups["sd"].of_row, nu)
    peak, slope = STUDENT.peak(nu)
    log = len(y) * peak - of_sd - 0.5 * (nu + 1) * spread
    in_nu = len(y) * slope + 0.5 * ((nu + 1) / nu * share - spread)
    return Summed(log, in_eta, {"sd": in_sd, "nu": in_nu[None]})


def student(rows: int) -> Interval:
    """Exact readings with Student t noise."""
    return Interval(np.zeros(rows), np.zeros(rows), STUDENT)


def limits(censored: Array, standard: Standard = NORMAL, count: Array | None = None, within: Array | None = None) -> Interval:
    """Readings of which `censored` says whether they are exact (0), or the true value lies below (-1) or above (+1)."""
    return Interval(np.where(censored < 0, np.inf, 0.0), np.where(censored > 0, np.inf, 0.0), standard, count, within)


def _of(own: Own, rows: Array) -> dict[str, Any]:
    """Own parameters of some rows."""
    return {name: value[rows] if np.ndim(value) == 2 and len(value) > 1 else value for name, value in own.items()}


def _times(slope: Array, z: Array) -> Array:
    """slope z, zero at infinite limits."""
    return np.where(np.isfinite(z), slope * z, 0.0)


def of_noise(noise: Noise, count: Array, within: Array) -> tuple[Density, tuple[Parameter, ...]]:
    """The density of rows with the given noise, and its own parameters as functions of psi."""
    if noise.density is not None:
        return noise.density, noise.parameters
    keys, key = np.unique(np.column_stack([noise.u**2, noise.group.astype(float)]), axis=0, return_inverse=True)
    u2, group = keys[:, 0], keys[:, 1].astype(int)

    def sd(p: Values, xp: Any) -> Any:
        if noise.scales is None:
            return np.sqrt(u2)
        scales = noise.scales(p, xp)
        if (group < 0).all():
            return np.sqrt(u2)
        across = (-1, *(1,) * (scales.ndim - 1))  # many psi may stand on further axes
        inferred = scales[np.maximum(group, 0)]
        if not u2.any() and (group >= 0).all():
            return inferred
        return xp.sqrt(u2.reshape(across) + (group >= 0).reshape(across) * inferred**2)

    parameters: tuple[Parameter, ...] = (Parameter("sd", sd, key.ravel()),)
    nu = noise.nu
    if nu is not None:
        parameters += (Parameter("nu", lambda p, xp: xp.stack([degrees(nu, p)]), np.zeros(len(key), dtype=int)),)
    censored = noise.censored
    if censored is not None and np.any(censored):
        return limits(censored, NORMAL if nu is None else STUDENT, count, within), parameters
    return (Normal(count, within) if nu is None else student(len(count))), parameters
