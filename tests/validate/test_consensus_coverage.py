"""Many theories of one quantity, simulated: is what was put in found again, as surely as the fit says?

Eight theories in three families, two of them alone, 120 materials, 70 % of the calculations missing. Biases, slopes and own scales are
drawn anew in every replicate.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import realmat as rm

pytestmark = pytest.mark.validate
REPLICATES, MATERIALS = 100, 120
FAMILIES = {"local": ["A1", "A2", "A3"], "hybrid": ["B1", "B2"], "GW": ["C1", "C2", "C3"]}
THEORIES = [theory for group in FAMILIES.values() for theory in group]
FAMILY, SPREAD, NOISE, CENTRE = np.array([0.25, 0.15, 0.1]), 1.5, 0.15, 4.0
MEMBER = np.array([k for k, group in enumerate(FAMILIES.values()) for _ in group])


def simulated(seed: int, materials: int = MATERIALS) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """A table, and the truth; a bias counts from the mean response of all but the last ten materials, as in their fit."""
    rng = np.random.default_rng([seed, 7])
    bias, slope = rng.normal(0, 0.5, 8), rng.normal(1, 0.15, 8)
    own = np.exp(rng.normal(np.log(0.15), 0.5, 8))
    t = rng.normal(CENTRE, SPREAD, materials)
    error = (FAMILY * rng.standard_normal((materials, 3)))[:, MEMBER] + own * rng.standard_normal((materials, 8))
    x = CENTRE + bias + slope * (t[:, None] - CENTRE) + error
    y = t + NOISE * rng.standard_normal(materials)
    x[rng.random(x.shape) > 0.3] = np.nan
    df = pd.DataFrame(x, columns=THEORIES).assign(y=y, solid=[f"s{k:03d}" for k in range(materials)])
    level = y[:-10].mean()
    from_here = bias + (slope - 1) * (level - CENTRE)
    truth = {"bias": from_here, "slope": slope, "own": own, "family": FAMILY, "spread": np.array([SPREAD]), "ideal": t}
    return df, truth


def model(errors: str) -> rm.Model:
    theory = rm.theory.Consensus(THEORIES, errors=errors, families=FAMILIES)
    return rm.Model("y", levels={"material": "solid"}, theory=theory)


@pytest.mark.parametrize("errors", ["families", "full"])
def test_intervals_cover_the_truth(errors: str) -> None:
    """90 % intervals of each kind of parameter cover 85 to 95 %.

    With `full` the errors' covariance is free, and own and family scales are those of what it is shrunk to: their truth is not asked for.
    """
    inside: dict[str, list[np.ndarray]] = {}
    kinds = ("bias", "slope", "own", "family", "spread", "ideal") if errors == "families" else ("bias", "slope", "spread", "ideal")
    for seed in range(REPLICATES):
        df, truth = simulated(seed)
        fit = model(errors).fit(df[:-10], draws=250, seed=seed, progress=False)
        for kind in kinds:
            name = "consensus" if kind == "ideal" else f"consensus_{kind}"
            draws = fit.tree["posterior"][name].values.reshape(1000, -1)
            low, high = np.quantile(draws, (0.05, 0.95), axis=0)
            true = truth[kind][: len(low)]
            inside.setdefault(kind, []).append((low < true) & (true < high))
        new = fit.predict(df[-10:].drop(columns="y"), new="material")
        z = (df["y"][-10:].to_numpy() - new["mean"]) / new["sd"]
        inside.setdefault("new materials", []).append(np.abs(z) < stats.norm.ppf(0.95))
    cover = {kind: float(np.mean(found)) for kind, found in inside.items()}
    print(f"\n{errors}: " + ", ".join(f"{kind} {share:.1%}" for kind, share in cover.items()))
    assert all(0.85 <= share <= 0.95 for share in cover.values()), cover


def test_one_poor_theory_is_believed_as_little_as_it_deserves() -> None:
    """A new material with nothing but the least exact calculation: its standard uncertainty is that of the normal conditional.

    What is expected comes from the true parameters; the fit, which has to learn them from 400 materials, comes within 15 %.
    """
    df, truth = simulated(1, materials=410)
    error = np.hypot(truth["own"], FAMILY[MEMBER]) / truth["slope"]
    k = int(np.argmax(error))
    expected = np.hypot(NOISE, (error[k] ** -2 + SPREAD**-2) ** -0.5)
    fit = model("families").fit(df[:-10], draws=250, seed=1, progress=False)
    new = pd.DataFrame({THEORIES[k]: [CENTRE + truth["bias"][k]], "solid": ["new"]})
    found = float(fit.predict(new, new="material")["sd"].values[0])
    print(f"\n{THEORIES[k]}: {found:.3f}, expected {expected:.3f}")
    assert found == pytest.approx(expected, rel=0.15)
