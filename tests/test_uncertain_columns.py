"""Laws whose columns are uncertain: the density of a reading at a place that is not exactly known, and posteriors against a grid."""

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, special, stats

import realmat as rm
from realmat.engines.chains.displaced import Displaced, places

LAWS = {
    "straight": (2, lambda t: 1.0 + 2.0 * t),
    "bent": (10, lambda t: 3.0 * np.exp(-0.4 * t)),
    "turning": (12, lambda t: np.sin(t)),
}
READINGS, ETA = np.array([1.2, 0.8, 0.5]), np.array([[0.2], [0.0], [-0.1]])


def _density(law):
    count, f = LAWS[law]
    middle, half = np.array([0.0, 0.3, -0.2]), np.array([4.0, 3.0, 3.5])
    table = np.concatenate([f(middle + half * x) for x in places(count)])[:, None]
    return Displaced(middle, half, np.full(3, law == "turning"), np.full((3, 2), (-9.0, 9.0)), count), table


def _moments(law, sd):
    """Logarithm of the integral over places, mean and variance of these, by quadrature of the definition."""
    t = np.linspace(-8.0, 8.0, 40001)
    part = stats.norm.pdf(t) * stats.norm.pdf((READINGS - ETA[:, 0])[:, None] - LAWS[law][1](t), scale=sd)
    value, first, second = (integrate.simpson(t**k * part, t) for k in range(3))
    return np.log(value), first / value, second / value - (first / value) ** 2


@pytest.mark.parametrize(
    ("law", "sd"), [("straight", 0.3), ("straight", 0.003), ("bent", 1.0), ("bent", 0.05), ("turning", 0.3), ("turning", 0.1)]
)
def test_density_is_the_integral_over_places_and_draws_follow_it(law, sd):
    (density, table), own = _density(law), {"sd": np.array([[sd]])}
    own["law"] = table
    log, mean, variance = _moments(law, sd)
    assert density.log(READINGS, ETA, own)[:, 0] == pytest.approx(log, abs=1e-3)
    n = 4000
    many = {"sd": np.full((1, n), sd), "law": np.repeat(table, n, axis=1)}
    drawn = density.effects(READINGS, np.repeat(ETA, n, axis=1), many, np.random.default_rng(1))
    assert drawn.mean(axis=1) == pytest.approx(mean, abs=4 * np.sqrt(variance.max() / n))
    assert np.all(np.abs(drawn.mean(axis=1) - mean) < 4 * np.sqrt(variance / n))
    assert drawn.var(axis=1) == pytest.approx(variance, rel=0.12)


@pytest.mark.parametrize("law", LAWS)
def test_derivatives_are_those_of_the_density(law):
    density, table = _density(law)
    own = {"sd": np.array([[0.2]]), "law": table}
    found, h = density.derivatives(READINGS, ETA, own), 1e-6

    def slope(shift, **moved):
        ahead, behind = (density.log(READINGS, ETA + s * shift, own | {k: own[k] + s * v for k, v in moved.items()}) for s in (h, -h))
        return (ahead - behind)[:, 0] / (2 * h)

    assert found.eta[:, 0] == pytest.approx(slope(1.0), rel=2e-3, abs=2e-3)
    assert found.own["sd"][:, 0] == pytest.approx(slope(0.0, sd=1.0), rel=5e-3, abs=5e-3)
    for k in range(0, len(table), 4):
        assert found.own["law"][k, 0] == pytest.approx(slope(0.0, law=np.eye(len(table))[:, [k]]).sum(), rel=5e-3, abs=1e-2)


def straight(x, a, b):
    return a + b * x


def decay(x, a, b):
    return a * np.exp(-b * x)


def saturating(x, a, b):
    return a * x / (b + x)


POSITIVE = {"a": rm.Prior("LogNormal", mu=0.5, sigma=1.0), "b": rm.Prior("LogNormal", mu=0.0, sigma=1.0)}
CURVES = {
    straight: ({"a": 1.0, "b": 2.0}, {"a": rm.Prior("Normal", mu=0.0, sigma=5.0), "b": rm.Prior("Normal", mu=0.0, sigma=5.0)}),
    decay: ({"a": 3.0, "b": 0.7}, POSITIVE),
    saturating: ({"a": 3.0, "b": 1.0}, POSITIVE),
}
U = 0.2


