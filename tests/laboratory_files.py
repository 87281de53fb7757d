"""Forty files as laboratories write them, with what they mean: encodings, separators, decimal marks, headers, sheets, notations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

NAN = float("nan")
LAB, PIECE = ["A", "A", "B", "B"], ["s1", "s2", "s1", "s2"]
YS, U = [295.7, 296.65, 301.2, 1302.5], [1.2, 1.25, 1.2, 2.5]
MEANT = {"Lab": LAB, "Specimen": PIECE, "YS": YS}


@dataclass
class File:
    """A file: how it is written, and what it means; or words of what is said where it is refused, or a cell of it is not read."""

    name: str
    write: Callable[[Path], None]
    meant: dict[str, Sequence[Any]] = field(default_factory=lambda: MEANT)
    units: dict[str, str] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


def text(content: str, encoding: str = "utf-8", prefix: bytes = b"") -> Callable[[Path], None]:
    """A text file."""
    return lambda path: (path.write_bytes(prefix + content.encode(encoding)), None)[1]


def book(sheets: dict[str, list[list[Any]]], merge: Sequence[str] = (), sheet: str = "") -> Callable[[Path], None]:
    """A workbook of sheets of cells; `merge` are ranges of `sheet`."""

    def write(path: Path) -> None:
        from openpyxl import Workbook

        made = Workbook()
        made.remove(made.active)
        for name, rows in sheets.items():
            page = made.create_sheet(name)
            for row in rows:
                page.append(row)
        for cells in merge:
            made[sheet].merge_cells(cells)
        made.save(path)

    return write


def lines(separator: str = ",", mark: str = ".", header: str = "Lab{0}Specimen{0}YS", u: str = "", quote: bool = False) -> str:
    """The round robin as text; `u` may be "±" or "(", in which its uncertainty stands in the cell."""
    out = [header.format(separator)]
    for lab, piece, value, own in zip(LAB, PIECE, YS, U, strict=True):
        digits = 2 if value == 296.65 else 1
        cell = f"{value:.{digits}f}"
        cell += f" ± {own}" if u == "±" else f"({round(own * 10**digits)})" if u == "(" else ""
        cell = cell.replace(".", mark)
        out.append(separator.join([lab, piece, f'"{cell}"' if quote else cell]))
    return "\n".join(out) + "\n"


CELLS: list[list[Any]] = [["Lab", "Specimen", "YS"], *([a, b, c] for a, b, c in zip(LAB, PIECE, YS, strict=True))]
BLOCKS = [["Round robin"], *CELLS[:2], [None, *CELLS[2][1:]], CELLS[3], [None, *CELLS[4][1:]]]
GERMAN = "Labor;Prüfstück;Härte\nMünchen;s1;295,7\nKöln;s2;301,2\n"
GERMAN_MEANT = {"Labor": ["München", "Köln"], "Prüfstück": ["s1", "s2"], "Härte": [295.7, 301.2]}
WITH_U = {**MEANT, "YS_u": U}


def column(*cells: str, header: str = "x") -> str:
    """A file of one column beside a label."""
    return "id;" + header + "\n" + "".join(f"p{k};{cell}\n" for k, cell in enumerate(cells))


FILES = [
    File("plain.csv", text(lines())),
    File("bom.csv", text(lines(), "utf-8-sig")),
    File("utf16.csv", text(lines("\t"), "utf-16"), said=("tabs", "utf-16")),
    File("latin.csv", text(GERMAN, "latin-1"), GERMAN_MEANT, said=("semicolons",)),
    File(
        "windows.csv", text("Lab;x (µm)\nZürich;12,5\nÉvry;3,25\n", "cp1252"), {"Lab": ["Zürich", "Évry"], "x": [12.5, 3.25]}, {"x": "µm"}
    ),
    File("decomposed.csv", text("Lab,x\nKöln,1.5\nKo\u0308ln,2.5\n"), {"Lab": ["Köln", "Köln"], "x": [1.5, 2.5]}, said=("one label",)),
    File("semicolon.csv", text(lines(";", ",")), said=("decimal commas",)),
    File("tab.tsv", text(lines("\t"))),
    File("bar.txt", text(lines("|"))),
    File("spaces.dat", text(lines("  "))),
    File("quoted.csv", text(lines(",", ",", quote=True)), said=("decimal commas",)),
    File("sep.csv", text("sep=;\n" + lines(";", ","))),
    File("windows_lines.csv", text(lines().replace("\n", "\r\n"))),
    File("points_for_thousands.csv", text(column("1.302", "295,7", "12.000,5")), {"x": [1302.0, 295.7, 12000.5]}, said=("decimal comma",)),
    File("commas_for_thousands.csv", text('id,x\np,"1,302"\nq,295.7\n'), {"x": [1302.0, 295.7]}, said=("decimal point",)),
    File("spaces_for_thousands.csv", text(column("1\u202f302,5", "12 000,25")), {"x": [1302.5, 12000.25]}, said=("thousands",)),
    File("apostrophes.csv", text(column("1'302.5", "12'000.25")), {"x": [1302.5, 12000.25]}),
    File("which_mark.csv", text(column("1,302", "2,415")), said=("'1,302', '2,415' in rows 2, 3", "decimal point and", "Write one")),
    File("title.csv", text("Round robin 2026,,\n,,\n" + lines()), said=("Round robin 2026",)),
    File("units_below.csv", text(lines().replace("YS\n", "YS\n-,-,MPa\n")), units={"YS": "MPa"}, said=("Row 2 holds units",)),
    File("unit_in_round.csv", text(lines(header="Lab{0}Specimen{0}YS (MPa)")), units={"YS": "MPa"}),
    File("unit_in_square.csv", text(lines(header="Lab{0}Specimen{0}YS [N/mm²]")), units={"YS": "N/mm²"}),
    File("unit_behind_slash.csv", text(lines(header="Lab{0}Specimen{0}YS / MPa")), units={"YS": "MPa"}),
    File("unit_in_cells.csv", text(column("5 %", "7.5 %", "n.d.")), {"x": [5.0, 7.5, NAN]}, {"x": "%"}, said=("unit written",)),
    File(
        "words_in_brackets.csv",
        text("Lab (code),YS (offset)\nA,295.7\nB,301.2\n"),
        {"Lab (code)": ["A", "B"], "YS (offset)": [295.7, 301.2]},
    ),
    File("empty_rows.csv", text(lines().replace("A,s2", ",,\nA,s2")), said=("1 empty row",)),
    File("header_again.csv", text(lines().replace("B,s1", "Lab,Specimen,YS\nB,s1")), said=("repeated in row 4",)),
    File("note_below.csv", text(lines() + ",,\nMeasured in 2026,,\n"), said=("Measured in 2026",)),
    File("plus_minus.csv", text(lines(";", ",", "Lab{0}Specimen{0}YS (MPa)", "±")), WITH_U, {"YS": "MPa", "YS_u": "MPa"}),
    File("brackets.csv", text(lines(u="(")), WITH_U, said=("last digit",)),
    File("powers.csv", text(column("1.5×10³", "(1.2 ± 0.1)e-5", "2E+2")), {"x": [1500.0, 1.2e-5, 200.0], "x_u": [NAN, 1e-6, NAN]}),
    File("limits.csv", text(column("<0,05", "0,12", "≥0,30")), {"x": ["<0.05", 0.12, ">0.3"]}, said=("limits",)),
    File("missing.csv", text(column("n.d.", "1,5", "-", "n/a", "2,5")), {"x": [NAN, 1.5, NAN, NAN, 2.5]}, said=("missing",)),
    File("range.csv", text(column("12", "10 – 14", "9")), {"x_lower": [NAN, 10.0, NAN]}, said=("row 3 is a range", "x_lower")),
    File("words.csv", text(column("1.5", "about 3", "2.5")), said=("'about 3' in row 3", "Correct the cells")),
    File("labels.csv", text("Lab;x\nA ;1\n a;2\n\u00a0A;3\nB;4\n"), {"Lab": ["A", "A", "A", "B"], "x": [1, 2, 3, 4]}, said=("one label",)),
    File("no_header.csv", text("1,2.5\n2,3.5\n"), refused=("no row of column names",)),
    File("second_sheet.xlsx", book({"Notes": [["see next sheet"]], "Data": CELLS}), options={"sheet": 2}, said=("'Notes'",)),
    File(
        "merged.xlsx",
        book(
            {"Data": [["Round robin"], *CELLS[:2], [None, *CELLS[2][1:]], CELLS[3], [None, *CELLS[4][1:]]]},
            ["A1:C1", "A3:A4", "A5:A6"],
            "Data",
        ),
        said=("2 merged cells", "Round robin"),
    ),
    File(
        "typed.xlsx", book({"Data": [["Lab", "YS (MPa)"], ["A", 295.7], ["B", "301,2 ± 1,2"]]}), {"YS": [295.7, 301.2], "YS_u": [NAN, 1.2]}
    ),
]


def same(found: pd.Series, meant: Sequence[Any]) -> bool:
    """Whether a column holds exactly what was meant."""
    return len(found) == len(meant) and all(a == b or (pd.isna(a) and pd.isna(b)) for a, b in zip(found, meant, strict=True))
