"""What is asked of a fit, whichever road draws."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Asked:
    """Draws of each of so many chains.

    Attributes
    ----------
    latents : {"draws", "summary"}
        Whether all draws of coefficients are kept, or their mean and sd.
    """

    draws: int
    chains: int
    seed: int
    latents: str
    progress: bool
