"""Coordinates of scales that add up: there and back, and the volume of the map, with logarithms of ratios and with powers of them."""

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.algebra.ratios import Ratios, Totals
from realmat.algebra.space import Space

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
