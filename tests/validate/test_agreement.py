"""The exact engine and NUTS draw from the same posterior: two programs that share a declaration and no algorithm.

Each of five small models and a table of which a third is censored is sampled by both; FreeSolv with heavy tails, where NUTS on all
unknowns does not converge, is in `test_agreement_freesolv`. Compared are means, variances and correlations, each as the mean of a
function f of the unknowns over draws: f = x, x^2 and x x' in pooled standard units, x on a logarithmic or logit scale where the prior is
bounded. The bound is |difference| / hypot(standard errors) < 4.5 (7e-6 two-sided for each comparison, under 1 % for the 1400 or so made
here).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Any

import arviz as az
import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.engines import exact, nuts
from realmat.posterior.draws import Draws
from realmat.terms.problem import Problem

BOUND = 4.5
MOST_DIVERGING = 40  # 1 % of the draws
pytestmark = pytest.mark.validate  # six models to compile and sample
U = rm.material.Unresolved


def layout(materials: int, specimens: int, rows: int, seed: int) -> tuple[np.random.Generator, pd.DataFrame, np.ndarray]:
    """Rows of specimens of materials, measured in three labs."""
    rng = np.random.default_rng(seed)
    specimen = np.arange(rows) % (materials * specimens)
    df = pd.DataFrame({"formula": [f"M{s % materials}" for s in specimen], "sample": [f"S{s:02d}" for s in specimen]})
    df["lab"] = rng.choice(["a", "b", "c"], rows)
    df["route"] = np.where(specimen % 2 == 0, "cast", "forged")
    return rng, df, specimen


LEVELS = {"material": "formula", "specimen": "sample", "lab": "lab"}


def activated(kelvin: Any, rate: Any, energy: Any) -> Any:
    return rate * np.exp(-energy / (0.008314 * kelvin))


def laboratories() -> tuple[rm.Model, pd.DataFrame]:
    """Closed-form theory, pores, materials and specimens of two spreads, labs, stated and unstated u, replicates, a log link."""
    rng, df, s = layout(5, 4, 100, 1)
    df["kelvin"] = np.array([400.0, 600.0, 800.0, 1000.0])[s % 4]
    pores = rng.uniform(0.02, 0.2, 20)[s]
    df["pores"] = np.where(s % 3 == 0, np.nan, pores + rng.normal(0, 0.005, 100)).clip(0.001)
    effect = rng.normal(0, 0.2, 5)[s % 5] + rng.normal(0, np.array([0.1, 0.3])[s % 2], 100)[s]
    df["y"] = np.exp(np.log(activated(df.kelvin, 30, 5)) - 4 * pores + effect + rng.normal(0, 0.1, 100))
    df["u"] = np.where(np.arange(100) % 3 == 0, np.nan, 0.05 * df.y)
    params = {"rate": rm.Prior("LogNormal", mu=3, sigma=1), "energy": rm.Prior("Gamma", alpha=4, beta=1)}
    return rm.Model(
        "y",
        link="log",
        levels=LEVELS,
        theory=rm.theory.Function(activated, columns=["kelvin"], params=params),
        material=[rm.material.Porosity("pores", u=0.005), U("material"), U("specimen", scale_by="route")],
        observation=rm.observation.Normal(u="u", bias_by="lab"),
    ), df


def states() -> tuple[rm.Model, pd.DataFrame]:
    """Latent states: theory with u, an impurity by route, grains, a phase fraction, most of them not characterised."""
    rng, df, s = layout(6, 5, 90, 2)
    theory = rng.normal(5, 1, 6)
    df["t"] = (theory + rng.normal(0, 0.1, 6))[s % 6]
    oxygen = rng.normal(np.array([4.0, 5.0])[np.arange(30) % 2], 0.4)
    grain = rng.lognormal(2, 0.3, 30)
    df["oxygen"] = np.where(rng.random(90) < 0.5, np.exp(oxygen[s] + rng.normal(0, 0.1, 90)), np.nan)
    df["oxygen_u"] = 0.1 * df.oxygen
    df["grain"] = np.where(s % 2 == 0, grain[s] + rng.normal(0, 0.3, 90), np.nan)
    df["grain_u"] = np.where(np.arange(90) % 4 == 0, np.nan, 0.3)
    fraction = rng.uniform(0.1, 0.5, 30)
    df["phase"] = np.where(s % 3 > 0, fraction[s], np.nan)
    df["y"] = 1 + theory[s % 6] + 0.8 * oxygen[s] + 6 * grain[s] ** -0.5 + 3 * fraction[s] + rng.normal(0, 0.3, 90)
    return rm.Model(
        "y",
        levels=LEVELS,
        theory=rm.theory.Calibrated("t", u=0.1),
        material=[
            rm.material.Impurity("oxygen", u="oxygen_u", by="route", log=True),
            rm.material.GrainSize("grain", u="grain_u"),
            rm.material.PhaseFraction("phase", matrix=1.0, phase=4.0, mixing=1.0),
        ],
    ), df


def pools() -> tuple[rm.Model, pd.DataFrame]:
    """Pooled coefficients, a smooth function, solvents explained by polarity, impurities pooled over elements, a routing."""
    rng, df, s = layout(8, 3, 96, 3)
    for i in range(4):
        df[f"x{i}"] = rng.random(96).round(3)
        df[f"g{i}"] = rng.integers(0, 3, 96)
    df["vec"] = rng.uniform(4, 9, 8)[s % 8].round(2)
    df["solvent"] = np.array(["water", "octanol", "hexane", "dmso", "thf", "toluene"])[np.arange(96) % 6]
    df["eps"] = np.array([78.4, 10.3, 1.9, np.nan, 7.5, np.nan])[np.arange(96) % 6]
    df["O_wppm"], df["N_wppm"] = rng.lognormal(4, 0.4, 96).round(1), rng.lognormal(3, 0.4, 96).round(1)
    df["aging"] = rng.normal(0, 1, 96).round(2)
    polarity = np.array([0.98, 0.86, 0.37, 0.95, 0.81, 0.46])[np.arange(96) % 6]
    df["y"] = (
        2
        + df[[f"x{i}" for i in range(4)]] @ [1.0, -0.5, 0.3, 0.8]
        + df[[f"g{i}" for i in range(4)]] @ [0.5, 0.2, -0.4, 0.1]
        + np.sin(df.vec)
        + 1.5 * polarity
        + 0.01 * df.O_wppm
        + 0.4 * (df.route == "cast")
        - 0.3 * df.aging
        + rng.normal(0, 0.3, 96)
    )
    return rm.Model(
        "y",
        levels=LEVELS,
        theory=[rm.theory.Constant(), rm.theory.Corrections([f"x{i}" for i in range(4)])],
        material=[
            rm.material.Solvation([f"g{i}" for i in range(4)]),
            rm.material.Solvent("solvent", explained_by="eps", form="onsager"),
            rm.material.Discrepancy(on="vec"),
            rm.material.Impurities(["O_wppm", "N_wppm"]),
            rm.material.Process("route", scale=1.0),  # two categories do not tell their spread, and NUTS gets lost in it
            rm.material.Effect("aging"),
        ],
    ), df


def tails() -> tuple[rm.Model, pd.DataFrame]:
    """Student t noise with stated u, Student t specimens."""
    rng, df, s = layout(5, 6, 90, 4)
    df["t"] = rng.normal(3, 1, 90).round(2)
    df["u"] = 0.2
    df["y"] = 1 + df.t + 0.5 * rng.standard_t(4, 30)[s] + 0.3 * rng.standard_t(4, 90)
    return rm.Model(
        "y",
        levels=LEVELS,
        theory=rm.theory.Calibrated("t"),
        material=U("specimen", nu=True),
        observation=rm.observation.StudentT(u="u"),
    ), df


def limits() -> tuple[rm.Model, pd.DataFrame]:
    """A third of the responses censored, an impurity with a detection limit."""
    rng, df, s = layout(5, 4, 80, 5)
    oxygen = rng.normal(4, 0.6, 20)
    df["oxygen"] = np.where(rng.random(80) < 0.6, np.exp(oxygen[s] + rng.normal(0, 0.1, 80)), np.nan)
    df["oxygen_u"] = 0.1 * df.oxygen.fillna(30.0)
    df["lod"] = 40.0
    y = 1 + 0.7 * oxygen[s] + rng.normal(0, 0.3, 5)[s % 5] + rng.normal(0, 0.3, 80)
    threshold = np.quantile(y, 1 / 3)
    df["y"], df["low"] = np.maximum(y, threshold), (y < threshold).astype(int)
    return rm.Model(
        "y",
        levels=LEVELS,
        theory=rm.theory.Constant(),
        material=[rm.material.Impurity("oxygen", u="oxygen_u", below="lod", log=True), U("material")],
        observation=rm.observation.Normal(below="low"),
    ), df


def third_censored() -> tuple[rm.Model, pd.DataFrame]:
    """500 responses of 125 specimens, a third of them known only to lie below a limit."""
    rng = np.random.default_rng(3)
    s = np.repeat(np.arange(125), 4)
    df = pd.DataFrame({"x": rng.normal(size=500), "sample": s})
    y = 1 + 0.8 * df.x + rng.normal(0, 0.6, 125)[s] + rng.normal(0, 0.4, 500)
    limit = np.quantile(y, 1 / 3)
    df["y"], df["low"] = np.maximum(y, limit), (y < limit).astype(int)
    return rm.Model(
        "y",
        levels={"specimen": "sample"},
        theory=rm.theory.Calibrated("x"),
        material=U("specimen"),
        observation=rm.observation.Normal(below="low"),
    ), df


MODELS: tuple[Callable[[], tuple[rm.Model, pd.DataFrame]], ...] = (laboratories, states, pools, tails, limits, third_censored)


@pytest.fixture(scope="session", params=MODELS, ids=lambda make: make.__name__)
def both(request: pytest.FixtureRequest) -> tuple[Problem, Draws, Draws]:
    model, df = request.param()
    problem = model.bind(df)
    found = exact.sample(problem, draws=1500, chains=4, seed=1, progress=False)
    for seed in (2, 3, 4):  # now and then a chain of NUTS is lost, and says so; what it says of the posterior is not looked at here
        sampled = nuts.sample(problem, draws=1000, chains=4, seed=seed, progress=False)
        of = unknowns(problem, sampled)
        if diverging(sampled) <= MOST_DIVERGING and len(lost(of)) <= len(of) / 5:  # what the test asks of it
            break
    return problem, found, sampled


def unknowns(problem: Problem, draws: Draws) -> dict[str, np.ndarray]:
    """Every hyperparameter, unbounded, and the first coefficients of each block: name to (chain, draw)."""
    out: dict[str, np.ndarray] = {}
    for q in problem.params:
        values = draws.params[q.name]
        low, high = q.prior.support
        free = values if np.isinf(low) else np.log(values - low)
        free = free if np.isinf(high) else free - np.log(high - values)
        out |= {q.name: free} if q.coords is None else {f"{q.name}[{i}]": free[..., i] for i in range(q.size)}
    for block in problem.coefficients:
        out |= {f"{block.name}[{i}]": draws.coefficients[block.name][..., i] for i in range(min(block.size, 4))}
    return out


def functions(one: Mapping[str, np.ndarray], two: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """What is compared: name, and its draws by both engines."""
    units = {name: (np.concatenate([one[name].ravel(), two[name].ravel()])) for name in one}
    a, b = ({name: (x[name] - units[name].mean()) / units[name].std() for name in x} for x in (one, two))
    for name in a:
        yield f"mean of {name}", a[name], b[name]
        yield f"variance of {name}", a[name] ** 2, b[name] ** 2
    for first, second in combinations(list(a)[:16], 2):
        yield f"correlation of {first} and {second}", a[first] * a[second], b[first] * b[second]


def diverging(draws: Draws) -> int:
    """Divergent transitions of all chains."""
    return int(draws.stats["diverging"].sum())


def lost(draws: Mapping[str, np.ndarray]) -> list[str]:
    """Unknowns on which chains disagree: scales near zero, where NUTS crawls."""
    return [name for name, x in draws.items() if float(az.rhat(x)) > 1.02]


def standardised(one: Mapping[str, np.ndarray], two: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Differences of all functions in units of their Monte Carlo error, by name."""
    return {what: float((a.mean() - b.mean()) / np.hypot(float(az.mcse(a)), float(az.mcse(b)))) for what, a, b in functions(one, two)}


def compared(problem: Problem, found: Draws, sampled: Draws) -> tuple[dict[str, float], list[str]]:
    """Differences as `standardised` has them, and the unknowns left out, as NUTS lost its way among them: a fifth at most."""
    assert diverging(sampled) <= MOST_DIVERGING
    one, two = unknowns(problem, found), unknowns(problem, sampled)
    left_out = lost(two)
    assert len(left_out) <= len(two) / 5, left_out
    one, two = ({name: x for name, x in each.items() if name not in left_out} for each in (one, two))
    return standardised(one, two), left_out


def beyond(z: Mapping[str, float]) -> list[str]:
    """Differences beyond the bound."""
    return [f"{what}: {value:+.1f}" for what, value in z.items() if abs(value) > BOUND]


def test_the_engines_agree(both: tuple[Problem, Draws, Draws]) -> None:
    problem, found, sampled = both
    z, _ = compared(problem, found, sampled)
    assert not lost(unknowns(problem, found))
    assert not beyond(z)
