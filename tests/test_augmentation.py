"""Student t and censored parts on the exact engine: joint-distribution tests; the grids of local effects against quadrature.

Joint-distribution tests (Geweke, J. Am. Stat. Assoc. 99, 799, 2004) with independent starts (Gandy & Scott, arXiv:2001.06465): draw psi
and b from the prior, then alternate new data given them with an iteration of the sampler. If every step is right, psi and b have the same
distribution after as before; what is wrong adds up. Differences of many starts are independent, so that their standard error is known.
Bounds are 4.5 of it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import realmat as rm
from realmat.algebra import System, local_effects
from realmat.engines.exact import augment
from realmat.engines.exact.space import Density
from realmat.posterior.prior_draws import draw

BOUND = 4.5
LIMIT = 0.0  # of the data drawn anew
HALF = rm.Prior("LogNormal", mu=-0.5, sigma=0.5)
TAIL = rm.Prior("Gamma", alpha=4.0, beta=0.5, lower=2.0)
WIDE = {"intercept": rm.Prior("Normal", mu=0, sigma=1), "slope": rm.Prior("Normal", mu=0, sigma=1)}


def table(counts: tuple[int, ...], below: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Specimens measured `counts` times each; a share `below` is censored, the limit being the value."""
    rng = np.random.default_rng(seed)
    s = np.repeat(np.arange(len(counts)), counts)
    df = pd.DataFrame({"s": s, "x": rng.normal(size=len(s)), "y": rng.normal(size=len(s)), "c": 1.0 * (rng.random(len(s)) < below)})
    df["u"] = np.where(s % 3 == 0, 0.3, np.nan)
    return df


def problem(df: pd.DataFrame, noise: str, effects: bool, censored: bool, u: bool = False) -> System:
    """A line with effects of specimens; t or normal noise and effects."""
    options = {"scale": HALF, "below": "c" if censored else None} | ({"u": "u"} if u else {})
    observation = rm.observation.StudentT(nu=TAIL, **options) if noise == "t" else rm.observation.Normal(**options)
    unresolved = rm.material.Unresolved("specimen", scale=HALF, nu=TAIL if effects else None)
    model = rm.Model("y", levels={"specimen": "s"}, theory=rm.theory.Calibrated("x", **WIDE), material=unresolved, observation=observation)
    return System(model.bind(df))


def states(seed: int = 0) -> System:
    """An impurity of 6 specimens by route, analysed up to four times, with a detection limit."""
    rng = np.random.default_rng(seed)
    s = np.repeat(np.arange(6), (1, 2, 3, 4, 4, 2))
    df = pd.DataFrame({"s": s, "y": rng.normal(size=16), "O": np.where(np.arange(16) % 5, rng.uniform(0.5, 2, 16), np.nan)})
    df["limit"] = np.where(np.arange(16) % 5, 0.3, np.nan)
    df.loc[df["O"] < 1, "O"] = np.nan
    impurity = rm.material.Impurity("O", u=0.3, below="limit", slope=rm.Prior("Normal", mu=0, sigma=1))
    theory = rm.theory.Constant(rm.Prior("Normal", mu=0, sigma=1))
    observation = rm.observation.Normal(scale=HALF)
    return System(rm.Model("y", levels={"specimen": "s"}, theory=theory, material=impurity, observation=observation).bind(df))


def renew(system: System, theta: np.ndarray, density: Density, centred: np.ndarray, rng: np.random.Generator) -> None:
    """Draw all measurements anew given psi and b, and censor what lies below a limit."""
    values = density.space.values(theta)
    for family in system.families[: len(system.problem.rows)]:
        sd = np.sqrt(family.variance(values))[family.key]
        nu = family.noise.nu
        z = rng.standard_t(values[nu], len(sd)) if nu else rng.standard_normal(len(sd))
        y = family.offset(values) + family.at(values) @ centred + sd * z + family.centre + family.known
        if family.noise.censored is not None:
            family.noise.censored[:] = np.where(y < LIMIT, -1, 0)
            y = np.maximum(y, LIMIT)
        family.y[:] = y - family.centre - family.known
    for part in system.parts:
        part.recentred()
    system._fix_rows()
    system.__dict__.pop("many", None)  # what it keeps of the old measurements


