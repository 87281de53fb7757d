"""Components and a table become a problem; the models of several properties, one problem.

Every property is bound to the rows on which it was measured, under names of its own; what properties share (a latent state of the same
column, a `realmat.terms.priors.Shared` parameter) keeps one name and is therefore one. The values of levels are those of the whole table,
so that a specimen of which one property was measured exists for the others too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from realmat.errors import DataError, ModelError
from realmat.table.table import Table, statistics
from realmat.terms.cells import Cells
from realmat.terms.component import Component, Scale, words
from realmat.terms.correlation import correlated, correlated_noise
from realmat.terms.parts import Latent
from realmat.terms.problem import Problem, link_values, native
from realmat.terms.renaming import Renamer
from realmat.terms.scaling import scale_of
from realmat.terms.term import Coefficients, Contribution, Noise, Piece, Rows, Term, stored_name
from realmat.terms.upstream import states_of


@dataclass(frozen=True)
class Member:
    """What one property's model declares: response column, link, components in the order theory, material, observation, and labels."""

    response: str
    link: str
    components: tuple[Component, ...]
    labels: Mapping[str, str] = field(default_factory=dict)


def bind(response: str, link: str, components: Sequence[Component], table: Table, scale: Scale | None = None) -> Problem:
    """Turn components and a table into a problem.

    Parameters
    ----------
    response, link : str
    components : sequence of Component
    table : Table
    scale : Scale, optional
        Magnitudes for default priors; those of the table by default. Priors also look at columns: see `realmat.terms.binding.as_before`.

    Raises
    ------
    realmat.DataError, realmat.ModelError
        If a component cannot be bound, or two use the same variable name.
    """
    return bind_together([Member(response, link, tuple(components))], table, scales=None if scale is None else {response: scale})


def bind_together(
    members: Sequence[Member],
    table: Table,
    correlate: Sequence[str] = (),
    scales: Mapping[str, Scale] | None = None,
    prefix: bool = False,
    shared: Sequence[str] = (),
    before: Problem | None = None,
) -> Problem:
    """Turn the models of several properties of one table into one problem, seen through the first.

    Parameters
    ----------
    members : sequence of Member
    table : Table
        The rows of all; a response that is NaN was not measured there.
    correlate : sequence of str
        Components whose effects correlate between properties; ``"noise"`` for the noise of responses measured in one row.
    scales : mapping of response to Scale, optional
        Magnitudes for default priors; those of the table by default.
    prefix : bool
        Whether a property's variables begin with its name.
    shared : sequence of str
        Variables that keep their names, and are thereby one in all properties.
    before : Problem, optional
        The same models on the first rows of the table: its magnitudes and priors are kept, so that hyperparameters mean the same.

    Raises
    ------
    realmat.DataError, realmat.ModelError
        If a component cannot be bound, or variables clash.
    """
    if before is not None:
        scales = {part.response: part.scale for part in before.every}
    old = len(table if before is None else before.table.whole)
    cells = Cells.of(table, [member.response for member in members])
    seen = [_Seen.of(member, table, cells, scales, old) for member in members]
    apart = any(own.apart for own in seen) or "noise" in correlate
    cells = Cells.single(table) if apart else _told_apart(table, cells, seen)
    terms = [own.terms(cells, old) for own in seen]
    if cells.table.rows_matter and len(cells.first) < len(table):  # a component wants every row to be its own piece
        cells = Cells.single(table)
        terms = [own.terms(cells, old) for own in seen]
    if table.within is not None and (apart or cells.table.rows_matter):
        raise DataError(
            f"{int(table.count.sum()):,} rows were reduced to {len(table):,} cells where they live, but this model needs each row: limits, "
            "Student t noise or effects by row. Fit a part of the rows as a DataFrame, or a model of normal noise without effects by row."
        )
    for own in terms:
        _unique_names(own)
        _resolvable(own)
    if prefix:
        terms = _named_apart(members, terms, shared)
    if before is not None:
        terms = [tuple(_as_before(term, before) for term in own) for own in terms]
    terms = correlated([m.response for m in members], terms, [c for c in correlate if c != "noise"])
    problems = [own.problem(t, cells, k) for k, (own, t) in enumerate(zip(seen, terms, strict=True))]
    if "noise" in correlate:
        problems = correlated_noise(problems)
    return replace(problems[0], beside=tuple(problems[1:]))


