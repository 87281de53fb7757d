"""What commands print."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from realmat.shown import Shown

_PIPED = 160  # columns where the output is not a terminal, so that tables keep theirs


def say(*shown: Any) -> None:
    """Print to standard output: text, or anything that rich shows."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=False, width=None if sys.stdout.isatty() else _PIPED)
    for item in shown:
        console.print(item)


def heading(text: str) -> None:
    """Print a title over what follows."""
    from rich.rule import Rule

    say("", Rule(text, align="left", style="dim"))


def grid(table: pd.DataFrame, title: str = "", index: str = "") -> Any:
    """A DataFrame as a table of rich; `index` heads its index, which is left out without one."""
    from rich.table import Table

    from realmat.shown import significant

    out = Table(title=title or None, title_justify="left", title_style="bold", header_style="bold")
    if index:
        out.add_column(index)
    for name in table.columns:
        out.add_column(str(name), justify="right" if table[name].dtype.kind in "fiu" else "left", overflow="fold")
    for label, row in zip(table.index, table.itertuples(index=False), strict=True):
        out.add_row(*([str(label)] if index else []), *(significant(value) for value in row))
    return out


class Head:
    """A result, of a long table only the first rows."""

    def __init__(self, result: Shown, most: int) -> None:
        self.result, self.most = result, most

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        yield from self.result.in_terminal(options.max_width, self.most)


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """A progress bar on standard error; gives a function to call after each step, with what comes next, if that changes."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)

        def step(what: str | None = None, advance: int = 1) -> None:
            bar.update(task, advance=advance, description=what)

        yield step
