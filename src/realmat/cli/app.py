"""The commands."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from realmat.cli.campaigns import campaign, numbers

if TYPE_CHECKING:
    from realmat.fit import Fit
    from realmat.joint import Joint
    from realmat.model import Model
    from realmat.support.shown import Shown
    from realmat.support.summaries import Summary
    from realmat.table.reading import ReadTable

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Layered Bayesian models of theory, the real material, and the observation. TEMPLATE is a name of `realmat list`, a folder or "
    "a file; DATA is a text file, a workbook or Parquet with the columns that `realmat list TEMPLATE` names.",
)


app.add_typer(campaign, name="campaign")


class New(StrEnum):
    """What is drawn anew in a budget."""

    observation = "observation"
    specimen = "specimen"
    material = "material"


class Engine(StrEnum):
    """Engines of `Model.fit`."""

    auto = "auto"
    exact = "exact"
    nuts = "nuts"


TemplateArgument = Annotated[
    str, typer.Argument(metavar="TEMPLATE", help="A name of `realmat list`, a folder, or a file.", show_default=False)
]
DataArgument = Annotated[Path | None, typer.Argument(metavar="[DATA]", help="Your table; the template's own data set without it.")]
Sheet = Annotated[str | None, typer.Option(help="Of a workbook: the sheet's name, or its number from 1.", show_default=False)]
Rename = Annotated[
    list[str] | None, typer.Option(metavar="OLD=NEW", help="Another name for a column; may be repeated.", show_default=False)
]
Fill = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN", help="Empty cells of it repeat what stands above; may be repeated.", show_default=False),
]
FitArgument = Annotated[Path, typer.Argument(metavar="FIT", help="A file that `realmat fit` wrote.", show_default=False)]
Variant = Annotated[str | None, typer.Option(help="Which of the template's models; real, or its last.", show_default=False)]
Of = Annotated[str | None, typer.Option("--of", metavar="PROPERTY", help="Of a joint fit: which property.", show_default=False)]
Seed = Annotated[int, typer.Option(help="The same seed, data and version give the same numbers.")]
Csv = Annotated[Path | None, typer.Option("--csv", help="Also write the whole table to this file.", show_default=False)]
Trust = Annotated[
    list[str] | None,
    typer.Option("--trust", metavar="MODULE", help="A module or template whose functions the fit may use.", show_default=False),
]


class Format(StrEnum):
    """How a table is printed."""

    table = "table"
    csv = "csv"
    json = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="How to print the table.")]
Most = Annotated[int, typer.Option(help="Rows to print at most.", min=1)]


@app.callback()
def _options(debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False) -> None:
    pass


@app.command()
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the reports.")] = Path("realmat-demo"),
    folds: Annotated[int, typer.Option(help="Folds of the cross-validation over compounds.", min=2)] = 10,
    seed: Seed = 1,
) -> None:
    """Three models of measured formation enthalpies: compared, taken apart, tested on compounds they have not seen."""
    from realmat.cli.demo import run

    run(out, folds, seed)


@app.command("list")
def list_(
    template: Annotated[str | None, typer.Argument(metavar="[TEMPLATE]", help="Show its variants and columns.", show_default=False)] = None,
    form: FormatOption = Format.table,
) -> None:
    """Show the templates; or one template's variants, and the columns that a table of your own must hold."""
    import pandas as pd

    import realmat as rm
    from realmat.cli.show import grid, say, write_as

    if template is None:
        table = rm.templates.list()
    else:
        found = rm.templates.get(template)
        rows = [(c.name, c.unit, "yes" if c.required else "no", c.meaning) for c in found.columns]
        table = pd.DataFrame(rows, columns=["column", "unit", "required", "meaning"])
    if form is not Format.table:
        write_as(table, form.value)
        return
    if template is not None:
        say(f"{found.name}: {found.summary}.", "", *(f"{name:>10}: {meaning}" for name, meaning in found.meanings.items()), "")
    say(grid(table))


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of the folder to write, here; a lower-case Python name.", show_default=False)],
    start: Annotated[
        str | None, typer.Option("--from", metavar="TEMPLATE", help="Copy this template instead of the small one.", show_default=False)
    ] = None,
) -> None:
    """Write a template of your own to start from: a folder that runs at once."""
    from realmat.cli.show import say
    from realmat.templates.writing import write

    folder = write(name, start)
    say(f"Written: {folder}/template.py and {folder}/README.md, its model card. Next:", f"  realmat fit {name}", f"  realmat check {name}")


