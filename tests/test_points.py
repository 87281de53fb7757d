"""Even numbers: one in every interval, pairs that mirror each other, and means that are nearer to what they estimate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from realmat.support import points


@pytest.mark.parametrize("size", [1, 3, 40])
def test_each_coordinate_has_one_number_in_each_interval(size: int) -> None:
    """Of 64, whatever the scrambling; those of another call are others."""
    rng = np.random.default_rng(1)
    first, second = points.even(rng, 64, size), points.even(rng, 64, size)
    for u in (first, second):
        assert (np.sort((64 * u).astype(int), axis=0) == np.arange(64)[:, None]).all()
    assert not np.isclose(first, second).any(axis=1).all()


@pytest.mark.parametrize("n", [0, 1, 5, 100])
def test_any_number_of_them_lies_between_0_and_1(n: int) -> None:
    for u in (points.even(np.random.default_rng(2), n, 4), points.mirrored(np.random.default_rng(2), n, 4, 1)):
        assert u.shape == (n, 4)
        assert ((u > 0) & (u < 1)).all()


@pytest.mark.parametrize(("n", "size"), [(100, 30), (250, 60), (1000, 150), (4000, 60)])
def test_no_two_coordinates_go_together(n: int, size: int) -> None:
    """Correlations of normals over 40 samples in pairs: their root mean square is at most 1.6 times that of n / 2 independent numbers.

    Known to 11 %, it is the largest of up to 11,000. Sobol' points of 150 coordinates reach ten times as much.
    """
    square = np.zeros((size, size))
    for seed in range(40):
        square += np.corrcoef(special.ndtri(points.mirrored(np.random.default_rng(seed), n, size, 0)).T) ** 2 / 40
    assert np.sqrt(square[np.triu_indices(size, 1)].max()) < 1.6 / np.sqrt(n / 2)


def test_the_two_of_a_pair_mirror_each_other() -> None:
    """But for what they have alike; an odd number ends with half a pair."""
    u = points.mirrored(np.random.default_rng(4), 101, 5, 2)
    np.testing.assert_allclose(u[0:100:2, 2:] + u[1::2, 2:], 1.0, atol=1e-12)
    np.testing.assert_array_equal(u[0:100:2, :2], u[1::2, :2])


@pytest.mark.parametrize("every", [1, 2, 3, 4, 8, 16])
def test_every_so_manieth_is_a_sample_too(every: int) -> None:
    """As users thin: mean and variance of 200 samples, each of 512, to 4.5 standard errors of as many independent ones."""
    kept = np.concatenate([points.mirrored(np.random.default_rng(seed), 512, 2, 0)[::every] for seed in range(200)])
    n = len(kept)
    assert np.abs(kept.mean(axis=0) - 0.5).max() < 4.5 / np.sqrt(12 * n)
    assert np.abs(((kept - 0.5) ** 2).mean(axis=0) - 1 / 12).max() < 4.5 * np.sqrt(1 / 180 / n)


def test_means_are_nearer_to_what_they_estimate() -> None:
    """Of x, x^2, exp(x) and x y of normals, over 200 samples of 256 of three coordinates: at most half the scatter of independent ones."""

    def means(u: np.ndarray) -> list[float]:
        x = special.ndtri(u)
        return [x[:, 0].mean(), (x[:, 1] ** 2).mean(), np.exp(x[:, 2]).mean(), (x[:, 0] * x[:, 1]).mean()]

    even, mirrored, independent = [], [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        even.append(means(points.even(rng, 256, 3)))
        mirrored.append(means(points.mirrored(rng, 256, 3, 0)))
        independent.append(means(rng.random((256, 3))))
    for ours in (even, mirrored):
        assert (np.std(ours, axis=0) < 0.5 * np.std(independent, axis=0)).all()
        assert (np.abs(np.mean(ours, axis=0) - [0, 1, np.exp(0.5), 0]) < 4.5 * np.std(ours, axis=0) / np.sqrt(200) + 1e-12).all()
