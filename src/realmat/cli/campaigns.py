"""`realmat campaign`: a campaign kept in a file between one command and the next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from realmat.campaign import Campaign

campaign = typer.Typer(no_args_is_help=True, help="Measure, update, decide: what to measure next, kept in a file from step to step.")
RecordArgument = Annotated[Path, typer.Argument(metavar="RECORD", help="The campaign's file.", show_default=False)]


@campaign.command()
def start(
    fit: Annotated[Path, typer.Argument(metavar="FIT", help="A file that `realmat fit` wrote.", show_default=False)],
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="The file to begin.", show_default=False)],
    budget: Annotated[float | None, typer.Option(help="What may be spent in all.", show_default=False)] = None,
    until: Annotated[float | None, typer.Option(help="Uncertainty at which enough is known.", show_default=False)] = None,
    cost: Annotated[list[str] | None, typer.Option(metavar="ACTION=NUMBER", help="What an action costs.", show_default=False)] = None,
    candidates: Annotated[Path | None, typer.Option(help="A table of rows that could be measured.", show_default=False)] = None,
    target: Annotated[Path | None, typer.Option(help="A table of rows to be predicted.", show_default=False)] = None,
) -> None:
    """Begin a campaign."""
    import realmat as rm
    from realmat.cli.show import say

    if record.exists():
        raise rm.FileError(f"{record} exists; go on with `realmat campaign ask {record}`, or name another file.")
    settings = {
        "fit": str(fit.resolve()),
        "budget": budget,
        "until": until,
        "costs": numbers(cost or [], "--cost"),
        "candidates": None if candidates is None else str(candidates.resolve()),
        "target": None if target is None else str(target.resolve()),
    }
    begun = _campaign(settings, record)
    begun.record.add("settings", **settings)
    say(repr(begun)[1:-1], f"The uncertainty is {begun.uncertainty:.4g}.", f"Next:  realmat campaign ask {record}")


@campaign.command()
def ask(
    record: RecordArgument,
    n: Annotated[int, typer.Option("-n", help="How many actions.", min=1)] = 1,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="CSV file to fill in.", show_default=False)] = None,
) -> None:
    """What to measure next, as a table to fill in."""
    from realmat.cli.show import grid, say

    going = _opened(record)
    todo = going.ask(n)
    if todo.empty:
        say(f"Nothing: {going.why_done}.")
        return
    say(grid(todo))
    if out is not None:
        todo.to_csv(out, index=False)
        say("", f"Written: {out}", f"Fill in, then:  realmat campaign tell {record} {out}")


@campaign.command()
def tell(record: RecordArgument, data: Annotated[Path, typer.Argument(help="Measured rows.", show_default=False)]) -> None:
    """Take measured rows in: those of `ask`, filled as far as they were measured, or any others."""
    from realmat.cli import tables
    from realmat.cli.show import say

    going = _opened(record)
    going.tell(tables.read(data).frame)
    said = f"Done: {going.why_done}." if going.done else f"Next:  realmat campaign ask {record}"
    say(repr(going)[1:-1], *_open(going), f"The uncertainty is {going.uncertainty:.4g}.", said)


@campaign.command()
def report(
    record: RecordArgument,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Picture: PNG, SVG or PDF.", show_default=False)] = None,
) -> None:
    """What was asked and spent, and how the uncertainty fell; with -o as a picture."""
    import realmat as rm
    from realmat.cli.show import grid, say
    from realmat.support.places import writable

    going = _opened(record)
    say(repr(going)[1:-1], grid(going.history), *_open(going), f"The uncertainty is {going.uncertainty:.4g}.")
    if out is not None:
        picture = going.plot()
        known = picture.canvas.get_supported_filetypes()
        if out.suffix.removeprefix(".").lower() not in known:
            raise rm.FileError(f"{out}: a picture is written as {', '.join(known)}, as its name ends.")
        picture.savefig(writable(out))
        say("", f"Written: {out}")


def _open(going: Campaign) -> list[str]:
    """What was asked for and not told yet, in a line."""
    return [f"Open: {', '.join(going.open)}."] if going.open else []


def _opened(record: Path) -> Campaign:
    import realmat as rm
    from realmat.campaign.record import Record

    if not record.exists():
        raise rm.FileError(f"{record} does not exist; begin with `realmat campaign start`.")
    settings = Record(record).of("settings")
    if not settings:
        raise rm.FileError(f"{record} was not begun by `realmat campaign start`.")
    return _campaign(settings[0], record)


def _campaign(settings: dict[str, Any], record: Path) -> Campaign:
    import realmat as rm
    from realmat.cli import tables

    pool, target = (None if settings[name] is None else tables.read(Path(settings[name])).frame for name in ("candidates", "target"))
    return rm.Campaign(rm.load(settings["fit"]), target, settings["costs"], settings["budget"], pool, settings["until"], path=record)


def numbers(given: list[str], option: str) -> dict[str, float]:
    """Values of an option that was given as NAME=NUMBER, several times."""
    found = {}
    for one in given:
        name, _, number = one.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            raise typer.BadParameter(f"{one!r} is not NAME=NUMBER.", param_hint=option) from None
    return found
