"""Leaving a group out with everything that was measured of its other properties.

What is left out of one property while the others are kept follows from one factorisation (`realmat.validation.leaving`). Here each
group has a problem of its own, without any of its responses: characterisations of its specimens stay. Hyperparameters are reweighted by
Pareto-smoothed importance sampling with the density of all that was left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from realmat.algebra import System
from realmat.posterior.draws import Posterior
from realmat.posterior.grouping import By, Groups, groups_of, of_rows
from realmat.table.table import ROW
from realmat.terms.problem import Problem
from realmat.validation.importance import psis, relative_efficiency
from realmat.validation.leaving import Leaver
from realmat.validation.loo import LeftOut, assembled
from realmat.validation.scores import Moments

_DRAWS = 200


def left_out_alone(posterior: Posterior, by: By, draws: int | None = None, tick: Callable[[int, int], None] | None = None) -> LeftOut:
    """Predictions of one property of every group, from all other groups alone.

    Parameters
    ----------
    posterior : Posterior
        Seen through the property.
    by, draws, tick
        As of `realmat.validation.loo.left_out`; 200 draws by default.
    """
    problem = posterior.problem
    groups = groups_of(problem, by)
    indices = posterior.thin(_DRAWS if draws is None else draws)
    values, n = posterior.batch(indices), len(indices)
    size = len(groups.labels)
    density, whole = np.zeros((n, size)), posterior.system.many.log_marginal(values, n)
    log_weight, k_hat = np.full((n, size), -np.log(n)), np.zeros(size)
    moments = Moments.empty(n, len(groups.cell))
    r_eff = relative_efficiency(posterior, n)
    for g in range(size):
        others = _without(problem, groups, g)
        alone = Leaver(System(others), groups_of(others, np.where(groups.of_row == g, "in", "out"), np.flatnonzero(groups.of_row == g)))
        at = alone.at(values, n)
        members = np.flatnonzero(groups.group == g)
        density[:, g] = at.left_out[:, 0]
        for name in ("mean", "variance", "noise"):
            getattr(moments, name)[:, members] = getattr(at, name)
        rest = System(of_rows(others, np.flatnonzero(groups.of_row != g))).many.log_marginal(values, n)
        weight, k = psis((whole - rest)[:, None], r_eff)
        log_weight[:, g], k_hat[g] = weight[:, 0], k[0]
        if tick is not None:
            tick(g + 1, size)
    return assembled(problem, groups, density, log_weight, k_hat, moments)


def _without(problem: Problem, groups: Groups, g: int) -> Problem:
    """The problem without the other properties of one group: those of its values of the level, or of its rows."""
    mine = problem.table.place[groups.of_row == g]
    whole = problem.table.whole
    beside = []
    for part in problem.beside:
        if groups.by in (ROW, "group") or whole.column_of(groups.by) not in whole.columns:
            gone = np.isin(part.table.place, mine)
        else:
            codes = whole.level(groups.by).codes
            gone = np.isin(codes[part.table.place], codes[mine])
        kept = np.flatnonzero(~gone)
        beside.append(part if not gone.any() else replace(of_rows(part, kept), beside=()))
    return replace(problem, beside=tuple(beside))
