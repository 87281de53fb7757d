"""The kinds of model that the default engine is compared on, each with nutpie on the same declared model; one run of one of them.

`python benchmarks/kinds.py KIND auto|nuts` prints one line of JSON. Simulated tables have a fixed seed; the last six kinds are templates
with their data.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from route import smallest_ess

import realmat as rm

Case = tuple[rm.Model, pd.DataFrame]
SEED = 3
DRAWS = {"auto": 1000, "nuts": 500}  # in each of four chains: what each engine gives by default, and enough of nutpie to tell its rate


def sigmoid(lnP, a, b, c, d):
    """Isotherm of four parameters."""
    return d / (1 + np.exp((a - lnP) / b)) ** c


def isotherm(labs: int, scale_by: str | None) -> Case:
    """A curve measured by laboratories, 25 points each, with their biases."""
    rng = np.random.default_rng(SEED)
    lab, x = np.repeat(np.arange(labs), 25), rng.uniform(-5, 1.5, 25 * labs)
    noise = np.exp(rng.normal(-3.5, 0.8, labs)) if scale_by else np.full(labs, 0.03)
    y = sigmoid(x, -6.22, 1.97, 4.73, 3.87) + rng.normal(0, 0.05, labs)[lab] + noise[lab] * rng.normal(size=lab.size)
    prior = rm.Prior
    params = {
        "a": prior("Normal", mu=-5, sigma=5),
        "b": prior("LogNormal", mu=0.5, sigma=0.7),
        "c": prior("LogNormal", mu=1, sigma=1),
        "d": prior("LogNormal", mu=1.3, sigma=0.5),
    }
    theory = rm.theory.Function(sigmoid, columns=["lnP"], params=params)
    observation = rm.observation.Normal(bias_by="lab", scale_by=scale_by)
    return rm.Model("n", levels={"lab": "lab"}, theory=theory, observation=observation), pd.DataFrame({"n": y, "lnP": x, "lab": lab})


def many_labs() -> Case:
    """Forty laboratories, eight readings each, a noise scale each."""
    rng = np.random.default_rng(SEED)
    lab = np.repeat(np.arange(40), 8)
    y = 10 + rng.normal(0, 0.3, 40)[lab] + np.exp(rng.normal(-1.5, 0.7, 40))[lab] * rng.normal(size=lab.size)
    observation = rm.observation.Normal(bias_by="lab", scale_by="lab")
    return rm.Model("y", levels={"lab": "lab"}, theory=rm.theory.Constant(), observation=observation), pd.DataFrame({"y": y, "lab": lab})


class Specimens:
    """500 readings of 125 specimens by six laboratories, as the layers make them, without noise."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(SEED)
        self.piece = np.arange(500) // 4
        lab = self.rng.integers(0, 6, 500)
        t = self.rng.normal(10, 2, 125)[self.piece]
        self.real = 1 + 0.9 * t + self.rng.normal(0, 0.5, 125)[self.piece] + self.rng.normal(0, 0.2, 6)[lab]
        self.frame = pd.DataFrame({"t": t, "piece": self.piece, "lab": lab})

    def noise(self) -> np.ndarray:
        """Normal, of standard deviation 0.3."""
        return self.rng.normal(0, 0.3, 500)

    def case(self, y: np.ndarray, material: list[rm.material.Effect], observation: rm.observation.Normal, **columns: np.ndarray) -> Case:
        """The layered model of the table."""
        material = [*material, rm.material.Unresolved(by="specimen")]
        levels = {"specimen": "piece", "lab": "lab"}
        model = rm.Model("y", levels=levels, theory=rm.theory.Calibrated("t"), material=material, observation=observation)
        return model, self.frame.assign(y=y, **columns)


def tails() -> Case:
    """Noise of a Student t with three degrees of freedom."""
    s = Specimens()
    return s.case(s.real + 0.3 * s.rng.standard_t(3, 500), [], rm.observation.StudentT(bias_by="lab"))


