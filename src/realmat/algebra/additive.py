"""Scales whose squares add up in a measurement, as far as the design does not tell them apart."""

from __future__ import annotations

import numpy as np

from realmat.terms.problem import Problem

_FREEDOM = 30  # degrees of freedom that tell a scale to an eighth, 1 / sqrt(2 x 30)


def additive(part: Problem) -> list[list[str]]:
    """Scales whose squares add up in a measurement of one property: of its noise, then of effects by level, the finest level first.

    The line is cut where the design has so many degrees of freedom between two of them that each is told by itself.
    """
    term = part.observation
    noise = [] if _replicated(part) else [q.name for q in term.params if q.name.endswith(term.component + "_scale")]
    scales = {q.name for t in part.terms for q in t.params if q.coords is None and q.prior.support == (0.0, np.inf)}
    effects = [c for t in part.terms for c in t.coefficients if c.level is not None and not c.nu]
    lines, finer = [list(noise)], None
    for block in sorted(effects, key=lambda c: -c.size):
        codes = _codes(part, str(block.level))
        if finer is not None and codes is not None and _apart(finer, codes):
            lines.append([])
        lines[-1].append(f"{block.name}_scale")
        finer = codes
    return [[name for name in dict.fromkeys(line) if name in scales] for line in lines]


def _replicated(part: Problem) -> bool:
    """Whether the scatter within cells tells the noise by itself."""
    rows = part.response_rows
    return float(np.sum(rows.count - 1)) >= _FREEDOM and not rows.noise.u.any()


def _codes(part: Problem, level: str) -> np.ndarray | None:
    """The value of a level that each cell has; None where some have none."""
    if part.cells.column_of(level) not in part.cells.columns:
        return None
    codes = part.cells.level(level).codes
    return codes if (codes >= 0).all() else None


def _apart(fine: np.ndarray, coarse: np.ndarray) -> bool:
    """Whether effects of two levels, nested or crossed, are told apart by many values of the finer, or many pairs."""
    pairs, values, others = (_distinct(x) for x in (fine.astype(np.int64) * (int(coarse.max()) + 1) + coarse, fine, coarse))
    return pairs - others - (values if pairs > values else 0) >= _FREEDOM


def _distinct(codes: np.ndarray) -> int:
    """How many different ones there are."""
    return int(np.count_nonzero(np.diff(np.sort(codes)))) + (len(codes) > 0)
