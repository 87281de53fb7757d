"""Rows' densities: against mpmath, to all digits that matter, far into the tails; and as distributions."""

import mpmath
import numpy as np
import pytest
from scipy import integrate, stats

from realmat.engines.chains.blurred import Blurred
from realmat.terms.density import Density, Groups
from realmat.terms.location_scale import Interval, Normal, limits, student
from realmat.terms.standard import NORMAL, STUDENT

mpmath.mp.dps = 40


def _standard(z, nu):
    """Density of a standard normal or t in mpmath."""
    if nu is None:
        return mpmath.npdf(z)
    constant = mpmath.gamma((nu + 1) / 2) / mpmath.gamma(nu / 2) / mpmath.sqrt(nu * mpmath.pi)
    return constant * (1 + z * z / nu) ** (-(nu + 1) / 2)


def _below(z, nu):
    if nu is None:
        return mpmath.ncdf(z)
    tail = mpmath.betainc(nu / 2, mpmath.mpf(1) / 2, 0, nu / (nu + z * z), regularized=True) / 2
    return tail if z < 0 else 1 - tail


def _log(y, left, right, eta, sd, nu):
    """Log density of one reading by its definition."""
    if left == right == 0:
        return mpmath.log(_standard((y - eta) / sd, nu) / sd)
    if mpmath.isinf(left):
        return mpmath.log(_below((y + right - eta) / sd, nu))
    if mpmath.isinf(right):
        return mpmath.log(_below((eta - y + left) / sd, nu))
    low, high = (y - left - eta) / sd, (y + right - eta) / sd
    return mpmath.log(_below(high, nu) - _below(low, nu) if low < 0 else _below(-low, nu) - _below(-high, nu))


ROWS = [
    (1.3, 0.0, 0.0),
    (-2.0, np.inf, 0.0),
    (0.4, 0.0, np.inf),
    (0.7, 0.05, 0.05),
    (0.7, 2.0, 1.0),
    (0.9, 0.001, 0.001),
    (25.0, 1.0, 1.0),
    (-9.0, np.inf, 0.0),
]
SETTINGS = [(0.2, 0.8, None), (0.2, 0.8, 4.3), (-1.0, 2.5, 2.2), (1.5, 0.3, None), (1.5, 0.3, 30.0)]


@pytest.mark.parametrize(("eta", "sd", "nu"), SETTINGS)
def test_derivatives_are_those_of_the_definition(eta, sd, nu):
    y, left, right = np.array(ROWS).T
    density = Interval(left, right, NORMAL if nu is None else STUDENT)
    own = {"sd": np.array([[sd]]), **({} if nu is None else {"nu": np.array([[nu]])})}
    found = density.derivatives(y, np.full((len(y), 1), eta), own)
    for i, row in enumerate(ROWS):
        start = [mpmath.mpf(x) for x in (eta, sd, *([] if nu is None else [nu]))]

        def log(eta, sd, nu=None, row=row):
            return _log(*(mpmath.mpf(x) for x in row), eta, sd, nu)

        truth = float(log(*start))
        slopes = [
            float(mpmath.diff(log, start, tuple(int(k == j) for j in range(len(start))), h=mpmath.mpf(10) ** -12))
            for k in range(len(start))
        ]
        got = [found.log[i, 0], found.eta[i, 0], *(found.own[name][i, 0] for name in density.names)]
        for a, b in zip(got, [truth, *slopes], strict=True):
            assert a == pytest.approx(b, rel=1e-8, abs=1e-8), (row, eta, sd, nu)


