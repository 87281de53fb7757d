"""Statistics of pivots, each turned into a number that is standard normal if the model is right."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from realmat.validation.misfit.pivots import Layer

_LEAST = 1e-150  # its square is still a number
_IMPOSSIBLE = 1e-300


class Sample:
    """Pivots `z` of shape (n, size), and the sums along them that many statistics share, each made once."""

    def __init__(self, z: np.ndarray) -> None:
        self.z = z
        self.size = z.shape[1]

    @cached_property
    def absolute(self) -> np.ndarray:
        """Their absolute values."""
        return np.abs(self.z)

    @cached_property
    def mean(self) -> np.ndarray:
        """Shape (n,), as all that follow."""
        return self.z.mean(axis=1)

    @cached_property
    def squares(self) -> np.ndarray:
        """Sum of squares."""
        return np.maximum(np.einsum("ij,ij->i", self.z, self.z), _LEAST)

    @cached_property
    def about_mean(self) -> np.ndarray:
        """Sum of squares about the mean."""
        return np.maximum(self.squares - self.size * self.mean**2, _LEAST)

    @cached_property
    def absolute_mean(self) -> np.ndarray:
        """Mean of the absolute values."""
        return self.absolute.mean(axis=1)

    @cached_property
    def absolute_about_mean(self) -> np.ndarray:
        """Sum of squares of the absolute values about their mean."""
        return np.maximum(self.squares - self.size * self.absolute_mean**2, _LEAST)


@dataclass(frozen=True)
class Statistic(ABC):
    """One question to the pivots of one layer.

    Attributes
    ----------
    kind : str
        What it would find: curve, column, drift, group, noise group, noise line, tails, apart.
    layer : int
        Number of the layer.
    column : str
        What it is asked about; empty for the layer by itself.
    """

    kind: str
    layer: int
    column: str

    @abstractmethod
    def scores(self, sample: Sample) -> np.ndarray:
        """Normal scores, large where the model is contradicted, shape (n,)."""

    @abstractmethod
    def repaired(self, z: np.ndarray) -> np.ndarray:
        """The pivots as they would be without what it finds."""

    def directions(self, z: np.ndarray) -> np.ndarray | None:
        """What it finds as directions of the mean, shape (size, n); None for what is no mean."""
        return None

    @abstractmethod
    def effect(self, layer: Layer) -> float:
        """What it finds as a standard deviation, on the scale of the link."""


def from_probability(p: np.ndarray) -> np.ndarray:
    """Normal score of an upper tail probability."""
    return -special.ndtri(np.clip(p, _IMPOSSIBLE, 1 - 1e-16))


def _from_correlation(r: np.ndarray, df: int) -> np.ndarray:
    """Two-sided normal score of a correlation of independent normals with a fixed vector."""
    r2 = np.clip(r**2, 0.0, 1.0)
    return from_probability(special.betainc(df / 2, 0.5, 1 - r2))


@dataclass(frozen=True)
class Along(Statistic):
    """Correlation with a fixed vector `h` of length 1, orthogonal to the constant."""

    h: np.ndarray

    @staticmethod
    @abstractmethod
    def correlations(sample: Sample, h: np.ndarray) -> np.ndarray:
        """With many vectors, the columns of `h`: shape (n, vectors)."""

    def scores(self, sample: Sample) -> np.ndarray:
        """By the beta distribution of the squared correlation."""
        return self.together(sample, [self])[:, 0]

    @classmethod
    def together(cls, sample: Sample, asked: Sequence[Along]) -> np.ndarray:
        """Scores of many questions of the kind, shape (n, questions)."""
        return _from_correlation(cls.correlations(sample, np.column_stack([one.h for one in asked])), sample.size - 2)


@dataclass(frozen=True)
class Line(Along):
    """Of the pivots themselves."""

    @staticmethod
    def correlations(sample: Sample, h: np.ndarray) -> np.ndarray:
        """As they are."""
        return np.asarray(sample.z @ h / np.sqrt(sample.about_mean)[:, None])

    def repaired(self, z: np.ndarray) -> np.ndarray:
        """Without the line."""
        return z - (z @ self.h)[:, None] * self.h

    def directions(self, z: np.ndarray) -> np.ndarray:
        """The line."""
        return self.h[:, None]

    def effect(self, layer: Layer) -> float:
        """Standard deviation of the line over the values."""
        return layer.scale * float(np.abs(np.mean(layer.z @ self.h))) / np.sqrt(len(self.h))


@dataclass(frozen=True)
class Offset(Statistic):
    """The mean against zero: effects that all lie to one side stand for a level that a prior holds in the wrong place."""

    def scores(self, sample: Sample) -> np.ndarray:
        """By the beta distribution of the mean's share of the sum of squares."""
        return _from_correlation(sample.mean * np.sqrt(sample.size / sample.squares), sample.size - 1)

    def repaired(self, z: np.ndarray) -> np.ndarray:
        """About zero."""
        return z - z.mean(axis=1, keepdims=True)

    def directions(self, z: np.ndarray) -> np.ndarray:
        """The constant."""
        return np.ones((z.shape[1], 1))

    def effect(self, layer: Layer) -> float:
        """The mean."""
        return layer.scale * float(np.abs(layer.z.mean()))


