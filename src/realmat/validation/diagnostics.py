"""Whether to trust a fit: convergence, what the prior did, calibration of left-out predictions, and single rows that weigh much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from realmat.attribution.separability import cautions, component_correlation, state_rows
from realmat.posterior.draws import Posterior
from realmat.support.checks import BAD, LOOK, OK, Check, listed, made, row
from realmat.support.numbers import percent, significant
from realmat.terms.problem import Problem, nonlinear_terms
from realmat.validation.loo import LeftOut, left_out
from realmat.validation.misfit import find, table_of
from realmat.validation.misfit.findings import RATE
from realmat.validation.priors import prior_part
from realmat.validation.scores import COVERAGES

if TYPE_CHECKING:
    import pandas as pd

    from realmat.model import Model

_COEFFICIENTS = 200  # of which convergence is looked at, evenly chosen
_ROWS = 2000  # left out for calibration
DRAWS = 300
_COMPENSATION = -0.95
Row = dict[str, Any]


def check(posterior: Posterior, model: Model | None = None, left: LeftOut | None = None) -> Check:
    """Check a fit.

    Parameters
    ----------
    posterior : Posterior
    model : Model, optional
        Says which priors are the user's own, and how a change of it is written.
    left : LeftOut, optional
        Predictions of single rows left out, if made before.

    Returns
    -------
    Check
        `ok` is False where the draws cannot be trusted; then every table and plot of the fit should say so. `findings` are what
        contradicts the model: fewer than 5 in 100 fits of a right model have any.

    Notes
    -----
    R-hat and effective sample sizes: Vehtari et al., Bayesian Anal. 16, 667 (2021); sensitivity to the prior: Kallioinen et al., Stat.
    Comput. 34, 57 (2024); findings: `realmat.validation.misfit`. Coverage of left-out predictions is told as it is.
    """
    plain = left is None
    left = left or left_out(posterior, "observation", draws=DRAWS, rows=_sample(len(posterior.problem.table)), anew=False)
    findings, misfit = _misfit(posterior, model)
    parts = [_convergence(posterior), misfit, prior_part(posterior, model, DRAWS), _calibration(left), _influence(left, plain)]
    parts.append(_components(posterior))
    rows = [r for part, _ in parts for r in part]
    sentences = [s for _, said in parts for s in said]
    return _made(posterior.problem.response, posterior.problem, rows, sentences, findings)


def _made(of: str, problem: Problem, rows: list[Row], sentences: list[str], findings: pd.DataFrame | None = None) -> Check:
    """The check of a fit. How the data were read is said beside what was found, and is no finding: a right model may have been meant."""
    said = [*(sentences or ["Nothing stands out: the fit can be used."]), *cautions(problem)]
    return made(f"Check of the fit of {of}", [*rows, *state_rows(problem)], said, findings)


def _misfit(posterior: Posterior, model: Model | None) -> tuple[pd.DataFrame, tuple[list[Row], list[str]]]:
    found, asked = find(posterior)
    findings, said = table_of(found, posterior.problem, model)
    rows = []
    for f, item in zip(found, findings["finding"], strict=True):
        p = f"p {significant(f.probability, 2)}" if f.probability >= 0.001 else "p under 0.001"
        rows.append(row("misfit", str(item), float(f.effect), f"{p}, of {asked} questions together", LOOK))
    if not found:
        rows.append(row("misfit", f"{asked} questions asked of the residuals and effects", "nothing found", f"p <= {RATE:g} together"))
    return findings, (rows, said)


def check_every(posterior: Posterior) -> Check:
    """Check a fit of several properties: convergence once, predictions of each."""
    parts = [_convergence(posterior), prior_part(posterior, None, DRAWS)]
    for response in posterior.problem.responses:
        own = posterior.of(response)
        left = left_out(own, "observation", draws=DRAWS, rows=_sample(len(own.problem.table)), anew=False)
        for rows, said in (_calibration(left), _influence(left, True), _components(own)):
            parts.append(([{**r, "item": f"{response}: {r['item']}"} for r in rows], [f"{response}: {s}" for s in said]))
    every = [r for rows, _ in parts for r in rows]
    sentences = [s for _, said in parts for s in said]
    return _made(listed(posterior.problem.responses), posterior.problem, every, sentences)


def warning(posterior: Posterior) -> str:
    """What every table and plot of a fit that did not converge says; empty where the draws can be trusted."""
    rows, sentences = _convergence(posterior)
    return sentences[0] if any(r["verdict"] == BAD for r in rows) else ""


def _sample(rows: int) -> np.ndarray | None:
    return None if rows <= _ROWS else np.sort(np.random.default_rng(0).choice(rows, _ROWS, replace=False))


# --- convergence ----------------------------------------------------------------------------------------------------------------


def _convergence(posterior: Posterior) -> tuple[list[Row], list[str]]:
    facts, stats = posterior.draws.facts, posterior.draws.stats
    rows = [row("convergence", "engine", str(facts.get("engine", "?")))]
    rows += _chains(posterior)
    if "diverging" in stats:
        count, of = int(np.sum(stats["diverging"])), int(np.size(stats["diverging"]))
        rows.append(row("convergence", "divergent transitions", count, "0", OK if not count else LOOK if count < 0.01 * of else BAD))
    if "k_hat" in facts and "why" not in facts:  # where the weights were not trusted, other chains gave the draws
        k = float(facts["k_hat"])
        rows.append(row("convergence", "k-hat of the proposal", k, "<= 0.7", OK if k <= 0.7 else LOOK))
    if "interrupted" in facts:
        rows.append(row("convergence", "interrupted", facts["interrupted"], "", LOOK))
    bad = [r for r in rows if r["verdict"] == BAD]
    look = [r for r in rows if r["verdict"] == LOOK]
    said = []
    if bad:
        why = listed([f"{r['item']} {significant(r['value'])}" for r in bad])
        said.append(f"The fit did not converge ({why}): do not use its numbers. Draw more, or give weakly known scales a tighter prior.")
    elif look:
        why = listed([f"{r['item']} {significant(r['value'])}" for r in look])
        said.append(f"The draws are usable for means, less for tails ({why}); more draws would help.")
    return rows, said


def _chains(posterior: Posterior) -> list[Row]:
    """R-hat and effective sample sizes of every hyperparameter and of some coefficients: the worst of each."""
    from arviz_stats.base import array_stats

    chains, draws = posterior.shape
    names, values = _watched(posterior)
    if not names or draws < 4:
        return [row("convergence", "draws", chains * draws)]
    found = {
        "bulk ESS": array_stats.ess(values, chain_axis=0, draw_axis=1),
        "tail ESS": array_stats.ess(values, 0, 1, method="tail", prob=(0.05, 0.95)),
    }
    rows = []
    if chains > 1:
        r_hat = array_stats.rhat(values, chain_axis=0, draw_axis=1)
        k = int(np.nanargmax(r_hat)) if np.isfinite(r_hat).any() else 0
        verdict = OK if r_hat[k] <= 1.01 else LOOK if r_hat[k] <= 1.05 else BAD
        rows.append(row("convergence", f"largest R-hat ({names[k]})", float(r_hat[k]), "<= 1.01", verdict))
    for what, ess in found.items():
        k = int(np.nanargmin(ess)) if np.isfinite(ess).any() else 0
        verdict = OK if ess[k] >= 400 else LOOK if ess[k] >= 100 else BAD
        rows.append(
            row("convergence", f"smallest {what} ({names[k]})", round(float(ess[k])) if np.isfinite(ess[k]) else 0, ">= 400", verdict)
        )
    return rows


def _watched(posterior: Posterior) -> tuple[list[str], np.ndarray]:
    """Names and draws, shape (chains, draws, n), of what convergence is judged on.

    The exact engine draws coefficients independently given the hyperparameters, so these alone tell.
    """
    shape, names, values = posterior.shape, [], []
    draws, exact = posterior.draws, posterior.draws.facts.get("engine") == "exact" and not posterior.system.augmented
    stored = [] if exact and draws.params else list(draws.coefficients.items())
    total = max(sum(v.shape[2] for _, v in stored), 1)
    step = max(1, total // _COEFFICIENTS)
    for name, some in [(n, v.reshape((*shape, -1))) for n, v in draws.params.items()] + [(n, v[..., ::step]) for n, v in stored]:
        names += [name if some.shape[2] == 1 else f"{name}[{j}]" for j in range(some.shape[2])]
        values.append(some)
    if not values:
        return [], np.zeros((*shape, 0))
    every = np.concatenate(values, axis=2)
    moving = np.ptp(every, axis=(0, 1)) > 0
    return [n for n, m in zip(names, moving, strict=True) if m], every[..., moving]


# --- calibration and influence --------------------------------------------------------------------------------------------------


def _calibration(left: LeftOut) -> tuple[list[Row], list[str]]:
    """Coverage of left-out predictions, as it is: rows of one specimen are no independent trials, so that it has no error rate."""
    scores, size = left.scores(), max(int(left.table["pit"].notna().sum()), 1)
    rows = []
    for p in COVERAGES:
        error = float(np.sqrt(p * (1 - p) / size))
        rows.append(
            row(
                "calibration", f"coverage of {100 * p:.0f} % intervals, left out", scores[f"coverage_{100 * p:.0f}"], f"{p:g} ± {error:.2g}"
            )
        )
    return rows, []


def _influence(left: LeftOut, plain: bool) -> tuple[list[Row], list[str]]:
    """Rows that weigh much. Where rows were left out by `plain` reweighting, k-hat is not that of `fit.loo()`, which does more for them."""
    k = left.elpd.pareto_k.to_series()
    worst = k.sort_values(ascending=False)
    many = worst[worst > left.elpd.good_k]
    item = f"largest k-hat{' of reweighting' if plain else ''} (row {worst.index[0]})"
    rows = [row("influence", item, float(worst.iloc[0]), f"<= {left.elpd.good_k:.2g}", LOOK if len(many) else OK)]
    if not len(many):
        return rows, []
    loo = " (This k-hat is that of reweighting; fit.loo() draws hyperparameters anew, or refits, where it can.)" if plain else ""
    return rows, [f"Leaving out {_rows(many.index)} moves the hyperparameters far.{loo}"]


def _rows(labels: Any) -> str:
    shown = listed(list(map(str, labels[:5])))
    return f"{'row' if len(labels) == 1 else 'rows'} {shown}" + (f" (and {len(labels) - 5} more)" if len(labels) > 5 else "")


def _components(posterior: Posterior) -> tuple[list[Row], list[str]]:
    correlation = component_correlation(posterior, DRAWS)
    names, values = list(correlation.index), correlation.to_numpy()
    pairs = [(values[i, j], names[j], names[i]) for i in range(len(names)) for j in range(i) if np.isfinite(values[i, j])]
    if not pairs:
        return [], []
    lowest = min(pairs)
    strong = [pair for pair in pairs if pair[0] < _COMPENSATION]
    said = [f"{a} and {b} compensate each other (correlation {r:.2f}): only their sum is well known." for r, a, b in strong[:3]]
    item = f"lowest correlation of components ({lowest[1]}, {lowest[2]})"
    bent = ", effects that are not linear included" if nonlinear_terms(posterior.problem) else ""
    return [row("components", item + bent, float(lowest[0]), f"> {_COMPENSATION:g}", LOOK if strong else OK)], said


def coverage_words(scores: dict[str, float]) -> str:
    """Coverage in a sentence.

    Examples
    --------
    >>> coverage_words({"coverage_50": 0.48, "coverage_80": 0.8, "coverage_95": 0.94})
    '50, 80 and 95 % intervals cover 48 %, 80 % and 94 %'
    """
    levels = [f"{100 * p:.0f}" for p in COVERAGES]
    return f"{listed(levels)} % intervals cover {listed([percent(scores[f'coverage_{p}']) for p in levels])}"