def test_a_mean_of_readings_has_the_density_of_its_readings():
    rng = np.random.default_rng(1)
    readings = rng.normal(size=(3, 5))
    y, within = readings.mean(axis=1), ((readings - readings.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    density, eta, own = Normal(np.full(3, 5.0), within), np.array([[0.3, -0.2]] * 3), {"sd": np.array([[0.7, 1.2]])}
    truth = stats.norm.logpdf(readings[:, :, None], eta[:, None], own["sd"]).sum(axis=1)
    assert density.log(y, eta, own) == pytest.approx(truth, rel=1e-12)
    step = 1e-6
    one = density.derivatives(y, eta, own)
    assert one.eta == pytest.approx((density.log(y, eta + step, own) - density.log(y, eta - step, own)) / (2 * step), rel=1e-7)
    ahead, behind = (density.log(y, eta, {"sd": own["sd"] + s}) for s in (step, -step))
    assert one.own["sd"] == pytest.approx((ahead - behind) / (2 * step), rel=1e-7)


SUMMED = {
    "normal": lambda n: Normal(np.arange(1.0, n + 1), np.linspace(0, 3, n)),
    "limits": lambda n: limits(np.arange(n) % 3 - 1, NORMAL),
    "several alike": lambda n: limits(np.arange(n) % 3 - 1, NORMAL, 1.0 + np.arange(n) % 2, 0.3 * (np.arange(n) % 2)),
    "student": student,
    "student with limits": lambda n: limits(np.arange(n) % 3 - 1, STUDENT),
    "rounded": lambda n: Interval(np.full(n, 0.5), np.full(n, 0.5)),
    "blurred": lambda n: Blurred(1.0 + np.arange(n) % 2, 0.3 * (np.arange(n) % 2)),
}


@pytest.mark.parametrize("name", SUMMED)
def test_one_loop_over_rows_sums_what_derivatives_say_of_each(name):
    rng = np.random.default_rng(3)
    y, eta = 3 * rng.normal(size=23), 3 * rng.normal(size=(23, 6))
    density, groups = SUMMED[name](23), {"sd": Groups(np.arange(23) % 4, 4), "nu": Groups(np.zeros(23, dtype=int), 1)}
    groups["spread"] = Groups(np.arange(23) // 9, 3)
    own = {key: np.exp(rng.normal(1, 0.5, size=(groups[key].count, 6))) for key in groups}
    own = {key: own[key] for key in density.names}
    found, truth = density.summed(y, eta, own, groups), density.derivatives(y, eta, {key: groups[key].by_row(own[key]) for key in own})
    assert found.log == pytest.approx(truth.log.sum(axis=0), abs=1e-14 * np.abs(truth.log).sum())
    assert found.eta == pytest.approx(truth.eta, rel=1e-12, abs=1e-13)
    for key in own:
        each = [np.broadcast_to(truth.own[key], eta.shape)[groups[key].of_row == k].sum(axis=0) for k in range(groups[key].count)]
        assert found.own[key] == pytest.approx(np.array(each), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("nu", [0.3, 1.0, 2.2, 8.9, 9.5, 30.0, 101.0, 1000.0])
def test_the_distribution_function_of_t_in_every_region(nu):
    """By mpmath, on both sides of where one series takes over from another: values, slopes and derivatives in nu."""
    z = np.array(
        [-1e8, -300.0, -12.0, -4.0, -3.01, -2.99, -1.0, -1e-3, 0.0, 0.5, 2.99, 3.01, 40.0, -np.sqrt(nu) - 0.01, np.sqrt(nu) - 0.01]
    )
    found = STUDENT.below(z, nu)

    def log(z, nu):
        return mpmath.log(_below(z, nu))

    for k, each in enumerate(z):
        at = mpmath.mpf(each), mpmath.mpf(nu)
        slopes = [mpmath.diff(log, at, order, h=mpmath.mpf(10) ** -13) if each else None for order in ((1, 0), (0, 1))]
        for got, truth in zip((part[k] for part in found), (log(*at), *slopes), strict=True):
            assert truth is None or got == pytest.approx(float(truth), rel=1e-9, abs=1e-12), each


@pytest.mark.parametrize("nu", [1e6, 1e10, 1e20, 1e300, np.inf])
def test_a_t_of_very_many_degrees_of_freedom_is_normal(nu):
    """To first order in 1 / nu (Abramowitz & Stegun 26.7.8), from the middle to either tail; chains may pass such places in warm-up."""
    z = np.array([-6.0, -4.0, -3.1, -2.9, -1.0, 0.0, 1.0, 3.5])
    log, rise, in_nu = STUDENT.below(z, nu)
    first = -stats.norm.pdf(z) * (z**3 + z) / 4 / nu
    assert log == pytest.approx(np.log(stats.norm.cdf(z) + first), abs=1e5 / nu / nu + 1e-12)
    assert rise == pytest.approx(np.exp(stats.norm.logpdf(z) - stats.norm.logcdf(z)), rel=1000 / nu + 1e-12)
    assert in_nu == pytest.approx(-first / nu / stats.norm.cdf(z), rel=1e-3, abs=1e-27)


def test_limits_keep_their_digits_far_into_both_tails():
    z = np.array([-1e6, -300.0, -37.0, -5.0, -0.1, 0.0, 0.3, 3.0, 8.0, 36.0])
    groups = {"sd": Groups(np.zeros(1, dtype=int), 1)}
    found = limits(np.array([-1])).summed(np.zeros(1), -z[None], {"sd": np.ones((1, 1))}, groups)
    below = [mpmath.erfc(-mpmath.mpf(x) / mpmath.sqrt(2)) / 2 for x in z]
    assert found.log == pytest.approx([float(mpmath.log(f)) for f in below], rel=1e-13, abs=1e-15)
    assert -found.eta[0] == pytest.approx([float(mpmath.npdf(x) / f) for x, f in zip(z, below, strict=True)], rel=1e-13)


def test_tails_keep_their_digits_where_the_distribution_function_underflows():
    density = limits(np.array([-1, 1]), STUDENT)
    found = density.derivatives(np.array([-1e15, 1e15]), np.zeros((2, 1)), {"sd": np.array([[1.0]]), "nu": np.array([[40.0]])})
    truth = float(mpmath.log(_below(mpmath.mpf(-(10**15)), mpmath.mpf(40))))
    assert found.log[:, 0] == pytest.approx([truth, truth], rel=1e-10)
    normal = limits(np.array([-1])).derivatives(np.array([-60.0]), np.zeros((1, 1)), {"sd": np.array([[1.0]])})
    assert normal.log[0, 0] == pytest.approx(float(mpmath.log(mpmath.ncdf(-60))), rel=1e-12)


@pytest.mark.parametrize(
    ("density", "own"),
    [
        (Normal(np.ones(1), np.zeros(1)), {}),
        (student(1), {"nu": 5.0}),
        (limits(np.array([0])), {}),
        (Blurred(np.ones(1), np.zeros(1)), {"nu": 5.0, "spread": 0.8}),
    ],
)
def test_new_readings_have_the_distribution_they_are_said_to_have(density: Density, own):
    own = {"sd": np.array([[0.6]]), **{name: np.array([[value]]) for name, value in own.items()}}
    eta = np.full((1, 4000), 1.4)
    drawn = density.draw(eta, own, np.random.default_rng(2))[0]
    assert stats.kstest([density.cdf(np.array([v]), eta[:, :1], own)[0].item() for v in drawn], "uniform").pvalue > 1e-3
    z = (drawn.mean() - density.mean(eta, own)[0, 0]) / np.sqrt(density.variance(eta, own)[0, 0] / drawn.size)
    assert abs(z) < 4
    total, _ = integrate.quad(lambda v: float(np.exp(density.log(np.array([v]), eta[:, :1], own)[0, 0])), -40, 40, points=[1.4])
    assert total == pytest.approx(1, abs=1e-7)


def test_information_is_positive_and_that_of_an_exact_reading_or_less():
    y, left, right = np.array(ROWS).T
    for standard, own in ((NORMAL, {}), (STUDENT, {"nu": np.array([[3.0]])})):
        density = Interval(left, right, standard)
        eta = np.linspace(-30, 30, 121)[None] + np.zeros((len(y), 1))
        weight = density.weight(y, eta, {"sd": np.array([[0.5]]), **own})
        assert (weight > 0).all()
        assert (weight <= weight[0, 0] * (1 + 1e-12)).all()
