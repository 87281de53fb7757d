"""Gaussian measurement noise, stated or inferred, and laboratory bias."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from realmat.errors import DataError, ModelError
from realmat.material.unresolved import tail
from realmat.observation.bias import Offsets, listed
from realmat.observation.common import Batches, Common
from realmat.observation.drift import Drift, Drifts
from realmat.observation.frequencies import frequency, repeated
from realmat.observation.known import Errors, Known, refused
from realmat.observation.likelihood import censoring_flag
from realmat.observation.limits import Limits
from realmat.observation.scales import Scales
from realmat.observation.trend import Trend
from realmat.table.table import RESPONSE, Column, Table, rows_text
from realmat.terms.component import Component, PriorLike, Scale, freeze, hyper
from realmat.terms.parts import Bias, Together
from realmat.terms.priors import Prior
from realmat.terms.term import Contribution, Function, Noise, Term

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Normal(Component):
    """``y = real material + bias + eps``, eps normal with variance ``u^2 + scale^2``.

    Parameters
    ----------
    u : str or float, optional
        Stated standard uncertainty, in response units. NaN and zero mean "not stated": those rows share `noise_unstated_scale`.
    scale : bool, Prior or float
        An inferred scale on every row (True), none (False), a prior for it, or a number that fixes it.
    bias_by : str or list of str, optional
        Levels or columns (lab, instrument) whose values have a bias each, ``bias ~ N(0, bias_scale^2)``.
    bias_scale : Prior or float, optional
    scale_by : str or list of str, optional
        Groups with an inferred scale each, ``log scale ~ N(log_mean, log_sd^2)``; one that the fit has not seen draws its own. A prior
        given as `scale` is that of each group instead.
    scale_with : str or list of str, optional
        Columns of numbers with which the noise grows: ``log scale`` is linear in them, and `scale` is that at their means. A column in a
        ratio scale (a load, a concentration) is best given as its logarithm.
    scale_slope : Prior or float, optional
        Of every such column, in one over its unit; default N(0, 1 / sd of the column).
    below, above : str, optional
        Boolean (0/1) columns: the response is known only to lie below, or above, the number in its column. A response written "<20" or
        ">300" says so itself.
    between : tuple of two str, optional
        Columns of the lower and the upper bound of the true value, either of them empty where open; rows with no bound have a response.
    resolution : str or float, optional
        Step of the scale, in response units: the true value lies within half a step of the reading.
    kept_above, kept_below : str or float, optional
        Truncation: readings outside were never reported, so that those in the table are too high, or too low, on average.
    dof : str or float, optional
        Degrees of freedom of the stated u: of few readings it is uncertain, which makes Student t tails row by row.
    common : Common or list of Common, optional
        Errors of stated size that several rows share, such as that of a calibration.
    drift : Drift, optional
        A smooth drift within each run, which makes readings close in time alike: autocorrelated noise.
    correlation : array, list of lists or DataFrame, optional
        Known correlation matrix of the stated errors, with a row and a column for each row of the table; with other numbers than ones on
        its diagonal a covariance matrix, in response units, which states u itself. A DataFrame names rows by its index and columns, and
        may leave out those that go with no other. For some hundred rows.
    count : str, optional
        Column of frequencies: how many readings alike a row stands for.
    name : str, optional
        ``noise`` by default.

    Notes
    -----
    Repeatability and reproducibility follow ISO 5725-2:2019: s_r is the noise, s_R adds the spread of the laboratories. Errors that go
    together, and what a new reading then has of its own: JCGM 100:2008, 5.2 and F.1.2.

    Examples
    --------
    >>> Normal(u="ys_u", bias_by="lab").label
    'noise'
    """

    layer: ClassVar[str] = "observation"
    u: str | float | None = None
    scale: PriorLike | bool = True
    bias_by: str | tuple[str, ...] | None = None
    bias_scale: PriorLike = None
    scale_by: str | tuple[str, ...] | None = None
    scale_with: str | tuple[str, ...] | None = None
    scale_slope: PriorLike = None
    below: str | None = None
    above: str | None = None
    between: tuple[str, str] | None = None
    resolution: str | float | None = None
    kept_above: str | float | None = None
    kept_below: str | float | None = None
    dof: str | float | None = None
    common: Common | tuple[Common, ...] | None = None
    drift: Drift | None = None
    correlation: Any = None
    count: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        for argument in ("bias_by", "scale_by", "scale_with", "between", "common"):
            object.__setattr__(self, argument, freeze(getattr(self, argument)))
        if isinstance(self.u, (int, float)) and not (np.isfinite(self.u) and self.u > 0):
            raise ModelError(f"{type(self).__name__}: u={self.u!r} must be a positive standard uncertainty.")
        if self.scale is False and self.u is None and self.correlation is None:
            raise ModelError(f"{type(self).__name__}: scale=False needs u=, or there is no noise at all.")
        if self.scale_with is not None and self.scale is False:
            raise ModelError(f"{type(self).__name__}: scale_with= says how an inferred scale grows, which scale=False leaves out.")
        if self.scale_with is None and self.scale_slope is not None:
            raise ModelError(f"{type(self).__name__}: scale_slope= is how fast the noise grows with columns, so it needs scale_with=.")
        self.prior("scale_slope", 0.0)
        self._limits.check(type(self).__name__, self.u, self.nu_argument not in (None, False))
        self._check_correlation()
        self.prior("bias_scale", 0.0)
        if not isinstance(self.scale, bool):
            self.prior("scale", 0.0)

    def _check_correlation(self) -> None:
        known = Known.of(self.correlation, type(self).__name__)
        if known is None:
            return
        object.__setattr__(self, "correlation", known.rows)
        told = {"nu": self.nu_argument, **{f.name: getattr(self, f.name) for f in fields(self) if f.name != "nu"}}
        if problems := refused(known, told):
            raise ModelError(f"{type(self).__name__}: {'; '.join(problems)}.")

    @property
    def label(self) -> str:
        """``noise``, or the name given."""
        return self.name or "noise"

    def needs(self) -> list[Column]:
        """Stated u, groups, and flags of censoring."""
        out = (
            [Column(self.u, "stated u of the response", missing=True, lower=0.0, like=RESPONSE, difference=True)]
            if isinstance(self.u, str)
            else []
        )
        out += [Column(by, "bias", kind="label") for by in listed(self.bias_by)]
        out += [Column(by, "noise scale", kind="label") for by in listed(self.scale_by)]
        out += [Column(name, "growth of the noise") for name in self.counted]
        out += [*self._limits.needs(positive=False), *(need for shared in self._shared for need in shared.needs())]
        out += [*frequency(self.count), *(self.drift.needs() if self.drift else ())]
        return out + [censoring_flag(flag) for flag in (self.below, self.above) if flag]

    def default_priors(self) -> dict[str, str]:
        """Defaults in words."""
        asked = {"scale": self.scale is not False, "bias_scale": self.bias_by is not None}
        out = {name: "HalfNormal(sd of what theory leaves)" for name, has in asked.items() if has}
        out |= {"scale_slope": "N(0, 1 / sd(column))"} if self.scale_with else {}
        return {**out, "scale": "log-normal population of groups, inferred"} if self.scale_by and self.scale is True else out

    @property
    def counted(self) -> tuple[str, ...]:
        """Columns with which the noise grows."""
        return listed(self.scale_with)

    @property
    def nu_argument(self) -> PriorLike | bool:
        """Degrees of freedom; none for a normal."""
        return None

    @property
    def _limits(self) -> Limits:
        return Limits(self.between, self.resolution, self.kept_above, self.kept_below, self.dof)

    @property
    def _shared(self) -> tuple[Common, ...]:
        return () if self.common is None else (self.common,) if isinstance(self.common, Common) else self.common

    def measures(self, response: str, link: str) -> Column:
        """The response; it may be empty where there are bounds."""
        return replace(super().measures(response, link), missing=self.between is not None)

    def filled(self, table: Table, response: str, every: bool = True) -> Table:
        """A number from the bounds, and a row for each reading."""
        if self.between is not None:
            if not set(self.between) <= set(table.columns):
                return table
            table = table.replaced({response: self._limits.filled(table, response, every)})
        return repeated(table, self.count)

    def says(self, frame: pd.DataFrame, response: str) -> bool:
        """A response, or bounds of it."""
        return any(super(Normal, self).says(frame, name) for name in (response, *(self.between or ())))

    def bind(self, table: Table, scale: Scale) -> Term:
        """Term with the noise, and `bias_<by>` effects with `bias_<by>_scale`."""
        name = self.label
        default = Prior("HalfNormal", sigma=scale.response)
        scales = Scales.of(f"{name}_scale", self.scale, scale.response, table, listed(self.scale_by))
        trend = Trend.of(f"{name}_scale", self.counted, lambda default: self.prior("scale_slope", default), scale, table)
        known_errors = Known.of(self.correlation, name)
        errors = None if known_errors is None else known_errors.bound(table, name)
        stated = partial(self._stated, errors=errors)
        unstated = (self.u is not None or errors is not None) and bool((stated(table) == 0).any())
        rest, rest_of = hyper(f"{name}_unstated_scale", default) if unstated else ((), None)
        nu_params, nu = tail(name, self.nu_argument)

        known = scales.size + bool(rest_of)

        def every(p: Any, xp: Any) -> Any:
            if not rest_of:
                return scales.value(p, xp)
            rest = xp.stack([rest_of(p, xp)])
            return xp.concatenate([scales.value(p, xp), rest]) if scales.size else rest

        def noise(other: Table, own: np.ndarray | None = None) -> Noise:
            u = stated(other)
            group, new = scales.group(other)
            if rest_of:
                group = np.where(u == 0, scales.size, np.where(group >= scales.size, group - scales.size + known, group))
            more: Function = lambda p, xp: np.concatenate([every(p, xp), scales.unseen(p, new)])  # noqa: E731
            grown = trend.on(other, group, more if new else every)
            return self._limits.noise(other, Noise(u if own is None else own, *grown, nu, self._censoring(other)))

        def together(other: Table) -> Together:
            assert errors is not None
            loading, rest = errors.split(other, stated(other))
            return Together(errors.name, loading, noise(other, rest))

        spread = self.prior("bias_scale", default)
        biases: list[Offsets | Batches | Drifts] = [Offsets(by, f"bias_{by}", spread, table) for by in listed(self.bias_by)]
        biases += [shared.shared(table) for shared in self._shared]
        biases += [self.drift.shared(table, scale)] if self.drift else []
        blocks = (*(bias.block for bias in biases), *([errors.block] if errors else []))

        def contribute(other: Table, fresh_levels: tuple[str, ...] = ()) -> Contribution:
            made = [bias.on(other, fresh_levels) for bias in biases]
            return Contribution(tuple(piece for piece, _ in made), fresh=tuple(f for _, fresh in made for f in fresh))

        bias_params = tuple(param for bias in biases for param in bias.params)
        params = (*scales.params, *trend.params, *rest, *nu_params, *bias_params)
        own = tuple(Bias(bias.name, (bias.name,), bias.sd) for bias in biases)
        common = together if errors else None
        return Term(name, "observation", params, blocks, contribute, noise=noise, biases=own, together=common)

    def _stated(self, table: Table, errors: Errors | None = None) -> np.ndarray:
        """Stated u on the scale of the link; 0 where not stated."""
        if errors is not None and errors.known.covariance:
            return table.link_u(errors.stated(table))
        if self.u is None:
            return np.zeros(len(table))
        u = table.numeric(self.u) if isinstance(self.u, str) else np.full(len(table), float(self.u))
        return table.link_u(np.nan_to_num(u, nan=0.0))

    def _censoring(self, table: Table) -> np.ndarray | None:
        if self.below is None and self.above is None and not table.limit(table.response).any():
            return None
        given = [flag if flag in table.columns else None for flag in (self.below, self.above)]  # rows to predict may lack one
        below, above = (table.numeric(flag) > 0 if flag else np.zeros(len(table), dtype=bool) for flag in given)
        if (below & above).any():
            raise DataError(
                f"columns {self.below!r} and {self.above!r}: both are true in {rows_text(table.index[below & above])}. A reading lies "
                "below the number in its column, or above it; set one of them to 0, or leave these rows out."
            )
        return np.where(below, -1, np.where(above, 1, table.limit(table.response)))
