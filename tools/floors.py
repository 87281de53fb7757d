"""Draw the floors of the house from the import contract in pyproject.toml: python tools/floors.py

What stands beside a folder's name is the first sentence of its own docstring.
"""

from __future__ import annotations

import ast
import textwrap
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "developer" / "floors.svg"
WIDTH, MARGIN, GAP, LINE, PAD = 760, 14, 4, 15, 9
LOW, HIGH = (0x1F, 0x3A, 0x52), (0xE8, 0xF1, 0xF8)  # cellar and roof
SMALL = 6.1  # pixels of a letter


def floors() -> list[list[str]]:
    """Give the floors, the highest first, and the folders on each."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    return [[name.strip() for name in layer.replace("|", ":").split(":")] for layer in layers]


def said(folder: str) -> str:
    """Give the first sentence of what a folder or module says of itself."""
    home = ROOT / "src" / "realmat" / folder
    path = home / "__init__.py" if home.is_dir() else home.with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).split(". ")[0].rstrip(".").replace("`", "")


def colour(height: float) -> tuple[str, str]:
    """Give the fill of a floor and the ink that reads on it; `height` runs from 0, the cellar, to 1."""
    mixed = [round(a + (b - a) * height) for a, b in zip(LOW, HIGH, strict=True)]
    lightness = sum(weight * (part / 255) ** 2.2 for weight, part in zip((0.2126, 0.7152, 0.0722), mixed, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed), "#ffffff" if lightness < 0.22 else "#101a24"


def boxes(floor: list[str]) -> list[tuple[str, list[str]]]:
    """Give each folder of a floor with its words, wrapped to the room it has."""
    room = (WIDTH - 2 * MARGIN - GAP * (len(floor) - 1)) / len(floor) - 2 * PAD
    if len(floor) == 1:
        return [(floor[0], textwrap.wrap(said(floor[0]), int((room - 112) / SMALL)))]
    return [(name, textwrap.wrap(said(name), int(room / SMALL))) for name in floor]


def draw() -> str:
    """Give the picture as SVG."""
    parts, y = [], float(MARGIN)
    plan = floors()
    for k, floor in enumerate(plan):
        made = boxes(floor)
        side_by_side = len(made) > 1
        height = 2 * PAD + LINE * (max(len(lines) for _, lines in made) + side_by_side)
        width = (WIDTH - 2 * MARGIN - GAP * (len(made) - 1)) / len(made)
        fill, ink = colour(1 - k / max(len(plan) - 1, 1))
        for j, (name, lines) in enumerate(made):
            x = MARGIN + j * (width + GAP)
            parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" rx="4" fill="{fill}"/>')
            parts.append(f'<text class="n" x="{x + PAD:.1f}" y="{y + PAD + 11:.1f}" fill="{ink}">{escape(name)}</text>')
            left, top = (x + PAD, y + PAD + 11 + LINE) if side_by_side else (x + PAD + 112, y + PAD + 11)
            parts += [f'<text x="{left:.1f}" y="{top + i * LINE:.1f}" fill="{ink}">{escape(line)}</text>' for i, line in enumerate(lines)]
        y += height + GAP
    total = y - GAP + MARGIN
    style = "text{font:12px system-ui,sans-serif}.n{font:600 13px ui-monospace,Menlo,Consolas,monospace}"
    title = "The folders of realmat as floors; each imports only from those below."
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total:.0f}" width="{WIDTH}" role="img" aria-label="{title}">'
    ground = f'<rect width="{WIDTH}" height="{total:.0f}" rx="8" fill="#ffffff"/>'
    return "\n".join([head, f"<style>{style}</style>", ground, *parts, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
    print(PICTURE.relative_to(ROOT))
