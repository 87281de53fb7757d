"""The uncertainty budget: which part of the predictive variance belongs to which layer, component and kind.

With C_c the contribution of component c to a new measurement, psi and b the parameters,

    aleatoric_c = E[ Var(C_c | psi, b) ],      epistemic_c = Cov( E[C_c | psi, b], sum_c' E[C_c' | psi, b] ),

which add up to the predictive variance by the laws of total variance and covariance. The words are the metrologist's: standard
uncertainty u, coverage factor k, expanded uncertainty U = k u (JCGM 100:2008, Guide to the expression of uncertainty in measurement).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from realmat.attribution.average import Averaged, averaged
from realmat.attribution.budget_text import sentences, subject
from realmat.attribution.missing import Missing
from realmat.errors import ModelError
from realmat.posterior.contributions import Chunk, Stream
from realmat.posterior.draws import Posterior
from realmat.support.attached import attached
from realmat.support.intervals import interval, settings
from realmat.support.shown import Shown
from realmat.table.table import Table
from realmat.terms.term import LAYERS

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

KINDS = ("aleatoric", "epistemic")
SCALES = ("link", "response")
JOIN = " + "
HEAVY = 2.0  # a mean variance so many times its median is ruled by a few draws, as of a Student t with nu close to 2


@dataclass(frozen=True)
class Budget(Shown):
    """An uncertainty budget.

    Attributes
    ----------
    table : DataFrame
        Columns `layer component kind u share share_lb share_ub`. `u` is the square root of the part of the variance, averaged over the
        rows; it is negative where components compensate each other. `share` is the part over the whole; its interval says how well the
        data know the aleatoric variances. Of a consensus of theories, `<name>_missing` is what is expected to go were every calculation
        run that was not.
    rows : xarray.Dataset
        `share` (row, component, kind) and `u` (row): the budget of each row.
    dataset : xarray.Dataset
        All of it, as the group `budget` of the fit's DataTree.
    u, U, k : float
        Combined standard uncertainty of a new measurement, and expanded uncertainty U = k u.
    compensation : tuple of (component, component, float)
        Pairs whose uncertainties partly cancel, with their covariance.
    joined : tuple of tuple of str
        Components that the design cannot separate, reported together.
    said : callable
        What pictures and sentences call a column or component (`realmat.terms.problem.Problem.said`).
    """

    table: pd.DataFrame
    dataset: xr.Dataset
    compensation: tuple[tuple[str, str, float], ...]
    joined: tuple[tuple[str, ...], ...]
    said: Callable[[str], str] = str

    @property
    def title(self) -> str:
        """What the budget is of."""
        scale = {"log": " (log scale: u is relative)", "response": ""}[self.dataset.attrs["scale"]]
        return f"Uncertainty budget of {self.said(self.dataset.attrs['response'])}: {subject(self.new, average=self.average)}{scale}"

    @property
    def average(self) -> str:
        """Of what mean it is, in words; empty for a single reading."""
        return str(self.dataset.attrs.get("average", ""))

    @property
    def new(self) -> str:
        """What is new: observation, specimen or material."""
        return str(self.dataset.attrs["new"])

    @property
    def u(self) -> float:
        """Combined standard uncertainty: root mean square over the rows."""
        return float(self.dataset["combined_u"])

    @property
    def k(self) -> float:
        """Coverage factor."""
        return float(self.dataset.attrs["k"])

    @property
    def U(self) -> float:
        """Expanded uncertainty k u."""
        return self.k * self.u

    @property
    def rows(self) -> xr.Dataset:
        """Share (row, component, kind) and combined u (row) of each row."""
        return self.dataset[["row_share", "row_u"]].rename(row_share="share", row_u="u")

    @cached_property
    def text(self) -> str:
        """What the numbers say, in a few sentences."""
        return sentences(self)

    def plot(self, dark: bool = False) -> Figure:
        """Stacked bar by layer and kind, and every part with its interval (`realmat.plots.budget.plot_budget`); `dark` for a dark page."""
        return attached("plot", self)(dark=dark)


def budget(
    posterior: Posterior,
    new: str = "observation",
    table: Table | None = None,
    k: float = 2.0,
    scale: str = "link",
    joined: Sequence[Sequence[str]] = (),
    unit: str = "",
    draws: int | None = None,
    average: Mapping[str, int] | None = None,
    asked: str = "",
) -> Budget:
    """The uncertainty budget of a new measurement on the rows of a table, or of the mean of several.

    Parameters
    ----------
    posterior : Posterior
    new : {"observation", "specimen", "material"}
        What is drawn anew.
    table : Table, optional
        New rows; those of the fit by default.
    k : float
        Coverage factor of the expanded uncertainty.
    scale : {"link", "response"}
        With a log link: the log scale on which layers add up (u is relative), or response units. There each kind's part of the variance is
        exact, and is divided among components in proportion to their parts on the log scale at each draw, which for the aleatoric kind is
        the Aumann-Shapley value (Aumann & Shapley, Values of Non-Atomic Games, 1974) of the log-normal's variance.
    joined : sequence of sequences of component names
        Components that the design cannot separate; each group is one row, named "a + b".
    unit : str
        Of the response, for text and plots.
    draws : int, optional
        At most so many posterior draws; by default 4000, fewer where rows are many, at least 200.
    average : mapping of str to int, optional
        The budget of a mean: how many of each level it is over, ``{"observation": 3, "lab": 2}`` for three readings in each of two
        laboratories. The values of a level that is named are drawn anew, as of laboratories that the fit has not seen. Levels are
        crossed: each specimen is measured in each laboratory. With a log link the mean is the geometric one. (JCGM 100:2008, 4.2.3, H.5.)
    asked : str
        As `new`, where that differs because the rows told something of a new piece.

    Raises
    ------
    realmat.ModelError
        For an unknown `new`, `scale` or component, a `k` that is not positive, or an `average` that cannot be.
    """
    problems = []
    if scale not in SCALES:
        problems.append(f"scale= must be one of {', '.join(SCALES)}, not {scale!r}.")
    if not k > 0:
        problems.append(f"the coverage factor k must be positive, not {k!r}.")
    stream = averaged(posterior, table, new, average, draws, asked) if average else Stream(posterior, table, new, draws)
    unknown = sorted({c for group in joined for c in group} - set(stream.components))
    if unknown:
        problems.append(f"joined= names unknown components {unknown}; the model has {', '.join(stream.components)}.")
    if problems:
        raise ModelError("the budget cannot be made: " + " ".join(problems))
    log = posterior.problem.link == "log"
    missing = None if average else Missing.of(posterior)
    parts = accumulate(stream, log and scale == "response", missing)
    groups = _groups(parts, joined)
    attrs = {
        "response": posterior.problem.response,
        "unit": unit,
        "new": asked or new,
        "average": stream.plan.words if isinstance(stream, Averaged) else "",
        "k": float(k),
        "scale": "log" if log and scale == "link" else "response",
        "missing": "" if missing is None else missing.name,
        "noise": posterior.problem.observation.component,
        "posterior_draws": len(stream.indices),
        "of_draws": posterior.size,
        "characterised": ", ".join(term.component for term in posterior.problem.terms if term.rows),
    }
    return _assemble(stream, parts, groups, attrs)


@dataclass
class Parts:
    """Parts of the predictive variance.

    Attributes
    ----------
    components, layers : tuple of str
    aleatoric, epistemic : array of shape (components, cells)
    by_draw : array of shape (components, draws)
        The aleatoric parts at each draw, averaged over rows.
    covariance : array of shape (components, components)
        Of the noiseless parts over draws, averaged over rows.
    """

    components: tuple[str, ...]
    layers: tuple[str, ...]
    aleatoric: np.ndarray
    epistemic: np.ndarray
    by_draw: np.ndarray
    covariance: np.ndarray

    def with_missing(
        self, missing: Missing, aleatoric: np.ndarray, by_draw: np.ndarray, epistemic: np.ndarray, weight: np.ndarray
    ) -> Parts:
        """What calculations not run would tell taken from the part of their consensus: shapes (cells,), (draws,) and (cells,)."""
        k, count = self.components.index(missing.component), len(self.components)
        size = float(epistemic @ weight)
        covariance = np.pad(self.covariance, (0, 1))
        covariance[[k, count], [k, count]] += -size, size
        order, own = np.insert(np.arange(count), k + 1, count), (np.arange(count) == k)[:, None]  # behind their consensus

        def split(whole: np.ndarray, part: np.ndarray) -> np.ndarray:
            return np.vstack([whole - own * part, part])[order]

        names, layers = (*self.components, missing.name), (*self.layers, self.layers[k])
        kinds = split(self.aleatoric, aleatoric), split(self.epistemic, epistemic), split(self.by_draw, by_draw)
        return Parts(tuple(names[j] for j in order), tuple(layers[j] for j in order), *kinds, covariance[np.ix_(order, order)])


def accumulate(stream: Stream | Averaged, response: bool = False, missing: Missing | None = None) -> Parts:
    """Sum the stream up. With `response`, in response units of a log link; with `missing`, what these calculations would tell apart."""
    count, n, size = len(stream.components), len(stream), len(stream.indices)
    weight = stream.weight / stream.weight.sum()
    sums = _Sums(np.zeros((count, n)), np.zeros((count, n)), np.zeros((count, count)), np.zeros(n), np.zeros(n))
    aleatoric, by_draw = np.zeros((count, n)), np.zeros((count, size))
    untold, untold_by_draw = np.zeros(n), np.zeros(size)
    for chunk in stream:
        fresh = {k: v for k, c in enumerate(stream.components) if (v := chunk.variance(c)) is not None}
        log_mean = sums.add(stream.components, chunk, fresh if response else {}, weight)
        if response:
            fresh = _response_variances(log_mean, fresh)
        for k, variance in fresh.items():
            aleatoric[k] += variance.sum(axis=1) / size
            by_draw[k, chunk.where] = variance[0] if len(variance) == 1 else weight @ variance
            if missing is not None and isinstance(stream, Stream) and stream.components[k] == missing.component:
                part = variance * missing.of_fresh(stream, chunk.where)
                untold += part.sum(axis=1) / size
                untold_by_draw[chunk.where] = weight @ part
    epistemic, covariance = sums.finish(weight, size, response)
    parts = Parts(stream.components, stream.layers, aleatoric, epistemic, by_draw, covariance)
    if missing is None or not isinstance(stream, Stream):
        return parts
    return parts.with_missing(missing, untold, untold_by_draw, missing.of_cells(stream) * epistemic.sum(axis=0), weight)


def _response_variances(log_mean: np.ndarray, fresh: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Var(y | psi, b) of a log-normal with mean exp(log_mean), divided among its fresh sources in proportion to their log variances."""
    total: Any = sum(fresh.values())
    factor = np.exp(2 * log_mean) * np.where(total > 0, np.expm1(total) / np.where(total > 0, total, 1.0), 1.0)
    return {k: factor * variance for k, variance in fresh.items()}


