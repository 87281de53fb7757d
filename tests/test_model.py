"""The declaration: immutable values that keep every argument, and errors that name what contradicts itself."""

import json

import numpy as np
import pytest
from scipy import stats

import realmat as rm
from realmat.terms.priors import families

FULL = rm.Model(
    "ys",
    unit="MPa",
    link="log",
    levels={"material": "formula", "specimen": "sample", "lab": "doi"},
    theory=rm.theory.Calibrated("sigma", u="sigma_u", slope=rm.Prior("Normal", mu=1, sigma=0.2), intercept=0.0),
    material=[
        rm.material.Impurity("O", u="O_u", below="O_lod", name="oxygen"),
        rm.material.GrainSize("grain", u=1.5, by="route", exponent=-0.5),
        rm.material.Process("route", scale=rm.Prior("HalfNormal", sigma=0.3)),
        rm.material.Discrepancy(on=["vec", "delta"], kernel="matern32"),
        rm.material.Unresolved("specimen", nu=True),
    ],
    observation=rm.observation.StudentT(u="ys_u", bias_by=["lab", "method"], nu=5.0),
    units={"grain": "mm"},
    name="strength",
)


def test_round_trip_through_json():
    """Every argument survives, and the hash with it."""
    again = rm.Model.from_dict(json.loads(json.dumps(FULL.to_dict())))
    assert again == FULL
    assert hash(again) == hash(FULL)
    assert again.to_dict() == FULL.to_dict()


def test_models_are_values():
    """`with_...` gives a new model; the old one cannot be changed."""
    bare = FULL.with_material()
    assert bare.material == ()
    assert len(FULL.material) == 5
    assert bare.with_material(*FULL.material) == FULL
    assert FULL.with_observation(rm.observation.Normal()) != FULL
    with pytest.raises(AttributeError):
        FULL.response = "other"


def test_names():
    """A component is called by its class and what it is about, or as it was told."""
    assert [c.label for c in FULL.components] == [
        "calibrated",
        "oxygen",
        "grain_size_grain",
        "process_route",
        "discrepancy_vec_delta",
        "unresolved_specimen",
        "noise",
    ]


def test_printed_model_shows_default_priors():
    """What was not said is shown with its default."""
    text = str(rm.Model("y", theory=rm.theory.Calibrated("t"), material=rm.material.Unresolved("row")))
    assert "slope ~ Normal(1, 2.5 sd(response) / sd(theory)) (default)" in text
    assert "unresolved_row" in text
    assert "bias_scale" not in text  # nothing is biased here


def test_printed_model_shows_priors_as_they_are_written():
    """Given priors, fixed numbers and defaults of a component's own, none of them as a tuple."""
    model = rm.Model(
        "y",
        link="log",
        theory=rm.theory.Calibrated("t", slope=1.0),
        material=[rm.material.Porosity("p"), rm.material.Porosity("q", law="power", slope=rm.Prior("Normal", mu=1.5, sigma=0.5))],
        observation=rm.observation.StudentT(bias_by="lab"),
    )
    text = str(model)
    assert "slope = 1\n" in text
    assert "slope ~ Normal(4, 4) (default)" in text
    assert 'slope ~ Prior("Normal", mu=1.5, sigma=0.5)' in text
    assert "nu ~ Gamma(2, 0.1) above 2 (default)" in text
    assert "bias_scale ~ HalfNormal(sd of what theory leaves) (default)" in text


