"""Readings that agree to the last digit: a noise that nothing keeps from being zero.

Where effects reproduce every reading exactly, the density of the data grows without bound as an inferred scale of the noise goes to zero.
What the readings then tell is that their scatter is below the resolution of the instrument, and only the user knows that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from realmat.errors import DataError
from realmat.support.numbers import significant
from realmat.table.table import Table
from realmat.terms.term import Known, Rows, Term

_ALIKE, _LEFT = 16, 256  # spacings of doubles at the readings' size: what rounding leaves in readings of the same, and beside effects
_MOST = 2000  # coefficients up to which the readings are compared with all effects


def refuse_exact(rows: Rows, terms: Sequence[Term], table: Table) -> None:
    """Raise where no reading is a number, or where effects, fewer than the readings, reproduce exactly all of one inferred scale.

    Raises
    ------
    realmat.DataError
        With the way to state the resolution.
    """
    noise = rows.noise
    if noise.density is None and noise.censored is not None and len(noise.censored) and bool((noise.censored != 0).all()):
        raise DataError(
            f"column {table.response!r}: every value is only a limit, so that the data say nothing of the response's size or scatter. "
            "Give one measured value at least."
        )
    alone = bool((noise.group >= 0).all()) and not noise.u.any() and len(np.unique(noise.group)) == 1
    if noise.density is not None or not alone or (noise.censored is not None and noise.censored.any()) or len(rows.y) == 0:
        return
    last = float(np.spacing(np.max(np.abs(rows.y))))  # thirteen digits of which the last differ are readings with scatter
    if rows.within.sum() > (_ALIKE * last) ** 2 * rows.count.sum() or not all(isinstance(f, Known) for _, f in rows.offsets):
        return
    blocks = {block.name: block for term in terms for block in term.coefficients}
    pieces = [piece for _, piece in rows.pieces if piece.scale is None]
    repeated = rows.count.sum() > len(rows.y)
    if not repeated:  # without replicates, effects with a spread of their own share what scatter there is with the noise
        pieces = [piece for piece in pieces if not callable(blocks[piece.coefficients].sd)]
    if sum(piece.matrix.shape[1] for piece in pieces) > _MOST:
        return
    y = rows.y - sum((np.asarray(f.values) for _, f in rows.offsets if isinstance(f, Known)), np.zeros(1))
    left, rank = _left(y, [piece.matrix for piece in pieces])
    if left > _LEFT * last or rows.count.sum() <= rank:
        return
    name, y = table.response, table.numeric(table.response)
    what = f"every reading is {significant(float(y[0]), 6)}" if np.ptp(y) == 0 else "readings of the same agree to the last digit"
    raise DataError(
        f"column {name!r}: {what}, so that the noise has no scale to infer: it lies below what the instrument resolves. "
        "State the resolution: readings in steps of d are rm.observation.Normal(resolution=d)."
    )


def _left(y: np.ndarray, matrices: Sequence[sparse.csr_matrix]) -> tuple[float, int]:
    """Largest deviation of y from what columns span, and their rank."""
    if not matrices:
        return float(np.max(np.abs(y))), 0
    x = sparse.hstack(matrices).toarray()
    sizes = np.sqrt((x**2).sum(axis=0))
    b, _, rank, _ = np.linalg.lstsq(x / np.where(sizes > 0, sizes, 1.0), y, rcond=None)
    return float(np.max(np.abs(y - (x / np.where(sizes > 0, sizes, 1.0)) @ b))), int(rank)
