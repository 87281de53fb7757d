"""Every component against its formula: textbook values, bounds, another library; and wrong arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.algebra import System, dense
from realmat.material.phase_fraction import bounded
from realmat.material.porosity import LAWS
from realmat.material.solvent import FORMS
from realmat.terms.component import Scale
from realmat.terms.problem import Problem
from realmat.terms.term import Contribution, evaluate


def bind(df: pd.DataFrame, component: Any, link: str = "identity", **changes: Any) -> tuple[rm.Model, Problem, Contribution]:
    """A model with the component beside a theory of zero; its contribution on the rows of the fit."""
    layers: dict[str, Any] = {"theory": rm.theory.Constant(0.0), component.layer: component}
    model = rm.Model("y", link=link, **{**layers, **changes})
    problem = model.bind(df)
    return model, problem, problem.term(component.label).contribute(problem.cells)


def design(contribution: Contribution) -> np.ndarray:
    """The matrix of a contribution with one piece."""
    (piece,) = contribution.pieces
    return piece.matrix.toarray()


def table(n: int = 6, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"y": np.exp(np.random.default_rng(2).normal(size=n)), **columns})


# --- impurities -----------------------------------------------------------------------------------------------------------------

CONTENT = np.array([1.0, 4.0, 9.0, 16.0, 25.0, 36.0])


@pytest.mark.parametrize(
    ("component", "column"),
    [
        (rm.material.Impurity("c"), CONTENT),
        (rm.material.Impurity("c", power=0.5), np.arange(1.0, 7.0)),  # Fleischer
        (rm.material.Impurity("c", power=2 / 3), CONTENT ** (2 / 3)),  # Labusch
        (rm.material.Impurity("c", log=True), np.log(CONTENT)),
        (rm.material.Effect("c"), CONTENT),
        (rm.material.Effect("c", log=True), np.log(CONTENT)),
        (rm.material.GrainSize("c"), 1 / np.arange(1.0, 7.0)),  # Hall-Petch
        (rm.material.GrainSize("c", exponent=-1.0), 1 / CONTENT),
    ],
)
def test_a_known_column_enters_by_its_formula(component: Any, column: np.ndarray) -> None:
    _, problem, contribution = bind(table(c=CONTENT), component)
    np.testing.assert_allclose(design(contribution)[:, 0], column)
    (block,) = problem.term(component.label).coefficients
    assert block.name == f"{component.label}_slope"
    assert block.sd == pytest.approx(2.5 * problem.scale.response / np.std(column))  # the documented default prior


def test_units_are_converted_to_what_the_slope_is_per() -> None:
    df = table(c=CONTENT * 1e-3)
    _, _, grain = bind(df, rm.material.GrainSize("c"), units={"c": "mm"})
    np.testing.assert_allclose(design(grain)[:, 0], CONTENT**-0.5)
    _, _, oxygen = bind(df, rm.material.Impurity("c"), units={"c": "wt%"})
    np.testing.assert_allclose(design(oxygen)[:, 0], CONTENT * 10)
    _, _, atomic = bind(df, rm.material.Impurity("c", unit="appm"), units={"c": "at%"})
    np.testing.assert_allclose(design(atomic)[:, 0], CONTENT * 10)
    with pytest.raises(rm.DataError, match="'c': declared in 'wt%', but impurity content needs a unit like 'appm'"):
        bind(df, rm.material.Impurity("c", unit="appm"), units={"c": "wt%"})
    with pytest.raises(rm.DataError, match="'c': declared in 'K', but grain size needs a unit like 'um'"):
        bind(df, rm.material.GrainSize("c"), units={"c": "K"})


def test_an_inferred_exponent_of_known_grain_sizes_stays_gaussian() -> None:
    component = rm.material.GrainSize("c", exponent=rm.Prior("Normal", mu=-0.5, sigma=0.2))
    _, _, contribution = bind(table(c=CONTENT), component)
    assert contribution.nonlinear is None
    p = {"grain_size_c_slope": 3.0, "grain_size_c_exponent": -0.8}
    np.testing.assert_allclose(contribution.offset(p, np), 3.0 * CONTENT**-0.8)  # type: ignore[misc]


def test_misfits_come_from_the_elements() -> None:
    """Slater radii 0.60 (O), 0.65 (N) and 1.40 (Ti) angstrom; 6, 5 and 4 outer electrons."""
    component = rm.material.Impurities(["O_wppm", "N_wppm"], explain=["size_misfit", "valence_misfit"], host="Ti")
    np.testing.assert_allclose(component.misfits(), [[0.8 / 1.4, 2], [0.75 / 1.4, 1]])


def test_slopes_of_explained_impurities_have_the_prior_they_say() -> None:
    """Cov(slopes) = tau^2 I + X diag(var gamma) X'."""
    df = table(O=CONTENT, N=CONTENT[::-1] + 1)
    component = rm.material.Impurities(["O", "N"], explain=["size_misfit"], host="Ti")
    _, problem, contribution = bind(df, component)
    system = System(problem)
    p = {**system.example, "impurities_scale": 0.3}
    _, cov = dense.prior(problem, p)
    made = system.design(contribution, 6, p).toarray() @ cov @ system.design(contribution, 6, p).toarray().T
    x = component.misfits()
    gamma = next(c for c in problem.coefficients if c.name == "impurities_size_misfit")
    contents = df[["O", "N"]].to_numpy()
    slopes = 0.3**2 * np.eye(2) + x @ x.T * float(gamma.sd) ** 2  # type: ignore[arg-type]
    np.testing.assert_allclose(made, contents @ slopes @ contents.T)


