"""The PyMC model of a problem has the density that the problem declares, and reads as its user expects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import densities
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import realmat as rm
from realmat.engines import centring, pymc_route
from realmat.terms.component import Component
from realmat.terms.term import Coefficients, Contribution, Param, Term


def make_table(n: int = 36) -> pd.DataFrame:
    """A table with everything that some component asks for: gaps, limits, stated and missing u, replicates, censored responses."""
    rng = np.random.default_rng(5)
    material = rng.integers(0, 4, n)
    specimen = material * 3 + rng.integers(0, 3, n)
    df = pd.DataFrame({"formula": [f"M{m}" for m in material], "sample": [f"S{s:02d}" for s in specimen]})
    df["lab"] = rng.choice(["a", "b", "c"], n)
    df["route"] = np.array(["cast", "forged"])[specimen % 2]
    df["solvent"] = np.array(["water", "octanol", "hexane"])[material % 3]
    df["eps"] = np.array([78.4, 10.3, np.nan])[material % 3]
    df["t"] = rng.normal(3, 1, n).round(1)
    df["tu"] = 0.2
    df["x1"], df["x2"] = rng.random(n).round(2), rng.normal(size=n).round(2)
    df["g1"], df["g2"], df["g3"] = rng.integers(0, 3, n), rng.integers(0, 2, n), rng.integers(0, 2, n)
    df["oxygen"] = np.where(rng.random(n) < 0.4, rng.lognormal(4, 0.5, n).round(1), np.nan)
    df["oxygen_u"] = 5.0
    df.loc[df.index[::9], "oxygen"] = np.nan
    df["lod"] = np.where(np.arange(n) % 9 == 0, 20.0, np.nan)
    df["grain"] = np.where(rng.random(n) < 0.6, rng.lognormal(2, 0.3, n).round(2), np.nan)
    df["pores"] = np.where(rng.random(n) < 0.6, rng.uniform(0.01, 0.2, n).round(3), np.nan)
    df["O_wppm"] = np.where(rng.random(n) < 0.6, rng.lognormal(4, 0.5, n).round(1), np.nan)
    df["N_wppm"] = rng.lognormal(3, 0.5, n).round(1)
    df["phase"] = np.where(rng.random(n) < 0.6, rng.uniform(0.1, 0.6, n).round(3), np.nan)
    df["kelvin"] = rng.uniform(300, 900, n).round(0)
    df["u"] = np.where(np.arange(n) % 4 == 0, np.nan, 0.3)
    df["flag"] = (np.arange(n) % 6 == 0).astype(int)
    df["y"] = np.exp(rng.normal(1.5, 0.4, n)).round(2)
    return pd.concat([df, df.tail(12).assign(y=df.y.tail(12) + 0.1)], ignore_index=True)  # replicates


def activated(kelvin: Any, rate: Any, energy: Any) -> Any:
    return rate * np.exp(-energy / (0.008314 * kelvin))


@dataclass(frozen=True)
class Bent(Component):
    """An effect that is not linear, with a prior that refers to another parameter, as a user might write it."""

    layer: ClassVar[str] = "material"

    def bind(self, table: Any, scale: Any) -> Term:
        params = (
            Param("bent_power", rm.Prior("Normal", mu="bent_centre", sigma=0.5)),
            Param("bent_centre", rm.Prior("StudentT", nu=4, mu=0.2, sigma=0.3, lower=-1)),
        )
        block = Coefficients(
            "bent", 2, 0.7, mean=lambda p, xp: p["bent_centre"] * np.array([1.0, 2.0]), dim="side", coords=["left", "right"]
        )
        n = len(table)
        part = Contribution(nonlinear=lambda p, b, xp: xp.exp(p["bent_power"]) * b["bent"][np.arange(n) % 2] ** 2)
        return Term("bent", "material", params, (block,), lambda other, fresh_levels=(): part)


LEVELS = {"material": "formula", "specimen": "sample", "lab": "lab"}
U = rm.material.Unresolved
MODELS: dict[str, dict[str, Any]] = {
    "line": {"theory": rm.theory.Calibrated("t")},
    "line, theory with u": {"theory": rm.theory.Calibrated("t", u="tu"), "observation": rm.observation.Normal(u="u")},
    "constant fixed": {"theory": rm.theory.Constant(4.0), "observation": rm.observation.Normal(u="u", scale=False, bias_by="lab")},
    "constant, other priors": {
        "theory": rm.theory.Constant(rm.Prior("StudentT", nu=4, mu=4, sigma=2)),
        "material": U("specimen", scale=rm.Prior("HalfStudentT", nu=3, sigma=1, upper=5), scale_by="route"),
        "observation": rm.observation.Normal(
            scale=rm.Prior("InverseGamma", alpha=3, beta=2, lower=0.05, upper=9), scale_by=["lab", "route"]
        ),
    },
    "corrections": {"theory": [rm.theory.Calibrated("t"), rm.theory.Corrections(["x1", "x2"]), rm.theory.Corrections(["g1"], name="more")]},
    "function, log link": {
        "link": "log",
        "theory": rm.theory.Function(
            activated,
            columns=["kelvin"],
            params={"rate": rm.Prior("LogNormal", mu=2, sigma=0.5), "energy": rm.Prior("Gamma", alpha=4, beta=1)},
        ),
        "observation": rm.observation.Normal(u="u"),
    },
    "noise that grows": {"observation": rm.observation.StudentT(u="u", scale_by="lab", scale_with=["x1", "x2"])},
    "impurity by route, limits": {"material": rm.material.Impurity("oxygen", u="oxygen_u", below="lod", by="route", log=True)},
    "grain size, known or missing": {"material": [rm.material.GrainSize("grain", u=0.4), U("material")]},
    "grain size, exponent unknown": {"material": rm.material.GrainSize("grain", u=0.4, exponent=rm.Prior("Normal", mu=-0.5, sigma=0.1))},
    "porosity, log link": {
        "link": "log",
        "material": rm.material.Porosity("pores", u=0.01),
        "observation": rm.observation.StudentT(bias_by="lab"),
    },
    "solvation": {"material": rm.material.Solvation(["g1", "g2", "g3"], nu=True)},
    "solvent": {"material": rm.material.Solvent("solvent", explained_by="eps", form="onsager", u=0.5)},
    "process, tails": {"material": [rm.material.Process("route"), U("specimen", nu=True)], "observation": rm.observation.StudentT(u="u")},
    "discrepancy": {"theory": rm.theory.Calibrated("x1"), "material": rm.material.Discrepancy(on=["x1", "x2"])},
    "censored": {"material": U("row"), "observation": rm.observation.Normal(below="flag")},
    "censored, tails, log link": {
        "link": "log",
        "material": U("specimen"),
        "observation": rm.observation.StudentT(u="u", above="flag", nu=5),
    },
    "impurities pooled": {"material": rm.material.Impurities(["O_wppm", "N_wppm"], u={"O_wppm": 3.0}, explain=["size_misfit"], host="Fe")},
    "phase fraction, nonlinear": {
        "material": rm.material.PhaseFraction("phase", matrix=2.0, phase=rm.Prior("HalfNormal", sigma=5), u=0.05)
    },
    "effect of a column": {"material": [rm.material.Effect("x1"), rm.material.Effect("x2", u=0.1)]},
    "bent": {"theory": rm.theory.Constant(1.0), "material": Bent()},
    "everything at once": {
        "theory": [rm.theory.Calibrated("t", u="tu"), rm.theory.Corrections(["x1", "x2"])],
        "material": [
            rm.material.Impurity("oxygen", u="oxygen_u", below="lod", log=True),
            rm.material.GrainSize("grain", u=0.4, by="route"),
            rm.material.Solvation(["g1", "g2", "g3"]),
            rm.material.Discrepancy(on=["x2"]),
            U("material"),
            U("specimen"),
        ],
        "observation": rm.observation.Normal(u="u", bias_by="lab"),
    },
}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return make_table()


def bind(table: pd.DataFrame, **parts: Any) -> Any:
    return rm.Model("y", levels=LEVELS, **parts).bind(table)


def compiled(problem: Any, model: Any) -> Any:
    """Function from values of the free variables themselves (no transforms) to the log density, and psi and b by name."""
    import pytensor
    from pymc.model.transform.conditioning import remove_value_transforms

    plain = remove_value_transforms(model)
    names = [*(q.name for q in problem.params), *(c.name for c in problem.coefficients)]
    shown = plain.replace_rvs_by_values([plain[name] for name in names])
    run = pytensor.function(
        plain.value_vars, [*plain.logp(jacobian=False, sum=False), *shown], mode="FAST_COMPILE", on_unused_input="ignore"
    )

    def at(point: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        out = run(*(point[v.name] for v in plain.value_vars))
        parts, found = out[: len(out) - len(names)], dict(zip(names, out[len(out) - len(names) :], strict=True))
        return sum(float(np.sum(part)) for part in parts), found

    return at


def random_point(problem: Any, model: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Values of the free variables: psi from its prior, a parameter before what refers to it; the rest standard normal."""
    point: dict[str, Any] = {}
    for param in sorted(problem.params, key=lambda q: len(q.prior.references)):
        point[param.name] = np.asarray(param.prior.rvs(rng, None if param.coords is None else param.size, point))
    for block in problem.coefficients:
        name = next(v.name for v in model.free_RVs if v.name in (block.name, f"{block.name}_z"))
        point[name] = rng.standard_normal((block.size,) * model[name].ndim)
    return point


