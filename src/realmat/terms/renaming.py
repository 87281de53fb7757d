"""The same term under other names: where several properties are modelled together, each has its own slopes, effects and noise.

A component names its variables as if it stood alone. Here names are exchanged from outside, so that no component has to know whether
other properties stand beside its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from realmat.terms.parts import Bias, Latent, Together
from realmat.terms.priors import Prior
from realmat.terms.term import (
    Coefficients,
    Contribution,
    Fresh,
    Function,
    Known,
    Noise,
    Param,
    Piece,
    Rows,
    Scaled,
    Term,
    Values,
)


@dataclass(frozen=True)
class _Under(Mapping[str, Any]):
    """Values under the names that a component knows them by."""

    values_: Values
    new: Mapping[str, str]

    def __getitem__(self, name: str) -> Any:
        return self.values_[self.new.get(name, name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


class Renamer:
    """Exchanges names of variables in everything that a term consists of.

    Parameters
    ----------
    new : mapping of str to str
        New name of each variable and of each block of measured rows; others keep theirs.
    """

    def __init__(self, new: Mapping[str, str]) -> None:
        self.new = dict(new)
        self._kept: dict[int, tuple[Function, Function]] = {}

    def name(self, old: str) -> str:
        """The new name."""
        return self.new.get(old, old)

    def term(self, term: Term) -> Term:
        """The same term under the new names."""
        blocks = tuple(self._block(block) for block in term.coefficients)
        params = tuple(self._param(q) for q in term.params)
        contribute, noise, update, together = term.contribute, term.noise, term.update, term.together
        return replace(
            term,
            params=params,
            coefficients=blocks,
            contribute=lambda table, fresh_levels=(): self.contribution(contribute(table, fresh_levels)),
            rows=tuple(self._rows(rows) for rows in term.rows),
            noise=None if noise is None else lambda table: self._noise(noise(table)),
            states=tuple(Latent(self.name(s.name), s.of, s.told, tuple(self.name(v) for v in s.variables)) for s in term.states),
            update=None if update is None else update.renamed(self.name, {q.name: q.prior for q in params}),
            factor=self.function(term.factor),
            together=None if together is None else lambda table: self._together(together(table)),
            biases=tuple(Bias(b.name, tuple(self.name(n) for n in b.blocks), self._same(b.sd)) for b in term.biases),
        )

    def function(self, function: Any) -> Any:
        """A function of psi that reads the new names; constants as they are."""
        if not callable(function) or isinstance(function, Known):
            return function
        if isinstance(function, Scaled):
            return Scaled(self.function(function.scale), function.values)
        kept = self._kept.get(id(function))
        return kept[1] if kept else (lambda p, xp: function(_Under(p, self.new), xp))

    def _same(self, function: Any) -> Any:
        """As `function`, the same object whenever the same function comes again."""
        if callable(function) and id(function) not in self._kept:
            self._kept[id(function)] = (function, self.function(function))
        return self.function(function)

    def contribution(self, c: Contribution) -> Contribution:
        """A contribution under the new names."""
        return replace(
            c,
            pieces=tuple(self._piece(piece) for piece in c.pieces),
            offset=self.function(c.offset),
            fresh=tuple(
                replace(f, sd=self.function(f.sd), nu=self._nu(f.nu), part=self.function(f.part), of=self.name(f.of)) for f in c.fresh
            ),
            nonlinear=self._nonlinear(c.nonlinear),
        )

    def _fresh(self, f: Fresh) -> Fresh:
        return replace(f, sd=self.function(f.sd), nu=self._nu(f.nu), part=self.function(f.part), of=self.name(f.of))

    def _nonlinear(self, function: Callable[[Values, Values, Any], Any] | None) -> Callable[[Values, Values, Any], Any] | None:
        if function is None:
            return None
        return lambda p, b, xp: function(_Under(p, self.new), _Under(b, self.new), xp)

    def _nu(self, nu: str | float | None) -> str | float | None:
        return self.name(nu) if isinstance(nu, str) else nu

    def _piece(self, piece: Piece) -> Piece:
        return Piece(self.name(piece.coefficients), piece.matrix, self.function(piece.scale))

    def _prior(self, prior: Prior) -> Prior:
        if not prior.references:
            return prior
        cut = {k: v for k, v in zip(("lower", "upper"), prior.truncation, strict=True) if v is not None}
        return Prior(prior.dist, **{k: self.name(v) if isinstance(v, str) else v for k, v in prior.params}, **cut)

    def _param(self, q: Param) -> Param:
        return replace(q, name=self.name(q.name), prior=self._prior(q.prior))

    def _block(self, c: Coefficients) -> Coefficients:
        parents = tuple((self.name(parent), matrix) for parent, matrix in c.parents)
        leans = tuple(self._piece(piece) for piece in c.leans)
        moments = {"sd": self._same(c.sd), "mean": self.function(c.mean)}
        return replace(c, name=self.name(c.name), **moments, parents=parents, leans=leans, nu=self._nu(c.nu))

    def _together(self, together: Together) -> Together:
        return replace(together, block=self.name(together.block), noise=self._noise(together.noise))

    def _noise(self, noise: Noise) -> Noise:
        return replace(noise, scales=self.function(noise.scales), nu=self._nu(noise.nu))

    def _rows(self, rows: Rows) -> Rows:
        pieces = tuple((owner, self._piece(piece)) for owner, piece in rows.pieces)
        offsets = tuple((owner, self.function(offset)) for owner, offset in rows.offsets)
        return replace(rows, name=self.name(rows.name), pieces=pieces, offsets=offsets, noise=self._noise(rows.noise))
