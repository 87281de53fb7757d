"""Effects of one level on several properties that go together: a specimen that is harder than known states say is stronger too.

The effects of level value j on the properties are ``e_j = D L z_j`` with z_j standard normal, D the properties' own scales, and L the
Cholesky factor of their correlation matrix R = L L'. Its prior is that of Lewandowski, Kurowicka & Joe (J. Multivar. Anal. 100, 1989,
2009) with eta = 2. As in their section 3.2 the elements of L follow from partial correlations r, which are independent a priori:

    L_kj = r_kj sqrt(1 - sum_{m<j} L_km^2),     (1 + r_kj) / 2 ~ Beta(a_j, a_j),     a_j = eta + (K - 1 - j) / 2,     j = 1 ... k - 1,

so that they are plain hyperparameters, and the z are coefficients whose prior does not depend on psi.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from realmat.errors import ModelError
from realmat.support.checks import listed
from realmat.terms.component import indicator
from realmat.terms.priors import Prior
from realmat.terms.problem import Problem
from realmat.terms.term import (
    Bias,
    Coefficients,
    Contribution,
    Derived,
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

    def block(self, j: int) -> str:
        """Name of the standard normal coefficients that property j brings in."""
        return f"{self.name}_z_{stored_name(self.responses[j])}"

    def scale(self, k: int, j: int, own: Any, outer: Function | None = None) -> Function:
        """What multiplies block j in property k, whose scale is `own`."""
        return lambda p, xp: evaluate(outer, p, xp) * evaluate(own, p, xp) * self.factor(p, k, j)


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
        for place, (k, i) in enumerate(found.items()):
            out[k][i] = _loaded(out[k][i], _block(name, responses[k], out[k][i]), correlation, place)
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


def _loaded(term: Term, block: Coefficients, correlation: Correlation, k: int) -> Term:
    """A term whose block is ``scale_k * sum_j L_kj z_j``."""
    blocks = tuple(replace(block, name=correlation.block(j), sd=1.0, unit="", inner=True) for j in range(k + 1))
    scales = [correlation.scale(k, j, block.sd) for j in range(k + 1)]
    contribute = term.contribute

    def pieces(piece: Piece) -> tuple[Piece, ...]:
        if piece.coefficients != block.name:
            return (piece,)
        return tuple(Piece(z.name, piece.matrix, correlation.scale(k, j, block.sd, piece.scale)) for j, z in enumerate(blocks))

    def loaded(table: Any, fresh_levels: tuple[str, ...] = ()) -> Contribution:
        made = contribute(table, fresh_levels)
        return replace(made, pieces=tuple(new for piece in made.pieces for new in pieces(piece)))

    names = tuple(z.name for z in blocks)
    effect = Derived(
        block.name, (str(block.dim),), (block.coords,), tuple(zip(names, scales, strict=True)), level=block.level, unit=block.unit
    )
    biases = tuple(Bias(b.name, names if block.name in b.blocks else b.blocks, b.sd) for b in term.biases)
    return replace(
        term,
        params=(*term.params, *correlation.params),
        coefficients=tuple(new for c in term.coefficients for new in (blocks if c is block else (c,))),
        contribute=loaded,
        biases=biases,
        derived=(*term.derived, effect, correlation.derived),
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
    return [_noisy(part, correlation, k, number) for k, part in enumerate(problems)]


def _noisy(part: Problem, correlation: Correlation, k: int, number: np.ndarray) -> Problem:
    size, own = int(number.max()) + 1, number[part.cells.place]
    full, rows = part.noise, part.response_rows
    assert full.scales is not None
    inferred = full.scales
    blocks = tuple(Coefficients(correlation.block(j), size, 1.0, dim="noise_row", coords=np.arange(size), inner=True) for j in range(k + 1))
    matrix = indicator(own, size)

    def sd(p: Values, xp: Any) -> Any:
        return SHARE**0.5 * inferred(p, xp)[0]

    def scales(p: Values, xp: Any) -> Any:
        scale = inferred(p, xp)[0]
        return xp.stack([scale, (1 - SHARE) ** 0.5 * scale])

    owner = part.observation.component
    pieces = tuple((owner, Piece(z.name, matrix, correlation.scale(k, j, sd))) for j, z in enumerate(blocks))
    reduced = Noise(full.u, np.where(full.group < 0, -1, (own >= 0).astype(int)), scales)
    term = replace(
        part.observation,
        params=(*part.observation.params, *correlation.params),
        coefficients=(*part.observation.coefficients, *blocks),
        derived=(*part.observation.derived, correlation.derived),
    )
    return replace(
        part,
        terms=tuple(term if t is part.observation else t for t in part.terms),
        response_rows=Rows(rows.name, rows.y, (*rows.pieces, *pieces), rows.offsets, reduced, rows.count, rows.within),
    )