@dataclass
class _Sums:
    """Sums over draws of deviations from the first draw: first and cross moments, from which covariances follow without cancellation.

    `excess`, `excess2` are moments of y / y_first - 1 for the response scale of a log link.
    """

    first: np.ndarray
    cross: np.ndarray
    gram: np.ndarray
    excess: np.ndarray
    excess2: np.ndarray
    reference: np.ndarray | None = None

    def add(self, components: Sequence[str], chunk: Chunk, fresh: dict[int, np.ndarray], weight: np.ndarray) -> np.ndarray:
        """Add a chunk; with `fresh`, which adds half its variance as the mean of a log-normal has it, returns log E[y | psi, b]."""
        parts: dict[int, np.ndarray] = {k: chunk.mean[c] for k, c in enumerate(components) if c in chunk.mean}
        for k, variance in fresh.items():
            parts[k] = parts[k] + variance / 2 if k in parts else variance / 2
        where, n = list(parts), len(weight)
        deviation = np.empty((len(parts), n, chunk.where.stop - chunk.where.start))
        if self.reference is None:
            self.reference = np.zeros((len(components), n))
            for k, part in parts.items():
                self.reference[k] = part[:, 0]
        total = np.zeros(deviation.shape[1:])
        for own, (k, part) in zip(deviation, parts.items(), strict=True):
            total += np.subtract(part, self.reference[k][:, None], out=own)
        for own, k in zip(deviation, where, strict=True):
            self.first[k] += own.sum(axis=1)
            self.cross[k] += np.einsum("nd,nd->n", own, total)
        deviation *= np.sqrt(weight)[:, None]
        flat = deviation.reshape(len(parts), -1)
        self.gram[np.ix_(where, where)] += flat @ flat.T
        if fresh:
            relative = np.expm1(total)
            self.excess += relative.sum(axis=1)
            self.excess2 += (relative**2).sum(axis=1)
            total += self.reference.sum(axis=0)[:, None]
        return total

    def finish(self, weight: np.ndarray, size: int, response: bool) -> tuple[np.ndarray, np.ndarray]:
        """Epistemic parts (components, cells) and the mean covariance matrix of the noiseless parts."""
        dof = max(size - 1, 1)
        epistemic = (self.cross - self.first * self.first.sum(axis=0) / size) / dof
        covariance = (self.gram - (self.first * weight) @ self.first.T / size) / dof
        if response:
            assert self.reference is not None
            whole = np.exp(2 * self.reference.sum(axis=0)) * (self.excess2 - self.excess**2 / size) / dof
            total = epistemic.sum(axis=0)
            epistemic = epistemic * np.where(total > 0, whole / np.where(total > 0, total, 1.0), 0.0)
        return epistemic, covariance


