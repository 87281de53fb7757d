"""The gap between theory and experiment, taken apart: measured - theory = sum of contributions + residual, each with its u."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import ndtri

from realmat.attribution.missing import Missing
from realmat.errors import DataError
from realmat.posterior.contributions import Stream
from realmat.posterior.draws import Posterior
from realmat.support.attached import attached
from realmat.support.intervals import settings
from realmat.support.numbers import percent, plus_minus, significant
from realmat.support.shown import Shown
from realmat.table.table import ROW

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

STEPS = ("theory", "measured", "gap", "residual")
COMPLETE = "u(theory, complete)"


@dataclass(frozen=True)
class Gap(Shown):
    """Theory to measured, for each specimen or averaged over groups of rows.

    Attributes
    ----------
    table : DataFrame
        One row for each specimen (or group): `rows`, `theory`, the contribution of each further component, `residual`, `measured` and
        `gap` = measured - theory; each `u(<name>)` is a standard uncertainty. On the log scale with a log link. Of a consensus of
        theories, `u(theory, complete)` is what u of theory is expected to be were every calculation run that was not.
    dataset : xarray.Dataset
        The same, tidy: `value`, `u`, `lower` and `upper` along (specimen or group, step), with `layer` of each step. Bounds are those of
        a normal distribution, value +- k u, at ``az.rcParams["stats.ci_prob"]``.
    posterior : Posterior
    unit : str
    """

    table: pd.DataFrame
    dataset: xr.Dataset
    posterior: Posterior
    unit: str = ""

    @property
    def title(self) -> str:
        """What the gap is of."""
        scale = " (log scale)" if self.posterior.problem.link == "log" else ""
        return f"From theory to measured {self.said(self.posterior.problem.response)} by {self.table.index.name}{scale}"

    def formatted(self) -> pd.DataFrame:
        """The table as text, each value with its u."""
        steps = ["theory", *self.components, "residual", "measured", "gap"]
        columns = {
            step: [
                plus_minus(v, u, step not in ("theory", "measured"))
                for v, u in zip(self.table[step], self.table[f"u({step})"], strict=True)
            ]
            for step in steps
        }
        return pd.DataFrame({"rows": self.table["rows"].astype(str), **columns}, index=self.table.index)

    @cached_property
    def text(self) -> str:
        """What the numbers say, in a few sentences."""
        return _sentences(self)

    def said(self, name: str) -> str:
        """What pictures and sentences call a column or component."""
        return self.posterior.problem.said(name)

    @property
    def components(self) -> list[str]:
        """Contributions between theory and residual."""
        return [str(s) for s in self.dataset["step"].values if s not in STEPS]

    def by(self, by: str | Sequence[Any]) -> Gap:
        """The gap averaged over the rows of each group: a level, a column of the model, or one label for each row of the fit's table."""
        return gap(self.posterior, by, self.unit)

    def plot(self, specimen: Any = None, dark: bool = False) -> Figure:
        """Waterfall of one specimen (by default the one with the largest gap); see `realmat.plots.gap.plot_gap`.

        Parameters
        ----------
        specimen : label, optional
            A row of `table`.
        dark : bool
            For a dark page.

        Raises
        ------
        realmat.DataError
            If there is no such specimen.
        """
        chosen = self.table["gap"].abs().idxmax() if specimen is None else specimen
        if chosen not in self.table.index:
            raise DataError(f"no {self.table.index.name} {chosen!r} in the fit; there are {', '.join(map(str, self.table.index[:6]))} ...")
        return attached("plot", self)(chosen, dark=dark)


def step_text(value: float, u: float, level: bool, log: bool) -> str:
    """What stands beside a step: levels as they are, contributions with their sign, or as factors on the log scale."""
    if not log:
        return plus_minus(value, u, sign=not level)
    if level:
        return plus_minus(float(np.exp(value)), float(np.exp(value)) * u)
    return f"× {plus_minus(float(np.exp(value)), float(np.exp(value)) * u)}"


