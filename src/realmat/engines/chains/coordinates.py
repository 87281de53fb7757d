"""Coordinates in which the posterior is nearly standard normal: psi by what chains saw of it, effects by what their rows tell.

z = centre + C u,   beta = mode + F (z - centre) + L'^-1 w,   with z the coordinates of psi (`Populations`), P = L L' the precision
of the effects at the centre, each row standing for a normal one of its weight, and F how their mode follows psi. P is sparse, and so is
its factor. Where chains have seen that psi bends, z is the bend of C u instead (`bends`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from realmat.engines.chains import agreement, bends, following
from realmat.engines.chains.climbing import climb
from realmat.engines.chains.shears import FEW
from realmat.engines.chains.target import STEP, Target

_PROBES = 256  # draws of the effects, from which it is seen how well each of many is known
_WIDEST, _NARROWEST = 1.0, 1e-6  # sd of a hyperparameter before there are chains
_SHRINK = 0.1  # few chains, many psi: their covariance shrunk towards its diagonal
_STEPS = 4  # towards modes of effects, where normal rows stand for others
_WORTH = 0.2  # independent draws that one of a chain is, roughly


@dataclass(frozen=True)
class Passed:
    """What chains have seen.

    Attributes
    ----------
    root : array of shape (theta size, theta size)
        Of the covariance of z, with logarithms of scales for their totals and ratios, as it was known before.
    thetas, slopes : arrays of shape (theta size, n)
        Where they were, and the slopes of the log density there, in the same coordinates as `root`.
    theta, b : arrays of shape (theta size, chains) and (coefficients, chains)
        Where they are.
    straight : bool
        Whether z is not to be taken as bent.
    bend : Bend, optional
        What was known before of how z bends.
    """

    root: np.ndarray
    thetas: np.ndarray
    slopes: np.ndarray
    theta: np.ndarray
    b: np.ndarray
    straight: bool = False
    bend: bends.Bend | None = None


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
    draws : array of shape (theta size, n), optional
        Independent draws much like those that are looked for: how they bend is known before there are chains.
    """

    def __init__(
        self,
        target: Target,
        centre: np.ndarray,
        b: np.ndarray,
        root: np.ndarray | None = None,
        passed: Passed | None = None,
        draws: np.ndarray | None = None,
    ) -> None:
        self.target, self.centre = target, centre
        self.size = (target.space.size, target.system.size)
        values = target.space.many(centre[None])[0]
        seen = draws if passed is None else passed.thetas
        if seen is not None:
            target.straighten(seen)
        target.refer(centre)
        target.learn(None)
        self.mode = climb(target, centre, b)
        rows = target.gaussian(values, self.mode)
        if passed is not None:
            target.learn((target.space.many(passed.theta.T)[0], passed.b))
            rows = target.gaussian(values, self.mode)
        self._conditional = target.conditional(values, rows)
        probes = self._conditional.coloured(np.random.default_rng(0).standard_normal((len(b), _PROBES))) / np.sqrt(_PROBES)

        def root_of(sums: sparse.csr_matrix) -> np.ndarray:
            return self._conditional.whitened(sums.T.toarray()).T if sums.shape[0] <= FEW else np.asarray(sums @ probes)

        target.refer(centre, target.informed(centre, self.mode, root_of))
        self._follow = self._followed(rows)
        self.bend: bends.Bend | None = None
        self.following: following.Following | None = None
        if passed is not None:
            self._learn(passed)
        else:
            self.root = self.covered = self._curved() if root is None else self._turned(root)
            if draws is not None:
                self._bend(draws)
        if self.bend is not None:
            u = following.places(self.whitened(seen))
            z = self._bent(u)[0]
            left = self._modes(rows, z, _STEPS) - self.mode - self._follow @ (z - self.centre[:, None])
            self.following = following.fitted(u, np.nan_to_num(left))

    def _turned(self, root: np.ndarray) -> np.ndarray:
        """A square root of the covariance of z, to first order about the centre."""
        step = STEP * root
        ends = self.centre[:, None] + np.concatenate([step, -step], axis=1)
        ahead, behind = np.split(self.target.coordinates(ends), 2, axis=1)
        return np.asarray((ahead - behind) / (2 * STEP))

    def _followed(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        """How the mode of the effects follows psi, the normal rows held: shape (coefficients, theta size)."""
        d = self.size[0]
        ends = self.centre[:, None] + STEP * np.concatenate([np.eye(d), -np.eye(d)], axis=1)
        beta = self._modes(rows, ends)
        return np.nan_to_num((beta[:, :d] - beta[:, d:]) / (2 * STEP)).reshape(self.size[::-1])

    def _modes(self, rows: Mapping[str, np.ndarray], z: np.ndarray, steps: int = 1) -> np.ndarray:
        """Modes of the effects at z of shape (theta size, n), shape (coefficients, n): some steps, normal rows held in the first."""
        target, n = self.target, z.shape[1]
        values = target.space.many(target.plain(z).T)[0]
        own = {name: np.repeat(x, n, axis=1) for name, x in rows.items()}
        for step in range(steps):
            b = target.modes(values, own, n)
            if step < steps - 1:
                own = target.gaussian(values, b)
        return target.unplace(values, b)

    def _curved(self) -> np.ndarray:
        """A square root of the covariance of z, from the curvature of the log density where the effects follow."""
        d = self.size[0]
        step = STEP * np.concatenate([np.eye(d), -np.eye(d)], axis=1)
        _, in_z, in_beta = self.target.at(self.centre[:, None] + step, self.mode + self._follow @ step)
        slope = in_z + self._follow.T @ in_beta
        curvature = np.nan_to_num((slope[:, d:] - slope[:, :d]) / (2 * STEP))
        eigenvalues, vectors = np.linalg.eigh(0.5 * (curvature + curvature.T))
        return np.asarray(vectors / np.sqrt(np.clip(eigenvalues, 1 / _WIDEST**2, 1 / _NARROWEST**2)))

    def _learn(self, passed: Passed) -> None:
        """Roots of the covariance of z, and of what it is the bend of, from what chains have seen."""
        z, slopes = self.target.coordinates(passed.thetas), passed.slopes.copy()
        self.target.pull(z, slopes)
        root = np.linalg.solve(self.target.slope(self.centre), passed.root)
        u = np.linalg.solve(root, z - self.centre[:, None])
        self.root = self.covered = root @ _between(u, root.T @ slopes)
        if passed.straight:
            return
        worth = _WORTH * z.shape[1]
        if passed.bend is not None:  # chains that have not gone all ways know less of it
            worth = min(worth, float(agreement.bulk_ess(z.reshape(len(z), -1, passed.theta.shape[1]).swapaxes(1, 2)).min()))
        self.bend = bends.learn(z, worth) or passed.bend
        if self.bend is not None:
            v, passage = self.bend.straight(z)
            self.root = _between(v, self.bend.pull(passage, slopes))

    def _bend(self, draws: np.ndarray) -> None:
        """How z bends, from independent draws of theta."""
        z = self.target.coordinates(draws)
        self.bend = bends.learn(z, z.shape[1])
        if self.bend is not None:
            self.root = np.linalg.cholesky(np.cov(self.bend.straight(z)[0]).reshape(self.root.shape))

    def _bent(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray | float, bends.Passage | None]:
        """z at u, the log volume of a bend, and what its `pull` needs."""
        away = self.root @ u
        return (self.centre[:, None] + away, 0.0, None) if self.bend is None else self.bend.bent(away)

    def place(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """z and beta at q = (u, w) of shape (size, n)."""
        return self._placed(q, self._bent(q[: self.size[0]])[0])

    def _placed(self, q: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return z, self._middle(q[: self.size[0]], z) + self._conditional.coloured(q[self.size[0] :])

    def _middle(self, u: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Where the mode of the effects is thought to be."""
        middle = self.mode + self._follow @ (z - self.centre[:, None])
        return middle if self.following is None else middle + self.following.at(u)

    def whitened(self, thetas: np.ndarray) -> np.ndarray:
        """u of theta, shape (theta size, n)."""
        z = self.target.coordinates(thetas)
        return np.linalg.solve(self.root, z - self.centre[:, None] if self.bend is None else self.bend.straight(z)[0])

    def find(self, theta: np.ndarray, b: np.ndarray) -> np.ndarray:
        """q of theta and b, shapes (theta size, n) and (coefficients, n)."""
        target, z = self.target, self.target.coordinates(theta)
        beta = target.unplace(target.slopes.values(theta.T), b)
        u = self.whitened(theta)
        return np.concatenate([u, self._conditional.raised(beta - self._middle(u, z))])

    def at(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log density, up to a constant, and its gradient at q."""
        z, volume, passage = self._bent(q[: self.size[0]])
        log, in_z, in_beta = self.target.at(*self._placed(q, z))
        in_z = in_z + self._follow.T @ in_beta
        if self.bend is not None and passage is not None:
            in_z = self.bend.pull(passage, in_z)
        in_u = self.root.T @ in_z
        if self.following is not None:
            in_u += self.following.pull(q[: self.size[0]], in_beta)
        return log + volume, np.concatenate([in_u, self._conditional.whitened(in_beta)])

    def slopes(self, u: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """Slopes of the log density, as `Passed` has them, from those in u, both of shape (theta size, n)."""
        inside, (z, _, passage) = np.linalg.solve(self.root.T, slope), self._bent(u)
        out = inside if self.bend is None or passage is None else self.bend.push(passage, inside)
        self.target.push(z, out)
        return out

    @property
    def known(self) -> np.ndarray:
        """A square root of the covariance, as `Passed` has it."""
        return np.asarray(self.target.slope(self.centre) @ self.covered)

    def psi(self, q: np.ndarray) -> np.ndarray:
        """theta of shape (size, n)."""
        return self.target.plain(self._bent(q[: self.size[0]])[0])

    def effects(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """theta of shape (size, n) and b of shape (coefficients, n), elimination order, from the system's reference."""
        z, beta = self.place(q)
        theta = self.target.plain(z)
        return theta, self.target.place(self.target.slopes.values(theta.T), beta)[0]


def _between(u: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """A square root of a covariance by draws and by slopes, shape (size, n): the geometric mean of what both say.

    Of a normal they agree. Where chains are not there yet, draws are too far apart and slopes too steep, and the mean is right still
    (Seyboldt, Carlson & Carpenter, arXiv:2603.18845). Few draws say little of correlations, so these are shrunk towards those of the
    coordinates before, in which u is given, and a narrow ridge that is known stays narrow.
    """
    d, n = u.shape
    share = min(_SHRINK, 4 * d / n)
    by_draws, by_slopes = (
        (1 - share) * x + np.diag((share + 1e-9) * np.diag(x) + 1e-12) for x in (np.cov(u).reshape(d, d), slopes @ slopes.T / n)
    )
    half = _power(by_draws, 0.5)
    return np.linalg.cholesky(half @ _power(half @ by_slopes @ half, -0.5) @ half)


def _power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """A power of a positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.maximum(values, 1e-300) ** exponent) @ vectors.T)
