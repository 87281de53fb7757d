"""Findings in words, each with the one-line change of the model, or of the data, that would answer it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from realmat.support.numbers import percent, significant
from realmat.table.table import ROW
from realmat.terms.problem import Problem
from realmat.validation.misfit.findings import Finding
from realmat.validation.misfit.questions import FITTED, ORDER

if TYPE_CHECKING:
    from realmat.model import Model

_ADD = "model.with_material(*model.material, {})"


def table_of(found: list[Finding], problem: Problem, model: Model | None) -> tuple[pd.DataFrame, list[str]]:
    """Findings as a table, columns `finding kind probability effect change`, and a sentence for each."""
    records, said = [], []
    for f in found:
        item, sentence, change = described(f, problem, model)
        said.append(f"{sentence}{'' if sentence[-1] in '.?' else '.'} Change: {change}")
        records.append((item, f.kind, f.probability, float(f.effect), change))
    return pd.DataFrame(records, columns=["finding", "kind", "probability", "effect", "change"]), said


def described(finding: Finding, problem: Problem, model: Model | None) -> tuple[str, str, str]:
    """What was found in a few words, a sentence, and the change as code (of `model` and `data`, as the user may call them)."""
    size = percent(finding.effect) if problem.link == "log" else f"{significant(finding.effect)} {model.unit if model else ''}".rstrip()
    whose = "rows" if finding.layer.of_rows else f"values of {finding.layer.level}"
    column = problem.table.column_of(finding.column) or finding.column
    match finding.kind:
        case "curve":
            item = f"a curve over {column}"
            said = f"What the model leaves of {whose} bends with {column}: a curve of {size} remains"
            return item, said, _ADD.format(f"rm.material.Discrepancy(on=[{column!r}])")
        case "column":
            item = f"a trend with {column}"
            said = f"What the model leaves of {whose} changes with {column}, which it does not use: by {size}"
            return item, said, _ADD.format(f"rm.material.Effect({column!r})")
        case "drift":
            said = f"{whose.capitalize()} drift along the order in which the rows stand, by {size}"
            effect = _ADD.format('rm.material.Effect("order", level="row")')
            return "a drift with the order of the rows", said, f'data["order"] = range(len(data)); {effect}'
        case "group":
            said = f"Rows of different {column} differ in what the model leaves, by {size}"
            return f"differences between values of {column}", said, _of_groups(column, problem, model)
        case "noise group":
            said = f"The noise differs between values of {column}, by {size}"
            return f"noise that differs by {column}", said, _replaced(f"scale_by={_level(column, problem)!r}")
        case "offset":
            item = "a level that the prior holds in the wrong place"
            return (
                item,
                f"{whose.capitalize()} lie to one side of what the model expects, by {size}: a prior contradicts the data",
                _freed(model),
            )
        case "noise line":
            return _noise_line(finding, column, size, problem, model)
        case "tails":
            return _tails(finding, size, whose, model)
    return _apart(finding, problem)


def _level(column: str, problem: Problem) -> str:
    """The name of the level that a column stands for, else its own."""
    return next((level for level, name in problem.table.levels.items() if name == column), column)


def _replaced(change: str) -> str:
    return f"model.with_observation(dataclasses.replace(model.observation, {change}))"


def _freed(model: Model | None) -> str:
    """The theory with default priors where the user wrote some."""
    theory = model.theory if model is not None else ()
    for k, component in enumerate(theory):  # type: ignore[arg-type]
        own = [
            f.name
            for f in dataclasses.fields(component)
            if f.name in ("value", "intercept", "slope") and getattr(component, f.name) is not None
        ]
        if own:
            freed = f"dataclasses.replace(model.theory[{k}], {', '.join(f'{name}=None' for name in own)})"
            return f"model.with_theory(*model.theory[:{k}], {freed}, *model.theory[{k + 1}:])"
    return "model.describe()  # see which prior holds the level"


def _of_groups(column: str, problem: Problem, model: Model | None) -> str:
    level = _level(column, problem)
    if level == "lab" and model is not None and getattr(model.observation, "bias_by", "") is None:
        return _replaced('bias_by="lab"')
    return _ADD.format(f"rm.material.Process({column!r})")


def _noise_line(finding: Finding, column: str, size: str, problem: Problem, model: Model | None) -> tuple[str, str, str]:
    item = f"noise that changes with {column}"
    said = f"The noise changes with {column}, by {size}"
    positive = problem.link == "identity" and bool((problem.g > 0).all())
    taken = model is not None and any(f.name == "scale_with" for f in dataclasses.fields(model.observation))
    if column == ORDER and taken:
        return item, said, f'data["order"] = range(len(data)); {_replaced("scale_with=['order']")}'
    if (column == FITTED and positive) or not taken:
        return item, said, 'dataclasses.replace(model, link="log")'
    columns = [c for c in problem.table.columns if problem.table.columns[c].dtype.kind == "f" and c != problem.response]
    return item, said, _replaced(f"scale_with=[{(columns[0] if column == FITTED and columns else column)!r}]")


def _tails(finding: Finding, size: str, whose: str, model: Model | None) -> tuple[str, str, str]:
    layer = finding.layer
    far = np.argsort(-np.abs(layer.z).mean(axis=0))[:3]
    said = f"Tails of {whose} are heavier than those of a normal (most in {', '.join(map(str, layer.labels[far]))})"
    if layer.of_rows:
        return "heavy tails of the noise", said, f"model.with_observation(rm.observation.StudentT({_arguments(model)}))"
    change = f"rm.material.Unresolved(by={layer.level!r}, nu=True)"
    return f"heavy tails of {layer.name}", said, f"model.with_material(*(c for c in model.material if c.label != {layer.name!r}), {change})"


def _arguments(model: Model | None) -> str:
    """Arguments of the observation that are not its defaults."""
    if model is None:
        return ""
    observation: Any = model.observation
    return ", ".join(
        f"{f.name}={getattr(observation, f.name)!r}"
        for f in dataclasses.fields(observation)
        if f.init and f.name != "nu" and getattr(observation, f.name) != f.default
    )


def _apart(finding: Finding, problem: Problem) -> tuple[str, str, str]:
    layer, label = finding.layer, _native(finding.layer.labels[finding.value])
    away = float(layer.z[:, finding.value].mean()) * layer.scale
    far = percent(abs(away)) if problem.link == "log" else significant(abs(away))
    sign = "above" if away > 0 else "below"
    if layer.of_rows:
        said = f"Row {label} lies {far} {sign} what the model expects of it, further than chance allows: a gross error?"
        return f"row {label} apart", said, f"model.fit(data.drop(index=[{label!r}]))"
    column = layer.level if layer.level == ROW else problem.table.column_of(layer.level)
    said = f"{layer.level.capitalize()} {label} lies {far} {sign} what its group lets expect, further than chance allows"
    other = _home(finding, problem)
    if other is None:
        return f"{layer.level} {label} apart", f"{said}.", f"model.fit(data[data[{column!r}] != {label!r}])"
    material = problem.table.levels["material"]
    said = f"{said}: is it filed under the wrong {material}? Its readings are like those of {other}."
    return f"{layer.level} {label} under the wrong {material}", said, f"data.loc[data[{column!r}] == {label!r}, {material!r}] = {other!r}"


def _home(finding: Finding, problem: Problem) -> Any:
    """The other material whose readings are most like those of a specimen apart; None where specimens are of no materials."""
    layer, table = finding.layer, problem.table
    if layer.level != "specimen" or "material" not in table.levels:
        return None
    material = table.level("material")
    own = layer.codes == finding.value
    rest = np.bincount(material.codes[~own], minlength=material.size)
    mean = np.bincount(material.codes[~own], weights=problem.g[~own], minlength=material.size) / np.maximum(rest, 1)
    distance = np.where(rest > 0, np.abs(mean - problem.g[own].mean()), np.inf)
    distance[material.codes[own][0]] = np.inf
    return _native(material.values[int(np.argmin(distance))])


def _native(label: Any) -> Any:
    """A label as Python writes it."""
    return label.item() if isinstance(label, np.generic) else label
