"""The command line: what it prints, writes and returns."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import realmat as rm
from realmat.cli import demo, run
from realmat.cli.show import say
from realmat.templates.writing import write

COMMAND = Path(sys.executable).with_name("realmat")


@dataclass
class Done:
    """What a command printed and returned."""

    status: int
    stdout: str
    stderr: str


def realmat(*arguments: object, cwd: Path | None = None, status: int = 0) -> Done:
    """Run the command in this process, which spares its imports; it must end with `status`, and without a traceback."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        patch.setattr(sys, "argv", ["realmat", *map(str, arguments)])
        patch.setenv("NO_COLOR", "1")
        patch.chdir(cwd or Path.cwd())
        done = Done(run(), out.getvalue(), err.getvalue())
    assert done.status == status, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not re.search(r"\bnan\b", done.stdout, re.IGNORECASE)  # where there is nothing to say, nothing is said
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a template, its table in three forms, and fits of two variants."""
    here = tmp_path_factory.mktemp("work of mine")
    write("porous", parent=here)
    table = rm.templates.get(here / "porous").data()
    table.to_csv(here / "porous.csv", index=False)
    table.to_parquet(here / "porous.parquet", index=False)
    table.to_excel(here / "porous.xlsx", index=False)
    said = realmat("fit", "porous", "porous.csv", "-o", "real.nc", "--draws", 100, "--seed", 3, "--cv", 2, cwd=here).stdout
    (here / "said.txt").write_text(said)
    realmat("fit", "porous", "porous.xlsx", "--variant", "ideal", "-o", "ideal.nc", "--draws", 100, "--seed", 3, cwd=here)
    return here


def test_help_answers_at_once() -> None:
    """It waits for no library of numbers, on which every heavy one is built."""
    listing = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run([COMMAND, "--help"], env=listing, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert {"realmat", "typer"} <= imported
    assert not imported & {"numpy", "pandas", "scipy", "numba", "pint", "jinja2", "pyarrow"}
    said = done.stdout
    commands = ("demo", "list", "new", "check", "fit", "budget", "gap", "advise", "compare", "report")
    assert all(re.search(rf"\b{command}\b", said) for command in commands)


def test_the_list_shows_one_line_for_each_template() -> None:
    said = realmat("list").stdout
    for name in rm.templates.list()["name"]:
        assert len([line for line in said.splitlines() if re.match(rf"\W*{name}\b", line)]) == 1


def test_the_list_of_one_template_shows_variants_and_columns() -> None:
    said = realmat("list", "fatigue_strength").stdout
    assert all(text in said for text in ("ideal", "real", "murakami", "wt%", "tempering_temperature"))


def test_a_fit_prints_what_was_done_and_the_cross_validation(folder: Path) -> None:
    said = (folder / "said.txt").read_text()
    assert "4 x 100 draws by the exact engine" in said
    assert "porosity_porosity_slope" in said
    assert "2-fold cross-validation of modulus over 8 values of material (seed 3)" in said
    assert "Written: real.nc" in said
    fit = rm.load(folder / "real.nc")
    again = rm.templates.get(folder / "porous").model().fit(pd.read_csv(folder / "porous.csv"), draws=100, seed=3, progress=False)
    pd.testing.assert_frame_equal(fit.budget().table, again.budget().table)


@pytest.mark.parametrize("kind", ["csv", "parquet", "xlsx"])
def test_every_kind_of_table_reads_alike(folder: Path, kind: str) -> None:
    from realmat.cli.tables import read

    table = read(folder / f"porous.{kind}").frame
    assert table.index[[0, -1]].tolist() == [2, 73]  # as a spreadsheet numbers them
    expected = rm.templates.get(folder / "porous").data()
    pd.testing.assert_frame_equal(table.reset_index(drop=True), expected, check_dtype=False)


def test_tables_of_a_fit_print_and_are_written(folder: Path) -> None:
    fit = rm.load(folder / "real.nc")
    for command, table in (("budget", fit.budget(new="specimen").table), ("gap", fit.gap().table)):
        options = ["--new", "specimen"] if command == "budget" else ["--most", "3"]
        said = realmat(command, "real.nc", *options, "--csv", f"{command}.csv", cwd=folder).stdout
        assert f"Written: {command}.csv" in said
        written = pd.read_csv(folder / f"{command}.csv", index_col=None if command == "budget" else 0)
        pd.testing.assert_frame_equal(written, table, check_names=False, check_dtype=False)
    assert "and 21 more rows" in said


def test_plans_print(folder: Path) -> None:
    fit = rm.load(folder / "real.nc")
    budget = fit.budget(new="specimen", average={"observation": 2, "specimen": 2})
    rows = json.loads(
        realmat(
            "budget",
            "real.nc",
            "--new",
            "specimen",
            "--average",
            "observation=2",
            "--average",
            "specimen=2",
            "--format",
            "json",
            cwd=folder,
        ).stdout
    )
    np.testing.assert_allclose([row["u"] for row in rows], budget.table["u"], rtol=1e-7)
    said = realmat(
        "plans", "real.nc", 1.01 * budget.u, "--cost", "observation=1", "--cost", "specimen=1", "--new", "specimen", cwd=folder
    ).stdout
    assert "The cheapest plan that reaches" in said
    refused = realmat("plans", "real.nc", 1e-9, "--cost", "observation=1", cwd=folder, status=1)
    assert "no plan reaches" in refused.stderr


def test_advice_prints(folder: Path) -> None:
    said = realmat("advise", "real.nc", "--most", 5, cwd=folder).stdout
    assert "What to measure next to know modulus" in said
    assert "more rows: --csv writes all of them" in said


def test_a_comparison_prints(folder: Path) -> None:
    said = realmat("compare", "ideal.nc", "real.nc", "--by", "specimen", cwd=folder).stdout
    fits = {name: rm.load(folder / f"{name}.nc") for name in ("ideal", "real")}
    expected = rm.compare(fits, by="specimen").table
    assert expected.index[0] == "real"
    lines = [line.split() for line in said.splitlines()[1:]]
    assert lines[0] == ["model", "real", "ideal"]  # on its side: it has more columns than a page
    assert [line[0] for line in lines[1 : len(expected.columns) + 1]] == list(expected.columns)
    assert ["rmse", *(f"{expected.loc[name, 'rmse']:.3g}" for name in ("real", "ideal"))] in lines


@pytest.mark.parametrize("width", [80, 160])
def test_tables_fit_the_terminal_whole_or_say_what_they_leave_out(folder: Path, width: int) -> None:
    from rich.console import Console

    from realmat.cli.show import Head

    fit = rm.load(folder / "real.nc")
    for result in (fit.budget(), fit.gap(), fit.check(), fit.advise()):
        text = io.StringIO()
        Console(file=text, width=width).print(Head(result, 5))
        said = text.getvalue()
        assert "…" not in said
        words = " ".join(said.split())
        assert " ".join(result.text.split()) in words  # of the whole table, not of its first rows
        note = re.search(r"Not shown, for want of width: (.*?)\. --csv", words)
        left_out = note[1].split(", ") if note else []
        assert [name for name in result.formatted() if name not in (*left_out, *said.split())] == []


def test_a_report_is_written_beside_the_fit(folder: Path) -> None:
    assert "Written: ideal.html" in realmat("report", "ideal.nc", cwd=folder).stdout
    assert "<svg" in (folder / "ideal.html").read_text()


def test_a_table_is_checked_before_fitting(folder: Path) -> None:
    said = realmat("check", "porous", "porous.csv", cwd=folder).stdout
    assert "The design can separate every component of the model." in said or "cannot separate" in said


def test_bad_tables_end_with_one_paragraph_that_names_columns_and_rows(folder: Path) -> None:
    table = pd.read_csv(folder / "porous.csv").astype({"modulus": object})
    table.loc[3, "modulus"] = "broken"
    table.loc[5, "porosity"] = -0.2
    table.to_csv(folder / "bad.csv", index=False)
    said = realmat("fit", "porous", "bad.csv", "-o", "bad.nc", cwd=folder, status=1).stderr
    assert said.startswith("realmat: ")
    assert re.search(r"'modulus'.*row 5", said)  # row 3 of the data is row 5 of the sheet
    assert re.search(r"'porosity'.*row 7", said)
    assert "\n\n" not in said.strip()
    assert not (folder / "bad.nc").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("fit", "porous", "nowhere.csv"), 1, "nowhere.csv does not exist"),
        (("fit", "porous", "real.nc"), 1, "a table comes as text, workbook or Parquet"),
        (("fit", "prous"), 1, "there is no template 'prous'"),
        (("fit", "porous", "--variant", "reel"), 1, "did you mean 'real'"),
        (("budget", "porous.csv"), 1, "is not a NetCDF file"),
        (("budget", "real.nc", "--new", "moon"), 2, "moon"),
        (("compare", "real.nc"), 2, "at least two files"),
        (("compare", "real.nc", "ideal.nc", "--by", "moon"), 1, "cannot leave out by 'moon'"),
        (("fits", "porous"), 2, "No such command 'fits'. Did you mean"),
        (("new", "porous"), 1, "is there already"),
    ],
)
def test_what_cannot_be_done_is_said_on_standard_error(folder: Path, arguments: tuple[str, ...], status: int, said: str) -> None:
    done = realmat(*arguments, cwd=folder, status=status)
    assert said in re.sub(r"[│\s]+", " ", done.stderr)
    assert done.stdout == ""


def test_debug_shows_where_an_error_comes_from(folder: Path) -> None:
    done = subprocess.run([COMMAND, "budget", "nowhere.nc", "--debug"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "FileError" in done.stderr


def test_the_demo_says_nothing_of_what_there_is_not(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Calculations as they are have errors, and no intervals that could cover anything."""
    data = rm.templates.get(demo.NAME).data()
    scores = {"mae": 0.1, "rmse": 0.2, "coverage_50": 0.5, "coverage_80": 0.8, "coverage_95": 0.95}
    monkeypatch.setattr(rm, "cross_validate", lambda *args, **options: SimpleNamespace(title="cross-validation", scores=lambda: scores))
    say(*demo._held_out(data, {"ideal": None, "real": None}, 2, 1))
    printed = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in printed.splitlines() if line.split()}
    assert len(rows["pbe"]) == len(rows["mp2020"]) == 3
    assert len(rows["real"]) == 6
    assert "nan" not in printed.lower()


