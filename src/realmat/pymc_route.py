"""Translation of a problem to a PyMC model, from its terms alone.

`build(problem)` is the readable model: every row of the user's table is one observation, in the response's own unit, and every
component is a node. `build(problem, collapsed=True)` has the same posterior and is what NUTS samples: replicates enter through their
sufficient statistics, and nothing is stored by row.

Coefficients are *centred*, ``b ~ N(mean, sd)``, where the data say more about them than their prior does, and *non-centred*,
``b = mean + sd z`` with ``z ~ N(0, 1)``, where they do not: each is efficient where the other fails (Papaspiliopoulos, Roberts & Skoeld,
Statistical Science 22, 59 (2007); Betancourt & Girolami, arXiv:1312.0906). See `information` for the measure. Either way the variable
under the coefficients' own name is b; z is `<name>_z`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from realmat.errors import ModelError
from realmat.gaussian.family import example_values
from realmat.priors import Prior
from realmat.problem import Problem
from realmat.terms import Coefficients, Contribution, Function, Noise, Param, Piece, Rows, Values, evaluate

if TYPE_CHECKING:
    import pymc as pm

_UNTRANSLATABLE = "its function of the parameters cannot be translated to PyTensor: keep to arithmetic, **, np.exp, np.log and their like"

CENTRED_FROM = 5.0
"""Information from the data, relative to the prior's, from which a coefficient is centred."""


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
    ['noise_scale', 'calibrated_intercept', 'calibrated_slope']
    >>> model.observed_RVs[0].name, model.named_vars_to_dims["gap"]
    ('gap', ('row',))
    """
    import pymc as pm

    where = {} if collapsed else _dims(problem)
    medians = example_values(problem.params)
    params = {param.name: param for param in problem.params}
    with pm.Model(coords=dict(where.values()), check_bounds=not collapsed) as model:
        p: dict[str, Any] = {}
        for name in medians:  # a prior comes after those it refers to
            p[name] = _param(params[name], p, where)
        b: dict[str, Any] = {}
        informed = information(problem, medians)
        for block in problem.coefficients:
            b[block.name] = _coefficients(block, p, b, informed[block.name] >= CENTRED_FROM, where)
        parts = {t.component: _contribution(t.component, c, p, b) for t, c in zip(problem.terms, problem.contributions, strict=True)}
        if collapsed:
            _collapsed(problem, parts, p, b)
        else:
            _readable(problem, parts, p, b)
    return model


def prior_draw(problem: Problem, names: list[str], seed: int) -> dict[str, np.ndarray]:
    """One joint draw of named variables from the prior, as the readable PyMC model has them; nothing is compiled."""
    import pymc as pm

    model = build(problem)
    return dict(zip(names, pm.draw([model[name] for name in names], random_seed=seed, mode="FAST_COMPILE"), strict=True))


def _dims(problem: Problem) -> dict[str, tuple[str, Any]]:
    """Dimension and coordinates of each variable that has one. A name that is taken by other coordinates is made longer."""
    taken: dict[str, Any] = {"row": problem.table.index}
    every: list[Param | Coefficients] = [*problem.params, *problem.coefficients]
    variables = {x.name for x in every}
    out: dict[str, tuple[str, Any]] = {problem.response: ("row", problem.table.index)}
    for x in every:
        if x.dim is None or x.coords is None:
            continue
        dim, coords = x.dim, x.coords
        if len(coords) != x.size:  # the posterior also holds what is known; the model only what it infers
            dim, coords = f"{x.name}_inferred", np.arange(x.size)
        if dim in variables or not np.array_equal(taken.setdefault(dim, coords), coords):
            dim = f"{x.name}_{dim}"
        out[x.name] = (dim, coords)
    for rows in problem.rows[1:]:
        out[rows.name] = (f"{rows.name}_reading", np.arange(int(rows.count.sum())))
    return out


def _shape(name: str, size: int, scalar: bool, where: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
    """The keyword that gives a variable its dimension, or at least its length."""
    if name in where:
        return {"dims": (where[name][0],)}
    return {} if scalar else {"shape": (size,)}


# --- hyperparameters ------------------------------------------------------------------------------------------------------------


def _param(param: Param, p: Mapping[str, Any], where: Mapping[str, tuple[str, Any]]) -> Any:
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


def information(problem: Problem, p: Values) -> dict[str, np.ndarray]:
    """How much the measured rows say about each coefficient, relative to its prior, with psi at `p`: by block, shape (size,).

    ``sd_j^2 * (sum over rows: count X_ij^2 / var_i + sum over children: M_kj^2 / (sd_k^2 + 1 / data precision of k))``, other
    coefficients taken as known. A coefficient whose prior has no hyperparameter counts as infinitely well informed, because it is
    efficient as it is.
    """
    precision = {block.name: np.zeros(block.size) for block in problem.coefficients}
    for rows in problem.rows:
        noise = rows.noise
        scales = np.append(np.asarray(evaluate(noise.scales, p, default=0.0), dtype=float), 0.0)  # group -1 reads the zero
        weight = rows.count / (noise.u**2 + scales[noise.group] ** 2)
        for _, piece in rows.pieces:
            scale = np.asarray(evaluate(piece.scale, p), dtype=float)
            precision[piece.coefficients] += piece.matrix.power(2).T @ (weight * scale**2)
    out: dict[str, np.ndarray] = {}
    for block in reversed(problem.coefficients):
        sd2 = np.broadcast_to(np.asarray(evaluate(block.sd, p), dtype=float), (block.size,)) ** 2
        out[block.name] = sd2 * precision[block.name]
        with np.errstate(divide="ignore"):
            passed_on = 1 / (sd2 + 1 / precision[block.name])
        for parent, matrix in block.parents:
            precision[parent] += matrix.power(2).T @ passed_on
        if not block.parents and not callable(block.sd):
            out[block.name] = np.full(block.size, np.inf)
    return out


def _coefficients(
    block: Coefficients, p: Mapping[str, Any], b: Mapping[str, Any], centred: np.ndarray, where: Mapping[str, tuple[str, Any]]
) -> Any:
    import pymc as pm
    import pytensor.tensor as pt

    scalar = block.dim is None and block.size == 1
    shape = _shape(block.name, block.size, scalar, where)
    mean = sum((product(matrix, b[parent]) for parent, matrix in block.parents), evaluate(block.mean, p, pt))
    sd = evaluate(block.sd, p, pt)
    if scalar:
        mean, sd, centred = (x[0] if np.ndim(x) else x for x in (mean, sd, centred))
    family, tail = (pm.StudentT, {"nu": p[block.nu]}) if block.nu else (pm.Normal, {})
    if np.all(centred):
        return family(block.name, mu=mean, sigma=sd, **tail, **shape)
    z, sigma = (0.0, 1.0) if not np.any(centred) else (pt.where(centred, mean, 0.0), pt.where(centred, sd, 1.0))
    raw = family(f"{block.name}_z", mu=z, sigma=sigma, **tail, **shape)
    b_from_raw = mean + sd * raw if not np.any(centred) else pt.where(centred, raw, mean + sd * raw)
    return pm.Deterministic(block.name, b_from_raw, dims=shape.get("dims"))


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


def _reading(rows: Rows, p: Values, b: Mapping[str, Any]) -> Any:
    """Mean of characterisations, by row."""
    return _sum((piece for _, piece in rows.pieces), (offset for _, offset in rows.offsets), p, b)


def _mean(parts: Mapping[str, Any]) -> Any:
    """Mean of the response."""
    return sum((part for part in parts.values() if part is not None), 0.0)


def _sd(noise: Noise, p: Values) -> Any:
    """Standard deviation of a single measurement, by row of the Rows; a scalar where it is one inferred scale."""
    import pytensor.tensor as pt

    if noise.scales is None or (noise.group < 0).all():
        return noise.u
    scales = pt.as_tensor(noise.scales(p, pt))
    if not noise.u.any() and (noise.group == noise.group[0]).all():
        return scales[int(noise.group[0])]
    inferred = pt.where(noise.group >= 0, scales[np.maximum(noise.group, 0)] ** 2, 0.0)
    return pt.sqrt(noise.u**2 + inferred)


def _log_density(value: Any, mean: Any, sd: Any, nu: Any, censored: np.ndarray | None) -> Any:
    """Elementwise log density of measurements on the scale of the link; log probability of the stated side where censored."""
    import pymc as pm
    import pytensor.tensor as pt

    dist = pm.Normal.dist(mean, sd) if nu is None else pm.StudentT.dist(nu=nu, mu=mean, sigma=sd)
    out = pm.logp(dist, value)
    if censored is None or not censored.any():
        return out
    beyond = pm.logcdf(dist, pt.where(censored > 0, 2 * mean - value, value))  # P(y > value) = P(y < 2 mean - value), by symmetry
    return pt.where(censored == 0, out, beyond)


def _collapsed(problem: Problem, parts: Mapping[str, Any], p: Values, b: Mapping[str, Any]) -> None:
    """One potential for each Rows: n measurements with mean y and within-cell sum of squares w, about the cell's own mean."""
    import pymc as pm
    import pytensor.tensor as pt

    for rows in problem.rows:
        mean = _mean(parts) if rows is problem.response_rows else _reading(rows, p, b)
        sd = _sd(rows.noise, p)
        nu = None if rows.noise.nu is None else p[rows.noise.nu]
        density = _log_density(rows.y, mean, sd, nu, rows.noise.censored)
        if rows.within.any():
            density = density - 0.5 * rows.within / (rows.count * sd**2)
        pm.Potential(rows.name, pt.sum(density if (rows.count == 1).all() else rows.count * density))


