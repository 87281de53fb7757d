"""Seven models written in other units, counted from other zeros and in other tables: what each costs beside the same as it stands.

python benchmarks/units.py [MODEL ...]
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

import pandas as pd

import realmat as rm

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from metamorphic import AS_IT_STANDS, MODELS, REWRITTEN, Units

UNITS = [
    *(Units(response=response) for response in (1e-12, 1e-9, 1e9, 1e12)),
    *(Units(column=column) for column in (1e-9, 1e9)),
    *(Units(offset=offset) for offset in (1e3, 1e6, 1e9)),
]


def seconds(model: rm.Model, df: pd.DataFrame) -> float:
    """Processor time of one fit, the shorter of two."""
    spent = []
    for _ in range(2):
        begun = time.process_time()
        model.fit(df, seed=1, progress=False)
        spent.append(time.process_time() - begun)
    return min(spent)


def main(names: list[str]) -> None:
    """Print the ratio of every case to the table as it stands, and the largest of each model."""
    warnings.simplefilter("ignore")
    for name in names:
        model, df = MODELS[name](AS_IT_STANDS)
        plain = seconds(model, df)
        cases = {str(units): MODELS[name](units) for units in UNITS if not (units.offset and name == "log link")}
        cases |= {how: (model, write(df)) for how, write in REWRITTEN.items()}
        ratios = {label: seconds(*case) / plain for label, case in cases.items()}
        worst = max(ratios, key=lambda label: abs(ratios[label] - 1))
        print(
            f"{name:>17}: {plain:.2f} s as it stands, {min(ratios.values()):.2f} to {max(ratios.values()):.2f} times that; furthest {worst}"
        )


if __name__ == "__main__":
    main(sys.argv[1:] or list(MODELS))
