"""A budget in sentences, each derived from its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realmat.support.numbers import percent, significant

if TYPE_CHECKING:
    import pandas as pd

    from realmat.attribution.budget import Budget

SUBJECT = {
    "observation": ("a further measurement", "on a known specimen"),
    "specimen": ("a measurement", "on a new specimen of a known material"),
    "material": ("a measurement", "on a new material"),
}
LAYER = {
    "theory": "theory (the ideal material)",
    "material": "the real material",
    "observation": "the measurement",
}
THING = {"observation": "measurement", "specimen": "specimen", "material": "material"}


def subject(new: str, of: str = "", average: str = "") -> str:
    """What a budget is of, in words."""
    what, where = SUBJECT[new]
    if average:
        where = {"specimen": "of a known material", "material": "of a new material"}[new] if "specimens" in average else where
        what = f"{of} as the mean of {average}" if of else f"the mean of {average}"
        return f"{what} {where}"
    return f"{what} of {of} {where}" if of else f"{what} {where}"


def sentences(budget: Budget) -> str:
    """The text of a budget."""
    said = [
        _size(budget),
        _layers(budget),
        _largest(budget),
        _epistemic(budget),
        *_compensation(budget),
        *_joined(budget),
        *_heavy(budget),
        *_thinned(budget),
    ]
    return " ".join(s for s in said if s)


def _size(b: Budget) -> str:
    log = b.dataset.attrs["scale"] == "log"
    unit = "" if log else f" {b.dataset.attrs['unit']}".rstrip()
    relative = f", about {percent(b.u)} of the value" if log and b.u < 0.5 else ""
    scale = " on the log scale" if log else ""
    spread = b.dataset["row_u"]
    varies = float(spread.max()) > 1.5 * float(spread.min())
    said = subject(b.new, b.said(b.dataset.attrs["response"]), b.average)
    average = " (root mean square over the rows)" if varies else ""
    return (
        f"{said[0].upper()}{said[1:]} has a standard uncertainty u = {significant(b.u)}{unit}{scale}"
        f"{relative}{average}; expanded, U = {significant(b.U)}{unit} with k = {b.k:g}."
    )


def _layers(b: Budget) -> str:
    by_layer = b.table.groupby("layer")["share"].sum().sort_values(ascending=False)
    words: list[str] = []
    for layer, share in by_layer.items():
        verb = "" if words else " of the variance comes"
        words.append(f"{percent(float(share))}{verb} from {' and '.join(LAYER[part] for part in str(layer).split(' + '))}")
    return _listed(words) + "."


def _largest(b: Budget) -> str:
    row = b.table.iloc[int(b.table["share"].to_numpy().argmax())]
    return f"The largest part is {b.said(row['component'])} ({percent(float(row['share']))}): {_remedy(b, row)}."


def _remedy(b: Budget, row: pd.Series) -> str:
    """What would lower the largest part."""
    layer, kind = row["layer"], row["kind"]
    thing = THING[b.new]
    if row["component"] == b.dataset.attrs["missing"]:
        return "calculations that were not run would take it away, and advise() says which to begin with"
    if " + " in layer:
        return "what it consists of cannot be told from this design"
    if kind == "aleatoric":
        if layer == "observation":
            if row["component"] == b.dataset.attrs["noise"]:
                return (
                    "more readings in the mean would lower it"
                    if b.average
                    else "the mean of several readings would lower it, four halve its u"
                )
            return "the bias of a laboratory not seen before, which measurements of known specimens there would lower"
        if layer == "theory":
            return "the scatter of the computed value itself, which a calculation of smaller numerical error would lower"
        if row["component"] in b.dataset.attrs["characterised"].split(", "):
            return f"it differs from {thing} to {thing}, and characterising the new {thing} would lower it"
        return (
            f"it differs from {thing} to {thing} and no column explains it; a property that tells them apart, once recorded, could lower it"
        )
    if layer == "observation":
        return "the laboratories' biases are not well known, and specimens measured by several of them would pin them down"
    if layer == "theory":
        return "its parameters are not well known, and measured materials that span the range of the theory would pin them down"
    if b.new == "observation":
        return "more measurements of the same specimens and materials would pin it down"
    return "more measured specimens and materials like these would pin it down"


def _epistemic(b: Budget) -> str:
    share = float(b.table.loc[b.table["kind"] == "epistemic", "share"].sum())
    return f"{percent(share)} is epistemic and falls with more data of this kind; {percent(1 - share)} is aleatoric and does not."


def _compensation(b: Budget) -> list[str]:
    return [
        f"{one} and {other} compensate each other: the data know their sum better than either, so the epistemic part of {one} is negative."
        for one, other in ((b.said(one), b.said(other)) for one, other, _ in b.compensation)
    ]


def _joined(b: Budget) -> list[str]:
    return [
        f"This design cannot separate {_listed([b.said(name) for name in names])}, so they are reported together." for names in b.joined
    ]


def _heavy(b: Budget) -> list[str]:
    names = ", ".join(b.said(name) for name in b.dataset.attrs["heavy"].split(", "))
    if not names:
        return []
    return [
        f"The tails of {names} are so heavy that its variance is ruled by a few draws: trust the bounds of predictions more than this u."
    ]


def _thinned(b: Budget) -> list[str]:
    used, of = b.dataset.attrs["posterior_draws"], b.dataset.attrs["of_draws"]
    return [f"Computed from {used} of {of} posterior draws."] if used < of else []


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
