"""Cells of a workbook that hold no value where one is expected: errors such as #DIV/0!, and formulas that were never calculated."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile

_CELL = re.compile(rb"<c\b([^>]*[^/>])>(.*?)</c>", re.DOTALL)
_PLACE = re.compile(rb"\br=\"([A-Z]+)(\d+)\"")
_VALUE, _FORMULA = re.compile(rb"<v>([^<]+)</v>"), re.compile(rb"<f\b[^>]*>([^<]*)</f>")
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def cells(path: Path, sheet: str) -> dict[tuple[int, int], str]:
    """By row and column from 0 what stands there: the name of the error, or the formula; none in workbooks of other formats."""
    try:
        with ZipFile(path) as book:
            text = book.read(_part(book, sheet))
    except (BadZipFile, KeyError, ElementTree.ParseError):
        return {}
    found = {}
    if b't="e"' in text or b"<f" in text:
        for attributes, body in _CELL.findall(text):
            place, value, formula = _PLACE.search(attributes), _VALUE.search(body), _FORMULA.search(body)
            if place is not None and b't="e"' in attributes and value is not None:
                found[_at(place)] = value[1].decode()
            elif place is not None and b"<f" in body and value is None:
                found[_at(place)] = "=" + (unescape(formula[1].decode()) if formula else "...")
    return found


def _part(book: ZipFile, sheet: str) -> str:
    """Where in the archive a sheet is."""
    named = next(e for e in ElementTree.fromstring(book.read("xl/workbook.xml")).iter() if e.get("name") == sheet and e.get(_RELATION))
    relations = ElementTree.fromstring(book.read("xl/_rels/workbook.xml.rels"))
    target = next(str(e.get("Target")) for e in relations if e.get("Id") == named.get(_RELATION))
    return target.lstrip("/") if target.startswith("/") else f"xl/{target}"


def _at(place: re.Match[bytes]) -> tuple[int, int]:
    column = 0
    for letter in place[1]:
        column = 26 * column + letter - 64
    return int(place[2]) - 1, column - 1
