"""The mode of the effects at one psi.

Each step is the better one of Fisher scoring and of iterated least squares: far from readings with heavy tails the one goes as far as a
few standard deviations, near them the other is slow.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from realmat.engines.chains.target import Target

_NEWTON, _HALVINGS, _SETTLED = 30, 6, 1e-3
_AGAIN = 3  # steps of one kind until both are tried


def climb(target: Target, theta: np.ndarray, b: np.ndarray, settled: float = _SETTLED) -> np.ndarray:
    """The mode that is reached from b, shape (coefficients, 1), or from where densities guess it from their readings.

    Parameters
    ----------
    target : Target
        With theta as reference, and no centring chosen.
    theta : array of shape (theta size,)
    b : array of shape (coefficients, 1)
    settled : float
        Rise of the log density below which it is the mode.
    """
    if not b.size:
        return b
    values = target.space.many(theta[None])[0]
    height = _height(target, theta, b)
    near = target.conditional(values, target.gaussian(values, b, guessed=True)).centred[:, None]  # as far off as a large count, steps are 1
    there = _height(target, theta, near)
    if there > height:
        b, height = near, there
    kinds: tuple[bool, ...] = (False, True)
    for k in range(_NEWTON):
        ends = [(*_uphill(target, theta, values, b, height, secant), secant) for secant in kinds]
        there, best, kind = max(ends, key=lambda end: end[0])
        if not there >= height:
            break
        rise, b, height = there - height, best, there
        if rise < settled and len(kinds) == 2:
            break
        kinds = (kind,) if rise >= settled and k % _AGAIN else (False, True)
    return b


def _height(target: Target, theta: np.ndarray, b: np.ndarray) -> float:
    """Log density; minus infinity where there is none."""
    found = float(target.at(theta[:, None], b)[0][0])
    return found if np.isfinite(found) else -np.inf


def _uphill(
    target: Target, theta: np.ndarray, values: Mapping[str, np.ndarray], b: np.ndarray, height: float, secant: bool
) -> tuple[float, np.ndarray]:
    """How high the end of a step is, halved while it goes down, and where it is."""
    step = target.conditional(values, target.gaussian(values, b, secant=secant)).centred[:, None] - b
    for _ in range(_HALVINGS):
        there = _height(target, theta, b + step)
        if there >= height or not np.isfinite(height):
            break
        step = 0.5 * step
    return there, b + step
