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


def hidden(path: Path) -> None:
    """A workbook whose first sheet is hidden."""
    from openpyxl import Workbook

    made = Workbook()
    made.active.append(["secret", "x"])
    made.active.append(["q", 1])
    made.active.sheet_state = "hidden"
    page = made.create_sheet("Data")
    for row in CELLS:
        page.append(row)
    made.active = 1
    made.save(path)


def errors(path: Path) -> None:
    """A workbook with errors among its numbers, and a column of formulas that nobody calculated."""
    from openpyxl import Workbook

    made = Workbook()
    for row in (["Lab", "YS", "sum"], ["A", 300, "=B2+1"], ["B", "#DIV/0!", "=B3+1"], ["C", "#N/A", "=B4+1"], ["D", 301.5, "=B5+1"]):
        made.active.append(row)
    made.active["B3"].data_type = made.active["B4"].data_type = "e"
    made.save(path)


YS2 = {"YS": [300.0, 310.0, 305.0], "UTS": [420.0, 430.0, 428.0]}
UGLY = [
    File(
        "two_headers.csv",
        text("Sample,Tensile,,Hardness\nID,YS (MPa),UTS (MPa),HV\ns1,300,420,120\ns2,310,430,125\ns3,305,428,122\n"),
        {"ID": ["s1", "s2", "s3"], **YS2, "HV": [120, 125, 122]},
        {"YS": "MPa", "UTS": "MPa"},
        said=("Rows 1 and 2 are one header",),
    ),
    File(
        "two_groups.csv",
        text("ID,Rolled,,Forged,\n,YS (MPa),UTS (MPa),YS (MPa),UTS (MPa)\ns1,300,420,310,430\ns2,301,421,311,431\n"),
        {"ID": ["s1", "s2"], "Rolled YS": [300, 301], "Rolled UTS": [420, 421], "Forged YS": [310, 311], "Forged UTS": [430, 431]},
        {"Rolled YS": "MPa"},
    ),
    File(
        "merged_header.xlsx",
        book(
            {"Data": [["lab", "Strength", None], [None, "YS (MPa)", "UTS (MPa)"], ["A", 300, 420], ["B", 301, 421]]},
            ["A1:A2", "B1:C1"],
            "Data",
        ),
        {"lab": ["A", "B"], "YS": [300, 301], "UTS": [420, 421]},
        {"UTS": "MPa"},
    ),
    File("two_headers_no_gap.csv", text("a,b,c\nx,y,z\n1,2,3\n4,5,6\n"), said=("'y' in row 2 is no number",)),
    File(
        "comments.csv", text("# Zwick\nlab,ys\nA,300.1\n# pause\nB,301.2\n"), {"lab": ["A", "B"], "ys": [300.1, 301.2]}, said=("'# pause'",)
    ),
    File("hash_labels.csv", text("piece,ys\n#1,300.1\n#2,301.2\n"), {"piece": ["#1", "#2"], "ys": [300.1, 301.2]}),
    File("utf16be.txt", text("\ufeffLab;YS\nA;1,5\nB;2,5\n", "utf-16-be"), {"Lab": ["A", "B"], "YS": [1.5, 2.5]}),
    File("shift_jis.csv", text("試料,硬さ\nA,300\nB,301\n", "shift_jis"), {"試料": ["A", "B"], "硬さ": [300, 301]}),
    File("mac_lines.csv", text("lab,ys\rA,300\rB,301\r"), {"lab": ["A", "B"], "ys": [300, 301]}),
    File("trailing_columns.csv", text("lab;ys;;;\nA;300,1;;;\nB;301,2;;;\n;;;;\n"), {"lab": ["A", "B"], "ys": [300.1, 301.2]}),
    File("doubled.csv", text("lab,ys,ys\nA,300,301\nB,302,303\n"), {"ys": [300, 302], "ys (2)": [301, 303]}, said=("second column 'ys'",)),
    File("percent.csv", text("lab,C\nA,0.05%\nB,0.12 %\nC,<0.02%\n"), {"C": [0.05, 0.12, "<0.02"]}, {"C": "%"}),
    File(
        "fixed_width.txt",
        text("Lab     Piece   YS/MPa\nLab A   s 1     300.1\nLab B   s 2     301.2\n"),
        {"Lab": ["Lab A", "Lab B"], "Piece": ["s 1", "s 2"], "YS": [300.1, 301.2]},
    ),
    File(
        "summed.csv",
        text("lab,ys\nA,300\nB,302\nMean,301\nStd. dev.,1.41\n"),
        {"lab": ["A", "B"], "ys": [300, 302]},
        said=("Rows 4, 5 sum up",),
    ),
    File("summary_only.csv", text("what,ys\nmin,300\nmax,302\nmean,301\n"), {"what": ["min", "max", "mean"]}),
    File("wide_row.csv", text("lab,x\nA,0.5\nB,0,7\n"), refused=("row 3 holds more", "quotes")),
    File("wide_rows.dat", text("lab ys\nlab A 300\nlab B 301\n"), refused=("rows 2, 3 hold more", "name every column")),
    File(
        "german_dates.csv",
        text("Datum;ys\n02.01.2026;300,5\n13.02.2026;301,5\n"),
        {"Datum": ["02.01.2026", "13.02.2026"], "ys": [300.5, 301.5]},
    ),
    File("mixed_dates.csv", text("date,ys\n2026-01-02,300\n03.02.2026,301\n2/3/2026,302\n"), {"ys": [300, 301, 302]}, said=("2026-01-31",)),
    File("leading_zeros.csv", text("heat,ys\n00123,300\n00456,301\n"), {"heat": ["00123", "00456"]}),
    File("infinite.csv", text("lab,ys\nA,inf\nB,301\nC,1e400\n"), said=("'inf', '1e400' in rows 2, 4",)),
    File("powers_of_ten.csv", text("lab;D\nA;1,2E-05\nB;2,0·10⁻⁵\n"), {"D": [1.2e-5, 2.0e-5]}),
    File("words_for_limits.csv", text("lab;x\nA;<LOD\nB;0,5\nC;< 0,2\nD;0,7\n"), said=("'<LOD' in row 2", "'< 0,2'")),
    File("hidden.xlsx", hidden, said=("Sheet 'Data' is read",)),
    File(
        "errors.xlsx",
        errors,
        said=("'#DIV/0!' in row 3", "'#N/A' read as missing", "'=B2+1', '=B3+1', '=B4+1' and 1 more in rows 2, 3, 4, 5 were never"),
    ),
    File("html.xls", text("<html><table><tr><td>A</td></tr></table></html>"), refused=("save it as .xlsx or .csv",)),
    File("text_numbers.xlsx", book({"Data": [["lab", "ys"], ["A", "300.5"], ["B", "301,5"], ["C", 302]]}), {"ys": [300.5, 301.5, 302.0]}),
    File("empty.csv", text(""), refused=("no row of column names",)),
    File("only_header.csv", text("lab,ys\n"), refused=("no rows below its header",)),
]


def same(found: pd.Series, meant: Sequence[Any]) -> bool:
    """Whether a column holds exactly what was meant."""
    return len(found) == len(meant) and all(a == b or (pd.isna(a) and pd.isna(b)) for a, b in zip(found, meant, strict=True))