def test_a_latent_impurity_shares_the_pool() -> None:
    df = table(O=[1.0, np.nan, 2.0, np.nan, 3.0, 4.0], N=CONTENT)
    _, problem, contribution = bind(df, rm.material.Impurities(["O", "N"], explain=["size_misfit"], host="Ti"))
    slope = next(q for q in problem.params if q.name == "impurities_O_departure")
    assert slope.prior.references == ("impurities_scale",)
    p = {"impurities_O_departure": 0.5, "impurities_size_misfit": 2.0}
    state = next(piece for piece in contribution.pieces if piece.coefficients == "impurities_O")
    assert evaluate(state.scale, p) == pytest.approx(0.5 + 2.0 * 0.8 / 1.4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: rm.material.Impurities(["foo"]).element_of, "no element can be read from 'foo'; give elements="),
        (lambda: rm.material.Impurities(["O"], explain=["size_misfit"]), "give host="),
        (lambda: rm.material.Impurities(["O"], explain=["size_misfits"], host="Ti"), "did you mean 'size_misfit'"),
        (lambda: rm.material.Impurities(["O"], explain=["size_misfit"], host="Xx").misfits(), "'Xx' is not an element symbol"),
        (lambda: rm.material.Impurity("c", power=-1), "power=-1 must be positive"),
        (lambda: rm.material.Impurity("c", power=0.5, log=True), "exclude each other"),
        (lambda: rm.material.GrainSize("d", exponent=0.0), "no effect of the grain size"),
        (lambda: rm.material.Porosity("p", law="linear"), "must be one of exponential, power"),
        (lambda: rm.material.PhaseFraction("f", -1.0, 2.0), "positive property"),
        (lambda: rm.material.PhaseFraction("f", 1.0, 2.0, mixing=1.2), "between 0 .Reuss. and 1 .Voigt."),
        (lambda: rm.material.PhaseFraction("f", 1.0, rm.Prior("Normal")), "cut its prior with lower=0"),
        (lambda: rm.material.Solvent("s", form="born"), "need explained_by="),
        (lambda: rm.material.Solvent("s", explained_by="eps", form="bohr"), "must be one of linear, born, onsager"),
        (lambda: rm.material.Discrepancy(["a", "b", "a"]), "one or more different descriptors"),
        (lambda: rm.material.Discrepancy("a", kernel="rbf"), "must be one of matern32, matern52, expquad"),
        (lambda: rm.material.Discrepancy("a", lengthscale=rm.Prior("Normal")), "positive"),
        (lambda: rm.theory.Corrections("O"), "takes a list of columns"),
        (lambda: rm.material.Solvation([]), "takes a list of columns"),
    ],
)
def test_wrong_arguments_say_what_to_do(make: Any, words: str) -> None:
    with pytest.raises(rm.ModelError, match=words):
        make()


