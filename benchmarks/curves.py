"""The 27 certified curves of NIST's Statistical Reference Datasets, by realmat and by lmfit, from both of NIST's starting values.

`python benchmarks/curves.py FOLDER`, the folder with NIST's `.dat` files (they come with lmfit's source, `NIST_STRD`). A run counts as
converged where its law is as near to the data as NIST's: lmfit's sum of squares within 1e-5 of the certified one; the best of realmat's
draws, whose law is anywhere in the posterior, within 1 + 3 p / n of it (or within rounding of the data, where those were made without
noise). Priors: Normal(start, 2 max(|start|, distance from the certified value)).
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import realmat as rm

FUNCTIONS = ("exp", "cos", "sin", "arctan")


@dataclass(frozen=True)
class Curve:
    """A certified curve: its law, both starting values and certified ones, shape (parameters, 3), and its table."""

    name: str
    law: Callable[..., np.ndarray]
    names: list[str]
    values: np.ndarray
    table: pd.DataFrame

    @property
    def columns(self) -> list[str]:
        """Of the table, but the response."""
        return list(self.table.columns[1:])

    def squares(self, values: np.ndarray) -> float:
        """Sum of squares of what a law leaves."""
        given = {column: self.table[column].to_numpy() for column in self.columns}
        with np.errstate(all="ignore"):
            left = self.table["y"].to_numpy() - self.law(**given, **dict(zip(self.names, values, strict=True)))
        return float(np.sum(left**2))

    def converged(self, values: np.ndarray, slack: float) -> bool:
        """Whether it is as near to the data as the certified one."""
        rounding = 1e-18 * float(np.sum(self.table["y"] ** 2))
        return self.squares(values) <= slack * self.squares(self.values[:, 2]) + rounding


def read(file: Path) -> Curve:
    """One of NIST's files."""
    lines = file.read_text().splitlines()
    k = next(k for k, line in enumerate(lines) if line.startswith("Model:"))
    k = next(i for i in range(k, len(lines)) if re.match(r"\s+(log\[)?y\]?\s+=", lines[i]))
    body = lines[k].split("=", 1)[1]
    while lines[k + 1].strip() and not lines[k + 1].strip().lower().startswith("starting"):
        k += 1
        body += " " + lines[k]
    rows = [line.split("=")[1].split() for line in lines if re.match(r"\s*b\d\s*=", line)]
    at = max(k for k, line in enumerate(lines) if line.startswith("Data:")) + 1
    data = np.array([line.split() for line in lines[at:] if line.strip()], float)
    table = pd.DataFrame(data, columns=["y", *(["x"] if data.shape[1] == 2 else ["x1", "x2"])])
    if file.stem == "Nelson":  # its law is that of log y
        table["y"] = np.log(table["y"])
    names = [f"b{i + 1}" for i in range(len(rows))]
    return Curve(file.stem, _law(body, list(table.columns[1:]), names), names, np.array(rows, float)[:, :3], table)


def _law(body: str, columns: list[str], names: list[str]) -> Callable[..., np.ndarray]:
    text = re.sub(r"\s+", " ", re.sub(r"\+\s*e\s*$", "", body.strip())).replace("[", "(").replace("]", ")")
    for function in FUNCTIONS:
        text = re.sub(rf"\b{function}\(", f"np.{function}(", text)
    text = text.replace("pi*", f"{np.pi}*").replace("/pi", f"/{np.pi}")
    space: dict[str, object] = {"np": np}
    exec(f"def law({', '.join(columns + names)}):\n    return {text}\n", space)  # NIST's own formula
    return space["law"]  # type: ignore[return-value]


def by_realmat(curve: Curve, start: int) -> tuple[bool, float]:
    """Whether it converged, and seconds."""
    wide = 2 * np.maximum(np.abs(curve.values[:, start]), np.abs(curve.values[:, start] - curve.values[:, 2]))
    priors = {n: rm.Prior("Normal", mu=float(v), sigma=float(w)) for n, v, w in zip(curve.names, curve.values[:, start], wide, strict=True)}
    law = rm.theory.Function(curve.law, columns=curve.columns, params=priors)
    begun = time.perf_counter()
    fit = rm.Model("y", theory=law).fit(curve.table, seed=1, progress=False)
    seconds = time.perf_counter() - begun
    post = fit.tree["posterior"]
    draws = np.array([post[f"function_{name}"].values.ravel() for name in curve.names]).T
    best = min(draws, key=curve.squares)
    r_hat = float(fit.summary()["r_hat"].max())
    return curve.converged(best, 1 + 3 * len(curve.names) / len(curve.table)) and r_hat <= 1.01, seconds


def by_lmfit(curve: Curve, start: int) -> tuple[bool, float]:
    """Whether it converged, and seconds."""
    import lmfit

    model = lmfit.Model(curve.law, independent_vars=curve.columns)
    values = dict(zip(curve.names, curve.values[:, start], strict=True))
    begun = time.perf_counter()
    found = model.fit(curve.table["y"].to_numpy(), **{c: curve.table[c].to_numpy() for c in curve.columns}, **values)
    seconds = time.perf_counter() - begun
    return curve.converged(np.array([found.best_values[name] for name in curve.names]), 1 + 1e-5), seconds


def main() -> None:
    """Every curve by both, from both starts; totals at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for file in sorted(given.folder.glob("*.dat")):
        if given.only and file.stem not in given.only.split(","):
            continue
        curve = read(file)
        for run in (by_realmat, by_lmfit):
            for start in (0, 1):
                try:
                    done, seconds, why = *run(curve, start), ""
                except Exception as error:  # a library's own words are part of the result
                    done, seconds, why = False, np.nan, f"{type(error).__name__}: {error}"[:60]
                rows.append(
                    {"curve": curve.name, "by": run.__name__[3:], "start": start + 1, "converged": done, "seconds": seconds, "why": why}
                )
                print(f"{curve.name:10s} {run.__name__[3:]:8s} start {start + 1} {'converged' if done else 'no':9s} {seconds:6.2f} s {why}")
                sys.stdout.flush()
    found = pd.DataFrame(rows)
    print(found.groupby(["by", "start"]).agg(converged=("converged", "sum"), curves=("converged", "size"), seconds=("seconds", "median")))


if __name__ == "__main__":
    main()
