"""Translation of a problem to a PyMC model, from its terms alone.

`build(problem)` is the readable model: every row of the table is one observation, in the response's own unit, and every
component is a node. `build(problem, collapsed=True)` has the same posterior and is what NUTS samples: replicates enter through their
sufficient statistics, and nothing is stored by row.

The readable model has ``b ~ N(mean, sd)`` for blocks whose coefficients are mostly well informed, else ``b = mean + sd <name>_z``, and
b under its own name either way. The collapsed model samples `<name>_z`, of order one for every coefficient whatever its unit, and
chooses between the two for each coefficient by the data variable `<name>_centred`, without being compiled anew (`centring`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from realmat.algebra.example import example_values
from realmat.engines import centring
from realmat.engines.pymc_rows import density_of, observe
from realmat.errors import ModelError
from realmat.posterior.prior_draws import by_parents
from realmat.terms.priors import Prior
from realmat.terms.problem import Problem
from realmat.terms.term import Coefficients, Contribution, Function, Param, Piece, Rows, Values, degrees, evaluate

if TYPE_CHECKING:
    import pymc as pm

_UNTRANSLATABLE = "its function of the parameters cannot be translated to PyTensor: keep to arithmetic, **, np.exp, np.log and their like"

Where = Mapping[str, tuple[str, Any]]


def build(problem: Problem, collapsed: bool = False) -> pm.Model:
    """Build the PyMC model of a problem.

    Parameters
    ----------
    problem : Problem
    collapsed : bool
        Use sufficient statistics of replicates, give no names to dimensions, and leave out what is computed for reading only. The log
        density differs from the readable model's by a constant where there is a log link (its Jacobian).

    Returns
    -------
    pm.Model
        Free variables and Deterministics under the names of the posterior, coefficients on their working scale (a log state as its
        logarithm). Readable: also ``<component>_contribution`` by row, the observed response under its column's name, and observed
        characterisations ``<component>_measured``, on the scale of the state.

    Examples
    --------
    >>> import pandas as pd
    >>> import realmat as rm
    >>> table = pd.DataFrame({"gap": [1.1, 1.4, 2.0], "pbe": [0.6, 0.9, 1.3]})
    >>> model = build(rm.Model("gap", theory=rm.theory.Calibrated("pbe")).bind(table))
    >>> [variable.name for variable in model.free_RVs]
    ['noise_scale', 'calibrated_slope', 'calibrated_intercept']
    >>> model.observed_RVs[0].name, model.named_vars_to_dims["gap"]
    ('gap', ('row',))
    """
    import pymc as pm
    import pytensor.tensor as pt

    where = {} if collapsed else _dims(problem)
    medians = example_values(problem.params)
    params = {param.name: param for param in problem.params}
    with pm.Model(coords=dict(where.values()), check_bounds=not collapsed) as model:
        p: dict[str, Any] = {}
        for name in medians:  # a prior comes after those it refers to
            p[name] = _param(params[name], p, where)
        b: dict[str, Any] = {}
        centred, typical = centring.centred(problem, [medians]), centring.typical(problem, medians)
        for block in by_parents(problem.coefficients):
            mean = sum((_piece(part, p, b) for part in block.mean_parts), evaluate(block.mean, p, pt))
            moments = mean, evaluate(block.sd, p, pt)
            if collapsed:
                b[block.name] = _adjustable(block, moments, p, centred[block.name], typical[block.name])
            else:
                b[block.name] = _coefficients(block, moments, p, bool(np.median(centred[block.name])), where)
        for term in problem.all_terms:
            if term.factor is not None:
                pm.Potential(f"{term.component}_beyond_readings", term.factor(p, pt))
        parts = {own.response: _parts(own, p, b) for own in problem.every}
        if collapsed:
            _collapsed(problem, parts, p, b)
        else:
            for own in problem.every:
                _readable(own, parts[own.response], p, b, where)
            _characterised(problem, p, b)
            _derived(problem, p, where)
    return model


def prior_draw(problem: Problem, names: list[str], seed: int) -> dict[str, np.ndarray]:
    """One joint draw of named variables from the prior, as the readable PyMC model has them; nothing is compiled."""
    import pymc as pm

    model = build(problem)
    return dict(zip(names, pm.draw([model[name] for name in names], random_seed=seed, mode="FAST_COMPILE"), strict=True))


def _dims(problem: Problem) -> dict[str, tuple[str, Any]]:
    """Dimension and coordinates of each variable that has one. A name that is taken by other coordinates is made longer."""
    rows = {own.response: own.table.index for own in problem.every}
    taken: dict[str, Any] = {"row": rows[problem.response]} if len(rows) == 1 else {}
    every: list[Param | Coefficients] = [*problem.params, *problem.coefficients]
    variables = {x.name for x in [*every, *problem.derived]}
    out: dict[str, tuple[str, Any]] = {name: ("row" if len(rows) == 1 else f"{name}_row", index) for name, index in rows.items()}
    for x in every:
        if x.dim is None or x.coords is None:
            continue
        dim, coords = x.dim, x.coords
        if len(coords) != x.size:  # the posterior also holds what is known; the model only what it infers
            dim, coords = f"{x.name}_inferred", np.arange(x.size)
        if dim in variables or not np.array_equal(taken.setdefault(dim, coords), coords):
            dim = f"{x.name}_{dim}"
        out[x.name] = (dim, coords)
    for d in problem.derived:
        for dim, coords in zip(d.dims, d.coords, strict=True):
            out[f"{d.name}[{dim}]"] = (f"{d.name}_{dim}" if dim in variables else dim, coords)
    for read in problem.rows:
        if read.name not in rows:
            out[read.name] = (f"{read.name}_reading", np.arange(int(read.count.sum())))
    return out


def _shape(name: str, size: int, scalar: bool, where: Where) -> dict[str, Any]:
    """The keyword that gives a variable its dimension, or at least its length."""
    if name in where:
        return {"dims": (where[name][0],)}
    return {} if scalar else {"shape": (size,)}


# --- hyperparameters ------------------------------------------------------------------------------------------------------------


def _param(param: Param, p: Mapping[str, Any], where: Where) -> Any:
    import pymc as pm

    prior = param.prior
    missing = [name for name in prior.references if name not in p]
    if missing:
        raise ModelError(f"the prior of {param.name!r} refers to {', '.join(missing)}: no parameter before it in its component.")
    arguments = prior.arguments(p)
    shape = _shape(param.name, param.size, param.coords is None, where)
    if prior.truncation == (None, None):
        return getattr(pm, prior.dist)(param.name, **arguments, **shape)
    dist = prior.dist
    if dist == "HalfStudentT":  # PyMC has no cumulative distribution for it; the support is cut at zero below
        dist, arguments = "StudentT", {**arguments, "mu": 0.0}
    return _truncated(param.name, getattr(pm, dist).dist(**arguments), prior, shape)


def _truncated(name: str, dist: Any, prior: Prior, shape: dict[str, Any]) -> Any:
    """Both ends of the support are stated, since PyMC takes those of a truncated variable from the truncation alone."""
    import warnings

    import pymc as pm

    lower, upper = (end if np.isfinite(end) else None for end in prior.support)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="RandomVariables .* were found in the derived graph")  # only random draws use it
        return pm.Truncated(name, dist, lower=lower, upper=upper, **shape)


# --- coefficients ---------------------------------------------------------------------------------------------------------------


def _coefficients(block: Coefficients, moments: tuple[Any, Any], p: Values, centred: bool, where: Where) -> Any:
    import pymc as pm

    mean, sd = _first(block, *moments)
    shape = _shape(block.name, block.size, _scalar(block), where)
    if centred or not _hierarchical(block):
        return _family(block, block.name, mean, sd, p, shape)
    return pm.Deterministic(block.name, mean + sd * _family(block, f"{block.name}_z", 0.0, 1.0, p, shape), dims=shape.get("dims"))


def _adjustable(
    block: Coefficients, moments: tuple[Any, Any], p: Values, centred: np.ndarray, typical: tuple[np.ndarray, np.ndarray]
) -> Any:
    """Centred is ``b = m + s z`` with constants m and s, so that z is of order one in both cases."""
    import pymc as pm
    import pytensor.tensor as pt

    mean, sd, m, s, mask = _first(block, *moments, *typical, centred.astype(float))
    shape = _shape(block.name, block.size, _scalar(block), {})
    if not _hierarchical(block):
        return pm.Deterministic(block.name, mean + sd * _family(block, f"{block.name}_z", 0.0, 1.0, p, shape))
    here = pt.gt(pm.Data(f"{block.name}_centred", mask), 0.5)
    z = _family(block, f"{block.name}_z", pt.where(here, (mean - m) / s, 0.0), pt.where(here, sd / s, 1.0), p, shape)
    return pm.Deterministic(block.name, pt.where(here, m + s * z, mean + sd * z))


def _family(block: Coefficients, name: str, mean: Any, sd: Any, p: Values, shape: dict[str, Any]) -> Any:
    import pymc as pm

    if block.nu is None:
        return pm.Normal(name, mu=mean, sigma=sd, **shape)
    return pm.StudentT(name, nu=degrees(block.nu, p), mu=mean, sigma=sd, **shape)


def _hierarchical(block: Coefficients) -> bool:
    """Whether the prior depends on other unknowns; else centring makes no difference."""
    return callable(block.sd) or callable(block.mean) or bool(block.mean_parts) or block.nu is not None


def _scalar(block: Coefficients) -> bool:
    return block.dim is None and block.size == 1


def _first(block: Coefficients, *values: Any) -> tuple[Any, ...]:
    """Vectors of length one become scalars where the block is a scalar."""
    return tuple(x[0] if np.ndim(x) else x for x in values) if _scalar(block) else values


# --- rows -----------------------------------------------------------------------------------------------------------------------


def product(matrix: sparse.csr_matrix, b: Any) -> Any:
    """``matrix @ b`` without sparse algebra, which not every PyTensor backend has: gathered where rows are nearly empty, else dense."""
    import pytensor.tensor as pt

    rows, size = matrix.shape
    if b.ndim == 0:
        return matrix.toarray()[:, 0] * b
    matrix = sparse.csr_matrix(matrix)
    filled = np.diff(matrix.indptr)
    widest = int(filled.max(initial=0))
    if size <= 4 * widest:
        return pt.dot(matrix.toarray(), b)
    place = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], filled)
    row = np.repeat(np.arange(rows), filled)
    index, value = np.zeros((rows, widest), dtype=np.int64), np.zeros((rows, widest))
    index[row, place], value[row, place] = matrix.indices, matrix.data
    if widest == 1:
        gathered = b[index[:, 0]]
        return gathered if (value == 1).all() else gathered * value[:, 0]
    return (b[index] * value).sum(axis=1)


def _piece(piece: Piece, p: Values, b: Mapping[str, Any]) -> Any:
    import pytensor.tensor as pt

    out = product(piece.matrix, b[piece.coefficients])
    return out if piece.scale is None else piece.scale(p, pt) * out


def _sum(pieces: Iterable[Piece], functions: Iterable[Function], p: Values, b: Mapping[str, Any]) -> Any:
    """Pieces and functions of psi added up; None where there are none."""
    import pytensor.tensor as pt

    parts = [*(_piece(piece, p, b) for piece in pieces), *(function(p, pt) for function in functions)]
    return sum(parts[1:], parts[0]) if parts else None


def _contribution(component: str, contribution: Contribution, p: Values, b: Mapping[str, Any]) -> Any:
    """What a component adds to the mean of each cell; None where it adds nothing."""
    functions = [] if contribution.offset is None else [contribution.offset]
    if (nonlinear := contribution.nonlinear) is not None:
        functions.append(lambda p, xp: nonlinear(p, b, xp))
    try:
        out = _sum(contribution.pieces, functions, p, b)
    except TypeError as error:
        raise ModelError(f"{component}: {_UNTRANSLATABLE} ({error}).") from error
    if isinstance(out, np.ndarray) and out.dtype == object:  # what np.power makes of a symbol: one graph for each row
        raise ModelError(f"{component}: {_UNTRANSLATABLE}; np.power(a, b) is a**b.")
    return out


def _parts(own: Problem, p: Values, b: Mapping[str, Any]) -> dict[str, Any]:
    """What each component adds to the mean of a property's cells; under no component's name, what of its noise is a coefficient."""
    pairs = list(zip(own.terms, own.contributions, strict=True))
    parts = {term.component: _contribution(term.component, c, p, b) for term, c in pairs}
    rest = [piece for _, piece in own.response_rows.pieces[sum(len(c.pieces) for _, c in pairs) :]]
    return {**parts, "": _sum(rest, [], p, b)} if rest else parts


def _reading(rows: Rows, p: Values, b: Mapping[str, Any]) -> Any:
    """Mean of characterisations, by row."""
    return _sum((piece for _, piece in rows.pieces), (offset for _, offset in rows.offsets), p, b)


def _mean(parts: Mapping[str, Any]) -> Any:
    """Mean of the response."""
    return sum((part for part in parts.values() if part is not None), 0.0)


def _collapsed(problem: Problem, parts: Mapping[str, Mapping[str, Any]], p: Values, b: Mapping[str, Any]) -> None:
    """One potential for each Rows: n measurements with mean y and within-cell sum of squares w, about the cell's own mean."""
    import pymc as pm
    import pytensor.tensor as pt

    for rows in problem.rows:
        mean = _mean(parts[rows.name]) if rows.name in parts else _reading(rows, p, b)
        pm.Potential(rows.name, pt.sum(density_of(rows, mean, p)))


