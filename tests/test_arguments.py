"""A wrong argument is an error where it is written: every argument of every component, of a prior, of a model and of a fit."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

import realmat as rm

WRONG = (object(), {"a": object()}, [[1.0, 2.0], [3.0]], np.eye(2), pd.Series([1.0, 2.0]), 3j, b"x", [object()])
VALID: dict[str, dict[str, Any]] = {
    "Calibrated": {"column": "t"},
    "Consensus": {"columns": ["a", "b"]},
    "Corrections": {"columns": ["a"]},
    "Function": {"fn": lambda a, b: a * b, "columns": ["a"], "params": {"b": 1.0}},
    "Discrepancy": {"on": "a"},
    "Effect": {"column": "a"},
    "GrainSize": {"column": "a"},
    "Impurities": {"columns": ["a"]},
    "Impurity": {"column": "a"},
    "PhaseFraction": {"column": "a", "matrix": 1.0, "phase": 2.0},
    "Porosity": {"column": "a"},
    "Process": {"column": "a"},
    "Solvation": {"groups": ["a"]},
    "Solvent": {"column": "a"},
    "Unresolved": {"by": "a"},
}


def components() -> list[type[rm.Component]]:
    found = [getattr(module, name) for module in (rm.theory, rm.material, rm.observation) for name in module.__all__]
    return [c for c in found if isinstance(c, type) and issubclass(c, rm.Component)]


def arguments(cls: type[rm.Component]) -> dict[str, Any]:
    if cls.__name__ in VALID:
        return VALID[cls.__name__]
    needed = [f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING]
    return dict.fromkeys(needed, "a")


@pytest.mark.parametrize(("cls", "field"), [(c, f.name) for c in components() for f in dataclasses.fields(c) if f.init])
def test_every_argument_of_every_component_refuses_what_it_is_not(cls: type[rm.Component], field: str) -> None:
    valid = arguments(cls)
    cls(**valid)
    for value in WRONG:
        with pytest.raises(rm.ModelError, match=field):
            cls(**{**valid, field: value})


@pytest.mark.parametrize("cls", [c for c in components() if hasattr(c, "scale")])
def test_scales_are_positive(cls: type[rm.Component]) -> None:
    for value in (-1.0, 0.0, rm.Prior("Normal"), rm.Prior("Cauchy")):
        with pytest.raises(rm.ModelError, match="positive"):
            cls(**{**arguments(cls), "scale": value})
    cls(**{**arguments(cls), "scale": np.float64(2.0)})


@pytest.mark.parametrize("nu", ["column", 2.0, -1, rm.Prior("Gamma", alpha=2, beta=0.1), [3.0, 4.0]])
def test_degrees_of_freedom_are_checked_where_they_are_written(nu: Any) -> None:
    with pytest.raises(rm.ModelError, match="nu="):
        rm.observation.StudentT(nu=nu)
    with pytest.raises(rm.ModelError, match="nu="):
        rm.material.Unresolved("a", nu=nu)


def test_all_wrong_arguments_are_named_together() -> None:
    with pytest.raises(rm.ModelError) as caught:
        rm.observation.Normal(u=np.eye(3), bias_by=[1], scale_by=2)
    assert all(f"{name}=" in str(caught.value) for name in ("u", "bias_by", "scale_by"))


def test_columns_may_come_as_pandas_and_numpy_have_them() -> None:
    assert rm.theory.Corrections(pd.Index(["a", "b"])).columns == ("a", "b")
    assert rm.theory.Corrections(np.array(["a", "b"])).columns == ("a", "b")


@pytest.mark.parametrize(
    "make",
    [
        lambda: rm.Prior("Normal", mu=[1, 2]),
        lambda: rm.Prior("Normal", sigma=None),
        lambda: rm.Prior("HalfNormal", upper="a"),
        lambda: rm.Prior("Uniform", lower=2, upper=1),
        lambda: rm.Prior("Normal", lower=3, upper=3),
        lambda: rm.Prior("Gamma", alpha=-1, beta=1),
        lambda: rm.Prior(3),
        lambda: rm.Model(3),
        lambda: rm.Model("y", unit=3),
        lambda: rm.Model("y", levels="lab"),
        lambda: rm.Model("y", levels={"lab": 3}),
        lambda: rm.Model("y", units=["mm"]),
        lambda: rm.Model("y", theory=5),
        lambda: rm.Model("y", material="grain"),
        lambda: rm.Model("y", observation=None),
        lambda: rm.Model("y", link=["log"]),
    ],
)
def test_priors_and_models_refuse_what_they_are_not(make: Any) -> None:
    with pytest.raises(rm.ModelError):
        make()


@pytest.mark.parametrize("option", [{"draws": "many"}, {"draws": 10.5}, {"chains": None}, {"seed": "a"}, {"seed": -1}, {"engine": 3}])
def test_a_fit_refuses_what_its_arguments_are_not(option: dict[str, Any]) -> None:
    model = rm.Model("y", theory=rm.theory.Constant())
    with pytest.raises(rm.RealmatError):
        model.fit(pd.DataFrame({"y": [1.0, 2.0, 4.0]}), progress=False, **option)


def test_a_level_that_there_is_not_points_to_by() -> None:
    with pytest.raises(rm.ModelError, match='by="solute"'):
        rm.Model("y", levels={"solute": "solute"})
