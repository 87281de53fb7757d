"""Hyperparameters with a population that is itself inferred, such as the noise scales of laboratories: coordinates outside the funnel.

Where little is told of each, ``t_j ~ N(m, v^2)`` with m and v unknown is a funnel, which no one step size explores. The coordinate z is
the plain one, t, at a reference psi; elsewhere

    t = m0 + (1 - c) (m - m0) + (v / v0)^(1 - c) (z - m0),

with c = 0 non-centred, c = 1 centred (z = t), and for each element the c that its rows make best: the share of its precision that they
have (Papaspiliopoulos, Roberts & Skoeld, Statistical Science 22, 59, 2007). It is what `Target` does with effects.
"""

from __future__ import annotations

from dataclasses import dataclass
from graphlib import TopologicalSorter

import numpy as np

from realmat.algebra.space import Axis, Space

_FAMILIES = ("Normal", "LogNormal")


@dataclass(frozen=True)
class _Reader:
    """A scalar of the population, a number or a hyperparameter, in the unit of the coordinates: its value is ``(x - zero) / unit``."""

    source: float | Axis
    zero: np.ndarray
    unit: np.ndarray

    def at(self, plain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values and their derivative in the coordinate of the source, shape (elements, n)."""
        if isinstance(self.source, float):
            return (self.source - self.zero) / self.unit, np.zeros((1, 1))
        t = plain[self.source.where]
        return (self.source.value(t) - self.zero) / self.unit, np.exp(self.source.log_slope(t)) / self.unit

    def pull(self, into: np.ndarray, weight: np.ndarray) -> None:
        if not isinstance(self.source, float):
            into[self.source.where] += weight.sum(axis=0)


@dataclass
class _Vector:
    """One hyperparameter, scalar or vector, with a population; reference and c as they were last set."""

    where: slice
    mean: _Reader
    sd: _Reader
    mean_there: np.ndarray
    sd_there: np.ndarray
    centred: np.ndarray


@dataclass(frozen=True)
class _Moments:
    """Of one population at n psi: mean and sd with their derivatives, and how distances are stretched."""

    mean: np.ndarray
    mean_slope: np.ndarray
    sd: np.ndarray
    sd_slope: np.ndarray
    stretch: np.ndarray


class Populations:
    """All hyperparameters of a space whose normal or log-normal prior refers to other, scalar ones.

    Parameters
    ----------
    space : Space
        Positive parameters by their logarithms.
    """

    def __init__(self, space: Space) -> None:
        axes = {axis.param.name: axis for axis in space.axes}
        found: dict[str, _Vector] = {}
        for name, axis in axes.items():
            prior = axis.param.prior
            parents = [axes.get(other) for other in prior.references]
            if not parents or prior.dist not in _FAMILIES or prior.truncation != (None, None):
                continue
            if any(parent is None or parent.param.coords is not None for parent in parents):
                continue
            log = prior.dist == "LogNormal"
            zero, unit = (np.log(axis.width), np.ones(1)) if log else (np.asarray(axis.centre), np.asarray(axis.width))
            mean, sd = (axes[x] if isinstance(x, str) else x for x in (dict(prior.params)["mu"], dict(prior.params)["sigma"]))
            empty = np.zeros((axis.param.size, 1))
            readers = _Reader(mean, zero, unit), _Reader(sd, np.zeros(1), unit)
            found[name] = _Vector(axis.where, *readers, empty, empty + 1.0, empty + 1.0)
        order = TopologicalSorter({name: [x for x in axes[name].param.prior.references if x in found] for name in found})
        self._vectors = [found[name] for name in order.static_order()]

    def refer(self, theta: np.ndarray, centred: list[np.ndarray] | None = None) -> None:
        """Take the plain coordinates `theta` as the reference; `centred` gives c by vector, shape (size,); all centred where it is None."""
        for k, vector in enumerate(self._vectors):
            vector.mean_there, vector.sd_there = (reader.at(theta[:, None])[0] for reader in (vector.mean, vector.sd))
            c = np.ones(vector.where.stop - vector.where.start) if centred is None else centred[k]
            vector.centred = c[:, None]

    def shares(self, theta: np.ndarray, bend: np.ndarray) -> list[np.ndarray]:
        """c of every vector at plain coordinates theta, from the curvature `bend` of the log density in each of them, prior included."""
        out = []
        for vector in self._vectors:
            prior = np.broadcast_to(1 / np.square(vector.sd.at(theta[:, None])[0])[:, 0], bend[vector.where].shape)
            told = np.maximum(-bend[vector.where] - prior, 0.0)
            out.append(np.where(np.isfinite(told), told / (told + prior), 1.0))
        return out

    @property
    def places(self) -> list[slice]:
        """Where the vectors stand in theta."""
        return [vector.where for vector in self._vectors]

    def plain(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray | float, list[_Moments]]:
        """Plain coordinates from z, both of shape (theta size, n); the log volume of the map, and what `pull` needs."""
        if not self._vectors:
            return z, 0.0, []
        t, volume, moments = z.copy(), np.zeros(z.shape[1]), []
        for vector in self._vectors:
            m = self._moments(vector, t)
            shift = (1 - vector.centred) * (m.mean - vector.mean_there)
            t[vector.where] = vector.mean_there + shift + m.stretch * (z[vector.where] - vector.mean_there)
            volume += np.sum((1 - vector.centred) * np.log(m.sd / vector.sd_there), axis=0)
            moments.append(m)
        return t, volume, moments

    def coordinates(self, t: np.ndarray) -> np.ndarray:
        """The inverse of `plain`."""
        z = t.copy()
        for vector in self._vectors:
            m = self._moments(vector, t)
            shift = (1 - vector.centred) * (m.mean - vector.mean_there)
            z[vector.where] = vector.mean_there + (t[vector.where] - vector.mean_there - shift) / m.stretch
        return z

    def pull(self, z: np.ndarray, moments: list[_Moments], gradient: np.ndarray) -> None:
        """Turn the gradient in plain coordinates into that in z, in place, the log volume included."""
        for vector, m in zip(reversed(self._vectors), reversed(moments), strict=True):
            free, own = 1 - vector.centred, gradient[vector.where].copy()
            away = m.stretch * (z[vector.where] - vector.mean_there)
            gradient[vector.where] = m.stretch * own
            vector.mean.pull(gradient, free * own * m.mean_slope)
            vector.sd.pull(gradient, free * (own * away + 1) / m.sd * m.sd_slope)

    @staticmethod
    def _moments(vector: _Vector, plain: np.ndarray) -> _Moments:
        (mean, mean_slope), (sd, sd_slope) = vector.mean.at(plain), vector.sd.at(plain)
        return _Moments(mean, mean_slope, sd, sd_slope, (sd / vector.sd_there) ** (1 - vector.centred))
