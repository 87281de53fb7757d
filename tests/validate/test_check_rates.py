"""Error rates of `fit.check()`: at most 5 % of fits of right models have a finding; faults twice the noise are found and named."""

from __future__ import annotations

import numpy as np
import pytest
from misfits import FAULTS, RIGHT, findings, laboratory, named

pytestmark = pytest.mark.validate
TABLES, FAULTY = 200, 50


@pytest.mark.parametrize("kind", RIGHT)
def test_fits_of_right_models_have_findings_in_at_most_five_of_a_hundred(kind: str) -> None:
    alarms = sum(len(findings(RIGHT[kind](np.random.default_rng([7, seed])), seed)) > 0 for seed in range(TABLES))
    assert alarms <= 0.05 * TABLES, f"{alarms} of {TABLES}"


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found_and_named(fault: str) -> None:
    found = sum(named(findings(laboratory(np.random.default_rng([8, seed]), fault), seed), fault) for seed in range(FAULTY))
    assert found >= 0.8 * FAULTY, f"{found} of {FAULTY}"
