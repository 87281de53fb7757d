"""Compiled loops that propose local effects: one grid for each effect, log-linear between its nodes.

Given psi and all other coefficients, an effect U with prior centre c has the density  g((U - c) / tau) prod_i f((e_i - U) / sd_i)  up to a
constant, with g and f normal or Student t, and f the probability of a tail for a censored row. Nodes stand around c and around every e_i,
close together within the width of g or f and geometrically wider apart beyond.

Infinite degrees of freedom are passed as 0.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from realmat.algebra.kernels import FAST

Array = np.ndarray
Rows = tuple[Array, Array, Array, Array, float]  # where each effect's rows start; residuals, censoring, noise sds, their degrees of freedom
Prior = tuple[Array, Array, float]  # centres and scales of the effects, degrees of freedom
Near = tuple[Array, Array]  # nodes around a row and around a prior centre, in units of noise and prior scale
Terms = tuple[Array, Array, Array, Array]  # by prior, rows, censored rows; and room to work in
Tail = tuple[Array, float, float]  # log distribution function at points even in asinh: the first of them and their spacing

PHASES = 12  # nodes around a row are every twelfth of a finer pattern
_CHUNK = 4096  # nodes worked on at once: they stay in the fastest cache

# Polynomials through Chebyshev points: log on [1, 2] to 2e-6 and 2^x on [-1/2, 1/2] to 1e-7. A proposal only has to be the same each time
# it is computed, and loops without calls to a library are compiled to vector instructions.
_LOG = (-2.09964784868, 4.20523484146, -3.64712039529, 2.22694346075, -0.852079595145, 0.183700841152, -0.017029610589)
_EXP = (1.00000007545, 0.693147188026, 0.240221074853, 0.0555035711422, 0.00967603191826, 0.00133908633635)
_MANTISSA, _ONE, _BIAS = 0x000FFFFFFFFFFFFF, 0x3FF0000000000000, 1023
_ROUND = 6755399441055744.0  # adding it leaves the nearest integer in the lowest bits
_LN2 = 0.6931471805599453
_FLAT = 1e-3  # an interval with less change than this is taken as even


@njit(**FAST)
def _log(x: Array, out: Array, n: int) -> None:
    """Natural logarithm of the first n numbers, all positive and finite."""
    bits, mantissa = x.view(np.int64), out.view(np.int64)
    for k in range(n):
        mantissa[k] = (bits[k] & _MANTISSA) | _ONE
    a, b, c, d, e, f, g = _LOG
    for k in range(n):
        m = out[k]
        out[k] = np.int32((bits[k] >> 52) - _BIAS) * _LN2 + (a + m * (b + m * (c + m * (d + m * (e + m * (f + m * g))))))


@njit(**FAST)
def _exp(x: Array, out: Array, spare: Array, n: int) -> None:
    """Exponential of the first n numbers, none of them large."""
    bits = spare.view(np.int64)
    a, b, c, d, e, f = _EXP
    for k in range(n):
        y = max(x[k] / _LN2, -1000.0)
        rounded = y + _ROUND
        spare[k] = rounded
        y -= rounded - _ROUND
        out[k] = a + y * (b + y * (c + y * (d + y * (e + y * f))))
    for k in range(n):
        bits[k] = (bits[k] + _BIAS) << 52
    for k in range(n):
        out[k] *= spare[k]


@njit(**FAST)
def _merge(nodes: Array, m: int, centre: float, width: float, pattern: Array, first: int, step: int, spare: Array) -> int:
    """Merge ``centre + width * pattern[first::step]`` into the m sorted nodes; returns how many there are."""
    spare[:m] = nodes[:m]
    spare[m] = np.inf
    k, n = 0, 0
    for j in range(first, len(pattern), step):
        here = centre + width * pattern[j]
        while spare[k] <= here:
            nodes[n] = spare[k]
            k += 1
            n += 1
        nodes[n] = here
        n += 1
    while k < m:
        nodes[n] = spare[k]
        k += 1
        n += 1
    return n


@njit(**FAST)
def _add_tail(nodes: Array, m: int, e: float, sd: float, side: int, tail: Tail, out: Array) -> None:
    """Add the log probability of a censored row: interpolated between points even in asinh."""
    table, low, spacing = tail
    for k in range(m):
        at = (np.arcsinh(-side * (e - nodes[k]) / sd) - low) / spacing
        j = min(max(int(at), 0), len(table) - 2)
        out[k] += table[j] + (at - j) * (table[j + 1] - table[j])


@njit(**FAST)
def _standardised(nodes: Array, m: int, centre: float, width: float, nu: float, out: Array, first: bool) -> None:
    """Squares of a normal, added up; or factors ``1 + z^2 / nu`` of a Student t, multiplied."""
    scale = 1.0 / width
    if nu > 0:
        scale /= np.sqrt(nu)
    for k in range(m):
        z = (nodes[k] - centre) * scale
        if nu > 0:
            out[k] = 1.0 + z * z if first else out[k] * (1.0 + z * z)
        else:
            out[k] = z * z if first else out[k] + z * z


@njit(**FAST)
def _masses(nodes: Array, logs: Array, height: Array, m: int, out: Array) -> tuple[float, float]:
    """Integrals over the intervals between nodes, and over both tails: first and last. Returns their sum and half the grid's width.

    Beyond the last nodes the density falls with the square of the distance, more slowly than any product of two tails.
    """
    half = 0.5 * (nodes[m - 1] - nodes[0])
    out[0], out[m] = height[0] * half, height[m - 1] * half
    for k in range(1, m):
        slope = logs[k] - logs[k - 1]
        flat = abs(slope) < _FLAT
        area = (height[k] - height[k - 1]) / (1.0 if flat else slope)
        out[k] = (nodes[k] - nodes[k - 1]) * (0.5 * (height[k] + height[k - 1]) if flat else area)
    total = 0.0
    for k in range(m + 1):
        total += out[k]
    return total, half


@njit(**FAST)
def _draw(nodes: Array, logs: Array, mass: Array, m: int, target: float, half: float) -> float:
    """The point below which the mass is `target`."""
    k = 0
    while k < m and target > mass[k]:
        target -= mass[k]
        k += 1
    share = min(max(target / mass[k], 1e-15), 1.0 - 1e-15) if mass[k] > 0 else 0.5
    if k == 0:
        return nodes[0] - half * (1.0 / share - 1.0)
    if k == m:
        return nodes[m - 1] + half * (1.0 / (1.0 - share) - 1.0)
    slope = logs[k] - logs[k - 1]
    if slope > _FLAT:
        share = 1.0 + np.log(share + (1.0 - share) * np.exp(-slope)) / slope
    elif slope < -_FLAT:
        share = np.log(1.0 - share + share * np.exp(slope)) / slope
    return nodes[k - 1] + share * (nodes[k] - nodes[k - 1])


@njit(**FAST)
def _log_mass_density(nodes: Array, logs: Array, mass: Array, m: int, u: float, half: float) -> float:
    """Log of the density from which `_draw` draws, times the total mass: that of the interval, and how it is spread there."""
    if u < nodes[0]:
        return np.log(mass[0] / half) - 2.0 * np.log1p((nodes[0] - u) / half)
    if u > nodes[m - 1]:
        return np.log(mass[m] / half) - 2.0 * np.log1p((u - nodes[m - 1]) / half)
    k = min(max(int(np.searchsorted(nodes[:m], u)), 1), m - 1)
    slope = logs[k] - logs[k - 1]
    width = nodes[k] - nodes[k - 1]
    within = 0.0
    if slope > _FLAT:  # measured from the higher end
        within = np.log(slope / -np.expm1(-slope)) - (nodes[k] - u) / width * slope
    elif slope < -_FLAT:
        within = np.log(slope / np.expm1(slope)) + (u - nodes[k - 1]) / width * slope
    return np.log(mass[k] / width) + within


@njit(**FAST)
def _student(out: Array, n: int, nu: float, spare: Array) -> None:
    """Turn what `_standardised` left into minus twice the log density of a Student t; a normal's squares are that already."""
    if nu > 0:
        _log(out, spare, n)
        for k in range(n):
            out[k] = (nu + 1.0) * spare[k]


