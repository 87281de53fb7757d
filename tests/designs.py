"""Layered data with known variances, for the budget: seven designs, one of them inseparable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

import realmat as rm
from realmat.attribution.budget import Budget, budget
from realmat.support.intervals import settings

MATERIAL, SPECIMEN, NOISE, LAB = 0.5, 0.4, 0.3, 0.25
STATE, SLOPE, STATE_U = 0.5, 1.2, 0.2


@dataclass(frozen=True)
class Design:
    """A table of known variances: `truth` maps each row of the budget to its true aleatoric variance on a table."""

    name: str
    model: rm.Model
    make: Callable[[np.random.Generator], pd.DataFrame]
    truth: Callable[[pd.DataFrame], dict[str, float]]
    new: str = "material"
    joined: list[tuple[str, ...]] = field(default_factory=list)

    def budget(self, seed: int, draws: int = 500) -> tuple[Budget, dict[str, float]]:
        """Simulate, fit and take the budget; with the true share of each aleatoric part, given the epistemic parts found."""
        df = self.make(np.random.default_rng(seed))
        fit = self.model.fit(df, engine="exact", draws=draws, chains=2, seed=seed, progress=False)
        found = budget(fit.posterior, self.new, joined=self.joined)
        truth = self.truth(df)
        whole = sum(truth.values()) + float(found.dataset["variance"].sel(kind="epistemic").sum())
        return found, {name: v / whole for name, v in truth.items()}


def score(found: Budget, truth: dict[str, float]) -> pd.DataFrame:
    """Error of each share, and whether its interval (at the probability ArviZ is set to) holds the truth."""
    rows = found.table[found.table["kind"] == "aleatoric"].set_index("component")
    assert set(rows.index) == set(truth), f"aleatoric rows {sorted(rows.index)}, expected {sorted(truth)} at {settings()}"
    t = pd.Series(truth)[rows.index]
    return pd.DataFrame({"error": rows["share"] - t, "inside": (rows["share_lb"] < t) & (t < rows["share_ub"])})


def _table(rng: np.random.Generator, materials: int, pieces: int, repeats: int, labs: int = 12) -> pd.DataFrame:
    m = np.repeat(np.arange(materials), pieces * repeats)
    s = np.repeat(np.arange(materials * pieces), repeats)
    lab = rng.integers(0, labs, len(m))
    df = pd.DataFrame({"mat": m, "piece": s, "lab": lab, "theory": rng.normal(0, 1, materials)[m]})
    df["ideal"] = 0.2 + df["theory"]
    df["real"] = df["ideal"] + rng.normal(0, MATERIAL, materials)[m]
    df["sample"] = df["real"] + rng.normal(0, SPECIMEN, materials * pieces)[s]
    df["bias"] = rng.normal(0, LAB, labs)[lab]
    return df


def _model(
    material: list[Any], observation: Any = None, link: str = "identity", levels: tuple[str, ...] = ("material", "specimen")
) -> rm.Model:
    column = {"material": "mat", "specimen": "piece", "lab": "lab"}
    return rm.Model(
        "y",
        link=link,
        levels={level: column[level] for level in levels},
        theory=rm.theory.Calibrated("theory"),
        material=material,
        observation=observation or rm.observation.Normal(),
    )


def _with_noise(column: str, *shape: int, bias: bool = False, link: str = "identity") -> Callable[[np.random.Generator], pd.DataFrame]:
    def make(rng: np.random.Generator) -> pd.DataFrame:
        df = _table(rng, *shape)
        y = df[column] + rng.normal(0, NOISE, len(df)) + (df["bias"] if bias else 0)
        return df.assign(y=np.exp(y), theory=np.exp(df["theory"])) if link == "log" else df.assign(y=y)

    return make


def _stated(rng: np.random.Generator) -> pd.DataFrame:
    """Every row states its own u; nothing is inferred of the noise."""
    df = _table(rng, 150, 1, 1)
    df["u"] = rng.uniform(0.1, 0.4, len(df))
    return df.assign(y=df["real"] + rng.normal(0, 1, len(df)) * df["u"])


def _state(rng: np.random.Generator) -> pd.DataFrame:
    """A latent state of each specimen, characterised with u for half of them."""
    df = _table(rng, 200, 1, 3)
    x = rng.normal(1.0, STATE, 200)
    read = np.where(rng.random(200) < 0.5, x + rng.normal(0, STATE_U, 200), np.nan)
    df["y"] = df["ideal"] + SLOPE * x[df["piece"]] + rng.normal(0, NOISE, len(df))
    first = ~df["piece"].duplicated()
    return df.assign(x=np.where(first, read[df["piece"]], np.nan))


def _state_truth(df: pd.DataFrame) -> dict[str, float]:
    """A new specimen like a characterised one has the variance that its characterisation leaves: sd^2 u^2 / (sd^2 + u^2)."""
    known = df.groupby("piece")["x"].transform("count") > 0
    left = np.where(known, STATE**2 * STATE_U**2 / (STATE**2 + STATE_U**2), STATE**2)
    return {"effect_x": float(SLOPE**2 * left.mean()), "noise": NOISE**2}


_MATERIAL, _SPECIMEN = rm.material.Unresolved(by="material"), rm.material.Unresolved(by="specimen")
_NESTED = {"unresolved_material": MATERIAL**2, "unresolved_specimen": SPECIMEN**2, "noise": NOISE**2}

DESIGNS = {
    d.name: d
    for d in (
        Design(
            "one-way",
            _model([_MATERIAL], levels=("material",)),
            _with_noise("real", 80, 1, 4),
            lambda df: {"unresolved_material": MATERIAL**2, "noise": NOISE**2},
        ),
        Design("nested", _model([_MATERIAL, _SPECIMEN]), _with_noise("sample", 60, 4, 3), lambda df: _NESTED),
        Design(
            "four layers",
            _model([_MATERIAL, _SPECIMEN], rm.observation.Normal(bias_by="lab"), levels=("material", "specimen", "lab")),
            _with_noise("sample", 60, 3, 3, bias=True),
            lambda df: _NESTED,
        ),
        Design("log link", _model([_MATERIAL, _SPECIMEN], link="log"), _with_noise("sample", 60, 4, 3, link="log"), lambda df: _NESTED),
        Design(
            "stated u",
            _model([_MATERIAL], rm.observation.Normal(u="u", scale=False), levels=("material",)),
            _stated,
            lambda df: {"unresolved_material": MATERIAL**2, "noise": float((df["u"] ** 2).mean())},
        ),
        Design("latent state", _model([rm.material.Effect("x", u=STATE_U)], levels=("specimen",)), _state, _state_truth, new="specimen"),
        Design(
            "inseparable",
            _model([_MATERIAL, _SPECIMEN]),
            _with_noise("sample", 50, 4, 1),
            lambda df: {"unresolved_material": MATERIAL**2, "unresolved_specimen + noise": SPECIMEN**2 + NOISE**2},
            joined=[("unresolved_specimen", "noise")],
        ),
    )
}
