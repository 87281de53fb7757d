"""One look for every figure: colours by layer that colour-blind readers can tell apart, shades by kind, light and dark.

The colours are from the palette of Okabe & Ito (Color Universal Design, 2008); they also differ in lightness, so that they survive
grey print. Text and axes have one foreground colour, which `svg` turns into ``currentColor``: the same figure then suits a light and a
dark page.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LAYER_COLOURS = {"theory": "#0072B2", "material": "#E69F00", "observation": "#009E73"}
SERIES_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
RESIDUAL = "#8C8C8C"
SHADES = {"aleatoric": 1.0, "epistemic": 0.45}
FOREGROUND, FOREGROUND_DARK = "#1c1e21", "#e4e6eb"
BACKGROUND_DARK = "#16181c"
WIDTH = 7.2  # inches: two columns of a journal


def layer_paint(layer: str, kind: str = "aleatoric") -> dict[str, Any]:
    """Matplotlib keywords of a bar: the layer's colour in the shade of the kind; two layers joined show both, by a hatch."""
    first, *others = layer.split(" + ")
    paint: dict[str, Any] = {"facecolor": shade(LAYER_COLOURS[first], SHADES[kind]), "edgecolor": LAYER_COLOURS[first], "linewidth": 0.8}
    if others:
        paint |= {"hatch": "////", "edgecolor": LAYER_COLOURS[others[-1]]}
    return paint


def shade(colour: str, opacity: float) -> tuple[float, float, float, float]:
    """A colour with an opacity: lighter on a light page, darker on a dark one."""
    from matplotlib.colors import to_rgba

    return to_rgba(colour, opacity)


@contextmanager
def theme(dark: bool = False) -> Iterator[None]:
    """Matplotlib settings of every figure."""
    import matplotlib as mpl

    ink = FOREGROUND_DARK if dark else FOREGROUND
    settings: dict[Any, Any] = {
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "axes.facecolor": "none",
        "figure.facecolor": BACKGROUND_DARK if dark else "white",
        "legend.frameon": False,
        "legend.fontsize": 8,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "hatch.linewidth": 1.2,
        "svg.fonttype": "none",
        "svg.hashsalt": "realmat",
        **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), ink),
    }
    with mpl.rc_context(settings):
        yield


@cache
def _canvas() -> type[Figure]:
    """A figure that shows itself in a notebook, without the state that pyplot keeps."""
    from matplotlib.figure import Figure

    class Drawing(Figure):
        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=150)
            return buffer.getvalue()

    return Drawing


def figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure, inches; call it inside `theme`."""
    return _canvas()(figsize=(width, height), layout="constrained")


def ink(axes: Axes) -> Any:
    """The foreground colour that axes were made with."""
    return axes.xaxis.label.get_color()


def svg(drawing: Figure, title: str = "") -> str:
    """A figure as an ``<svg>`` element for a page: transparent, foreground as ``currentColor``, `title` for screen readers."""
    from html import escape

    buffer = io.StringIO()
    with theme():
        drawing.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(FOREGROUND, "currentColor").replace(FOREGROUND_DARK, "currentColor")
    head, rest = text.split(">", 1)
    label = f' role="img" aria-label="{escape(title, quote=True)}"' if title else ""
    return f"{head}{label}>{rest}"
