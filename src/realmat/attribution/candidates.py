"""Quantities that could be measured, or are to be predicted, as linear functions of the coefficients at each psi."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import sparse

from realmat.posterior.contributions import Stream, noise_source
from realmat.posterior.draws import Posterior
from realmat.posterior.grouping import cut, cut_noise
from realmat.table.table import ROW, Table
from realmat.terms.problem import Problem
from realmat.terms.term import Coefficients, Contribution, Noise, Values, degrees, evaluate

if TYPE_CHECKING:
    import pandas as pd

_FEW_READINGS_U = 0.0  # a state whose readings carry no u is measured exactly


@dataclass
class Lines(ABC):
    """n quantities: ``X(psi) b + offset(psi)`` plus what is drawn afresh; measuring adds noise.

    Attributes
    ----------
    once : bool
        Whether measuring again would say the same again, as a calculation does.
    kind : str
        The action that measures them.
    what : list of str
        What each is, in words.
    pool : str
        Lines of the same pool share what is drawn afresh where their groups agree; "" shares nothing, not even with themselves.
    measures : str
        The property or column that is measured, by which costs may be given.
    """

    index: ClassVar[str] = ""
    once: ClassVar[bool] = False
    kind: str
    what: list[str]
    pool: str = ""
    measures: str = ""
    _fixed: sparse.csr_matrix | None = field(default=None, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.what)

    def some(self, which: np.ndarray) -> Lines:
        """A few of them."""
        return dataclasses.replace(self, what=[self.what[k] for k in which], **{self.index: getattr(self, self.index)[which]})

    @abstractmethod
    def at(self, posterior: Posterior, values: Values) -> tuple[sparse.csr_matrix, np.ndarray]:
        """X (n, coefficients) and offset (n,)."""

    @abstractmethod
    def noise(self, posterior: Posterior, values: Values) -> np.ndarray:
        """Variance that measuring adds, shape (n,)."""

    def fresh(self, values: Values) -> list[tuple[np.ndarray, np.ndarray]]:
        """Groups and standard deviations, each of shape (n,), of what is drawn afresh."""
        return []

    def shared(self, other: Lines, values: Values) -> np.ndarray | None:
        """Covariance with other lines, shape (n, others), through what the coefficients do not hold; None for none.

        That is what is drawn afresh for both, such as the unresolved part of the same new material.
        """
        if not self.pool or self.pool != other.pool:
            return None
        out = np.zeros((len(self), len(other)))
        for (g, s), (h, t) in zip(self.fresh(values), other.fresh(values), strict=True):
            out += np.outer(s, t) * ((g[:, None] == h[None, :]) & (g[:, None] >= 0))
        return out

    def _picked(self, posterior: Posterior, block: str, places: np.ndarray) -> sparse.csr_matrix:
        """X of quantities that are coefficients themselves, made once."""
        if self._fixed is None:
            columns = np.arange(posterior.system.size)[posterior.system.columns[block]][places]
            shape = (len(columns), posterior.system.size)
            self._fixed = sparse.csr_matrix((np.ones(len(columns)), columns, np.arange(len(columns) + 1)), shape=shape)
        return self._fixed

    @abstractmethod
    def draws(self, posterior: Posterior, indices: np.ndarray) -> np.ndarray:
        """The noiseless quantities at draws of (psi, b), shape (draws, n): for effects that are not linear given their parameters."""


@dataclass
class Rows(Lines):
    """Response values of rows of a stream: `cells` of its table."""

    index: ClassVar[str] = "cells"
    stream: Stream = field(kw_only=True)
    cells: np.ndarray = field(kw_only=True)

    @cached_property
    def contributions(self) -> tuple[Contribution, ...]:
        """Of every component on these rows."""
        return tuple(cut(c, self.cells) for c in self.stream.contributions)

    @cached_property
    def _noise(self) -> Noise:
        return cut_noise(self.stream.noise, self.cells)

    def _pieces(self, scaled: bool) -> Contribution:
        return Contribution(tuple(piece for c in self.contributions for piece in c.pieces if (piece.scale is not None) == scaled))

    def at(self, posterior: Posterior, values: Values) -> tuple[sparse.csr_matrix, np.ndarray]:
        if self._fixed is None:  # the part of X that does not depend on psi
            self._fixed = posterior.system.design(self._pieces(scaled=False), len(self), {})
        moving = self._pieces(scaled=True)
        offset = np.zeros(len(self))
        for c in self.contributions:
            offset = offset + evaluate(c.offset, values, default=0.0)
        return (self._fixed + posterior.system.design(moving, len(self), values) if moving.pieces else self._fixed), offset

    def noise(self, posterior: Posterior, values: Values) -> np.ndarray:
        eta = self._eta[:, None] if posterior.problem.native else None
        return np.broadcast_to(noise_source("", self._noise, [values], eta).full_variance[:, 0], (len(self),))

    @cached_property
    def _eta(self) -> np.ndarray:
        """Posterior mean of the linear predictor."""
        return self.draws(self.stream.posterior, self.stream.posterior.thin(100)).mean(axis=0)

    def fresh(self, values: Values) -> list[tuple[np.ndarray, np.ndarray]]:
        out = []
        for c in self.contributions:
            for f in c.fresh:
                nu = None if f.nu is None else float(degrees(f.nu, values))
                sd = evaluate(f.sd, values) * (1.0 if nu is None else np.sqrt(nu / (nu - 2)))
                out.append((f.groups, np.where(f.groups >= 0, sd, 0.0)))
        return out

    def draws(self, posterior: Posterior, indices: np.ndarray) -> np.ndarray:
        self.stream.indices = indices
        out = np.empty((len(indices), len(self)))
        for chunk in self.stream:
            out[chunk.where] = chunk.total[self.cells].T
        return out


@dataclass
class States(Lines):
    """Latent states, as characterisation measures them: some `places` of one block."""

    index: ClassVar[str] = "places"
    block: Coefficients = field(kw_only=True)
    places: np.ndarray = field(kw_only=True)
    u: float | None = field(kw_only=True, default=None)

    def at(self, posterior: Posterior, values: Values) -> tuple[sparse.csr_matrix, np.ndarray]:
        return self._picked(posterior, self.block.name, self.places), np.zeros(len(self))

    def noise(self, posterior: Posterior, values: Values) -> np.ndarray:
        if self.u is not None:
            return (self.u / self._stretch(posterior)[self.places]) ** 2
        problem = posterior.problem
        read = (r for r in problem.rows if r.name not in problem.responses)
        rows = next((r for r in read if any(p.coefficients == self.block.name for _, p in r.pieces)), None)
        if rows is None:
            return np.full(len(self), _FEW_READINGS_U)
        return np.full(len(self), float(np.median(noise_source("", rows.noise, [values]).full_variance)))

    def _stretch(self, posterior: Posterior) -> np.ndarray:
        """Change of the state in its own unit per unit of its working scale, at its posterior mean."""
        if self.block.report is None:
            return np.ones(self.block.size)
        mean = posterior.block(self.block.name, posterior.thin(100)).mean(axis=0)
        step = 1e-4 * max(float(np.std(mean)), 1e-3 * float(np.abs(mean).max()), 1e-12)
        up, down = (self.block.report[0](mean + s * step)[latent_labels(self.block)[0]] for s in (1, -1))
        return np.abs(up - down) / (2 * step)

    def draws(self, posterior: Posterior, indices: np.ndarray) -> np.ndarray:
        return posterior.block(self.block.name, indices)[:, self.places]


def latent_labels(block: Coefficients) -> tuple[np.ndarray, np.ndarray]:
    """Which of the values of its level a block of states infers (the others are known exactly): positions and labels."""
    coords = np.arange(block.size) if block.coords is None else np.asarray(block.coords)
    if block.report is None or len(coords) == block.size:
        return np.arange(block.size), coords
    where = np.flatnonzero(np.isnan(block.report[0](np.full(block.size, np.nan))))
    return where, coords[where]


def states(posterior: Posterior, layer: str, kind: str, u: Any = None) -> list[Lines]:
    """Every latent state of a layer; `u` is one number, or a mapping from state names to numbers."""
    out: list[Lines] = []
    problem = posterior.problem
    scaled = {p.coefficients for rows in problem.rows for _, p in rows.pieces if p.scale is not None or rows.name not in problem.responses}
    columns = {state.name: str(state.of[0]) for term in problem.all_terms for state in term.states}
    done: set[str] = set()
    for term in problem.all_terms:
        if term.update is not None:  # what is known of its state comes from calculations, which are actions of their own
            continue
        for block in term.coefficients:
            wanted = block.level and not block.inner and block.name in scaled and block.name not in done
            if (term.layer == "theory") != (layer == "theory") or not wanted:
                continue
            done.add(block.name)
            own = u.get(block.name) if isinstance(u, dict) else u
            if isinstance(u, dict) and own is None:
                continue
            level = "row" if block.level == ROW else block.level
            what = [f"{block.name} of {level} {label}" for label in latent_labels(block)[1]]
            measures = columns.get(block.name, "")
            out.append(States(kind, what, measures=measures, block=block, places=np.arange(block.size), u=own))
    return out


def repeats(posterior: Posterior) -> list[Lines]:
    """One more measurement of each property on each physical piece, where and as it was first measured."""
    out: list[Lines] = []
    for part in posterior.problem.every:
        cells, what = _pieces_of(part.cells)
        front = f"{part.response} of " if posterior.problem.beside else ""
        stream = Stream(posterior.of(part.response))
        out.append(Rows("repeat", [f"{front}{name} again" for name in what], measures=part.response, stream=stream, cells=cells))
    return out


def properties(posterior: Posterior) -> list[Lines]:
    """The first measurement of each property on pieces of which another one, or a state, was measured.

    Described as in the first row of the piece that holds what the property's model needs everywhere.
    """
    out: list[Lines] = []
    for part in posterior.problem.every:
        whole = part.cells.whole
        needed = [v for n, v in whole.columns.items() if n not in posterior.problem.responses and not _missing(v)[part.cells.place].any()]
        able = ~np.any([_missing(v) for v in needed], axis=0) if needed else np.ones(len(whole), dtype=bool)
        able &= ~_measured_pieces(part)
        rows = np.flatnonzero(able)
        if not len(rows):
            continue
        table = whole.part(rows, None, part.response, part.link)
        table.columns.pop(part.response, None)
        first, what = _pieces_of(table)
        table = table.part(first, None, part.response, part.link)
        stream = Stream(posterior.of(part.response), table)
        names = [f"{part.response} of {name}" for name in what]
        out.append(Rows("property", names, measures=part.response, stream=stream, cells=stream.cell))
    return out


def _missing(values: np.ndarray) -> np.ndarray:
    import pandas as pd

    return np.asarray(pd.isna(values))


def _measured_pieces(part: Problem) -> np.ndarray:
    """Of the cells of all properties, those of pieces on which one of them was measured."""
    whole = part.cells.whole
    piece = np.arange(len(whole)) if whole.piece == ROW else whole.level(whole.piece).codes
    return np.isin(piece, piece[part.cells.place])


def _pieces_of(table: Table) -> tuple[np.ndarray, list[str]]:
    """The first row of each physical piece of a table, and what the piece is called."""
    if table.piece == ROW:
        return np.arange(len(table)), rows_in_words(table)
    level = table.level(table.piece)
    return np.unique(level.codes, return_index=True)[1], [f"{table.piece} {label}" for label in level.values]


def rows_in_words(table: Table) -> list[str]:
    """The rows of a table by their label, and the material where there is one."""
    rows = [f"row {label}" for label in table.index]
    if "material" not in table.levels:
        return rows
    level = table.level("material")
    return [f"{row} ({level.values[code]})" for row, code in zip(rows, level.codes, strict=True)]


def new_pieces(posterior: Posterior) -> list[Lines]:
    """A new specimen of each material, or like each row where there are no materials.

    It is described as the material's least characterised specimen, since nobody has characterised the new one. None where specimens of a
    material do not differ: that would be a repeat.
    """
    stream = Stream(posterior, new="specimen")
    table = posterior.problem.cells
    if not any(contribution.fresh for contribution in stream.contributions):
        return []
    if "material" in table.levels:
        level = table.level("material")
        order = np.lexsort((np.arange(len(table)), _characterised(posterior), level.codes))
        cells = order[np.unique(level.codes[order], return_index=True)[1]]
        labels = [f"of material {value}" for value in level.values]
    else:
        cells, labels = np.arange(len(stream)), [f"as in row {label}" for label in table.index]
    response = posterior.problem.response
    front = f"{response} of a " if posterior.problem.beside else ""
    return [Rows("specimen", [f"{front}new specimen {label}" for label in labels], measures=response, stream=stream, cells=cells)]


def _characterised(posterior: Posterior) -> np.ndarray:
    """In how many number columns each cell's specimen has a value."""
    table = posterior.problem.cells
    piece = np.arange(len(table)) if table.piece == ROW else table.level(table.piece).codes
    filled = [np.bincount(piece, weights=np.isfinite(v)) > 0 for v in table.columns.values() if v.dtype.kind == "f"]
    return np.sum(filled, axis=0)[piece]


