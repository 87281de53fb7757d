"""Derivatives of log prior densities against complex steps of the densities themselves."""

import numpy as np
import pytest

from realmat.terms.prior_slopes import in_reference, in_value
from realmat.terms.priors import Prior, families

STEP = 1e-30
PRIORS = [
    Prior("Normal", mu=0.4, sigma=1.3),
    Prior("HalfNormal", sigma=0.7),
    Prior("StudentT", nu=4, mu=0.2, sigma=0.6),
    Prior("HalfStudentT", nu=3, sigma=0.6),
    Prior("HalfCauchy", beta=0.8),
    Prior("Cauchy", alpha=0.1, beta=0.8),
    Prior("Laplace", mu=0.3, b=0.5),
    Prior("Exponential", lam=2.0),
    Prior("Gamma", alpha=2.5, beta=1.5),
    Prior("InverseGamma", alpha=2.5, beta=1.5),
    Prior("LogNormal", mu=-0.3, sigma=0.9),
    Prior("Beta", alpha=2.5, beta=1.5),
    Prior("Uniform", lower=0, upper=2),
]
X = np.array([0.05, 0.31, 0.77, 0.93])


@pytest.mark.parametrize("prior", PRIORS, ids=lambda prior: prior.dist)
def test_in_the_value(prior):
    truth = np.imag(prior.logpdf(X + 1j * STEP) * np.ones(X.shape)) / STEP if prior.dist != "Uniform" else np.zeros(X.shape)
    assert in_value(prior.dist, X, prior.arguments()) == pytest.approx(truth, rel=1e-12)


def test_every_family_has_one():
    assert {prior.dist for prior in PRIORS} == set(families())


@pytest.mark.parametrize(
    "prior",
    [
        Prior("Normal", mu="a", sigma="b"),
        Prior("LogNormal", mu="a", sigma="b"),
        Prior("HalfNormal", sigma="b"),
        Prior("Exponential", lam="b"),
        Prior("HalfCauchy", beta="b"),
    ],
    ids=lambda prior: prior.dist,
)
def test_in_what_is_inferred_too(prior):
    lookup = {"a": 0.2, "b": 0.6}
    for name in prior.references:
        truth = np.imag(prior.logpdf(X, lookup | {name: lookup[name] + 1j * STEP})) / STEP
        assert in_reference(prior, X, lookup, name) == pytest.approx(truth, rel=1e-12)
