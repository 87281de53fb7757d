"""Sentences of a report, each derived from the numbers it states."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from realmat.attribution.budget_text import LAYER, THING, subject
from realmat.support.numbers import MINUS, percent, power_of_ten, significant

if TYPE_CHECKING:
    import pandas as pd

    from realmat.attribution.budget import Budget
    from realmat.model import Model
    from realmat.report.findings import Findings
    from realmat.terms.problem import Problem
    from realmat.validation.loo import LeftOut


def layer_class(layer: str) -> str:
    """A layer as a class of the page's style sheet; layers that cannot be told apart have their own."""
    return layer.replace(" + ", "-")


PERFECT = {"theory": "a perfect theory", "material": "a fully known material", "observation": "a perfect measurement"}
EACH = {"row": "measurement", "observation": "measurement"}


def number(value: float, digits: int = 3) -> str:
    """A number to some significant digits, with a proper minus sign and digits grouped where it is long.

    Examples
    --------
    >>> number(-0.01234), number(1234.5), number(float("nan"))
    ('−0.0123', '1234', '–')
    >>> number(3.34e-5)
    '3.34 × 10⁻⁵'
    >>> number(1234567.0).split("\N{NARROW NO-BREAK SPACE}")
    ['1', '230', '000']
    """
    if not np.isfinite(value):
        return "–" if np.isnan(value) else ("∞" if value > 0 else f"{MINUS}∞")
    size = abs(value)
    if isinstance(value, (int, np.integer)):
        text = f"{size:,}" if size >= 1e4 else str(size)
    elif 1e4 <= size < 1e9:
        text = f"{float(f'{size:.{digits}g}'):,.0f}"
    else:
        text = power_of_ten(significant(float(size), digits))
    return (MINUS if value < 0 else "") + text.replace(",", "\N{NARROW NO-BREAK SPACE}")


def records(frame: pd.DataFrame) -> Iterable[Any]:
    """Rows with their columns as attributes."""
    return frame.itertuples()


