"""What commands print."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from realmat.support.shown import Shown

_PIPED = 160  # columns where the output is not a terminal, so that tables keep theirs


def say(*shown: Any) -> None:
    """Print to standard output: text, or anything that rich shows."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=False, width=None if sys.stdout.isatty() else _PIPED)
    for item in shown:
        console.print(item)


def write_as(table: pd.DataFrame, form: str) -> None:
    """Print a table as ``csv`` or ``json`` (a list of rows), every number to its last digit."""
    text = table.to_csv(index=False) if form == "csv" else f"{table.to_json(orient='records', force_ascii=False, indent=1)}\n"
    sys.stdout.write(text)


def heading(text: str) -> None:
    """Print a title over what follows."""
    from rich.rule import Rule

    say("", Rule(text, align="left", style="dim"))


def grid(table: pd.DataFrame, title: str = "", index: str = "") -> Any:
    """A DataFrame as a table that fits the terminal; `index` heads its index, which is left out without one."""
    from realmat.support.numbers import significant

    shown = table.map(significant)
    whole = [table[name].dtype.kind in "fiu" for name in table]
    if index:
        shown, whole = shown.reset_index(names=index), [True, *whole]
    return _Grid(shown, whole, title)


class _Grid:
    """A table of text, as many of its columns as fit."""

    def __init__(self, shown: pd.DataFrame, whole: list[bool], title: str) -> None:
        self.shown, self.whole, self.title = shown, whole, title

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from realmat.support.shown import narrowed, rich_table

        shown, whole, left_out = narrowed(self.shown, self.whole, options.max_width)
        yield rich_table(shown, whole, self.title)
        if left_out:
            yield f"Not shown, for want of width: {', '.join(left_out)}."


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