@dataclass(frozen=True)
class _Seen:
    """A property and its rows of a table: `rows` says which, `own` holds them, and `g` their readings on the scale of the link.

    `measured` says the same by cell, for the `cells` of rows alike in every column.
    """

    member: Member
    rows: np.ndarray
    own: Table
    g: np.ndarray
    cells: Cells
    measured: tuple[np.ndarray, np.ndarray, np.ndarray]
    scale: Scale
    noise: Noise

    @classmethod
    def of(cls, member: Member, table: Table, every: Cells, scales: Mapping[str, Scale] | None, old: int) -> _Seen:
        rows = np.flatnonzero(np.isfinite(table.numeric(member.response)))
        own = table if len(rows) == len(table) and member.response == table.response else cls._part(table, rows, member)
        observation = next(c for c in member.components if c.layer == "observation")
        g, cells = observation.predictor(own), every.of_property(own, rows, common=False)
        measured = statistics(own, g, cells.cell, len(cells.first))
        found = (scales or {}).get(member.response)
        scale = found or scale_of(own, cells.table, g, measured, member.link, member.components)
        make = observation.bind(own if old == len(table) else cls._part(table, rows[rows < old], member), scale).noise
        assert make is not None
        return cls(member, rows, own, g, cells, measured, scale, make(own))

    @staticmethod
    def _part(table: Table, rows: np.ndarray, member: Member) -> Table:
        return table.part(rows, None, member.response, member.link, common=True)

    @property
    def apart(self) -> bool:
        """Whether each reading needs a density of its own."""
        noise = self.noise
        return noise.density is not None or noise.nu is not None or (noise.censored is not None and bool(noise.censored.any()))

    def _labels(self, terms: tuple[Term, ...]) -> dict[str, str]:
        """What pictures and sentences call columns, components and biases; components that would be called alike go by their names."""
        response, given = self.member.response, self.member.labels
        said = {c.label: c.said(given) for c in self.member.components}
        alike = list(said.values())
        said = {label: words(label) if alike.count(text) > 1 else text for label, text in said.items()}
        biases = [bias.name.removeprefix(f"{response}_") for term in terms for bias in term.biases]
        groups = {name: name.removeprefix("bias_") for name in biases}
        said |= {f"{term.component}_missing": "calculations not run" for term in terms if term.update is not None}
        labels = said | {name: f"bias of {given.get(by, words(by))}" for name, by in groups.items()} | dict(given)
        return labels | {f"{response}_{name}": label for name, label in labels.items()}  # as it is called among several properties

    def terms(self, cells: Cells, old: int) -> tuple[Term, ...]:
        part = cells.of_property(self.own, self.rows[self.rows < old], common=True).table
        scale = replace(self.scale, states=states_of(self.member.components, part.levels, part.link))
        terms = tuple(component.bind(part, scale) for component in self.member.components)
        for term in terms:  # may ask for the level of single rows
            term.contribute(part)
        return terms

    def problem(self, terms: tuple[Term, ...], cells: Cells, rank: int) -> Problem:
        mine = cells.of_property(self.own, self.rows, common=False)
        part, own, first = mine.table, mine.cell, mine.first
        contributions = tuple(term.contribute(part) for term in terms)
        observation = next(term for term in terms if term.noise is not None)
        assert observation.noise is not None
        noise = _heard(observation.noise(self.own)).take(first)
        y = self.own.numeric(self.member.response)
        g = y if native(noise) else link_values(self.member.link, y)
        known = own is self.cells.cell and np.array_equal(g, self.g)
        measured = self.measured if known else statistics(self.own, g, own, len(first))
        rows = _rows(self.member.response, terms, contributions, noise, measured)
        if observation.together is not None:
            common = observation.together(self.own)
            piece = (observation.component, Piece(common.block, common.loading[first]))
            rows = replace(rows, pieces=(*rows.pieces, piece), noise=_heard(common.noise).take(first))
        alone = self.own.whole is self.own
        table = self.own if alone else self.own.whole.part(self.rows, None, self.member.response, self.member.link)
        response, link, labels = self.member.response, self.member.link, self._labels(terms)
        return Problem(response, link, table, part, own, terms, rows, self.scale, contributions, noise, rank=rank, labels=labels)


def _heard(noise: Noise) -> Noise:
    """Rows that state no u where no scale is inferred (new rows can be such) have that of the others."""
    silent = (noise.u == 0) & (noise.group < 0)
    if not silent.any() or silent.all():
        return noise
    return replace(noise, u=np.where(silent, np.sqrt(np.mean(noise.u[~silent] ** 2)), noise.u))


def _told_apart(table: Table, cells: Cells, seen: Sequence[_Seen]) -> Cells:
    """Cells whose rows are alike in the noise of each response, too."""
    also = []
    for own in seen:
        if len(own.rows) == len(table):
            also += [own.noise.u, own.noise.group]
            continue
        u, group = np.full(len(table), np.nan), np.full(len(table), -2)
        u[own.rows], group[own.rows] = own.noise.u, own.noise.group
        also += [u, group]
    return cells.told_apart(table, also)


