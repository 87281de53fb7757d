"""Leave-one-group-out cross-validation with coefficients integrated out.

Importance sampling that leaves a group out of draws of (psi, b) fails where the group has latent variables of its own. Here b is
integrated out exactly at every psi (`realmat.validation.leaving`), and only psi is reweighted, by Pareto-smoothed importance sampling
(Vehtari, Gelman & Gabry, Stat. Comput. 27, 1413, 2017; integrated: Vehtari et al., J. Mach. Learn. Res. 17, 103, 2016; Merkle, Furr &
Rabe-Hesketh, Psychometrika 84, 802, 2019). Where a group moves psi far, psi is drawn anew from near its posterior without the group.
A model with an effect that is not linear given its parameters has no closed form: its groups are left out by Pareto-smoothed importance
sampling of (psi, b), and refitted where that fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from realmat.algebra import System
from realmat.algebra.batching import at_index, slices
from realmat.algebra.space import Space
from realmat.posterior.contributions import Stream
from realmat.posterior.draws import Draws, Posterior
from realmat.posterior.grouping import By, Groups, groups_of, of_rows
from realmat.posterior.pointwise import density_log, jacobian, log_density
from realmat.support.threads import workers
from realmat.terms.problem import Problem, nonlinear_terms
from realmat.validation.adaptation import adapt
from realmat.validation.importance import good_k, psis, relative_efficiency
from realmat.validation.leaving import Leaver, LeftOutDensities
from realmat.validation.native_scores import native_scores
from realmat.validation.scores import Moments, row_scores, summary

if TYPE_CHECKING:
    import arviz as az
    import pandas as pd

GIVEN = ("others", "nothing")
Refit = Callable[[Problem, Mapping[str, np.ndarray]], Mapping[str, Draws]]
_MOST_DRAWS, _FEWEST_DRAWS = 1000, 200
_WORK = 3e5  # draws x (group, cell) pairs beyond which draws are thinned
_WORN = 0.7  # share of effective draws below which psi is drawn anew for a group
_MOST_ADAPTED = 40
_NUMBERS = 2e7  # predictive moments held at once


@dataclass(frozen=True)
class LeftOut:
    """Predictions of every group from a fit without it.

    Attributes
    ----------
    elpd : az.ELPDData
        One entry for each group; densities are those of the response in its own unit.
    table : DataFrame
        By row, in response units: `group`, `y`, `mean` and `sd` of the predictive distribution of a measurement, `pit` (its distribution
        function at y; NaN where y is censored) and `crps` (Gneiting & Raftery, J. Am. Stat. Assoc. 102, 359, 2007). With
        `means` the distribution is that of the mean of so many measurements.
    by : str
    link : str
    refitted : tuple of str
        Groups for which importance sampling failed, and which were refitted without.
    means : bool
        Whether rows are means, of a table that was reduced where it lives.
    """

    elpd: az.ELPDData
    table: pd.DataFrame
    by: str
    link: str
    refitted: tuple[str, ...] = ()
    means: bool = False

    def scores(self) -> dict[str, float]:
        """RMSE, MAE, CRPS, coverage of central 50, 80 and 95 % intervals, and sharpness (mean predictive sd), over uncensored rows."""
        return summary(self.table)


@dataclass
class _Scored:
    """Some groups at all draws: log densities (draws, groups), and moments (draws, pairs) on the scale of the link."""

    left_out: np.ndarray
    moments: Moments

    def put(self, where: Any, members: Any, at: LeftOutDensities | Moments) -> None:
        """Other moments of some pairs at some draws."""
        for name in ("mean", "variance", "noise"):
            getattr(self.moments, name)[where if members is None else np.ix_(where, members)] = getattr(at, name)


def loo(posterior: Posterior, by: By = "observation", refit: Refit | None = None, draws: int | None = None) -> az.ELPDData:
    """Leave-one-group-out expected log predictive density.

    Parameters
    ----------
    posterior : Posterior
    by : str or sequence
        ``"observation"``, a level (``"specimen"``, ``"material"``, ``"lab"``), a column that the model uses, or one label for each row.
    refit : callable, optional
        Gives draws of a problem on some of its rows, by name; called with those that are left without each group whose k-hat is too large.
    draws : int, optional
        At most so many posterior draws, spread evenly; by default 1000, or fewer (at least 200) where rows are many.

    Returns
    -------
    az.ELPDData
        For ``az.compare``: `elpd_i` and `pareto_k` along a dimension named as the grouping.

    Raises
    ------
    realmat.ModelError, realmat.DataError
        If there is no such grouping.

    Notes
    -----
    A group's response rows are left out; characterisations of its specimens stay. Densities are of the response in its own unit, also with
    a log link; a censored row counts by the probability of lying beyond its limit. `p` says how much of the fit to its own group is owed
    to the hyperparameters; coefficients, which are integrated out, are not counted.
    """
    return left_out(posterior, by, refit, draws).elpd


def left_out(
    posterior: Posterior,
    by: By = "observation",
    refit: Refit | None = None,
    draws: int | None = None,
    rows: np.ndarray | None = None,
    tick: Callable[[int, int], None] | None = None,
    anew: bool = True,
) -> LeftOut:
    """As `loo`, with the left-out predictions of every row.

    `rows` scores only the groups of some rows; `tick(done, of)` is called on the way; without `anew`, hyperparameters are only reweighted,
    never drawn anew for a group that moves them far.
    """
    problem = posterior.problem
    groups = groups_of(problem, by, rows)
    bent = bool(nonlinear_terms(problem)) or problem.response_rows.noise.density is not None
    affordable = int(np.clip(_WORK / len(groups.cell), _FEWEST_DRAWS, _MOST_DRAWS))
    indices = posterior.thin(affordable if draws is None else draws)
    r_eff = relative_efficiency(posterior, len(indices))
    parts: list[pd.DataFrame] = []
    size = len(groups.labels)
    elpd, fitted, k_hat = np.zeros(size), np.zeros(size), np.zeros(size)
    refitted: list[str] = []
    chunks = _chunks(groups, len(indices))
    for n, (own_groups, own_rows) in enumerate(chunks):
        some = groups if len(chunks) == 1 else groups_of(problem, by, own_rows)
        report = None if tick is None else (lambda done, n=n: tick(n * len(indices) + done, len(chunks) * len(indices)))
        scored = _pointwise(posterior, some, indices) if bent else _integrated(posterior, some, indices, report)
        log_weight, k_here = psis(scored.left_out, r_eff)
        fitted[own_groups] = np.logaddexp.reduce(scored.left_out, axis=0) - np.log(len(indices))
        if anew and not bent and not posterior.problem.swept and not posterior.system.augmented and posterior.draws.params:
            _adapt(posterior, some, indices, scored, log_weight, k_here)
        again = _refit(posterior, some, np.flatnonzero(k_here > good_k(len(indices))), bent, refit, scored, log_weight)
        k_here[again] = 0.0
        k_hat[own_groups] = k_here
        refitted += [str(label) for label in some.labels[again]]
        elpd[own_groups] = np.logaddexp.reduce(log_weight + scored.left_out, axis=0)
        if problem.native:
            parts.append(native_scores(posterior, some, indices, scored.moments.mean, np.exp(log_weight)))
        else:
            parts.append(row_scores(problem, some, scored.moments, np.exp(log_weight)))
    import pandas as pd

    table = pd.concat(parts)
    change = np.zeros(size) if bent else _jacobian(problem, groups)
    data = _elpd(elpd + change, fitted + change, k_hat, groups, len(indices))
    order = pd.Index(problem.table.index).get_indexer(table.index).argsort(kind="stable")
    return LeftOut(data, table.iloc[order], groups.by, problem.link, tuple(refitted), problem.table.within is not None)


def assembled(
    problem: Problem,
    groups: Groups,
    density: np.ndarray,
    log_weight: np.ndarray,
    k_hat: np.ndarray,
    moments: Moments,
) -> LeftOut:
    """The result from densities and normalised log weights of groups (draws, groups), and moments of pairs."""
    elpd = np.logaddexp.reduce(log_weight + density, axis=0)
    fitted = np.logaddexp.reduce(density, axis=0) - np.log(len(density))
    change = _jacobian(problem, groups)
    table = row_scores(problem, groups, moments, np.exp(log_weight))
    return LeftOut(_elpd(elpd + change, fitted + change, k_hat, groups, len(density)), table, groups.by, problem.link)


def _chunks(groups: Groups, draws: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Groups and rows that are scored together, so that memory stays bounded."""
    per = np.bincount(groups.group, minlength=len(groups.labels))
    chunk = (np.cumsum(per) * draws / _NUMBERS).astype(int)
    out = []
    for c in np.unique(chunk):
        which = np.flatnonzero(chunk == c)
        inside = (groups.of_row >= which[0]) & (groups.of_row <= which[-1])
        out.append((which, np.flatnonzero(inside)))
    return out


