"""20,000 mutated tables: no exception but RealmatError, no warning, no number that is none."""

from __future__ import annotations

from typing import Any

import pytest
from fuzzing import MODELS, MUTATIONS, holds, mutated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import realmat as rm

pytestmark = pytest.mark.validate
KNOWN: dict[bytes, str] = {}  # nearly half of all tables differ from an earlier one in what their model does not use


@settings(max_examples=20_000, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(MODELS), st.lists(MUTATIONS, min_size=1, max_size=3))
def test_twenty_thousand_tables(model: rm.Model, steps: list[tuple[Any, ...]]) -> None:
    holds(model, mutated(steps), known=KNOWN)
