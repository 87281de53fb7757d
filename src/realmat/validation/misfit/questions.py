"""Which questions a table allows: every column against every layer it belongs to, groups, tails, and values that lie apart."""

from __future__ import annotations

import numpy as np
import pandas as pd

from realmat.table.table import Table
from realmat.validation.misfit.pivots import Layer, Pivots
from realmat.validation.misfit.statistics import Apart, Groups, Line, Offset, SpreadLine, Statistic, Tails

ORDER, FITTED = "the order of the rows", "the fitted value"
_FEWEST = 8  # values of a layer
_TAILS = 20  # values from which tails can be told
_GROUP = 4  # rows in a group, on average
_MOST_GROUPS = 30


def questions(table: Table, pivots: Pivots) -> list[Statistic]:
    """Every question, in an order that depends on the table alone."""
    layers = pivots.layers
    asked: list[Statistic] = []
    for k, layer in enumerate(layers):
        if layer.size >= _TAILS:
            asked.append(Tails("tails", k, ""))
        if layer.size >= _FEWEST:
            asked += [Apart("apart", k, ""), Offset("offset", k, "")]
    if layers[0].size >= _FEWEST:
        asked += _lines(table, pivots)
        asked += _groups(table, layers)
    return asked


def _numbers(table: Table) -> dict[str, np.ndarray]:
    """Number columns with gaps filled by their mean: those of the model, then the others, then the order of the rows."""
    numbers = {}
    for name, values in {**table.columns, **table.others}.items():
        if name == table.response or values.dtype.kind != "f":
            continue
        known = np.isfinite(values)
        if known.sum() >= _FEWEST:
            numbers[name] = np.where(known, values, values[known].mean())
    ordered = table.within is None  # cells have no order of their own
    return {**numbers, **({ORDER: np.arange(len(table), dtype=float)} if ordered else {})}


def _lines(table: Table, pivots: Pivots) -> list[Statistic]:
    out: list[Statistic] = []
    used = set(table.columns)
    for name, values in _numbers(table).items():
        for k in _homes(values, pivots.layers, everywhere=name == ORDER):
            x = _by_value(values, pivots.layers[k])
            vectors = _orthogonal(x, 2)
            kinds = ("drift", "drift") if name == ORDER else ("column", "curve")
            first = 1 if name in used else 0  # the model has its line already
            out += [Line(kind, k, name, h) for kind, h in list(zip(kinds, vectors, strict=False))[first:]]
        out += [SpreadLine("noise line", 0, name, h) for h in _orthogonal(values, 1)]
    fitted = _orthogonal(pivots.fitted, 1)
    return out + [SpreadLine("noise line", 0, FITTED, h) for h in fitted]


def _homes(values: np.ndarray, layers: tuple[Layer, ...], everywhere: bool) -> list[int]:
    """Layers that a column belongs to: the coarsest on whose values it is constant, else the rows; the order of the rows to all."""
    size = np.ptp(values)
    constant = []
    for k, layer in enumerate(layers[1:], 1):
        if layer.size < _FEWEST:
            continue
        within = values - _by_value(values, layer)[layer.codes]
        if everywhere or np.max(np.abs(within)) <= 1e-9 * size:
            constant.append(k)
    if everywhere:
        return [0, *constant]
    return [min(constant, key=lambda k: layers[k].size)] if constant else [0]


def _by_value(values: np.ndarray, layer: Layer) -> np.ndarray:
    """Mean of a column over the rows of each value."""
    count = np.bincount(layer.codes, minlength=layer.size)
    return np.bincount(layer.codes, weights=values, minlength=layer.size) / np.maximum(count, 1)


def _orthogonal(x: np.ndarray, degree: int) -> list[np.ndarray]:
    """Orthonormal polynomials of a column without the constant; fewer where it has few values."""
    sd = x.std()
    if not sd > 1e-12 * max(np.abs(x).max(), 1e-300) or len(np.unique(x)) < 2:
        return []
    u = (x - x.mean()) / sd
    basis, _ = np.linalg.qr(np.column_stack([u**k for k in range(degree + 1)]))
    return [basis[:, k] for k in range(1, min(degree, len(np.unique(x)) - 1) + 1)]


def _groups(table: Table, layers: tuple[Layer, ...]) -> list[Statistic]:
    out: list[Statistic] = []
    for name, values in {**table.columns, **table.others}.items():
        if values.dtype == object or values.dtype.kind in "iu":
            codes, labels = pd.factorize(values, use_na_sentinel=False)
            count = np.bincount(codes)
            if 2 <= len(labels) <= _MOST_GROUPS and len(codes) >= _GROUP * len(labels) and count.min() >= 2:
                out.append(Groups("noise group", 0, name, codes, True))
                if not any(_held_by(codes, layer) for layer in layers[1:]):
                    out.append(Groups("group", 0, name, codes, False))
    return out


def _held_by(codes: np.ndarray, layer: Layer) -> bool:
    """Whether every value of a layer stands in one group: its effects hold what differs between groups."""
    pairs = np.unique(np.column_stack([layer.codes, codes]), axis=0)
    return len(pairs) == len(np.unique(layer.codes))
