"""Slopes that differ from piece to piece: against the dense oracle, restricted maximum likelihood, and what a new value may do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.algebra import System, dense
from realmat.algebra.example import example_values
from realmat.testing import check_component

CASES = Path(__file__).parent / "cases"


def sheet(seed: int = 3, groups: int = 6, each: int = 5, centre: float = 3.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(groups), each)
    x = centre + rng.uniform(-2, 2, code.size)
    y = 2 + rng.normal(1.5, 0.7, groups)[code] * x + rng.normal(0, 0.2, code.size)
    return pd.DataFrame({"y": y, "x": x, "alloy": [f"a{c}" for c in code]})


def model(**changes: Any) -> rm.Model:
    effect = rm.material.Effect("x", **{"slope_by": "material", "level": "row", **changes})
    return rm.Model("y", levels={"material": "alloy"}, theory=rm.theory.Constant(), material=effect)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"slope": 1.5},
        {"slope": rm.Prior("Laplace", mu=0.0, b=2.0), "slope_scale": 0.4},
        {"u": 0.2},
        {"u": 0.2, "slope": 1.0, "slope_scale": rm.Prior("Exponential", lam=1.0)},
    ],
)
def test_the_marginal_density_is_that_of_the_dense_covariance(changes: dict[str, Any]) -> None:
    problem = model(**changes).bind(sheet())
    psi = example_values(problem.params)
    assert System(problem).at(psi).log_marginal == pytest.approx(dense.log_marginal(problem, psi), abs=1e-6)
    names = {q.name for q in problem.params} | {c.name for c in problem.coefficients}
    assert "effect_x_slope" in names
    assert ("effect_x_slope_scale" in names) == (not isinstance(changes.get("slope_scale"), float))


def test_the_component_keeps_its_promises() -> None:
    assert not check_component(rm.material.GrainSize("x", slope_by="material"), recovery=False).failed


@pytest.mark.parametrize(
    "component",
    [
        rm.material.Impurity("x", slope_by="material", log=True),
        rm.material.Solvent("alloy", explained_by="x", slope_by="route", u=0.1),
        rm.material.GrainSize("x", slope_by="route", exponent=rm.Prior("Normal", mu=-0.5, sigma=0.1)),
    ],
)
def test_every_effect_takes_slopes(component: Any) -> None:
    df = sheet()
    df["x"] = df.groupby("alloy")["x"].transform("first")
    df["route"] = np.where(np.arange(len(df)) % 3, "cast", "forged")
    model = rm.Model("y", levels={"material": "alloy"}, theory=rm.theory.Constant(), material=component)
    assert model == rm.Model.from_dict(model.to_dict())
    problem = model.bind(df)
    psi = example_values(problem.params)
    assert System(problem).at(psi).log_marginal == pytest.approx(dense.log_marginal(problem, psi), abs=1e-6)
    term = problem.term(component.label)
    made = term.contribute(model.prediction_table(df.assign(route="new", alloy="new")))
    assert any((fresh.groups >= 0).all() for fresh in made.fresh)


def new_laser(df: pd.DataFrame) -> tuple[float, float]:
    """Root mean square of the posterior sd of rates, and u of their mean, by quadrature over the sd of rates at the noise known to 5 %.

    The rate of a laser by least squares, b, is normal about the mean with variance tau^2 + noise^2 / sum(kh^2), the same for all.
    """
    information = float((df.loc[df["unit"] == "d1", "kh"] ** 2).sum())
    rates = df.groupby("unit")[["kh", "increase"]].apply(lambda d: (d["kh"] * d["increase"]).sum() / (d["kh"] ** 2).sum()).to_numpy()
    tau = np.linspace(0.05, 3.0, 3000)
    variance = tau**2 + 0.205**2 / information
    log = -7 * np.log(variance) - ((rates - rates.mean()) ** 2).sum() / (2 * variance) - tau**2 / 8
    best = tau[np.argmax(-7 * np.log(variance) - ((rates - rates.mean()) ** 2).sum() / (2 * variance))]
    assert best == pytest.approx(0.462, abs=0.002)  # the published answer
    w = np.exp(log - log.max())
    w /= w.sum()
    return float(np.sqrt(w @ tau**2)), float(np.sqrt(w @ variance / 15))


def test_lasers_degrade_each_at_its_own_rate() -> None:
    """Meeker & Escobar (1998), table C.17: restricted maximum likelihood gives rate 2.047, sd of rates 0.462, noise 0.205.

    With those as if they were known, the increase of a new laser at 4 kh has sd 1.86, or 1.92 with the u of the mean rate. The
    posterior says 2.16, as it must: its mean variance of rates, told by 15 lasers, lies a quarter above the most likely one. Quadrature
    with the same priors says how much.
    """
    df = pd.read_csv(CASES / "laser_degradation.csv")
    priors = {"slope": rm.Prior("Normal", mu=0.0, sigma=10.0), "slope_scale": rm.Prior("HalfNormal", sigma=2.0)}
    rates = rm.material.Effect("kh", slope_by="specimen", level="row", **priors)
    fit = rm.Model("increase", levels={"specimen": "unit"}, theory=rm.theory.Constant(0.0), material=rates).fit(df, seed=1, progress=False)
    post = fit.tree["posterior"]
    assert float(post["effect_kh_slope_mean"].mean()) == pytest.approx(2.047, abs=0.03)
    assert float(post["effect_kh_slope_scale"].median()) == pytest.approx(0.462, abs=0.05)  # 15 lasers tell it to 0.09
    assert float(post["noise_scale"].mean()) == pytest.approx(0.205, abs=0.01)
    assert post["effect_kh_slope"].sizes["specimen"] == 15
    out = fit.predict(pd.DataFrame({"unit": ["d1", "new", "new"], "kh": [4.0, 4.0, 2.0]}), draws=4000, seed=1)
    spread, u = new_laser(df)
    assert out["sd"].values[1] == pytest.approx(np.sqrt(16 * (spread**2 + u**2) + 0.205**2), rel=0.04)
    assert out["sd"].values[0] < 0.3
    drawn = out["draws"].values
    assert np.corrcoef(drawn[:, 1], drawn[:, 2])[0, 1] > 0.9  # the same new laser
    table = fit.budget(new="specimen", data=pd.DataFrame({"unit": ["new"], "kh": [4.0]})).table
    part = table[(table.component == "effect_kh") & (table.kind == "aleatoric")]
    assert float(part["u"].iloc[0]) == pytest.approx(4 * spread, rel=0.04)
    assert fit.advise(["specimen", "repeat"]).table["share"].max() > 0


def test_a_new_slope_carries_the_sign_of_its_column() -> None:
    fit = model().fit(sheet(centre=0.0), seed=1, draws=200, progress=False)
    out = fit.predict(pd.DataFrame({"alloy": ["new", "new"], "x": [2.0, -2.0]}), draws=2000, seed=1)
    assert np.corrcoef(out["draws"].values.T)[0, 1] < -0.8


def test_slopes_of_a_latent_state() -> None:
    rng = np.random.default_rng(1)
    code = np.repeat(np.arange(4), 12)
    z = rng.normal(3, 1, code.size)
    slopes = np.array([0.5, 1.0, 2.0, 2.5])
    df = pd.DataFrame(
        {
            "y": slopes[code] * z + rng.normal(0, 0.1, code.size),
            "x": np.where(rng.random(code.size) < 0.3, np.nan, z + rng.normal(0, 0.1, code.size)),
            "alloy": [f"a{c}" for c in code],
        }
    )
    fit = model(u=0.1).fit(df, seed=1, progress=False)
    assert any("explored as hyperparameters" in note for term in fit.problem.terms for note in term.notes)
    found = fit.tree["posterior"]["effect_x_slope"]
    assert np.all(np.abs(found.mean(("chain", "draw")).values - slopes) < 4 * found.std(("chain", "draw")).values)
    out = fit.predict(pd.DataFrame({"alloy": ["a3", "new"], "x": [3.0, 3.0]}))
    assert out["sd"].values[0] < 0.6
    assert out["sd"].values[1] == pytest.approx(3 * float(fit.tree["posterior"]["effect_x_slope_scale"].mean()), rel=0.5)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(rm.ModelError, match="slope_scale= is the spread of the slopes, so it needs slope_by="):
        rm.material.Effect("x", slope_scale=1.0)
    with pytest.raises(rm.ModelError, match="slope_by=3 must be a name"):
        rm.material.Effect("x", slope_by=3)  # type: ignore[arg-type]
    with pytest.raises(rm.ModelError, match="positive"):
        rm.material.Effect("x", slope_by="material", slope_scale=rm.Prior("Normal", mu=0, sigma=1))