def test_contradictions_are_named_together():
    """An unknown link, an unknown level, a misplaced component and a doubled name, in one error."""
    with pytest.raises(rm.ModelError) as caught:
        rm.Model(
            "y",
            link="probit",
            levels={"sample": "s"},
            theory=rm.material.Unresolved("row"),
            material=[rm.material.Unresolved("a"), rm.material.Unresolved("a")],
        )
    text = str(caught.value)
    for word in ("probit", "'sample'", "belongs to the material layer", "two components are called 'unresolved_a'"):
        assert word in text


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: rm.Prior("Norml", mu=0), "did you mean 'Normal'"),
        (lambda: rm.Prior("Normal", mean=0), "no parameter mean"),
        (lambda: rm.Prior("HalfNormal", sigma=-1), "positive"),
        (lambda: rm.Prior("Gamma", alpha=1), "needs beta"),
        (lambda: rm.theory.Calibrated("t", slope="1"), "must be rm.Prior"),
        (lambda: rm.theory.Calibrated("t", u=0.0), "positive standard uncertainty"),
        (lambda: rm.observation.Normal(scale=False), "needs u="),
        (lambda: rm.Component.from_dict({"class": "os:getcwd"}), "not a realmat component"),
        (lambda: rm.Component.from_dict({"class": "no.such:Thing"}), "cannot be imported"),
    ],
)
def test_declaration_errors(make, words):
    """Each says what was expected."""
    with pytest.raises(rm.ModelError, match=words):
        make()


PRIORS = {
    "Normal": (rm.Prior("Normal", mu=1, sigma=2), stats.norm(1, 2)),
    "HalfNormal": (rm.Prior("HalfNormal", sigma=2), stats.halfnorm(scale=2)),
    "StudentT": (rm.Prior("StudentT", nu=4, mu=1, sigma=2), stats.t(4, 1, 2)),
    "HalfStudentT": (rm.Prior("HalfStudentT", nu=4, sigma=2), None),
    "Cauchy": (rm.Prior("Cauchy", alpha=1, beta=2), stats.cauchy(1, 2)),
    "HalfCauchy": (rm.Prior("HalfCauchy", beta=2), stats.halfcauchy(scale=2)),
    "Laplace": (rm.Prior("Laplace", mu=1, b=2), stats.laplace(1, 2)),
    "Exponential": (rm.Prior("Exponential", lam=2), stats.expon(scale=0.5)),
    "Gamma": (rm.Prior("Gamma", alpha=2, beta=3), stats.gamma(2, scale=1 / 3)),
    "InverseGamma": (rm.Prior("InverseGamma", alpha=3, beta=2), stats.invgamma(3, scale=2)),
    "LogNormal": (rm.Prior("LogNormal", mu=0.5, sigma=0.7), stats.lognorm(0.7, scale=np.exp(0.5))),
    "Beta": (rm.Prior("Beta", alpha=2, beta=3), stats.beta(2, 3)),
    "Uniform": (rm.Prior("Uniform", lower=1, upper=3), stats.uniform(1, 2)),
}


def test_every_family_is_tried():
    """No distribution escapes the tests below."""
    assert set(PRIORS) == set(families())


@pytest.mark.parametrize("name", PRIORS)
def test_densities_against_scipy(name):
    """Log density and quantiles of each family; the half t is twice a t."""
    prior, reference = PRIORS[name]
    x = prior.ppf(np.array([0.05, 0.3, 0.5, 0.8, 0.97]))
    if reference is None:
        assert prior.logpdf(x) == pytest.approx(np.log(2) + stats.t(4, 0, 2).logpdf(x))
        assert stats.t(4, 0, 2).cdf(x) == pytest.approx([0.525, 0.65, 0.75, 0.9, 0.985])
    else:
        assert prior.logpdf(x) == pytest.approx(reference.logpdf(x))
        assert reference.cdf(x) == pytest.approx([0.05, 0.3, 0.5, 0.8, 0.97])
    assert prior.median() == pytest.approx(prior.ppf(0.5))
    assert rm.Prior.from_dict(prior.to_dict()) == prior


@pytest.mark.parametrize(
    "prior",
    [
        rm.Prior("Gamma", alpha=2, beta=0.1, lower=2),
        rm.Prior("Normal", mu=0, sigma=1, lower=-0.5, upper=2),
        rm.Prior("HalfNormal", sigma=1, upper=1),
    ],
)
def test_truncated_densities_integrate_to_one(prior):
    """By quadrature over the support."""
    low, high = prior.support
    x = np.linspace(max(low, -10), min(high, 300), 200_001)[1:-1]
    assert np.trapezoid(np.exp(prior.logpdf(x)), x) == pytest.approx(1, abs=2e-4)
    assert np.all((prior.rvs(np.random.default_rng(0), 100) >= low) & (prior.rvs(np.random.default_rng(0), 100) <= high))
