"""Coordinates in which the posterior is nearly standard normal: psi by the chains' covariance, effects by what their rows tell.

z = centre + C u,   beta = mode + F (z - centre) + L'^-1 w,   with z the coordinates of psi (`Populations`), P = L L' the precision
of the effects at the centre, each row standing for a normal one of its weight, and F how their mode follows psi. P is sparse, and so is
its factor.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from realmat.algebra.conditional import Conditional
from realmat.engines.chains.target import STEP, Target

_NEWTON, _HALVINGS, _SETTLED = 30, 6, 1e-3
_WIDEST, _NARROWEST = 1.0, 1e-6  # sd of a hyperparameter before there are chains
_SHRINK = 0.1  # few chains, many psi: their covariance shrunk towards its diagonal


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
        A square root of the covariance of theta; or, with `thetas`, of the coordinates before these. Without, that of the curvature of the
        joint density where the effects have their mode.
    thetas : array of shape (n, theta size), optional
        Draws from which the covariance is learnt.
    """

    def __init__(
        self, target: Target, centre: np.ndarray, b: np.ndarray, root: np.ndarray | None, thetas: np.ndarray | None = None
    ) -> None:
        self.target, self.centre = target, centre
        values = target.space.many(centre[None])[0]
        target.refer(centre)
        self.mode, aux = self._mode(values, b)
        target.refer(centre, target.informed(centre, self.mode))
        self._conditional = self._at(values, aux)
        self.size = (target.space.size, target.system.size)
        cross = self._cross()
        self._follow = (
            self._conditional.coloured(self._conditional.whitened(cross[self.size[0] :])) if cross.size else cross[self.size[0] :]
        )
        if root is None:
            self.root = self._curved(cross)
        else:
            self.root = self._turned(root) if thetas is None else self._learnt(root, thetas)

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

    def _cross(self) -> np.ndarray:
        """Second derivatives of the log density in psi, and in psi and the effects: shape (theta size + coefficients, theta size)."""
        d = self.size[0]
        step = STEP * np.eye(d)
        ends = np.repeat(self.centre[:, None], 2 * d, axis=1) + np.concatenate([step, -step], axis=1)
        _, in_theta, in_beta = self.target.at(ends, np.repeat(self.mode, 2 * d, axis=1))
        both = np.concatenate([in_theta, in_beta])
        return np.nan_to_num((both[:, :d] - both[:, d:]) / (2 * STEP))

    def _curved(self, cross: np.ndarray) -> np.ndarray:
        d = self.size[0]
        curvature = -cross[:d] - cross[d:].T @ self._follow
        eigenvalues, vectors = np.linalg.eigh(0.5 * (curvature + curvature.T))
        return np.asarray(vectors / np.sqrt(np.clip(eigenvalues, 1 / _WIDEST**2, 1 / _NARROWEST**2)))

    def _learnt(self, root: np.ndarray, thetas: np.ndarray) -> np.ndarray:
        """A square root of the covariance of draws (n, theta size): of few draws, what they say of the coordinates that `root` gives.

        Correlations of these are shrunk towards none, so that a narrow ridge that is known stays narrow.
        """
        u = np.linalg.solve(root, self.target.populations.coordinates(thetas.T) - self.centre[:, None])
        d, n = u.shape
        covariance, share = np.cov(u).reshape(d, d), min(_SHRINK, 4 * d / n)
        shrunk = (1 - share) * covariance + (share + 1e-9) * np.diag(np.diag(covariance)) + 1e-12 * np.eye(d)
        return np.asarray(root @ np.linalg.cholesky(shrunk))

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
        beta = target.unplace(target.space.many(theta.T)[0], b)
        return np.concatenate([u, self._conditional.raised(beta - self.mode - self._follow @ (self.root @ u))])

    def at(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log density, up to a constant, and its gradient at q."""
        z, beta = self.place(q)
        log, in_z, in_beta = self.target.at(z, beta)
        in_u = self.root.T @ (in_z + self._follow.T @ in_beta)
        return log, np.concatenate([in_u, self._conditional.whitened(in_beta)])

    def psi(self, q: np.ndarray) -> np.ndarray:
        """theta of shape (size, n)."""
        return self.target.populations.plain(self.place(q)[0])[0]

    def effects(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """theta of shape (size, n) and b of shape (coefficients, n), elimination order, from the system's reference."""
        z, beta = self.place(q)
        theta = self.target.populations.plain(z)[0]
        return theta, self.target.place(self.target.space.many(theta.T)[0], beta)[0]