def test_an_interrupt_ends_without_a_traceback(tmp_path: Path) -> None:
    here = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [COMMAND, "demo", "-o", "out"], cwd=tmp_path, env=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert any("The models:" in line for line in running.stdout)  # it has begun
        for _ in range(5):
            time.sleep(2.0)
            running.send_signal(signal.SIGINT)  # once more: a compiler called back from C swallows it
            with contextlib.suppress(subprocess.TimeoutExpired):
                _, said = running.communicate(timeout=20)
                break
        else:
            running.kill()
    assert running.returncode == 130
    assert "Traceback" not in said
    assert "interrupted" in said


def test_a_new_template_fits_at_once_with_its_own_data(tmp_path: Path) -> None:
    assert "realmat fit thermal" in realmat("new", "thermal", cwd=tmp_path).stdout
    said = realmat("fit", "thermal", "--draws", 50, "--chains", 2, cwd=tmp_path).stdout
    assert "Written: thermal-real.nc" in said


def test_a_fit_that_could_not_be_written_is_not_begun(folder: Path) -> None:
    said = realmat("fit", "porous", "-o", "nowhere/fit.nc", cwd=folder, status=1).stderr
    assert said == "realmat: cannot write nowhere/fit.nc: there is no folder nowhere.\n"


def test_tables_in_a_pipe_are_plain_and_come_as_csv_and_json(folder: Path) -> None:
    assert not set(realmat("list").stdout) & set("┃│━─╇┏")
    budget = rm.load(folder / "real.nc").budget().table
    read = pd.read_csv(io.StringIO(realmat("budget", "real.nc", "--format", "csv", cwd=folder).stdout))
    np.testing.assert_allclose(read["share"], budget["share"])
    rows = json.loads(realmat("budget", "real.nc", "--format", "json", cwd=folder).stdout)
    assert [row["component"] for row in rows] == list(budget["component"])
    assert json.loads(realmat("list", "--format", "json").stdout)[0]["name"]


