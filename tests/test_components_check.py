"""`check_component`: every shipped component passes; what is wrong with a component is named; raw expressions; pictures."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.table.table import Column
from realmat.terms.component import Component, PriorLike, hyper, linear
from realmat.terms.examples import example_table
from realmat.terms.term import Coefficients, Contribution, Param, Piece, Term
from realmat.testing import check_component


def decay(time: Any, rate: Any) -> Any:
    return np.exp(-rate * time)


MATERIAL, THEORY, OBSERVATION = rm.material, rm.theory, rm.observation
BENT = rm.Prior("Normal", mu=-0.5, sigma=0.1)
COMPONENTS = [
    THEORY.Calibrated("pbe"),
    THEORY.Calibrated("pbe", u="u"),
    THEORY.Consensus(["p", "q", "r"], families={"f": ["p", "q"]}),
    THEORY.Constant(),
    THEORY.Corrections(["a", "b", "c"]),
    THEORY.Function(decay, ["time"], {"rate": rm.Prior("HalfNormal")}),
    MATERIAL.Effect("x", u="u"),
    MATERIAL.Effect("x", below="lod", log=True, by="route"),
    MATERIAL.Impurity("c", power=0.5),
    MATERIAL.Impurities(["O", "N"], explain=["size_misfit"], host="Ti", u={"O": 0.3}),
    MATERIAL.GrainSize("d", u="ud", by="route"),
    MATERIAL.GrainSize("d", u="ud", exponent=BENT),
    MATERIAL.Porosity("P", u=0.02),
    MATERIAL.PhaseFraction("f", 2.0, rm.Prior("LogNormal"), u=0.1),
    MATERIAL.Process("route"),
    MATERIAL.Solvation(["ester", "amine"], nu=True),
    MATERIAL.Solvent("solvent"),
    MATERIAL.Discrepancy("x"),
    MATERIAL.Unresolved("specimen"),
    MATERIAL.Unresolved("specimen", nu=4),
    OBSERVATION.Normal(u="u", bias_by="lab"),
    OBSERVATION.StudentT(),
    OBSERVATION.StudentT(nu=5),
]


def test_no_component_is_left_out() -> None:
    shipped = {getattr(module, name) for module in (MATERIAL, THEORY, OBSERVATION) for name in module.__all__}
    elsewhere = {OBSERVATION.Common, OBSERVATION.Drift}  # no components, but parts of one
    # the readings of these are no lengths: test_likelihoods.py judges them
    for likelihood in ("Poisson", "NegativeBinomial", "Binomial", "Beta", "Gamma", "Weibull"):
        elsewhere.add(getattr(OBSERVATION, likelihood))
    assert {type(component) for component in COMPONENTS} == shipped - elsewhere


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: f"{type(c).__name__}-{c.label}")
def test_every_component_keeps_its_promises(component: Component) -> None:
    checks = check_component(component, recovery=False)
    assert checks.passed, checks.text


@pytest.mark.parametrize("component", [MATERIAL.Impurity("c", u=0.3), MATERIAL.Process("route"), THEORY.Corrections(["a", "b"])])
def test_simulated_truth_is_recovered(component: Component) -> None:
    checks = check_component(component)
    assert "recovery" not in checks.failed, checks.text


def test_a_polarity_belongs_to_its_solvent() -> None:
    solvent = MATERIAL.Solvent("solvent", explained_by="eps", form="onsager")
    df = example_table(solvent)
    df["eps"] = df["solvent"].map({"A": 2.0, "B": 10.0, "C": np.nan, "D": 80.0, "E": 5.0})
    checks = check_component(solvent, df, levels={"specimen": "specimen"}, recovery=False)
    assert checks.passed, checks.text


# --- own components -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ageing(Component):
    """The recipe: a frozen dataclass, one method. ``E = slope * log(1 + t)``."""

    about: ClassVar[tuple[str, ...]] = ("column",)
    column: str
    slope: PriorLike = None

    def needs(self) -> list[Column]:
        return [Column(self.column, "time", lower=0.0)]

    def bind(self, table: Any, scale: Any) -> Term:
        slope = linear(f"{self.label}_slope", self.prior("slope", rm.Prior("Normal", sigma=scale.response)))
        return Term(
            self.label,
            self.layer,
            slope.params,
            slope.coefficients,
            lambda other, fresh_levels=(): Contribution(*slope.on(np.log1p(other.numeric(self.column)))),
        )


@dataclass(frozen=True)
class Saturation(Ageing):
    """A raw PyTensor expression: only `nuts` runs it."""

    def bind(self, table: Any, scale: Any) -> Term:
        params, rate = hyper(f"{self.label}_rate", rm.Prior("HalfNormal"))

        def contribute(other: Any, fresh_levels: tuple[str, ...] = ()) -> Contribution:
            def expression(p: Any, b: Any, xp: Any) -> Any:
                return xp.erf(rate(p, xp) * other.numeric(self.column))  # NumPy has no erf

            return Contribution(nonlinear=expression, raw=True)

        return Term(self.label, self.layer, params, (), contribute)


def test_an_own_component_is_one_class_with_one_method() -> None:
    checks = check_component(Ageing("t"))
    assert checks.passed, checks.text
    df = pd.DataFrame({"y": [1.0, 2.0, 2.5], "t": [0.0, 1.0, 2.0]})
    model = rm.Model("y", theory=THEORY.Constant(), material=Ageing("t"))
    assert rm.Model.from_dict(model.to_dict()) == model
    assert "ageing_t_slope" in model.fit(df, draws=20, chains=1, seed=1, progress=False).tree["posterior"]


def test_a_name_that_no_file_holds_is_refused_before_the_fit() -> None:
    @dataclass(frozen=True)
    class Rate(Ageing):
        def bind(self, table: Any, scale: Any) -> Term:
            slope = linear("rate 1/h", rm.Prior("Normal", sigma=scale.response))
            return Term(self.label, self.layer, slope.params, slope.coefficients, lambda other, fresh_levels=(): Contribution())

    with pytest.raises(rm.ModelError, match=r"no file can hold a variable called 'rate 1/h'; name it .*stored_name"):
        rm.Model("y", theory=THEORY.Constant(), material=Rate("t")).bind(pd.DataFrame({"y": [1.0, 2.0, 2.5], "t": [0.0, 1.0, 2.0]}))


def test_a_raw_expression_runs_on_nuts_alone() -> None:
    from realmat.engines import exact

    model = rm.Model("y", theory=THEORY.Constant(), material=Saturation("t"))
    problem = model.bind(pd.DataFrame({"y": [1.0, 2.0, 2.5], "t": [0.0, 1.0, 2.0]}))
    assert exact.refusal(problem) == "the effect of saturation_t is not linear given its parameters"
    assert "saturation_t_contribution" in model.to_pymc(pd.DataFrame({"y": [1.0, 2.0], "t": [0.0, 1.0]})).named_vars


def _term(component: Any, **changes: Any) -> Any:
    """A component whose term is changed on its way out."""

    @dataclass(frozen=True)
    class Broken(type(component)):  # type: ignore[misc]
        def bind(self, table: Any, scale: Any) -> Term:
            return dataclasses.replace(super().bind(table, scale), **changes)

        @property
        def label(self) -> str:
            return str(component.label)

    return Broken(**{f.name: getattr(component, f.name) for f in dataclasses.fields(component)})


def _contributes(pieces: tuple[Piece, ...] = (), **changes: Any) -> Any:
    return lambda other, fresh_levels=(): Contribution(pieces, **changes)


@pytest.mark.parametrize(
    ("changes", "failed", "words"),
    [
        ({"params": (Param("rate", rm.Prior("Normal")),)}, "names", "variables are called <component>_<parameter>; these are not: rate"),
        (
            {"params": (Param("ageing_t_a", rm.Prior("Normal", sigma="b")),)},
            "names",
            "'ageing_t_a' refers to b",
        ),
        ({"coefficients": (Coefficients("ageing_t_slope", 1, lambda p, xp: -1.0),)}, "shapes", "sd must be positive"),
        ({"coefficients": (Coefficients("ageing_t_slope", 2, np.ones(3)),)}, "shapes", "sd has the shape"),
        ({"contribute": _contributes(offset=lambda p, xp: np.nan)}, "prior predictive", "are not finite"),
        ({"contribute": _contributes(offset=lambda p, xp: 1.0 if xp is np else 2.0)}, "pymc", "other values with PyTensor than with NumPy"),
    ],
)
def test_what_is_broken_is_named(changes: dict[str, Any], failed: str, words: str) -> None:
    checks = check_component(_term(Ageing("t"), **changes), recovery=False)
    assert failed in checks.failed
    assert words in checks.table.set_index("check").loc[failed, "detail"]
    assert "FAILED" in str(checks)


def test_a_forgotten_method_is_said() -> None:
    @dataclass(frozen=True)
    class Empty(Component):
        pass

    checks = check_component(Empty(), recovery=False)
    assert "Empty must define bind(table, scale) -> Term." in checks.text


# --- pictures -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("component", [c for c in COMPONENTS if c.needs() and c.layer != "observation"], ids=lambda c: c.label)
def test_every_component_draws_its_prior(component: Component) -> None:
    axes = component.plot()
    assert axes.get_title(loc="left").startswith(component.said({}))
    assert axes.lines


def test_a_posterior_picture_is_the_fitted_curve() -> None:
    rng = np.random.default_rng(1)
    d = np.exp(rng.normal(2, 0.6, 80))
    df = pd.DataFrame({"y": 100 + 50 / np.sqrt(d) + rng.normal(0, 0.5, 80), "d": np.where(rng.random(80) < 0.8, d, np.nan)})
    grain = MATERIAL.GrainSize("d", u=0.01)
    fit = rm.Model("y", theory=THEORY.Constant(), material=grain).fit(df, draws=200, chains=2, seed=1, progress=False)
    curve = grain.plot(fit).lines[0]
    slope = float(fit.tree["posterior"]["grain_size_d_slope"].median())
    np.testing.assert_allclose(curve.get_ydata(), slope / np.sqrt(curve.get_xdata()), rtol=0.01)
    with pytest.raises(rm.ModelError, match="no component 'grain_size_e'"):
        MATERIAL.GrainSize("e").plot(fit)
