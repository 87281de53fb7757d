"""Mutated tables and edited files: a short run of the same numbers every time; `make validate` runs 20,000."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import CELLS, MODELS, MUTATIONS, holds, mutated, table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import realmat as rm

SHORT = settings(max_examples=150, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@SHORT
@given(st.sampled_from(MODELS), st.lists(MUTATIONS, min_size=1, max_size=3))
def test_a_mutated_table_is_refused_or_bound(model: rm.Model, steps: list[tuple[Any, ...]]) -> None:
    holds(model, mutated(steps), fitting=False)


@settings(SHORT, max_examples=12)
@given(st.sampled_from(MODELS), st.lists(MUTATIONS, min_size=1, max_size=1))
def test_a_mutated_table_is_refused_or_answered(model: rm.Model, steps: list[tuple[Any, ...]]) -> None:
    holds(model, mutated(steps))


@pytest.mark.parametrize("model", MODELS)
def test_the_table_itself_is_answered(model: rm.Model) -> None:
    assert holds(model, table()) == "answered"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fits") / "fit.nc"
    return MODELS[1].fit(table(), draws=10, chains=1, seed=1, progress=False).save(path)


@settings(SHORT, max_examples=40)
@given(
    st.sampled_from(["model", "facts", "format", "data_hash"]),
    st.sampled_from([v for v in CELLS if isinstance(v, str | float | int) and not isinstance(v, bool) and abs(hash(v)) < 1e18]),
    st.integers(0, 10_000),
)
def test_an_edited_file_is_refused_or_opens(saved: Path, attribute: str, value: Any, place: int) -> None:
    import netCDF4

    path = saved.with_name("edited.nc")
    path.write_bytes(saved.read_bytes())
    with netCDF4.Dataset(path, "a") as file:
        text = str(file.getncattr(attribute))
        cut = place % max(len(text), 1)
        file.setncattr(attribute, text[:cut] + str(value) + text[cut + 1 :])
    try:
        rm.load(path).tree  # noqa: B018
    except rm.RealmatError:
        return


def test_a_file_cut_anywhere_is_refused(saved: Path) -> None:
    data = saved.read_bytes()
    path = saved.with_name("cut.nc")
    for share in np.linspace(0, 0.95, 8):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(rm.FileError):
            rm.load(path)


def test_a_model_of_other_types_is_refused(saved: Path) -> None:
    """Every value of the model's description replaced by one of another kind, one at a time."""
    import netCDF4

    with netCDF4.Dataset(saved) as file:
        model = json.loads(file.getncattr("model"))
    path = saved.with_name("typed.nc")
    for name in model:
        for value in (None, 3, [1], {"a": 1}, "abc"):
            path.write_bytes(saved.read_bytes())
            with netCDF4.Dataset(path, "a") as file:
                file.setncattr("model", json.dumps({**model, name: value}))
            try:
                rm.load(path)
            except rm.RealmatError:
                continue
