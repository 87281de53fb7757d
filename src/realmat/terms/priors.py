"""Prior distributions: small immutable values that every engine can read.

The names and parameters are PyMC's (``Prior("HalfNormal", sigma=1)``), so translating one to PyMC is a look-up.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np

from realmat.errors import ModelError

_LOG_2PI = math.log(2 * math.pi)


def _log_t(x: Any, nu: float, mu: float, sigma: float) -> Any:
    constant = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - 0.5 * math.log(nu * math.pi) - np.log(sigma)
    return constant - (nu + 1) / 2 * np.log1p(((x - mu) / sigma) ** 2 / nu)


def _log_normal(x: Any, mu: Any, sigma: Any) -> Any:
    return -0.5 * ((x - mu) / sigma) ** 2 - np.log(sigma) - 0.5 * _LOG_2PI


def _log_gamma(x: Any, alpha: float, beta: float) -> Any:
    return alpha * math.log(beta) - math.lgamma(alpha) + (alpha - 1) * np.log(x) - beta * x


@dataclass(frozen=True)
class _Family:
    """One distribution: its parameters, support, log density, and the scipy.stats name and arguments for the rest."""

    defaults: Mapping[str, float | None]
    support: tuple[float, float]
    logpdf: Callable[..., Any]
    scipy: Callable[..., tuple[str, dict[str, Any]]]


_INF = math.inf
_FAMILIES: dict[str, _Family] = {
    "Normal": _Family({"mu": 0.0, "sigma": 1.0}, (-_INF, _INF), _log_normal, lambda mu, sigma: ("norm", {"loc": mu, "scale": sigma})),
    "HalfNormal": _Family(
        {"sigma": 1.0}, (0, _INF), lambda x, sigma: math.log(2) + _log_normal(x, 0.0, sigma), lambda sigma: ("halfnorm", {"scale": sigma})
    ),
    "StudentT": _Family(
        {"nu": None, "mu": 0.0, "sigma": 1.0}, (-_INF, _INF), _log_t, lambda nu, mu, sigma: ("t", {"df": nu, "loc": mu, "scale": sigma})
    ),
    "HalfStudentT": _Family(
        {"nu": None, "sigma": 1.0},
        (0, _INF),
        lambda x, nu, sigma: math.log(2) + _log_t(x, nu, 0.0, sigma),
        lambda nu, sigma: ("t", {"df": nu, "scale": sigma}),  # cut at zero by the support
    ),
    "HalfCauchy": _Family(
        {"beta": 1.0},
        (0, _INF),
        lambda x, beta: math.log(2 / math.pi) - np.log(beta) - np.log1p((x / beta) ** 2),
        lambda beta: ("halfcauchy", {"scale": beta}),
    ),
    "Cauchy": _Family(
        {"alpha": 0.0, "beta": 1.0},
        (-_INF, _INF),
        lambda x, alpha, beta: -math.log(math.pi) - np.log(beta) - np.log1p(((x - alpha) / beta) ** 2),
        lambda alpha, beta: ("cauchy", {"loc": alpha, "scale": beta}),
    ),
    "Laplace": _Family(
        {"mu": 0.0, "b": 1.0},
        (-_INF, _INF),
        lambda x, mu, b: -np.where(x < mu, mu - x, x - mu) / b - np.log(2 * b),
        lambda mu, b: ("laplace", {"loc": mu, "scale": b}),
    ),
    "Exponential": _Family({"lam": 1.0}, (0, _INF), lambda x, lam: np.log(lam) - lam * x, lambda lam: ("expon", {"scale": 1 / lam})),
    "Gamma": _Family({"alpha": None, "beta": None}, (0, _INF), _log_gamma, lambda alpha, beta: ("gamma", {"a": alpha, "scale": 1 / beta})),
    "InverseGamma": _Family(
        {"alpha": None, "beta": None},
        (0, _INF),
        lambda x, alpha, beta: alpha * math.log(beta) - math.lgamma(alpha) - (alpha + 1) * np.log(x) - beta / x,
        lambda alpha, beta: ("invgamma", {"a": alpha, "scale": beta}),
    ),
    "LogNormal": _Family(
        {"mu": 0.0, "sigma": 1.0},
        (0, _INF),
        lambda x, mu, sigma: _log_normal(np.log(x), mu, sigma) - np.log(x),
        lambda mu, sigma: ("lognorm", {"s": sigma, "scale": math.exp(mu)}),
    ),
    "Beta": _Family(
        {"alpha": None, "beta": None},
        (0, 1),
        lambda x, alpha, beta: (
            (alpha - 1) * np.log(x) + (beta - 1) * np.log1p(-x) + math.lgamma(alpha + beta) - math.lgamma(alpha) - math.lgamma(beta)
        ),
        lambda alpha, beta: ("beta", {"a": alpha, "b": beta}),
    ),
    "Uniform": _Family(
        {"lower": 0.0, "upper": 1.0},
        (-_INF, _INF),
        lambda x, lower, upper: np.where((x >= lower) & (x <= upper), -math.log(upper - lower), -_INF),
        lambda lower, upper: ("uniform", {"loc": lower, "scale": upper - lower}),
    ),
}
_POSITIVE = {"sigma", "nu", "beta", "b", "lam"}
# families whose parameters may be arrays
ARRAYS = frozenset({"Normal", "HalfNormal", "LogNormal", "Exponential", "Cauchy", "HalfCauchy", "Laplace"})


def log_density(dist: str, x: Any, numbers: Mapping[str, Any]) -> Any:
    """Log density of a distribution, not truncated, with its parameters by name."""
    return _FAMILIES[dist].logpdf(x, **numbers)


def families() -> list[str]:
    """Names of the distributions that a prior can have."""
    return sorted(_FAMILIES)


_QUARTILE = 0.6744897501960817  # upper, of the standard normal
_MEDIANS: dict[str, Callable[..., float]] = {
    "Normal": lambda mu, sigma: mu,
    "HalfNormal": lambda sigma: sigma * _QUARTILE,
    "LogNormal": lambda mu, sigma: math.exp(mu),
    "Exponential": lambda lam: math.log(2) / lam,
}


def _normal_quantile(q: Any, mu: Any, sigma: Any) -> Any:
    from scipy.special import ndtri

    return mu + sigma * ndtri(q)


# of the usual distributions, without loading scipy.stats, which takes a second
_QUANTILES: dict[str, Callable[..., Any]] = {
    "Normal": _normal_quantile,
    "HalfNormal": lambda q, sigma: _normal_quantile(0.5 + 0.5 * q, 0.0, sigma),
    "LogNormal": lambda q, mu, sigma: np.exp(_normal_quantile(q, mu, sigma)),
    "Exponential": lambda q, lam: -np.log1p(-q) / lam,
    "Uniform": lambda q, lower, upper: lower + q * (upper - lower),
}


@dataclass(frozen=True, eq=False)
class Prior:
    """A prior distribution by PyMC's name and parameters.

    Parameters
    ----------
    dist : str
        One of Normal, HalfNormal, StudentT, HalfStudentT, Cauchy, HalfCauchy, Laplace, Exponential, Gamma,
        InverseGamma, LogNormal, Beta, Uniform.
    **params : float or str
        The distribution's parameters, named as in PyMC. A string names another parameter of the same component
        (a hierarchical prior). `lower` and `upper` truncate any distribution.

    Raises
    ------
    realmat.ModelError
        For an unknown distribution or parameter, or a scale that is not positive.

    Examples
    --------
    >>> Prior("HalfNormal", sigma=0.5)
    Prior("HalfNormal", sigma=0.5)
    >>> round(float(Prior("Normal", mu=0, sigma=1).logpdf(0.0)), 4)
    -0.9189
    """

    dist: str
    params: tuple[tuple[str, float | str], ...]
    truncation: tuple[float | None, float | None]

    def __init__(self, dist: str, **params: float | str) -> None:
        if not isinstance(dist, str) or dist not in _FAMILIES:
            near = difflib.get_close_matches(str(dist), _FAMILIES, 1, 0.5)
            hint = f"; did you mean {near[0]!r}?" if near else f"; choose one of {', '.join(families())}."
            raise ModelError(f"unknown prior distribution {dist!r}{hint}")
        family = _FAMILIES[dist]
        truncation = (None, None) if dist == "Uniform" else (params.pop("lower", None), params.pop("upper", None))
        unknown = sorted(set(params) - set(family.defaults))
        if unknown:
            raise ModelError(f"{dist} has no parameter {', '.join(unknown)}; it takes {', '.join(family.defaults)} (and lower, upper).")
        merged = {key: params.get(key, value) for key, value in family.defaults.items()}
        missing = [key for key, value in merged.items() if value is None]
        if missing:
            raise ModelError(f"{dist} needs {', '.join(missing)}.")
        cut = {key: value for key, value in zip(("lower", "upper"), truncation, strict=True) if value is not None}
        for key, value in {**merged, **cut}.items():
            if not isinstance(value, Real if key in cut else (str, Real)) or isinstance(value, bool):
                raise ModelError(f"{dist}: {key}={value!r} must be a number{'' if key in cut else ', or the name of another parameter'}.")
        values = tuple((key, value if isinstance(value, str) else float(value)) for key, value in merged.items())  # type: ignore[arg-type]
        positive = _POSITIVE if dist == "Cauchy" else {*_POSITIVE, "alpha"}
        for key, value in values:
            if not isinstance(value, str) and (not math.isfinite(value) or (value <= 0 and key in positive)):
                raise ModelError(f"{dist}: {key}={value:g} must be finite{' and positive' if key in positive else ''}.")
        object.__setattr__(self, "dist", dist)
        object.__setattr__(self, "params", values)
        object.__setattr__(self, "truncation", tuple(None if t is None else float(t) for t in truncation))
        if not self.references and not self.support[0] < self.support[1]:
            raise ModelError(
                f"{self!r} leaves no number: its lower end {self.support[0]:g} is not below its upper end {self.support[1]:g}."
            )

    @property
    def is_normal(self) -> bool:
        """True for a Normal with numeric parameters and no truncation: the coefficient can be integrated out exactly."""
        return self.dist == "Normal" and self.truncation == (None, None) and not self.references

    @property
    def references(self) -> tuple[str, ...]:
        """Names of other parameters that this prior depends on."""
        return tuple(value for _, value in self.params if isinstance(value, str))

    @property
    def scale_reference(self) -> str:
        """The parameter that says how wide this prior is; empty where a number does."""
        return next((value for key, value in self.params if key == "sigma" and isinstance(value, str)), "")

    @property
    def support(self) -> tuple[float, float]:
        """Lower and upper end of the support."""
        if self.dist == "Uniform":
            return tuple(float(value) for _, value in self.params)  # type: ignore[return-value]
        low, high = _FAMILIES[self.dist].support
        lower, upper = self.truncation
        return (low if lower is None else max(low, lower), high if upper is None else min(high, upper))

    def arguments(self, lookup: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The distribution's parameters with references replaced by their values in `lookup`."""
        return {key: (lookup or {})[value] if isinstance(value, str) else value for key, value in self.params}

    def logpdf(self, x: Any, lookup: Mapping[str, Any] | None = None) -> Any:
        """Log density at `x` (any shape), normalised; `lookup` gives the values of referenced parameters."""
        return log_density(self.dist, x, self.arguments(lookup)) - self.log_mass

    @cached_property
    def log_mass(self) -> float:
        """Log probability that the truncation leaves."""
        if self.truncation == (None, None):
            return 0.0
        frozen, (low, high), (all_low, all_high) = self._frozen(), self.support, _FAMILIES[self.dist].support
        return math.log((frozen.cdf(high) - frozen.cdf(low)) / (frozen.cdf(all_high) - frozen.cdf(all_low)))

    def _frozen(self, lookup: Mapping[str, Any] | None = None) -> Any:
        from scipy import stats

        name, arguments = _FAMILIES[self.dist].scipy(**self.arguments(lookup))
        return getattr(stats, name)(**arguments)

    def ppf(self, q: Any, lookup: Mapping[str, Any] | None = None) -> Any:
        """Quantiles, inside the truncation."""
        if self.truncation == (None, None) and self.dist in _QUANTILES:
            return _QUANTILES[self.dist](np.asarray(q, dtype=float), **self.arguments(lookup))
        frozen, (low, high) = self._frozen(lookup), self.support
        a, b = frozen.cdf(low), frozen.cdf(high)
        return frozen.ppf(a + np.asarray(q) * (b - a))

    def median(self, lookup: Mapping[str, Any] | None = None) -> float:
        """The median; that of the usual distributions without loading scipy.stats, which takes a second."""
        if self.truncation == (None, None) and self.dist in _MEDIANS:
            return float(_MEDIANS[self.dist](**self.arguments(lookup)))
        return float(self.ppf(0.5, lookup))

    def width(self, lookup: Mapping[str, Any] | None = None) -> float:
        """Scale parameter of a distribution on the whole line: the standard deviation of a Normal, the half width of a Cauchy."""
        arguments = self.arguments(lookup)
        return next(arguments[key] for key in ("sigma", "b", "beta") if key in arguments)

    def rvs(self, rng: np.random.Generator, size: Any = None, lookup: Mapping[str, Any] | None = None) -> Any:
        """Random draws of shape `size`."""
        return self.ppf(rng.random(size), lookup)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description that `from_dict` reads back to an equal prior."""
        cut = {k: v for k, v in zip(("lower", "upper"), self.truncation, strict=True) if v is not None}
        return {"dist": self.dist, **dict(self.params), **cut}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Prior:
        """Inverse of `to_dict`."""
        rest = dict(data)
        shared = rest.pop("shared", None)
        prior = Prior(**rest)
        return prior if shared is None else Shared(shared, prior)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prior) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.dist, self.params, self.truncation))

    def __repr__(self) -> str:
        described = self.to_dict()
        described.pop("dist")
        return (
            f'Prior("{self.dist}"' + "".join(f", {k}={v!r}" if isinstance(v, str) else f", {k}={v:g}" for k, v in described.items()) + ")"
        )


class Shared(Prior):
    """A parameter under a name of its own: in several models of an `rm.Joint` it is one parameter.

    Parameters
    ----------
    name : str
        The posterior variable.
    prior : Prior

    Raises
    ------
    realmat.ModelError
        If the name is not one a variable can have, or there is no prior.

    Examples
    --------
    >>> Shared("k1", Prior("LogNormal", mu=0.0, sigma=1.0))
    Shared("k1", Prior("LogNormal", mu=0, sigma=1))
    """

    shared: str

    def __init__(self, name: str, prior: Prior) -> None:
        if not isinstance(name, str) or not name.isidentifier():
            raise ModelError(f"Shared: the first argument is the name of the parameter, such as 'k1', not {name!r}.")
        if not isinstance(prior, Prior):
            raise ModelError(f"Shared {name!r}: the second argument is its rm.Prior, not {prior!r}.")
        for field in ("dist", "params", "truncation"):
            object.__setattr__(self, field, getattr(prior, field))
        object.__setattr__(self, "shared", name)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description that `Prior.from_dict` reads back to an equal one."""
        return {**super().to_dict(), "shared": self.shared}

    def __repr__(self) -> str:
        plain = super().to_dict()
        return f'Shared("{self.shared}", {Prior(**plain)!r})'


def variable(name: str, prior: Any) -> str:
    """The variable of a parameter: its own name, or that under which its prior is shared."""
    return prior.shared if isinstance(prior, Shared) else name


def as_prior(value: Any, what: str) -> Prior | float | None:
    """Read what a user passed for a prior: a Prior, a number (fixes the parameter), None (the default), or a pymc-extras Prior.

    Raises
    ------
    realmat.ModelError
        For anything else, naming `what`.
    """
    if value is None or isinstance(value, Prior):
        return value
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ModelError(f"{what}: a fixed value must be finite, not {value}.")
        return float(value)
    if hasattr(value, "distribution") and hasattr(value, "parameters"):  # pymc_extras.prior.Prior
        return Prior(value.distribution, **value.parameters)
    raise ModelError(f"{what}: expected rm.Prior(...), a number that fixes it, or None for the default; got {value!r}.")
