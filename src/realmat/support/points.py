"""Uniform numbers that fill their cube evenly: scrambled Sobol' points, alone or in pairs that mirror each other.

Each is uniform, so that means over them are as unbiased as over independent numbers, but those of smooth functions of few of them come much
nearer to what they estimate (Owen, Annals of Statistics 25, 1541, 1997; scrambled as by Matousek, J. Complexity 14, 527, 1998).
"""

from __future__ import annotations

import numpy as np
from scipy import special

_BITS = 30
_LEAST, _MORE, _FROM = 4, 5, 64  # coordinates that go together, at least, and more of them with each doubling from so many points


def even(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    """Uniform numbers of shape (n, size), none of them 0 or 1, in no order; numbers of different calls are independent.

    Of many coordinates some pairs of Sobol' points lie on few lines, the fewer points the more. As many go together as n points fill, in
    every pair about as well as independent ones or better; beside other such coordinates they stand by chance (Latin supercube sampling:
    Owen, ACM Trans. Model. Comput. Simul. 8, 71, 1998).
    """
    from scipy.stats import qmc  # as slow to import as some fits are

    bits = max(n - 1, 0).bit_length()
    most = max(_LEAST, _MORE * (bits - _FROM.bit_length() + 1))
    out = np.empty((n, size))
    for some in np.array_split(np.arange(size), -(-size // most)) if size else []:
        out[:, some] = rng.permutation(qmc.Sobol(len(some), bits=_BITS, rng=rng).random_base2(bits)[:n])
    return out * (1 - 0.5**_BITS) + 0.5 ** (_BITS + 1)


def mirrored(rng: np.random.Generator, n: int, size: int, alike: int) -> np.ndarray:
    """The same in pairs: the second of each is u and 1 - u, but for the first `alike` coordinates, in which both are u.

    In a mean over a pair what is odd about the centre cancels (antithetic variates: Hammersley & Morton, Proc. Camb. Phil. Soc. 52, 449,
    1956). As the two follow each other, autocorrelation tells that. Pairs are in no order: every tenth draw is as good a sample as any.
    """
    u = even(rng, -(-n // 2), size)
    other = 1 - u
    other[:, :alike] = u[:, :alike]
    return np.stack([u, other], axis=1).reshape(2 * len(u), size)[:n]


def student(u: np.ndarray, nu: float | np.ndarray) -> np.ndarray:
    """Standard multivariate Student t vectors, shape (n, d), of nu degrees of freedom, from uniform numbers of shape (n, 1 + d).

    The first number of each says how far it is stretched; where the others are mirrored, so is the vector.
    """
    half = 0.5 * np.broadcast_to(nu, len(u))
    return np.asarray(special.ndtri(u[:, 1:]) * np.sqrt(half / special.gammaincinv(half, u[:, 0]))[:, None])
