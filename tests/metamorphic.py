"""Seven kinds of models on one simulated laboratory, written in any unit and counted from any zero: answers must not tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

import realmat as rm


@dataclass(frozen=True)
class Units:
    """Response and theory are `response` times (their numbers + `offset`), states and columns are times `column`."""

    response: float = 1.0
    offset: float = 0.0
    column: float = 1.0


AS_IT_STANDS = Units()
_RNG = np.random.default_rng(3)
_N = 60
_THEORY, _LAB, _PIECE = _RNG.normal(size=_N), _RNG.integers(0, 6, _N), np.arange(_N) // 2
_O = _RNG.normal(5.0, 1.0, _N // 2)[_PIECE]
_MEAN = 0.3 + 0.9 * _THEORY + 0.25 * _RNG.normal(size=6)[_LAB] + 0.3 * _RNG.normal(size=_N // 2)[_PIECE]
_Y = _MEAN + 0.2 * _RNG.normal(size=_N)
_TAILED = _MEAN + 0.2 * _RNG.standard_t(4, _N)
_MEASURED = _RNG.random(_N // 2)[_PIECE] < 0.6
_X = np.linspace(0.0, 5.0, _N)
_DECAY = 0.5 + 2.0 * np.exp(-0.8 * _X) + 0.1 * _RNG.normal(size=_N)
_LABELS = {"lab": np.array([f"lab {k}" for k in _LAB]), "piece": np.array([f"p{k:02d}" for k in _PIECE])}
_LEVELS = {"specimen": "piece", "lab": "lab"}


def laboratories(u: Units) -> tuple[rm.Model, pd.DataFrame]:
    """Biases of laboratories, and specimens whose departures nobody measured."""
    model = rm.Model(
        "y",
        levels=_LEVELS,
        theory=rm.theory.Calibrated("t"),
        material=rm.material.Unresolved(by="specimen"),
        observation=rm.observation.Normal(bias_by="lab"),
    )
    return model, _table(u, _Y)


def states(u: Units) -> tuple[rm.Model, pd.DataFrame]:
    """A composition that was measured on some specimens, with a stated uncertainty."""
    effect = rm.material.Effect("x", u=0.3 * u.column)
    model = rm.Model(
        "y", levels=_LEVELS, theory=rm.theory.Calibrated("t"), material=effect, observation=rm.observation.Normal(bias_by="lab")
    )
    df = _table(u, _Y + 0.3 * _O)
    measured = np.where(_MEASURED, _O + 0.3 * np.random.default_rng(4).normal(size=_N // 2)[_PIECE], np.nan)
    return model, df.assign(x=u.column * measured)


def uncertain_theory(u: Units) -> tuple[rm.Model, pd.DataFrame]:
    """A theory with a numerical error of known size: states in the unit of the response."""
    theory, noise = rm.theory.Calibrated("t", u=0.3 * u.response), rm.observation.Normal(bias_by="lab")
    model = rm.Model("y", levels={"lab": "lab"}, theory=theory, observation=noise)
    return model, _table(u, _Y)


def limits(u: Units) -> tuple[rm.Model, pd.DataFrame]:
    """Readings below a limit."""
    model = rm.Model("y", levels=_LEVELS, theory=rm.theory.Calibrated("t"), observation=rm.observation.Normal(below="low", bias_by="lab"))
    df = _table(u, np.maximum(_Y, -0.5))
    return model, df.assign(low=_Y < -0.5)


def tails(u: Units) -> tuple[rm.Model, pd.DataFrame]:
    """Outliers."""
    model = rm.Model("y", levels=_LEVELS, theory=rm.theory.Calibrated("t"), observation=rm.observation.StudentT(bias_by="lab"))
    return model, _table(u, _TAILED)


def decay(z: np.ndarray, floor: float, size: float, rate: float) -> np.ndarray:
    """A law whose parameters have units."""
    return floor + size * np.exp(-rate * z)


def curve(u: Units) -> tuple[rm.Model, pd.DataFrame]:
    """A law in closed form, its priors in the units of the data."""
    params = {
        "floor": rm.Prior("Normal", mu=u.response * u.offset, sigma=3.0 * u.response),
        "size": rm.Prior("Normal", mu=0.0, sigma=5.0 * u.response),
        "rate": rm.Prior("LogNormal", mu=float(np.log(1 / u.column)), sigma=1.0),
    }
    law = rm.theory.Function(decay, columns={"z": "x"}, params=params)
    model = rm.Model("y", levels=_LEVELS, theory=law, observation=rm.observation.Normal(bias_by="lab"))
    return model, _table(u, _DECAY + 0.2 * _RNG_LAB[_LAB]).assign(x=u.column * _X)


_RNG_LAB = np.random.default_rng(5).normal(size=6)


def log_link(u: Units) -> tuple[rm.Model, pd.DataFrame]:
    """A positive response; its theory in the same unit, a column of the process in another."""
    model = rm.Model(
        "y",
        link="log",
        levels=_LEVELS,
        theory=rm.theory.Calibrated("t"),
        material=rm.material.Effect("x"),
        observation=rm.observation.Normal(bias_by="lab"),
    )
    df = pd.DataFrame({"y": u.response * np.exp(0.4 * _Y + 0.1 * _X), "t": u.response * np.exp(0.4 * _THEORY), **_LABELS})
    return model, df.assign(x=u.column * (_X + 1.0))


def _table(u: Units, y: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"y": u.response * (y + u.offset), "t": u.response * (_THEORY + u.offset), **_LABELS})


MODELS: dict[str, Callable[[Units], tuple[rm.Model, pd.DataFrame]]] = {
    "laboratories": laboratories,
    "states": states,
    "uncertain theory": uncertain_theory,
    "limits": limits,
    "tails": tails,
    "curve": curve,
    "log link": log_link,
}
# powers of the units of response and column, by variable; others have no unit
POWERS: dict[str, tuple[int, int]] = {
    "unresolved_specimen_scale": (1, 0),
    "noise_scale": (1, 0),
    "bias_lab_scale": (1, 0),
    "function_size": (1, 0),
    "function_rate": (0, -1),
    "effect_x_slope": (1, -1),
    "effect_x_sd": (0, 1),
    "effect_x_mean": (0, 1),
}
PLAIN = ("calibrated_slope", "noise_nu")


def answers(name: str, fit: rm.Fit, u: Units) -> dict[str, np.ndarray]:
    """Draws of what both fits have, in units of the table as it stands."""
    post, log = fit.tree["posterior"], name == "log link"
    out = {}
    for variable, (response, column) in POWERS.items():
        if variable in post:
            out[variable] = post[variable].values.ravel() / (u.response ** (0 if log else response) * u.column**column)
    return out | {variable: post[variable].values.ravel() for variable in PLAIN if variable in post}


def shares(fit: rm.Fit) -> pd.Series:
    """The budget of a new observation."""
    table = fit.budget(new="observation").table
    keys = [c for c in ("layer", "component", "kind") if c in table.columns]
    return table.set_index(keys)["share"] if keys else table["share"]


REWRITTEN: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "rows shuffled": lambda df: df.sample(frac=1.0, random_state=1),
    "labels renamed": lambda df: df.assign(lab="L" + df["lab"].str[::-1], piece="Z" + df["piece"].str[::-1]),
    "float32": lambda df: df.astype({c: np.float32 for c in df.columns if df[c].dtype.kind == "f"}),
    "pyarrow": lambda df: df.convert_dtypes(dtype_backend="pyarrow"),
    "unused categories": lambda df: df.assign(lab=pd.Categorical(df["lab"], [*sorted(set(df["lab"])), "lab of nobody"])),
}


def differences(name: str, before: rm.Fit, after: rm.Fit, u: Units = AS_IT_STANDS) -> dict[str, float]:
    """Largest differences of two fits of one model: means in sds, sds relative, shares, R-hat; and whether the road is the same."""
    was, now = answers(name, before, AS_IT_STANDS), answers(name, after, u)
    assert was
    assert was.keys() == now.keys()
    old, new = shares(before), shares(after)
    r_hat = [float(fit.summary()["r_hat"].max()) for fit in (before, after)]
    return {
        "mean": max(abs(now[k].mean() - was[k].mean()) / was[k].std() for k in was),
        "sd": max(abs(now[k].std() / was[k].std() - 1) for k in was),
        "share": float(np.abs(new.reindex(old.index).to_numpy() - old.to_numpy()).max()),
        "r_hat": max(r_hat),
        "road": float(before.facts["method"] != after.facts["method"]),
    }