@app.command()
def read(
    data: Annotated[Path, typer.Argument(metavar="FILE", help="A text file, a workbook or Parquet.", show_default=False)],
    sheet: Sheet = None,
    rename: Rename = None,
    fill: Fill = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write the table as it was read to this file.", show_default=False)] = None,
) -> None:
    """Show what is read of a table as what, and what cannot be read."""
    from realmat.cli import tables
    from realmat.cli.show import say

    found = tables.read(data, sheet, rename or (), fill or ())
    say(found)
    if csv is not None:
        tables.write(found, csv)
        _written(csv)


@app.command()
def check(
    template: TemplateArgument,
    data: DataArgument = None,
    variant: Variant = None,
    sheet: Sheet = None,
    rename: Rename = None,
    fill: Fill = None,
    form: FormatOption = Format.table,
) -> None:
    """Check a table before fitting (columns, units, what its design can separate); without DATA, check the template itself."""
    import realmat as rm
    from realmat.cli.show import progress, say

    found = rm.templates.get(template)
    if data is not None:
        table = _prepared(found, data, sheet, rename, fill, quiet=form is not Format.table)
        _show(_model(found, variant, table).check(table.frame), form=form)
        return
    with progress(f"checking {found.name}") as step:
        result = rm.testing.check_template(found, tick=step)
    say(result)
    if not result.passed:
        raise typer.Exit(1)


@app.command()
def fit(
    template: TemplateArgument,
    data: DataArgument = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="File to write; TEMPLATE-VARIANT.nc without it.", show_default=False)
    ] = None,
    variant: Variant = None,
    engine: Annotated[Engine, typer.Option(help="How to sample; auto takes exact where it applies.")] = Engine.auto,
    draws: Annotated[int, typer.Option(help="Draws of each chain.", min=4)] = 1000,
    chains: Annotated[int, typer.Option(min=1)] = 4,
    seed: Seed = 1,
    cv: Annotated[int, typer.Option(metavar="FOLDS", help="Also cross-validate over materials with so many folds.", min=0)] = 0,
    sheet: Sheet = None,
    rename: Rename = None,
    fill: Fill = None,
) -> None:
    """Fit a template to a table, and write the result."""
    import realmat as rm
    from realmat.cli.show import Head, grid, heading, progress, say

    found = rm.templates.get(template)
    variant = variant or found.default
    target = out or Path(f"{found.name}-{variant}.nc")
    if not target.parent.is_dir():
        raise rm.FileError(f"cannot write {target}: there is no folder {target.parent}.")
    table = _prepared(found, data, sheet, rename, fill)
    model = _model(found, variant, table)
    done = model.fit(table.frame, engine=engine.value, draws=draws, chains=chains, seed=seed)
    done.save(target)  # before anything else can fail
    say(f"{done!r}"[1:-1], str(done.facts["reason"]))
    heading("Hyperparameters and coefficients")
    say(grid(cast("Summary", done.summary(most=12)).formatted(), index="variable"))
    say("", Head(done.check(), 20))
    if cv:
        by = "material" if "material" in model.levels else "row"
        with progress(f"{cv}-fold cross-validation", cv) as step:
            held_out = rm.cross_validate(model, table.frame, cv, by=by, seed=seed, engine=engine.value, tick=step)
        say("", held_out)
    _written(target)


@app.command()
def budget(
    fit: FitArgument,
    new: Annotated[
        New, typer.Option(help="What a new measurement is of: a known specimen, a new one, or a new material.")
    ] = New.observation,
    scale: Annotated[str, typer.Option(help="With a log link: link (relative) or response units.")] = "link",
    average: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LEVEL=NUMBER", help="Of a mean: observation=3 and lab=2 are three readings in each of two.", show_default=False
        ),
    ] = None,
    csv: Csv = None,
    form: FormatOption = Format.table,
    trust: Trust = None,
    of: Of = None,
) -> None:
    """The uncertainty budget of a new measurement: each layer's part, aleatoric and epistemic."""
    mean = {name: int(n) if n.is_integer() else n for name, n in numbers(average or [], "--average").items()}
    _show(_load(fit, trust).budget(new=new.value, scale=scale, average=mean, of=of), csv, form=form)  # type: ignore[arg-type]