def _rows(
    response: str,
    terms: Sequence[Term],
    contributions: Sequence[Contribution],
    noise: Noise,
    measured: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> Rows:
    """The response by cell: mean, count and within-cell sum of squares, which are sufficient where variances are equal."""
    pieces = tuple((t.component, piece) for t, c in zip(terms, contributions, strict=True) for piece in c.pieces)
    offsets = tuple((t.component, c.offset) for t, c in zip(terms, contributions, strict=True) if c.offset is not None)
    count, mean, within = measured
    return Rows(response, mean, pieces, offsets, noise, count, within)


def _named_apart(members: Sequence[Member], terms: Sequence[tuple[Term, ...]], shared: Sequence[str]) -> list[tuple[Term, ...]]:
    """Each property's variables under its own name, states that several have under that of the first who has them."""
    owners: dict[tuple[object, ...], list[tuple[int, int, int]]] = {}
    for k, own in enumerate(terms):
        for i, term in enumerate(own):
            for j, state in enumerate(term.states):
                owners.setdefault(state.of, []).append((k, i, j))
    new: list[dict[str, str]] = [{} for _ in members]
    for places in owners.values():
        if len({k for k, _, _ in places}) < 2:
            continue
        states = [terms[k][i].states[j] for k, i, j in places]
        _agree(members, [k for k, _, _ in places], states)
        for (k, _, _), state in zip(places, states, strict=True):
            new[k] |= {v: states[0].name + v.removeprefix(state.name) for v in state.variables}
    for k, (member, own) in enumerate(zip(members, terms, strict=True)):
        front = stored_name(member.response)
        every = [name for term in own for name in _variables(term)]
        new[k] |= {name: f"{front}_{name}" for name in every if name not in new[k] and name not in shared}
    return [tuple(Renamer(names).term(term) for term in own) for names, own in zip(new, terms, strict=True)]


def _as_before(term: Term, before: Problem) -> Term:
    """A term with the priors that its variables had before."""
    priors = {q.name: q.prior for q in before.params}
    blocks = {c.name: c for c in before.coefficients}

    def kept(now: Coefficients) -> Coefficients:
        was = blocks.get(now.name)
        if was is None:
            return now
        same: dict[str, Any] = {
            k: getattr(was, k) for k in ("sd", "mean") if not callable(getattr(was, k)) and np.ndim(getattr(was, k)) == 0
        }
        if was.size == now.size:
            same |= {k: getattr(was, k) for k in ("sd", "mean") if not callable(getattr(was, k))}
        if was.size == now.size == 1 and [name for name, _ in was.parents] == [name for name, _ in now.parents]:
            same["parents"] = was.parents  # the line's middle is that of the first rows
        return replace(now, **same)

    params = tuple(replace(q, prior=priors.get(q.name, q.prior)) for q in term.params)
    return replace(term, params=params, coefficients=tuple(kept(c) for c in term.coefficients))


def _variables(term: Term) -> list[str]:
    derived = () if term.update is None else term.update.hands_on
    return [*(q.name for q in term.params), *(c.name for c in term.coefficients), *(rows.name for rows in term.rows), *derived]


def _agree(members: Sequence[Member], owners: Sequence[int], states: Sequence[Latent]) -> None:
    """What properties say of a state that they share must be the same.

    Raises
    ------
    realmat.ModelError
        With what each of them says.
    """
    first = states[0]
    for k, state in zip(owners[1:], states[1:], strict=True):
        differ = [name for name, value in first.told.items() if state.told[name] != value]
        if differ:
            a, b = members[owners[0]].response, members[k].response
            told = "; ".join(f"{n}={first.told[n]!r} for {a}, {n}={state.told[n]!r} for {b}" for n in differ)
            raise ModelError(f"column {first.of[0]!r} is one state of the material, but is declared in two ways: {told}. Declare it alike.")


def _unique_names(terms: Sequence[Term]) -> None:
    seen: dict[str, str] = {}
    for term in terms:
        for name in dict.fromkeys([p.name for p in term.params] + [c.name for c in term.coefficients]):
            if name in seen:
                raise ModelError(f"{name!r} is a variable of both {seen[name]!r} and {term.component!r}; give one of them another name=.")
            if name != stored_name(name):
                raise ModelError(
                    f"{term.component!r}: no file can hold a variable called {name!r}; name it realmat.terms.term.stored_name({name!r})."
                )
            seen[name] = term.component


def _resolvable(terms: Sequence[Term]) -> None:
    """Every reference of a prior leads to a parameter of the same term, and none in a circle."""
    for term in terms:
        pending, done = list(term.params), set[str]()
        while pending:
            ready = [q for q in pending if done.issuperset(q.prior.references)]
            if not ready:
                told = "; ".join(f"{q.name!r} refers to {', '.join(sorted(set(q.prior.references) - done))}" for q in pending)
                raise ModelError(f"{term.component!r}: a prior refers to what the component has not, or priors refer in a circle: {told}.")
            done |= {q.name for q in ready}
            pending = [q for q in pending if q.name not in done]