def _groups(parts: Parts, joined: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """Rows of the budget: the components, with those that cannot be separated together; in the order of the layers."""
    merged: list[set[str]] = []
    for group in joined:
        now = set(group)
        for old in [m for m in merged if m & now]:
            now |= old
            merged.remove(old)
        merged.append(now)
    out: dict[str, list[int]] = {}
    for component in parts.components:
        mates = next((m for m in merged if component in m), {component})
        members = [k for k, c in enumerate(parts.components) if c in mates]
        out[JOIN.join(parts.components[k] for k in members)] = members
    return out


def _assemble(stream: Stream | Averaged, parts: Parts, groups: dict[str, list[int]], attrs: dict[str, Any]) -> Budget:
    weight = stream.weight / stream.weight.sum()
    by_row = np.stack([[kind[m].sum(axis=0) for kind in (parts.aleatoric, parts.epistemic)] for m in groups.values()])  # (groups, 2, cells)
    overall = by_row @ weight
    whole = overall.sum()
    layers = [JOIN.join(layer for layer in LAYERS if layer in {parts.layers[k] for k in members}) for members in groups.values()]
    fresh = np.stack([parts.by_draw[m].sum(axis=0) for m in groups.values()])
    whole_by_draw = parts.by_draw.sum(axis=0) + overall[:, 1].sum()
    share_by_draw = np.stack([fresh, np.broadcast_to(overall[:, 1, None], fresh.shape)], axis=1) / whole_by_draw
    bounds = interval(share_by_draw)
    u = np.sign(overall) * np.sqrt(np.abs(overall))
    records = [
        (layers[g], name, kind, u[g, j], overall[g, j] / whole, *bounds[g, j])
        for g, name in enumerate(groups)
        for j, kind in enumerate(KINDS)
        if by_row[g, j].any()
    ]
    table = pd.DataFrame(records, columns=["layer", "component", "kind", "u", "share", "share_lb", "share_ub"])
    heavy = [name for name, v in zip(groups, fresh, strict=True) if v.mean() > HEAVY * np.median(v) > 0]
    dataset = _dataset(stream, by_row, overall, bounds, list(groups), layers, {**attrs, "heavy": ", ".join(heavy)})
    joined = tuple(tuple(parts.components[k] for k in members) for members in groups.values() if len(members) > 1)
    return Budget(table, dataset, _compensation(stream, parts, groups), joined, stream.posterior.problem.said)


def _dataset(
    stream: Stream | Averaged,
    by_row: np.ndarray,
    overall: np.ndarray,
    bounds: np.ndarray,
    names: list[str],
    layers: list[str],
    attrs: dict[str, Any],
) -> xr.Dataset:
    import xarray as xr

    total = by_row.sum(axis=(0, 1))
    prob, kind = settings()
    dims = ("component", "kind")
    data = {
        "variance": (dims, overall),
        "share": (dims, overall / overall.sum()),
        "share_lb": (dims, bounds[..., 0]),
        "share_ub": (dims, bounds[..., 1]),
        "combined_u": ((), np.sqrt(overall.sum())),
        "row_share": (("row", *dims), np.moveaxis(by_row / total, -1, 0)[stream.cell]),
        "row_u": ("row", np.sqrt(total)[stream.cell]),
    }
    coords = {"component": names, "kind": list(KINDS), "layer": ("component", layers), "row": stream.index}
    return xr.Dataset(data, coords=coords, attrs={**attrs, "ci_prob": prob, "ci_kind": kind})


def _compensation(stream: Stream | Averaged, parts: Parts, groups: dict[str, list[int]]) -> tuple[tuple[str, str, float], ...]:
    """For each row with a negative epistemic part, the row it compensates most."""
    names, members = list(groups), list(groups.values())
    merged = np.array([[parts.covariance[np.ix_(a, b)].sum() for b in members] for a in members])
    out = []
    for g in np.flatnonzero(merged.sum(axis=1) < -1e-12 * np.abs(merged).max()):
        partner = int(np.argmin(merged[g]))
        out.append((names[g], names[partner], float(merged[g, partner])))
    return tuple(out)