def _readable(problem: Problem, parts: Mapping[str, Any], p: Values, b: Mapping[str, Any]) -> None:
    import pymc as pm
    import pytensor.tensor as pt

    cell = problem.cell
    by_row = {name: _by_row(part, cell) for name, part in parts.items() if part is not None}
    for name, part in by_row.items():
        pm.Deterministic(f"{name}_contribution", part, dims="row")
    y = problem.table.numeric(problem.response)
    _observe(problem.response_rows, y, _mean(by_row), cell, p, {"dims": ("row",)}, problem.link == "log")
    for rows in problem.rows[1:]:
        repeated = np.repeat(np.arange(len(rows.y)), rows.count.astype(int))
        mean = pt.as_tensor(_reading(rows, p, b))[repeated]
        _observe(rows, rows.y[repeated], mean, repeated, p, {"dims": (f"{rows.name}_reading",)}, False)


def _by_row(part: Any, cell: np.ndarray) -> Any:
    import pytensor.tensor as pt

    part = pt.as_tensor(part)
    return pt.full(len(cell), part) if part.ndim == 0 else part[cell]


def _observe(rows: Rows, y: np.ndarray, mean: Any, index: np.ndarray, p: Values, dims: dict[str, Any], log: bool) -> None:
    """An observed variable under the name of the rows; `y` is in the response's own unit, also where the link is a logarithm."""
    import pymc as pm
    import pytensor.tensor as pt

    sd = _sd(rows.noise, p)
    sd = sd if np.ndim(sd) == 0 else sd[index]
    nu = () if rows.noise.nu is None else (p[rows.noise.nu],)
    flags = None if rows.noise.censored is None or not rows.noise.censored.any() else rows.noise.censored[index]
    if flags is None and not (log and nu):
        family = pm.LogNormal if log else pm.StudentT if nu else pm.Normal
        family(rows.name, mu=mean, sigma=sd, **({"nu": nu[0]} if nu else {}), observed=y, **dims)
        return

    def logp(value: Any, mean: Any, sd: Any, *nu: Any) -> Any:
        density = _log_density(pt.log(value) if log else value, mean, sd, nu[0] if nu else None, flags)
        measured = 1.0 if flags is None else (flags == 0).astype(float)
        return density - measured * pt.log(value) if log else density  # the Jacobian; a limit is a probability and has none

    def dist(mean: Any, sd: Any, *rest: Any) -> Any:
        *nu, size = rest
        base = pm.StudentT.dist(nu=nu[0], mu=mean, sigma=sd, size=size) if nu else pm.Normal.dist(mean, sd, size=size)
        return pt.exp(base) if log else base

    pm.CustomDist(rows.name, mean, sd, *nu, logp=logp, dist=dist, observed=y, **dims)
