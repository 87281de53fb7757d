"""The stream that budgets, gaps and predictions are sums over.

For each draw of (psi, b) and each row, every component c gives its noiseless part E[C_c | psi, b] and the variance of what is drawn
afresh. The stream goes through the draws in chunks, on cells where rows are alike, so that memory never holds draws x rows x components.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from realmat.errors import DataError, ModelError
from realmat.posterior.draws import Posterior
from realmat.posterior.kin import one_draw_each
from realmat.posterior.reading import link_variance
from realmat.table.table import Table, cells
from realmat.terms.term import Contribution, Noise, Term, Values, degrees, evaluate

NEW: Mapping[str, tuple[str, ...]] = {
    "observation": (),
    "specimen": ("specimen", "row"),
    "material": ("material", "specimen", "row"),
}
_DRAWS = ((5e7, 4000), (1e8, 1000), (float("inf"), 200))  # within so much work (draws x cells x components) at most so many draws
CHUNK = 500_000  # numbers in a chunk: few enough to stay in the cache


def fresh_levels(new: str, table: Table) -> tuple[str, ...]:
    """Levels (and their columns) that count as new.

    Raises
    ------
    realmat.ModelError
        If `new` is not one of observation, specimen, material.
    """
    if new not in NEW:
        raise ModelError(f"new= must be one of {', '.join(NEW)}, not {new!r}.")
    return (*NEW[new], *(table.levels[name] for name in NEW[new] if name in table.levels))


@dataclass(frozen=True)
class Source:
    """One thing drawn afresh: a new level's effect, or the noise of a new measurement.

    Attributes
    ----------
    component : str
    variance : array of shape (cells, draws) or (1, draws)
        Of the Gaussian, or the squared scale of the Student t.
    nu : array of shape (draws,), optional
        Degrees of freedom of a Student t.
    groups : int array of shape (cells,), optional
        Cells with the same number share a draw, -1 has none; absent for noise, of which every measurement has its own.
    sign : array as `variance`, optional
        Sign with which the shared draw acts on a cell; 1 everywhere by default.
    """

    component: str
    variance: np.ndarray
    nu: np.ndarray | None = None
    groups: np.ndarray | None = None
    sign: np.ndarray | None = None

    @property
    def full_variance(self) -> np.ndarray:
        """The variance, nu / (nu - 2) times the squared scale for a Student t."""
        return self.variance if self.nu is None else self.variance * (self.nu / (self.nu - 2))


@dataclass(frozen=True)
class Chunk:
    """Some draws of the stream.

    Attributes
    ----------
    where : slice
        Which of the stream's draws.
    mean : dict of component to array of shape (cells, draws)
        Noiseless parts on the scale of the link; components that have none are absent.
    sources : tuple of Source
    """

    where: slice
    mean: dict[str, np.ndarray]
    sources: tuple[Source, ...]

    @property
    def total(self) -> np.ndarray:
        """All noiseless parts together, shape (cells, draws)."""
        first, *others = self.mean.values()
        return sum(others, first)

    def variance(self, component: str) -> np.ndarray | None:
        """Fresh variance of a component, shape (cells, draws) or (1, draws); None where nothing is drawn."""
        own = [s.full_variance for s in self.sources if s.component == component]
        return sum(own[1:], own[0]) if own else None


class Stream:
    """Iterate over `Chunk`s of each component's contribution.

    Parameters
    ----------
    posterior : Posterior
    table : Table, optional
        New rows; those of the fit by default. It may lack the response.
    new : {"observation", "specimen", "material"}
        What is drawn anew (`fresh_levels`).
    draws : int, optional
        At most so many posterior draws, spread evenly; by default 4000, fewer where rows are many, at least 200.

    Attributes
    ----------
    cell : int array of shape (rows,)
        The cell of each row; `weight`, shape (cells,), says how many of the user's rows a cell stands for.
    components, layers : tuple of str
        The biases of the observation layer, such as `bias_lab`, count apart from its noise.
    indices : int array of shape (draws,)
        Flat numbers of the posterior draws used.
    """

    def __init__(self, posterior: Posterior, table: Table | None = None, new: str = "observation", draws: int | None = None) -> None:
        problem = posterior.problem
        self.posterior = posterior
        self.index = (table or problem.table).shown
        self.fresh = fresh_levels(new, table or problem.table)
        self.own = table is None
        if table is None:
            self.table, self.cell = problem.cells, problem.cell
            bound = problem.contributions if not self.fresh else self._bind(problem.cells)
        else:
            self.table, self.cell, bound = self._collapse(table)
        bound = one_draw_each(problem.terms, bound)
        parts = [(part, term.layer) for term, c in zip(problem.terms, bound, strict=True) for part in _split(term, c)]
        self.weight = (table or problem.table).per(self.cell, len(self.table))
        self.components = tuple(name for (name, _), _ in parts)
        self.layers = tuple(layer for _, layer in parts)
        self.contributions = tuple(contribution for (_, contribution), _ in parts)
        each = max(len(self.table) * len(parts), 1)
        self.indices = posterior.thin(max(int(min(work / each, most)) for work, most in _DRAWS) if draws is None else draws)

    def _bind(self, table: Table) -> tuple[Contribution, ...]:
        return tuple(term.contribute(table, self.fresh) for term in self.posterior.problem.terms)

    def _collapse(self, table: Table) -> tuple[Table, np.ndarray, tuple[Contribution, ...]]:
        """Cells of new rows; with a log link a stated u is relative to the response, which therefore keeps rows apart."""
        problem = self.posterior.problem
        first, cell = cells(table, () if problem.link == "log" else (problem.response,))
        collapsed = table.take(first, np.bincount(cell).astype(float))
        contributions = self._bind(collapsed)
        if collapsed.rows_matter and len(first) < len(table):
            return table, np.arange(len(table)), self._bind(table)
        return collapsed, cell, contributions

    @cached_property
    def noise(self) -> Noise:
        """Noise of a new measurement of each cell. Where a new row states no u and no scale is inferred, the rows of the fit give it."""
        problem = self.posterior.problem
        if self.own:
            return problem.noise
        make = problem.observation.noise
        assert make is not None
        try:
            return self._typical(make(self.table))
        except DataError:
            if problem.link != "log" or problem.response in self.table.columns:
                raise
        # a stated u is relative to a response that is not known yet: take the predicted median for it
        median = np.zeros(len(self.table))
        for chunk in self._chunks(noise=False):
            median += chunk.total.sum(axis=1) / len(self.indices)
        columns = {**self.table.columns, problem.response: np.exp(median)}
        t = self.table
        return self._typical(make(Table(columns, t.levels, t.index, t.limits, t.count, t.response, t.link)))

    def _typical(self, noise: Noise) -> Noise:
        """Give rows without any noise the root mean square of the u stated in the fit."""
        if self.posterior.problem.native:
            return noise
        silent = (noise.u == 0) & (noise.group < 0)
        known = self.posterior.problem
        rms = np.sqrt(np.average(known.noise.u**2, weights=known.response_rows.count))
        return replace(noise, u=np.where(silent, rms, noise.u)) if silent.any() else noise

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[Chunk]:
        return self._chunks(noise=True)

    def _chunks(self, noise: bool) -> Iterator[Chunk]:
        step = max(1, CHUNK // max(len(self.table) * len(self.components), 1))
        for start in range(0, len(self.indices), step):
            where = slice(start, min(start + step, len(self.indices)))
            indices = self.indices[where]
            values = [self.posterior.values(int(i)) for i in indices]
            b = self._coefficients(indices)
            mean, sources = {}, []
            for component, contribution in zip(self.components, self.contributions, strict=True):
                part = self._mean(component, contribution, values, b)
                if part is not None:
                    mean[component] = part
                sources += _fresh(component, contribution, values)
            if not mean:  # a theory fixed at zero stands alone
                mean[self.components[0]] = np.zeros((len(self), len(values)))
            chunk = Chunk(where, mean, ())
            if noise:
                eta = chunk.total if self.posterior.problem.native else None
                sources.append(noise_source(self.posterior.problem.observation.component, self.noise, values, eta))
            yield replace(chunk, sources=tuple(sources))

    def _coefficients(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Coefficient draws by block, each of shape (size, draws): as stored, or redrawn once for all blocks."""
        names = [block.name for block in self.posterior.problem.coefficients]
        if all(name in self.posterior.draws.coefficients for name in names):
            return {name: np.ascontiguousarray(self.posterior.block(name, indices).T) for name in names}
        every = self.posterior.redraw(tuple(int(i) for i in indices)).T
        return {name: np.ascontiguousarray(every[self.posterior.system.columns[name]]) for name in names}

    def _mean(self, component: str, contribution: Contribution, values: Sequence[Values], b: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """E[C | psi, b] of one component, shape (cells, draws)."""
        total: np.ndarray | None = None
        for piece in contribution.pieces:
            part = piece.matrix @ b[piece.coefficients]
            if piece.scale is not None:
                part = part * _by_draw(piece.scale, values)
            total = part if total is None else total + part
        if contribution.offset is not None:
            offset = _by_draw(contribution.offset, values)
            total = np.broadcast_to(offset, (len(self), len(values))) if total is None else total + offset
        if contribution.nonlinear is not None:
            function = self._nonlinear(component, contribution)
            extra = np.stack([function(p, {k: v[:, d] for k, v in b.items()}) for d, p in enumerate(values)], axis=1)
            total = extra if total is None else total + extra
        return total

    def _nonlinear(self, component: str, contribution: Contribution) -> Callable[[Values, Values], np.ndarray]:
        function = contribution.nonlinear
        assert function is not None
        if not contribution.raw:
            return lambda p, b: np.asarray(function(p, b, np))
        if component not in self._compiled:
            self._compiled[component] = compile_raw(self.posterior, function)
        return self._compiled[component]

    @cached_property
    def _compiled(self) -> dict[str, Callable[[Values, Values], np.ndarray]]:
        return {}


def _split(term: Term, contribution: Contribution) -> list[tuple[str, Contribution]]:
    """Named parts of a term: the biases of the observation layer are parts of their own beside its noise."""
    if term.noise is None:
        return [(term.component, contribution)]
    parts = []
    for bias in term.biases:
        pieces = tuple(piece for piece in contribution.pieces if piece.coefficients in bias.blocks)
        fresh = tuple(fresh for fresh in contribution.fresh if (fresh.part or fresh.sd) is bias.sd)
        parts.append((bias.name, Contribution(pieces, fresh=fresh)))
    taken = {id(x) for _, part in parts for x in (*part.pieces, *part.fresh)}
    rest = Contribution(
        tuple(piece for piece in contribution.pieces if id(piece) not in taken),
        contribution.offset,
        tuple(fresh for fresh in contribution.fresh if id(fresh) not in taken),
        contribution.nonlinear,
        contribution.raw,
    )
    return [*parts, (term.component, rest)]


def compile_raw(posterior: Posterior, function: Callable[[Values, Values, Any], Any]) -> Callable[[Values, Values], np.ndarray]:
    """A PyTensor expression of psi and b as a plain function of their values."""
    import pytensor
    import pytensor.tensor as pt

    problem = posterior.problem
    p = {q.name: pt.dscalar(q.name) if q.coords is None else pt.dvector(q.name) for q in problem.params}
    b = {block.name: pt.dvector(block.name) for block in problem.coefficients}
    run = pytensor.function([*p.values(), *b.values()], function(p, b, pt), on_unused_input="ignore")
    return lambda pv, bv: run(*(np.asarray(pv[n], dtype=float) for n in p), *(np.asarray(bv[n], dtype=float) for n in b))


def _by_draw(function: Any, values: Sequence[Values]) -> np.ndarray:
    """A function of psi at each draw: shape (1, draws) where it gives a number, (cells, draws) where it gives one per cell."""
    if not callable(function):
        return np.asarray(function, dtype=float).reshape(-1, 1)
    found = [np.asarray(evaluate(function, p), dtype=float) for p in values]
    return np.stack(found, axis=-1) if found[0].ndim else np.array(found, dtype=float)[None, :]


def _nu(nu: str | float | None, values: Sequence[Values]) -> np.ndarray | None:
    return None if nu is None else np.array([float(degrees(nu, p)) for p in values])


def _fresh(component: str, contribution: Contribution, values: Sequence[Values]) -> list[Source]:
    out = []
    for fresh in contribution.fresh:
        sd = _by_draw(fresh.sd, values)
        variance, sign = sd**2, np.sign(sd) if (sd < 0).any() else None
        if (fresh.groups < 0).any():
            variance = np.where(fresh.groups[:, None] >= 0, variance, 0.0)
        out.append(Source(component, variance, _nu(fresh.nu, values), fresh.groups, sign))
    return out


def noise_source(component: str, noise: Noise, values: Sequence[Values], eta: np.ndarray | None = None) -> Source:
    """Noise u^2 + scale^2 of a single new measurement of each cell, at some psi.

    Where the density reads the response itself, `eta`, shape (cells, psi), is the linear predictor, and the noise what one reading leaves
    open of it.
    """
    if noise.density is not None and noise.density.native:
        assert eta is not None
        return Source(component, link_variance(noise, eta, values))
    if noise.scales is None:
        variance = np.repeat(noise.u[:, None] ** 2, len(values), axis=1)
    else:
        scales = np.array([noise.scales(p, np) for p in values], dtype=float).T
        inferred = np.vstack([scales**2, np.zeros(len(values))])  # group -1 reads the zero
        alike = not noise.u.any() and (noise.group == noise.group[0]).all()
        group, u = (noise.group[:1], noise.u[:1]) if alike else (noise.group, noise.u)
        variance = inferred[group]
        variance += u[:, None] ** 2
    return Source(component, variance, _nu(noise.nu, values))