@dataclass(frozen=True)
class SpreadLine(Along):
    """Of absolute pivots, as in the test of Glejser, J. Am. Stat. Assoc. 64, 316 (1969)."""

    @staticmethod
    def correlations(sample: Sample, h: np.ndarray) -> np.ndarray:
        """Absolute values."""
        return np.asarray(sample.absolute @ h / np.sqrt(sample.absolute_about_mean)[:, None])

    def _factor(self, z: np.ndarray) -> np.ndarray:
        """How the spread changes along the vector: exponentials of a line through logarithms."""
        log = np.log(np.maximum(np.abs(z), 1e-3))
        line = (log @ self.h)[:, None] * self.h
        return np.exp(line - 0.5 * np.log(np.mean(np.exp(2 * line), axis=1, keepdims=True)))

    def repaired(self, z: np.ndarray) -> np.ndarray:
        """With an even spread."""
        return z / self._factor(z)

    def effect(self, layer: Layer) -> float:
        """Root mean square change of the spread."""
        return layer.scale * float(np.sqrt(np.mean((self._factor(layer.z) - 1) ** 2)))


@dataclass(frozen=True)
class Groups(Statistic):
    """Analysis of variance of pivots (or of their absolute values, after Levene) between groups `codes`."""

    codes: np.ndarray
    spread: bool

    def _means(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        count = np.bincount(self.codes)
        return z @ np.eye(len(count))[self.codes] / count, count

    def scores(self, sample: Sample) -> np.ndarray:
        """By the F distribution."""
        means, count = self._means(sample.absolute if self.spread else sample.z)
        whole, total = (sample.absolute_mean, sample.absolute_about_mean) if self.spread else (sample.mean, sample.about_mean)
        between = ((means - whole[:, None]) ** 2 * count).sum(axis=1)
        a, b = (len(count) - 1) / 2, (sample.size - len(count)) / 2
        return from_probability(special.betainc(b, a, np.clip(1 - between / total, 0.0, 1.0)))

    def repaired(self, z: np.ndarray) -> np.ndarray:
        """Without differences between groups."""
        if self.spread:
            return z / np.sqrt(np.maximum(self._means(z**2)[0], _LEAST))[:, self.codes]
        return z - self._means(z)[0][:, self.codes]

    def directions(self, z: np.ndarray) -> np.ndarray | None:
        """A number for each group."""
        return None if self.spread else np.eye(int(self.codes.max()) + 1)[self.codes][:, 1:]

    def effect(self, layer: Layer) -> float:
        """Root mean square difference between groups, in the spread or the mean."""
        means = self._means(layer.z**2 if self.spread else layer.z)[0].mean(axis=0)[self.codes]
        values = np.sqrt(means) - np.sqrt(np.mean(means)) if self.spread else means - means.mean()
        return layer.scale * float(np.sqrt(np.mean(values**2)))


@dataclass(frozen=True)
class Tails(Statistic):
    """Kurtosis above that of a normal, by the transformation of Anscombe & Glynn, Biometrika 70, 227 (1983)."""

    def scores(self, sample: Sample) -> np.ndarray:
        """By a transformed kurtosis."""
        n = sample.size
        squares = np.square(sample.z - sample.mean[:, None])
        b2 = n * np.einsum("ij,ij->i", squares, squares) / sample.about_mean**2
        mean = 3 * (n - 1) / (n + 1)
        sd = np.sqrt(24 * n * (n - 2) * (n - 3) / ((n + 1) ** 2 * (n + 3) * (n + 5)))
        skew = 6 * (n * n - 5 * n + 2) / ((n + 7) * (n + 9)) * np.sqrt(6 * (n + 3) * (n + 5) / (n * (n - 2) * (n - 3)))
        a = 6 + 8 / skew * (2 / skew + np.sqrt(1 + 4 / skew**2))
        x = (b2 - mean) / sd
        return (1 - 2 / (9 * a) - np.cbrt((1 - 2 / a) / (1 + x * np.sqrt(2 / (a - 4))))) / np.sqrt(2 / (9 * a))

    def repaired(self, z: np.ndarray) -> np.ndarray:
        """Ranks as normal scores."""
        ranks = z.argsort(axis=1).argsort(axis=1)
        return special.ndtri((ranks + 0.5) / z.shape[1])

    def effect(self, layer: Layer) -> float:
        """How far the standard deviation is from that of the middle half."""
        middle = np.subtract(*np.quantile(layer.z, [0.75, 0.25], axis=1)) / 1.349
        return layer.scale * float(np.abs(np.mean(layer.z.std(axis=1) - middle)))


@dataclass(frozen=True)
class Apart(Statistic):
    """The largest absolute pivot against all of them: Grubbs, Ann. Math. Stat. 21, 27 (1950), about zero."""

    def scores(self, sample: Sample) -> np.ndarray:
        """By the beta distribution of its share of the sum of squares, of so many values."""
        share, n = sample.absolute.max(axis=1) ** 2 / sample.squares, sample.size
        single = special.betainc((n - 1) / 2, 0.5, np.clip(1 - share, 0.0, 1.0))
        return from_probability(-np.expm1(n * np.log1p(-np.minimum(single, 1 - 1e-12))))

    def which(self, z: np.ndarray) -> int:
        """The value that lies apart at most draws."""
        return int(np.bincount(np.abs(z).argmax(axis=1)).argmax())

    def repaired(self, z: np.ndarray) -> np.ndarray:
        """With the value set to its expectation."""
        out = z.copy()
        out[:, self.which(z)] = 0.0
        return out

    def directions(self, z: np.ndarray) -> np.ndarray:
        """The value alone."""
        return (np.arange(z.shape[1]) == self.which(z)).astype(float)[:, None]

    def effect(self, layer: Layer) -> float:
        """Root mean square over the values of what it moves."""
        return layer.scale * float(np.abs(layer.z[:, self.which(layer.z)].mean())) / np.sqrt(layer.size)