# --- porosity and phases --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("law", "factor"), [("exponential", lambda p: np.exp(-4 * p)), ("power", lambda p: (1 - p) ** 4)])
def test_pores_take_a_fraction(law: str, factor: Any) -> None:
    pores = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 0.5])
    _, _, contribution = bind(table(P=pores), rm.material.Porosity("P", law=law), link="log")
    np.testing.assert_allclose(np.exp(4 * design(contribution)[:, 0]), factor(pores))
    transform = LAWS[law][0]
    np.testing.assert_allclose(transform.inverse(transform.forward(pores)), pores, atol=1e-15)
    np.testing.assert_allclose(
        transform.derivative(pores), np.gradient(transform.forward(pores + np.array([[-1e-6], [1e-6]])), 2e-6, axis=0)[0]
    )
    with pytest.raises(rm.ModelError, match=r'only with Model.*link="log"'):
        bind(table(P=pores), rm.material.Porosity("P", law=law))


def test_percent_is_declared() -> None:
    df = table(P=[0.0, 5.0, 10.0, 20.0, 30.0, 50.0])
    with pytest.raises(rm.DataError, match="porosity above 1"):
        bind(df, rm.material.Porosity("P"), link="log")
    _, _, contribution = bind(df, rm.material.Porosity("P"), link="log", units={"P": "vol%"})
    np.testing.assert_allclose(design(contribution)[:, 0], -df["P"] / 100)


def test_mixtures_lie_between_voigt_and_reuss() -> None:
    """Textbook values for 30 % of 400 GPa in 70 GPa: Voigt 169, Reuss 93.33 (1 / (0.7 / 70 + 0.3 / 400))."""
    assert bounded(0.3, 70.0, 400.0, 1.0) == pytest.approx(169.0)
    assert bounded(0.3, 70.0, 400.0, 0.0) == pytest.approx(1 / (0.01 + 0.00075))
    f = np.linspace(0, 1, 21)
    voigt, reuss, hill = (bounded(f, 70.0, 400.0, w) for w in (1.0, 0.0, 0.5))
    assert np.all(reuss <= hill + 1e-12)
    assert np.all(hill <= voigt + 1e-12)
    np.testing.assert_allclose([voigt[0], reuss[0], voigt[-1], reuss[-1]], [70, 70, 400, 400])
    np.testing.assert_allclose(hill, (voigt + reuss) / 2)


@pytest.mark.parametrize("link", ["identity", "log"])
def test_a_second_phase_adds_to_the_matrix(link: str) -> None:
    f = np.linspace(0, 0.5, 6)
    component = rm.material.PhaseFraction("f", matrix="m", phase=rm.Prior("LogNormal", mu=6, sigma=0.2))
    df = table(f=f, m=np.linspace(60, 80, 6))
    _, _, contribution = bind(df, component, link=link)
    p = {"phase_fraction_f_mixing": 0.3, "phase_fraction_f_phase": 400.0}
    mixture = 0.3 * ((1 - f) * df["m"] + f * 400) + 0.7 / ((1 - f) / df["m"] + f / 400)
    expected = np.log(mixture / df["m"]) if link == "log" else mixture - df["m"]
    np.testing.assert_allclose(contribution.offset(p, np), expected)  # type: ignore[misc]
    assert contribution.nonlinear is None


def test_latent_fractions_are_linear_at_the_voigt_bound_alone() -> None:
    df = table(f=[0.1, np.nan, 0.2, 0.3, np.nan, 0.4])
    _, _, voigt = bind(df, rm.material.PhaseFraction("f", 70.0, 400.0, u=0.02, mixing=1.0))
    assert voigt.nonlinear is None
    assert evaluate(voigt.pieces[0].scale, {}) == 330.0
    model, _, bent = bind(df, rm.material.PhaseFraction("f", 70.0, 400.0, u=0.02))
    z = np.array([-0.2, 0.0, 0.25, 0.5, 1.0, 1.4])
    p = {"phase_fraction_f_mixing": 0.5, "phase_fraction_f_mean": 0.2, "phase_fraction_f_sd": 0.1}
    made = bent.nonlinear(p, {"phase_fraction_f": z}, np)  # type: ignore[misc]
    np.testing.assert_allclose(made, bounded(np.clip(z, 0, 1), 70.0, 400.0, 0.5) - 70)
    with pytest.raises(rm.FitError, match=r"phase_fraction_f is not linear given its parameters.*engine='nuts'"):
        model.fit(df, engine="exact", progress=False)


