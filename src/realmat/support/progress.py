"""A progress bar for work of known or unknown length; silent when asked, or when nobody watches."""

from __future__ import annotations

from types import TracebackType
from typing import Any


class Progress:
    """Context manager around a rich progress bar.

    Parameters
    ----------
    show : bool
    what : str
        What is being done, in a few words.
    total : int or None
        Number of steps; None while unknown.
    """

    def __init__(self, show: bool, what: str, total: int | None) -> None:
        self._bar: Any = None
        self._task: Any = None
        self.show, self.what, self.total = show, what, total

    def __enter__(self) -> Progress:
        if self.show:
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self.what, total=self.total)
        return self

    def restart(self, what: str, total: int) -> None:
        """The next stage of the same work."""
        if self._bar is not None:
            self._bar.reset(self._task, description=what, total=total)

    def advance(self, steps: int = 1) -> None:
        """So many steps are done."""
        if self._bar is not None:
            self._bar.advance(self._task, steps)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
