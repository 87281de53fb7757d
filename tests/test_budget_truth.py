"""The budget of simulated layers against the variances they were simulated with; `validate` does it 200 times for each design."""

from __future__ import annotations

import arviz_base as azb
import pandas as pd
import pytest
from designs import DESIGNS, score


@pytest.mark.parametrize("name", DESIGNS)
def test_known_variances_in_known_shares_out(name: str) -> None:
    """Every 99.9 % interval holds the truth, and errors stay within four times their spread over data sets (0.05).

    One data set and few draws for the inseparable design, whose ridge of equally good variances is slow to explore.
    """
    seeds, draws = ((1,), 100) if DESIGNS[name].joined else ((1, 2), 500)
    with azb.rc_context({"stats.ci_prob": 0.999}):
        scores = pd.concat([score(*DESIGNS[name].budget(seed, draws)) for seed in seeds])
    assert scores["inside"].all(), scores
    assert scores["error"].abs().max() < 0.2, scores
