"""Loops over rows with normal or Student t noise, many chains at once: sums over rows, and the slopes in the linear predictor.

Chains are the last axis, along which the compiler vectorises; logarithms are taken of products of a few rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from scipy import special

Array = np.ndarray
_INT, _VECTOR, _MATRIX = "int64[::1]", "float64[::1]", "float64[:, ::1]"
_PLAIN = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
_HALF_LOG_2PI = 0.5 * float(np.log(2 * np.pi))
_ROOT_HALF, _MILLS = float(np.sqrt(0.5)), float(np.sqrt(2 / np.pi))
_TOGETHER = 8  # rows whose product has a logarithm: no factor within reach of a posterior makes it overflow
_BEND = 3.75


def _series() -> tuple[float, ...]:
    """Chebyshev coefficients of ``(1 + 2 x) exp(x^2) erfc(x)`` in ``(x - 3.75) / (x + 3.75)``, x from 0 to infinity; to rounding.

    The variable of Shepherd & Laframboise, Mathematics of Computation 36, 249 (1981).
    """

    def of(t: Array) -> Any:
        x = _BEND * (1 + t) / (1 - t)
        return (1 + 2 * x) * special.erfcx(x)

    return tuple(float(c) for c in np.polynomial.chebyshev.chebinterpolate(of, 24))


_SERIES = _series()
_DEGREE = len(_SERIES) - 1


@njit("float64(float64)", **_PLAIN)
def _scaled(x: float) -> float:
    """exp(x^2) erfc(x) / 2 for x >= 0, without branches."""
    u = 2 * (x - _BEND) / (x + _BEND)
    value, last = 0.0, 0.0
    for k in range(_DEGREE):
        value, last = u * value - last + _SERIES[_DEGREE - k], value
    return 0.5 * (0.5 * u * value - last + _SERIES[0]) / (1 + 2 * x)


@njit(f"void({_VECTOR}, {_MATRIX})", **_PLAIN)
def _below(z: Array, work: Array) -> None:
    """Of the standard normal at z: F exp(z^2 / 2) where z < 0 and F elsewhere, into work[0], and the slope of log F, into work[1]."""
    for c in range(len(z)):
        work[0, c] = _scaled(_ROOT_HALF * abs(z[c]))
    for c in range(len(z)):
        work[1, c] = 0.5 * _MILLS / work[0, c]
    for c in range(len(z)):
        if z[c] >= 0:
            peak = np.exp(-0.5 * z[c] * z[c])
            work[0, c] = 1 - work[0, c] * peak
            work[1, c] = 0.5 * _MILLS * peak / work[0, c]


@njit(f"Tuple(({_VECTOR}, {_MATRIX}, {_MATRIX}))({_VECTOR}, {_MATRIX}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_MATRIX}, {_INT})", **_PLAIN)
def normal(y: Array, eta: Array, side: Array, count: Array, within: Array, sd: Array, group: Array) -> tuple[Array, Array, Array]:
    """Rows that are exact (side 0), or whose true value lies below (-1) or above (+1) the reading.

    Parameters
    ----------
    y, side, count, within : arrays of shape (rows,)
        A row may stand for `count` alike, which have a sum of squares `within` about their mean.
    eta : array of shape (rows, n)
    sd : array of shape (groups, n)
    group : int array of shape (rows,)

    Returns
    -------
    log, in_eta, in_sd : arrays of shape (n,), (rows, n) and (groups, n)
        The sum of the log densities, its slopes in `eta` and in `sd`.
    """
    rows, n = eta.shape
    log, in_eta, in_sd = np.zeros(n), np.empty((rows, n)), np.zeros(sd.shape)
    inverse, exact = 1 / sd, np.zeros(len(sd))
    product, held = np.ones(n), 0
    z, work = np.empty(n), np.empty((2, n))
    for i in range(rows):
        g, m = group[i], count[i]
        if side[i] == 0:
            exact[g] += m
            for c in range(n):
                away = (y[i] - eta[i, c]) * inverse[g, c]
                in_eta[i, c] = m * away * inverse[g, c]
                square = m * away * away + within[i] * inverse[g, c] * inverse[g, c]
                log[c] -= 0.5 * square
                in_sd[g, c] += square
            continue
        for c in range(n):
            z[c] = side[i] * (eta[i, c] - y[i]) * inverse[g, c]
        _below(z, work)
        for c in range(n):
            in_eta[i, c] = side[i] * m * work[1, c] * inverse[g, c]
            square = within[i] * inverse[g, c] * inverse[g, c]
            log[c] -= 0.5 * (square + m * min(z[c], 0.0) ** 2)
            in_sd[g, c] += square - m * z[c] * work[1, c]
        if m == 1:
            held += 1
            for c in range(n):
                product[c] *= work[0, c]
            if held % _TOGETHER == 0:
                for c in range(n):
                    log[c] += np.log(product[c])
                    product[c] = 1.0
        else:
            for c in range(n):
                log[c] += m * np.log(work[0, c])
    for c in range(n):
        log[c] += np.log(product[c])
    for g in range(len(sd)):
        for c in range(n):
            log[c] -= exact[g] * (np.log(sd[g, c]) + _HALF_LOG_2PI)
            in_sd[g, c] = (in_sd[g, c] - exact[g]) * inverse[g, c]
    return log, in_eta, in_sd


@njit(f"Tuple(({_MATRIX}, {_MATRIX}, {_MATRIX}))({_VECTOR}, {_MATRIX}, {_MATRIX}, {_INT}, {_VECTOR})", **_PLAIN)
def student(y: Array, eta: Array, sd: Array, group: Array, nu: Array) -> tuple[Array, Array, Array]:
    """Exact rows with Student t noise of `nu` degrees of freedom, shape (n,), else as `normal`.

    Returns
    -------
    sums, in_eta, in_sd : arrays of shape (3, n), (rows, n) and (groups, n)
        Sums over rows of ``log(1 + z^2 / nu)``, of ``z^2 / (nu + z^2)`` and of ``log(sd)``, and the slopes of the log density.
    """
    rows, n = eta.shape
    sums, in_eta, in_sd = np.zeros((3, n)), np.empty((rows, n)), np.zeros(sd.shape)
    inverse, size, freedom = 1 / sd, np.zeros(len(sd)), 1 / nu
    product = np.ones(n)
    for i in range(rows):
        g = group[i]
        size[g] += 1
        for c in range(n):
            z = (y[i] - eta[i, c]) * inverse[g, c]
            pull = z * freedom[c]
            whole = 1 + z * pull
            pull /= whole
            product[c] *= whole
            in_eta[i, c] = pull * inverse[g, c]
            in_sd[g, c] += z * pull
        if i % _TOGETHER == _TOGETHER - 1:
            for c in range(n):
                sums[0, c] += np.log(product[c])
                product[c] = 1.0
    for c in range(n):
        sums[0, c] += np.log(product[c])
    for i in range(rows):
        for c in range(n):
            in_eta[i, c] *= nu[c] + 1
    for g in range(len(sd)):
        for c in range(n):
            sums[1, c] += in_sd[g, c]
            sums[2, c] += size[g] * np.log(sd[g, c])
            in_sd[g, c] = ((nu[c] + 1) * in_sd[g, c] - size[g]) * inverse[g, c]
    return sums, in_eta, in_sd