Look = Callable[[dict[str, float], np.ndarray], np.ndarray]
CASES = {
    "t noise, t effects": ((1,) * 8 + (2, 3), "t", True, False),
    "t noise, normal effects": ((1,) * 6 + (2, 3, 5), "t", False, False),
    "normal noise, t effects": ((1,) * 6 + (2, 3, 5), "normal", True, False),
    "censored normal": ((1, 1, 1, 2, 3, 3), "normal", False, True),
    "censored t, t effects": ((1, 1, 1, 2, 3, 3), "t", True, True),
}


QUICK = ("normal noise, t effects", "censored normal")
CHOICES = [
    pytest.param(case, n, marks=() if n < 1000 else pytest.mark.validate) for case in CASES for n in (200, 1000) if n > 200 or case in QUICK
]
ITERATIONS = 25


@pytest.mark.parametrize(("case", "starts"), CHOICES)
def test_the_joint_distribution_is_left_as_it_is(case: str, starts: int) -> None:
    """For psi, its squares, and moments of the line and of the effects."""
    counts, noise, effects, censored = CASES[case]
    system = problem(table(counts, 0.4 if censored else 0.0), noise, effects, censored)
    assert local_effects.find(system) is not None

    def look(values: dict[str, float], natural: np.ndarray) -> np.ndarray:
        u = natural[system.columns["unresolved_specimen"]] / values["unresolved_specimen_scale"]
        line = natural[: -len(u)]
        return np.array([*line, *line**2, np.abs(u).mean(), u.mean(), u[0]])

    check_joint_distribution(system, look, starts)


@pytest.mark.parametrize("starts", [200, pytest.param(1000, marks=pytest.mark.validate)])
def test_the_joint_distribution_with_censored_states(starts: int) -> None:
    """For psi, its squares, and moments of the population mean and of the states."""
    system = states()
    mean = {c.name: c for c in system.problem.coefficients}["impurity_O_mean"]

    def look(values: dict[str, float], natural: np.ndarray) -> np.ndarray:
        centre = natural[system.columns["impurity_O_mean"]]
        u = (natural[system.columns["impurity_O"]] - centre) / values["impurity_O_sd"]
        centred = (centre - mean.mean) / mean.sd
        return np.array([*centred, *centred**2, *u, *u**2])

    check_joint_distribution(system, look, starts)