def table_rows(posterior: Posterior, target: Sequence[Any], wanted: Sequence[Any], table: Any) -> tuple[Lines | None, list[Lines]]:
    """Rows to predict and rows to measure, of one table that holds both one after the other."""
    stream = Stream(posterior, table)
    split = len(target)
    to_predict = Rows("predict", [str(label) for label in target], "table", stream=stream, cells=stream.cell[:split]) if split else None
    what = [f"row {label} of the candidates" for label in wanted]
    if not len(wanted):
        return to_predict, []
    response = posterior.problem.response
    return to_predict, [Rows("measure", what, "table", response, stream=stream, cells=stream.cell[split:])]


def fitted_rows(posterior: Posterior, rows: np.ndarray) -> Lines:
    """Rows of the fit, to predict."""
    problem = posterior.problem
    return Rows("predict", [str(problem.table.index[r]) for r in rows], stream=Stream(posterior), cells=problem.cell[rows])


def joined_frame(target: pd.DataFrame | None, wanted: pd.DataFrame | None) -> pd.DataFrame:
    """Both tables as one, with a plain index; whole numbers of a column that one of them lacks stay whole."""
    import pandas as pd

    frames = [frame for frame in (target, wanted) if frame is not None]
    shared = set.intersection(*(set(frame.columns) for frame in frames))
    whole = [{c: object for c in f.columns if c not in shared and pd.api.types.is_integer_dtype(f[c])} for f in frames]
    return pd.concat([frame.astype(kept) for frame, kept in zip(frames, whole, strict=True)], ignore_index=True)