def gap(posterior: Posterior, by: str | Sequence[Any] | None = None, unit: str = "") -> Gap:
    """Take the gap apart.

    Parameters
    ----------
    posterior : Posterior
    by : str or sequence, optional
        Rows are averaged within groups: by default the specimens (where none are declared the materials, if each is measured once, else
        single rows); a level, a column of the model, or one label for each row.
    unit : str
        Of the response.

    Returns
    -------
    Gap

    Raises
    ------
    realmat.DataError
        For an unknown column, or labels that do not match the rows.

    Notes
    -----
    `theory` is the posterior mean of the first component of the theory layer; further ones, such as corrections, count as contributions.
    u of a contribution is its posterior standard deviation; u of `measured` is that of the mean of the group's measurements under the
    model's noise; u of the gap joins the u of both, and that of the residual is what is left uncertain in the sum of contributions. A
    censored row enters with its limit.
    """
    name, codes, labels = _grouping(posterior, by)
    stream = Stream(posterior)
    groups = len(labels)
    keep = codes >= 0
    count = posterior.problem.table.count[keep]
    rows = posterior.problem.table.per(codes, groups)
    average = sparse.csr_matrix((count / rows[codes[keep]], (codes[keep], stream.cell[keep])), shape=(groups, len(stream)))
    parts, noise = _averages(stream, average, rows)
    g = posterior.problem.near
    measured = np.bincount(codes[keep], weights=count * g[keep], minlength=groups) / rows
    found = _assemble(posterior, stream, name, labels, rows, measured, parts, noise, unit)
    missing = Missing.of(posterior)
    return found if missing is None else _completed(found, missing.of_ideal(average @ missing.whose(stream)))


def _completed(g: Gap, share: np.ndarray) -> Gap:
    """With u of theory were every calculation run: its variance less a share."""
    u = g.table["u(theory)"] * np.sqrt(np.maximum(1 - share, 0.0))
    table = g.table.copy()
    table.insert(list(table.columns).index("u(theory)") + 1, COMPLETE, u)
    return replace(g, table=table, dataset=g.dataset.assign(u_complete=(str(table.index.name), u.to_numpy())))


def _grouping(posterior: Posterior, by: str | Sequence[Any] | None) -> tuple[str, np.ndarray, np.ndarray]:
    """Name, code of each row, and labels of the groups."""
    table = posterior.problem.table
    if by is None:
        once = "material" in table.levels and table.level("material").size == len(table)
        by = "material" if once and table.piece == ROW else table.piece
    if not isinstance(by, str):
        if len(by) != len(table):
            raise DataError(f"by= needs one label for each of the {len(table)} rows of the fit, not {len(by)}.")
        codes, labels = pd.factorize(np.asarray(by, dtype=object))
        return "group", codes, labels
    if by != ROW and table.column_of(by) not in table.columns:
        known = [*table.levels, *(c for c in table.columns if c not in table.levels.values())]
        raise DataError(f"by={by!r} is neither a level nor a column of the model ({', '.join(known)}); labels can also be given as a list.")
    level = table.level(by)
    return by, level.codes, level.values


@dataclass
class _Moments:
    """Mean and variance over draws of numbers by group, shape (groups,), summed as deviations from the first draw."""

    reference: np.ndarray
    first: np.ndarray
    second: np.ndarray
    size: int = 0

    @classmethod
    def of(cls, part: np.ndarray) -> _Moments:
        """None yet; `part`, shape (groups, draws), holds the first draw."""
        return cls(part[:, 0].copy(), np.zeros(len(part)), np.zeros(len(part)))

    def add(self, part: np.ndarray) -> None:
        """Some draws, shape (groups, draws)."""
        away = part - self.reference[:, None]
        self.first += away.sum(axis=1)
        self.second += np.einsum("gd,gd->g", away, away)
        self.size += part.shape[1]

    @property
    def mean(self) -> np.ndarray:
        return self.reference + self.first / self.size

    @property
    def sd(self) -> np.ndarray:
        return np.sqrt(np.maximum(self.second / self.size - (self.first / self.size) ** 2, 0.0))


def _averages(stream: Stream, average: sparse.csr_matrix, rows: np.ndarray) -> tuple[dict[str, _Moments], np.ndarray]:
    """Each component's part averaged over groups, and under "" their sum; and the noise variance of the groups' means."""
    moments: dict[str, _Moments] = {}
    noise = np.zeros(len(rows))
    for chunk in stream:
        shape = (len(stream), chunk.where.stop - chunk.where.start)
        total = np.zeros((len(rows), shape[1]))
        for component, part in chunk.mean.items():
            mine = average @ np.ascontiguousarray(np.broadcast_to(part, shape))
            moments.setdefault(component, _Moments.of(mine)).add(mine)
            total += mine
        moments.setdefault("", _Moments.of(total)).add(total)
        for source in chunk.sources:
            if source.groups is None:
                each = source.full_variance.sum(axis=1)
                noise += average @ np.broadcast_to(each, (len(stream),)) / len(stream.indices) / rows
    return moments, noise


