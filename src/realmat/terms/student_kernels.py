"""The distribution function of Student's t and its derivatives, in z and in the degrees of freedom too, in one loop.

It is half an incomplete beta function, I_x(a, 1/2) with a = nu / 2 and x = nu / (nu + z^2) (DLMF 8.17): a power series of which each term
has its derivative in a. Which series is short, and loses no digits, depends on where z is.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_VECTOR = "float64[::1]"
_PLAIN = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}
_ROUNDING = 1e-17
_NEAR = 3.0  # z up to which the distribution function is 1/2 less a series, of which three digits are lost at most
_LINKS, _MORE = 20, 600.0  # of the continued fraction, and as many more by square of z
_NORMAL = 1e15  # degrees of freedom from which nothing tells it from a normal
_FARTHEST = 1e300  # square of z
_MOST = 10_000  # terms; some tens are needed


@njit("UniTuple(float64, 2)(float64, float64)", **_PLAIN)
def _tail(a: float, x: float) -> tuple[float, float]:
    """``I_x(a, 1/2) B(a, 1/2) / x^a`` and its derivative in a, for x up to 1/2: DLMF 8.17.7."""
    term, total, slope = 1.0, 1 / a, -1 / (a * a)
    for n in range(1, _MOST):
        term *= x * (n - 0.5) / n
        each = term / (a + n)
        total += each
        slope -= each / (a + n)
        if each < _ROUNDING * total:
            break
    return total, slope


@njit("UniTuple(float64, 2)(float64, float64)", **_PLAIN)
def _middle(a: float, y: float) -> tuple[float, float]:
    """``I_y(1/2, a) B(a, 1/2) / (2 sqrt(y) (1 - y)^a)`` and its derivative in a: DLMF 8.17.8, whose terms are all positive."""
    term, total, in_term, slope = 1.0, 1.0, 0.0, 0.0
    for n in range(_MOST):
        share = y / (n + 1.5)
        in_term = (in_term * (a + 0.5 + n) + term) * share
        term *= (a + 0.5 + n) * share
        total += term
        slope += in_term
        if term < _ROUNDING * total and in_term < _ROUNDING * slope:
            break
    return total, slope


@njit("UniTuple(float64, 2)(float64, float64)", **_PLAIN)
def _fraction(a: float, square: float) -> tuple[float, float]:
    """``2F1(1/2, 1; a + 1; -2 a / z^2)`` and its derivative in a, z held: the continued fraction of Gauss (DLMF 15.7.5), from its end.

    All its parts are positive. For a large it is that of a normal tail: the farther out, the fewer links are enough, whatever a.
    """
    value, slope = 1.0, 0.0
    for k in range(int(_LINKS + _MORE / square), 0, -1):
        m = k // 2
        first = a + k - 1
        if k % 2 == 0:
            link, above = m * (a + m - 0.5), a + m - 0.5
        else:
            link, above = (m + 0.5) * (a + m), a + m
        link *= 2 * a / (square * first * (first + 1))
        in_link = link * (1 / above + 1 / a - 1 / first - 1 / (first + 1)) if first > 0 else 0.0
        slope = (in_link - link * slope / value) / value
        value = 1 + link / value
    return 1 / value, -slope / (value * value)


@njit(f"void({_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR})", **_PLAIN)
def below(
    z: np.ndarray, nu: np.ndarray, peak: np.ndarray, in_peak: np.ndarray, log: np.ndarray, rise: np.ndarray, in_nu: np.ndarray
) -> None:
    """Log distribution function at z, and its derivatives in z and nu, into the last three arrays; all of one length.

    `peak` is the log density at zero, and `in_peak` its derivative in nu.
    """
    for i in range(len(z)):
        n, square = min(nu[i], _NORMAL), min(z[i] * z[i], _FARTHEST)
        a, x, y = 0.5 * n, n / (n + square), square / (n + square)
        log_x = -math.log1p(square / n)
        beta, in_beta = -peak[i] - 0.5 * math.log(n), -2 * in_peak[i] - 1 / n  # log B(a, 1/2), and its derivative in a
        if square <= _NEAR * _NEAR and y <= 0.5:
            total, slope = _middle(a, y)
            part = math.exp(0.5 * math.log(y) + a * log_x - beta) if y > 0 else 0.0
            far, half = 0.5 - part * total, 0.5 * part
            lower = math.log(far)
            in_lower = (-half * total * (log_x - in_beta) - half * slope + half / n) / far
        else:
            if y > 0.5:
                total, slope = _tail(a, x)
                lower = a * log_x - beta + math.log(0.5 * total)
                in_lower = 0.5 * (log_x - in_beta + slope / total) + 0.5 * math.sqrt(y) / (a * total)
            else:
                total, slope = _fraction(a, square)
                lower = a * log_x - beta + math.log(0.5 * total / (a * math.sqrt(y)))
                in_lower = 0.5 * (log_x + y - in_beta + (0.5 * x - 1) / a + slope / total)
            far = math.exp(lower)
        if z[i] > 0:
            log[i] = math.log1p(-far)
            in_nu[i] = -far / (1 - far) * in_lower
        else:
            log[i], in_nu[i] = lower, in_lower
        rise[i] = math.exp(peak[i] + (a + 0.5) * log_x - log[i])
