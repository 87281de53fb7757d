"""Shares of the budget over 200 simulated data sets for each design: unbiased, and 90 % intervals that cover."""

from __future__ import annotations

import arviz_base as azb
import pandas as pd
import pytest
from designs import DESIGNS, score

REPLICATES = 200


@pytest.mark.validate
@pytest.mark.parametrize("name", DESIGNS)
def test_shares_are_unbiased_and_intervals_cover(name: str) -> None:
    """Mean error at most 0.02; coverage between 85 and 95 % (200 data sets: standard error 2.1 %)."""
    with azb.rc_context({"stats.ci_prob": 0.9}):
        scores = pd.concat([score(*DESIGNS[name].budget(1000 + r)) for r in range(REPLICATES)])
    by = scores.groupby(level=0).mean()
    print(f"\n{name}\n{by}")
    assert by["error"].abs().max() <= 0.02, by
    assert by["inside"].between(0.85, 0.95).all(), by