def _assemble(
    posterior: Posterior,
    stream: Stream,
    name: str,
    labels: np.ndarray,
    rows: np.ndarray,
    measured: np.ndarray,
    parts: dict[str, _Moments],
    noise: np.ndarray,
    unit: str,
) -> Gap:
    import xarray as xr

    layer_of = dict(zip(stream.components, stream.layers, strict=True))
    total = parts.pop("")
    base = next((c for c in parts if layer_of[c] == "theory"), None)
    zero = np.zeros(len(rows))
    values = {"theory": zero if base is None else parts[base].mean}
    u, layers = {"theory": zero if base is None else parts[base].sd}, {"theory": "theory"}
    for component, part in parts.items():
        if component != base:
            values[component], u[component], layers[component] = part.mean, part.sd, layer_of[component]
    values["residual"], u["residual"], layers["residual"] = measured - total.mean, total.sd, "observation"
    values["measured"], u["measured"], layers["measured"] = measured, np.sqrt(noise), "observation"
    values["gap"], u["gap"], layers["gap"] = measured - values["theory"], np.hypot(u["theory"], u["measured"]), "material"
    columns = {column: v for step in values for column, v in ((step, values[step]), (f"u({step})", u[step]))}
    table = pd.DataFrame({"rows": rows.astype(int), **columns}, index=pd.Index(labels, name=name))
    steps = list(values)
    value, own = np.column_stack([values[s] for s in steps]), np.column_stack([u[s] for s in steps])
    prob = settings()[0]
    reach = ndtri(0.5 + prob / 2) * own
    dataset = xr.Dataset(
        {
            "value": ((name, "step"), value),
            "u": ((name, "step"), own),
            "lower": ((name, "step"), value - reach),
            "upper": ((name, "step"), value + reach),
            "rows": (name, rows.astype(int)),
        },
        coords={name: labels, "step": steps, "layer": ("step", [layers[s] for s in steps])},
        attrs={
            "response": posterior.problem.response,
            "scale": "log" if posterior.problem.link == "log" else "response",
            "unit": unit,
            "ci_prob": prob,
        },
    )
    return Gap(table, dataset, posterior, unit)


def _sentences(g: Gap) -> str:
    t, log = g.table, g.posterior.problem.link == "log"
    name, unit = str(t.index.name), "" if log else f" {g.unit}".rstrip()
    mean, spread = float(t["gap"].mean()), float(t["gap"].std(ddof=0))
    direction = "above" if mean > 0 else "below"
    size = f"{percent(abs(np.expm1(mean)))}" if log else f"{significant(abs(mean))}{unit}"
    scatter = f"a factor {significant(float(np.exp(spread)))}" if log else f"{significant(spread)}{unit}"
    response, groups = g.said(g.posterior.problem.response), f"{len(t)} {name if name.endswith('s') else name + 's'}"
    said = [f"Measured {response} lies on average {size} {direction} theory, with a scatter of {scatter} over {groups}."]
    shares = explained(g)
    if shares is not None:
        parts = [f"{percent(share)} is {g.said(component)}" for component, share in shares.items() if share >= 0.005]
        against = [f"{g.said(component)} ({percent(-share)})" for component, share in shares.items() if share <= -0.005]
        contrary = f", while {_listed(against)} runs against it" if against else ""
        said.append(f"Of the mean square gap {_listed(parts)}{contrary}.")
    if COMPLETE in t.columns:
        now, then = (significant(float(np.sqrt((t[c] ** 2).mean()))) for c in ("u(theory)", COMPLETE))
        said.append(f"Were every calculation run, u of theory would be {then}{unit} instead of {now}{unit} (root mean square).")
    clear = int((t["gap"].abs() > 2 * t["u(gap)"]).sum())
    said.append(f"{clear} of {len(t)} gaps exceed twice their standard uncertainty.")
    residual = t["residual"].to_numpy()
    worst = int(np.abs(residual).argmax())
    said.append(f"The largest residual is that of {t.index[worst]}: {significant(float(residual[worst]))}{unit}.")
    censored = g.posterior.problem.response_rows.noise.censored
    if censored is not None and censored.any():
        beyond = int((censored[g.posterior.problem.cell] != 0).sum())
        said.append(f"{beyond} measurements are known only to lie beyond a limit, and enter with the limit.")
    return " ".join(said)


def explained(g: Gap) -> dict[str, float] | None:
    """Share of the mean square gap that each contribution and the residual carry, largest first: mean(C_c gap) / mean(gap^2).

    They add up to 1; a negative share widens the gap elsewhere closed. None where there is no gap.
    """
    whole = float((g.table["gap"] ** 2).mean())
    if whole == 0:
        return None
    shares = {c: float((g.table[c] * g.table["gap"]).mean()) / whole for c in [*g.components, "residual"]}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
