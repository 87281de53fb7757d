"""Predictions of counts, fractions and strengths: readings in response units, never outside their possible range."""

from __future__ import annotations

import numpy as np

from realmat.posterior.contributions import Source, Stream
from realmat.posterior.reading import moments, own_values
from realmat.support.intervals import interval


def predicted(stream: Stream, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Mean, sd, mean_sd and bounds by cell, and the mean of each component's part on the scale of the link (cells, components)."""
    density, problem = stream.noise.density, stream.posterior.problem
    assert density is not None
    n, size = len(stream), len(stream.indices)
    first, second, within = np.zeros(n), np.zeros(n), np.zeros(n)
    contributions = np.zeros((n, len(stream.components)))
    drawn = np.empty((n, size))
    for chunk in stream:
        eta = np.zeros((n, chunk.where.stop - chunk.where.start))
        for k, component in enumerate(stream.components):
            if component in chunk.mean:
                eta += chunk.mean[component]
                contributions[:, k] += chunk.mean[component].sum(axis=1) / size
        own = own_values(stream.noise, [stream.posterior.values(int(i)) for i in stream.indices[chunk.where]])
        fresh = [source for source in chunk.sources if source.component != problem.observation.component or source.groups is not None]
        variance = sum((source.full_variance for source in fresh), np.zeros((1, 1)))
        mean, square, rest = moments(density, eta, variance, own)
        first += mean.sum(axis=1)
        second += square.sum(axis=1)
        within += rest.sum(axis=1)
        for source in fresh:
            eta = eta + _normal(source, eta.shape, rng)
        drawn[:, chunk.where] = density.draw(eta, own, rng)
    mean = first / size
    value = np.maximum(second / size - mean**2, 0.0)
    bounds = interval(drawn)
    sd = np.sqrt(value + within / size)
    return {"mean": mean, "sd": sd, "mean_sd": np.sqrt(value), "lower": bounds[:, 0], "upper": bounds[:, 1]}, contributions


def _normal(source: Source, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A draw of one source for each cell by itself."""
    out = rng.standard_normal(shape)
    if source.nu is not None:
        out /= np.sqrt(rng.chisquare(np.broadcast_to(source.nu, shape)) / source.nu)
    return np.asarray(out * np.sqrt(source.variance))
