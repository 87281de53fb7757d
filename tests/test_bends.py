"""Maps that make bent and fanning ridges of hyperparameters straight: there and back, their derivatives, and what is learnt of a ridge."""

import numpy as np
import pytest
from test_chains import EIGHTH, bound, targeted

from realmat.engines.chains import bends, following
from realmat.engines.chains.coordinates import Coordinates


def ridge(n=2000, seed=1):
    """Coordinates: a long one, one that is a parabola of it, one that is wide where it is large, and a skewed one; all of own units."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((4, n))
    long, bent, fan = white[0], 0.5 * (white[0] ** 2 - 1) + 0.4 * white[1], 0.5 * white[0] + np.exp(0.5 * white[0]) * white[2]
    return np.array([3 + 0.1 * bent, 40 + 7 * long, 1e-3 * fan, np.exp(0.4 * white[3])]), white


@pytest.fixture(scope="module")
def learnt():
    return bends.learn(ridge()[0], 2000)


def test_a_ridge_becomes_round(learnt):
    """Of other draws: standard normal coordinates, whose sizes say nothing of each other."""
    x, white = ridge(20_000, 2)
    v = learnt.straight(x)[0]
    assert learnt.order[0] == 1
    assert np.cov(v) == pytest.approx(np.eye(4), abs=0.08)
    assert np.corrcoef(v[0], white[1])[0, 1] > 0.95
    assert np.corrcoef(v[2], white[2])[0, 1] > 0.95
    assert np.corrcoef(v[3], white[3])[0, 1] > 0.95
    assert abs(np.mean(v[3] ** 3)) < 0.3 < 1 < np.mean(((x[3] - x[3].mean()) / x[3].std()) ** 3)
    assert np.corrcoef(np.abs(v)) == pytest.approx(np.eye(4), abs=0.08)
    before = np.corrcoef(np.abs((x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)))
    assert before[0, 1] > 0.5


def test_there_and_back(learnt):
    v = 2 * np.random.default_rng(3).standard_normal((4, 50))
    x, _, passage = learnt.bent(v)
    again, other = learnt.straight(x)
    assert again == pytest.approx(v, rel=1e-10, abs=1e-10)
    assert other.width == pytest.approx(passage.width, rel=1e-10)
    gradient = np.random.default_rng(4).standard_normal((4, 50))
    assert learnt.push(passage, learnt.pull(passage, gradient)) == pytest.approx(gradient, rel=1e-9)


def test_derivatives_by_complex_steps(learnt):
    """Of ``sum(sin x / sd) + log volume``; and the volume is the determinant of what complex steps give of the map."""
    v, h = 1.5 * np.random.default_rng(5).standard_normal((4, 7)), 1e-30
    x, volume, passage = learnt.bent(v)
    sd = learnt.sd[:, None]
    found = learnt.pull(passage, np.cos(x / sd) / sd)
    jacobian = np.empty((7, 4, 4))
    for k in range(4):
        ahead, log, _ = learnt.bent(v + 1j * h * np.eye(4)[k][:, None])
        assert found[k] == pytest.approx(np.imag(np.sum(np.sin(ahead / sd), axis=0) + log) / h, rel=1e-10, abs=1e-10)
        jacobian[:, :, k] = np.imag(ahead).T / h
    assert volume == pytest.approx(np.linalg.slogdet(jacobian)[1], rel=1e-10)


def test_nothing_is_learnt_of_a_normal_nor_of_few_draws():
    rng = np.random.default_rng(6)
    normal = np.linalg.cholesky(0.5 + 0.5 * np.eye(4)) @ rng.standard_normal((4, 500))
    assert bends.learn(normal, 500) is None
    assert bends.learn(ridge(60)[0], 40) is None


def test_chains_of_bent_coordinates_have_the_gradient_of_their_density():
    target, thetas, beta = targeted(bound("limits and tails"))
    b = target.place(target.space.many(target.populations.plain(thetas)[0].T)[0], beta)[0]
    thetas = target.populations.plain(thetas)[0]
    coordinates = Coordinates(target, thetas.mean(axis=1), b.mean(axis=1, keepdims=True), 0.3 * np.eye(target.space.size))
    d = target.space.size
    white = np.random.default_rng(7).standard_normal((d, 3000))
    around = thetas.mean(axis=1, keepdims=True) + 0.3 * (white + 0.5 * np.roll(white, 1, axis=0) ** 2)
    coordinates.bend, coordinates.root = bends.learn(around, 3000), np.linalg.cholesky(0.2 + 0.8 * np.eye(d))
    assert coordinates.bend is not None
    u = np.random.default_rng(8).standard_normal((d, 200))
    coordinates.following = following.fitted(u, 0.3 * np.random.default_rng(9).standard_normal((len(b), 200)))
    q, step = coordinates.find(thetas, b), 0.01
    theta, again = coordinates.effects(q)
    assert theta == pytest.approx(thetas, abs=1e-9)
    assert again == pytest.approx(b, abs=1e-8)
    log, slope = coordinates.at(q)
    move = step * np.random.default_rng(3).standard_normal(q.shape)
    found = sum(c * (coordinates.at(q + m * move)[0] - coordinates.at(q - m * move)[0]) for m, c in EIGHTH.items())
    assert np.sum(slope * move, axis=0) == pytest.approx(found, rel=1e-7, abs=1e-8 * (1 + np.abs(log).max()))
