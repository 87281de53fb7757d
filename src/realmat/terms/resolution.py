"""Noise of which the readings say nothing: they agree to the last digit, so that nothing keeps it from being zero, or each has a scale.

Where effects reproduce every reading exactly, the density of the data grows without bound as an inferred scale of the noise goes to zero.
What the readings then tell is that their scatter is below the resolution of the instrument, and only the user knows that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from realmat.errors import DataError
from realmat.support.numbers import significant
from realmat.table.table import rows_text
from realmat.terms.problem import Problem
from realmat.terms.term import Known

_ALIKE, _LEFT = 16, 256  # spacings of doubles at the readings' size: what rounding leaves in readings of the same, and beside effects
WAY_OUT = "State the resolution: readings in steps of d are rm.observation.Normal(resolution=d)."
_SPARE = 5  # readings beyond the effects that act on them, from which those of one of several scales are not alike by chance
_MOST = 2000  # coefficients up to which the readings are compared with all effects


def refuse_exact(problem: Problem) -> None:
    """Raise where no reading is a number, or where effects, fewer than the readings, reproduce exactly all readings with inferred scales.

    Of several scales it may be those of one: rounded readings of one laboratory would then count without end. Few of them may be alike by
    chance, but not those of every one.

    Raises
    ------
    realmat.DataError
        With the way to state the resolution.
    """
    rows, noise = problem.response_rows, problem.response_rows.noise
    if noise.density is None and noise.censored is not None and len(noise.censored) and bool((noise.censored != 0).all()):
        raise DataError(
            f"column {problem.response!r}: every value is only a limit, so that the data say nothing of the response's size or scatter. "
            "Give one measured value at least."
        )
    inferred = bool((noise.group >= 0).all()) and not noise.u.any()
    if noise.density is not None or not inferred or (noise.censored is not None and noise.censored.any()) or len(rows.y) == 0:
        return
    if not all(isinstance(f, Known) for _, f in rows.offsets):
        return
    if _reproduced(problem, noise.group >= 0, 1):
        _refuse(problem, noise.group >= 0)
    groups = [noise.group == group for group in np.unique(noise.group)]
    for own in groups if len(groups) > 1 else ():
        if _reproduced(problem, own, _SPARE):
            _refuse(problem, own)
    if all(_reproduced(problem, own, 1) for own in groups):
        _refuse(problem, noise.group >= 0)


def refuse_single(problem: Problem) -> None:
    """Raise where every row has a noise scale of its own, which no row can tell.

    Raises
    ------
    realmat.DataError
        With where a stated uncertainty of each row goes.
    """
    if all(q.coords is None for q in problem.observation.params):  # the scales of rows follow from a few numbers
        return
    noise, count = problem.response_rows.noise, problem.response_rows.count
    readings = np.bincount(noise.group[noise.group >= 0], weights=count[noise.group >= 0])
    if len(readings) > 2 and readings.max() <= 1:
        raise DataError(
            f"the noise has {len(readings)} scales for {int(count.sum())} rows, none of which shares its own with another: scale_by= takes "
            "groups, such as a laboratory; a stated uncertainty of each row goes to u=, a number with which noise grows to scale_with=."
        )


def _reproduced(problem: Problem, own: np.ndarray, spare: int) -> bool:
    """Whether effects reproduce the readings of some cells, and there are as many `spare` ones beyond them."""
    rows = problem.response_rows
    last, count = float(np.spacing(np.max(np.abs(rows.y)))), rows.count[own]
    if rows.within[own].sum() > (_ALIKE * last) ** 2 * count.sum():  # of readings with thirteen digits the last differ by scatter
        return False
    blocks = {block.name: block for term in problem.terms for block in term.coefficients}
    pieces = [piece for _, piece in rows.pieces if piece.scale is None]
    if count.sum() == own.sum():  # without replicates, effects with a spread of their own share what scatter there is with the noise
        pieces = [piece for piece in pieces if not callable(blocks[piece.coefficients].sd)]
    if sum(piece.matrix.shape[1] for piece in pieces) > _MOST:
        return False
    y = rows.y - sum((np.asarray(f.values) for _, f in rows.offsets if isinstance(f, Known)), np.zeros(1))
    left, rank = _left(y[own], [piece.matrix.tocsr()[own] for piece in pieces])
    return left <= _LEFT * last and bool(count.sum() - rank >= spare)


def _refuse(problem: Problem, own: np.ndarray) -> None:
    """Say which readings have no scatter."""
    where, name = own[problem.cell], problem.response
    y = problem.table.numeric(name)[where]
    alike = f"every reading is {significant(float(y[0]), 6)}" if np.ptp(y) == 0 else "readings of the same agree to the last digit"
    some = "" if own.all() else f" in {rows_text(problem.table.index[where])}, whose noise has a scale of its own"
    raise DataError(
        f"column {name!r}: {alike}{some}, so that the noise has no scale to infer: it lies below what the instrument resolves. {WAY_OUT}"
    )


def _left(y: np.ndarray, matrices: Sequence[sparse.csr_matrix]) -> tuple[float, int]:
    """Largest deviation of y from what columns span, and their rank."""
    if not matrices:
        return float(np.max(np.abs(y))), 0
    x = sparse.hstack(matrices).toarray()
    sizes = np.sqrt((x**2).sum(axis=0))
    b, _, rank, _ = np.linalg.lstsq(x / np.where(sizes > 0, sizes, 1.0), y, rcond=None)
    return float(np.max(np.abs(y - (x / np.where(sizes > 0, sizes, 1.0)) @ b))), int(rank)