def log_jacobian(problem: Any, at: Any, point: dict[str, Any]) -> float:
    """Log of the derivative of b by the free variable `<name>_z` behind it, from the model's own values: b is a straight line in it."""
    total, here = 0.0, at(point)[1]
    for block in problem.coefficients:
        z = f"{block.name}_z"
        if z in point:
            there = at({**point, z: point[z] + 1.0})[1]
            total += float(np.sum(np.log(there[block.name] - here[block.name])))
    return total


def check_density(problem: Any, model: Any, rel: float = 1e-9) -> None:
    """At two points against SciPy row by row."""
    at, rng = compiled(problem, model), np.random.default_rng(11)
    for _ in range(2):
        point = random_point(problem, model, rng)
        found, values = at(point)
        p = {q.name: values[q.name] for q in problem.params}
        b = {c.name: np.atleast_1d(values[c.name]) for c in problem.coefficients}
        expected = densities.log_density(problem, p, b) + log_jacobian(problem, at, point)
        if model.observed_RVs and problem.link == "log":  # observed in its own unit: d log(y) / dy, except where only a limit is known
            flags = problem.response_rows.noise.censored
            measured = np.ones(len(problem.g), dtype=bool) if flags is None else (flags == 0)[problem.cell]
            expected -= problem.g[measured].sum()
        assert found == pytest.approx(expected, rel=rel)


