"""The model as a picture of its layers: theory on top, then what the real material and the laboratory add, down to the measured value."""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from realmat.plots.style import LAYER_COLOURS, RESIDUAL, WIDTH, figure, ink, shade, theme
from realmat.terms.term import LAYERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from realmat.model import Model
    from realmat.terms.problem import Problem
    from realmat.terms.term import Term

HEADINGS = {"theory": "Theory: the ideal material", "material": "Material: the real specimen", "observation": "Observation: the laboratory"}
_ACROSS, _LINE, _PAD = 3, 0.135, 0.1  # at most so many cards side by side; inches
_CHARACTERS = 18  # in an inch of a card's text


@dataclass(frozen=True)
class Card:
    """One component in words.

    Attributes
    ----------
    component, layer : str
    meaning : str
        First line of the class's documentation: its equation, in double backticks, and what it stands for.
    inferred : str
        What it has to infer.
    """

    component: str
    layer: str
    meaning: str
    inferred: str


def cards(model: Model, problem: Problem) -> list[Card]:
    """Every component in words, theory first."""
    return [
        Card(problem.said(c.label), c.layer, (inspect.getdoc(type(c)) or type(c).__name__).splitlines()[0], inferred(problem.term(c.label)))
        for c in model.components
    ]


def inferred(term: Term) -> str:
    """What a component has to infer: its hyperparameters by name, its single coefficients, and how many others it has."""
    own = term.component + "_"
    single = [q.name.removeprefix(own) for q in term.params] + [c.name.removeprefix(own) for c in term.coefficients if c.size == 1]
    many = [f"{c.size} {c.level or ''} values".replace("  ", " ") for c in term.coefficients if c.size > 1]
    return ", ".join([*dict.fromkeys(single), *many]) or "nothing: it is fixed"


def equation(problem: Problem) -> list[tuple[str, str]]:
    """The sum that the layers make: (symbol, layer) of each part, after the response itself with layer ``""``."""
    present = {term.layer for term in problem.terms}
    response = problem.said(problem.response)
    left = f"log {response}" if problem.link == "log" else response
    words = {"theory": "ideal material", "material": "what makes the material real", "observation": "laboratory and noise"}
    return [(left, ""), *((words[layer], layer) for layer in LAYERS if layer in present)]


def plot_model(model: Model, problem: Problem, dark: bool = False) -> Figure:
    """The model as a picture of its layers.

    Parameters
    ----------
    model : Model
    problem : Problem
        The model bound to its table, which says how many coefficients each component has.
    dark : bool
        For a dark page.
    """
    every = cards(model, problem)
    bands = [[card for card in every if card.layer == layer] for layer in LAYERS]
    bands = [band for band in bands if band]
    total = sum(map(_height, bands)) + 0.3 * len(bands) + 0.35
    with theme(dark):
        made = figure(total)
        made.set_layout_engine("none")
        axes = made.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0, WIDTH), ylim=(total, 0))
        axes.axis("off")
        top = 0.08
        for band in bands:
            _band(axes, band, top)
            top += _height(band) + 0.3
            last = band is bands[-1]
            arrow = {"arrowstyle": "-|>" if last else "-", "color": ink(axes)}
            axes.annotate("", (WIDTH / 2, top - 0.04), (WIDTH / 2, top - 0.27), arrowprops=arrow)
            if not last:
                axes.text(WIDTH / 2 + 0.08, top - 0.15, "+", va="center", fontsize=11)
        log = " (layers add up on its logarithm)" if problem.link == "log" else ""
        unit = f" in {model.unit}" if model.unit else ""
        axes.text(
            WIDTH / 2,
            top + 0.1,
            f"measured {problem.said(problem.response)}{unit}{log}",
            ha="center",
            va="center",
            fontsize=9,
            weight="bold",
        )
    return made


def _width(band: list[Card]) -> float:
    return (WIDTH - 0.34) / min(len(band), _ACROSS)


def _lines(card: Card, width: float) -> list[str]:
    wrap = int(_CHARACTERS * (width - 0.3))
    meaning = textwrap.wrap(card.meaning.replace("``", ""), wrap, max_lines=4, placeholder=" …")
    return meaning + textwrap.wrap(f"infers {card.inferred}", wrap, max_lines=2, placeholder=" …")


def _rows(band: list[Card]) -> list[list[Card]]:
    return [band[i : i + _ACROSS] for i in range(0, len(band), _ACROSS)]


def _row_height(row: list[Card], width: float) -> float:
    return _LINE * (max(len(_lines(card, width)) for card in row) + 1.4) + 2 * _PAD


def _height(band: list[Card]) -> float:
    return sum(_row_height(row, _width(band)) for row in _rows(band)) + 0.38


def _band(axes: Axes, band: list[Card], top: float) -> None:
    colour, height, width = LAYER_COLOURS.get(band[0].layer, RESIDUAL), _height(band), _width(band)
    _box(axes, 0.08, top, WIDTH - 0.16, height, facecolor=shade(colour, 0.14), edgecolor="none")
    axes.plot([0.1, 0.1], [top + 0.03, top + height - 0.03], color=colour, lw=3, solid_capstyle="butt")
    axes.text(0.24, top + 0.17, HEADINGS[band[0].layer], va="center", fontsize=9, weight="bold")
    at = top + 0.32
    for row in _rows(band):
        deep = _row_height(row, width)
        for k, card in enumerate(row):
            left, text = 0.22 + k * width, "\n".join(_lines(card, width))
            _box(axes, left, at, width - 0.1, deep - 0.08, facecolor="none", edgecolor=colour)
            axes.text(left + _PAD, at + _PAD + 0.05, card.component, va="center", fontsize=8, weight="bold")
            axes.text(left + _PAD, at + _PAD + 0.17, text, va="top", fontsize=6.5, linespacing=1.35)
        at += deep


def _box(axes: Axes, left: float, top: float, width: float, height: float, **paint: Any) -> None:
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(FancyBboxPatch((left, top), width, height, boxstyle="round,pad=0,rounding_size=0.05", lw=0.8, **paint))
