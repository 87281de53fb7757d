"""R-hat and bulk effective sample size of many quantities at once: rank-normalised, split chains, all in one go.

Vehtari, Gelman, Simpson, Carpenter & Buerkner, Bayesian Analysis 16, 667 (2021), as ArviZ computes them one quantity at a time.
"""

from __future__ import annotations

import numpy as np
from scipy import fft
from scipy.special import ndtri


def r_hat(x: np.ndarray) -> np.ndarray:
    """The larger of bulk and tail R-hat; `x` has shape (quantities, chains, draws)."""
    split = _split(x)
    folded = np.abs(split - np.median(split, axis=(1, 2), keepdims=True))
    return np.maximum(_r_hat(_ranked(split)), _r_hat(_ranked(folded)))


def bulk_ess(x: np.ndarray) -> np.ndarray:
    """Bulk effective sample size; `x` has shape (quantities, chains, draws)."""
    z = _ranked(_split(x))
    _, chains, n = z.shape
    centred = z - z.mean(axis=-1, keepdims=True)
    size = fft.next_fast_len(2 * n)
    spectrum = fft.rfft(centred, size, axis=-1)
    autocovariance = fft.irfft(spectrum * np.conj(spectrum), size, axis=-1)[..., :n] / n
    mean_variance = autocovariance[..., 0].mean(axis=1) * n / (n - 1)
    total = mean_variance * (n - 1) / n
    if chains > 1:
        total = total + z.mean(axis=-1).var(axis=-1, ddof=1)
    with np.errstate(all="ignore"):
        rho = 1 - (mean_variance[:, None] - autocovariance.mean(axis=1)) / total[:, None]
    rho[:, 0] = 1.0
    half = n // 2
    pairs = rho[:, 0 : 2 * half : 2] + rho[:, 1 : 2 * half : 2]
    # Geyer's initial monotone sequence: pairs up to the first that is not positive, none larger than the one before
    alive = np.logical_and.accumulate(pairs > 0, axis=1)
    used = np.where(alive, np.minimum.accumulate(pairs, axis=1), 0.0)
    last = np.minimum(alive.sum(axis=1), half - 1)
    extra = np.maximum(rho[np.arange(len(rho)), 2 * last], 0.0)  # improves the estimate for anticorrelated chains
    tau = np.maximum(-1 + 2 * used.sum(axis=1) + extra, 1 / np.log10(chains * n))
    return np.where(np.isfinite(tau), chains * n / tau, 0.0)


def _split(x: np.ndarray) -> np.ndarray:
    half = x.shape[-1] // 2
    return np.concatenate([x[..., :half], x[..., x.shape[-1] - half :]], axis=1)


def _ranked(x: np.ndarray) -> np.ndarray:
    """Normal scores of the ranks over all chains of a quantity."""
    flat = x.reshape(len(x), -1)
    rank = np.empty(flat.shape)
    np.put_along_axis(rank, np.argsort(flat, axis=1), np.arange(1.0, flat.shape[1] + 1)[None], axis=1)
    return np.asarray(ndtri((rank - 0.375) / (flat.shape[1] + 0.25)).reshape(x.shape))


def _r_hat(z: np.ndarray) -> np.ndarray:
    n = z.shape[-1]
    between = z.mean(axis=-1).var(axis=-1, ddof=1)
    within = z.var(axis=-1, ddof=1).mean(axis=-1)
    with np.errstate(all="ignore"):
        return np.asarray(np.sqrt((n - 1) / n + between / within))
