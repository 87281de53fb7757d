"""Groups of few coefficients that only each other and the rest touch, found in the pattern and sorted into classes.

What is unknown of one specimen (its state, what is left of each of its properties) is such a group: a subtree of the elimination tree (Liu,
SIAM J. Matrix Anal. Appl. 11, 134, 1990). P is a sum of known arrays with weights that depend on psi, so that the block of group j and its
coupling to the rest are

    D_j = sum_s w_s(psi) D_sj,    C_j = sum_s w_s(psi) C_sj.

Couplings that are proportional as matrices (those of a state and of what is left of the same property) are one, M_m with a vector v_m(psi)
over the members of a group, so that C_j = sum_m v_m M_mj. Groups whose D_sj are the same for every s are of one class: D = L L' is
factorised once for all of them, and what they take from the rest,

    sum_j C_j' D^-1 C_j = sum_{m, l} (L^-1 v_m)' (L^-1 v_l)  sum_j M_mj' M_lj,

is again a sum of known arrays. The cost of an evaluation does not grow with the number of groups, whatever columns they couple to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse

from realmat.algebra.normal_equations import Slot
from realmat.algebra.ordering import Pattern

_SIZES = (1, 2, 3, 4, 6, 8)  # largest number of coefficients of a group, of which the best is taken
_FEWEST = 8  # groups of a class
_CLASS_COST = 100  # of the inverse of a class, in multiply-adds for each number of its block
_SCATTERED = 0.5  # of what elimination one by one costs, that sums may cost


@dataclass
class LeafClass:
    """Groups alike.

    Attributes
    ----------
    columns : int array of shape (groups, k)
        Their coefficients, in elimination order.
    block : array of shape (slots, k, k)
        D_s.
    slot, member, kind : int arrays of shape (couplings,)
        (s, a) of each coupling to the rest, and its m; `factor` times M_m is C_sa.
    coupling : csr, shape (kinds x groups, rest)
        M_mj, one m after the other.
    """

    columns: np.ndarray
    block: np.ndarray
    slot: np.ndarray
    member: np.ndarray
    kind: np.ndarray
    factor: np.ndarray
    coupling: sparse.csr_matrix

    @property
    def kinds(self) -> int:
        """How many couplings M_m there are."""
        return int(self.coupling.shape[0]) // len(self.columns)

    @property
    def wide(self) -> sparse.csr_matrix:
        """All M_m side by side, shape (groups, kinds * rest)."""
        every, (count, size) = self.coupling.tocoo(), (len(self.columns), self.coupling.shape[1])
        kind, group = np.divmod(every.row.astype(np.int64), count)
        return sparse.csr_matrix((every.data, (group, kind * size + every.col)), shape=(count, self.kinds * size))

    @property
    def touched(self) -> sparse.csr_matrix:
        """The sum of all |M_m|: not zero where a group is coupled to the rest at all."""
        every, shape = self.coupling.tocoo(), (len(self.columns), self.coupling.shape[1])
        return sparse.csr_matrix((abs(every.data), (every.row % shape[0], every.col)), shape=shape)


@dataclass
class Leaves:
    """The classes, and the pattern of the rest.

    Attributes
    ----------
    rest : int array
        Coefficients that are in no group, in the order of `pattern`.
    slots : list of Slot
        Those of the full pattern, at flat places of `pattern`.
    taken : list of Slot
        Sums of products of couplings, a slot for each of `pairs`: class, m and l.
    """

    classes: list[LeafClass]
    pattern: Pattern
    rest: np.ndarray
    slots: list[Slot]
    taken: list[Slot]
    pairs: np.ndarray


@dataclass
class _Entries:
    """All numbers of all slots: slot, row and column (upper triangle, elimination order), value."""

    slot: np.ndarray
    row: np.ndarray
    column: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, pattern: Pattern, slots: Sequence[Slot]) -> _Entries:
        row, column = _places(pattern)
        every = []
        for s, (where, values) in enumerate(slots):
            places = np.arange(len(values)) if isinstance(where, slice) else where
            used = np.flatnonzero(values)
            every.append((np.full(len(used), s), row[places[used]], column[places[used]], values[used]))
        return cls(*(np.concatenate(parts) for parts in zip(*every, strict=True)))

    def chosen(self, mask: np.ndarray) -> _Entries:
        return _Entries(self.slot[mask], self.row[mask], self.column[mask], self.value[mask])


def find(pattern: Pattern, natural: np.ndarray, matrices: Sequence[sparse.csr_matrix], slots: Sequence[Slot]) -> Leaves | None:
    """Groups alike of a system, or None where eliminating its columns one by one costs less.

    Parameters
    ----------
    natural : int array of shape (coefficients,)
        Natural place of each column of the pattern: members of a group are compared in this order.
    matrices : sequence of csr, shape (rows, coefficients)
        Measured rows, in elimination order.
    slots : sequence of Slot
        Known arrays whose weighted sum is P.
    """
    height = np.diff(np.append(pattern.ptr[: pattern.lead], pattern.ptr[pattern.lead])).astype(float)
    one_by_one = (height + 1) * (height + 2) / 2
    entries = _Entries.of(pattern, slots)
    root, size = _roots(pattern)
    best: tuple[float, list[tuple[np.ndarray, np.ndarray]]] = (0.0, [])
    for most in _SIZES:
        found = _classes(_groups(root, size, most, natural), entries, len(slots), pattern.size)
        gain = sum(float(one_by_one[columns].sum()) - _CLASS_COST * columns.shape[1] ** 2 for columns, _ in found)
        if gain > 1.1 * best[0]:
            best = gain, found
    if not best[1] or sum(columns.size for columns, _ in best[1]) == pattern.size:
        return None
    leaves = _build(best[1], pattern, matrices, entries, len(slots))
    numbers = sum(len(values) for _, values in leaves.taken) + sum(c.coupling.nnz for c in leaves.classes)
    return leaves if numbers < _SCATTERED * best[0] else None


def _places(pattern: Pattern) -> tuple[np.ndarray, np.ndarray]:
    """Row and column (row <= column) of every place of the flat array."""
    lead, d = pattern.lead, pattern.dense
    height = np.diff(pattern.ptr[: lead + 1])
    row = np.empty(pattern.flat, dtype=np.int64)
    column = np.empty(pattern.flat, dtype=np.int64)
    start = pattern.ptr[:lead] + np.arange(lead)
    row[: pattern.base] = np.repeat(np.arange(lead), height + 1)
    column[start] = np.arange(lead)
    below = np.ones(pattern.base, dtype=bool)
    below[start] = False
    column[: pattern.base][below] = pattern.rows[: pattern.ptr[lead]]
    row[pattern.base :] = lead + np.repeat(np.arange(d), d)
    column[pattern.base :] = lead + np.tile(np.arange(d), d)
    return row, column


def _roots(pattern: Pattern) -> tuple[np.ndarray, np.ndarray]:
    """Parent of each lead column in the elimination tree (-1 where it has none there), and the size of its subtree."""
    lead = pattern.lead
    first = pattern.ptr[:lead]
    has = np.diff(pattern.ptr[: lead + 1]) > 0
    parent = np.full(lead, -1)
    parent[has] = pattern.rows[first[has]]
    parent[parent >= lead] = -1
    size = np.ones(lead, dtype=np.int64)
    for j in range(lead):  # children stand before their parents
        if parent[j] >= 0:
            size[parent[j]] += size[j]
    return parent, size


def _groups(parent: np.ndarray, size: np.ndarray, most: int, natural: np.ndarray) -> list[np.ndarray]:
    """Columns of the largest subtrees of at most `most` columns, by their number k: int arrays of shape (groups, k)."""
    root = np.full(len(parent), -1)
    for j in range(len(parent) - 1, -1, -1):
        if size[j] <= most:
            above = parent[j]
            root[j] = root[above] if above >= 0 and size[above] <= most else j
    inside = np.flatnonzero(root >= 0)
    inside = inside[np.lexsort((natural[inside], root[inside]))]
    k = size[root[inside]]
    return [inside[k == each].reshape(-1, each) for each in range(1, most + 1) if np.any(k == each)]


def _classes(groups: list[np.ndarray], entries: _Entries, slots: int, columns: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Columns (groups, k) and blocks (slots, k, k) of each class of enough groups."""
    out = []
    for own in groups:
        count, k = own.shape
        group, member = _membership(own, columns)
        here = entries.chosen((group[entries.row] >= 0) & (group[entries.row] == group[entries.column]))
        blocks = np.zeros((count, slots, k, k))
        a, b = member[here.row], member[here.column]
        blocks[group[here.row], here.slot, a, b] = here.value
        blocks[group[here.row], here.slot, b, a] = here.value
        alike: dict[bytes, list[int]] = {}
        for j, block in enumerate(blocks):
            alike.setdefault(block.tobytes(), []).append(j)
        out += [(own[which], blocks[which[0]]) for which in alike.values() if len(which) >= _FEWEST]
    return out


