"""What comes after a fit, against the fit: budget, check, advice, gap, report, file, update; on tables large each in their own way.

python benchmarks/after_fit.py [specimens | wide | effects | pooled | report | update]...
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

import realmat as rm

Case = tuple[rm.Model, pd.DataFrame]


def layered(rows: int, specimens: int, materials: int) -> Case:
    """Effects of materials and of specimens, measured equally often."""
    rng = np.random.default_rng(1)
    mat, piece, t = rng.integers(0, materials, specimens), np.arange(rows) % specimens, rng.normal(0, 1, materials)
    real = 0.2 + 1.1 * t[mat] + rng.normal(0, 0.4, materials)[mat] + rng.normal(0, 0.3, specimens)
    df = pd.DataFrame({"y": real[piece] + rng.normal(0, 0.1, rows), "t": t[mat][piece], "mat": mat[piece], "piece": piece})
    effects = [rm.material.Unresolved(by="material"), rm.material.Unresolved(by="specimen")]
    return rm.Model("y", levels={"material": "mat", "specimen": "piece"}, theory=rm.theory.Calibrated("t"), material=effects), df


def wide() -> Case:
    """100,000 rows, no two alike."""
    model, df = layered(100_000, 20_000, 2000)
    rng = np.random.default_rng(2)
    x = rng.normal(size=(len(df), 3))
    df = df.assign(y=df["y"] + x @ [0.3, 0.1, -0.2], lab=rng.integers(0, 20, len(df)), **{f"x{k}": x[:, k] for k in range(3)})
    model = rm.Model(
        "y",
        levels={**model.levels, "lab": "lab"},
        theory=model.theory,
        material=[*(rm.material.Effect(f"x{k}") for k in range(3)), *model.material],
        observation=rm.observation.Normal(bias_by="lab"),
    )
    return model, df


def effects() -> Case:
    """100 effects of columns."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2000, 100))
    df = pd.DataFrame(x, columns=[f"x{k}" for k in range(100)]).assign(y=x @ rng.normal(0, 0.1, 100) + rng.normal(0, 0.3, 2000))
    return rm.Model("y", theory=rm.theory.Constant(), material=[rm.material.Effect(f"x{k}") for k in range(100)]), df


def pooled() -> Case:
    """1000 pooled columns, as fingerprints have."""
    rng = np.random.default_rng(1)
    x = (rng.random((2000, 1000)) < 0.2) * rng.integers(1, 4, (2000, 1000)).astype(float)
    df = pd.DataFrame(x, columns=[f"x{k}" for k in range(1000)]).assign(y=x @ rng.normal(0, 0.05, 1000) + rng.normal(0, 0.3, 2000))
    return rm.Model("y", theory=rm.theory.Constant(), material=rm.material.Solvation(groups=[f"x{k}" for k in range(1000)])), df


CASES: dict[str, Callable[[], Case]] = {
    "specimens": lambda: layered(100_000, 20_000, 2000),
    "wide": wide,
    "effects": effects,
    "pooled": pooled,
    "report": lambda: layered(10_000, 2000, 200),
    "update": lambda: layered(3000, 600, 120),
}


def timed(what: str, work: Callable[[], object]) -> None:
    """Do it, and print seconds, seconds of processor, and the peak of memory so far."""
    start, busy = time.perf_counter(), time.process_time()
    work()
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"  {what:<24}{seconds:8.2f} s  ({busy:.2f} s of processor)  peak {peak:.2f} GB", flush=True)


def updates(fit: rm.Fit, df: pd.DataFrame) -> None:
    """Twenty single rows one after the other; the first, which loads and evaluates the basis, apart."""
    fit.update(df.iloc[:1])
    times, busy = [], []
    for k in range(20):
        start, own = time.perf_counter(), time.process_time()
        fit = fit.update(df.iloc[k : k + 1])
        times.append(time.perf_counter() - start)
        busy.append(time.process_time() - own)
    print(f"  {'update, median of 20':<24}{1000 * np.median(times):8.0f} ms ({1000 * np.median(busy):.0f} ms of processor)")


def run(name: str) -> None:
    """One case."""
    model, df = CASES[name]()
    print(f"{name}: {len(df)} rows")
    fits: list[rm.Fit] = []
    timed("fit", lambda: fits.append(model.fit(df, seed=1, progress=False)))
    fit = fits[0]
    if name == "update":
        updates(fit, df)
        return
    timed("budget of a specimen", lambda: fit.budget(new="specimen"))
    timed("check", fit.check)
    timed("advice", fit.advise)
    timed("gap", fit.gap)
    with tempfile.TemporaryDirectory() as folder:
        timed("report", lambda: fit.report(Path(folder) / "report.html"))
        timed("file", lambda: fit.save(Path(folder) / "fit.nc"))
        draws = sum(v.nbytes for v in [*fit.posterior.draws.params.values(), *fit.posterior.draws.coefficients.values()])
        size = (Path(folder) / "fit.nc").stat().st_size
        print(f"  file {size / 1e6:.1f} MB, draws alone {draws / 1e6:.1f} MB")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or CASES:
        run(chosen)
