"""What the prior did: where it contradicts the data, and where it alone decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from realmat.attribution.separability import contraction
from realmat.posterior.draws import Posterior
from realmat.support.checks import LOOK, OK, listed, row
from realmat.support.numbers import significant
from realmat.terms.priors import Prior
from realmat.validation.sensitivity import sensitivity

if TYPE_CHECKING:
    from realmat.model import Model

_CONTRACTION = 0.25  # below it the interquartile range is over 87 % of the prior's
_OWN, _DEFAULT = 1e-2, 1e-4  # prior probability of what the data say, from which it is a contradiction: of all of the user's, of a default
_SENSITIVE = 0.05
Row = dict[str, Any]


def prior_part(posterior: Posterior, model: Model | None, draws: int) -> tuple[list[Row], list[str]]:
    """Rows and sentences on priors: contradictions, then the user's own that decide, then what the data taught little of."""
    own = own_priors(model)
    tails = surprise(posterior)
    limit = {name: _OWN / max(len(own), 1) if name in own else _DEFAULT for name in tails}
    against = [name for name, p in tails.items() if p < limit[name]]
    rows: list[Row] = [row("prior", f"prior probability of {n}", tails[n], f">= {limit[n]:.2g}", LOOK) for n in against]
    said = []
    if against:
        said.append(
            f"Prior and data contradict each other on {listed(against[:4])}: the data put it where the prior expects hardly anything. See "
            "whether the prior, or a unit, is wrong."
        )
    strong = _strong(posterior, own - set(against), draws)
    rows += [row("prior", f"sensitivity of {name}", value, f"prior < {_SENSITIVE:g}", LOOK) for name, value in strong.items()]
    if strong:
        said.append(f"Your prior decides {listed(list(strong)[:4])} more than the data: report it with the result.")
    return _contraction(posterior, rows, said)


def own_priors(model: Model | None) -> set[str]:
    """Names of variables whose prior the user wrote."""
    found = set()
    for component in model.components if model is not None else ():
        for argument, value in vars(component).items():
            priors = value if isinstance(value, dict) else {argument: value}
            found |= {f"{component.label}_{name}" for name, prior in priors.items() if isinstance(prior, Prior)}
            found |= {component.label} if argument == "value" and isinstance(value, Prior) else set()
    return found


def surprise(posterior: Posterior) -> dict[str, float]:
    """Two-sided prior probability of the posterior median of each scalar parameter, Normal coefficients included."""
    out = {}
    for q in posterior.problem.params:
        if q.coords is not None:
            continue
        lookup = {name: float(np.median(posterior.param(name))) for name in q.prior.references}
        median, (low, high) = float(np.median(posterior.param(q.name))), q.prior.support
        frozen = q.prior._frozen(lookup)
        below, above = frozen.cdf(median) - frozen.cdf(low), frozen.cdf(high) - frozen.cdf(median)
        upper = above / (above + below)
        out[q.name] = (
            float(2 * min(upper, 1 - upper)) if np.isinf(low) else float(upper)
        )  # a scale near zero contradicts no prior of scales
    for block in posterior.problem.coefficients:
        if block.size == 1 and not callable(block.sd) and not callable(block.mean) and not block.mean_parts:
            from scipy.special import ndtr

            z = (np.median(posterior.block(block.name, posterior.thin(1000))) - np.ravel(block.mean)[0]) / np.ravel(block.sd)[0]
            out[block.name] = float(2 * ndtr(-abs(z)))
    return out


def _strong(posterior: Posterior, own: set[str], draws: int) -> dict[str, str]:
    """The user's own priors that decide."""
    if not own:
        return {}
    found = sensitivity(posterior, draws)
    kept = found[(found["prior"] >= _SENSITIVE) & (found["likelihood"] < _SENSITIVE) & found.index.isin(own)]
    return {str(n): f"prior {significant(float(r['prior']))}, data {significant(float(r['likelihood']))}" for n, r in kept.iterrows()}


def _contraction(posterior: Posterior, rows: list[Row], said: list[str]) -> tuple[list[Row], list[str]]:
    shrunk = contraction(posterior)
    little = shrunk[shrunk["contraction"] < _CONTRACTION]
    if len(shrunk):
        item = f"least contraction of the prior ({shrunk['contraction'].idxmin()})"
        smallest = float(shrunk["contraction"].min())
        rows.append(row("prior", item, smallest, f">= {_CONTRACTION:g}", LOOK if len(little) else OK))
    if len(little):
        said.append(f"The data taught little about {listed(list(map(str, little.index[:4])))}: it is hardly narrower than its prior.")
    return rows, said