@app.command()
def plans(
    fit: FitArgument,
    target: Annotated[float, typer.Argument(metavar="U", help="Standard uncertainty that a mean is to have.", show_default=False)],
    cost: Annotated[
        list[str], typer.Option(metavar="LEVEL=NUMBER", help="What one more costs: observation=1, lab=20, specimen=30.", show_default=False)
    ],
    new: Annotated[New, typer.Option(help="What is measured: a known specimen, a new one, or a new material.")] = New.observation,
    csv: Csv = None,
    form: FormatOption = Format.table,
    trust: Trust = None,
    of: Of = None,
) -> None:
    """The cheapest plan whose mean is as certain as wanted: how many readings, specimens, laboratories."""
    _show(_load(fit, trust).plans(target, numbers(cost, "--cost"), new=new.value, of=of), csv, form=form)


@app.command()
def gap(fit: FitArgument, most: Most = 25, csv: Csv = None, form: FormatOption = Format.table, trust: Trust = None, of: Of = None) -> None:
    """From theory to measurement, specimen by specimen: every contribution with its uncertainty."""
    _show(_load(fit, trust).gap(of=of), csv, most, form)


@app.command()
def advise(
    fit: FitArgument, most: Most = 25, csv: Csv = None, form: FormatOption = Format.table, trust: Trust = None, of: Of = None
) -> None:
    """What to measure next: actions by how far they narrow the prediction."""
    _show(_load(fit, trust).advise(of=of), csv, most, form)


@app.command()
def compare(
    fits: Annotated[
        list[Path], typer.Argument(metavar="FIT...", help="Files that `realmat fit` wrote, of the same table.", show_default=False)
    ],
    by: Annotated[str, typer.Option(help="What is left out: observation, specimen, material, lab, or a column.")] = "observation",
    report: Annotated[Path | None, typer.Option(help="Also write a report to this file.", show_default=False)] = None,
    csv: Csv = None,
    form: FormatOption = Format.table,
    trust: Trust = None,
) -> None:
    """Compare fits by how well each predicts what it was not shown."""
    import realmat as rm

    if len({path.stem for path in fits}) < max(2, len(fits)):
        raise typer.BadParameter("name at least two files, whose names without suffix differ.", param_hint="FIT...")
    comparison = rm.compare({path.stem: _load(path, trust) for path in fits}, by=by)
    _show(comparison, csv, form=form)
    if report is not None:
        _written(comparison.report(report))


@app.command()
def report(
    fit: FitArgument,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="HTML, or Markdown for .md; beside FIT without it.", show_default=False)
    ] = None,
    trust: Trust = None,
) -> None:
    """Write a report in one self-contained file."""
    _written(_load(fit, trust).report(out or fit.with_suffix(".html")))


def _prepared(
    template: Any, data: Path | None, sheet: str | None, rename: list[str] | None, fill: list[str] | None, quiet: bool = False
) -> ReadTable:
    """The template's own table; or a user's, of which is said what was read as what, on standard error where output is for a program."""
    from realmat.cli import tables
    from realmat.cli.show import say

    if data is None:
        return tables.own(template)
    found, said = tables.prepared(tables.read(data, sheet, rename or (), fill or ()), template)
    if quiet:
        print(*said, sep="\n", file=sys.stderr)
    else:
        say(*said)
    return found


def _model(template: Any, variant: str | None, table: ReadTable) -> Model | Joint:
    """The template's model, with the unit that the table's file states where the template has none."""
    import dataclasses

    model = template.model(variant, table=table.frame)
    members = [m if m.unit else dataclasses.replace(m, unit=table.units.get(m.response, "")) for m in model.members]
    return members[0] if len(model.responses) == 1 else dataclasses.replace(model, members=members)


def _load(path: Path, trust: list[str] | None) -> Fit:
    import realmat as rm

    if trust:
        rm.templates.__path__.append(str(Path.cwd()))  # a fit of a template in this folder finds the functions that it defines
    return rm.load(path, trust or ())


def _show(result: Shown, csv: Path | None = None, most: int = 60, form: Format = Format.table) -> None:
    from realmat.cli.show import Head, say, write_as

    table = result.table if result.table.index.name is None else result.table.reset_index()
    if form is Format.table:
        say(Head(result, most))
    else:
        write_as(table, form.value)
    if csv is not None:
        result.to_csv(csv)
        _written(csv)


def _written(path: Path) -> None:
    from realmat.cli.show import say

    say("", f"Written: {path}")
