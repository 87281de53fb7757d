"""The command line: `realmat demo`, `fit`, `budget`, `compare`, `report` and their like.

Uses everything. Heavy libraries are imported by the commands that use them, so that ``realmat --help`` answers at once.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import warnings

__all__ = ["main", "run"]

_DEBUG = "--debug"
_INTERRUPTED = 130  # what typer makes of Ctrl-C
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of malloc.h


def main() -> None:
    """The command as a process of its own: `run`, and out."""
    _keep_memory()
    status = run()
    if status:
        sys.exit(status)
    os._exit(0)  # everything is written; taking a thousand modules and large arrays apart would take half a second


def run() -> int:
    """Run the command that the arguments name; its exit status: 0 done, 1 it could not be done, 2 wrong usage, 130 interrupted."""
    debug = _DEBUG in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != _DEBUG]
    if not debug:
        warnings.simplefilter("ignore")
    from realmat.cli.app import app
    from realmat.errors import RealmatError

    status = 0
    try:
        try:
            app(prog_name="realmat")
        except SystemExit as stop:
            status = int(stop.code or 0)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except RealmatError as error:
        if debug:
            raise
        return _said(str(error), 1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has left, as in `realmat list | head -1`
        return 1
    except Exception as error:
        if _from_interrupt(error):
            status = _INTERRUPTED
        elif debug:
            raise
        else:
            told = f"an error inside realmat, {type(error).__name__}: {error}"
            return _said(f"{told}\nRun it again with {_DEBUG} to see where, and report it.", 1)
    return _said("interrupted; nothing was left half written.", status) if status == _INTERRUPTED else status


def _keep_memory() -> None:
    """Hold on to memory that is freed, and look for cycles seldom: a command makes large arrays one after the other, and soon ends.

    glibc otherwise gives every large array back and gets the next one page by page, cleared, for a tenth of the time of a fit.
    """
    gc.set_threshold(100_000, 50, 50)
    try:
        allocator = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return
    for option, value in ((_MMAP_THRESHOLD, 1 << 25), (_TRIM_THRESHOLD, 1 << 30), (_TOP_PAD, 1 << 26)):
        allocator(option, value)


def _from_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C came while a compiled function ran, which raises a SystemError of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _said(message: str, status: int) -> int:
    print(f"realmat: {message}", file=sys.stderr)
    return status
