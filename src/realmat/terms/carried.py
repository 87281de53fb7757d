"""The priors that a problem was given, for another problem of the same model: default priors are scaled by the data, and do not move."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from realmat.terms.component import Scale
from realmat.terms.priors import Prior
from realmat.terms.problem import Problem
from realmat.terms.term import Coefficients, Term


@dataclass(frozen=True)
class Priors:
    """What default priors came to be.

    Attributes
    ----------
    scales : mapping of response to Scale
        Magnitudes that components scale by when they are bound.
    params : mapping of name to Prior
        Of every hyperparameter.
    moments : mapping of name to (mean, sd)
        Of every block of coefficients whose prior is one known normal.
    """

    scales: Mapping[str, Scale]
    params: Mapping[str, Prior]
    moments: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, problem: Problem) -> Priors:
        """Those of a problem."""
        return cls(
            {part.response: part.scale for part in problem.every},
            {q.name: q.prior for q in problem.params},
            {c.name: (float(c.mean), float(c.sd)) for c in problem.coefficients if _known(c)},  # type: ignore[arg-type]
        )

    def put(self, problem: Problem) -> Problem:
        """The same problem with these priors, where it has parameters of the same names."""
        own = replace(problem, terms=tuple(map(self._term, problem.terms)))
        return replace(own, beside=tuple(replace(part, terms=tuple(map(self._term, part.terms))) for part in problem.beside))

    def _term(self, term: Term) -> Term:
        params = tuple(replace(q, prior=self.params.get(q.name, q.prior)) for q in term.params)
        return replace(term, params=params, coefficients=tuple(map(self._block, term.coefficients)))

    def _block(self, block: Coefficients) -> Coefficients:
        if block.name not in self.moments or not _known(block):
            return block
        mean, sd = self.moments[block.name]
        return replace(block, mean=mean, sd=sd)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description."""
        return {
            "scales": {response: dataclasses.asdict(scale) for response, scale in self.scales.items()},
            "params": {name: prior.to_dict() for name, prior in self.params.items()},
            "moments": {name: list(pair) for name, pair in self.moments.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Priors:
        """Inverse of `to_dict`."""
        return cls(
            {response: Scale(**{**own, "theory": tuple(own["theory"])}) for response, own in data["scales"].items()},
            {name: Prior.from_dict(prior) for name, prior in data["params"].items()},
            {name: (float(mean), float(sd)) for name, (mean, sd) in data["moments"].items()},
        )


def _known(block: Coefficients) -> bool:
    return not (callable(block.mean) or callable(block.sd)) and np.ndim(block.mean) == 0 and np.ndim(block.sd) == 0
