"""Tables made by models, right ones and wrong ones, for the error rates of the check of a fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

import realmat as rm
from realmat.validation.misfit import find, table_of

NOISE = 0.3
Made = tuple[rm.Model, pd.DataFrame]


def law(x, a, b):
    """Return a saturating curve."""
    return a * x / (b + x)


def laboratory(rng: np.random.Generator, fault: str = "", crossed: bool = True) -> Made:
    """20 materials, 3 specimens of each, 3 readings of each by each of 4 laboratories, in random order; a fault is twice the noise.

    Not `crossed`, every specimen has 3 readings in all, each by one of the laboratories.
    """
    n = 720 if crossed else 180
    s = np.repeat(np.arange(60), n // 60)
    m, order = s // 3, rng.permutation(n)
    lab = np.tile(np.repeat(np.arange(4), 3), 60) if crossed else rng.integers(0, 4, n)
    t = rng.normal(50, 4, 20)
    noise = NOISE * (rng.standard_t(3, n) if fault == "tails" else rng.normal(size=n))
    if fault == "noise by laboratory":
        noise *= np.array([1.0, 1.0, 1.0, 2.0])[lab]
    if fault == "noise with level":
        noise *= 2 ** ((t[m] - 50) / 4)
    y = 1 + 0.9 * t[m] + rng.normal(0, 0.3, 20)[m] + rng.normal(0, 0.2, 60)[s] + rng.normal(0, 0.25, 4)[lab] + noise
    if fault == "curve":
        bent = (t - 50) ** 2
        y += 2 * NOISE * ((bent - bent.mean()) / bent.std())[m]
    if fault == "gross error":
        y[rng.integers(n)] += rng.choice([-1, 1]) * 10 * NOISE
    if fault == "drift":
        y += 2 * NOISE * np.sqrt(3) * (2 * order / n - 1)
    labels = {"mat": [f"M{k:02d}" for k in m], "piece": [f"S{k:02d}" for k in s], "lab": [f"L{k}" for k in lab]}
    df = pd.DataFrame({"y": y, "t": t[m], **labels})
    if fault == "wrong material":
        piece = rng.integers(60)
        other = rng.choice(np.delete(np.arange(20), piece // 3))
        df.loc[s == piece, ["mat", "t"]] = f"M{other:02d}", t[other]
    df = df.iloc[np.argsort(order)].reset_index(drop=True)
    unresolved = [rm.material.Unresolved(by="material"), rm.material.Unresolved(by="specimen")]
    levels = {"material": "mat", "specimen": "piece", "lab": "lab"}
    observation = rm.observation.Normal(bias_by="lab")
    return rm.Model("y", levels=levels, theory=rm.theory.Calibrated("t"), material=unresolved, observation=observation), df


def relative(rng: np.random.Generator) -> Made:
    """A log link, materials of two routes, replicates."""
    m = np.repeat(np.arange(30), 4)
    route = np.array(["cast", "forged", "rolled"])[np.arange(30) % 3]
    spread = np.exp(rng.normal(-2, 0.5, 3))
    y = 4 + rng.normal(0, spread[0], 3)[np.arange(30) % 3][m] + rng.normal(0, spread[1], 30)[m] + rng.normal(0, spread[2], 120)
    df = pd.DataFrame({"y": np.exp(y), "mat": m, "route": route[m], "spare": rng.normal(size=120)})
    parts = [rm.material.Process("route"), rm.material.Unresolved(by="material")]
    return rm.Model("y", link="log", levels={"material": "mat"}, theory=rm.theory.Constant(), material=parts), df


def states(rng: np.random.Generator) -> Made:
    """A latent state, measured for a third of the specimens with a stated u."""
    s = np.repeat(np.arange(40), 3)
    x = rng.normal(2, 0.7, 40)
    seen = np.where(np.arange(120) % 9 == 0, x[s] + 0.2 * rng.normal(size=120), np.nan)
    y = 5 + rng.normal(1, 0.5) * x[s] + rng.normal(0, 0.3, 40)[s] + NOISE * rng.normal(size=120)
    parts = [rm.material.Effect("x", u=0.2), rm.material.Unresolved(by="specimen")]
    model = rm.Model("y", levels={"specimen": "piece"}, theory=rm.theory.Constant(), material=parts)
    return model, pd.DataFrame({"y": y, "x": seen, "piece": s, "hour": rng.uniform(0, 24, 120)})


def heavy(rng: np.random.Generator) -> Made:
    """Student t noise, and materials."""
    m = np.repeat(np.arange(20), 4)
    y = rng.normal(0, 0.5, 20)[m] + NOISE * rng.standard_t(4, 80)
    model = rm.Model("y", levels={"material": "mat"}, theory=rm.theory.Constant(), material=rm.material.Unresolved(by="material"))
    return model.with_observation(rm.observation.StudentT()), pd.DataFrame({"y": y, "mat": m, "x": rng.normal(size=80)})


def closed_form(rng: np.random.Generator) -> Made:
    """A curve with unknown parameters, measured by four laboratories."""
    lab, x = np.repeat(np.arange(4), 20), rng.uniform(0.2, 8, 80)
    y = law(x, np.exp(rng.normal(1, 0.2)), np.exp(rng.normal(0.3, 0.2))) + rng.normal(0, 0.1, 4)[lab] + 0.1 * rng.normal(size=80)
    priors = {"a": rm.Prior("LogNormal", mu=1, sigma=0.5), "b": rm.Prior("LogNormal", mu=0.3, sigma=0.5)}
    theory = rm.theory.Function(law, columns=["x"], params=priors)
    model = rm.Model("y", levels={"lab": "lab"}, theory=theory, observation=rm.observation.Normal(bias_by="lab"))
    return model, pd.DataFrame({"y": y, "x": x, "lab": [f"L{k}" for k in lab]})


RIGHT: dict[str, Callable[[np.random.Generator], Made]] = {
    "laboratory": laboratory,
    "relative": relative,
    "states": states,
    "heavy": heavy,
    "closed form": closed_form,
}
FAULTS = {  # what is wrong with the laboratory's table, and the kind and the words by which a finding names it
    "curve": ("curve", "t"),
    "noise by laboratory": ("noise group", "lab"),
    "noise with level": ("noise line", "noise that changes with"),
    "tails": ("tails", "heavy tails of the noise"),
    "gross error": ("apart", "row"),
    "wrong material": ("apart", "under the wrong mat"),
    "drift": ("drift", "order of the rows"),
}


def findings(made: Made, seed: int) -> pd.DataFrame:
    """What the check of a fit with few draws finds."""
    model, df = made
    posterior = model.fit(df, draws=250, chains=2, seed=seed, progress=False).posterior
    return table_of(find(posterior)[0], posterior.problem, model)[0]


def named(found: pd.DataFrame, fault: str) -> bool:
    """Whether the first finding is the fault."""
    kind, words = FAULTS[fault]
    return len(found) > 0 and found["kind"].iloc[0] == kind and words in found["finding"].iloc[0]