def _readable(own: Problem, parts: Mapping[str, Any], p: Values, b: Mapping[str, Any], where: Where) -> None:
    """A property: its components by row, and the observed response."""
    import pymc as pm

    dim, front = where[own.response][0], "" if where[own.response][0] == "row" else f"{own.response}_"
    by_row = {name: _by_row(part, own.cell) for name, part in parts.items() if part is not None}
    for name, part in by_row.items():
        if name:
            pm.Deterministic(f"{front}{name}_contribution", part, dims=dim)
    observe(own.response_rows, own.table.numeric(own.response), _mean(by_row), own.cell, p, dim, own.link, own.table)


def _derived(problem: Problem, p: Values, where: Where) -> None:
    """What follows from psi: correlations."""
    import pymc as pm
    import pytensor.tensor as pt

    for x in problem.derived:
        pm.Deterministic(x.name, x.value(p, pt), dims=tuple(where[f"{x.name}[{dim}]"][0] for dim in x.dims))


def _characterised(problem: Problem, p: Values, b: Mapping[str, Any]) -> None:
    import pytensor.tensor as pt

    for rows in problem.rows:
        if rows.name in problem.responses:
            continue
        repeated = np.repeat(np.arange(len(rows.y)), rows.count.astype(int))
        mean = pt.as_tensor(_reading(rows, p, b))[repeated]
        observe(rows, rows.y[repeated], mean, repeated, p, f"{rows.name}_reading", "identity")


def _by_row(part: Any, cell: np.ndarray) -> Any:
    import pytensor.tensor as pt

    part = pt.as_tensor(part)
    return pt.full(len(cell), part) if part.ndim == 0 else part[cell]
