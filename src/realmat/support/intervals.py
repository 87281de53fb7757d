"""Credible intervals as ArviZ is set: ``az.rcParams["stats.ci_prob"]`` and ``["stats.ci_kind"]``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real

import numpy as np

from realmat.errors import ModelError

KINDS = ("eti", "hdi")


def settings() -> tuple[float, str]:
    """Probability and kind ("eti" or "hdi") of intervals."""
    from arviz_base import rcParams

    return float(rcParams["stats.ci_prob"]), str(rcParams["stats.ci_kind"])


@contextmanager
def using(ci_prob: float | None = None, ci_kind: str | None = None) -> Iterator[None]:
    """Other intervals within a block; those that ArviZ is set to where nothing is given.

    Raises
    ------
    realmat.ModelError
        For a probability not between 0 and 1, or an unknown kind.
    """
    if ci_prob is None and ci_kind is None:
        yield
        return
    if ci_prob is not None and not (isinstance(ci_prob, Real) and 0 < ci_prob < 1):
        raise ModelError(f"ci_prob={ci_prob!r} must be a probability between 0 and 1, such as 0.95.")
    if ci_kind is not None and ci_kind not in KINDS:
        raise ModelError(f"ci_kind={ci_kind!r} must be one of {', '.join(KINDS)}.")
    from arviz_base import rc_context

    changed = {"stats.ci_prob": ci_prob, "stats.ci_kind": ci_kind}
    with rc_context({name: value for name, value in changed.items() if value is not None}):
        yield


def interval(draws: np.ndarray) -> np.ndarray:
    """Credible interval over the last axis: shape (..., 2), lower and upper.

    Examples
    --------
    >>> interval(np.arange(1001.0)).round(1)
    array([ 55., 945.])
    """
    prob, kind = settings()
    if kind == "hdi":
        from arviz_stats.base import array_stats

        return np.asarray(array_stats.hdi(np.asarray(draws), prob))
    return np.moveaxis(np.quantile(draws, [(1 - prob) / 2, (1 + prob) / 2], axis=-1), 0, -1)


def words() -> str:
    """The kind of interval in words, for captions: ``89 % equal-tailed intervals``."""
    prob, kind = settings()
    return f"{100 * prob:g} % {'highest-density' if kind == 'hdi' else 'equal-tailed'} intervals"