def _membership(columns: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Group (-1 for none) and place in it of each coefficient."""
    group, member = np.full(size, -1), np.zeros(size, dtype=np.int64)
    group[columns] = np.arange(len(columns))[:, None]
    member[columns] = np.arange(columns.shape[1])
    return group, member


def _build(
    found: list[tuple[np.ndarray, np.ndarray]], pattern: Pattern, matrices: Sequence[sparse.csr_matrix], entries: _Entries, slots: int
) -> Leaves:
    """Couplings, the pattern of the rest, and all sums at its places."""
    outside = np.ones(pattern.size, dtype=bool)
    for columns, _ in found:
        outside[columns] = False
    rest = np.flatnonzero(outside)
    number = np.full(pattern.size, -1)
    number[rest] = np.arange(len(rest))
    classes = [_coupled(columns, block, entries, number, len(rest)) for columns, block in found]
    touched = [leaf.touched for leaf in classes if leaf.coupling.shape[0]]
    small = Pattern.of([*(m[:, rest] for m in matrices), *touched], len(rest))
    order = np.argsort(small.place)
    number[rest] = small.place
    for leaf in classes:
        leaf.coupling = leaf.coupling[:, order].tocsr()
    within = entries.chosen((number[entries.row] >= 0) & (number[entries.column] >= 0))
    own: list[Slot] = []
    for s in range(slots):
        mine = within.slot == s
        own.append((small.positions(number[within.row[mine]], number[within.column[mine]]), within.value[mine]))
    taken: list[Slot] = []
    pairs = []
    for c, leaf in enumerate(classes):
        p, q, low, high, value = _products(leaf)
        where = small.positions(low, high)
        starts = np.flatnonzero(np.diff(p + leaf.kinds * q, prepend=-1))
        for k, end in pairwise([*starts, len(p)]):
            taken.append((where[k:end], value[k:end]))
            pairs.append((c, p[k], q[k]))
    return Leaves(classes, small, rest[order], own, taken, np.array(pairs, dtype=np.int64).reshape(-1, 3))


def _products(leaf: LeafClass) -> tuple[np.ndarray, ...]:
    """p, q >= p, row, column >= row, and value of all M_p' M_p and M_p' M_q + M_q' M_p, ordered by q, then p: all products in one."""
    wide, kinds, size = leaf.wide, leaf.kinds, leaf.coupling.shape[1]
    gram = (wide.T @ wide).tocoo()
    (p, i), (q, j) = np.divmod(gram.row.astype(np.int64), size), np.divmod(gram.col.astype(np.int64), size)
    kept = (p < q) | ((p == q) & (i <= j))
    p, i, q, j = p[kept], i[kept], q[kept], j[kept]
    value = np.where((p < q) & (i == j), 2.0, 1.0) * gram.data[kept]
    keys, which = np.unique(((q * kinds + p) * size + np.minimum(i, j)) * size + np.maximum(i, j), return_inverse=True)
    pair, place = np.divmod(keys, size**2)
    return pair % kinds, pair // kinds, place // size, place % size, np.bincount(which, value)


def _coupled(columns: np.ndarray, block: np.ndarray, entries: _Entries, number: np.ndarray, rest: int) -> LeafClass:
    """A class with its couplings to the rest, those that are proportional joined."""
    group, member = _membership(columns, len(number))
    swapped = group[entries.row] < 0
    inner, outer = np.where(swapped, entries.column, entries.row), np.where(swapped, entries.row, entries.column)
    here = (group[inner] >= 0) & (number[outer] >= 0)
    inner, outer, value, slot = inner[here], outer[here], entries.value[here], entries.slot[here]
    kinds: dict[tuple[bytes, bytes, bytes], int] = {}
    k, factors = columns.shape[1], []
    every, which = np.unique(slot * k + member[inner], return_inverse=True)
    matrices: list[sparse.csr_matrix] = []
    index = []
    for c in range(len(every)):
        mine = which == c
        matrix = sparse.csr_matrix((value[mine], (group[inner[mine]], number[outer[mine]])), shape=(len(columns), rest))
        factors.append(float(matrix.data[0]))
        matrix = matrix / factors[-1]
        key = matrix.indptr.tobytes(), matrix.indices.tobytes(), matrix.data.tobytes()
        if key not in kinds:
            kinds[key] = len(matrices)
            matrices.append(matrix)
        index.append(kinds[key])
    coupling = sparse.vstack(matrices, format="csr") if matrices else sparse.csr_matrix((0, rest))
    return LeafClass(columns, block, every // k, every % k, np.array(index, dtype=np.int64), np.array(factors), coupling)
