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
_LINKS = 20  # of the continued fraction where a is small
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
def _fraction(a: float, x: float) -> tuple[float, float]:
    """``I_x(a, 1/2) a B(a, 1/2) / (x^a sqrt(1 - x))`` and its derivative in a: the continued fraction DLMF 8.17.22, from its end.

    For a large and x away from 1, where few links are enough.
    """
    value, slope = 1.0, 0.0
    for k in range(int(_LINKS + 3 * math.sqrt(a)), 0, -1):
        m = k // 2
        if k % 2 == 0:
            first, top, in_top = a + k - 1, m * (0.5 - m) * x, 0.0
        else:
            first, top, in_top = a + k - 1, -(a + m) * (a + 0.5 + m) * x, -(2 * a + 0.5 + k - 1) * x
        size = first * (first + 1)
        link = top / size
        in_link = (in_top - link * (2 * first + 1)) / size
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
        n, square = nu[i], z[i] * z[i]
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
                total, slope = _fraction(a, x)
                lower = a * log_x - beta + math.log(0.5 * math.sqrt(y) * total / a)
                in_lower = 0.5 * (log_x - in_beta - 1 / a + slope / total) + 0.5 / total
            far = math.exp(lower)
        if z[i] > 0:
            log[i] = math.log1p(-far)
            in_nu[i] = -far / (1 - far) * in_lower
        else:
            log[i], in_nu[i] = lower, in_lower
        rise[i] = math.exp(peak[i] + (a + 0.5) * log_x - log[i])
