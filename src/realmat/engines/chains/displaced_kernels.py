"""Loops of readings of a law at places that are not exactly known, which are integrated over."""

from __future__ import annotations

import numpy as np
from numba import njit

from realmat.algebra.kernels import FAST, MATRIX, VECTOR

_PLAIN = {**FAST, "error_model": "numpy"}
_STEPS, _SETTLED, _LONGEST = 30, 1e-4, 0.7  # of the search for the likeliest place: how many, and their lengths
_HALVINGS, _LEAST_BEND = 8, 0.3
_FAR = 1.6  # beyond, the polynomial of a law is no law: it goes on straight
_POINTS, _REACH = 49, 5.5  # of what places are drawn from, and how far from the likeliest one, in its own standard deviations
_SCAN, _MOST, _LOW = 41, 6, 40.0  # for likely places: how many are looked at, how many kept, and which are not likely at all
_LONGER = 80  # times that a span is made longer, each time by more
_STRETCH, _GONE, _MANY = 5.0, 16.0, 81  # over which is integrated around them: standard deviations at least, until so low, in steps
_HALF_LOG_2PI = 0.5 * float(np.log(2 * np.pi))


@njit(f"Tuple((float64, float64, float64))({VECTOR}, float64)", **_PLAIN)
def _law(a: np.ndarray, x: float) -> tuple[float, float, float]:
    """A polynomial and its first two derivatives; straight beyond the ends."""
    at = min(max(x, -_FAR), _FAR)
    f, slope, bend = 0.0, 0.0, 0.0
    for k in range(len(a) - 1, -1, -1):
        bend = bend * at + 2 * slope
        slope = slope * at + f
        f = f * at + a[k]
    if at != x:
        return f + slope * (x - at), slope, 0.0
    return f, slope, bend


@njit(f"float64({VECTOR}, float64, float64, float64, float64, float64)", **_PLAIN)
def _log(a: np.ndarray, away: float, inverse: float, middle: float, half: float, x: float) -> float:
    """Logarithm of what is integrated over places, up to a constant; `inverse` is that of the variance."""
    t, left = middle + half * x, away - _law(a, x)[0]
    return -0.5 * (t * t + left * left * inverse)


@njit(f"Tuple((float64, float64))({VECTOR}, float64, float64, float64, float64, float64)", **_PLAIN)
def _likeliest(a: np.ndarray, away: float, sd: float, middle: float, half: float, x: float) -> tuple[float, float]:
    """The place that is likeliest given a reading, near x, and how wide it is around, in the polynomial's variable."""
    inverse = 1 / (sd * sd)
    f, slope, bend = _law(a, x)
    height = _log(a, away, inverse, middle, half, x)
    for _ in range(_STEPS):
        plain = half * half + slope * slope * inverse
        bent = max(plain - (away - f) * bend * inverse, _LEAST_BEND * plain)
        step = ((away - f) * slope * inverse - (middle + half * x) * half) / bent
        step = min(max(step, -_LONGEST), _LONGEST)
        for _ in range(_HALVINGS):
            there = x + step
            new = _log(a, away, inverse, middle, half, there)
            if new >= height:
                break
            step *= 0.5
        if new < height:
            break
        x, height = there, new
        f, slope, bend = _law(a, x)
        if step * step * bent < _SETTLED:
            break
    plain = half * half + slope * slope * inverse
    bent = max(plain - (away - f) * bend * inverse, _LEAST_BEND * plain)
    return x, 1 / np.sqrt(bent)


