"""The linear-Gaussian system of a problem: everything that follows exactly once the hyperparameters are fixed.

With coefficients b ~ N(m, Q^-1) and measured rows y = A b + offset + eps, eps ~ N(0, R), all functions of psi,

    P = Q + A' R^-1 A,    b | psi, y ~ N(P^-1 (Q m + A' R^-1 (y - offset)), P^-1),
    log p(y | psi) = log p(y, b | psi) - log p(b | psi, y)   for any b, here b = E[b | psi, y]

(Lindley & Smith, J. R. Stat. Soc. B 34, 1, 1972; Rue & Held, Gaussian Markov Random Fields, 2005, section 2.3). Inside, coefficients
are measured from a reference b0, the solution at typical psi, so that no digits are lost to the size of the response.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from functools import cached_property

import numpy as np
from scipy import sparse

from realmat.algebra import rotation, schur
from realmat.algebra.batch import BatchSystem
from realmat.algebra.conditional import Conditional
from realmat.algebra.example import example_values
from realmat.algebra.frame import Frame
from realmat.algebra.normal_equations import NormalEquations
from realmat.algebra.ordering import Pattern
from realmat.algebra.row_block import RowBlock, of_prior, of_rows
from realmat.errors import FitError
from realmat.terms.problem import Problem
from realmat.terms.term import Coefficients, Contribution, Values, evaluate, side_by_side

_LOG_2PI = float(np.log(2 * np.pi))
_FLOOR = 3e-5  # of what a scale has to explain at b0: below, the density of psi drowns in rounding
_FAR = 1e150  # its square is still a number
_ROOM = 0.01  # of a scale, that the least one must stay below


class System:
    """The sparse pattern of a problem, analysed once; `at` puts numbers in.

    Parameters
    ----------
    problem : Problem
    eliminate : bool
        Whether the largest group effect may be eliminated in closed form, by classes, and a dense block may be turned.
    reference : mapping of parameter name to value, optional
        The psi whose solution is the reference; the medians of the priors by default.

    Attributes
    ----------
    size : int
        Number of coefficients, all blocks together.
    columns : dict of str to slice
        Where each block stands, in the order in which it was declared.
    declared : list of RowBlock
        Measured rows, response first, then characterisations, then priors that are linked to other coefficients; columns in natural
        order, nothing taken out of them.
    row_blocks : list of RowBlock
        The same as the algebra has them: columns centred and in elimination order, values from the reference, rows turned.
    frame : Frame
        What takes the centre out of columns; inside, coefficients are those of centred columns.
    rotation : Rotation, optional
        How a dense block is turned.
    fixed_mean, fixed_precision : arrays of shape (size,)
        Prior moments that do not depend on psi, in elimination order; 0 elsewhere. `moving_priors` are the others.
    fixed, fixed_side, fixed_log
        What rows that do not depend on psi add to P, to the right-hand side and to the density. `moving` are the other rows.
    """

    def __init__(self, problem: Problem, eliminate: bool = True, reference: Values | None = None) -> None:
        self.problem, self._may_eliminate = problem, eliminate
        self.columns, self.size = side_by_side(problem.coefficients)
        self.example = example_values(problem.params)
        self.reference = self.example if reference is None else reference
        self.frame = Frame.of([part.response_rows for part in problem.every], problem.coefficients, self.columns)
        self.linked = [c for c in problem.coefficients if self.is_linked(c)]
        self.plain = [c for c in problem.coefficients if not self.is_linked(c)]
        self.declared = self._make({name: np.arange(s.start, s.stop) for name, s in self.columns.items()})
        framed = [row_block.framed(self.frame) for row_block in self.declared]
        self._order(framed, self.plain)
        self.rotation: rotation.Rotation | None = None
        self._dense: dict[int, tuple[weakref.ref[sparse.csr_matrix], np.ndarray]] = {}
        if eliminate:
            framed = self._turn(framed)
        self.row_blocks = [row_block.placed(self.place) for row_block in framed]
        self.eliminated = None
        if self._structure is not None:
            self.eliminated = self._structure.effect(self.row_blocks[0], self.pattern)
        self.shift = np.zeros(self.size)
        self._fix_moments()
        self.parts = [NormalEquations(row_block, self.pattern) for row_block in self.row_blocks]
        self._fix_rows()
        self._recentre()

    def is_linked(self, block: Coefficients) -> bool:
        """Whether its prior is a row of several coefficients, as an intercept's is once columns are centred, or has auxiliary values."""
        return bool(block.mean_parts or block.nu) or self.columns[block.name].start in self.frame.intercepts

    def referred(self, values: Values) -> System:
        """The system itself, or one whose reference is psi at `values` where that makes room for smaller scales than this one resolves."""
        if all(np.all(row_block.least <= _ROOM**2 * row_block.variance(values)) for row_block in self.row_blocks):
            return self
        return System(self.problem, self._may_eliminate, values)

    def _order(self, row_blocks: list[RowBlock], blocks: list[Coefficients]) -> None:
        """Elimination order; one of `blocks` that is eliminated in closed form stands last and goes first; the pattern is of the rest."""
        block = schur.find(row_blocks, blocks, self.columns, self.example) if self._may_eliminate else None
        self._structure: schur.Structure | None = None
        mine, matrices = np.zeros(self.size, dtype=bool), [f.matrix for f in row_blocks]
        if block is not None:
            where = self.columns[block.name]
            found = schur.Structure.of(row_blocks[0], block, where)
            self.pattern = Pattern.of([*(schur.without(m, where) for m in matrices), found.coupling], self.size - block.size)
            if not found.too_large(self.pattern.flat):
                self._structure, mine[where] = found, True
        if self._structure is None:
            self.pattern = Pattern.of(matrices, self.size)
        others = np.flatnonzero(~mine)
        self.rest = len(others)
        self.place = np.empty(self.size, dtype=np.int64)
        self.place[others] = self.pattern.place
        self.place[mine] = self.rest + np.arange(self.size - self.rest)

    def _turn(self, row_blocks: list[RowBlock]) -> list[RowBlock]:
        """The rows once a dense block is turned, where that pays."""
        found = rotation.find(row_blocks, self.plain, self.columns, self.example, self.pattern)
        if found is None:
            return row_blocks
        self.rotation, turned = found
        self._order(turned, [])
        return turned

    @property
    def as_declared(self) -> bool:
        """Whether every coefficient stands as it was declared, none eliminated in closed form and none turned."""
        return self.eliminated is None and self.rotation is None

    def _recentre(self) -> None:
        """Measure coefficients from their solution at the reference psi."""
        values = {**self.reference, **self.example_auxiliary()}
        try:
            with np.errstate(all="ignore"):
                reference = self.at(values).centred.copy()
        except FitError:  # typical values may be impossible for this design; then the origin is as good
            return
        if not np.isfinite(reference).all():  # as where a law has no value there
            return
        reference[self.rest :] = 0.0  # the eliminated effect keeps its prior mean of zero
        self.shift = reference
        self._fix_moments()
        for row_block in self.row_blocks:
            row_block.recentre(reference)
        for row_block, declared in zip(self.row_blocks, self.declared, strict=True):
            alone = (row_block.key_u2 == 0) & (row_block.key_group >= 0)
            with np.errstate(all="ignore"):  # a law may have no value at the reference
                left = np.broadcast_to(row_block.y - row_block.offset(self.reference), row_block.y.shape)
                far = np.clip(left[np.isfinite(left)], -_FAR, _FAR)
            least = _floor(far)
            if len(declared.offsets):  # a law may lie anywhere at the reference
                least = min(least, _floor(row_block.y + row_block.known + row_block.centre))
            row_block.least = declared.least = np.where(alone, least, 0.0)
        for part in self.parts:
            part.recentred()
        self._fix_rows()
        if self.eliminated is not None:
            self.eliminated.refresh()

    def example_auxiliary(self) -> dict[str, np.ndarray]:
        """Auxiliary values to start from: no local factor, censored values at their limits."""
        local = {f.local: np.ones(len(f.y)) for f in self.row_blocks if f.noise.nu}
        return local | {f.latent: f.y + f.known + f.centre for f in self.row_blocks if f.censored}

    def _make(self, places: Mapping[str, np.ndarray]) -> list[RowBlock]:
        rows = [of_rows(r, places, self.size) for r in self.problem.rows]
        return rows + [of_prior(block, places, self.size, self.example) for block in self.linked]

    @property
    def augmented(self) -> bool:
        """Whether Student t or censored parts need auxiliary values."""
        return any(f.augmented for f in self.row_blocks)

    def prior_moments(self, p: Values) -> tuple[np.ndarray, np.ndarray]:
        """Mean (from the reference) and precision of the unlinked coefficients, 0 for linked ones, in elimination order."""
        mean, precision = self.fixed_mean.copy(), self.fixed_precision.copy()
        for block, where, floor in self.moving_priors:
            sd = evaluate(block.sd, p)
            mean[where] = evaluate(block.mean, p) - self.shift[where]
            precision[where] = 1.0 / np.maximum(sd * sd, floor)
        return mean, precision

    def _fix_moments(self) -> None:
        """Prior moments that do not depend on psi are laid down once."""
        self.fixed_mean, self.fixed_precision = np.zeros(self.size), np.zeros(self.size)
        self.moving_priors = []
        for block in self.plain:
            where = self.place[self.columns[block.name]]
            if callable(block.sd) or callable(block.mean):
                self.moving_priors.append((block, where, _floor(self.shift[where] - evaluate(block.mean, self.reference))))
            else:
                self.fixed_mean[where] = block.mean - self.shift[where]
                self.fixed_precision[where] = 1.0 / np.square(block.sd)

    def _fix_rows(self) -> None:
        """Rows that do not depend on psi, such as characterisations with stated u, are added up once."""
        self.fixed, self.fixed_side, self.fixed_log = np.zeros(self.pattern.flat), np.zeros(self.rest), 0.0
        for part in self.parts:
            if part.constant:
                self.fixed_log += part.add({}, self.fixed, self.fixed_side)
        self.moving = [part for part in self.parts if not part.constant]

    def at(self, values: Values) -> Conditional:
        """Factorise at psi.

        Parameters
        ----------
        values : mapping of parameter name to value
            Auxiliary values of Student t or censored parts belong to it.

        Raises
        ------
        realmat.FitError
            If the matrix is not positive definite at these values.
        """
        return Conditional(self, values)

    @cached_property
    def many(self) -> BatchSystem:
        """The same at many psi at once."""
        return BatchSystem(self)

    @cached_property
    def whole(self) -> BatchSystem:
        """The same with the factor of all columns, from which covariances are taken."""
        return self.many if self.many.leaves is None else BatchSystem(self, shared=False)

    def log_marginal(self, values: Values) -> float:
        """log p(y | psi), all measured rows; -inf where the numbers break down."""
        try:
            return self.at(values).log_marginal
        except FitError:
            return -np.inf

    def response(self, values: Values) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
        """The response by cell at psi: A (cells x coefficients, natural order), offset and the variance of a single measurement."""
        rows, own = self.declared[0], self.declared[0].matrix
        matrix = sparse.csr_matrix((own.data * rows.scale_values(values)[rows.scale_of], own.indices, own.indptr), shape=own.shape)
        offset = np.broadcast_to(np.asarray(rows.known + rows.offset(values), dtype=float), (len(rows.y),))
        return matrix, offset, rows.row_variance(values)

    def design(self, contribution: Contribution, rows: int, values: Values) -> sparse.csr_matrix:
        """The linear part of a contribution as a matrix (rows x coefficients, natural order) at psi."""
        return design(contribution, rows, values, self.columns, self.size)

    def moved(self, matrix: sparse.csr_matrix, scale_of: np.ndarray | None = None) -> tuple[sparse.csr_matrix, np.ndarray]:
        """The same combinations (rows x coefficients, natural order) of the coefficients inside, and the scale of each stored entry."""
        matrix, scale_of = self.frame.moved(matrix, scale_of)
        return (matrix, scale_of) if self.rotation is None else self.rotation.moved(matrix, scale_of)

    def dense(self, matrix: sparse.csr_matrix, inside: bool = False) -> np.ndarray:
        """The same as a dense array in elimination order, shape (coefficients, rows), kept as long as the matrix is: it is asked for again.

        `inside`: the matrix is of the coefficients inside already.
        """
        assert self.rotation is not None
        key = id(matrix)
        if key in self._dense and self._dense[key][0]() is matrix:
            return self._dense[key][1]
        natural = matrix.toarray() if inside else self.rotation.dense(self.frame.moved(matrix)[0])
        ordered = np.empty(natural.shape[::-1])
        ordered[self.place] = natural.T
        self._dense[key] = weakref.ref(matrix, lambda _: self._dense.pop(key, None)), ordered
        return ordered

    def back(self, b: np.ndarray) -> np.ndarray:
        """Coefficients of shape (..., coefficients), natural order, from those inside; in place."""
        if self.rotation is not None:
            self.rotation.back(b)
        return self.frame.back(b)

    def natural(self, centred: np.ndarray) -> np.ndarray:
        """Coefficients in natural order from b - b0 in elimination order, the last axis of both."""
        return self.back((centred + self.shift)[..., self.place])

    def centre(self, b: np.ndarray) -> np.ndarray:
        """Inverse of `natural`."""
        ordered, inside = np.empty(self.size), self.frame.inside(b)
        if self.rotation is not None:
            self.rotation.inside(inside)
        ordered[self.place] = inside
        return ordered - self.shift

    def log_joint(self, values: Values, b: np.ndarray) -> float:
        """log p(y, b | psi) at coefficients `b` of shape (coefficients,), natural order."""
        ordered = self.centre(b)
        mean, precision = self.prior_moments(values)
        own = precision > 0
        total = 0.5 * np.sum(np.log(precision[own]) - _LOG_2PI - precision[own] * (ordered[own] - mean[own]) ** 2)
        return float(total + sum(part.log_density(values, ordered) for part in self.parts))


def design(contribution: Contribution, rows: int, values: Values, columns: Mapping[str, slice], size: int) -> sparse.csr_matrix:
    """The linear part of a contribution as a matrix (rows x coefficients) at psi; `columns` says where each of the blocks stands."""
    total = sparse.csr_matrix((rows, size))
    for piece in contribution.pieces:
        scale = evaluate(piece.scale, values)
        matrix = piece.matrix.multiply(np.asarray(scale)[:, None]).tocsr() if np.ndim(scale) else piece.matrix * float(scale)
        start = columns[piece.coefficients].start
        total = total + sparse.csr_matrix((matrix.data, matrix.indices + start, matrix.indptr), shape=(rows, size))
    return total


def _floor(distance: np.ndarray) -> float:
    """Least variance of values that lie so far from their mean at b0: squares over it cancel, and leave their rounding."""
    return _FLOOR**2 * float(np.sum(np.square(distance))) / max(np.size(distance), 1)
