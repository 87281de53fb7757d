"""What a campaign is for: how uncertain the answer is, and how much a measurement is expected to tell.

With m, s^2 the posterior mean and variance of the target values and c the covariance with a candidate measurement of variance v, a
measurement moves m by c / sqrt(v) times a standard normal, and lowers s^2 by c^2 / v; hyperparameters are integrated over as in
`realmat.attribution.covariances`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import sparse
from scipy.special import ndtr

from realmat.attribution.candidates import Lines, States, latent_labels
from realmat.attribution.covariances import Sums
from realmat.errors import ModelError
from realmat.posterior.draws import Posterior
from realmat.terms.component import reject_unknown
from realmat.terms.problem import Problem
from realmat.terms.term import Values

if TYPE_CHECKING:
    import pandas as pd

_NODES = np.linspace(-6, 6, 121)  # of a standard normal: far enough that a small chance of a new best row is not none
_WEIGHTS = np.exp(-0.5 * _NODES**2) / np.exp(-0.5 * _NODES**2).sum()


class Aim:
    """A target: rows to know (`rows`; None for those of the fit), or quantities of its own (`lines`)."""

    rows: Any = None

    @property
    def said(self) -> str:
        """In words."""
        return "predictions"

    def lines(self, posterior: Posterior) -> Lines | None:
        """Quantities of its own instead of rows."""
        return None

    def uncertainty(self, mean: np.ndarray, variance: np.ndarray) -> float:
        """One number that a campaign lowers."""
        return float(np.sqrt(variance.mean()))

    def gain(self, mean: np.ndarray, cross: np.ndarray, variance: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Expected gain of each candidate, shape (c,): the expected fall of the mean variance, unless a target says otherwise.

        Parameters
        ----------
        mean, target : array of shape (t,)
            Of the target values and their variances.
        cross : array of shape (t, c)
        variance : array of shape (c,)
            Of the candidates' measurements.
        """
        return np.asarray((_moved(cross, variance) ** 2).mean(axis=0))


def _moved(cross: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """How far a measurement of each candidate is expected to move each mean, shape (t, c)."""
    return np.where(variance > 0, cross / np.sqrt(np.where(variance > 0, variance, 1.0)), 0.0)


@dataclass(frozen=True)
class Predict(Aim):
    """Know the response of some rows: new ones, rows of the fit by their labels, or all rows of the fit.

    The uncertainty is the root mean square standard uncertainty of their noiseless values, on the scale of the link; the gain is the
    expected fall of the mean variance (Chaloner & Verdinelli, Stat. Sci. 10, 273, 1995).
    """

    rows: pd.DataFrame | Sequence[Any] | None = None


@dataclass(frozen=True)
class Parameter(Aim):
    """Know a parameter: a hyperparameter, or a coefficient by its name (and the value of its level).

    Measurements tell about hyperparameters through the means they predict, so that nothing is counted of what they tell about scales.
    """

    name: str
    label: Any = None

    @property
    def said(self) -> str:
        """In words."""
        return self.name if self.label is None else f"{self.name} of {self.label}"

    def lines(self, posterior: Posterior) -> Lines:
        """The parameter as a quantity."""
        problem = posterior.problem
        reject_unknown([self.name], [*(q.name for q in problem.params), *(c.name for c in problem.coefficients)], "parameter")
        block = next((c for c in problem.coefficients if c.name == self.name), None)
        if block is None:
            return Psi("parameter", [self.name], names=np.array([self.name]))
        places, labels = latent_labels(block)
        if self.label is not None:
            places = np.flatnonzero(np.asarray(labels, dtype=object) == self.label)
        else:
            places = np.arange(block.size)
        if not len(places):
            raise ModelError(f"{self.name!r} has no value for {self.label!r}.")
        return States("parameter", [str(p) for p in places], block=block, places=places, u=None)


@dataclass
class Psi(Lines):
    """Hyperparameters by name, as quantities that depend on no coefficient."""

    index: ClassVar[str] = "names"
    names: np.ndarray = field(kw_only=True)

    def at(self, posterior: Posterior, values: Values) -> tuple[sparse.csr_matrix, np.ndarray]:
        return sparse.csr_matrix((1, posterior.system.size)), np.array([float(np.mean(values[str(n)])) for n in self.names])

    def noise(self, posterior: Posterior, values: Values) -> np.ndarray:
        return np.zeros(1)

    def draws(self, posterior: Posterior, indices: np.ndarray) -> np.ndarray:
        return np.stack([posterior.param(str(n))[indices].reshape(len(indices), -1).mean(axis=1) for n in self.names], axis=1)


@dataclass(frozen=True)
class Best(Aim):
    """Find the row with the largest (or least) noiseless response.

    Parameters
    ----------
    rows : DataFrame or sequence of row labels
    largest : bool
    by : {"knowledge_gradient", "expected_improvement"}
        The expected rise of the largest posterior mean by a measurement, whatever it is of (Frazier, Powell & Dayanik, INFORMS J. Comput.
        21, 599, 2009); or how far a candidate's own value is expected to exceed the largest mean (Jones, Schonlau & Welch, J. Glob. Optim.
        13, 455, 1998), for candidates that tell about a row by themselves.

    Notes
    -----
    The uncertainty is what is expected to be lost by taking the row of the largest mean: E[max] - max E, of independent values.
    """

    rows: pd.DataFrame | Sequence[Any] | None = None
    largest: bool = True
    by: str = "knowledge_gradient"

    def __post_init__(self) -> None:
        reject_unknown([self.by], ["knowledge_gradient", "expected_improvement"], "by=")

    @property
    def said(self) -> str:
        """In words."""
        return f"the {'largest' if self.largest else 'least'} value"

    def uncertainty(self, mean: np.ndarray, variance: np.ndarray) -> float:
        sign = 1.0 if self.largest else -1.0
        draws = sign * mean[:, None] + np.sqrt(variance)[:, None] * np.random.default_rng(0).standard_normal((len(mean), 2000))
        return max(float(draws.max(axis=0).mean() - (sign * mean).max()), 0.0)

    def gain(self, mean: np.ndarray, cross: np.ndarray, variance: np.ndarray, target: np.ndarray) -> np.ndarray:
        own, moved = (1.0 if self.largest else -1.0) * mean, _moved(cross, variance)
        if self.by == "knowledge_gradient":
            return np.array([(own[:, None] + step[:, None] * _NODES).max(axis=0) @ _WEIGHTS - own.max() for step in moved.T])
        place = np.argmax(np.abs(moved), axis=0)  # the row that a candidate tells most about
        away, sd = own[place] - own.max(), np.sqrt(np.maximum(target[place], 1e-300))
        share = np.abs(moved[place, np.arange(len(place))]) / sd  # of what is open of it, how much is told
        z = away / sd
        return np.asarray(share * (away * ndtr(z) + sd * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)))