def _integrated(posterior: Posterior, groups: Groups, indices: np.ndarray, tick: Callable[[int], None] | None = None) -> _Scored:
    """Every group left out at every draw of psi, b integrated out."""
    leaver = Leaver(posterior.system, groups)
    pairs, size = len(groups.cell), len(groups.labels)
    out = _Scored(np.zeros((len(indices), size)), Moments.empty(len(indices), pairs, np.float32))

    def work(where: slice) -> int:
        rngs = [np.random.default_rng([11, int(i)]) for i in indices[where]]
        at = leaver.at(posterior.batch(indices[where]), len(rngs), rngs)
        out.left_out[where] = at.left_out
        out.put(where, None, at)
        return where.stop

    # compiled loops share the processor well; what is drawn anew goes through Python, whose lock would eat the gain
    with ThreadPoolExecutor(1 if leaver.resampled else workers()) as pool:
        for done in pool.map(work, slices(len(indices), leaver.most)):
            if tick is not None:
                tick(done)
    return out


def _pointwise(posterior: Posterior, groups: Groups, indices: np.ndarray) -> _Scored:
    """Log likelihood of every group at draws of (psi, b)."""
    problem = posterior.problem
    rowwise = problem.response_rows.noise.take(problem.cell)
    stream = Stream(posterior, draws=len(indices))
    stream.indices = indices
    rows = np.flatnonzero(groups.of_row >= 0)
    member = sparse.csr_matrix((np.ones(len(rows)), (groups.of_row[rows], rows)), shape=(len(groups.labels), len(problem.table)))
    density = np.zeros((len(indices), len(groups.labels)))
    moments = Moments.empty(len(indices), len(groups.cell))
    for chunk in stream:
        size = (len(stream), chunk.where.stop - chunk.where.start)
        value = chunk.total.T
        noise = chunk.sources[-1]
        scale = np.broadcast_to(np.sqrt(noise.variance), size).T
        if rowwise.density is not None:
            by_row = density_log(problem, rowwise, value[:, problem.cell].T, [posterior.values(int(i)) for i in indices[chunk.where]]).T
        else:
            by_row = log_density(problem, value[:, problem.cell], scale[:, problem.cell], None if noise.nu is None else noise.nu[:, None])
        density[chunk.where] = (member @ by_row.T).T
        moments.mean[chunk.where] = value[:, groups.cell]
        moments.noise[chunk.where] = np.broadcast_to(noise.full_variance, size).T[:, groups.cell]
    return _Scored(density, moments)


