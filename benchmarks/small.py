"""A table of forty rows, read as normal, with heavy tails, limits or digits: what each costs beside normal rows in the same run.

python benchmarks/small.py [FITS]
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np
import pandas as pd

import realmat as rm

CASES = {
    "normal": rm.observation.Normal(),
    "heavy tails": rm.observation.StudentT(),
    "limits": rm.observation.Normal(above="beyond"),
    "digits": rm.observation.Normal(resolution=0.1),
}


def table() -> pd.DataFrame:
    """Readings on a line, a quarter of them known only to lie beyond a limit."""
    rng = np.random.default_rng(1)
    t = rng.uniform(0, 8, 40)
    y, most = 0.5 + 0.3 * t + 0.2 * rng.standard_t(4, 40), 2.3
    return pd.DataFrame({"y": np.minimum(y, most).round(1), "t": t, "beyond": (y > most).astype(int), "lab": np.arange(40) % 4})


def seconds(observation: rm.observation.Normal, seed: int) -> float:
    """Processor time of one fit."""
    model = rm.Model("y", levels={"lab": "lab"}, theory=rm.theory.Calibrated("t"), observation=observation)
    begun = time.process_time()
    model.fit(table(), seed=seed, progress=False)
    return time.process_time() - begun


def main(fits: int) -> None:
    """Print the median cost of each, and its ratio to normal rows; a first fit of each is not counted."""
    cost = {name: statistics.median([seconds(o, seed) for seed in range(fits + 1)][1:]) for name, o in CASES.items()}
    for name, spent in cost.items():
        print(f"{name:>12}: {spent:.2f} s, {spent / cost['normal']:.1f} times normal rows")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
