"""Charts as inline SVG that a page can restyle: places are per cent of the frame, so that text keeps its size at every width.

Colours are classes of the page's style sheet; labels stand outside the frame, in the margin that the style sheet leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

from realmat.attribution.gap import step_text
from realmat.report.words import layer_class, number, records, u_text
from realmat.support.numbers import percent, plus_minus

if TYPE_CHECKING:
    import pandas as pd

    from realmat.attribution.budget import Budget


BARS = 150  # points that can each have their error bar


@dataclass(frozen=True)
class Axis:
    """From data to per cent of the frame; on the log scale where `log`."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def over(cls, values: Any, log: bool = False, margin: float = 0.05) -> Axis:
        """An axis over finite values, with a margin."""
        v = np.asarray(values, dtype=float)
        v = v[np.isfinite(v)]
        v = np.log(v[v > 0]) if log else v
        low, high = (float(v.min()), float(v.max())) if len(v) else (0.0, 1.0)
        room = margin * (high - low) or 0.5 * abs(high) or 0.5
        return cls(low - room, high + room, log)

    def at(self, value: Any) -> Any:
        """Place of a value, 0 to 100."""
        v = np.log(value) if self.log else np.asarray(value, dtype=float)
        return 100 * (v - self.low) / (self.high - self.low)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values inside the axis."""
        return nice_log(self.low, self.high, most) if self.log else nice(self.low, self.high, most)


def nice(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` values 1, 2 or 5 times a power of ten apart.

    Examples
    --------
    >>> nice(-3.2, 11.0, 4)
    [0.0, 5.0, 10.0]
    """
    rough = (high - low) / most
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(float(m * power) for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [round(k * step, 12) for k in range(first, last + 1)]


def nice_log(low: float, high: float, most: int = 6) -> list[float]:
    """Round values between exp(low) and exp(high): evenly apart over less than a factor of five, else 1, 2, 5 or 1 of each decade."""
    if high - low < np.log(5):
        return [t for t in nice(float(np.exp(low)), float(np.exp(high)), most) if t > 0]
    decades = range(int(np.floor(low / np.log(10))), int(np.ceil(high / np.log(10))) + 1)
    for marks in ((1, 2, 5), (1, 3), (1,)):
        ticks = [m * 10.0**d for d in decades for m in marks if low <= np.log(m * 10.0**d) <= high]
        if len(ticks) <= most:
            return ticks
    return ticks[:: -(-len(ticks) // most)]


def percentages(values: Any) -> list[str]:
    """Places as SVG lengths."""
    return [f"{v:.2f}%" for v in np.atleast_1d(values)]


def budget_bar(budget: Budget, unit: str) -> Markup:
    """One stacked bar: every positive part of the variance, as wide as its share; details on hover."""
    shown = budget.table[budget.table["share"] > 0]
    widths = 100 * shown["share"] / shown["share"].sum()
    out, at = [], 0.0
    for row, width in zip(records(shown), widths, strict=True):
        layer = layer_class(row.layer)
        tip = f"{budget.said(row.component)}, {row.kind}: {percent(row.share)} of the variance, u = {u_text(budget, unit, row.u)}"
        label = _bar_label(budget.said(row.component), row, layer, at + width / 2, width)
        out.append(
            f"<g><title>{escape(tip)}</title>"
            f'<rect class="{layer} {row.kind}" x="{at:.2f}%" y="1" width="{width:.2f}%" height="34"/>{label}</g>'
        )
        at += width
    parts = ", ".join(f"{budget.said(row.component)} {row.kind} {percent(row.share)}" for row in records(shown))
    return _svg("bar", "".join(out), f"Stacked bar of the budget: {parts}.", height=36)


def _bar_label(name: str, row: Any, layer: str, middle: float, width: float) -> str:
    """The share inside a segment that has room for it, with the component's name where a wide page has room for that too."""
    share, kind = f"{100 * row.share:.0f} %", f'class="on {layer} {row.kind}'
    long = f"{name} {share}"
    room = 8.3 * width > 7.2 * len(long) + 12  # px of a page at its full width
    at = f'x="{middle:.2f}%" y="23"'
    short = f'<text {kind} short" {at}>{share}</text>' if width >= 9 else ""
    return short + (
        f'<text {kind} long" {at}>{escape(long)}</text>' if room else f'<text {kind} long" {at}>{share}</text>' if width >= 5 else ""
    )


def share_bar(share: float, low: float, high: float, layer: str, kind: str) -> Markup:
    """The share of one part with its interval, for a table."""
    a, b = min(share, 0.0), max(share, 0.0)
    to = Axis(-0.1, 1.0) if min(share, low) < 0 else Axis(0.0, 1.0)
    x, _, lb, ub = percentages(to.at(np.clip([a, b, low, high], -0.1, 1.0)))
    width = f"{to.at(b) - to.at(a):.2f}%"
    body = (
        f'<rect class="{layer_class(layer)} {kind}" x="{x}" y="4" width="{width}" height="10"/>'
        f'<line class="whisker" x1="{lb}" x2="{ub}" y1="9" y2="9"/>'
    )
    return Markup(f'<svg class="share" height="18" aria-hidden="true">{body}</svg>')


def parity(points: pd.DataFrame, response: str, by: str, unit: str, log: bool) -> Markup:
    """Predicted against measured; strokes from thick to thin: 2 u of theory, with the real material, and of a whole measurement.

    Parameters
    ----------
    points : DataFrame
        Columns `y`, `mean`, `label`, `piece` (number of its piece in the chooser, -1 where it is not there), and the cumulative expanded
        uncertainties `theory`, `material`, `observation`, in response units.
    """
    if points.empty:
        return Markup("")
    axis = Axis.over(np.concatenate([points["y"], points["mean"]]), log)
    x, y = percentages(axis.at(points["y"])), percentages(100 - axis.at(points["mean"]))
    out = [*_grid(axis, axis), '<line class="ideal" x1="0%" y1="100%" x2="100%" y2="0%"/>']
    marks = _error_bars(points, axis, log, x) if len(points) <= BARS else [_typical(points, axis, log)]
    for a, b, row in zip(x, y, records(points), strict=True):
        tip = f"{row.label}: measured {number(row.y)}, predicted {plus_minus(row.mean, row.observation / 2)}{unit}"
        marks.append(f'<circle cx="{a}" cy="{b}" r="3.2" data-piece="{row.piece}"><title>{escape(tip)}</title></circle>')
    few = "few" if len(points) <= BARS else "many"
    alt = f"Predicted against measured {response} of {len(points)} measurements, each {by} predicted without itself."
    return _svg(
        f"plot square {few}",
        "".join([*out, "<svg>", *marks, "</svg>"]),
        alt,
        labels=(f"Measured {response}", f"Predicted {response}"),
        unit=unit,
    )


def _error_bars(points: pd.DataFrame, axis: Axis, log: bool, x: Sequence[str]) -> list[str]:
    out = []
    for layer in ("observation", "material", "theory"):
        lower, upper = _bounds(points["mean"], points[layer], log)
        for a, low, high in zip(x, 100 - axis.at(lower), 100 - axis.at(upper), strict=True):
            out.append(f'<line class="bar-{layer}" x1="{a}" x2="{a}" y1="{min(low, 110):.1f}%" y2="{max(high, -10):.1f}%"/>')
    return out


def _typical(points: pd.DataFrame, axis: Axis, log: bool) -> str:
    """One bar of median size in the corner, where a bar for each of many points would hide them."""
    middle = np.array([points["mean"].median()])
    out, centre = [], 22.0
    for layer in ("observation", "material", "theory"):
        lower, upper = _bounds(middle, np.array([points[layer].median()]), log)
        half = float((axis.at(upper) - axis.at(lower))[0]) / 2
        out.append(f'<line class="bar-{layer}" x1="8%" x2="8%" y1="{centre - half:.1f}%" y2="{centre + half:.1f}%"/>')
    return f'<g><title>Error bar of median size</title>{"".join(out)}<circle cx="8%" cy="{centre}%" r="3.2" data-piece="-1"/></g>'


def _bounds(mean: Any, expanded: Any, log: bool) -> tuple[np.ndarray, np.ndarray]:
    m, e = np.asarray(mean, dtype=float), np.asarray(expanded, dtype=float)
    return (m * np.exp(-e / m), m * np.exp(e / m)) if log else (m - e, m + e)


def coverage(pit: np.ndarray) -> Markup:
    """Empirical against nominal coverage of central intervals, with the range that chance allows."""
    from scipy.stats import binom

    from realmat.plots.calibration import coverage as inside

    nominal = np.linspace(0, 1, 101)
    found = inside(pit, nominal)
    low, high = (binom.ppf(q, len(pit), nominal) / len(pit) for q in (0.025, 0.975))
    axis = Axis(0.0, 1.0)
    curve = _points(zip(nominal, found, strict=True))
    band = [*zip(nominal, high, strict=True), *zip(nominal[::-1], low[::-1], strict=True)]
    out = [
        *_grid(axis, axis, as_percent=True),
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none"><polygon class="chance" points="{_points(band)}"/>',
        f'<polyline class="ideal" points="0,100 100,0"/><polyline class="curve" points="{curve}"/></svg>',
    ]
    marks = []
    for p in (0.5, 0.8, 0.95):
        value = float(inside(pit, np.array([p]))[0])
        marks.append(f"{100 * p:.0f} % intervals hold {100 * value:.1f} %")
        out.append(f'<circle class="mark" cx="{100 * p}%" cy="{100 - 100 * value:.2f}%" r="4.5"><title>{marks[-1]}</title></circle>')
    return _svg(
        "plot square", "".join(out), f"Coverage of {len(pit)} left-out measurements: {', '.join(marks)}.", labels=("Nominal", "Inside")
    )


def histogram(pit: np.ndarray) -> Markup:
    """Density of the left-out PIT; flat where the predictions are calibrated."""
    from scipy.stats import binom

    bins = int(np.clip(len(pit) // 20, 5, 20))
    height = np.histogram(pit, np.linspace(0, 1, bins + 1))[0] * bins / len(pit)
    low, high = (binom.ppf(q, len(pit), 1 / bins) * bins / len(pit) for q in (0.025, 0.975))
    across, up = Axis(0.0, 1.0), Axis(0.0, 1.1 * max(float(height.max()), float(high)))
    top = 100 - up.at(np.array([1.0, low, high]))
    out = [
        *_grid(across, up),
        f'<rect class="chance" x="0%" width="100%" y="{top[2]:.2f}%" height="{top[1] - top[2]:.2f}%"/>',
        *(
            f'<rect class="bin" x="{100 * k / bins:.2f}%" width="{100 / bins:.2f}%" y="{100 - up.at(h):.2f}%" height="{up.at(h):.2f}%">'
            f"<title>{k / bins:.2f} to {(k + 1) / bins:.2f}: density {h:.2f}</title></rect>"
            for k, h in enumerate(height)
        ),
        f'<line class="ideal" x1="0%" x2="100%" y1="{top[0]:.2f}%" y2="{top[0]:.2f}%"/>',
    ]
    alt = f"Histogram of the left-out PIT of {len(pit)} measurements; densities from {height.min():.2f} to {height.max():.2f}."
    return _svg("plot square", "".join(out), alt, labels=("Left-out PIT", "Density"))


def _points(pairs: Any) -> str:
    return " ".join(f"{100 * x:.1f},{100 - 100 * y:.1f}" for x, y in pairs)


def _grid(across: Axis, up: Axis, as_percent: bool = False) -> list[str]:
    """Grid lines and tick labels."""
    out = []
    for value in across.ticks(5):
        x, label = f"{across.at(value):.2f}%", f"{100 * value:.0f} %" if as_percent else number(value)
        out.append(f'<line class="grid" x1="{x}" x2="{x}" y1="0%" y2="100%"/><text class="tick" x="{x}" y="100%" dy="16">{label}</text>')
    for value in up.ticks(5):
        y, label = f"{100 - up.at(value):.2f}%", f"{100 * value:.0f} %" if as_percent else number(value)
        out.append(
            f'<line class="grid" x1="0%" x2="100%" y1="{y}" y2="{y}"/><text class="tick up" x="0%" y="{y}" dx="-7" dy="4">{label}</text>'
        )
    return out


def _svg(kind: str, body: str, alt: str, height: int | None = None, labels: tuple[str, str] | None = None, unit: str = "") -> Markup:
    """The element; `labels` name the axes."""
    size = f' height="{height}"' if height else ""
    said = ""
    if labels:
        suffix = f" ({unit.strip()})" if unit else ""
        said = (
            f'<text class="label" x="100%" y="100%" dy="36">{escape(labels[0] + suffix)}</text>'
            f'<text class="label up" x="0%" y="0%" dy="-10" dx="-44">{escape(labels[1] + suffix)}</text>'
        )
    return Markup(f'<svg class="{kind}"{size} role="img" aria-label="{escape(alt)}">{body}{said}</svg>')


def waterfall(row: Mapping[str, float], steps: Sequence[str], log: bool, said: Callable[[str], str] = str) -> dict[str, Any]:
    """Places of a waterfall, all in per cent: what the page's script computes for another specimen.

    Parameters
    ----------
    row : mapping
        `<step>` and `<step>_u`, on the scale of the link.
    steps : sequence of str
        Theory, the contributions, the residual and measured, in this order.
    said : callable
        What to call a step.
    """
    level = {"theory": float(row["theory"]), "measured": float(row["measured"])}
    spans, at = {}, level["theory"]
    for step in steps[1:-1]:
        spans[step] = (at, at + float(row[step]))
        at = spans[step][1]
    ends = {**level, **{step: span[1] for step, span in spans.items()}}
    u = {step: float(row[f"u({step})"]) for step in steps}
    edges = [end + sign * u[step] for step, end in ends.items() for sign in (-1, 1)] + [edge for span in spans.values() for edge in span]
    plain = Axis.over(edges)
    axis = Axis(plain.low, plain.high, log)
    rows = []
    for step in steps:
        value, end = float(row[step]), ends[step]
        start, stop = spans.get(step, (end, end))
        rows.append(
            {
                "step": step,
                "said": said(step),
                "level": step in level,
                "text": step_text(value, u[step], step in level, log),
                "from": float(plain.at(start)),
                "x": float(plain.at(min(start, stop))),
                "width": float(abs(plain.at(stop) - plain.at(start))),
                "end": float(plain.at(end)),
                "low": float(plain.at(end - u[step])),
                "high": float(plain.at(end + u[step])),
            }
        )
    ticks = [{"x": float(axis.at(t)), "text": number(t)} for t in axis.ticks(5)]
    return {"rows": rows, "ticks": ticks}