def test_a_round_robin_written_in_eight_ways_gives_one_posterior(tmp_path: Path) -> None:
    """The same numbers in other encodings, separators, marks, headers, units, notations and sheets; read by the command."""
    from openpyxl import Workbook

    rng = np.random.default_rng(2)
    rows = [(lab, piece, round(500 + 10 * p + 3 * k + rng.normal(), 1)) for k, lab in enumerate("ABCD") for p, piece in enumerate("xyz")]
    text = {
        "plain.csv": ("lab,specimen,value\n", "{0},{1},{2}\n", "utf-8"),
        "german.csv": ("Labor;Probe;Wert\n", "{0};{1};{3}\n", "latin-1"),
        "titled.csv": ("Round robin,,\n,,\nLab,Sample,value (MPa)\n", "{0},{1},{2}\n", "utf-8"),
        "tabs.tsv": ("Laboratory\tspecimen\tvalue [GPa]\n", "{0}\t{1}\t{4}\n", "utf-16"),
        "u.csv": ("lab;specimen;value / MPa\n", "{0};{1};{3} ± 1,5\n", "utf-8"),
        "brackets.csv": ("LAB,Specimen,value\n", "{0} ,{1},{2}(15)\n", "utf-8-sig"),
        "cells.csv": ("lab|specimen|value\n", "{0}|{1}|{2} MPa\n", "utf-8"),
    }
    for name, (head, line, encoding) in text.items():
        body = "".join(line.format(a, b, y, str(y).replace(".", ","), repr(round(y / 1000, 7))) for a, b, y in rows)
        (tmp_path / name).write_bytes((head + body).encode(encoding))
    book = Workbook()
    book.create_sheet("Data").append(["lab", "specimen", "value"])
    for row in rows:
        book["Data"].append(row)
    book.save(tmp_path / "book.xlsx")
    scales = {}
    for name in (*text, "book.xlsx"):
        sheet = ("--sheet", 2) if name.endswith("xlsx") else ()
        realmat("fit", "interlaboratory", name, "-o", "one.nc", "--draws", 50, *sheet, cwd=tmp_path)
        posterior = rm.load(tmp_path / "one.nc").posterior
        factor = 1000 if "GPa" in text.get(name, ("",))[0] else 1
        drawn = {**posterior.draws.params, **posterior.draws.coefficients}
        scales[name] = {v: factor * values for v, values in drawn.items()}
    assert set(scales["plain.csv"]) >= {"constant", "noise_scale", "bias_lab_scale", "bias_lab", "unresolved_specimen"}
    for found in scales.values():
        for v, values in scales["plain.csv"].items():
            np.testing.assert_allclose(found[v], values, rtol=1e-6, atol=1e-6, err_msg=v)
