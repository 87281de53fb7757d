"""One valid psi, to look at shapes and to start from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def example_values(params: Sequence[Any]) -> dict[str, Any]:
    """A valid psi: the median of each prior, references resolved in order."""
    values: dict[str, Any] = {}
    pending = list(params)
    while pending:
        ready = [q for q in pending if all(r in values for r in q.prior.references)]
        for q in ready or pending[:1]:
            median = q.prior.median({**dict.fromkeys(q.prior.references, 1.0), **values})
            values[q.name] = median if q.coords is None else np.full(q.size, median)
            pending.remove(q)
    return values
