"""States that depend on other states: against the dense oracle, Gaussian conditioning, PyMC, and a simulation whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import realmat as rm
from realmat.algebra import System, dense
from realmat.algebra.example import example_values

P = rm.Prior


def pieces(n: int = 40, seed: int = 1) -> pd.DataFrame:
    """Strength from grain size and oxygen, oxygen from grain size (on the scale d^-1/2): two rows of each piece, gaps, and u."""
    rng = np.random.default_rng(seed)
    fine = rng.normal(0.3, 0.06, n)
    oxygen = 120 + 300 * (fine - 0.3) + rng.normal(0, 8, n)
    grain = fine**-2 * np.exp(rng.normal(0, 0.1, n))
    df = pd.DataFrame({"piece": [f"p{i}" for i in range(n)], "anneal": rng.normal(size=n)})
    df["grain_um"], df["grain_u"] = np.where(rng.random(n) < 0.7, grain, np.nan), 0.1 * grain
    df["O"] = np.where(rng.random(n) < 0.6, oxygen + rng.normal(0, 3, n), np.nan)
    df = df.loc[df.index.repeat(2)].reset_index(drop=True)
    noise, which = rng.normal(0, 4, 2 * n), np.arange(2 * n) // 2
    return df.assign(strength=100 + 500 * fine[which] + 1.5 * oxygen[which] + noise)


def model(grain: Any = None, oxygen: Any = None, **changes: Any) -> rm.Model:
    material = [
        rm.material.Impurity("O", **{"u": 3.0, "given": ["grain_um"], **(oxygen or {})}),
        rm.material.GrainSize("grain_um", **{"u": "grain_u", **(grain or {})}),
    ]
    return rm.Model("strength", **{"levels": {"specimen": "piece"}, "theory": rm.theory.Constant(), "material": material, **changes})


FIXED = {"slope": 1.5}
KNOWN: dict[str, dict[str, Any]] = {
    "both inferred": {},
    "some known": {"grain": {"u": None}},
    "all partly known": {"grain": {"u": None}, "oxygen": {"u": None}},
    "with columns and groups": {"oxygen": {"given": ["anneal", "grain_um"], "by": "route"}, "grain": {"given": ["anneal"]}},
}


@pytest.mark.parametrize("case", KNOWN)
def test_the_marginal_density_is_that_of_the_dense_covariance(case: str) -> None:
    df = pieces(12).assign(route=lambda d: np.where(d.index % 4 < 2, "a", "b"))
    problem = model(**KNOWN[case]).bind(df)
    psi = example_values(problem.params) | {"impurity_O_given_grain_um": 260.0, "grain_size_grain_um_slope": 500.0, "impurity_O_slope": 1.5}
    assert "impurity_O_given_grain_um" in {q.name for q in problem.params}
    assert System(problem).at(psi).log_marginal == pytest.approx(dense.log_marginal(problem, psi), abs=1e-6)


def test_a_known_truth_is_found() -> None:
    fit = model().fit(pieces(150, seed=3), seed=1, progress=False)
    post = fit.tree["posterior"]
    for name, truth in {
        "impurity_O_given_grain_um": 300,
        "grain_size_grain_um_slope": 500,
        "impurity_O_slope": 1.5,
        "impurity_O_sd": 8,
    }.items():
        assert abs(float(post[name].mean()) - truth) < 3 * float(post[name].std()), name
    assert float(post["impurity_O_given_grain_um"].std()) < 60


@pytest.mark.parametrize("case", ["both inferred", "some known", "with columns and groups"])
def test_new_pieces_are_predicted_as_if_their_readings_had_been_in_the_fit(case: str) -> None:
    """Readings of a new piece, of either state, of both or of none: as exact conditioning of a longer table gives them."""
    df = pieces().assign(route=lambda d: np.where(d.index % 4 < 2, "a", "b"))
    fit = model(**KNOWN[case]).fit(df, draws=150, chains=2, seed=1, progress=False)
    new = pd.DataFrame({"piece": list("wxyz"), "anneal": [0.3, -1.0, 0.0, 1.0], "route": ["a", "b", "a", "b"]})
    new["grain_um"], new["grain_u"] = [8.0, np.nan, 8.0, np.nan], [0.8, np.nan, 0.8, np.nan]
    new["O"] = [np.nan, 150.0, 150.0, np.nan]
    at_once = fit.predict(new)
    told = fit.update(new.assign(strength=np.nan))
    as_seen = told.predict(new)
    error = 4 * as_seen["mean_sd"] / np.sqrt(300)  # of states drawn anew, 300 times
    assert (np.abs(at_once["mean"] - as_seen["mean"]) < error).all()
    np.testing.assert_allclose(at_once["mean_sd"], as_seen["mean_sd"], rtol=4 / np.sqrt(2 * 300))
    drawn = fit.predict(new, draws=3000, seed=2)["draws"].values
    np.testing.assert_allclose(drawn.std(axis=0), at_once["sd"], rtol=0.08)


def test_what_a_new_grain_size_does_to_both_states_is_one_draw() -> None:
    """All fixed but the states: the variance of a new piece is that of (slope_w + slope_z beta) w + slope_z delta."""
    df = pieces(60)
    fit = model().fit(df, draws=200, chains=2, seed=1, progress=False)
    post = fit.tree["posterior"]
    new = pd.DataFrame({"piece": ["w"]})
    p = {n: post[n].values.ravel() for n in ("grain_size_grain_um_slope", "impurity_O_slope", "impurity_O_given_grain_um")}
    w, z = post["grain_size_grain_um_sd"].values.ravel(), post["impurity_O_sd"].values.ravel()
    slope, own, beta = p.values()
    budget = fit.budget(data=new, new="specimen").table
    fresh = budget[budget["kind"] == "aleatoric"].set_index("component")["u"]
    assert fresh["grain_size_grain_um"] == pytest.approx(np.sqrt(np.mean((slope + own * beta) ** 2 * w**2)), rel=0.02)
    assert fresh["impurity_O"] == pytest.approx(np.sqrt(np.mean(own**2 * z**2)), rel=0.02)
    assert (fit.budget(new="specimen").table["u"] >= 0).all()
    assert fit.budget(new="specimen", average={"specimen": 4}).u < fit.budget(new="specimen").u
    assert (fit.advise(["characterise", "specimen"]).table["per_cost"] >= 0).all()


def test_the_pymc_model_is_the_same() -> None:
    """At one psi, log densities of states and effects differ as the Gaussian that the exact engine draws from says."""
    import pytensor

    df = pieces(6)
    made = model()
    problem = made.bind(df)
    system, rng = System(problem), np.random.default_rng(1)
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        pymc = made.to_pymc(df)
        names = [q.name for q in problem.params] + [c.name for c in problem.coefficients]
        run = pymc.compile_fn([pymc.logp(jacobian=False), *pymc.replace_rvs_by_values([pymc[n] for n in names])])
    point = pymc.initial_point()
    wide = {c.name for c in problem.coefficients} | {f"{c.name}_z" for c in problem.coefficients}
    theirs, ours = [], []
    for _ in range(3):
        moved = {n: v + rng.normal(size=np.shape(v)) if n in wide else v for n, v in point.items()}
        log, *found = run(moved)
        values = dict(zip(names, found, strict=True))
        at = system.at({q.name: values[q.name] for q in problem.params})
        b = np.concatenate([np.atleast_1d(values[c.name]) for c in problem.coefficients])
        eye = sparse.identity(system.size, format="csr")
        away = b - at.mean
        ours.append(-0.5 * float(away @ np.linalg.solve(at.cov(eye, eye), away)))
        theirs.append(float(log))
    np.testing.assert_allclose(np.diff(theirs), np.diff(ours), rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"O": ["grain_um"], "grain_um": ["O"]}, "in a circle: .*is given O.*Leave one"),
        ({"O": ["O"], "grain_um": []}, "in a circle: impurity_O is given O"),
    ],
)
def test_circles_are_refused_where_they_are_written(given: dict[str, list[str]], said: str) -> None:
    with pytest.raises(rm.ModelError, match=said):
        model(grain={"given": given["grain_um"]}, oxygen={"given": given["O"]})


def test_states_depend_on_linear_states_of_their_level() -> None:
    df = pieces(8)
    with pytest.raises(rm.ModelError, match=r"works where states act linearly; grain_size_grain_um does not.*exponent="):
        model(grain={"exponent": P("Normal", mu=-0.5, sigma=0.1)}).bind(df)
    single = [rm.material.Effect("O", u=3.0, level="row", given=["grain_um"]), rm.material.GrainSize("grain_um", u="grain_u")]
    with pytest.raises(rm.ModelError, match="grain_um' is a state of each specimen, and 'O' one of each row"):
        model(material=single).bind(df)
    with pytest.raises(rm.DataError, match=r"empty value given for impurity content in rows .* its latent state may have gaps"):
        model(material=model().material[:1]).bind(df)
    with pytest.raises(rm.ModelError, match="names a state of grain_size_grain_um and effect_grain_um"):
        model(material=[*model().material, rm.material.Effect("grain_um")])


def test_a_column_known_everywhere_counts_on_the_same_scale() -> None:
    df = pieces(150, seed=3)
    df["grain_um"] = df.groupby("piece")["grain_u"].transform("first") * 10
    known = model(grain={"u": None}).fit(df, seed=1, progress=False).tree["posterior"]
    assert float(known["impurity_O_given"].mean()) == pytest.approx(300, abs=3 * float(known["impurity_O_given"].std()))


def test_properties_share_a_state_and_what_it_depends_on() -> None:
    df = pieces(30).assign(hardness=lambda d: 10 + 0.1 * d.strength)
    joint = rm.Joint([model(), rm.Model("hardness", levels={"specimen": "piece"}, theory=rm.theory.Constant(), material=model().material)])
    problem = joint.bind(df)
    psi = example_values(problem.params)
    assert [n for n in psi if "given" in n] == ["impurity_O_given_grain_um"]
    assert System(problem).at(psi).log_marginal == pytest.approx(dense.log_marginal(problem, psi), abs=1e-5)
