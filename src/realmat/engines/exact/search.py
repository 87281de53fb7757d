"""Modes of a curve: least squares from many draws of the prior, each with the linear parameters that suit its others best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from realmat.engines.exact import members
from realmat.engines.exact.curve import Curve
from realmat.engines.exact.modes import Mode, beside_spreads
from realmat.engines.exact.partly import Linear
from realmat.engines.exact.space import Density
from realmat.errors import FitError
from realmat.posterior import prior_draws
from realmat.terms.resolution import WAY_OUT

_DRAWS = 400
_STARTS = 10
_APART = 0.3  # least distance of starts in what is not linear, in widths of the prior
_TRIED = 4  # of the best, at which it is tried what is linear
_SHIFTS = (0.0, -2.0, -4.0)  # logarithms of scales in units of their priors' medians
_SAME = 1.0  # distance of modes, in their own widths, within which they are one
_FALLEN = 25.0  # log density below the highest mode from which another one does not matter
_SWEEPS = 2
_REFERENCES = 2  # that are tried
_EXCHANGES = 3  # rounds of them
_ROUNDS = 3  # least squares, then scales, and again


def modes(density: Density, rng: np.random.Generator) -> tuple[Density, list[Mode]]:
    """Modes of a problem whose mean bends in its parameters, highest first; none where it does not bend.

    The density that comes back has the highest mode as its reference, where scales are too small there to be seen from the priors' medians.

    Raises
    ------
    realmat.FitError
        If no draw of the prior has a density, or the theory leaves nothing of the readings but rounding.
    """
    curve = Curve(density)
    if not len(curve.index):
        return density, []
    starts, linear, best = _starts(curve, rng)
    found = _found(curve, linear, starts)
    for _ in range(_EXCHANGES):
        more = _found(curve, linear, _exchanged(curve, linear, found, best), found)
        if len(more) == len(found):
            break
        found = more
    for _ in range(_REFERENCES):
        system = density.system.referred(density.space.values(found[0].location)) if found else density.system
        if system is density.system:
            break
        nearer = density.again(system)
        nearer.evaluations = density.evaluations
        density, curve = nearer, Curve(nearer)
        starts = [mode.location for mode in found]
        found = _found(curve, Linear(curve, np.array(starts)), starts)
    if found and curve.passes_through(found[0].location):
        raise FitError(f"the theory passes through every reading as exactly as numbers are held, so that no noise is seen. {WAY_OUT}")
    return density, found


def _found(curve: Curve, linear: Linear, starts: Iterable[np.ndarray], known: Iterable[Mode] = ()) -> list[Mode]:
    """Modes that are reached from `starts`, and those `known`, highest first."""
    found = list(known)
    for start in starts:
        theta, seen = start.copy(), False
        if found:  # most starts lead where others have: with the scales of there it is soon seen
            theta[curve.scales] = found[0].location[curve.scales]
        else:
            theta = _scales(curve, theta)
        for _ in range(_ROUNDS):
            there = curve.least_squares(theta, linear.index, linear.nearest)
            if seen := any(_near(mode, there, curve.index) for mode in found):
                break
            theta = _scales(curve, there)
            if np.array_equal(theta, there):
                break  # the same scales would give the same curve
        if seen:
            continue
        mode = beside_spreads(curve.density, theta, curve.root(theta))
        if np.isfinite(mode.height) and not any(_near(other, mode.location, curve.index) for other in found):
            found.append(mode)
    best = max((mode.height for mode in found), default=-np.inf)
    return sorted((mode for mode in found if mode.height > best - _FALLEN), key=lambda mode: -mode.height)


def _near(mode: Mode, theta: np.ndarray, index: np.ndarray) -> bool:
    """Whether the curve at theta is that of a mode."""
    away = (theta - mode.location)[index]
    width = np.sqrt(np.diag(mode.covariance))[index]
    correlation = mode.covariance[np.ix_(index, index)] / np.outer(width, width)
    away = away / width
    return bool(away @ np.linalg.lstsq(correlation, away, rcond=None)[0] < _SAME * len(index))


def _exchanged(curve: Curve, linear: Linear, found: Sequence[Mode], least: float) -> list[np.ndarray]:
    """Modes with the values of two parameters exchanged, where the density is above `least`, highest first.

    In a sum of terms of one form, as of exponentials or of sites, any may take the place of any other.
    """
    space = curve.density.space
    bent = set(np.setdiff1d(curve.index, linear.index).tolist())
    names = [q.name for q, s in zip(space.params, space.slices, strict=True) if q.coords is None and s.start in bent]
    swapped = [{**v, a: v[b], b: v[a]} for v in (space.values(m.location) for m in found) for a, b in combinations(names, 2)]
    if not swapped:
        return []
    with np.errstate(all="ignore"):  # a value may lie outside the support of another one's prior
        there = linear.nearest(np.array([space.theta(values) for values in swapped]))
        logs = curve.density.many(there)
    return [there[k] for k in np.argsort(-logs) if logs[k] > least]


def _starts(curve: Curve, rng: np.random.Generator) -> tuple[list[np.ndarray], Linear, float]:
    """Draws of the prior with the highest densities, apart from each other, the priors' medians among them; what is linear there.

    The last is the highest of these densities.
    """
    thetas, best = _scaled(curve, _prior_draws(curve.density, rng))
    if not np.isfinite(best).any():
        raise FitError(_nowhere(curve.density))
    linear = Linear(curve, thetas[np.argsort(-best)[:_TRIED]][np.isfinite(np.sort(best)[::-1][:_TRIED])])
    if len(linear.index):
        there, logs = _scaled(curve, linear.nearest(thetas))
        better = logs > best
        best, thetas[better] = np.where(better, logs, best), there[better]
    bent = np.setdiff1d(curve.index, linear.index)
    kept: list[np.ndarray] = []
    for k in np.argsort(-best):
        if len(kept) == _STARTS or not np.isfinite(best[k]):
            break
        if all(np.linalg.norm(thetas[k, bent] - other[bent]) > _APART for other in kept):
            kept.append(thetas[k])
    return kept, linear, float(best.max())


def _scaled(curve: Curve, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thetas with one of a few sizes of the scales, and their log densities.

    A noise that is small beside the misfit of every draw would rank them by their misfit alone: each gets the one that it needs.
    """
    best, out = np.full(len(thetas), -np.inf), thetas.copy()
    for shift in _SHIFTS:
        shifted = thetas.copy()
        shifted[:, curve.scales] = curve.density.space.start()[curve.scales] + shift
        logs = curve.density.many(shifted)
        better = logs > best
        best, out[better] = np.where(better, logs, best), shifted[better]
    return out, best


def _prior_draws(density: Density, rng: np.random.Generator) -> np.ndarray:
    """Independent draws from the prior of theta, the medians first."""
    space = density.space
    with np.errstate(all="ignore"):
        drawn = space.thetas(prior_draws.hyperparameters(space.params, _DRAWS, rng), _DRAWS)
    return np.concatenate([space.start()[None], drawn])


def _scales(curve: Curve, theta: np.ndarray) -> np.ndarray:
    """Theta with each positive coordinate beside the curve at its best given the others; members of a population all at once."""
    own = members.places(curve.density)
    alone = np.setdiff1d(curve.scales, own)[:, None]
    for _ in range(_SWEEPS if len(curve.scales) > 1 else 1):
        before = theta
        for some in (own, *alone):
            theta = members.best(curve.density, theta, some)
        if np.array_equal(theta, before):
            break
    return theta


def _nowhere(density: Density) -> str:
    """What to say where no draw of the prior has a density: parameters and priors."""
    told = ", ".join(f"{q.name} ~ {q.prior!r}" for q in density.space.params)
    return (
        f"the theory has no finite value on every row at any of {_DRAWS} draws of its priors: {told}. "
        "Give priors whose values the function can take, or check its units."
    )
