"""`make bench`: the canonical problem by every route in one go, every kind of model beside nutpie, and how the cost grows.

Prints tables and writes `build/benchmarks/` (results as JSON, kinds as Markdown, growth as a picture). Ratios are of numbers measured in
the same run. An hour or more; `make bench ARGS="--no-growth --routes '' --kinds 'crossed effects'"` runs a part of it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kinds import KINDS
from problem import Size, table
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
OUT = HERE.parent / "build" / "benchmarks"
PATIENCE = 1800  # seconds for one process
COLUMNS = ("kind", "rows", "hyperparameters", "seconds", "smallest bulk ESS", "how", "nutpie, warm: seconds", "ESS", "ESS/s over nutpie's")
console = Console()


def child(script: str, *arguments: str) -> dict[str, Any] | None:
    """What a script prints in a process of its own; None if it failed or took too long, with its last words printed."""
    try:
        command = [sys.executable, str(HERE / script), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        console.print(f"[red]{' '.join(arguments)}: no result in {PATIENCE} s[/]")
        return None
    if done.returncode:
        console.print(f"[red]{' '.join(arguments)} failed:[/] {done.stderr.strip().splitlines()[-1:]}")
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(route: str, size: Size) -> dict[str, Any] | None:
    """One route through the canonical problem."""
    return child("route.py", route, *map(str, asdict(size).values()))


def lmer(size: Size) -> float | None:
    """Seconds of lme4's point estimate, where R and lme4 are present."""
    if shutil.which("Rscript") is None:
        return None
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        table(size).to_csv(file.name, index=False)
        done = subprocess.run(["Rscript", str(HERE / "lmer.R"), file.name], capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 else None


def compare(routes: list[str]) -> dict[str, dict[str, Any]]:
    """Every route on the canonical problem."""
    results = {}
    for route in routes:
        with console.status(f"{route} ..."):
            found = measure(route, Size())
        if found:
            results[route] = found
    shown = Table(title="Canonical problem: 5000 measurements, 1000 specimens, 200 materials, 10 labs, 5 covariates")
    for heading in ("route", "seconds, all in", "smallest bulk ESS", "ESS/s", "realmat's ESS/s over it", "peak memory, GB"):
        shown.add_column(heading, justify="left" if heading == "route" else "right")
    speed = {route: r["ess"] / r["seconds"] for route, r in results.items()}
    for route, r in results.items():
        ratio = f"{speed['realmat'] / speed[route]:.0f}" if "realmat" in speed else ""
        shown.add_row(route, f"{r['seconds']:.1f}", f"{r['ess']:.0f}", f"{speed[route]:.1f}", ratio, f"{r['peak_gb']:.2f}")
    console.print(shown)
    seconds = lmer(Size())
    console.print("lme4 is not installed: not timed." if seconds is None else f"lme4, point estimate only: {seconds:.2f} s")
    return results


def told(found: dict[str, Any]) -> list[str]:
    """Seconds and effective draws."""
    return [f"{found['seconds']:.1f}", f"{found['ess']:.0f}"]


def compare_kinds(kinds: list[str]) -> dict[str, dict[str, Any]]:
    """The default engine beside nutpie on every kind of model, without what nutpie compiles; a line for each is printed as it is there."""
    results: dict[str, dict[str, Any]] = {}
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for kind in kinds:
        with console.status(f"{kind} ..."):
            found = {engine: child("kinds.py", kind, engine) for engine in ("auto", "nuts")}
        results[kind] = found
        own, peer = found["auto"], found["nuts"]
        cells = [kind, *(["failed"] * 5)] if own is None else [kind, own["rows"], own["psi"], *told(own), own["method"]]
        cells += ["no result", ""] if peer is None else told(peer)
        cells.append(f"{own['ess'] / own['seconds'] / (peer['ess'] / peer['seconds']):.3g}" if own and peer else "")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
        console.print(lines[-1], markup=False, soft_wrap=True)
        (OUT / "kinds.md").write_text("\n".join(lines) + "\n")
    return results


def growth(large: bool) -> dict[str, list[tuple[int, float]]]:
    """Seconds of realmat as rows, specimens, covariates and hyperparameters grow one at a time."""
    base, specimens = Size(), (1000, 5000, *((20_000, 100_000, 1_000_000) if large else ()))
    series = {
        "rows": [replace(base, rows=n) for n in (5000, 50_000, 500_000, 1_000_000)],
        "specimens": [replace(base, rows=5 * n, specimens=n, materials=max(n // 10, 5)) for n in specimens],
        "covariates": [replace(base, covariates=n) for n in (1, 5, 20, 80)],
        "labs": [replace(base, labs=n) for n in (3, 10, 40, 160)],
    }
    out: dict[str, list[tuple[int, float]]] = {}
    for name, sizes in series.items():
        for size in sizes:
            with console.status(f"realmat, {name} = {getattr(size, name)} ..."):
                found = measure("realmat", size)
            if found:
                out.setdefault(name, []).append((getattr(size, name), found["seconds"]))
                reading = f"{found['reading']:.2f} s of it reading the table"
                cost = f"{found['seconds']:7.2f} s, {reading}, {found['peak_gb']:.2f} GB, smallest ESS {found['ess']:.0f}"
                console.print(f"{name} = {getattr(size, name):>9,}: {cost}")
    return out


def picture(series: dict[str, list[tuple[int, float]]], path: Path) -> None:
    """Cost against size, one panel a quantity."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(series), figsize=(3 * len(series), 2.8), sharey=True, layout="constrained")
    for axis, (name, points) in zip(axes, series.items(), strict=True):
        axis.loglog(*zip(*points, strict=True), marker="o")
        axis.set_xlabel(name)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("seconds, all in")
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--routes", default="realmat,nutpie,pymc,numpyro", help="comma-separated; '' for none")
    parser.add_argument("--kinds", default=";".join(KINDS), help="semicolon-separated; '' for none")
    parser.add_argument("--no-growth", action="store_true", help="only the comparisons")
    parser.add_argument("--large", action="store_true", help="growth up to 1,000,000 specimens (5,000,000 rows; 16 GB)")
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    results: dict[str, object] = {}
    if arguments.routes:
        results["routes"] = compare(arguments.routes.split(","))
    if arguments.kinds:
        results["kinds"] = compare_kinds(arguments.kinds.split(";"))
    if not arguments.no_growth:
        series = growth(arguments.large)
        results["growth"] = series
        picture(series, OUT / "growth.png")
    (OUT / "results.json").write_text(json.dumps(results, indent=1))
    console.print(f"written: {OUT}")


if __name__ == "__main__":
    main()