# --- solvation ------------------------------------------------------------------------------------------------------------------


def test_dielectric_forms_have_textbook_values() -> None:
    """Water at 25 degC, eps = 78.4: Born 0.98724, Onsager 0.98099; vacuum 0; conductor 1."""
    eps = np.array([1.0, 78.4, 1e12])
    np.testing.assert_allclose(FORMS["born"].forward(eps), [0, 77.4 / 78.4, 1], atol=1e-11)
    np.testing.assert_allclose(FORMS["onsager"].forward(eps), [0, 154.8 / 157.8, 1], atol=1e-11)
    x = np.array([2.0, 10.0, 78.4])
    for form in FORMS.values():
        np.testing.assert_allclose(form.inverse(form.forward(x)), x)
        np.testing.assert_allclose(form.derivative(x), (form.forward(x + 1e-5) - form.forward(x - 1e-5)) / 2e-5, rtol=1e-6)


def test_a_new_solvent_has_the_line_and_a_fresh_rest() -> None:
    df = table(s=list("aabbcc"), eps=np.repeat([2.0, 10.0, 78.4], 2))
    model, problem, contribution = bind(df, rm.material.Solvent("s", explained_by="eps", form="born"))
    assert {c.name: c.size for c in problem.term("solvent_s").coefficients} == {"solvent_s": 3, "solvent_s_slope": 1}
    assert not contribution.fresh
    new = problem.term("solvent_s").contribute(model.prediction_table(pd.DataFrame({"s": ["d", "a"], "eps": [4.0, 2.0]})))
    by_name = {piece.coefficients: piece.matrix.toarray() for piece in new.pieces}
    np.testing.assert_allclose(by_name["solvent_s_slope"][:, 0], [0.75, 0.5])
    np.testing.assert_allclose(by_name["solvent_s"], [[0, 0, 0], [1, 0, 0]])
    assert new.fresh[0].groups.tolist() == [0, -1]


@pytest.mark.parametrize("make", [lambda: rm.material.Solvation(["a", "b"]), lambda: rm.theory.Corrections(["a", "b"])])
def test_pooled_columns(make: Any) -> None:
    component = make()
    df = table(a=[0, 1, 0, 2, 1, 3], b=[1.0, 0, 0, 0, 1, 1])
    _, problem, contribution = bind(df, component)
    np.testing.assert_allclose(design(contribution), df[["a", "b"]])
    (block,) = problem.term(component.label).coefficients
    assert (block.name, block.dim, list(block.coords)) == (
        component.label,
        {"solvation": "group", "corrections": "column"}[component.label],
        ["a", "b"],
    )
    scale = next(q for q in problem.params if q.name == f"{component.label}_scale").prior
    length = np.sqrt((df[["a", "b"]] ** 2).to_numpy().sum() / len(df))
    assert scale == rm.Prior("HalfNormal", sigma=2 * problem.scale.response / length)  # does not depend on the columns' unit
    assert "zero on every row, so known from the pool alone: b." in bind(df.assign(b=0), component)[1].term(component.label).notes
    with pytest.raises(rm.DataError, match="zero everywhere"):
        bind(df.assign(a=0, b=0), component)


@pytest.mark.parametrize("nu", [4, rm.Prior("Gamma", alpha=2, beta=0.1, lower=2)])
def test_degrees_of_freedom_are_inferred_only_where_they_have_a_prior(nu: Any) -> None:
    _, problem, _ = bind(table(m=list("aabbcc")), rm.material.Unresolved("m", nu=nu))
    fixed = isinstance(nu, int)
    (block,) = problem.term("unresolved_m").coefficients
    assert block.nu == (4.0 if fixed else "unresolved_m_nu")
    assert [q.name for q in problem.params if q.name.endswith("_nu")] == ([] if fixed else ["unresolved_m_nu"])


