"""Draw the pictures of the README and the gallery from real fits: python tools/pictures.py [NAME ...]

A template's picture shows, from its real fit, the waterfall from theory to the measured value of one piece, and the budget of a new one;
above them, where several theories tell of one ideal value, what each is worth, and of several properties, what informs which.
The front's picture is that of the example in the README. Without names: everything.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image

import realmat as rm

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "_static" / "pictures"
PIECES = {"formation_enthalpy": "NiO", "absorption": 11}  # by default the piece whose gap is largest
PROPERTIES = {"steels": "fatigue_strength", "alloys": "yield_strength"}  # of several, the one whose budget is drawn
PARTS = {"absorption": ("dye", 12)}  # of tables whose fit is long, the pieces with so many rows
DPI, COLOURS = 130, 96
CARD = 640  # pixels across


def png(figure: Any) -> Image.Image:
    """Give a figure as pixels."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return Image.open(buffer).convert("RGB")


def stacked(pictures: list[Image.Image]) -> Image.Image:
    """Give pictures one below the other, on white, with few colours."""
    width, gap = max(p.width for p in pictures), 24
    whole = Image.new("RGB", (width, sum(p.height for p in pictures) + gap * (len(pictures) - 1)), "white")
    top = 0
    for picture in pictures:
        whole.paste(picture, (0, top))
        top += picture.height + gap
    return whole.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def answers(whole: rm.Fit, piece: Any = None, of: str | None = None) -> list[Image.Image]:
    """Give the waterfall of one piece and the budget of a new one, `of` one property where there are several, and what goes before."""
    fit = whole if of is None else whole.of(of)
    levels = fit.model.levels
    new = "material" if "material" in levels else "specimen" if "specimen" in levels else "observation"
    parts = [fit.gap().plot(piece), fit.budget(new=new).plot()]
    if any(isinstance(component, rm.theory.Consensus) for component in fit.model.components):
        parts.insert(0, fit.theories().plot())
    if len(fit.problem.every) > 1:
        parts.insert(0, whole.plot_model())
    return [png(part) for part in parts]


def card(picture: Image.Image) -> Image.Image:
    """Give a picture as small as it stands in the gallery."""
    small = picture.resize((CARD, round(CARD * picture.height / picture.width)), Image.Resampling.LANCZOS)
    return small.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def example() -> rm.Fit:
    """Run the first example of the README and give its fit."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(compile(text.partition("```python\n")[2].partition("```")[0], "README.md", "exec"), names)
    return names["fit"]


def write(picture: Image.Image, name: str) -> None:
    """Save a picture, and say how large it is."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    path = PICTURES / f"{name}.png"
    picture.save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {picture.width} x {picture.height}, {path.stat().st_size / 1000:.0f} kB", flush=True)


def template(name: str) -> None:
    """Fit the layered variant of a template to its own data and draw its answers."""
    found = rm.templates.get(name)
    data = found.data()
    if name in PARTS:
        column, rows = PARTS[name]
        data = data[data.groupby(column)[column].transform("size") >= rows].reset_index(drop=True)
    fit = found.model("joint" if name in PROPERTIES else "real", table=data).fit(data, seed=1, progress=False)
    drawn = answers(fit, PIECES.get(name), PROPERTIES.get(name))
    write(stacked(drawn), name)
    write(card(drawn[0]), f"{name}_card")


if __name__ == "__main__":
    listed = rm.templates.list()
    for name in sys.argv[1:] or ["front", *listed[listed["source"] == "gallery"]["name"]]:
        write(stacked(answers(example(), "Li2O")), "front") if name == "front" else template(name)