def censored() -> Case:
    """A third of the readings below a limit."""
    s = Specimens()
    y = s.real + s.noise()
    limit = np.quantile(y, 0.33)
    return s.case(np.maximum(y, limit), [], rm.observation.Normal(bias_by="lab", below="low"), low=(y < limit).astype(int))


def states(columns: int, known: float, u: float) -> Case:
    """Latent states, log-normal where there are several, of which a share was measured."""
    s = Specimens()
    x = s.rng.normal(1, 0.6, (125, 1)) if columns == 1 else np.exp(s.rng.normal(0, 0.7, (125, columns)))
    slopes = np.full(1, 1.5) if columns == 1 else s.rng.normal(0, 0.5, columns)
    read = x + u * s.rng.normal(size=x.shape) if columns == 1 else x
    seen = np.where(s.rng.random(x.shape) < known, read, np.nan)[s.piece]
    names = [f"x{k}" for k in range(columns)]
    effects = [rm.material.Effect(name, u=u) for name in names]
    observation = rm.observation.Normal(bias_by="lab")
    return s.case(s.real + (x @ slopes)[s.piece] + s.noise(), effects, observation, **dict(zip(names, seen.T, strict=True)))


def crossed() -> Case:
    """Materials, their specimens, and process routes across them."""
    s = Specimens()
    mat, route = s.rng.integers(0, 40, 500), s.rng.integers(0, 5, 500)
    y = s.real + s.rng.normal(0, 0.7, 40)[mat] + s.noise()
    df = s.frame.assign(y=y, mat=mat, route=[f"r{k}" for k in route], piece=[f"{a}-{b}" for a, b in zip(mat, s.piece, strict=True)])
    effects = [rm.material.Process("route"), rm.material.Unresolved(by="material"), rm.material.Unresolved(by="specimen")]
    levels = {"material": "mat", "specimen": "piece", "lab": "lab"}
    observation = rm.observation.Normal(bias_by="lab")
    return rm.Model("y", levels=levels, theory=rm.theory.Calibrated("t"), material=effects, observation=observation), df


def template(name: str) -> Case:
    """The real-material model of a template on its data."""
    found = rm.templates.get(name)
    df = found.data()
    return (found.model("real", table=df) if name == "yield_strength" else found.model("real")), df


TEMPLATES = ("interlaboratory", "formation_enthalpy", "fatigue_strength", "yield_strength", "band_gap", "hydration")
KINDS: dict[str, Callable[[], Case]] = {
    "curve, 13 noise scales": lambda: isotherm(13, "lab"),
    "40 noise scales": many_labs,
    "curve, 4 laboratories": lambda: isotherm(4, None),
    "a third censored": censored,
    "Student t noise": tails,
    "a latent state": lambda: states(1, 0.2, 0.2),
    "five latent states": lambda: states(5, 0.4, 0.1),
    "crossed effects": crossed,
    **{name.replace("_", " "): lambda name=name: template(name) for name in TEMPLATES},
}


def measure(kind: str, engine: str) -> dict[str, float | str]:
    """Seconds of a fit without compilation, the smallest bulk ESS of a hyperparameter, and how it was sampled."""
    model, df = KINDS[kind]()
    if engine == "auto":  # loads the compiled loops; what nutpie compiles is in its facts
        model.fit(df, seed=2, draws=20, chains=1, progress=False)
    start = time.perf_counter()
    fit = model.fit(df, engine=engine, draws=DRAWS[engine], chains=4, seed=1, progress=False)
    seconds = time.perf_counter() - start - float(fit.facts.get("compile_seconds", 0.0))
    params = fit.posterior.draws.params
    flat = {f"{name}[{k}]": v.reshape(*v.shape[:2], -1)[..., k] for name, v in params.items() for k in range(v[0, 0].size)}
    ess = smallest_ess({name: v for name, v in flat.items() if np.ptp(v) > 0})  # a parameter that was given has no draws of its own
    method = str(fit.facts.get("method", fit.facts.get("sampler", engine)))
    return {"rows": len(df), "psi": len(flat), "seconds": seconds, "ess": ess, "method": method}


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