# --- theory ---------------------------------------------------------------------------------------------------------------------


def hall_petch(grain: Any, friction: Any, k: Any) -> Any:
    return friction + k / np.sqrt(grain)


def test_a_function_is_called_by_name() -> None:
    component = rm.theory.Function(hall_petch, {"grain": "d (um)"}, {"friction": 100.0, "k": rm.Prior("HalfNormal", sigma=500)})
    df = table(**{"d (um)": CONTENT})
    _, problem, contribution = bind(df, component)
    assert [q.name for q in problem.term("function").params] == ["function_k"]
    np.testing.assert_allclose(contribution.offset({"function_k": 60.0}, np), 100 + 60 / np.arange(1.0, 7.0))  # type: ignore[misc]
    _, _, logged = bind(df, component, link="log")
    np.testing.assert_allclose(np.exp(logged.offset({"function_k": 60.0}, np)), 100 + 60 / np.arange(1.0, 7.0))  # type: ignore[misc]


def test_a_function_with_units_must_convert() -> None:
    params = {"friction": 100.0, "k": 0.1}
    units = {"grain": "um", "friction": "MPa", "k": "MPa*um^0.5"}
    rm.theory.Function(hall_petch, ["grain"], params, unit="MPa", units=units)
    with pytest.raises(rm.ModelError, match=r"misses a conversion: plain numbers give 100\.1, units 200 MPa"):
        rm.theory.Function(hall_petch, ["grain"], params, unit="MPa", units={**units, "k": "MPa*m^0.5"})
    with pytest.raises(rm.ModelError, match="do not work out to 'MPa'"):
        rm.theory.Function(hall_petch, ["grain"], params, unit="MPa", units={**units, "k": "K"})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((["grian"], {"friction": 1.0, "k": 1.0}), "did you mean 'grain'"),
        ((["grain"], {"friction": 1.0}), "also needs k"),
        ((["grain"], {"friction": 1.0, "k": None}), "give a Prior or a number for k"),
        ((["grain", "k"], {"friction": 1.0, "k": 1.0}), "k stands in columns= and in params="),
    ],
)
def test_arguments_of_a_function_are_matched(arguments: Any, words: str) -> None:
    with pytest.raises(rm.ModelError, match=words):
        rm.theory.Function(hall_petch, *arguments)


def test_a_function_that_fails_says_where() -> None:
    component = rm.theory.Function(hall_petch, ["grain"], {"friction": -100.0, "k": 1.0})
    bind(table(grain=CONTENT), component)
    with pytest.raises(rm.ModelError, match=r"hall_petch\(\) is not positive and finite, as the log link needs, in rows 0, 1"):
        bind(table(grain=CONTENT), component, link="log")


def test_a_theory_column_needs_a_logarithm_with_a_log_link() -> None:
    with pytest.raises(rm.DataError, match="'t': theory not above 0 in row 1"):
        bind(table(t=[1.0, 0.0, 2.0, 3.0, 4.0, 5.0]), rm.theory.Calibrated("t"), link="log")


def test_the_default_intercept_allows_for_effects_that_count_from_far_away() -> None:
    """A temperature of 300 +- 10 K with a slope of sd(y) / sd(T) moves the intercept by 30 sd(y)."""
    df = table(T=[290.0, 295, 300, 300, 305, 310])
    _, problem, _ = bind(df, rm.material.Effect("T"), theory=rm.theory.Constant())
    (constant,) = problem.terms[0].coefficients
    distance = 300 / np.std(df["T"])
    assert constant.sd == pytest.approx(2.5 * np.std(df["y"]) * np.hypot(1, distance))
    assert isinstance(problem.scale, Scale)


def test_a_name_that_there_is_not_has_what_python_looks_for_a_likely_one_in() -> None:
    for module in (rm.theory, rm.material, rm.observation, rm.testing):
        with pytest.raises(AttributeError) as error:
            module.GrainSise  # noqa: B018
        assert (error.value.name, error.value.obj) == ("GrainSise", module)
