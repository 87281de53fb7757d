"""Effects of one level on several properties that go together: a specimen that is harder than known states say is stronger too.

The effects of one value of a level on the properties are ``e = D L z`` with z standard normal, D the properties' own scales, and L the
Cholesky factor of their correlation matrix R = L L'. Its prior is that of Lewandowski, Kurowicka & Joe (J. Multivar. Anal. 100, 1989,
2009) with eta = 2. As in their section 3.2 the elements of L follow from partial correlations r, which are independent a priori:

    L_kj = r_kj sqrt(1 - sum_{m<j} L_km^2),     (1 + r_kj) / 2 ~ Beta(a_j, a_j),     a_j = eta + (K - 1 - j) / 2,     j = 1 ... k - 1,

so that they are plain hyperparameters. Written one property after the other, each effect is normal around what those before it tell,

    e_k | e_1 ... e_{k-1} ~ N(sum_j beta_kj e_j, (D_k L_kk)^2),     beta_kj = D_k / D_j sum_m L_km [L^-1]_mj,

which is the form that engines know: a prior mean that is linear in other coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from realmat.errors import ModelError
from realmat.support.checks import listed
from realmat.terms.component import indicator
from realmat.terms.parts import Derived
from realmat.terms.priors import Prior
from realmat.terms.problem import Problem
from realmat.terms.term import (
    Coefficients,
    Function,
    Noise,
    Param,
    Piece,
    Rows,
    Term,
    Values,
    evaluate,
    stored_name,
)

ETA = 2.0
SHARE = 0.98  # of the variance of noise that may correlate; the rest belongs to the single measurement, so that its variance is never zero


@dataclass(frozen=True)
class Correlation:
    """The correlation matrix of one effect on several properties.

    Attributes
    ----------
    name : str
        Of the effect.
    responses : tuple of str
        The properties, in the order of the matrix.
    share : float
        What off-diagonal elements are multiplied with in the end.
    """

    name: str
    responses: tuple[str, ...]
    share: float = 1.0

    def _partial(self, k: int, j: int) -> str:
        return f"{self.name}_partial_{stored_name(self.responses[j])}_{stored_name(self.responses[k])}"

    @property
    def params(self) -> tuple[Param, ...]:
        """(1 + r) / 2 of each partial correlation r."""
        size = len(self.responses)
        shape = [ETA + (size - 2 - j) / 2 for j in range(size - 1)]
        return tuple(Param(self._partial(k, j), Prior("Beta", alpha=shape[j], beta=shape[j])) for k in range(1, size) for j in range(k))

    def factor(self, p: Values, k: int, j: int) -> Any:
        """Element of the Cholesky factor, j <= k."""
        rest: Any = 1.0
        for m in range(j):
            rest = rest * self._left(p, k, m)
        return rest**0.5 if j == k else (2 * p[self._partial(k, j)] - 1) * rest**0.5

    def _left(self, p: Values, k: int, j: int) -> Any:
        """1 - r^2, without cancellation."""
        x = p[self._partial(k, j)]
        return 4 * x * (1 - x)

    def matrix(self, p: Values, xp: Any) -> Any:
        """The correlation matrix, shape (K, K)."""
        size = len(self.responses)
        factors = [[self.factor(p, k, j) for j in range(k + 1)] for k in range(size)]
        one = 0.0 * p[self._partial(1, 0)] + 1.0
        rows = [
            [one if k == m else self.share * sum(factors[k][j] * factors[m][j] for j in range(min(k, m) + 1)) for m in range(size)]
            for k in range(size)
        ]
        return xp.stack([xp.stack(row) for row in rows])

    @property
    def derived(self) -> Derived:
        """The matrix, as the posterior holds it."""
        names = np.array(self.responses, dtype=object)
        return Derived(f"{self.name}_correlation", ("property", "property_"), (names, names), value=self.matrix)

    def sd(self, k: int, own: Any) -> Function:
        """Standard deviation of effect k, of scale `own`, given those before it."""
        return lambda p, xp: evaluate(own, p, xp) * self.factor(p, k, k)

    def weight(self, k: int, j: int, own: Any, other: Any) -> Function:
        """beta_kj, for scales `own` and `other`."""

        def beta(p: Values, xp: Any) -> Any:
            w: dict[int, Any] = {}  # row k of L times the inverse of the rows before, from the last column on
            for m in range(k - 1, j - 1, -1):
                rest = self.factor(p, k, m) - sum(w[n] * self.factor(p, n, m) for n in range(m + 1, k))
                w[m] = rest / self.factor(p, m, m)
            return w[j] * evaluate(own, p, xp) / evaluate(other, p, xp)

        return beta

    def leaning(self, blocks: Sequence[Coefficients], k: int) -> Coefficients:
        """Block k with the prior that it has given the blocks before it."""
        own, same = blocks[k], sparse.identity(blocks[k].size, format="csr")
        leans = tuple(Piece(blocks[j].name, same, self.weight(k, j, own.sd, blocks[j].sd)) for j in range(k))
        return replace(own, sd=self.sd(k, own.sd), leans=leans)


def correlated(responses: Sequence[str], terms: Sequence[tuple[Term, ...]], names: Sequence[str]) -> list[tuple[Term, ...]]:
    """Terms by property in which the effects `names` correlate between properties.

    Raises
    ------
    realmat.ModelError
        If fewer than two properties have an effect, or it is not one normal draw with one scale for each value of the same level.
    """
    out = [list(own) for own in terms]
    for name in names:
        found = {k: place for k, own in enumerate(out) if (place := _find(name, responses[k], own)) is not None}
        _can_correlate(name, [responses[k] for k in found], [_block(name, responses[k], out[k][i]) for k, i in found.items()])
        correlation = Correlation(stored_name(name), tuple(responses[k] for k in found))
        blocks = [_block(name, responses[k], out[k][i]) for k, i in found.items()]
        for place, (k, i) in enumerate(found.items()):
            out[k][i] = _leaning(out[k][i], correlation, blocks, place)
    return [tuple(own) for own in out]


def _variable(name: str, response: str) -> str:
    return f"{stored_name(response)}_{stored_name(name)}"


def _find(name: str, response: str, terms: Sequence[Term]) -> int | None:
    wanted = _variable(name, response)
    return next((i for i, term in enumerate(terms) if any(c.name == wanted for c in term.coefficients)), None)


def _block(name: str, response: str, term: Term) -> Coefficients:
    return next(c for c in term.coefficients if c.name == _variable(name, response))


def _can_correlate(name: str, responses: Sequence[str], blocks: Sequence[Coefficients]) -> None:
    if len(blocks) < 2:
        has = f"only {responses[0]} has it" if responses else "no property has it"
        raise ModelError(f"correlate: {name!r} must be an effect by level of at least two properties; {has}.")
    for response, block in zip(responses, blocks, strict=True):
        zero = not callable(block.mean) and not np.any(block.mean)
        if block.level is None or block.nu is not None or block.parents or not zero or np.ndim(evaluate(block.sd, _Any())) > 0:
            raise ModelError(
                f"correlate: {name!r} of {response} is not one normal draw of one scale for each value of a level, as Unresolved(by=) is."
            )
    if len({(block.level, block.size) for block in blocks}) > 1:
        levels = listed([f"{block.level} for {response}" for response, block in zip(responses, blocks, strict=True)])
        raise ModelError(f"correlate: {name!r} belongs to different levels: {levels}.")


class _Any(dict[str, float]):
    """Every hyperparameter is one: enough to see whether a standard deviation is one number or many."""

    def __missing__(self, name: str) -> float:
        return 1.0


def _leaning(term: Term, correlation: Correlation, blocks: Sequence[Coefficients], k: int) -> Term:
    """A term whose block is number `k` of those that correlate."""
    own = blocks[k]
    return replace(
        term,
        params=(*term.params, *correlation.params),
        coefficients=tuple(correlation.leaning(blocks, k) if c is own else c for c in term.coefficients),
        derived=(*term.derived, correlation.derived),
    )


# --- noise ----------------------------------------------------------------------------------------------------------------------


def correlated_noise(problems: Sequence[Problem]) -> list[Problem]:
    """Noise of responses measured in one row that correlates: a share of its variance becomes coefficients of the row.

    Raises
    ------
    realmat.ModelError
        If a noise is not normal with one inferred scale, or no row holds two of the responses.
    """
    for part in problems:
        noise = part.noise
        if noise.nu is not None or noise.censored is not None or noise.scales is None or len(np.unique(noise.group)) > 1:
            raise ModelError(f"correlate: the noise of {part.response} is not normal with one inferred scale.")
    whole = problems[0].cells.whole
    measured = np.zeros(len(whole), dtype=int)
    for part in problems:
        measured[part.cells.place] += 1
    rows = np.flatnonzero(measured > 1)
    if len(problems) < 2 or not len(rows):
        raise ModelError('correlate: no row holds two of the responses, so "noise" of them cannot correlate.')
    number = np.full(len(whole), -1)
    number[rows] = np.arange(len(rows))
    correlation = Correlation("noise", tuple(part.response for part in problems), SHARE)
    blocks = [_common(part, len(rows)) for part in problems]
    return [_noisy(part, correlation, blocks, k, number) for k, part in enumerate(problems)]


def _noisy(part: Problem, correlation: Correlation, blocks: Sequence[Coefficients], k: int, number: np.ndarray) -> Problem:
    own, rows, full = number[part.cells.place], part.response_rows, part.noise
    assert full.scales is not None
    inferred = full.scales

    def scales(p: Values, xp: Any) -> Any:
        scale = inferred(p, xp)[0]
        return xp.stack([scale, (1 - SHARE) ** 0.5 * scale])

    piece = (part.observation.component, Piece(blocks[k].name, indicator(own, blocks[k].size)))
    reduced = Noise(full.u, np.where(full.group < 0, -1, (own >= 0).astype(int)), scales)
    term = replace(
        part.observation,
        params=(*part.observation.params, *correlation.params),
        coefficients=(*part.observation.coefficients, correlation.leaning(blocks, k)),
        derived=(*part.observation.derived, correlation.derived),
    )
    return replace(
        part,
        terms=tuple(term if t is part.observation else t for t in part.terms),
        response_rows=Rows(rows.name, rows.y, (*rows.pieces, piece), rows.offsets, reduced, rows.count, rows.within),
    )


def _common(part: Problem, size: int) -> Coefficients:
    """What of the noise of a property may be common to the row."""
    inferred = part.noise.scales
    assert inferred is not None
    name = f"{stored_name(part.response)}_noise_common"
    return Coefficients(name, size, lambda p, xp: SHARE**0.5 * inferred(p, xp)[0], dim="noise_row", coords=np.arange(size), inner=True)
