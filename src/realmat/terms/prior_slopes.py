"""Derivatives of log prior densities, in closed form: in the value, and in the parameters that are inferred themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from realmat.terms.priors import Prior

_STEP = 1e-30  # of complex steps, which no rounding limits (Squire & Trapp, SIAM Review 40, 110, 1998)

_IN_VALUE: dict[str, Callable[..., Any]] = {
    "Normal": lambda x, mu, sigma: (mu - x) / sigma**2,
    "HalfNormal": lambda x, sigma: -x / sigma**2,
    "StudentT": lambda x, nu, mu, sigma: -(nu + 1) * (x - mu) / (nu * sigma**2 + (x - mu) ** 2),
    "HalfStudentT": lambda x, nu, sigma: -(nu + 1) * x / (nu * sigma**2 + x**2),
    "HalfCauchy": lambda x, beta: -2 * x / (beta**2 + x**2),
    "Cauchy": lambda x, alpha, beta: -2 * (x - alpha) / (beta**2 + (x - alpha) ** 2),
    "Laplace": lambda x, mu, b: np.where(x < mu, 1.0, -1.0) / b,
    "Exponential": lambda x, lam: np.zeros(np.shape(x)) - lam,
    "Gamma": lambda x, alpha, beta: (alpha - 1) / x - beta,
    "InverseGamma": lambda x, alpha, beta: (beta / x - alpha - 1) / x,
    "LogNormal": lambda x, mu, sigma: (-1 - (np.log(x) - mu) / sigma**2) / x,
    "Beta": lambda x, alpha, beta: (alpha - 1) / x - (beta - 1) / (1 - x),
    "Uniform": lambda x, lower, upper: np.zeros(np.shape(x)),
}

_IN_SIGMA: Callable[..., Any] = lambda x, mu, sigma: (((x - mu) / sigma) ** 2 - 1) / sigma  # noqa: E731
_IN_PARAMETER: dict[tuple[str, str], Callable[..., Any]] = {
    ("Normal", "mu"): lambda x, mu, sigma: (x - mu) / sigma**2,
    ("Normal", "sigma"): _IN_SIGMA,
    ("LogNormal", "mu"): lambda x, mu, sigma: (np.log(x) - mu) / sigma**2,
    ("LogNormal", "sigma"): lambda x, mu, sigma: _IN_SIGMA(np.log(x), mu, sigma),
    ("HalfNormal", "sigma"): lambda x, sigma: _IN_SIGMA(x, 0.0, sigma),
    ("Exponential", "lam"): lambda x, lam: 1 / lam - x,
}


def in_value(dist: str, x: np.ndarray, numbers: Mapping[str, Any]) -> np.ndarray:
    """Derivative of the log density of a distribution in `x`, of the same shape, with its parameters by name."""
    return np.asarray(_IN_VALUE[dist](x, **numbers))


def in_reference(prior: Prior, x: np.ndarray, lookup: Mapping[str, Any], name: str) -> np.ndarray:
    """Derivative of `Prior.logpdf` in the hyperparameter `name`, which it refers to; of the shape of `x`."""
    keys = [key for key, value in prior.params if value == name]
    if all((prior.dist, key) in _IN_PARAMETER for key in keys):
        return np.asarray(sum(_IN_PARAMETER[prior.dist, key](x, **prior.arguments(lookup)) for key in keys))
    return np.asarray(np.imag(prior.logpdf(x, {**lookup, name: lookup[name] + 1j * _STEP})) / _STEP)