def _adapt(posterior: Posterior, groups: Groups, indices: np.ndarray, scored: _Scored, log_weight: np.ndarray, k_hat: np.ndarray) -> None:
    """Where a group moves psi far, draw psi from near its posterior without the group instead of reweighting that with it.

    Scales are explored by their fourth roots, as a scale that may be zero has a long tail in its logarithm.
    """
    problem, limit = posterior.problem, good_k(len(log_weight))
    space = Space(problem.params, np.where(Space(problem.params).positive, 0.25, 0.0))
    effective = _effective(log_weight)
    bad = np.flatnonzero((k_hat > limit) | (effective < _WORN))
    if not len(bad):
        return
    thetas = np.stack([space.theta(posterior.values(int(i))) for i in indices])
    for g in bad[np.argsort(effective[bad])][:_MOST_ADAPTED]:
        own = groups.of_row == g
        without = System(of_rows(problem, np.flatnonzero(~own)))
        alone = Leaver(posterior.system, groups_of(problem, np.where(own, "in", "out"), np.flatnonzero(own)))
        rng = np.random.default_rng([13, int(np.argmax(own))])  # of the group, however groups are gathered
        values, weight, k = adapt(space, thetas, log_weight[:, g], without.many.log_marginal, len(indices), rng)
        better = k < k_hat[g] if k_hat[g] > limit else k <= limit and _effective(weight) > effective[g]
        if not better:
            continue
        members = np.flatnonzero(groups.group == g)
        used = np.flatnonzero(np.exp(weight))
        for part in slices(len(used), alone.most):
            some = used[part]
            at = alone.at(at_index(values, some), len(some))
            scored.left_out[some, g] = at.left_out[:, 0]
            scored.put(some, members, at)
        log_weight[:, g], k_hat[g] = weight, k