def _measured(law, n, ratio, seed=1):
    """A table whose column has errors that move the law `ratio` times as far as the noise."""
    true, rng = CURVES[law][0], np.random.default_rng(seed)
    x = rng.uniform(0.5, 5.0, n)
    noise = np.median(np.abs(law(x + 0.01, **true) - law(x - 0.01, **true)) / 0.02) * U / ratio
    return pd.DataFrame({"x": x + U * rng.normal(size=n), "y": law(x, **true) + noise * rng.normal(size=n)}), noise


def _fit(law, df, **options):
    theory = rm.theory.Function(law, columns=["x"], params=CURVES[law][1], u={"x": U})
    return rm.Model("y", theory=theory, observation=rm.observation.Normal(**options)).fit(df, seed=1, progress=False)


def _log_likelihood(law, df, a, b, sd):
    """Summed over rows at many (a, b, sd): the law straight between 241 places, over each of which the integral is in closed form."""
    t = np.linspace(-6.0, 6.0, 241)[:, None]
    total = np.zeros(len(a))
    for x, y in zip(df["x"], df["y"], strict=True):
        f = law(x + U * t, a, b)
        slope = np.diff(f, axis=0) / np.diff(t, axis=0)
        away, wide = y - (f[:-1] - slope * t[:-1]), np.sqrt(sd**2 + slope**2)
        mean, narrow = slope * away / wide**2, sd / wide
        low, high = (t[:-1] - mean) / narrow, (t[1:] - mean) / narrow
        flip = low > 0
        low, high = np.where(flip, -high, low), np.where(flip, -low, high)
        with np.errstate(divide="ignore"):  # far out on the grid a row may be impossible
            total += np.log(np.sum(stats.norm.pdf(away / wide) / wide * (special.ndtr(high) - special.ndtr(low)), axis=0))
    return total


def _on_grid(law, df, fit, noise, size):
    """Means and standard deviations of a, b and the noise, on a grid around what the fit says; a `noise` of 0 is unknown."""
    post = fit.tree["posterior"]
    names = ["function_a", "function_b"] + ([] if noise else ["noise_scale"])
    draws = np.array([post[name].values.ravel() for name in names])
    logs = [law is not straight, law is not straight, True][: len(names)]
    axes = []
    for values, log in zip(draws, logs, strict=True):
        z = np.log(values) if log else values
        low, high = np.quantile(z, (0.0005, 0.9995))
        axes.append(np.linspace(low - 0.25 * (high - low), high + 0.25 * (high - low), size))
    grid = [g.ravel() for g in np.meshgrid(*axes, indexing="ij")]
    at = [np.exp(g) if log else g for g, log in zip(grid, logs, strict=True)]
    prior = sum(
        CURVES[law][1][key].logpdf(value, {}) + (g if log else 0.0) for key, value, g, log in zip("ab", at, grid, logs, strict=False)
    )
    if not noise:
        prior = prior + fit.problem.observation.params[0].prior.logpdf(at[2], {}) + grid[2]
    log = prior + _log_likelihood(law, df, at[0], at[1], noise or at[2])
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    mean = np.array([weight @ x for x in at])
    sd = np.sqrt([weight @ (x - m) ** 2 for x, m in zip(at, mean, strict=True)])
    return mean, sd, draws


def test_a_posterior_is_that_of_a_grid():
    df, noise = _measured(decay, 8, 3.0)
    fit = _fit(decay, df, scale=noise)
    mean, sd, draws = _on_grid(decay, df, fit, noise, 40)
    assert np.all(np.abs(draws.mean(axis=1) - mean) < 0.08 * sd)
    assert draws.std(axis=1) == pytest.approx(sd, rel=0.08)


@pytest.mark.validate
@pytest.mark.parametrize("ratio", [0.3, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("law", CURVES, ids=lambda law: law.__name__)
def test_posteriors_are_those_of_a_grid(law, ratio):
    df, _ = _measured(law, 30, ratio)
    fit = _fit(law, df)
    mean, sd, draws = _on_grid(law, df, fit, 0.0, 22)
    assert np.all(np.abs(draws.mean(axis=1) - mean) < 0.08 * sd)
    assert draws.std(axis=1) == pytest.approx(sd, rel=0.08)


@pytest.mark.validate
@pytest.mark.parametrize("n", [30, 100, 300])
@pytest.mark.parametrize("ratio", [0.3, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("law", CURVES, ids=lambda law: law.__name__)
def test_chains_agree_whatever_readings_tell_of_places(law, ratio, n):
    fit = _fit(law, _measured(law, n, ratio)[0])
    told = fit.summary(["function_a", "function_b", "noise_scale", "function_x_error"], round_to="none")
    assert len(told) == n + 3
    assert told["r_hat"].max() < 1.01
    assert told["ess_bulk"].min() >= 400