@dataclass(frozen=True)
class Passing(Aim):
    """Know which rows pass a specification: noiseless response above `above`, or below `below`, in the response's unit.

    The uncertainty is the expected share of rows judged wrongly; the gain is its expected fall (Bect et al., Stat. Comput. 22, 773, 2012).
    """

    rows: pd.DataFrame | Sequence[Any] | None = None
    above: float | None = None
    below: float | None = None

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise ModelError("Passing needs either above= or below=.")

    @property
    def said(self) -> str:
        """In words."""
        return f"which rows lie {'above' if self.above is not None else 'below'} {self.limit:g}"

    @property
    def limit(self) -> float:
        """The limit, in the response's unit."""
        return float(self.above if self.above is not None else self.below)  # type: ignore[arg-type]

    def on(self, problem: Problem) -> Passing:
        """With the limit on the scale of the link."""
        if problem.link == "identity":
            return self
        if self.limit <= 0:
            raise ModelError(f"a limit of {self.limit:g} has no logarithm.")
        value = float(np.log(self.limit))
        return Passing(self.rows, value if self.above is not None else None, value if self.below is not None else None)

    def uncertainty(self, mean: np.ndarray, variance: np.ndarray) -> float:
        return float(_wrong(mean - self.limit, np.sqrt(variance)).mean())

    def gain(self, mean: np.ndarray, cross: np.ndarray, variance: np.ndarray, target: np.ndarray) -> np.ndarray:
        moved, away = _moved(cross, variance), mean - self.limit
        now = _wrong(away, np.sqrt(target)).mean()
        after = [
            (_wrong(away[:, None] + step[:, None] * _NODES, np.sqrt(np.maximum(target - step**2, 0.0))[:, None]) @ _WEIGHTS).mean()
            for step in moved.T
        ]
        return np.maximum(now - np.array(after), 0.0)


def _wrong(away: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Probability that a value lies on the other side of a limit than its mean."""
    return np.asarray(ndtr(-np.abs(away) / np.maximum(sd, 1e-300)))


def as_aim(target: Any) -> Aim:
    """A target from what a user wrote: an `Aim`, the name of a parameter, or rows."""
    if isinstance(target, Aim):
        return target
    return Parameter(target) if isinstance(target, str) else Predict(target)


def gain_of(aim: Aim, sums: Sums) -> Any:
    """The gain of candidates at the means of `sums`, for `realmat.attribution.covariances.greedy`."""
    return lambda cross, variance, target: aim.gain(sums.mean, cross, variance, target)
