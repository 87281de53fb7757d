"""Measure how well the templates predict what they have not seen, and write it into their model cards: python tools/cards.py [NAME ...]

Each card keeps a block between two marks, which is written anew; the rest of the card is not touched. With --workers N, or --scheduler and
the address of a Dask scheduler, fits and folds run there; the figures are the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd

import realmat as rm
from realmat.support.numbers import plus_minus

BEGIN, END = "<!-- figures: written by `make cards` -->", "<!-- end of figures -->"
SEED = 1
LEFT_OUT = {"yield_strength": ("material", "lab"), "interlaboratory": ("lab",), "ageing": ("specimen",)}  # by material elsewhere
FOLDS = {"formation_enthalpy": (10, 1), "hydration": (5, 3)}  # cross-validation: folds, seeds
THINGS = {"material": "material", "specimen": "piece", "lab": "laboratory or paper"}


def figures(template: rm.templates.Template, executor: Executor | None = None) -> str:
    """Give the block: held-out scores of every variant, what follows from them, and the budget of `real`."""
    data = template.data()
    models = {variant: template.model(variant, table=data) for variant in template.variants}
    fits = rm.fit_many(models, data, seed=SEED, executor=executor)
    real = fits["real"]
    parts = [held_out(fits, data, by, executor) for by in LEFT_OUT.get(template.name, ("material",))]
    if template.name in FOLDS:
        parts.append(cross_validation(models["real"], data, *FOLDS[template.name], executor))
    parts.append(layers(real))
    return "\n\n".join(parts)


def held_out(fits: dict[str, rm.Fit], data: pd.DataFrame, by: str, executor: Executor | None = None) -> str:
    """Leave out each value of a level: the scores of every variant, and what follows from them."""
    comparison = rm.compare(fits, by=by, executor=executor)
    real = fits["real"].model
    column = real.levels[by]
    return "\n\n".join(
        [
            f"Leaving out each {THINGS[by]} (`{column}`, {data[column].nunique()} of them) in {len(data)} rows in turn; errors in "
            f"{real.unit}; realmat {rm.__version__}, seed {SEED}. The elpd is the expected log predictive density of all that was left "
            "out, relative to the best model, with the standard error of the difference.",
            markdown(scores(comparison.table)),
            verdict(comparison),
            *doubts(comparison),
        ]
    )


def scores(table: pd.DataFrame) -> pd.DataFrame:
    """Give the columns a card shows, as text."""
    out = pd.DataFrame(index=table.index.rename("model"))
    out["elpd"] = ["0" if d == 0 else plus_minus(d, e) for d, e in zip(-table["elpd_diff"].abs(), table["dse"], strict=True)]
    for name in ("mae", "rmse"):
        out[name.upper()] = table[name].map("{:.3g}".format)
    for percent in (50, 80, 95):
        out[f"inside {percent} %"] = table[f"coverage_{percent}"].map("{:.1%}".format)
    return out


def doubts(comparison: Any) -> list[str]:
    """Say how many of what was left out importance sampling did not reach."""
    out = []
    for name, left in comparison.left_out.items():
        k, limit = left.elpd.pareto_k.to_numpy(), float(left.elpd.good_k)
        if (k > limit).any():
            out.append(
                f"Under `{name}` the Pareto k-hat of {(k > limit).sum()} of {len(k)} is above {limit:.2g}: leaving them out moves the "
                "hyperparameters too far for their part of its elpd to be trusted."
            )
    return out


def verdict(comparison: Any) -> str:
    """Say whether the real-material layer helps."""
    each = {name: comparison.left_out[name].elpd.elpd_i.sortby(comparison.by).to_numpy() for name in ("real", "ideal")}
    gain = each["real"] - each["ideal"]
    total, error = gain.sum(), np.sqrt(len(gain)) * gain.std(ddof=1)
    change = f"the elpd by {plus_minus(abs(total), error)} against `ideal`"
    rmse = comparison.table["rmse"]
    ratio = f"the root mean square error is {rmse['real'] / rmse['ideal']:.2f} times that of `ideal`"
    if total > 2 * error and rmse["real"] > rmse["ideal"]:
        return f"**The real-material layer helps to say how certain a prediction is, not to come closer**: it raises {change}; {ratio}."
    if total > 2 * error:
        return f"**The real-material layer helps**: it raises {change}; {ratio}."
    if total < -2 * error:
        return f"**The real-material layer does harm here**: it lowers {change}; {ratio}."
    return f"**The real-material layer does not help here**: it changes {change}, which is within the error; {ratio}."


def cross_validation(model: rm.Model, data: pd.DataFrame, folds: int, seeds: int, executor: Executor | None = None) -> str:
    """Give the scores of refits, over several seeds."""
    every = [rm.cross_validate(model, data, folds, seed=seed, executor=executor) for seed in range(1, seeds + 1)]
    found = pd.DataFrame([each.scores() for each in every])
    mean = found.mean()
    covered = ", ".join(f"{mean[f'coverage_{p}']:.1%} of the {p} % intervals" for p in (50, 80, 95))
    over = f"seeds 1 to {seeds}" if seeds > 1 else "seed 1"
    return (
        f"`real`, refitted in {folds}-fold cross-validation ({over}): MAE {mean['mae']:.4f}, RMSE {mean['rmse']:.4f} {model.unit}; "
        f"the measurement lies in {covered}."
    )


def layers(fit: rm.Fit) -> str:
    """Give the budget of a new measurement by layer and kind."""
    new = "material" if "material" in fit.model.levels else "specimen"
    table = fit.budget(new=new).table
    shares = table.groupby(["layer", "kind"], sort=False)["share"].sum().map("{:.1%}".format).unstack("kind").fillna("")
    return f"Where the variance of a measurement on a new {new} comes from, by `real`:\n\n{markdown(shares)}"


def markdown(table: pd.DataFrame) -> str:
    """Give a table of text in Markdown."""
    head = [table.index.name or "", *map(str, table.columns)]
    rows = [head, ["---"] * len(head), *([str(label), *map(str, row)] for label, row in zip(table.index, table.to_numpy(), strict=True))]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write(template: rm.templates.Template, executor: Executor | None = None) -> None:
    """Replace the block in the card."""
    path = template.path.with_name("README.md")
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{path} lacks the marks {BEGIN} and {END}.")
    started = time.perf_counter()
    path.write_text(f"{before}{BEGIN}\n\n{figures(template, executor)}\n\n{END}{after}", encoding="utf-8")
    print(f"{path.name} of {template.name}: {time.perf_counter() - started:.0f} s", flush=True)


@contextmanager
def working(workers: int, scheduler: str) -> Iterator[Executor | None]:
    """Give what runs the fits: this process, so many of this machine, or a cluster."""
    if scheduler:
        from distributed import Client

        with Client(scheduler) as client:
            yield client.get_executor()
    elif workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
            yield executor
    else:
        yield None


def main() -> None:
    """Write the cards that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--scheduler", default="", help="address of a Dask scheduler")
    asked = parser.parse_args()
    listed = rm.templates.list()
    with working(asked.workers, asked.scheduler) as executor:
        for name in asked.names or listed[listed["source"] == "gallery"]["name"]:
            write(rm.templates.get(name), executor)


if __name__ == "__main__":
    main()