def _effective(log_weight: np.ndarray) -> np.ndarray:
    """Share of the draws that normalised weights (draws, ...) leave effective."""
    return 1 / (np.exp(2 * log_weight).sum(axis=0) * len(log_weight))


def _refit(
    posterior: Posterior, groups: Groups, bad: np.ndarray, bent: bool, refit: Refit | None, scored: _Scored, log_weight: np.ndarray
) -> np.ndarray:
    """Replace the columns of the groups `bad` by those of fits without them. Returns the groups that were."""
    if refit is None or not len(bad):
        return bad[:0]
    problem = posterior.problem
    drawn = refit(problem, {f"without {groups.labels[g]} ({g})": np.flatnonzero(groups.of_row != g) for g in bad})
    for g, draws in zip(bad, drawn.values(), strict=True):
        own = np.flatnonzero(groups.of_row == g)
        found = Posterior(problem, draws)
        indices = np.linspace(0, found.size - 1, len(log_weight)).astype(int)
        alone = groups_of(problem, np.where(groups.of_row == g, "in", "out"), own)
        new = _pointwise(found, alone, indices) if bent else _integrated(found, alone, indices)
        members = np.flatnonzero(groups.group == g)
        scored.left_out[:, g] = new.left_out[:, 0]
        scored.put(np.arange(len(log_weight)), members, new.moments)
        log_weight[:, g] = -np.log(len(log_weight))
    return bad


def _jacobian(problem: Problem, groups: Groups) -> np.ndarray:
    """From log densities of g(y) to those of y, shape (groups,)."""
    inside = groups.of_row >= 0
    each = problem.table.count * jacobian(problem)
    return np.bincount(groups.of_row[inside], weights=each[inside], minlength=len(groups.labels))


def _elpd(elpd: np.ndarray, fitted: np.ndarray, k_hat: np.ndarray, groups: Groups, draws: int) -> az.ELPDData:
    import xarray as xr
    from arviz_stats.utils import ELPDDataLOO  # arviz itself imports matplotlib

    size, limit = len(elpd), good_k(draws)
    coords = {groups.by: groups.labels}
    return ELPDDataLOO(
        elpd=float(elpd.sum()),
        se=float(np.sqrt(size * np.var(elpd))),
        p=float(np.sum(fitted - elpd)),
        n_samples=draws,
        n_data_points=size,
        scale="log",
        warning=bool((k_hat > limit).any()),
        good_k=limit,
        elpd_i=xr.DataArray(elpd, dims=[groups.by], coords=coords, name="elpd_i"),
        pareto_k=xr.DataArray(k_hat, dims=[groups.by], coords=coords, name="pareto_k"),
    )
