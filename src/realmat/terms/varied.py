"""Parameters that differ from piece to piece, bound to a table: vectors of hyperparameters, and what a new piece may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from realmat.table.table import Level, Table
from realmat.terms.component import hyper
from realmat.terms.priors import Prior
from realmat.terms.term import Function, Param, Values
from realmat.terms.varies import Varies

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
_MANY = 128  # nodes where several parameters vary together
_EXACT = {"Normal": lambda mu, sigma, z: mu + sigma * z, "LogNormal": lambda mu, sigma, z: np.exp(mu + sigma * z)}


@dataclass(frozen=True)
class Varied:
    """A varying parameter bound to the table of a fit.

    Attributes
    ----------
    name, dist, by : str
    level : Level
        The values that the fit has seen.
    params : tuple of Param
        Those of the distribution, and the vector of values.
    own : dict of str to Function
        The distribution's parameters as functions of psi.
    """

    name: str
    dist: str
    by: str
    level: Level
    params: tuple[Param, ...]
    own: Mapping[str, Function]

    @classmethod
    def of(cls, spec: Varies, name: str, table: Table, unit: str = "") -> Varied:
        """The values on a table; `name` is the posterior variable."""
        params: tuple[Param, ...] = ()
        own: dict[str, Function] = {}
        arguments: dict[str, float | str] = {}
        for key, prior in spec.priors.items():
            made, value = hyper(f"{name}_{key}", prior)
            params, own[key] = (*params, *made), value
            arguments[key] = f"{name}_{key}" if isinstance(prior, Prior) else prior
        level = table.level(spec.by)
        values = Param(name, Prior(spec.dist, **arguments), level.name, level.values, unit)
        return cls(name, spec.dist, spec.by, level, (*params, values), own)

    def place(self, table: Table, fresh_levels: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Value of each row (-1: one that the fit has not seen), and the number of a new draw for those (-1 for the others)."""
        codes = np.full(len(table), -1) if self.by in fresh_levels else table.codes_in(self.by, self.level.values)
        return codes, np.where(codes < 0, table.level(self.by).codes, -1)

    def at(self, p: Values, z: float) -> float:
        """The new value at a standard normal score."""
        arguments = {key: float(value(p, np)) for key, value in self.own.items()}
        if self.dist in _EXACT:
            return float(_EXACT[self.dist](**arguments, z=z))
        return float(Prior(self.dist, **arguments).ppf(special.ndtr(z)))


def nodes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Standard normal scores (n, count) and weights (n,) over which means of a function of new values are taken."""
    if count == 1:
        return _NODES[:, None], _WEIGHTS / _WEIGHTS.sum()
    from scipy.stats import qmc

    scores = special.ndtri(qmc.Sobol(count, seed=7).random(_MANY))
    return scores, np.full(_MANY, 1 / _MANY)
