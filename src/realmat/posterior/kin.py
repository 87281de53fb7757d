"""Draws of one new state that acts through several components: its own, and those whose states depend on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from realmat.errors import ModelError
from realmat.terms.term import Contribution, Fresh, Function, Term, Values, evaluate


def one_draw_each(terms: Sequence[Term], contributions: Sequence[Contribution]) -> tuple[Contribution, ...]:
    """Contributions in which each draw of a state is one source: all that it does stands with the component whose state it is.

    Raises
    ------
    realmat.ModelError
        If components do not draw the state for the same pieces.
    """
    every: dict[str, list[Fresh]] = {}
    for c in contributions:
        for fresh in c.fresh:
            if fresh.of:
                every.setdefault(fresh.of, []).append(fresh)
    if not every:
        return tuple(contributions)
    for name, draws in every.items():
        if not all(np.array_equal(draws[0].groups, other.groups) for other in draws):
            raise ModelError(f"the state {name!r} of new pieces acts through components that see other pieces.")
    out = []
    for term, c in zip(terms, contributions, strict=True):
        own = {state.name for state in term.states}
        kept = [fresh for fresh in c.fresh if not fresh.of]
        kept += [replace(every[name][0], sd=_sum([fresh.sd for fresh in every[name]])) for name in every if name in own]
        out.append(replace(c, fresh=tuple(kept)))
    return tuple(out)


def _sum(sds: Sequence[Function]) -> Function:
    def total(p: Values, xp: object) -> np.ndarray:
        return sum((np.asarray(evaluate(sd, p)) for sd in sds), np.zeros(()))

    return total