@njit(f"Tuple((int64, float64))({VECTOR}, float64, float64, float64, float64, {VECTOR}, {MATRIX})", **_PLAIN)
def _likely(a: np.ndarray, away: float, sd: float, middle: float, half: float, ends: np.ndarray, spans: np.ndarray) -> tuple[int, float]:
    """Spans around all likely places between `ends`, in order and apart: how many, and the height of the highest."""
    begin, inverse = max(-_FAR, ends[0]), 1 / (sd * sd)
    step = (min(_FAR, ends[1]) - begin) / (_SCAN - 1)
    heights, found, top = np.empty(_SCAN), 0, -np.inf
    for q in range(_SCAN):
        heights[q] = _log(a, away, inverse, middle, half, begin + q * step)
        top = max(top, heights[q])
    start = top
    for q in range(_SCAN):
        lower = (q == 0 or heights[q - 1] < heights[q]) and (q == _SCAN - 1 or heights[q + 1] <= heights[q])
        if not lower or found == _MOST:
            continue
        x, wide = _likeliest(a, away, sd, middle, half, begin + q * step)
        x = min(max(x, ends[0]), ends[1])
        height = _log(a, away, inverse, middle, half, x)
        top = max(top, height)
        if height < start - _LOW:
            continue
        low, high = x - _STRETCH * wide, x + _STRETCH * wide
        more = wide
        for _ in range(_LONGER):
            behind = _log(a, away, inverse, middle, half, low) > top - _GONE
            ahead = _log(a, away, inverse, middle, half, high) > top - _GONE
            if not (behind or ahead):
                break
            low, high, more = low - more * behind, high + more * ahead, 1.3 * more
        low, high = max(low, ends[0]), min(high, ends[1])
        if found and low <= spans[found - 1, 1]:
            spans[found - 1, 0], spans[found - 1, 1] = min(low, spans[found - 1, 0]), max(high, spans[found - 1, 1])
        else:
            spans[found, 0], spans[found, 1] = low, high
            found += 1
    return found, top


@njit(f"void({MATRIX}, float64[:], {VECTOR})", **_PLAIN)
def _through(polynomial: np.ndarray, values: np.ndarray, a: np.ndarray) -> None:
    """Coefficients of the polynomial through `values`, into `a`."""
    a[:] = 0.0
    for k in range(len(a)):
        for m in range(len(a)):
            a[k] += polynomial[k, m] * values[m]


_SPAN = f"{VECTOR}, float64, float64, float64, float64"  # polynomial, reading, noise, and the scale of places


@njit(f"Tuple((int64, float64))({_SPAN}, boolean, {VECTOR}, {VECTOR}, {VECTOR}, {MATRIX}, {VECTOR}, {VECTOR})", **_PLAIN)
def _steps(
    a: np.ndarray,
    away: float,
    sd: float,
    middle: float,
    half: float,
    turning: bool,
    ends: np.ndarray,
    nodes: np.ndarray,
    weights: np.ndarray,
    spans: np.ndarray,
    at: np.ndarray,
    weight: np.ndarray,
) -> tuple[int, float]:
    """Places and weights over which is summed, into `at` and `weight`: how many, and the logarithm at the likeliest."""
    if not turning:
        x, wide = _likeliest(a, away, sd, middle, half, 0.0)
        for q in range(len(nodes)):
            at[q], weight[q] = x + wide * nodes[q], wide * weights[q]
        return len(nodes), _log(a, away, 1 / (sd * sd), middle, half, x)
    found, top = _likely(a, away, sd, middle, half, ends, spans)
    for k in range(found):
        step = (spans[k, 1] - spans[k, 0]) / (_MANY - 1)
        for q in range(_MANY):
            at[k * _MANY + q], weight[k * _MANY + q] = spans[k, 0] + q * step, step * (0.5 if q == 0 or q == _MANY - 1 else 1.0)
    return found * _MANY, top


