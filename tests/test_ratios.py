"""Coordinates of scales that add up: there and back, and the volume of the map, with logarithms of ratios and with powers of them."""

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.algebra import normal
from realmat.algebra.ratios import Ratios, Totals
from realmat.algebra.space import Space
from realmat.engines.exact.modes import Mode

STEP = 1e-5


@pytest.fixture(scope="module")
def problem():
    """Specimens of materials, read in laboratories: four scales that add up, and a slope beside them."""
    rng = np.random.default_rng(1)
    n = np.arange(24)
    df = pd.DataFrame({"y": rng.normal(size=24), "piece": n // 2, "mat": n // 6, "lab": n % 3, "t": rng.normal(size=24)[n // 6]})
    model = rm.Model(
        "y",
        levels={"specimen": "piece", "material": "mat", "lab": "lab"},
        theory=rm.theory.Calibrated("t"),
        material=[rm.material.Unresolved(by="specimen"), rm.material.Unresolved(by="material")],
        observation=rm.observation.Normal(bias_by="lab"),
    )
    return model.bind(df)


@pytest.mark.parametrize("powers", [None, (0.25, -1 / 3, 0.0, -2 / 3), (0.0, 0.25, 0.25, 0.0)])
def test_there_and_back_and_the_volume(problem, powers):
    """Of four scales the log density in ratios is that in logarithms and the determinant of the map, by central differences."""
    plain = Space(problem.params)
    assert plain.size == 4
    ratios = Ratios(problem, None if powers is None else np.array(powers))
    assert list(ratios.logarithmic) == [power == 0 for power in powers or np.zeros(4)]
    rng = np.random.default_rng(2)
    thetas = 0.5 * rng.standard_normal((20, 4))
    if powers is not None:
        thetas = np.where(np.array(powers) != 0, np.exp(np.array(powers) * thetas), thetas)
    values, log = ratios.many(thetas)
    np.testing.assert_allclose(ratios.thetas(ratios.named(thetas), 20), thetas, rtol=1e-10, atol=1e-10)

    def logarithms(t):
        return plain.thetas(ratios.named(t), len(t))

    slopes = np.stack([(logarithms(thetas + STEP * e) - logarithms(thetas - STEP * e)) / (2 * STEP) for e in np.eye(4)], axis=-1)
    for theta, slope in zip(thetas, slopes, strict=True):
        np.testing.assert_allclose(ratios.slope(theta), slope, atol=1e-7)
    there, in_logarithms = plain.many(logarithms(thetas))
    for name, value in values.items():
        np.testing.assert_allclose(there[name], value, rtol=1e-12)
    np.testing.assert_allclose(log, in_logarithms + np.linalg.slogdet(slopes)[1], atol=1e-7)


def test_no_scale_has_a_power_of_a_negative_number(problem):
    ratios = Ratios(problem, np.array([0.25, 0.0, 0.0, 0.0]))
    assert not np.isfinite(ratios.many(np.array([[-0.1, 0.0, 0.0, 0.0]]))[1]).any()


def test_gradients_in_totals_and_ratios(problem):
    """Of linear functions of the logarithms, against central differences; and back; the map keeps volumes."""
    space, rng = Space(problem.params), np.random.default_rng(3)
    totals = Totals.of(problem, space)
    assert [len(line) for line in totals.lines] == [4]
    x, weights = rng.standard_normal((4, 6)), rng.standard_normal((4, 6))
    np.testing.assert_allclose(totals.turned(totals.logarithms(x)), x, atol=1e-12)
    truth = np.array([(totals.logarithms(x + e[:, None]) - totals.logarithms(x - e[:, None])) / (2 * STEP) for e in STEP * np.eye(4)])
    gradient = weights.copy()
    totals.pull(x, gradient)
    np.testing.assert_allclose(gradient, np.einsum("kin,in->kn", truth, weights), atol=1e-8)
    totals.push(x, gradient)
    np.testing.assert_allclose(gradient, weights, atol=1e-12)
    slope = totals.slope(x[:, 0])
    np.testing.assert_allclose(slope, truth[:, :, 0].T, atol=1e-8)
    assert abs(np.linalg.det(slope)) == pytest.approx(1, rel=1e-12)


def test_draws_say_which_coordinates_are_straighter(problem):
    """Two of the scales told by their sum alone, and all told apart."""
    space, rng = Space(problem.params), np.random.default_rng(4)
    totals = Totals.of(problem, space)
    first, second = totals.lines[0][:2]
    line = Totals([[first, second]], totals.unit)
    x = 0.1 * rng.standard_normal((4, 500))
    apart = line.straighter(x).lines
    x[second] = 1.5 * rng.standard_normal(500)
    together = line.straighter(line.logarithms(x)).lines
    assert (apart, together) == ([], [[first, second]])


def test_weighted_draws_say_which_coordinates_are_straighter(problem):
    """The second and third scale told by their sum alone, in draws that weigh anything, the others by themselves: one pair, and powers.

    That of a scale which eight degrees of freedom tell is near the cube root of its precision; where the space is right, it stays.
    """
    plain, rng = Ratios(problem), np.random.default_rng(5)
    _, second, third, fourth = plain.totals.lines[0]
    logs = 0.05 * rng.standard_normal((4, 4000))
    total, angle = 0.05 * rng.standard_normal(2000), rng.uniform(0.1, 1.4, 2000)
    logs[second, :2000], logs[third, :2000] = total + np.log(np.cos(angle)), total + np.log(np.sin(angle))
    logs[fourth, :2000] = -0.5 * np.log(rng.chisquare(8, 2000) / 8)
    logs -= np.array([plain.totals.unit[k] for k in range(4)])[:, None]
    weights = np.repeat([1 / 2000, 0.0], 2000)
    space = plain.straighter(plain.turned(logs.T), weights, np.arange(4))
    assert space.totals.lines == [[second, third]]
    assert space.powers[fourth] == pytest.approx(-2 / 3)
    assert space.straighter(space.turned(logs.T), weights, np.arange(4)) is space
    near = space.turned(0.01 * rng.standard_normal((2000, 4)))
    apart = space.straighter(near, np.full(2000, 1 / 2000), np.zeros(0, dtype=int))
    assert (apart.totals.lines, apart.powers.any()) == ([], False)


@pytest.mark.parametrize("power", normal.POWERS)
def test_the_power_is_that_in_which_draws_are_normal(power):
    """Of 4000 draws that are normal in it, some of no weight beside them: the most likely of all."""
    rng = np.random.default_rng(6)
    x = rng.normal(3 * power if power else 0.0, 0.6 * abs(power) if power else 1.0, 4000)
    x = x[x * power > 0] if power else x
    x, weights = np.append(x, np.full(500, 9.0 * np.sign(power))), np.append(np.full(len(x), 1 / len(x)), np.zeros(500))
    logs = np.log(np.abs(x)) / power if power else x
    thetas = np.column_stack([logs, rng.standard_normal(len(logs))])
    assert normal.powers(thetas, weights, np.array([0])).tolist() == [power, 0.0]


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 2.2, 1e-9])
def test_draws_that_do_not_differ_stay_logarithms(value):
    thetas = np.column_stack([np.full(50, value), np.random.default_rng(8).normal(size=50)])
    assert normal.powers(thetas, np.full(50, 0.02), np.array([0])).tolist() == [0.0, 0.0]


