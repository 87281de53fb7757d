"""Coordinates in which the posterior is nearly standard normal: psi by what chains saw of it, effects by what their rows tell.

z = centre + C u,   beta = mode + F (z - centre) + L'^-1 w,   with z the coordinates of psi (`Populations`), P = L L' the precision
of the effects at the centre, each row standing for a normal one of its weight, and F how their mode follows psi. P is sparse, and so is
its factor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from realmat.algebra.conditional import Conditional
from realmat.engines.chains.target import STEP, Target

_NEWTON, _HALVINGS, _SETTLED = 30, 6, 1e-3
_PROBES = 256  # draws of the effects, from which it is seen how well each is known
_WIDEST, _NARROWEST = 1.0, 1e-6  # sd of a hyperparameter before there are chains
_SHRINK = 0.1  # few chains, many psi: their covariance shrunk towards its diagonal


@dataclass(frozen=True)
class Passed:
    """What chains have seen.

    Attributes
    ----------
    root : array of shape (theta size, theta size)
        Of their coordinates.
    thetas, slopes : arrays of shape (theta size, n)
        Where they were, and the slopes of the log density in the whitened coordinates there.
    theta, b : arrays of shape (theta size, chains) and (coefficients, chains)
        Where they are.
    """

    root: np.ndarray
    thetas: np.ndarray
    slopes: np.ndarray
    theta: np.ndarray
    b: np.ndarray


class Coordinates:
    """From (u, w) to (theta, beta) and back.

    Parameters
    ----------
    target : Target
        Its reference is moved to `centre`.
    centre : array of shape (theta size,)
    b : array of shape (coefficients, 1)
        Where to look for the mode.
    root : array of shape (theta size, theta size), optional
        A square root of the covariance of theta. Without, and without `passed`, that of the curvature of the density where effects follow.
    passed : Passed, optional
        What chains in the coordinates before these have seen.
    """

    def __init__(
        self, target: Target, centre: np.ndarray, b: np.ndarray, root: np.ndarray | None = None, passed: Passed | None = None
    ) -> None:
        self.target, self.centre = target, centre
        self.size = (target.space.size, target.system.size)
        values = target.space.many(centre[None])[0]
        target.refer(centre)
        target.learn(None)
        self.mode, rows = self._mode(values, b)
        if passed is not None:
            target.learn((target.space.many(passed.theta.T)[0], passed.b))
            rows = target.gaussian(values, self.mode)
        self._conditional = self._at(values, rows)
        probes = self._conditional.coloured(np.random.default_rng(0).standard_normal((len(b), _PROBES)))
        target.refer(centre, target.informed(centre, self.mode, probes))
        self._follow = self._followed(rows)
        if passed is not None:
            self.root = self._learnt(passed)
        else:
            self.root = self._curved() if root is None else self._turned(root)

    def _turned(self, root: np.ndarray) -> np.ndarray:
        """A square root of the covariance of z, to first order about the centre."""
        step = STEP * root
        ends = self.centre[:, None] + np.concatenate([step, -step], axis=1)
        ahead, behind = np.split(self.target.populations.coordinates(ends), 2, axis=1)
        return np.asarray((ahead - behind) / (2 * STEP))

    def _at(self, values: Mapping[str, np.ndarray], aux: Mapping[str, np.ndarray]) -> Conditional:
        return self.target.system.at({**{name: v[..., 0] for name, v in values.items()}, **aux})

    def _mode(self, values: Mapping[str, np.ndarray], b: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Mode of the effects at the centre by Fisher scoring, steps halved while they go down; and the normal rows of there."""
        target = self.target
        aux = target.gaussian(values, b)
        if not b.size:
            return b, aux
        theta = self.centre[:, None]
        height = target.at(theta, b)[0][0]
        near = self._at(values, target.gaussian(values, b, guessed=True)).centred[:, None]  # as far off as a large count, steps are of 1
        there = target.at(theta, near)[0][0]
        if there > height or not np.isfinite(height):
            b, height, aux = near, there, target.gaussian(values, near)
        for _ in range(_NEWTON):
            step = self._at(values, aux).centred[:, None] - b
            for _ in range(_HALVINGS):
                there = target.at(theta, b + step)[0][0]
                if there >= height or not np.isfinite(height):
                    break
                step = 0.5 * step
            if not there >= height:
                break
            rise, b, height = there - height, b + step, there
            aux = target.gaussian(values, b)
            if rise < _SETTLED:
                break
        return b, aux

    def _followed(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        """How the mode of the effects follows psi, the normal rows held: shape (coefficients, theta size)."""
        target, d = self.target, self.size[0]
        ends = self.centre[:, None] + STEP * np.concatenate([np.eye(d), -np.eye(d)], axis=1)
        values = target.space.many(target.populations.plain(ends)[0].T)[0]
        each = [{name: v[..., k : k + 1] for name, v in values.items()} for k in range(2 * d)]
        beta = [target.unplace(one, self._at(one, rows).centred[:, None])[:, 0] for one in each]
        return np.nan_to_num((np.array(beta[:d]) - np.array(beta[d:])) / (2 * STEP)).T.reshape(self.size[::-1])

    def _curved(self) -> np.ndarray:
        """A square root of the covariance of z, from the curvature of the log density where the effects follow."""
        d = self.size[0]
        step = STEP * np.concatenate([np.eye(d), -np.eye(d)], axis=1)
        _, in_z, in_beta = self.target.at(self.centre[:, None] + step, self.mode + self._follow @ step)
        slope = in_z + self._follow.T @ in_beta
        curvature = np.nan_to_num((slope[:, d:] - slope[:, :d]) / (2 * STEP))
        eigenvalues, vectors = np.linalg.eigh(0.5 * (curvature + curvature.T))
        return np.asarray(vectors / np.sqrt(np.clip(eigenvalues, 1 / _WIDEST**2, 1 / _NARROWEST**2)))

    def _learnt(self, passed: Passed) -> np.ndarray:
        """A square root of the covariance of z by draws and by slopes: the geometric mean of what both say.

        Of a normal they agree. Where chains are not there yet, draws are too far apart and slopes too steep, and the mean is right still
        (Seyboldt, Carlson & Carpenter, arXiv:2603.18845). Few draws say little of correlations, so these are shrunk towards those of the
        coordinates before, and a narrow ridge that is known stays narrow.
        """
        u = np.linalg.solve(passed.root, self.target.populations.coordinates(passed.thetas) - self.centre[:, None])
        d, n = u.shape
        share = min(_SHRINK, 4 * d / n)
        by_draws, by_slopes = (
            (1 - share) * x + np.diag((share + 1e-9) * np.diag(x) + 1e-12)
            for x in (np.cov(u).reshape(d, d), passed.slopes @ passed.slopes.T / n)
        )
        half = _power(by_draws, 0.5)
        between = half @ _power(half @ by_slopes @ half, -0.5) @ half
        return np.asarray(passed.root @ np.linalg.cholesky(between))

    def place(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """z and beta at q = (u, w) of shape (size, n)."""
        d = self.size[0]
        away = self.root @ q[:d]
        return self.centre[:, None] + away, self.mode + self._follow @ away + self._conditional.coloured(q[d:])

    def whitened(self, thetas: np.ndarray) -> np.ndarray:
        """u of theta, shape (theta size, n)."""
        return np.linalg.solve(self.root, self.target.populations.coordinates(thetas) - self.centre[:, None])

    def find(self, theta: np.ndarray, b: np.ndarray) -> np.ndarray:
        """q of theta and b, shapes (theta size, n) and (coefficients, n)."""
        target, u = self.target, self.whitened(theta)
        beta = target.unplace(target.slopes.values(theta.T), b)
        return np.concatenate([u, self._conditional.raised(beta - self.mode - self._follow @ (self.root @ u))])

    def at(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log density, up to a constant, and its gradient at q."""
        z, beta = self.place(q)
        log, in_z, in_beta = self.target.at(z, beta)
        in_u = self.root.T @ (in_z + self._follow.T @ in_beta)
        return log, np.concatenate([in_u, self._conditional.whitened(in_beta)])

    def psi(self, q: np.ndarray) -> np.ndarray:
        """theta of shape (size, n)."""
        return self.target.populations.plain(self.centre[:, None] + self.root @ q[: self.size[0]])[0]

    def effects(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """theta of shape (size, n) and b of shape (coefficients, n), elimination order, from the system's reference."""
        z, beta = self.place(q)
        theta = self.target.populations.plain(z)[0]
        return theta, self.target.place(self.target.slopes.values(theta.T), beta)[0]


def _power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """A power of a positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.maximum(values, 1e-300) ** exponent) @ vectors.T)
