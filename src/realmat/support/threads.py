"""How many threads work side by side, here and in the linear algebra library underneath NumPy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

_MOST = 8
_ALONE: ContextVar[bool] = ContextVar("alone", default=False)


def workers() -> int:
    """Threads that share out work over psi or chains."""
    return 1 if _ALONE.get() else min(os.cpu_count() or 1, _MOST)


@contextmanager
def sharing() -> Iterator[None]:
    """Take one thread for the time of a block: the machine's other cores are at work on tasks of the same kind."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread for the time of a block, or of a function that this decorates.

    The exact algebra makes thousands of small matrices; threads of BLAS spend more time waiting for each other than they save (a fit of
    5000 measurements takes four times as long with two). Work that is large enough is shared out over psi or chains instead.
    """
    with _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> Any:
    import scipy.linalg  # noqa: F401  # brings a BLAS of its own, which the controller must find
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
