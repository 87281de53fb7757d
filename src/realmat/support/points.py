"""Uniform numbers that fill their cube evenly: scrambled Sobol' points, alone or in pairs that mirror each other.

Each is uniform, so that means over them are as unbiased as over independent numbers, but those of smooth functions come much nearer to what
they estimate (Owen, Annals of Statistics 25, 1541, 1997).
"""

from __future__ import annotations

import numpy as np

_MOST = 5000  # coordinates with Sobol' points: in others numbers are independent
_BITS = 30


def even(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    """Uniform numbers of shape (n, size), none of them 0 or 1; numbers of different calls are independent."""
    from scipy.stats import qmc  # as slow to import as some fits are

    some, u = min(size, _MOST), rng.random((n, size))
    u[:, :some] = qmc.Sobol(some, bits=_BITS, rng=rng).random_base2(max(n - 1, 0).bit_length())[:n]
    return u * (1 - 0.5**_BITS) + 0.5 ** (_BITS + 1)


def mirrored(rng: np.random.Generator, n: int, size: int, alike: int) -> np.ndarray:
    """The same in pairs: the second of each is u and 1 - u, but for the first `alike` coordinates, in which both are u.

    In a mean over a pair what is odd about the centre cancels (antithetic variates: Hammersley & Morton, Proc. Camb. Phil. Soc. 52, 449,
    1956). As the two follow each other, autocorrelation tells that. Pairs are in no order: every tenth draw is as good a sample as any.
    """
    u = rng.permutation(even(rng, -(-n // 2), size))
    other = 1 - u
    other[:, :alike] = u[:, :alike]
    return np.stack([u, other], axis=1).reshape(2 * len(u), size)[:n]
