"""Row by row scores of left-out counts, fractions and strengths, in response units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from realmat.posterior.draws import Posterior
from realmat.posterior.grouping import Groups
from realmat.posterior.reading import own_values

if TYPE_CHECKING:
    import pandas as pd


def native_scores(posterior: Posterior, groups: Groups, indices: np.ndarray, eta: np.ndarray, weight: np.ndarray) -> pd.DataFrame:
    """As `realmat.validation.scores.row_scores`, where the density reads the response itself.

    Parameters
    ----------
    posterior, groups
    indices : int array of shape (draws,)
    eta : array of shape (draws, pairs)
        Linear predictors.
    weight : array of shape (draws, groups)
        Adding up to one over draws.

    Notes
    -----
    The PIT of a count is drawn evenly between the probabilities of less and of not more (Czado, Gneiting & Held, Biometrics 65, 1254,
    2009); so is that of a piece that was stopped. The ranked probability score is that of one weighted draw for each draw of psi and b.
    """
    import pandas as pd

    problem = posterior.problem
    rows = np.flatnonzero(groups.of_row >= 0)
    noise = problem.response_rows.noise.take(problem.cell[rows])
    density, y = noise.density, problem.g[rows]
    assert density is not None
    at, w = eta[:, groups.pair[rows]].T, weight[:, groups.of_row[rows]].T
    own = own_values(noise, [posterior.values(int(i)) for i in indices])
    rng = np.random.default_rng(17)
    low, high = (np.sum(w * side, axis=1) for side in density.cdf(y, at, own))
    mean = density.mean(at, own)
    centre = np.sum(w * mean, axis=1)
    variance = np.sum(w * (density.variance(at, own) + (mean - centre[:, None]) ** 2), axis=1)
    crps = _crps(density.draw(at, own, rng), w, y)
    pit = low + rng.random(len(rows)) * (high - low)
    out = {"y": y, "mean": centre, "sd": np.sqrt(variance), "pit": pit, "crps": crps}
    return pd.DataFrame({"group": groups.labels[groups.of_row[rows]], **out}, index=problem.table.index[rows])


def _crps(drawn: np.ndarray, weight: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``E|X - y| - E|X - X'| / 2`` of weighted draws, shape (rows, draws), by sorting."""
    order = np.argsort(drawn, axis=1)
    x, w = np.take_along_axis(drawn, order, axis=1), np.take_along_axis(weight, order, axis=1)
    below = np.cumsum(w, axis=1)
    apart = np.sum(np.diff(x, axis=1) * (below * (1 - below))[:, :-1], axis=1)
    return np.asarray(np.sum(w * np.abs(x - y[:, None]), axis=1) - apart)