def listed(words: list[str], link: str = "and") -> str:
    """Words with commas and a last "and"."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" {link} " + words[-1]


def count(n: int, thing: str) -> str:
    """A count with its noun: "1 lab", "12 labs"."""
    return f"{number(n)} {thing}" + ("" if n == 1 else "s")


def response(model: Model) -> str:
    """The response with its unit."""
    name = model.label or model.response
    return f"{name} in {model.unit}" if model.unit else name


def what_was_measured(problem: Problem, unit: str) -> str:
    """How many measurements of what, on what, by whom."""
    table = problem.table
    size = {level: table.level(level).size for level in table.levels}
    on = [count(size[level], level) for level in ("specimen", "material") if level in size]
    by = f" by {number(size['lab'])} laborator{'y' if size['lab'] == 1 else 'ies'}" if "lab" in size else ""
    name = problem.said(problem.response)
    what = f"{name} ({unit})" if unit else name
    by += "" if table.within is None else f", reduced to {count(len(table), 'cell')} where they live"
    return f"{count(table.readings, 'measurement')} of {what}{' on ' if on else ''}{' of '.join(on)}{by}."


def layer_shares(budget: Budget) -> dict[str, float]:
    """Share of the predictive variance by layer; layers that cannot be told apart are named together."""
    return {str(k): float(v) for k, v in budget.table.groupby("layer", sort=False)["share"].sum().items()}


def u_text(budget: Budget, unit: str, u: float | None = None) -> str:
    """A standard uncertainty with its unit; relative on the log scale."""
    value = budget.u if u is None else u
    return f"{number(100 * value)} %" if budget.dataset.attrs["scale"] == "log" else f"{number(value)}{unit}"


def conclusions(budget: Budget, unit: str) -> list[tuple[str, str]]:
    """Three things to conclude from a budget: (what it is about, sentence)."""
    return [
        ("What to expect.", _expect(budget, unit)),
        ("What limits it.", _limits(budget, unit)),
        ("What more data can do.", _more_data(budget, unit)),
    ]


def _expect(budget: Budget, unit: str) -> str:
    main = max(layer_shares(budget).items(), key=lambda item: item[1])
    layer = " and ".join(LAYER[part] for part in main[0].split(" + "))
    return (
        f"{sentence_subject(budget)} will lie within ± {u_text(budget, unit, budget.U)} of its prediction (U, k = {budget.k:g}); "
        f"{percent(main[1])} of that variance comes from {layer}."
    )


def sentence_subject(budget: Budget) -> str:
    """What a budget is of, at the head of a sentence."""
    said = subject(budget.new)
    return said[0].upper() + said[1:]


def _limits(budget: Budget, unit: str) -> str:
    gains: list[str] = []
    for layer, share in layer_shares(budget).items():
        if " + " not in layer and share >= 0.02:
            left = u_text(budget, unit, budget.u * float(np.sqrt(max(0.0, 1 - share))))
            gains.append(
                f"{PERFECT[layer]} would bring u from {u_text(budget, unit)} to {left}" if not gains else f"{PERFECT[layer]} to {left}"
            )
    row = budget.table.iloc[int(budget.table["share"].to_numpy().argmax())]
    largest = f"The largest single part is {budget.said(row['component'])} ({row['kind']}, {percent(float(row['share']))})."
    said = listed(gains)
    return f"{said[:1].upper()}{said[1:]}. {largest}" if gains else largest


def _more_data(budget: Budget, unit: str) -> str:
    epistemic = float(budget.table.loc[budget.table["kind"] == "epistemic", "share"].sum())
    floor = u_text(budget, unit, budget.u * float(np.sqrt(np.clip(1 - epistemic, 0.0, 1.0))))
    if epistemic < 0.02:
        return f"Almost nothing: {percent(1 - epistemic)} of the variance is aleatoric; u stays near {floor} until a column tells more."
    return (
        f"Data of this kind without end would lower u from {u_text(budget, unit)} to {floor}: {percent(epistemic)} of the variance is "
        "epistemic. "
        f"Beyond that, only better measurements or a property that tells the {THING[budget.new]}s apart help."
    )


def _measured(n: int, means: bool) -> str:
    return f"{number(n)} means of cells" if means else count(n, "measurement")


def left_out_words(left: LeftOut, unit: str, rows: int) -> str:
    """How well each group is predicted without itself; `rows` of the table in all."""
    scores, n, each = left.scores(), len(left.table), EACH.get(left.by, left.by)
    some = "" if n == rows else f" (of {number(rows)}, {'' if left.by in EACH else f'of {each}s '}chosen at random)"
    return (
        f"Each {each} was predicted by a fit without it. The {_measured(n, left.means)}{some} differ from these predictions by "
        f"{number(scores['rmse'])}{unit} (root mean square; mean absolute {number(scores['mae'])}{unit}); "
        f"the 50, 80 and 95 % intervals hold {listed([f'{100 * scores[f"coverage_{p}"]:.1f} %' for p in (50, 80, 95)])} of them."
    )


def summary(found: Findings) -> str:
    """The paragraph on top."""
    said = [what_was_measured(found.problem, found.model.unit)]
    if found.gap is not None:
        said.append(found.gap.text.split(". ")[0] + ".")
    budget = found.budget
    shares = [
        f"{percent(share)} from {' and '.join(LAYER[p] for p in layer.split(' + '))}" for layer, share in layer_shares(budget).items()
    ]
    said.append(f"{sentence_subject(budget)} carries a standard uncertainty of {u_text(budget, found.unit)}: {listed(shares)}.")
    if found.left is not None:
        scores, each = found.left.scores(), EACH.get(found.left.by, found.left.by)
        things = "means of cells" if found.left.means else "measurements"
        said.append(
            f"Predicted without itself, a {each} is met to {number(scores['rmse'])}{found.unit} (root mean square), and "
            f"{100 * scores['coverage_95']:.0f} % of the {things} lie in their 95 % intervals."
        )
    return " ".join(said)


def question(found: Findings) -> str:
    """What the model asks of its data."""
    from_theory, real = (
        [found.problem.said(c.label) for c in found.model.components if c.layer == layer] for layer in ("theory", "material")
    )
    theory = f"theory ({listed(from_theory)})" if from_theory else "a constant"
    rest = f"the real material ({listed(real)})" if real else "nothing of the real material"
    scale = " Layers add up on the logarithm of the response, so contributions are relative." if found.log else ""
    measured = found.problem.said(found.problem.response)
    return f"How much of measured {measured} does {theory} account for, how much {rest}, and how much the measurement itself?{scale}"


def narrowed(by: Mapping[str, float]) -> str:
    """What the data did to the priors, from the share by which they shortened the interval of each parameter.

    Examples
    --------
    >>> narrowed({"slope": 0.9, "scale": 0.7, "rest": 0.05})
    'The data more than halved the prior interval of 2 of 3 parameters. They say next to nothing of rest: there the prior decides.'
    """
    if not by:
        return "The model has no free parameter."
    most, hardly = sum(share > 0.5 for share in by.values()), [name for name, share in by.items() if share < 0.1]
    said = f"The data more than halved the prior interval of {most} of {count(len(by), 'parameter')}."
    if not hardly:
        return said
    names = listed([*hardly[:4], *([f"{len(hardly) - 4} more"] if len(hardly) > 4 else [])])
    return f"{said} They say next to nothing of {names}: there the prior decides."


def missing(problem: Problem) -> str:
    """Which columns have gaps, and that nothing was dropped."""
    gaps = []
    for name, values in problem.table.columns.items():
        if values.dtype.kind == "f" and np.isnan(values).any():
            gaps.append(f"{name} ({percent(float(np.isnan(values).mean()))} empty)")
    if not gaps:
        return "Every column that the model uses is complete."
    return (
        f"Columns with empty cells: {listed(gaps)}. No row was dropped for it: what is missing is inferred, and widens what depends on it."
    )


def facts(found: Findings) -> list[tuple[str, str]]:
    """Numbers to see first: (what, how much)."""
    budget = found.budget
    unit = f", {found.model.unit}" if found.model.unit else ""
    relative = budget.dataset.attrs["scale"] == "log"
    out = [
        ("measurements", number(found.problem.table.readings)),
        (f"u of {budget_thing(budget)}{'' if relative else unit}", u_text(budget, "")),
    ]
    share = float(budget.table.loc[budget.table["layer"] == "material", "share"].sum())
    out.append(("of its variance from the real material", percent(share)))
    if found.left is not None:
        scores = found.left.scores()
        out.append((f"root mean square error, left out{unit}", number(scores["rmse"])))
        out.append(("inside their 95 % intervals", f"{100 * scores['coverage_95']:.0f} %"))
    return out


def budget_thing(budget: Budget) -> str:
    """What is new, shortly."""
    return {"observation": "a further measurement", "specimen": "a new specimen", "material": "a new material"}[budget.new]


def baseline(found: Findings) -> dict[str, float] | None:
    """Errors of the theory column as it is; None where the theory layer is no such column."""
    name = next((str(c.column) for c in found.model.components if c.layer == "theory" and hasattr(c, "column")), None)
    if name is None or found.left is None or name not in found.problem.table.columns:
        return None
    error = found.problem.table.numeric(found.problem.response) - found.problem.table.numeric(name)
    return {"rmse": float(np.sqrt(np.mean(error**2))), "mae": float(np.mean(np.abs(error)))}


def calibration(left: LeftOut) -> str:
    """Whether the intervals hold what they promise."""
    from scipy.stats import binom

    scores, n = left.scores(), int(left.table["pit"].notna().sum())
    outside = []
    for p in (50, 80, 95):
        low, high = binom.ppf((0.025, 0.975), n, p / 100) / n
        value = scores[f"coverage_{p}"]
        if not low <= value <= high:
            outside.append(f"{p} % intervals hold {100 * value:.1f} % ({'too narrow' if value < low else 'too wide'})")
    if not outside:
        return (
            f"The 50, 80 and 95 % intervals hold as many of the {number(n)} measurements as chance allows: the predictions are calibrated."
        )
    return (
        f"Beyond what chance allows: {listed(outside)}. The shape of the noise or of the unresolved rest may be wrong: heavier tails, "
        "or a scale by group, may mend it."
    )