@pytest.mark.parametrize("name", MODELS)
def test_log_density_is_the_declared_one(name: str, table: pd.DataFrame) -> None:
    problem = bind(table, **MODELS[name])
    check_density(problem, pymc_route.build(problem))


COLLAPSED = ["constant fixed", "function, log link", "solvent", "censored, tails, log link", "bent", "everything at once"]


@pytest.mark.parametrize("name", COLLAPSED)
def test_log_density_is_the_same_collapsed(name: str, table: pd.DataFrame) -> None:
    problem = bind(table, **MODELS[name])
    check_density(problem, pymc_route.build(problem, collapsed=True))


@pytest.mark.parametrize("name", ["impurity by route, limits", "process, tails"])
@pytest.mark.parametrize("threshold", [0.0, np.inf], ids=["centred", "non-centred"])
@pytest.mark.parametrize("collapsed", [False, True], ids=["readable", "collapsed"])
def test_centring_changes_no_density(
    name: str, threshold: float, collapsed: bool, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(centring, "CENTRED_FROM", threshold)
    problem = bind(table, **MODELS[name])
    model = pymc_route.build(problem, collapsed)
    assert any(rv.name.endswith("_z") for rv in model.free_RVs) == (collapsed or threshold > 0)
    check_density(problem, model)


def test_log_density_of_a_model_written_by_hand(table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, without any of realmat's own terms: a line, an effect of each sample, a bias of each lab, stated or shared noise."""
    monkeypatch.setattr(centring, "CENTRED_FROM", 0.0)
    half = rm.Prior("HalfNormal", sigma=0.8)
    line = rm.theory.Calibrated("t", intercept=rm.Prior("Normal", mu=0, sigma=5), slope=rm.Prior("Normal", mu=1, sigma=2))
    noise = rm.observation.Normal(u="u", scale=half, bias_by="lab", bias_scale=half)
    problem = bind(table, theory=line, material=U("specimen", scale=half), observation=noise)
    built = pymc_route.build(problem)
    rng = np.random.default_rng(3)
    samples, labs = list(dict.fromkeys(table["sample"])), list(dict.fromkeys(table["lab"]))
    effect, bias = rng.normal(size=len(samples)), rng.normal(size=3)
    a, c, scales = 0.7, 1.3, {"unresolved_specimen_scale": 0.6, "bias_lab_scale": 0.4, "noise_scale": 0.3}
    point = {"calibrated_intercept": a, "calibrated_slope": c, "unresolved_specimen": effect, "bias_lab": bias, **scales}
    mean = a + c * table["t"] + effect[[samples.index(s) for s in table["sample"]]] + bias[[labs.index(s) for s in table["lab"]]]
    stated = table["u"].notna()
    sd = np.where(stated, np.hypot(table["u"], 0.3), 0.9)
    point["noise_unstated_scale"] = 0.9
    truth = [
        stats.norm(0, 5).logpdf(a) + stats.norm(1, 2).logpdf(c),
        stats.halfnorm(scale=0.8).logpdf(list(scales.values())).sum(),
        stats.norm(0, 0.6).logpdf(effect).sum() + stats.norm(0, 0.4).logpdf(bias).sum(),
        stats.norm(mean, sd).logpdf(table["y"]).sum(),
    ]
    spread = table["y"] - np.polyval(np.polyfit(table["t"], table["y"], 1), table["t"])
    truth.append(stats.halfnorm(scale=spread.std(ddof=0)).logpdf(0.9))  # the default prior, of the size of what theory leaves
    assert compiled(problem, built)(point)[0] == pytest.approx(sum(truth), rel=1e-9)


PRIORS = {
    "normal": rm.Prior("Normal", mu=1, sigma=2),
    "half_normal": rm.Prior("HalfNormal", sigma=2),
    "half_normal_cut": rm.Prior("HalfNormal", sigma=2, lower=0.1, upper=1.5),
    "half_normal_above": rm.Prior("HalfNormal", sigma=2, upper=3),
    "student": rm.Prior("StudentT", nu=3, mu=1, sigma=2),
    "student_cut": rm.Prior("StudentT", nu=3, mu=1, sigma=2, upper=4),
    "half_student": rm.Prior("HalfStudentT", nu=3, sigma=2),
    "half_student_cut": rm.Prior("HalfStudentT", nu=3, sigma=2, lower=0.2),
    "half_cauchy": rm.Prior("HalfCauchy", beta=2),
    "half_cauchy_cut": rm.Prior("HalfCauchy", beta=2, upper=7),
    "cauchy": rm.Prior("Cauchy", alpha=1, beta=2),
    "laplace": rm.Prior("Laplace", mu=1, b=2),
    "laplace_cut": rm.Prior("Laplace", mu=1, b=2, lower=-1, upper=2),
    "exponential": rm.Prior("Exponential", lam=2),
    "gamma": rm.Prior("Gamma", alpha=2, beta=3),
    "gamma_cut": rm.Prior("Gamma", alpha=2, beta=0.1, lower=2),
    "inverse_gamma": rm.Prior("InverseGamma", alpha=2, beta=3),
    "inverse_gamma_cut": rm.Prior("InverseGamma", alpha=2, beta=3, upper=6),
    "log_normal": rm.Prior("LogNormal", mu=1, sigma=0.5),
    "log_normal_cut": rm.Prior("LogNormal", mu=1, sigma=0.5, lower=1, upper=9),
    "beta": rm.Prior("Beta", alpha=2, beta=3),
    "beta_cut": rm.Prior("Beta", alpha=2, beta=3, upper=0.7),
    "uniform": rm.Prior("Uniform", lower=-1, upper=3),
    "refers": rm.Prior("Normal", mu="zoo_normal", sigma="zoo_half_normal"),
    "refers_cut": rm.Prior("Normal", mu="zoo_normal", sigma="zoo_half_normal", lower=-2, upper=2),
}


@dataclass(frozen=True)
class Zoo(Component):
    """One hyperparameter for each prior, those that refer to others first; `more` are vectors."""

    layer: ClassVar[str] = "material"
    priors: Any = ()

    def bind(self, table: Any, scale: Any) -> Term:
        params = [Param(f"zoo_{name}", prior) for name, prior in reversed(self.priors)]
        params.append(Param("zoo_vector", rm.Prior("Gamma", alpha=2, beta=3, lower=0.1), dim="side", coords=["left", "right"]))
        return Term("zoo", "material", tuple(params))


def test_every_prior_plain_truncated_or_referring(table: pd.DataFrame) -> None:
    problem = bind(table, theory=rm.theory.Constant(1.0), material=Zoo(priors=tuple(PRIORS.items())))
    model = pymc_route.build(problem)
    check_density(problem, model, rel=1e-8)  # PyTensor's incomplete beta function is good to nine digits
    assert {name for name in PRIORS if "cut" in name or "above" in name} == {
        rv.name.removeprefix("zoo_") for rv in model.free_RVs if "Truncated" in type(rv.owner.op).__name__ and rv.name != "zoo_vector"
    }


def test_a_prior_that_refers_to_nothing_is_named(table: pd.DataFrame) -> None:
    with pytest.raises(rm.ModelError, match="'zoo_lost' refers to nowhere"):
        pymc_route.build(bind(table, material=Zoo(priors=(("lost", rm.Prior("Normal", mu="nowhere")),))))


def test_names_dims_and_coords(table: pd.DataFrame) -> None:
    parts = MODELS["everything at once"]
    model = rm.Model("y", levels=LEVELS, **parts).to_pymc(table)
    dims = {name: list(dims) for name, dims in model.named_vars_to_dims.items()}
    assert dims["y"] == ["row"]
    assert dims["unresolved_specimen"] == ["specimen"]
    assert dims["corrections"] == ["column"]
    assert dims["bias_lab"] == ["lab"]
    assert list(model.coords["specimen"]) == list(dict.fromkeys(table["sample"]))
    assert list(model.coords["column"]) == ["x1", "x2"]
    assert list(model.coords["row"]) == list(table.index)
    components = {c.label for c in rm.Model("y", levels=LEVELS, **parts).components}
    assert {name for name in model.named_vars if name.endswith("_contribution")} == {f"{c}_contribution" for c in components}
    assert "calibrated_intercept" not in dims  # a scalar
    problem = bind(table, **parts)
    assert {q.name for q in problem.params} | {c.name for c in problem.coefficients} <= set(model.named_vars)
    observed = model.rvs_to_values[model["y"]].data
    np.testing.assert_array_equal(observed, table["y"])


def test_a_log_link_observes_the_response_in_its_own_unit(table: pd.DataFrame) -> None:
    model = rm.Model("y", link="log", observation=rm.observation.StudentT()).to_pymc(table)
    np.testing.assert_array_equal(model.rvs_to_values[model["y"]].data, table["y"])


def test_contributions_are_what_each_component_adds(table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(centring, "CENTRED_FROM", np.inf)
    model = rm.Model("y", levels=LEVELS, theory=rm.theory.Calibrated("t"), material=U("specimen")).to_pymc(table)
    samples = list(dict.fromkeys(table["sample"]))
    given = {"calibrated_intercept": 0.5, "calibrated_slope": 2.0, "unresolved_specimen_scale": 3.0}
    given["unresolved_specimen_z"] = np.arange(len(samples)) / 10.0  # type: ignore[assignment]
    inputs = {model[name]: value for name, value in given.items()}
    names = ("calibrated_contribution", "unresolved_specimen_contribution")
    line, effect = (model[name].eval(inputs, on_unused_input="ignore", mode="FAST_COMPILE") for name in names)
    np.testing.assert_allclose(line, 0.5 + 2.0 * table["t"])
    np.testing.assert_allclose(effect, [3.0 * samples.index(s) / 10 for s in table["sample"]])


def test_two_components_may_use_one_dimension_name_for_different_things(table: pd.DataFrame) -> None:
    """The second gets a longer name; so does a dimension that is called like a variable."""
    double = Zoo(priors=()), Bent()
    model = pymc_route.build(bind(table, material=[*double, U("formula", name="formula")]))
    dims = model.named_vars_to_dims
    assert list(model.coords[dims["zoo_vector"][0]]) == ["left", "right"]
    assert dims["formula"] == ("formula_formula",)


def test_a_function_that_has_no_translation_says_so(table: pd.DataFrame) -> None:
    def capped(t: Any, top: Any) -> Any:
        return np.maximum(t, top)

    def powered(t: Any, top: Any) -> Any:
        return np.power(t, top)

    for fn, said in [(capped, "keep to arithmetic"), (powered, r"a\*\*b")]:
        theory = rm.theory.Function(fn, columns=["t"], params={"top": rm.Prior("HalfNormal", sigma=1)})
        with pytest.raises(rm.ModelError, match=f"function: .*{said}"):
            rm.Model("y", theory=theory).to_pymc(table)