def test_a_mode_in_other_coordinates(problem):
    """Its place there and back, and the covariance of a normal near it, by draws so near that the map is straight."""
    before, rng = Ratios(problem), np.random.default_rng(7)
    after = Ratios(problem, np.array([0.25, 0.0, -1 / 3, 0.5]), Totals([before.totals.lines[0][:2]], before.totals.unit))
    root = rng.standard_normal((4, 4))
    mode = Mode(0.3 * rng.standard_normal(4), root @ root.T, -1.0)
    turned = mode.turned(before, after)
    near = mode.location + 1e-4 * rng.standard_normal((20, 4)) @ root.T
    there = after.turned(before.plain(near)[0]) - turned.location
    expected = np.einsum("ni,ij,nj->n", near - mode.location, np.linalg.inv(mode.covariance), near - mode.location)
    np.testing.assert_allclose(np.einsum("ni,ij,nj->n", there, np.linalg.inv(turned.covariance), there), expected, rtol=0.02)
    assert turned.height - mode.height == pytest.approx(-0.5 * np.subtract(*(np.linalg.slogdet(m.covariance)[1] for m in (turned, mode))))
    back = turned.turned(after, before)
    np.testing.assert_allclose(back.location, mode.location, atol=1e-12)
    np.testing.assert_allclose(back.covariance, mode.covariance, rtol=1e-8)


def test_a_scale_that_two_properties_share_is_in_no_total():
    """Whatever it is called: what would be turned twice has no inverse."""
    df = pd.DataFrame({"a": np.arange(12.0), "b": np.arange(12.0) % 5, "piece": np.arange(12)})
    shared = rm.observation.Normal(scale=rm.Shared("noise_scale", rm.Prior("HalfNormal", sigma=1)))
    layer = rm.material.Unresolved("piece")
    parts = [rm.Model(name, theory=rm.theory.Constant(), material=layer, observation=shared) for name in ("a", "b")]
    problem = rm.Joint(parts).bind(df)
    space = Space(problem.params)
    assert Totals.of(problem, space).lines == []
    ratios, theta = Ratios(problem), 0.5 * np.random.default_rng(1).standard_normal((5, space.size))
    np.testing.assert_allclose(ratios.thetas(ratios.named(theta), 5), theta, atol=1e-12)