def check_joint_distribution(system: System, look: Look, starts: int) -> None:
    """Theta, its squares and what `look` gives have the same means after some iterations as before; every part of theta has moved."""
    density = Density(system)
    space, rng = density.space, np.random.default_rng(7)
    prior = draw(system.problem, starts, seed=7)
    names = [block.name for block in system.problem.coefficients]
    thetas = np.array([space.theta({name: v[0, i] for name, v in prior.draws.params.items()}) for i in range(starts)])
    sampler = augment._Sampler(density, np.cov(thetas.T))
    sampler.adapt(thetas, rng, [])  # proposals stay fixed from here on

    def seen(theta: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.concatenate([theta, theta**2, look(space.values(theta), b)])

    differences, moved = [], np.zeros(space.size)
    for i, theta in enumerate(thetas):
        b = np.concatenate([prior.block(n, np.array([i]))[0] for n in names])
        state = augment._State(theta.copy(), system.example_auxiliary(), system.centre(b), rng)
        for _ in range(ITERATIONS):
            renew(system, state.theta, density, state.b, rng)
            sampler.iterate([state])
        differences.append(seen(state.theta, system.natural(state.b)) - seen(theta, b))
        moved += state.theta != theta
    found = np.array(differences)
    z = found.mean(axis=0) / (found.std(axis=0) / np.sqrt(starts))
    assert np.all(moved > 0.2 * starts), moved / starts
    assert np.all(np.abs(z) < BOUND), z


# --- the grids that local effects are drawn from ------------------------------------------------------------------------------------

GRIDS = {  # residuals, censoring, noise sd and degrees of freedom, prior scale and degrees of freedom
    "one row": ([1.3], [0], [0.5], 4.0, 0.8, 3.0),
    "rows that disagree": ([-4.0, 5.0], [0, 0], [0.3, 0.2], 2.5, 1.0, 2.2),
    "normal": ([0.4, 0.5, 0.9], [0, 0, 0], [0.5, 0.2, 1.0], np.inf, 2.0, np.inf),
    "censored": ([1.0, -0.5], [-1, 1], [0.5, 0.5], 5.0, 1.0, np.inf),
}


def log_effect(x: np.ndarray, e: list[float], side: list[int], sd: list[float], nu: float, tau: float, nu_effects: float) -> np.ndarray:
    """Log density of an effect by its definition, up to a constant."""

    def student(z: np.ndarray, degrees: float) -> np.ndarray:
        return stats.norm.logpdf(z) if np.isinf(degrees) else stats.t.logpdf(z, degrees)

    total = student(x / tau, nu_effects)
    for left, beyond, spread in zip(e, side, sd, strict=True):
        z = (left - x) / spread
        tail = stats.norm.logcdf if np.isinf(nu) else (lambda v: stats.t.logcdf(v, nu))
        total = total + (tail(-beyond * z) if beyond else student(z, nu))
    return total


@pytest.mark.parametrize("case", GRIDS)
def test_grids_against_quadrature(case: str) -> None:
    """The density of draws integrates to 1 and is that of the effect; the draws have it (Kolmogorov-Smirnov, p > 1e-4)."""
    e, side, sd, nu, tau, nu_effects = GRIDS[case]
    n = 20_000
    rows = len(e)
    own = local_effects.LocalEffects(
        None,  # type: ignore[arg-type]
        np.arange(n),
        np.arange(n),
        np.arange(n * rows),
        np.arange(n + 1) * rows,
        np.repeat(np.arange(n), rows),
    )

    def logs(u: np.ndarray) -> np.ndarray:
        """Log density of each of the numbers u, all of them effects of the same problem."""
        each = local_effects.LocalEffects(None, *(np.arange(k) for k in (1, 1, rows)), np.array([0, rows]), np.zeros(rows, dtype=int))  # type: ignore[arg-type]
        each.__dict__["_even"] = own._even  # as fine as for all of them
        whole = (np.array(e), np.array(side), np.array(sd), nu, np.zeros(1), np.array([tau]), nu_effects)
        return np.array([each.grid(*whole, np.array([x])) for x in u])

    x = np.sinh(np.linspace(-9, 9, 4001))
    density = np.exp(logs(x))
    assert np.trapezoid(density, x) == pytest.approx(1, abs=2e-3)

    exact_log = log_effect(x, e, side, sd, nu, tau, nu_effects)
    wanted = np.exp(exact_log - exact_log.max())
    cumulative = np.concatenate([[0], np.cumsum(0.5 * (wanted[1:] + wanted[:-1]) * np.diff(x))])
    wanted /= cumulative[-1]
    assert np.trapezoid(np.abs(wanted - density), x) < 0.2  # total variation under 0.1: enough for a proposal

    drawn = np.empty(n)
    own.grid(
        np.tile(e, n),
        np.tile(side, n),
        np.tile(sd, n),
        nu,
        np.zeros(n),
        np.full(n, tau),
        nu_effects,
        drawn,
        np.random.default_rng(1).random(n),
    )
    below = np.concatenate([[0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(x))])
    assert stats.kstest(drawn, lambda u: np.interp(u, x, below)).pvalue > 1e-4