@njit(**FAST)
def _fill(rows: Rows, prior: Prior, near: Near, tail: Tail, s: int, room: int, start: Array, nodes: Array, terms: Terms) -> int:
    """Nodes of as many effects from s on as there is room for, and the terms of their log densities; returns the first effect left."""
    ptr, e, side, sd, nu_f = rows
    centre, tau, nu_g = prior
    near_row, near_prior = near
    by_prior, by_rows, by_tails, spare = terms
    used = 0
    while s < len(ptr) - 1 and used + room <= len(nodes):
        first, stop = ptr[s], ptr[s + 1]
        own, tails, densities = nodes[used:], by_tails[used:], by_rows[used:]
        m = len(near_prior)
        own[:m] = centre[s] + tau[s] * near_prior
        # the nodes of several rows stand wider, each row's shifted against the others': rows that agree share a fine grid
        step = PHASES if stop - first == 1 else PHASES + PHASES // 2
        for i in range(first, stop):
            m = _merge(own, m, e[i], sd[i], near_row, (step * (i - first) + step // 2) // (stop - first), step, spare)
        _standardised(own, m, centre[s], tau[s], nu_g, by_prior[used:], True)
        tails[:m] = 0.0
        densities[:m] = 1.0 if nu_f > 0 else 0.0
        for i in range(first, stop):
            if side[i] != 0:
                _add_tail(own, m, e[i], sd[i], side[i], tail, tails)
            else:
                _standardised(own, m, e[i], sd[i], nu_f, densities, False)
        start[s] = used
        used += m
        s += 1
    start[s] = used
    return s


@njit(**FAST)
def grid(rows: Rows, prior: Prior, near: Near, tail: Tail, uniform: Array, effects: Array) -> float:
    """Draw every effect from its grid by a uniform number each, or (with no uniform numbers) keep `effects`.

    Returns the log density of all effects under their grids together.
    """
    ptr, nu_f, nu_g = rows[0], rows[4], prior[2]
    most = 0
    for s in range(len(ptr) - 1):
        most = max(most, ptr[s + 1] - ptr[s])
    room = len(near[1]) + most * (len(near[0]) // PHASES + 1) + 1
    size = max(_CHUNK, room)
    nodes, by_prior, by_rows, by_tails, spare = np.empty(size), np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    logs, height, mass = np.empty(size), np.empty(size), np.empty(room + 1)
    start = np.zeros(len(ptr), np.int64)
    log_q, s = 0.0, 0
    while s < len(ptr) - 1:
        begin = s
        s = _fill(rows, prior, near, tail, s, room, start, nodes, (by_prior, by_rows, by_tails, spare))
        used = start[s]
        _student(by_prior, used, nu_g, spare)
        _student(by_rows, used, nu_f, spare)
        for k in range(used):
            logs[k] = by_tails[k] - 0.5 * (by_prior[k] + by_rows[k])
        for j in range(begin, s):
            top = np.max(logs[start[j] : start[j + 1]])
            logs[start[j] : start[j + 1]] -= top
        _exp(logs, height, spare, used)
        for j in range(begin, s):
            here, m = start[j], start[j + 1] - start[j]
            total, half = _masses(nodes[here:], logs[here:], height[here:], m, mass)
            if len(uniform):
                effects[j] = _draw(nodes[here:], logs[here:], mass, m, uniform[j] * total, half)
            log_q += _log_mass_density(nodes[here:], logs[here:], mass, m, effects[j], half) - np.log(total)
    return log_q
