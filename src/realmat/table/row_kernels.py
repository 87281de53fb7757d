"""Compiled loops over the rows of a table: which are alike, whether levels are nested, and moments of groups."""

from __future__ import annotations

import numpy as np
from numba import njit, types

_KEYS = types.uint64[::1]
_COLUMN, _CODES, _NUMBERS = (types.Array(kind, 1, "C", readonly=True) for kind in (types.uint64, types.int64, types.float64))  # or not
_FAST = {"cache": True, "nogil": True}


@njit(types.void(_KEYS, _COLUMN), **_FAST)
def mix(key: np.ndarray, bits: np.ndarray) -> None:
    """Mix a column into the keys of rows: each bit is spread over the others, twice (Steele, Lea & Flood, OOPSLA 2014), in place."""
    for i in range(len(key)):
        x = key[i] ^ bits[i]
        x *= np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(29)
        x *= np.uint64(0x94D049BB133111EB)
        key[i] = x ^ (x >> np.uint64(32))


@njit("Tuple((int64[::1], int64[::1]))(uint64[::1])", **_FAST)
def alike(key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each key, in the order in which they come, and which of them each row has; keys are well mixed."""
    code, first = np.empty(len(key), np.int64), np.empty(len(key), np.int64)
    bits, count = 10, 0
    table = np.full(1 << bits, -1, np.int64)
    for i in range(len(key)):
        place = np.int64(key[i] >> np.uint64(64 - bits))
        while table[place] >= 0 and key[first[table[place]]] != key[i]:
            place = (place + 1) & (len(table) - 1)
        if table[place] >= 0:
            code[i] = table[place]
            continue
        table[place] = code[i] = count
        first[count] = i
        count += 1
        if 2 * count > len(table):  # small as long as it can be: it stays near the processor
            bits += 2
            table = np.full(1 << bits, -1, np.int64)
            for c in range(count):
                place = np.int64(key[first[c]] >> np.uint64(64 - bits))
                while table[place] >= 0:
                    place = (place + 1) & (len(table) - 1)
                table[place] = c
    return first[:count].copy(), code


@njit(types.boolean[::1](_CODES, _CODES, types.int64), **_FAST)
def elsewhere(inner: np.ndarray, outer: np.ndarray, size: int) -> np.ndarray:
    """Rows whose inner code, below `size`, had another outer one in the first row that has it; code -1 is in none."""
    first = np.empty(size, np.int64)
    seen, bad = np.zeros(size, np.bool_), np.zeros(len(inner), np.bool_)
    for i in range(len(inner)):
        c = inner[i]
        if c < 0:
            continue
        if not seen[c]:
            seen[c], first[c] = True, outer[i]
        bad[i] = first[c] != outer[i]
    return bad


@njit(types.Tuple((types.float64[::1],) * 3)(_CODES, _NUMBERS, _NUMBERS, types.int64), **_FAST)
def moments(code: np.ndarray, weight: np.ndarray, g: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of weights, weighted means and centred sums of squares of g in groups."""
    count, mean, left, squares = np.zeros(size), np.zeros(size), np.zeros(size), np.zeros(size)
    for i in range(len(code)):
        count[code[i]] += weight[i]
        mean[code[i]] += weight[i] * g[i]
    mean /= np.maximum(count, 1.0)
    for i in range(len(code)):
        left[code[i]] += weight[i] * (g[i] - mean[code[i]])
    mean += left / np.maximum(count, 1.0)  # what rounding has left
    for i in range(len(code)):
        away = g[i] - mean[code[i]]
        squares[code[i]] += weight[i] * (away * away)
    return count, mean, squares