@njit(
    f"UniTuple({MATRIX}, 5)({MATRIX}, {MATRIX}, {MATRIX}, {MATRIX}, {VECTOR}, {VECTOR}, boolean[::1], {MATRIX}, {VECTOR}, {VECTOR})",
    **_PLAIN,
)
def integrated(
    away: np.ndarray,
    sd: np.ndarray,
    law: np.ndarray,
    polynomial: np.ndarray,
    middle: np.ndarray,
    half: np.ndarray,
    turning: np.ndarray,
    ends: np.ndarray,
    nodes: np.ndarray,
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Integral over t of ``N(t; 0, 1) N(away; f(t), sd)``: its logarithm and derivatives.

    Parameters
    ----------
    away, sd : arrays of shape (rows, n)
    law : array of shape (places * rows, n)
        f at the places ``middle + half * x``, x those of `polynomial`.
    polynomial : array of shape (places, places)
        From values to coefficients of powers of x.
    middle, half : arrays of shape (rows,)
    turning : bool array of shape (rows,)
        Whether the integral is a sum over many equal steps, as where f may have a value twice.
    ends : array of shape (rows, 2)
        Least and greatest x, of rows that turn.
    nodes, weights : arrays
        Of Gauss and Hermite, for exp(-x^2 / 2), the weights times exp(x^2 / 2).

    Returns
    -------
    tuple of arrays
        The logarithm, its derivative in what is added to the law, and in `sd`, shape (rows, n); in `law`, its shape; the slope of the law
        in t where the reading has it, shape (rows, n).
    """
    (rows, n), places = away.shape, len(polynomial)
    log, in_eta, in_sd = np.empty((rows, n)), np.empty((rows, n)), np.empty((rows, n))
    in_law, steep = np.empty(law.shape), np.empty((rows, n))
    a, moments, spans, turned = np.empty(places), np.empty(places), np.empty((_MOST, 2)), polynomial.T.copy()
    at, weight = np.empty(_MOST * _MANY), np.empty(_MOST * _MANY)
    for i in range(rows):
        for j in range(n):
            _through(polynomial, law[i::rows, j], a)
            inverse = 1 / (sd[i, j] * sd[i, j])
            many, top = _steps(a, away[i, j], sd[i, j], middle[i], half[i], turning[i], ends[i], nodes, weights, spans, at, weight)
            total, square, slopes = 0.0, 0.0, 0.0
            moments[:] = 0.0
            for q in range(many):
                x, (f, slope, _) = at[q], _law(a, at[q])
                t, left = middle[i] + half[i] * x, away[i, j] - f
                part = weight[q] * np.exp(-0.5 * (t * t + left * left * inverse) - top)
                total += part
                square += part * left * left
                slopes += part * slope * slope
                end = min(max(x, -_FAR), _FAR)
                # a law goes on straight beyond its ends
                pull, more = part * left * inverse, part * left * inverse * (x - end)
                for k in range(places):
                    moments[k] += pull
                    pull *= end
                    if x != end and k + 1 < places:
                        moments[k + 1] += (k + 1) * more
                        more *= end
            log[i, j] = np.log(total * half[i]) + top - np.log(sd[i, j]) - 2 * _HALF_LOG_2PI
            in_sd[i, j] = (square * inverse / total - 1) / sd[i, j]
            steep[i, j] = np.sqrt(slopes / total) / half[i]
            moments /= total
            in_eta[i, j] = moments[0]
            _through(turned, moments, a)
            in_law[i::rows, j] = a
    return log, in_eta, in_sd, in_law, steep


@njit(f"{MATRIX}({MATRIX}, {MATRIX}, {MATRIX}, {MATRIX}, {VECTOR}, {VECTOR}, boolean[::1], {MATRIX}, {MATRIX})", **_PLAIN)
def placed(
    away: np.ndarray,
    sd: np.ndarray,
    law: np.ndarray,
    polynomial: np.ndarray,
    middle: np.ndarray,
    half: np.ndarray,
    turning: np.ndarray,
    ends: np.ndarray,
    uniform: np.ndarray,
) -> np.ndarray:
    """Draws of t from the integrand of `integrated`, shape (rows, n); `uniform` random numbers have that shape."""
    rows, n = away.shape
    places, few, none = len(polynomial), np.linspace(-_REACH, _REACH, _POINTS), np.full(_POINTS, 2 * _REACH / (_POINTS - 1))
    out, a, spans = np.empty((rows, n)), np.empty(places), np.empty((_MOST, 2))
    at, weight, parts = np.empty(_MOST * _MANY), np.empty(_MOST * _MANY), np.empty(_MOST * _MANY)
    for i in range(rows):
        for j in range(n):
            _through(polynomial, law[i::rows, j], a)
            many, top = _steps(a, away[i, j], sd[i, j], middle[i], half[i], turning[i], ends[i], few, none, spans, at, weight)
            inverse, total = 1 / (sd[i, j] * sd[i, j]), 0.0
            for q in range(many):
                total += weight[q] * np.exp(_log(a, away[i, j], inverse, middle[i], half[i], at[q]) - top)
                parts[q] = total
            wanted = uniform[i, j] * total
            q = min(np.searchsorted(parts[:many], wanted), many - 1)
            before = parts[q - 1] if q else 0.0
            # a place stands for all that are nearer to it than to others
            share = (wanted - before) / max(parts[q] - before, 1e-300) - 0.5
            out[i, j] = middle[i] + half[i] * (at[q] + share * weight[q])
    return out
